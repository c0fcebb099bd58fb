//! What a server must not do, and how a client finds out.

use super::{Abort, Profile};
use crate::limits;
use crate::wire::{self, BlockNumber, ErrorCode, OptionKind, Options, Rollover};

/// A rule that the server broke, or (the last ones) a thing that this kind of client cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// An OACK without any option (RFC 2347: then there is none).
    #[error("OACK without an option")]
    OackEmpty,
    /// An option acknowledged that was not asked for (RFC 2347).
    #[error("OACK with an option that was not asked for")]
    OptionNotAsked,
    /// An option acknowledged twice.
    #[error("OACK with an option given twice")]
    OptionTwice(OptionKind),
    /// A value that is no number, or out of the option's range.
    #[error("OACK with a bad value")]
    ValueBad(OptionKind),
    /// A value larger than asked (RFC 2348, RFC 7440).
    #[error("OACK with a larger value than asked")]
    ValueLarger(OptionKind),
    /// `timeout` or `rollover` acknowledged with another value than asked (RFC 2349).
    #[error("OACK with another value than asked")]
    ValueChanged(OptionKind),
    /// `tsize` is not the size of the file (RFC 2349).
    #[error("tsize {acknowledged} for a file of {expected} octets")]
    TsizeWrong {
        /// What it must be.
        expected: u64,
        /// What the OACK said.
        acknowledged: u64,
    },
    /// A repeated OACK that differs from the first.
    #[error("a repeated OACK differs from the first")]
    OackChanged,
    /// An OACK when DATA had already started the transfer.
    #[error("OACK after DATA")]
    OackAfterData,
    /// DATA after an OACK, before it was acknowledged (RFC 2347).
    #[error("DATA before the OACK was acknowledged")]
    DataBeforeAck,
    /// DATA longer than the block size.
    #[error("DATA longer than the block size")]
    DataLong,
    /// DATA further on than the window allows (RFC 7440), or with a number that no block has.
    #[error("DATA {} is beyond the window", .0.0)]
    BeyondWindow(BlockNumber),
    /// DATA after the last block.
    #[error("DATA {} after the last block", .0.0)]
    DataAfterEnd(BlockNumber),
    /// The file ended too early or too late.
    #[error("{bytes} octets came of a file of {expected}")]
    WrongLength {
        /// What it must be, in octets.
        expected: u64,
        /// What came, in octets.
        bytes: u64,
    },
    /// The server's transfer ID sent what is no TFTP packet.
    #[error("a packet that cannot be parsed")]
    Malformed,
    /// A request or an ACK, sent to a client.
    #[error("a packet that only clients send")]
    NotForClients,
    /// Not forbidden, but this kind of client cannot boot without the option.
    #[error("an option was left out that this client cannot do without")]
    OptionMissing(OptionKind),
}

impl Violation {
    /// What the client says of it to the server.
    pub(super) fn error(self, profile: &Profile) -> Abort {
        match self {
            Violation::OackEmpty
            | Violation::OptionNotAsked
            | Violation::OptionTwice(_)
            | Violation::ValueBad(_)
            | Violation::ValueLarger(_)
            | Violation::ValueChanged(_)
            | Violation::TsizeWrong { .. }
            | Violation::OackChanged
            | Violation::OackAfterData
            | Violation::OptionMissing(_) => profile.oack_error,
            Violation::DataBeforeAck
            | Violation::DataLong
            | Violation::BeyondWindow(_)
            | Violation::DataAfterEnd(_)
            | Violation::WrongLength { .. }
            | Violation::Malformed
            | Violation::NotForClients => Abort {
                code: ErrorCode::ILLEGAL_OPERATION,
                text: "Illegal TFTP operation",
            },
        }
    }
}

/// What client and server agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// No OACK: the defaults of RFC 1350.
    pub(super) plain: bool,
    pub(super) blksize: u16,
    pub(super) windowsize: u16,
    pub(super) tsize: Option<u64>,
    pub(super) rollover: Option<Rollover>,
    /// One bit for each option acknowledged.
    acknowledged: u8,
}

impl Terms {
    pub(super) const PLAIN: Terms = Terms {
        plain: true,
        blksize: limits::BLKSIZE_DEFAULT,
        windowsize: 1,
        tsize: None,
        rollover: None,
        acknowledged: 0,
    };

    pub(super) fn has(&self, kind: OptionKind) -> bool {
        self.acknowledged & (1 << kind as u8) != 0
    }
}

/// Reads an OACK against what was asked, and against the size of the file where it is known.
pub(super) fn oack(
    asked: &[(OptionKind, u64)],
    options: Options<'_>,
    bytes_expected: Option<u64>,
) -> Result<Terms, Violation> {
    if options.is_empty() {
        return Err(Violation::OackEmpty);
    }
    let mut terms = Terms {
        plain: false,
        ..Terms::PLAIN
    };
    for (name, value) in options.iter() {
        let kind = OptionKind::from_name(name).ok_or(Violation::OptionNotAsked)?;
        let asked = asked.iter().find(|(asked, _)| *asked == kind);
        let &(_, asked) = asked.ok_or(Violation::OptionNotAsked)?;
        if terms.has(kind) {
            return Err(Violation::OptionTwice(kind));
        }
        terms.acknowledged |= 1 << kind as u8;
        let value = wire::decimal(value).ok_or(Violation::ValueBad(kind))?;
        let small = || match u16::try_from(value) {
            Ok(small) if value <= asked => Ok(small),
            _ => Err(Violation::ValueLarger(kind)),
        };
        match kind {
            OptionKind::Blksize => terms.blksize = small()?,
            OptionKind::Windowsize => terms.windowsize = small()?,
            OptionKind::Timeout if value != asked => return Err(Violation::ValueChanged(kind)),
            OptionKind::Rollover if value != asked => return Err(Violation::ValueChanged(kind)),
            OptionKind::Rollover => {
                terms.rollover = Some(if value == 0 {
                    Rollover::Zero
                } else {
                    Rollover::One
                });
            }
            OptionKind::Timeout => {}
            OptionKind::Tsize => terms.tsize = Some(value),
        }
    }
    if terms.blksize < limits::BLKSIZE_MIN {
        return Err(Violation::ValueBad(OptionKind::Blksize));
    }
    if terms.windowsize == 0 {
        return Err(Violation::ValueBad(OptionKind::Windowsize));
    }
    match (bytes_expected, terms.tsize) {
        (Some(expected), Some(acknowledged)) if expected != acknowledged => {
            Err(Violation::TsizeWrong {
                expected,
                acknowledged,
            })
        }
        _ => Ok(terms),
    }
}
