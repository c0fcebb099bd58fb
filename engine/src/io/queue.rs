//! The sends of one driver, queued and in flight: slots, failures, and the way round a refused train.
//!
//! A slot is free, queued, or in flight; only a free one is filled. Slots are made once. A slot that leaves without a
//! copy is in flight until its lease is over, which is later than its send.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use daybreak_tftp::endpoint::{Path, SocketId, Train};

use super::arena::Arena;
use super::counters::{Counters, SendError};
use super::offload::Offload;
use super::outgoing::{Outgoing, Sending};
use super::socket::Socket;
use super::zero_copy::{self, ZeroCopy};
use super::{Content, Failure};
use crate::limits;

/// A send slot.
pub(super) type Slot = usize;

pub(super) struct Queue {
    pub(super) sockets: Arc<[Socket]>,
    pub(super) counters: Counters,
    outgoing: Arena<Outgoing>,
    /// Of every slot that is not free.
    sending: Vec<Option<Sending>>,
    free: Vec<Slot>,
    queued: Vec<Slot>,
    failures: VecDeque<Failure>,
    offload: Offload,
    zero_copy: ZeroCopy,
    /// Messages of a train that goes block by block.
    singles: Box<[libc::mmsghdr; limits::TRAIN_BLOCKS_MAX]>,
}

