//! What an `Endpoint` and its driver say to each other.

use core::net::{IpAddr, SocketAddr};

use crate::wire::{BlockIndex, ErrorCode, HEADER_BYTES, Rollover, data_header};

/// A socket of the driver, by its position in the driver's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u16);

/// A socket that requests arrive at, and the sockets that its transfers are served from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where requests arrive.
    pub socket: SocketId,
    /// Where transfers are served from: each has its own port, the server's TID. Empty: from the
    /// listening socket itself (single-port mode).
    pub transfer_sockets: core::ops::Range<u16>,
}

/// The way of a datagram between a client and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// Our socket.
    pub socket: SocketId,
    /// The client's address and port (its TID).
    pub remote: SocketAddr,
    /// Our address that the client used, where the driver knows it: replies leave from it.
    pub local: Option<IpAddr>,
}

/// A transfer of one `Endpoint`. Never reused for another transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferId {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

/// Transfer modes of a read request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Octets as they are.
    Octet,
    /// Text: LF as CR LF, CR as CR NUL.
    Netascii,
}

/// What a read request asks, put to the [`Host`].
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks, by which way.
    pub path: Path,
    /// The file name as it was sent. See [`crate::name::normalise`].
    pub name: &'a [u8],
    /// How the file is wanted. For [`Mode::Netascii`] the host opens the converted text (see
    /// [`crate::netascii`]), so that block, size and retransmission follow one rule.
    pub mode: Mode,
}

/// A file that may be sent.
#[derive(Clone, Debug)]
pub struct Opened<F> {
    /// The driver's handle. It keeps the content alive and unchanged until it is dropped.
    pub file: F,
    /// Octets in it.
    pub len: u64,
}

/// Why a file may not be sent: becomes an ERROR packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code on the wire.
    pub code: ErrorCode,
    /// The text on the wire. Short, printable, and says what to do.
    pub text: &'static str,
}

/// Why a train cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// The content cannot be read: it was cut short from outside, or the disk fails.
    Unreadable,
    /// A block is larger than the way to the client takes, and may not be fragmented.
    TooBig,
}

/// What the driver knows and the protocol does not: which files there are, and who may have them.
pub trait Host {
    /// A handle to a file; cloned when a train leaves, dropped when its transfer ends.
    type File: Clone;

    /// Opens a file, or says why not. It must not block.
    ///
    /// # Errors
    /// The refusal that the client gets.
    fn open(&mut self, question: &Question<'_>) -> Result<Opened<Self::File>, Refusal>;
}

/// A datagram, or a run of DATA datagrams, to send now.
#[derive(Debug)]
pub struct Transmit<'a, F> {
    /// Where to, and from which socket and address.
    pub path: Path,
    /// What.
    pub payload: Payload<'a, F>,
}

/// See [`Transmit`].
#[derive(Debug)]
pub enum Payload<'a, F> {
    /// One datagram, as it is: an OACK or an ERROR.
    Packet(&'a [u8]),
    /// DATA blocks of a file.
    Train(Train<'a, F>),
}

/// Consecutive DATA blocks of one file: `count` datagrams of a header and `blksize` octets, of which only the
/// last one of the file is shorter. At most 64 blocks and 65,507 octets, headers included.
#[derive(Debug)]
pub struct Train<'a, F> {
    /// The transfer, for [`Endpoint::handle_send_failure`](super::Endpoint::handle_send_failure).
    pub transfer: TransferId,
    /// The file.
    pub file: &'a F,
    /// Octets in the file.
    pub len: u64,
    /// The first block.
    pub first: BlockIndex,
    /// How many blocks, at least 1.
    pub count: u16,
    /// Octets in a block.
    pub blksize: u16,
    /// How the blocks are numbered on the wire.
    pub rollover: Rollover,
}

// Whatever the file is: the train only refers to it.
impl<F> Clone for Train<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Train<'_, F> {}

impl<F> Train<'_, F> {
    /// Of the block at `position` (0 up to `count`): its header, and the octets of the file that it carries.
    #[must_use]
    pub fn block(&self, position: u16) -> ([u8; HEADER_BYTES], core::ops::Range<u64>) {
        let index = self.first.0 + u64::from(position);
        let start = ((index - 1) * u64::from(self.blksize)).min(self.len);
        let end = (start + u64::from(self.blksize)).min(self.len);
        (
            data_header(self.rollover.number(BlockIndex(index))),
            start..end,
        )
    }

    /// The octets of the file that the whole train carries.
    #[must_use]
    pub fn span(&self) -> core::ops::Range<u64> {
        self.block(0).1.start..self.block(self.count - 1).1.end
    }

    /// Octets on the wire: headers and payload, without those of UDP and IP.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        let span = self.span();
        usize::from(self.count) * HEADER_BYTES
            + usize::try_from(span.end - span.start).expect("at most TRAIN_BYTES_MAX")
    }
}
