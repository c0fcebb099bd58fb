//! The driver on a ring of our own: multishot receives, and one system call a turn.
//!
//! Every socket has one receive that stays posted and completes once for each datagram, into a buffer that the
//! kernel takes from a ring of them; a buffer goes back as soon as its datagram was delivered. `io_uring_enter` is
//! the only call of a turn: it takes all sends, runs them, and waits for something to arrive or for the deadline.
//!
//! A send does not wait (`MSG_DONTWAIT`), so the kernel runs it to its end while it takes it: when the call has
//! returned, what it took is over, and only failures were reported. So sends cost no completion, and do not end
//! the wait. Linux 6.1 is needed; [`supported`] tells.
//!
//! A send without a copy (`SENDMSG_ZC`, as an opt-in) completes twice: with its result, and, some time after, with the
//! notice that the kernel refers to its memory no more. Until then its slot is leased.

use std::collections::VecDeque;
use std::io;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Path, SocketId, Train};
use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::address;
use super::arena::Arena;
use super::buffers::Buffers;
use super::control;
use super::counters::receive_error_passes;
use super::queue::{Queue, Slot};
use super::ring::RingError;
use super::{Content, Counters, Doorbell, Driver, Failure, Parts};
use crate::clock::Clock;
use crate::limits;

/// What an operation is, in the upper half of its user data; the lower half is a slot or a socket.
const SEND: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;
const DOORBELL: u64 = 3 << 32;
const CANCEL: u64 = 4 << 32;
const SEND_ZERO_COPY: u64 = 5 << 32;

/// Of `SENDMSG_ZC`: the notice is to say whether the kernel copied after all (Linux 6.2).
const REPORT_USAGE: u16 = 1 << 3;
/// What such a notice says then.
const USAGE_COPIED: u32 = 1 << 31;
/// Of a completion: it is a notice. The crate does not name the flag.
const NOTICE: u32 = 1 << 3;

/// See the module. On the thread that made it.
pub struct Multishot {
    ring: IoUring,
    buffers: Buffers,
    /// How much room the kernel leaves for sender and control messages in each buffer.
    layout: Arena<libc::msghdr>,
    /// What the doorbell is read into.
    number: Arena<[u8; 8]>,
    queue: Queue,
    /// Sends on the ring that the kernel has not taken yet, in order. `None`: one without a copy, whose completions say
    /// when it is over.
    offered: VecDeque<Option<Slot>>,
    /// What every send without a copy asks for besides.
    zero_copy_flags: u16,
    /// Sends of which a failure was reported.
    failed: Vec<Slot>,
    /// Receives and the doorbell's read that are to be posted.
    unposted: Vec<u64>,
    /// Receives and reads that the kernel holds.
    posted: usize,
    closing: bool,
    clock: Clock,
    doorbell: Doorbell,
}

/// Whether this kernel has what the driver needs.
///
/// # Errors
/// There is no ring at all.
pub fn supported() -> Result<bool, RingError> {
    match ring(8) {
        Ok(ring) => Ok(ring.params().is_feature_skip_cqe_on_success()),
        // A flag that the kernel does not know.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(RingError::of(error)),
    }
}

fn ring(entries: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(entries * 4)
        .build(entries)
}

impl Multishot {
    /// A driver of these sockets.
    ///
    /// # Errors
    /// The ring cannot be made, or not with these sockets.
    pub fn new(parts: Parts) -> io::Result<Self> {
        let entries = (limits::SENDS_MAX + parts.sockets.len() + 2).next_power_of_two();
        let ring = ring(u32::try_from(entries).expect("a small number"))?;
        let files: Vec<_> = parts.sockets.iter().map(super::Socket::fd).collect();
        ring.submitter().register_files(&files)?;
        let buffers = Buffers::new(&ring)?;
        let layout = Arena::new(1, || {
            // SAFETY: `msghdr` is pointers and numbers, for which all zeros is a value.
            let mut layout: libc::msghdr = unsafe { std::mem::zeroed() };
            layout.msg_namelen = address::RawAddress::BYTES;
            layout.msg_controllen = limits::ARRIVAL_CONTROL_BYTES;
            layout
        });
        let receives = (0..parts.sockets.len() as u64).map(|socket| RECEIVE | socket);
        Ok(Multishot {
            ring,
            buffers,
            layout,
            number: Arena::new(1, || [0; 8]),
            offered: VecDeque::with_capacity(limits::SENDS_MAX),
            zero_copy_flags: REPORT_USAGE,
            failed: Vec::with_capacity(limits::SENDS_MAX),
            unposted: receives.chain([DOORBELL]).collect(),
            posted: 0,
            closing: false,
            queue: Queue::new(parts.sockets, parts.zero_copy),
            clock: parts.clock,
            doorbell: parts.doorbell,
        })
    }

