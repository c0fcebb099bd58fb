//! Room for one datagram to be received, with its sender and the address that it was sent to.

use daybreak_tftp::endpoint::{Path, SocketId};

use super::address::RawAddress;
use super::control::Control;
use crate::limits;

/// One receive buffer and everything the kernel writes beside it. It points into itself while it is posted, so
/// it must not move then.
pub(super) struct Incoming {
    message: libc::msghdr,
    segment: libc::iovec,
    sender: RawAddress,
    control: Control,
    bytes: [u8; limits::DATAGRAM_BYTES_MAX],
}

/// What arrived.
pub(super) enum Arrived<'a> {
    /// A datagram for us.
    Datagram(Path, &'a [u8]),
    /// Something that must not be answered: sent to a broadcast or multicast address, or without a sender.
    Ignored,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Incoming {
            // SAFETY: `msghdr` is pointers and numbers, for which all zeros is a value.
            message: unsafe { std::mem::zeroed() },
            segment: libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
            sender: RawAddress::empty(),
            control: Control::empty(),
            bytes: [0; limits::DATAGRAM_BYTES_MAX],
        }
    }

    /// Makes ready for one receive and gives the message header of it. The pointers in it are good for as long
    /// as this does not move.
    pub(super) fn post(&mut self) -> *mut libc::msghdr {
        self.segment.iov_base = self.bytes.as_mut_ptr().cast();
        self.segment.iov_len = self.bytes.len();
        self.message.msg_name = (&raw mut self.sender).cast();
        self.message.msg_namelen = RawAddress::BYTES;
        self.message.msg_iov = &raw mut self.segment;
        self.message.msg_iovlen = 1;
        self.message.msg_control = self.control.as_mut_ptr().cast();
        self.message.msg_controllen = Control::BYTES;
        self.message.msg_flags = 0;
        &raw mut self.message
    }

    /// Reads the message header back from where the kernel was given a copy of it (`recvmmsg`).
    pub(super) fn take_header(&mut self, header: &libc::msghdr) {
        self.message.msg_namelen = header.msg_namelen;
        self.message.msg_controllen = header.msg_controllen;
    }

    /// What was received: `len` octets on `socket`.
    pub(super) fn arrived(&self, socket: SocketId, len: usize) -> Arrived<'_> {
        let Some(remote) = self.sender.get(self.message.msg_namelen) else {
            return Arrived::Ignored;
        };
        // Port 0 cannot be answered.
        if remote.port() == 0 {
            return Arrived::Ignored;
        }
        let arrival = self.control.arrival(self.message.msg_controllen);
        if arrival.is_some_and(|arrival| !arrival.is_unicast()) {
            return Arrived::Ignored;
        }
        let path = Path {
            socket,
            remote,
            local: arrival.map(|arrival| arrival.local),
        };
        Arrived::Datagram(path, &self.bytes[..len.min(self.bytes.len())])
    }
}
