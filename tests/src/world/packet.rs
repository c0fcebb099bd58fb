//! What travels: octets, or a block of an image that becomes octets only where somebody reads it.

use std::rc::Rc;

use daybreak_tftp::endpoint::{Train, TransferId};

use super::content::ImageKey;
use super::host::Lease;

/// Octets of the header of DATA and ACK.
pub const HEADER_BYTES: usize = 4;

/// A datagram, between here and there.
#[derive(Clone, Debug)]
pub enum Body {
    /// As it is.
    Octets(Rc<[u8]>),
    /// DATA.
    Block(Block),
}

/// A DATA datagram whose payload is a part of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The first four octets.
    pub header: [u8; HEADER_BYTES],
    /// The image.
    pub key: ImageKey,
    /// The first octet of the payload, by its offset in the image.
    pub start: u64,
    /// Octets of payload.
    pub len: u32,
    /// The transfer that it was sent for.
    pub transfer: TransferId,
}

impl Block {
    /// The block at a position of a train.
    #[must_use]
    pub fn of(train: &Train<'_, Lease>, position: u16) -> Self {
        let (header, span) = train.block(position);
        Block {
            header,
            key: train.file.key,
            start: span.start,
            len: u32::try_from(span.end - span.start).expect("at most a block"),
            transfer: train.transfer,
        }
    }

    /// The block number on the wire.
    #[must_use]
    pub fn number(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }
}

impl Body {
    /// These octets.
    #[must_use]
    pub fn octets(octets: &[u8]) -> Self {
        Body::Octets(Rc::from(octets))
    }

    /// Octets of the datagram.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Body::Octets(octets) => octets.len(),
            Body::Block(block) => HEADER_BYTES + block.len as usize,
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The octets, in `buffer` where they had to be made.
    pub fn read<'a>(&'a self, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        match self {
            Body::Octets(octets) => octets,
            Body::Block(block) => {
                buffer.resize(self.len(), 0);
                let (header, payload) = buffer.split_at_mut(HEADER_BYTES);
                header.copy_from_slice(&block.header);
                block.key.fill(block.start, payload);
                buffer
            }
        }
    }
}

/// A DATA packet that is not a train's: what a broken server or a stranger would send.
#[must_use]
pub fn data(number: u16, payload: &[u8]) -> Vec<u8> {
    [&[0, 3], &number.to_be_bytes(), payload].concat()
}

/// An ACK.
#[must_use]
pub fn ack(number: u16) -> Vec<u8> {
    [[0, 4], number.to_be_bytes()].concat()
}

/// An ERROR.
#[must_use]
pub fn error(code: u16, text: &str) -> Vec<u8> {
    [&[0, 5], &code.to_be_bytes(), text.as_bytes(), &[0]].concat()
}

/// A read request with strings of any kind.
#[must_use]
pub fn request(name: &str, mode: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    let pairs = options.iter().flat_map(|(name, value)| [*name, *value]);
    for part in [name, mode].into_iter().chain(pairs) {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(0);
    }
    bytes
}
