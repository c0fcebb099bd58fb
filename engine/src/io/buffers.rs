//! A ring of receive buffers that the kernel takes from (`IORING_REGISTER_PBUF_RING`).
//!
//! A buffer belongs to the kernel from [`Buffers::publish`] until a completion names it, and to us until
//! [`Buffers::give_back`] and the next `publish`.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use super::address::RawAddress;
use super::arena::Arena;
use crate::limits;

const BUFFER_BYTES: usize = limits::DATAGRAM_BYTES_MAX;

/// The entries, at the start of a page as the kernel wants them.
#[repr(C, align(4096))]
struct Entries([[u8; size_of::<BufRingEntry>()]; limits::RECEIVE_BUFFERS]);

/// See the module.
pub(super) struct Buffers {
    entries: Arena<Entries>,
    octets: Arena<[u8; BUFFER_BYTES]>,
    tail: u16,
}

impl Buffers {
    /// The group that operations name.
    pub(super) const GROUP: u16 = 0;

    /// Registers buffers with a ring. They must outlast it, or be [abandoned](Self::abandon).
    pub(super) fn new(ring: &IoUring) -> io::Result<Self> {
        let mut buffers = Buffers {
            entries: Arena::new(1, || {
                Entries([[0; size_of::<BufRingEntry>()]; limits::RECEIVE_BUFFERS])
            }),
            octets: Arena::new(limits::RECEIVE_BUFFERS, || [0; BUFFER_BYTES]),
            tail: 0,
        };
        let count = u16::try_from(limits::RECEIVE_BUFFERS).expect("at most 32,768");
        // SAFETY: the entries are `count` of them, page-aligned, zeroed, and stay where they are until the
        // ring is gone, or for ever.
        unsafe {
            ring.submitter()
                .register_buf_ring(buffers.entries.at(0) as u64, count, Self::GROUP)?;
        }
        for buffer in 0..count {
            buffers.give_back(buffer);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// What a completion of `len` octets left in a buffer: sender, control messages, datagram.
    pub(super) fn datagram(&self, buffer: u16, len: usize) -> Option<(&[u8], &[u8], &[u8])> {
        if usize::from(buffer) >= limits::RECEIVE_BUFFERS {
            return None;
        }
        // SAFETY: the completion gave the buffer to us, and it is not given back before `self` is
        // borrowed mutably; every bit pattern is a value.
        let octets = unsafe { &*self.octets.at(usize::from(buffer)) };
        // `io_uring_recvmsg_out`: octets of sender, control messages and datagram, and flags; then the three,
        // the first two in fields of the size that was asked for.
        let (header, rest) =
            octets[..len.min(BUFFER_BYTES)].split_at_checked(4 * size_of::<u32>())?;
        let number = |at: usize| {
            let octets = header[4 * at..4 * at + 4].try_into().expect("four octets");
            u32::from_ne_bytes(octets) as usize
        };
        let (sender, rest) = rest.split_at_checked(RawAddress::BYTES as usize)?;
        let (control, datagram) = rest.split_at_checked(limits::ARRIVAL_CONTROL_BYTES)?;
        let cut = |field: &'_ [u8], at| field.len().min(number(at));
        let (sender_len, control_len) = (cut(sender, 0), cut(control, 1));
        Some((&sender[..sender_len], &control[..control_len], datagram))
    }

    /// The buffer may be used again, from the next [`publish`](Self::publish) on.
    pub(super) fn give_back(&mut self, buffer: u16) {
        let position = usize::from(self.tail) % limits::RECEIVE_BUFFERS;
        let address = self.octets.at(usize::from(buffer)) as u64;
        // SAFETY: the entry lies beyond the published tail, where the kernel does not read; `BufRingEntry`
        // is plain numbers of the entry's size. Its last field, which is the tail in the first
        // entry, is not written.
        unsafe {
            let entry = self.entries.at(0).cast::<BufRingEntry>().add(position);
            (*entry).set_addr(address);
            (*entry).set_len(u32::try_from(BUFFER_BYTES).expect("a small number"));
            (*entry).set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel all buffers that were given back.
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry, aligned, and only we write it; the kernel reads it.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.entries.at(0).cast());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }

    /// Leaves the memory to the end of the process: the kernel may still use it.
    pub(super) fn abandon(&mut self) {
        self.entries.abandon();
        self.octets.abandon();
    }
}
