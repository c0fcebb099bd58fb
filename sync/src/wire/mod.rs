//! What two servers say to each other, as octets: framed, versioned, every length bounded before anything is allocated.
//!
//! ```text
//! octets 4        2         1      n
//!        length   version   what   content        length = 3 + n, at most MESSAGE_BYTES_MAX
//! ```
//! Numbers are big-endian. A `Hello` begins, in every version, with the lowest and the highest version that its sender
//! speaks: so servers that have none in common can still tell each other.

mod frames;
mod message;
mod octets;
mod parts;

pub use frames::Frames;
pub use message::{Hello, Message, Page, Rows};
pub(crate) use parts::encode_row;

/// The versions that this code speaks.
pub const VERSIONS: core::ops::RangeInclusive<u16> = 1..=1;

/// Why octets are not a message. Whoever sent them does not keep the rules: the link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The length is beyond the bound, or less than the head.
    #[error("a message of {0} octets")]
    Length(u32),
    /// It ends within something.
    #[error("a message that ends too early")]
    Short,
    /// It goes on after its end.
    #[error("a message that is longer than its content")]
    Long,
    /// A message that this version does not have.
    #[error("a message of the unknown kind {0}")]
    Kind(u8),
    /// A version that was not agreed on.
    #[error("a message of version {0}, which was not agreed on")]
    Version(u16),
    /// More of something than its bound.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// Something that is not what it should be.
    #[error("a {0} that is none")]
    Not(&'static str),
}