impl Queue {
    pub(super) fn new(sockets: Arc<[Socket]>, zero_copy: bool) -> Self {
        // SAFETY: `mmsghdr` is pointers and numbers, for which all zeros is a value.
        let singles = Box::new(unsafe { std::mem::zeroed() });
        Queue {
            sockets,
            counters: Counters::default(),
            outgoing: Arena::new(limits::SENDS_MAX, Outgoing::new),
            sending: (0..limits::SENDS_MAX).map(|_| None).collect(),
            free: (0..limits::SENDS_MAX).rev().collect(),
            queued: Vec::with_capacity(limits::SENDS_MAX),
            failures: VecDeque::with_capacity(limits::FAILURES_MAX),
            offload: Offload::default(),
            zero_copy: ZeroCopy::new(zero_copy),
            singles,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        // Without a copy a train may be cut into as many sends as it has blocks.
        let most = match self.zero_copy.is_on() {
            true => limits::TRAIN_BLOCKS_MAX,
            false => 1,
        };
        self.free.len() >= most
    }

    /// Sends whose memory the kernel may still read although they are over.
    pub(super) fn leases(&self) -> u64 {
        self.counters.zero_copy_sends - self.counters.zero_copy_released
    }

    pub(super) fn next_failure(&mut self) -> Option<Failure> {
        self.failures.pop_front()
    }

    pub(super) fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    pub(super) fn push_packet(&mut self, path: &Path, packet: &[u8]) {
        let Some((slot, socket)) = self.free_slot(path) else {
            return;
        };
        let source = self.sockets[socket].source(path);
        // SAFETY: the slot is free, so nothing else refers to it, the kernel included.
        let outgoing = unsafe { &mut *self.outgoing.at(slot) };
        self.sending[slot] = Some(outgoing.fill_packet(path, source, packet));
        self.queued.push(slot);
    }

    pub(super) fn push_train(&mut self, path: &Path, train: &Train<'_, Content>) {
        if !self.zero_copy.takes(path.remote.ip(), train.wire_bytes()) {
            return self.push_blocks(path, train, false);
        }
        let mut rest = *train;
        while rest.count > 0 {
            let count = zero_copy::fitting(&rest);
            if count == 0 {
                return self.push_blocks(path, &rest, false);
            }
            self.push_blocks(path, &Train { count, ..rest }, true);
            rest.first.0 += u64::from(count);
            rest.count -= count;
        }
    }

    fn push_blocks(&mut self, path: &Path, train: &Train<'_, Content>, zero_copy: bool) {
        let Some((slot, socket)) = self.free_slot(path) else {
            return;
        };
        let source = self.sockets[socket].source(path);
        // SAFETY: the slot is free, so nothing else refers to it, the kernel included.
        let outgoing = unsafe { &mut *self.outgoing.at(slot) };
        let Ok(mut sending) = outgoing.fill_train(path, source, train) else {
            // A train beyond its content is our own mistake; the transfer must not go on.
            self.free.push(slot);
            self.counters.count_send_error(SendError::Fault);
            self.fail(Failure {
                transfer: train.transfer,
                error: SendError::Fault,
            });
            return;
        };
        let alone = sending.count > 1 && !self.offload.allows(path.remote.ip(), sending.segment);
        sending.zero_copy = zero_copy && !alone;
        self.sending[slot] = Some(sending);
        if alone {
            self.counters.trains_singly += 1;
            self.send_singly(slot);
            self.release(slot);
        } else {
            self.queued.push(slot);
        }
    }

    fn free_slot(&mut self, path: &Path) -> Option<(Slot, usize)> {
        let socket = usize::from(path.socket.0);
        if socket < self.sockets.len()
            && let Some(slot) = self.free.pop()
        {
            return Some((slot, socket));
        }
        self.counters.sends_dropped += 1;
        None
    }

    /// The queued slots, in order, to be submitted now: from here on they are in flight.
    pub(super) fn queued(&mut self) -> &mut Vec<Slot> {
        &mut self.queued
    }

    /// Socket and message header of a slot that is in flight from now on. The header and all it points to
    /// stay where they are until the slot is [finished](Self::finish), for ever if the queue was abandoned.
    pub(super) fn post(&mut self, slot: Slot) -> (SocketId, *const libc::msghdr) {
        self.counters.sends += 1;
        let sending = self.sending[slot].as_ref().expect("queued");
        self.counters.zero_copy_sends += u64::from(sending.zero_copy);
        let socket = sending.path.socket;
        // SAFETY: the slot is queued, not yet in flight, so the kernel does not know it.
        (socket, unsafe { &mut *self.outgoing.at(slot) }.post())
    }

    /// Whether a queued slot is to leave without a copy.
    pub(super) fn is_zero_copy(&self, slot: Slot) -> bool {
        self.sending[slot].as_ref().expect("queued").zero_copy
    }

    pub(super) fn socket_of(&self, slot: Slot) -> SocketId {
        self.sending[slot].as_ref().expect("queued").path.socket
    }

    /// The send of a slot has ended, with an errno or 0; the slot is free again. A train that was refused
    /// as one leaves block by block at once.
    pub(super) fn finish(&mut self, slot: Slot, errno: i32) {
        self.settle(slot, errno);
        self.release(slot);
    }

    /// What a send without a copy came to, an errno or 0. Its lease is not over by that: the slot stays in
    /// flight until [`end_lease`](Self::end_lease).
    pub(super) fn settle_zero_copy(&mut self, slot: Slot, errno: i32) {
        if !ZeroCopy::is_refusal(errno) {
            return self.settle(slot, errno);
        }
        self.counters.zero_copy_refused += 1;
        let copied = self.send_copying(slot);
        self.settle(slot, copied);
        if copied == 0 {
            let remote = self.sending[slot].as_ref().expect("in flight").path.remote;
            self.zero_copy.refuse(remote.ip(), errno);
        }
    }

    /// A send without a copy that the kernel did not understand leaves with one; nothing is held against anybody.
    pub(super) fn finish_copying(&mut self, slot: Slot) {
        let copied = self.send_copying(slot);
        self.settle(slot, copied);
    }

    /// The kernel refers to nothing of a slot any more; `copied` if it never did. The slot is free again.
    pub(super) fn end_lease(&mut self, slot: Slot, copied: bool) {
        self.counters.zero_copy_released += 1;
        self.counters.zero_copy_copied += u64::from(copied);
        self.release(slot);
    }

    /// Deals with the end of a send: an errno or 0.
    fn settle(&mut self, slot: Slot, errno: i32) {
        if errno == 0 {
            return;
        }
        let sending = self.sending[slot].as_ref().expect("in flight");
        let (remote, segment) = (sending.path.remote.ip(), sending.segment);
        if sending.count > 1 && Offload::is_refusal(errno) {
            self.counters.trains_refused += 1;
            // Only if the blocks go by themselves was it the offload that was refused.
            if self.send_singly(slot) > 0 {
                self.offload.refuse(remote, segment, errno);
            }
        } else {
            self.count_failure(slot, errno);
        }
    }

    fn release(&mut self, slot: Slot) {
        self.sending[slot] = None;
        self.free.push(slot);
    }

    fn count_failure(&mut self, slot: Slot, errno: i32) {
        let error = SendError::of(errno);
        self.counters.count_send_error(error);
        let transfer = self.sending[slot]
            .as_ref()
            .and_then(|sending| sending.transfer);
        if let Some(transfer) = transfer
            && error.is_final()
        {
            self.fail(Failure { transfer, error });
        }
    }

    fn fail(&mut self, failure: Failure) {
        if self.failures.len() < limits::FAILURES_MAX {
            self.failures.push_back(failure);
        }
    }

    /// Sends a slot that was refused without a copy; an errno or 0. The kernel may still read it, and so do we.
    fn send_copying(&mut self, slot: Slot) -> i32 {
        let socket = self.socket_of(slot);
        // SAFETY: the slot is filled, and its send is over: nothing writes to it but `post`, which writes the same
        // pointers again, and those the kernel read when it took the send.
        let header = unsafe { &mut *self.outgoing.at(slot) }.post();
        // SAFETY: as above; the header is plain numbers and pointers, and is copied.
        self.singles[0].msg_hdr = unsafe { *header };
        let socket = &self.sockets[usize::from(socket.0)];
        let (sent, errno) = send_messages(socket, &mut self.singles[..1]);
        self.counters.sends += sent as u64;
        errno
    }

    /// Sends the blocks of a slot one by one; how many left. The slot is not in flight.
    fn send_singly(&mut self, slot: Slot) -> usize {
        let sending = self.sending[slot].as_ref().expect("filled");
        let (count, socket) = (sending.count, usize::from(sending.path.socket.0));
        // SAFETY: the slot is filled and not in flight, so nothing else refers to it.
        unsafe { &mut *self.outgoing.at(slot) }.post_singly(count, &mut self.singles);
        let messages = &mut self.singles[..usize::from(count)];
        let (sent, errno) = send_messages(&self.sockets[socket], messages);
        self.counters.sends += sent as u64;
        if errno != 0 {
            self.count_failure(slot, errno);
        }
        sent
    }

    /// Leaves everything that is in flight to the end of the process.
    pub(super) fn abandon(&mut self) {
        self.outgoing.abandon();
        self.sending.drain(..).for_each(std::mem::forget);
    }
}

/// Sends messages of one socket in order, up to the first that fails: how many left, and its errno or 0.
/// Every header must point to memory that lives through the call.
pub(super) fn send_messages(socket: &Socket, messages: &mut [libc::mmsghdr]) -> (usize, i32) {
    let mut sent = 0;
    while sent < messages.len() {
        let rest = &mut messages[sent..];
        // SAFETY: both callers fill the headers from slots that are filled and not yet finished, in
        // an arena that does not move; the count is that of the headers.
        let count = unsafe {
            libc::sendmmsg(
                socket.fd(),
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        match usize::try_from(count) {
            Ok(count) if count > 0 => sent += count,
            Ok(_) => return (sent, libc::EAGAIN),
            Err(_) => match io::Error::last_os_error()
                .raw_os_error()
                .unwrap_or(libc::EIO)
            {
                libc::EINTR => {}
                errno => return (sent, errno),
            },
        }
    }
    (sent, 0)
}
