//! Options (RFC 2347): pairs of strings, and the acknowledgement of those that were accepted.

use super::packet::string;
use super::{Malformed, Opcode};
use crate::limits;

/// The option pairs of a request or of an OACK, in order, borrowed from the datagram. Every string in it
/// is known to end with NUL, and no name is without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'a>(&'a [u8]);

/// The options that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// Block size in octets (RFC 2348).
    Blksize,
    /// Retransmission interval in seconds (RFC 2349).
    Timeout,
    /// Size of the file in octets (RFC 2349).
    Tsize,
    /// Blocks in a window (RFC 7440).
    Windowsize,
    /// Number after block 65535 (tftp-hpa; no RFC).
    Rollover,
}

impl OptionKind {
    /// Every option that we know.
    pub const ALL: [OptionKind; 5] = [
        OptionKind::Blksize,
        OptionKind::Timeout,
        OptionKind::Tsize,
        OptionKind::Windowsize,
        OptionKind::Rollover,
    ];

    /// The name of the option as the RFC spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            OptionKind::Blksize => "blksize",
            OptionKind::Timeout => "timeout",
            OptionKind::Tsize => "tsize",
            OptionKind::Windowsize => "windowsize",
            OptionKind::Rollover => "rollover",
        }
    }

    /// The option of a name, in any case (RFC 2347); `None` for one that we do not know.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<OptionKind> {
        Self::ALL
            .into_iter()
            .find(|kind| name.eq_ignore_ascii_case(kind.name().as_bytes()))
    }
}

impl<'a> Options<'a> {
    /// No options at all.
    pub const NONE: Options<'static> = Options(&[]);

    pub(super) fn parse(rest: &'a [u8]) -> Result<Self, Malformed> {
        let mut unread = rest;
        let mut pairs = 0;
        while !unread.is_empty() {
            let (name, after) = string(unread)?;
            // Padding after the last string: some ROMs fill the packet with NULs.
            if name.is_empty() && after.iter().all(|&b| b == 0) {
                return Ok(Options(&rest[..rest.len() - unread.len()]));
            }
            if after.is_empty() {
                return Err(Malformed::OptionWithoutValue);
            }
            (_, unread) = string(after)?;
            pairs += 1;
            if pairs > limits::OPTIONS_MAX {
                return Err(Malformed::TooManyOptions);
            }
        }
        Ok(Options(rest))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs of name and value, as sent, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut unread = self.0;
        core::iter::from_fn(move || {
            let (name, rest) = string(unread).ok()?;
            let (value, rest) = string(rest).ok()?;
            unread = rest;
            Some((name, value))
        })
    }

    /// The pairs whose option we know, the first of each kind only (a repeated option is ignored).
    pub fn known(&self) -> impl Iterator<Item = (OptionKind, &'a [u8], &'a [u8])> + use<'a> {
        let mut seen = [false; OptionKind::ALL.len()];
        self.iter().filter_map(move |(name, value)| {
            let kind = OptionKind::from_name(name)?;
            let first = !core::mem::replace(&mut seen[kind as usize], true);
            first.then_some((kind, name, value))
        })
    }
}

/// A decimal number of 1 to 20 digits and nothing else: no sign, no space, no overflow.
#[must_use]
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Writes an OACK, pair by pair. Names and order are the client's: GRUB compares names byte by byte, and
/// EDK2 refuses anything after the last NUL.
#[derive(Clone, Debug)]
pub struct OackBuilder {
    bytes: [u8; limits::OACK_BYTES_MAX],
    len: usize,
}

impl Default for OackBuilder {
    fn default() -> Self {
        let mut bytes = [0; limits::OACK_BYTES_MAX];
        bytes[..2].copy_from_slice(&(Opcode::Oack as u16).to_be_bytes());
        OackBuilder { bytes, len: 2 }
    }
}

impl OackBuilder {
    /// Adds a pair; `false`, and nothing added, if it does not fit.
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some(end) = Some(self.len + name.len() + value.len() + 2)
            .filter(|&end| end <= limits::OACK_BYTES_MAX)
        else {
            return false;
        };
        self.bytes[self.len..][..name.len()].copy_from_slice(name);
        self.bytes[self.len + name.len()] = 0;
        self.bytes[end - 1 - value.len()..end - 1].copy_from_slice(value);
        self.bytes[end - 1] = 0;
        self.len = end;
        true
    }

    /// Adds a pair with a number as its value; `false`, and nothing added, if it does not fit.
    pub fn push_number(&mut self, name: &[u8], value: u64) -> bool {
        let mut digits = [0; 20];
        self.push(name, write_decimal(value, &mut digits))
    }

    /// Whether no pair was added: then there must be no OACK (RFC 2347).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 2
    }

    /// The packet.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The decimal digits of a number, at the end of `digits`.
pub(super) fn write_decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).expect("a digit");
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}
