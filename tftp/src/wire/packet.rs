//! Octets to packets. The parser is total: any input gives a packet or the name of what is wrong.

use super::{BlockNumber, ErrorCode, Options};
use crate::limits;

/// One packet, borrowed from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Read request.
    Rrq(Request<'a>),
    /// Write request.
    Wrq(Request<'a>),
    /// One block and its payload.
    Data(BlockNumber, &'a [u8]),
    /// Acknowledgement.
    Ack(BlockNumber),
    /// Error; the text is cut at its NUL, and may be anything.
    Error(ErrorCode, &'a [u8]),
    /// Option acknowledgement.
    Oack(Options<'a>),
}

/// A read or write request (RFC 1350 §5, RFC 2347).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The file name as it was sent, without its NUL. See [`crate::name`].
    pub name: &'a [u8],
    /// The transfer mode as it was sent, in any case.
    pub mode: &'a [u8],
    /// The options asked for, in order.
    pub options: Options<'a>,
}

/// What is wrong with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than its type needs.
    #[error("packet is truncated")]
    Truncated,
    /// No such packet type.
    #[error("unknown opcode {0}")]
    Opcode(u16),
    /// A string that must end with NUL does not.
    #[error("a string is not terminated")]
    Unterminated,
    /// An option name without a value.
    #[error("an option has no value")]
    OptionWithoutValue,
    /// A request with an empty file name.
    #[error("the file name is empty")]
    EmptyName,
    /// A request beyond [`limits::REQUEST_BYTES_MAX`], or a name beyond [`limits::NAME_BYTES_MAX`].
    #[error("the request is too long")]
    TooLong,
    /// More than [`limits::OPTIONS_MAX`] options.
    #[error("too many options")]
    TooManyOptions,
}

impl Malformed {
    /// The code an ERROR reply carries for this, where the datagram was a request.
    #[must_use]
    pub fn error_code(self) -> ErrorCode {
        match self {
            Malformed::OptionWithoutValue | Malformed::TooManyOptions => {
                ErrorCode::OPTION_NEGOTIATION
            }
            _ => ErrorCode::ILLEGAL_OPERATION,
        }
    }
}

impl<'a> Packet<'a> {
    /// Finds the parts of a datagram.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(datagram: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        let (opcode, rest) = datagram
            .split_first_chunk::<2>()
            .ok_or(Malformed::Truncated)?;
        match u16::from_be_bytes(*opcode) {
            1 => Request::parse(rest).map(Packet::Rrq),
            2 => Request::parse(rest).map(Packet::Wrq),
            3 => number(rest).map(|(number, payload)| Packet::Data(BlockNumber(number), payload)),
            // Octets after an ACK are tolerated: some ROMs pad to a minimum.
            4 => number(rest).map(|(number, _)| Packet::Ack(BlockNumber(number))),
            5 => number(rest).map(|(code, text)| {
                let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
                Packet::Error(ErrorCode(code), &text[..end])
            }),
            6 => Options::parse(rest).map(Packet::Oack),
            other => Err(Malformed::Opcode(other)),
        }
    }
}

impl<'a> Request<'a> {
    fn parse(rest: &'a [u8]) -> Result<Self, Malformed> {
        if rest.len() + 2 > limits::REQUEST_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        let (name, rest) = string(rest)?;
        if name.is_empty() {
            return Err(Malformed::EmptyName);
        }
        if name.len() > limits::NAME_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        let (mode, rest) = string(rest)?;
        Ok(Request {
            name,
            mode,
            options: Options::parse(rest)?,
        })
    }
}

/// A big-endian number and what follows it.
fn number(rest: &[u8]) -> Result<(u16, &[u8]), Malformed> {
    let (number, rest) = rest.split_first_chunk::<2>().ok_or(Malformed::Truncated)?;
    Ok((u16::from_be_bytes(*number), rest))
}

/// A string without its NUL, and what follows it.
pub(super) fn string(rest: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let end = rest
        .iter()
        .position(|&b| b == 0)
        .ok_or(Malformed::Unterminated)?;
    Ok((&rest[..end], &rest[end + 1..]))
}