    /// Puts an operation on the ring. What its entry points to must stay until it completes.
    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: all pointers of our entries lead into arenas, which outlast the operation: sends are
        // over when they have been taken, and for the others see `close` and `drop`.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.expect("the ring holds every slot, every socket and two more");
    }

    fn post(&mut self, operation: u64) {
        let entry = match operation {
            DOORBELL => {
                let fd = types::Fd(self.doorbell.fd());
                opcode::Read::new(fd, self.number.at(0).cast(), 8).build()
            }
            _ => {
                let socket = types::Fixed(u32::try_from(operation - RECEIVE).expect("a position"));
                opcode::RecvMsgMulti::new(socket, self.layout.at(0), Buffers::GROUP).build()
            }
        };
        self.push(&entry.user_data(operation));
        self.posted += 1;
    }

    fn offer_sends(&mut self) {
        for position in 0..self.queue.queued().len() {
            let slot = self.queue.queued()[position];
            let zero_copy = self.queue.is_zero_copy(slot);
            let (socket, header) = self.queue.post(slot);
            let socket = types::Fixed(socket.0.into());
            let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).cast_unsigned();
            let entry = if zero_copy {
                opcode::SendMsgZc::new(socket, header)
                    .flags(flags)
                    .ioprio(self.zero_copy_flags)
                    .build()
                    .user_data(SEND_ZERO_COPY | slot as u64)
            } else {
                opcode::SendMsg::new(socket, header)
                    .flags(flags)
                    .build()
                    .flags(squeue::Flags::SKIP_SUCCESS)
                    .user_data(SEND | slot as u64)
            };
            self.push(&entry);
            self.offered.push_back((!zero_copy).then_some(slot));
        }
        self.queue.queued().clear();
    }

    /// Enters the kernel: it takes what is on the ring, and waits until `deadline` for a completion.
    fn enter(&mut self, deadline: Option<Time>) -> io::Result<()> {
        let wait = deadline.map(|deadline| types::Timespec::from(self.clock.until(deadline)));
        let mut arguments = types::SubmitArgs::new();
        if let Some(wait) = &wait {
            arguments = arguments.timespec(wait);
        }
        match self.ring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // The deadline, a signal, or completions that must be taken first.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Takes all completions, and the sends that are over.
    fn reap(&mut self, deliver: &mut dyn FnMut(Path, &[u8])) -> io::Result<()> {
        let Multishot {
            ring,
            buffers,
            queue,
            failed,
            unposted,
            posted,
            zero_copy_flags,
            ..
        } = self;
        let mut result = Ok(());
        for entry in ring.completion() {
            let index = (entry.user_data() & 0xffff_ffff) as usize;
            let kind = entry.user_data() - index as u64;
            if kind == SEND {
                queue.finish(index, -entry.result());
                failed.push(index);
                continue;
            }
            if kind == SEND_ZERO_COPY {
                finish_zero_copy(index, &entry, queue, zero_copy_flags);
                continue;
            }
            if kind == RECEIVE {
                let received = finish_receive(index, &entry, buffers, &mut queue.counters, deliver);
                result = result.and(received);
            }
            if kind != CANCEL && !cqueue::more(entry.flags()) {
                *posted -= 1;
                unposted.push(entry.user_data());
            }
        }
        buffers.publish();
        let waiting = self.ring.submission().len();
        // Entries that are not sends follow the sends of their turn, or were taken with those before.
        let untaken = waiting.min(self.offered.len());
        let taken = self.offered.drain(..self.offered.len() - untaken);
        for slot in taken.flatten() {
            if !self.failed.contains(&slot) {
                self.queue.finish(slot, 0);
            }
        }
        self.failed.clear();
        result
    }
}

