//! The loop that drives the clients of one thread: sockets, timers, starts.
//!
//! One socket for each client, so that each has a port of its own, level-triggered: after an answer has left,
//! nothing more can have come that waits for it, so the read that would find the socket empty is spared. Timers
//! are lazy: a client has one alarm, which is moved when it rings, not with every packet.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use daybreak_tftp::Time;
use daybreak_tftp::download::LocalPort;
use daybreak_tftp::limits::REQUEST_BYTES_MAX;
use rustix::event::{Timespec, epoll};

use crate::args::Plan;
use crate::client::{Booted, Client, Next, micros};
use crate::limits;
use crate::loss::Luck;
use crate::tally::{Failure, Tally};

/// What all threads have done so far, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    /// Clients that got every file.
    pub completed: AtomicU32,
    /// Clients that failed.
    pub failed: AtomicU32,
}

/// Which clients a thread drives.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// The number of the first.
    pub first: u32,
    /// How many.
    pub clients: u32,
    /// How many at once.
    pub concurrency: u32,
}

struct Seat {
    client: Client,
    socket: UdpSocket,
    port: LocalPort,
    /// When the timer heap will wake the client; at most one entry counts.
    alarm: Option<Time>,
}

struct Fleet<'a> {
    plan: &'a Plan,
    progress: &'a Progress,
    origin: Instant,
    epoll: OwnedFd,
    seats: Vec<Option<Seat>>,
    free: Vec<usize>,
    alarms: BinaryHeap<Reverse<(Time, usize)>>,
    tally: Tally,
    datagram: Vec<u8>,
    packet: [u8; REQUEST_BYTES_MAX],
}

/// Boots the clients of a share, from now on.
///
/// # Errors
/// When the system refuses what the loop itself needs.
pub fn run(plan: &Plan, share: Share, progress: &Progress) -> io::Result<Tally> {
    let contents = plan.files.iter().map(|file| file.content.clone()).collect();
    let seats = share.concurrency as usize;
    let mut fleet = Fleet {
        plan,
        progress,
        origin: Instant::now(),
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        seats: (0..seats).map(|_| None).collect(),
        free: Vec::new(),
        alarms: BinaryHeap::new(),
        tally: Tally::new(plan.servers.len(), contents),
        datagram: vec![0; limits::DATAGRAM_BYTES_MAX],
        packet: [0; REQUEST_BYTES_MAX],
    };
    fleet.run(share)?;
    fleet.tally.elapsed = fleet.origin.elapsed();
    Ok(fleet.tally)
}

