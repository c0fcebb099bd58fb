//! The driver on io_uring: tokio-uring is the executor, and the operations on its ring are ours.
//!
//! Every socket has one receive in flight at all times, across turns; every send is one operation; the doorbell
//! and the timer are reads of an eventfd and a timerfd. All new operations of a turn enter the kernel with the
//! one submission that tokio-uring makes when there is nothing left to do. What else waits at a socket whose receive
//! has completed is read by `recvmmsg`.
//!
//! What the kernel touches lies in arenas of ours, not in the operations: tokio-uring frees the data of operations
//! that are in flight when it is dropped. So nothing here depends on it. [`Driver::close`] cancels and drains;
//! whatever is in flight even then is left to the end of the process.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Path, SocketId, Train};
use io_uring::{cqueue, opcode, squeue, types};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use super::arena::Arena;
use super::batch::Batch;
use super::counters::receive_error_passes;
use super::incoming::{Arrived, Incoming};
use super::queue::{Queue, Slot};
use super::ready::Ready;
use super::{Content, Counters, Doorbell, Driver, Failure, Parts};
use crate::clock::Clock;
use crate::limits;

/// The operations: the doorbell, the timer, the cancellation at the end, then a receive for each socket, then
/// a send for each slot.
const DOORBELL: usize = 0;
const TIMER: usize = 1;
const CANCEL: usize = 2;
const RECEIVES: usize = 3;

/// Gives the result of an operation as it is.
struct Plain;

impl OneshotOutputTransform for Plain {
    type Output = i32;
    type StoredData = ();

    fn transform_oneshot_output(self, (): (), entry: cqueue::Entry) -> i32 {
        entry.result()
    }
}

/// See the module. Only within the runtime of [`start`](super::start()).
pub struct Uring {
    operations: Vec<Option<InFlightOneshot<(), Plain>>>,
    in_flight: usize,
    wakers: Vec<Waker>,
    ready: Arc<Ready>,
    receives: Receives,
    queue: Queue,
    clock: Clock,
    doorbell: Doorbell,
    timer: OwnedFd,
    timer_at: Option<Time>,
    /// What the doorbell and the timer are read into.
    numbers: Arena<[u8; 8]>,
    closing: bool,
    /// The kernel cannot cancel everything at once (before Linux 5.19).
    cannot_cancel: bool,
}

struct Receives {
    incoming: Arena<Incoming>,
    batch: Batch,
}

impl Uring {
    /// A driver of these sockets, on the ring of the current runtime.
    ///
    /// # Errors
    /// No descriptor is left.
    ///
    /// # Panics
    /// Outside of a tokio-uring runtime.
    pub fn new(parts: Parts) -> io::Result<Self> {
        let sockets = parts.sockets.len();
        let operations = RECEIVES + sockets + limits::SENDS_MAX;
        let (ready, wakers) = Ready::new(operations);
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let mut driver = Uring {
            operations: (0..operations).map(|_| None).collect(),
            in_flight: 0,
            wakers,
            ready,
            receives: Receives {
                incoming: Arena::new(sockets, Incoming::new),
                batch: Batch::new(),
            },
            queue: Queue::new(parts.sockets, false),
            clock: parts.clock,
            doorbell: parts.doorbell,
            timer,
            timer_at: None,
            numbers: Arena::new(2, || [0; 8]),
            closing: false,
            cannot_cancel: false,
        };
        driver.post_number(DOORBELL);
        driver.post_number(TIMER);
        for socket in 0..sockets {
            driver.post_receive(socket);
        }
        Ok(driver)
    }

    /// Puts an operation on the ring. What its entry points to must stay until it completes.
    fn post(&mut self, operation: usize, entry: squeue::Entry) {
        debug_assert!(self.operations[operation].is_none(), "one at a time");
        let mut future = UnsubmittedOneshot::new((), Plain, entry).submit();
        // The first look only leaves the waker: nothing is complete before the submission.
        let mut context = Context::from_waker(&self.wakers[operation]);
        let first = Pin::new(&mut future).poll(&mut context);
        debug_assert!(first.is_pending(), "not yet submitted");
        self.operations[operation] = Some(future);
        self.in_flight += 1;
    }

    fn post_number(&mut self, operation: usize) {
        let fd = if operation == DOORBELL {
            self.doorbell.fd()
        } else {
            self.timer.as_raw_fd()
        };
        // In the arena until the read completes, and `finish` does not look at it.
        let number = self.numbers.at(operation).cast::<u8>();
        self.post(
            operation,
            opcode::Read::new(types::Fd(fd), number, 8).build(),
        );
    }

    fn post_receive(&mut self, socket: usize) {
        // SAFETY: no receive of this socket is in flight, so nothing else refers to its buffers.
        let header = unsafe { &mut *self.receives.incoming.at(socket) }.post();
        let fd = types::Fd(self.queue.sockets[socket].fd());
        // The buffers stay in the arena, and are not touched before the completion.
        self.post(RECEIVES + socket, opcode::RecvMsg::new(fd, header).build());
    }