/// One of the two completions of a send without a copy.
fn finish_zero_copy(slot: Slot, entry: &cqueue::Entry, queue: &mut Queue, flags: &mut u16) {
    if entry.flags() & NOTICE != 0 {
        let copied = entry.result().cast_unsigned() & USAGE_COPIED != 0;
        return queue.end_lease(slot, copied);
    }
    let errno = (-entry.result()).max(0);
    // A send that was not even begun has no lease, and so no notice to come.
    let begun = cqueue::more(entry.flags());
    if errno == libc::EINVAL && !begun && std::mem::take(flags) != 0 {
        // Linux 6.1 does not report: from now on it is not asked to.
        queue.finish_copying(slot);
    } else {
        queue.settle_zero_copy(slot, errno);
    }
    if !begun {
        queue.end_lease(slot, false);
    }
}

fn finish_receive(
    index: usize,
    entry: &cqueue::Entry,
    buffers: &mut Buffers,
    counters: &mut Counters,
    deliver: &mut dyn FnMut(Path, &[u8]),
) -> io::Result<()> {
    let Ok(len) = usize::try_from(entry.result()) else {
        let errno = -entry.result();
        if !matches!(
            errno,
            libc::ENOBUFS | libc::EAGAIN | libc::EINTR | libc::ECANCELED
        ) {
            counters.receive_errors += 1;
            return receive_error_passes(errno);
        }
        return Ok(());
    };
    let Some(buffer) = cqueue::buffer_select(entry.flags()) else {
        return Ok(());
    };
    let socket = SocketId(u16::try_from(index).expect("a socket's position"));
    match buffers
        .datagram(buffer, len)
        .and_then(|(sender, control, bytes)| {
            let remote = address::parse(sender).filter(|remote| remote.port() != 0)?;
            let arrival = control::arrival(control);
            let local = match arrival {
                Some(arrival) if !arrival.is_unicast() => return None,
                arrival => arrival.map(|arrival| arrival.local),
            };
            Some((
                Path {
                    socket,
                    remote,
                    local,
                },
                bytes,
            ))
        }) {
        Some((path, bytes)) => {
            counters.datagrams_received += 1;
            deliver(path, bytes);
        }
        None => counters.datagrams_ignored += 1,
    }
    buffers.give_back(buffer);
    Ok(())
}

impl Driver for Multishot {
    async fn turn(
        &mut self,
        deadline: Option<Time>,
        deliver: &mut dyn FnMut(Path, &[u8]),
    ) -> io::Result<()> {
        let was_full = !self.queue.has_room();
        self.offer_sends();
        // There is room again as soon as sends with a copy were taken; for others a completion ends the wait.
        let at_once = was_full && self.offered.iter().any(Option::is_some);
        if self.queue.has_failures() {
            return Ok(());
        }
        while let Some(operation) = self.unposted.pop() {
            self.post(operation);
        }
        self.queue.counters.turns += 1;
        self.enter(if at_once { Some(Time::ZERO) } else { deadline })?;
        self.reap(deliver)
    }

    fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    fn send_packet(&mut self, path: Path, packet: &[u8]) {
        self.queue.push_packet(&path, packet);
    }

    fn send_train(&mut self, path: Path, train: &Train<'_, Content>) {
        self.queue.push_train(&path, train);
    }

    fn next_failure(&mut self) -> Option<Failure> {
        self.queue.next_failure()
    }

    fn counters(&self) -> &Counters {
        &self.queue.counters
    }

    async fn close(&mut self) {
        self.offer_sends();
        self.closing = true;
        let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
        self.push(&cancel.user_data(CANCEL));
        let give_up = self.clock.now() + limits::CLOSE_PATIENCE;
        // Everything that waits to be woken can be cancelled, and every lease ends when its packets have left. The bound is for a kernel that thinks otherwise.
        while (self.posted > 0 || self.queue.leases() > 0) && self.clock.now() < give_up {
            if self.enter(Some(give_up)).is_err() || self.reap(&mut |_, _| {}).is_err() {
                break;
            }
        }
        if self.queue.leases() > 0 {
            let leases = self.queue.leases();
            tracing::warn!(
                leases,
                "sends without a copy have not left yet: their memory is left to the end of the process"
            );
        }
        // The ring ends after the process does; its sockets must not.
        let _ = self.ring.submitter().unregister_files();
    }
}

impl Drop for Multishot {
    fn drop(&mut self) {
        if self.posted > 0 || !self.offered.is_empty() || self.queue.leases() > 0 {
            self.buffers.abandon();
            self.layout.abandon();
            self.number.abandon();
            self.queue.abandon();
        }
    }
}
