//! The driver for every Linux: epoll, `recvmmsg`, `sendmmsg`.

use std::io;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Path, SocketId, Train};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use super::batch::Batch;
use super::queue::{Queue, Slot, send_messages};
use super::{Content, Counters, Doorbell, Driver, Failure, Parts};
use crate::clock::Clock;
use crate::limits;

/// What epoll says for the doorbell; sockets have their positions.
const DOORBELL: u64 = u64::MAX;

/// See the module.
pub struct Portable {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    batch: Batch,
    queue: Queue,
    /// The sends of one flush, by socket; kept for its memory.
    order: Vec<(SocketId, usize, Slot)>,
    messages: Vec<libc::mmsghdr>,
    doorbell: Doorbell,
    clock: Clock,
}

impl Portable {
    /// A driver of these sockets.
    ///
    /// # Errors
    /// Those of epoll_create(2) and epoll_ctl(2).
    pub fn new(parts: Parts) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (id, socket) in (0..).zip(&*parts.sockets) {
            epoll::add(
                &epoll,
                socket,
                epoll::EventData::new_u64(id),
                epoll::EventFlags::IN,
            )?;
        }
        let bell = epoll::EventData::new_u64(DOORBELL);
        epoll::add(&epoll, &parts.doorbell, bell, epoll::EventFlags::IN)?;
        Ok(Portable {
            epoll,
            events: Vec::with_capacity(parts.sockets.len() + 1),
            batch: Batch::new(),
            queue: Queue::new(parts.sockets, false),
            order: Vec::with_capacity(limits::SENDS_MAX),
            messages: Vec::with_capacity(limits::SENDS_MAX),
            doorbell: parts.doorbell,
            clock: parts.clock,
        })
    }

    /// Sends everything that is queued. Sends of one socket leave together and in order; those of
    /// different sockets are for different clients.
    fn flush(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        for position in 0..self.queue.queued().len() {
            let slot = self.queue.queued()[position];
            order.push((self.queue.socket_of(slot), position, slot));
        }
        self.queue.queued().clear();
        // By the position too: so the order within a socket stays, without the memory of a stable sort.
        order.sort_unstable();
        for run in order.chunk_by(|a, b| a.0 == b.0) {
            let socket = usize::from(run[0].0.0);
            self.messages.clear();
            for &(_, _, slot) in run {
                let (_, header) = self.queue.post(slot);
                // SAFETY: `post` gives a pointer to the header inside the slot, which is filled.
                let msg_hdr = unsafe { *header };
                self.messages.push(libc::mmsghdr {
                    msg_hdr,
                    msg_len: 0,
                });
            }
            let mut at = 0;
            while at < run.len() {
                let (sent, errno) =
                    send_messages(&self.queue.sockets[socket], &mut self.messages[at..]);
                for &(_, _, slot) in &run[at..at + sent] {
                    self.queue.finish(slot, 0);
                }
                at += sent;
                // A full buffer is full for the rest too; any other error is that of one message.
                let failed = match errno {
                    0 => 0,
                    libc::EAGAIN | libc::ENOBUFS => run.len() - at,
                    _ => 1,
                };
                for &(_, _, slot) in &run[at..at + failed] {
                    self.queue.finish(slot, errno);
                }
                at += failed;
            }
        }
        order.clear();
        self.order = order;
    }

    fn wait(&mut self, deadline: Option<Time>, at_once: bool) -> io::Result<()> {
        let timeout = if at_once || self.queue.has_failures() {
            Some(Timespec::default())
        } else {
            deadline.map(|deadline| {
                let wait = self.clock.until(deadline);
                Timespec {
                    tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: wait.subsec_nanos().into(),
                }
            })
        };
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Driver for Portable {
    async fn turn(
        &mut self,
        deadline: Option<Time>,
        deliver: &mut dyn FnMut(Path, &[u8]),
    ) -> io::Result<()> {
        let was_full = !self.queue.has_room();
        self.flush();
        self.wait(deadline, was_full)?;
        self.queue.counters.turns += 1;
        for event in &self.events {
            match event.data.u64() {
                DOORBELL => self.doorbell.hear(),
                id => {
                    let id =
                        SocketId(u16::try_from(id).expect("registered with a socket's position"));
                    let socket = &self.queue.sockets[usize::from(id.0)];
                    self.batch
                        .drain(id, socket, &mut self.queue.counters, deliver)?;
                }
            }
        }
        Ok(())
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
        self.flush();
    }
}
