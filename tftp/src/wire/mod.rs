//! The wire: octets to packets and back (RFC 1350, 2347, 2348, 2349, 7440).
//!
//! [`Packet::parse`] is a view: it finds the parts, borrows them, and judges nothing but the shape. What
//! a request means is decided by [`crate::endpoint`]. The emitters write into a buffer of the caller;
//! nothing here allocates. DATA is emitted as a header only: the payload belongs to the image.

mod emit;
mod options;
mod packet;

pub use emit::{ErrorPacket, data_header, emit_ack, emit_error, emit_request};
pub use options::{OackBuilder, OptionKind, Options, decimal};
pub use packet::{Malformed, Packet, Request};

/// Octets of a DATA or ACK header: opcode and block number.
pub const HEADER_BYTES: usize = 4;

/// Packet types (RFC 1350 §5, RFC 2347).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Opcode {
    /// Read request.
    Rrq = 1,
    /// Write request.
    Wrq = 2,
    /// One block of the file.
    Data = 3,
    /// Acknowledgement of a block.
    Ack = 4,
    /// Error; ends a transfer.
    Error = 5,
    /// Option acknowledgement (RFC 2347).
    Oack = 6,
}

/// Error codes (RFC 1350 appendix, RFC 2347).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// Not defined, see the message.
    pub const NOT_DEFINED: ErrorCode = ErrorCode(0);
    /// File not found.
    pub const FILE_NOT_FOUND: ErrorCode = ErrorCode(1);
    /// Access violation.
    pub const ACCESS_VIOLATION: ErrorCode = ErrorCode(2);
    /// Disk full or allocation exceeded.
    pub const DISK_FULL: ErrorCode = ErrorCode(3);
    /// Illegal TFTP operation.
    pub const ILLEGAL_OPERATION: ErrorCode = ErrorCode(4);
    /// Unknown transfer ID.
    pub const UNKNOWN_TID: ErrorCode = ErrorCode(5);
    /// File already exists.
    pub const FILE_EXISTS: ErrorCode = ErrorCode(6);
    /// Option negotiation failed (RFC 2347).
    pub const OPTION_NEGOTIATION: ErrorCode = ErrorCode(8);
}

/// A block number as it stands in a packet: 16 bits, it rolls over. Not a [`BlockIndex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockNumber(pub u16);

/// The position of a block in its file, from 1, without rollover. Block 0 is the request itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockIndex(pub u64);

/// What follows block 65535: 0 (what nearly every client expects) or 1. Asked for by the `rollover`
/// option that tftp-hpa introduced; no RFC settles it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rollover {
    /// 65535 → 0.
    #[default]
    Zero,
    /// 65535 → 1.
    One,
}

impl Rollover {
    /// How many numbers there are before they repeat.
    #[must_use]
    pub const fn modulus(self) -> u64 {
        match self {
            Rollover::Zero => 65_536,
            Rollover::One => 65_535,
        }
    }

    /// The number on the wire for a block.
    #[must_use]
    pub fn number(self, index: BlockIndex) -> BlockNumber {
        let number = match self {
            Rollover::Zero => index.0 % 65_536,
            Rollover::One if index.0 == 0 => 0,
            Rollover::One => (index.0 - 1) % 65_535 + 1,
        };
        BlockNumber(u16::try_from(number).expect("a remainder by at most 65,536"))
    }

    /// The first block at or after `base` that carries `number`.
    #[must_use]
    pub fn index_from(self, base: BlockIndex, number: BlockNumber) -> BlockIndex {
        let modulus = self.modulus();
        // With rollover to 1, number 0 is carried by block 0 alone: past it, it names nothing near.
        if self == Rollover::One && number.0 == 0 {
            return if base.0 == 0 {
                base
            } else {
                BlockIndex(u64::MAX)
            };
        }
        let from = u64::from(self.number(base).0);
        let ahead = match self {
            // Block 0 stands where 65535 would stand in the cycle of 1..=65535.
            Rollover::One if base.0 == 0 => u64::from(number.0),
            _ => (u64::from(number.0) + modulus - from) % modulus,
        };
        BlockIndex(base.0 + ahead)
    }
}