    /// Puts everything queued on the ring. The ring holds as much as the queue and all receives.
    fn post_sends(&mut self) {
        for position in 0..self.queue.queued().len() {
            let slot = self.queue.queued()[position];
            let (socket, header) = self.queue.post(slot);
            let fd = types::Fd(self.queue.sockets[usize::from(socket.0)].fd());
            let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).cast_unsigned();
            // The header and what it points to stay in the queue's arena until `finish`.
            let entry = opcode::SendMsg::new(fd, header).flags(flags).build();
            self.post(self.send_operation(slot), entry);
        }
        self.queue.queued().clear();
    }

    fn send_operation(&self, slot: Slot) -> usize {
        RECEIVES + self.queue.sockets.len() + slot
    }

    /// Sets the timer, unless it fires early enough as it is; then the turn ends early, and the next sets it.
    fn set_timer(&mut self, deadline: Option<Time>) -> io::Result<()> {
        let Some(deadline) = deadline else {
            return Ok(());
        };
        if self.timer_at.is_some_and(|at| at <= deadline) {
            return Ok(());
        }
        // Zero would disarm it.
        let wait = self.clock.until(deadline).max(Duration::from_nanos(1));
        let timer = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        self.timer_at = Some(deadline);
        Ok(())
    }

    /// Takes all completions; whether any of them ends the turn.
    fn reap(&mut self, deliver: &mut dyn FnMut(Path, &[u8])) -> io::Result<bool> {
        let had_room = self.queue.has_room();
        let mut progress = false;
        let ready = self.ready.clone();
        for (first, mut bits) in ready.take() {
            while bits != 0 {
                let operation = first + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(result) = self.complete(operation) {
                    progress |= self.finish(operation, result, deliver)?;
                }
            }
        }
        Ok(progress || self.queue.has_failures() || had_room != self.queue.has_room())
    }

    /// The result of an operation that said to be done; none of one that was polled in vain.
    fn complete(&mut self, operation: usize) -> Option<i32> {
        let future = self.operations[operation].as_mut()?;
        let mut context = Context::from_waker(&self.wakers[operation]);
        match Pin::new(future).poll(&mut context) {
            Poll::Pending => None,
            Poll::Ready(result) => {
                self.operations[operation] = None;
                self.in_flight -= 1;
                Some(result)
            }
        }
    }

    fn finish(
        &mut self,
        operation: usize,
        result: i32,
        deliver: &mut dyn FnMut(Path, &[u8]),
    ) -> io::Result<bool> {
        if let Some(slot) = operation.checked_sub(RECEIVES + self.queue.sockets.len()) {
            self.queue
                .finish(slot, if result < 0 { -result } else { 0 });
            return Ok(false);
        }
        match operation {
            CANCEL => self.cannot_cancel = matches!(-result, libc::EINVAL | libc::EOPNOTSUPP),
            DOORBELL | TIMER => {
                if operation == TIMER {
                    self.timer_at = None;
                }
                if !self.closing {
                    self.post_number(operation);
                }
            }
            _ => self.finish_receive(operation - RECEIVES, result, deliver)?,
        }
        Ok(true)
    }

    fn finish_receive(
        &mut self,
        index: usize,
        result: i32,
        deliver: &mut dyn FnMut(Path, &[u8]),
    ) -> io::Result<()> {
        let id = SocketId(u16::try_from(index).expect("a socket's position"));
        let counters = &mut self.queue.counters;
        if let Ok(len) = usize::try_from(result) {
            // SAFETY: the receive has completed and is not posted again before the end of this block.
            let incoming = unsafe { &*self.receives.incoming.at(index) };
            match incoming.arrived(id, len) {
                Arrived::Datagram(path, bytes) => {
                    counters.datagrams_received += 1;
                    deliver(path, bytes);
                }
                Arrived::Ignored => counters.datagrams_ignored += 1,
            }
            // More may have come meanwhile: a look costs less than another way through the ring.
            let socket = &self.queue.sockets[index];
            self.receives.batch.drain(id, socket, counters, deliver)?;
        } else if !matches!(-result, libc::EAGAIN | libc::EINTR | libc::ECANCELED) {
            counters.receive_errors += 1;
            receive_error_passes(-result)?;
        }
        if !self.closing {
            self.post_receive(index);
        }
        Ok(())
    }
}

impl Driver for Uring {
    async fn turn(
        &mut self,
        deadline: Option<Time>,
        deliver: &mut dyn FnMut(Path, &[u8]),
    ) -> io::Result<()> {
        self.post_sends();
        if self.queue.has_failures() {
            return Ok(());
        }
        self.set_timer(deadline)?;
        self.queue.counters.turns += 1;
        // Never ready at first: nothing enters the kernel before the executor has nothing to do.
        poll_fn(|context| {
            self.ready.listen(context.waker());
            match self.reap(deliver) {
                Ok(false) => Poll::Pending,
                Ok(true) => Poll::Ready(Ok(())),
                Err(error) => Poll::Ready(Err(error)),
            }
        })
        .await
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
        self.post_sends();
        self.closing = true;
        let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
        self.post(CANCEL, cancel);
        // No operation of ours can outlast its cancellation: sends do not wait, and all others wait to be
        // woken. The bound is for a kernel that thinks otherwise.
        let give_up = self.clock.now() + limits::CLOSE_PATIENCE;
        while self.in_flight > 0 && !self.cannot_cancel && self.clock.now() < give_up {
            let reaped = poll_fn(|context| {
                self.ready.listen(context.waker());
                let before = self.in_flight;
                match self.reap(&mut |_, _| {}) {
                    Ok(_) if self.in_flight == before => Poll::Pending,
                    result => Poll::Ready(result),
                }
            })
            .await;
            if reaped.is_err() {
                break;
            }
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.in_flight > 0 {
            self.receives.incoming.abandon();
            self.numbers.abandon();
            self.queue.abandon();
        }
    }
}