impl Fleet<'_> {
    fn run(&mut self, share: Share) -> io::Result<()> {
        let mut waiting = share.first..share.first + share.clients;
        // Everybody who fits is powered on at the same moment. What a client needs of this system is made
        // ready before that.
        let together = self.seats.len().min(waiting.len());
        for (index, number) in (0..together).zip(&mut waiting) {
            self.seat(index, number, Time::ZERO);
        }
        self.free.extend(together..self.seats.len());
        self.origin = Instant::now();
        let mut unasked = 0..together;
        let mut events = Vec::with_capacity(limits::EVENTS_PER_TURN);
        let deadline = Time::ZERO + self.plan.deadline;
        loop {
            let now = self.now();
            for index in unasked.by_ref().take(limits::STARTS_PER_TURN) {
                self.after(index, now);
            }
            let places = self.free.len().min(limits::STARTS_PER_TURN);
            for number in waiting.by_ref().take(places) {
                let index = self.free.pop().expect("counted");
                self.seat(index, number, now);
                self.after(index, now);
            }
            if waiting.is_empty() && self.free.len() == self.seats.len() {
                return Ok(());
            }
            if now >= deadline {
                self.give_up(now, u32::try_from(waiting.len()).expect("made of u32"));
                return Ok(());
            }
            let starting = !unasked.is_empty() || (!waiting.is_empty() && !self.free.is_empty());
            let next = self
                .alarms
                .peek()
                .map_or(deadline, |Reverse((at, _))| deadline.min(*at));
            let wait = if starting {
                Duration::ZERO
            } else {
                next.since(now)
            };
            self.wait(&mut events, wait)?;
            for event in events.drain(..) {
                let index = usize::try_from(event.data.u64()).expect("a seat");
                self.receive(index);
            }
            self.ring();
        }
    }

    fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).expect("584 years"))
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, wait: Duration) -> io::Result<()> {
        let wait = Timespec::try_from(wait).expect("at most the deadline");
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(events),
            Some(&wait),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Powers a client on: it has a socket, and has not asked yet.
    fn seat(&mut self, index: usize, number: u32, now: Time) {
        self.tally.started += 1;
        let luck = Luck::new(self.plan.seed, number);
        let seated = Client::new(self.plan, &self.tally.contents, luck, now).and_then(|client| {
            let socket = open(self.plan, &self.epoll, index, client.download.server())?;
            Ok(Seat {
                client,
                socket,
                port: LocalPort::default(),
                alarm: None,
            })
        });
        match seated {
            Ok(seat) => self.seats[index] = Some(seat),
            Err(failure) => self.leave(index, now, Err(failure)),
        }
    }

    /// Reads what has come for a client, until it answers.
    fn receive(&mut self, index: usize) {
        let now = self.now();
        for _ in 0..limits::DATAGRAMS_PER_TURN {
            let Some(seat) = &mut self.seats[index] else {
                return;
            };
            let (len, from) = match seat.socket.recv_from(&mut self.datagram) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An ICMP error for something sent before: the timers deal with it.
                Err(_) => continue,
            };
            if seat.client.luck.loses(self.plan.loss) {
                self.tally.packets.lost_in += 1;
                continue;
            }
            let contents = &mut self.tally.contents;
            seat.client
                .handle_datagram(now, from, &self.datagram[..len], contents);
            if self.after(index, now) {
                return;
            }
        }
    }

    /// Wakes the clients whose time has come.
    fn ring(&mut self) {
        let now = self.now();
        while let Some(Reverse((at, index))) = self.alarms.peek().copied() {
            if at > now {
                return;
            }
            self.alarms.pop();
            let Some(seat) = &mut self.seats[index] else {
                continue;
            };
            if seat.alarm == Some(at) {
                seat.alarm = None;
                seat.client.download.handle_timeout(now);
                self.after(index, now);
            }
        }
    }

    /// What follows a packet or a time-out: answers leave, an end is counted, the alarm is set. Whether
    /// anything was sent, or the client has left.
    fn after(&mut self, index: usize, now: Time) -> bool {
        let mut sent = false;
        loop {
            match self.send(index) {
                Ok(some) => sent |= some,
                Err(failure) => {
                    self.leave(index, now, Err(failure));
                    return true;
                }
            }
            let Some(seat) = &mut self.seats[index] else {
                return true;
            };
            match seat.client.next(self.plan, &mut self.tally, now) {
                None => break,
                Some(Next::Ask) => seat.port = LocalPort(u8::MAX),
                Some(Next::End(end)) => {
                    self.leave(index, now, end);
                    return true;
                }
            }
        }
        self.arm(index);
        sent
    }

    /// Sends what the client has to send; whether it was anything.
    fn send(&mut self, index: usize) -> Result<bool, Failure> {
        let Some(seat) = &mut self.seats[index] else {
            return Ok(false);
        };
        let mut sent = false;
        while let Some(transmit) = seat.client.download.poll_transmit(&mut self.packet[..]) {
            sent = true;
            if transmit.port != seat.port {
                seat.socket = open(self.plan, &self.epoll, index, transmit.to)?;
                seat.port = transmit.port;
            }
            if seat.client.luck.loses(self.plan.loss) {
                self.tally.packets.lost_out += 1;
            } else if seat
                .socket
                .send_to(&self.packet[..transmit.len], transmit.to)
                .is_err()
            {
                // As good as lost: the timers deal with it.
                self.tally.packets.send_errors += 1;
            }
        }
        Ok(sent)
    }

    /// Sees to it that the client is woken no later than it wants.
    fn arm(&mut self, index: usize) {
        let Some(seat) = &mut self.seats[index] else {
            return;
        };
        let Some(at) = seat.client.download.poll_timeout() else {
            return;
        };
        if seat.alarm.is_none_or(|alarm| at < alarm) {
            seat.alarm = Some(at);
            self.alarms.push(Reverse((at, index)));
        }
    }

    fn leave(&mut self, index: usize, now: Time, end: Result<Booted, Failure>) {
        self.seats[index] = None;
        self.free.push(index);
        match end {
            Ok(booted) => {
                self.tally.completed += 1;
                self.tally.served[booted.server] += 1;
                let time = micros(now, booted.powered_on);
                self.tally.completion.saturating_record(time);
                self.progress.completed.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => {
                self.tally.fail(failure, 1);
                self.progress.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The deadline has come: whoever is not done has failed, also those that were never powered on.
    fn give_up(&mut self, now: Time, never_on: u32) {
        for index in 0..self.seats.len() {
            if let Some(seat) = &mut self.seats[index] {
                seat.client.download.abort();
                self.after(index, now);
            }
        }
        self.tally.fail(Failure::Deadline, never_on);
    }
}

/// A socket on a new port, watched.
fn open(
    plan: &Plan,
    epoll: &OwnedFd,
    index: usize,
    server: SocketAddr,
) -> Result<UdpSocket, Failure> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let open = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        if let Some(bytes) = plan.receive_buffer {
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
        }
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(epoll, &socket, data, epoll::EventFlags::IN)?;
        Ok::<_, std::io::Error>(socket)
    };
    open().map_err(|_| Failure::Socket)
}
