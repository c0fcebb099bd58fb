//! The loop that drives the clients of one thread: sockets, timers, starts.
//!
//! One socket for each client, so that each has a port of its own, level-triggered: after an answer has left,
//! nothing more can have come that waits for it, so the read that would find the socket empty is spared. Timers
//! are lazy: a client has one alarm, which is moved when it rings, not with every packet.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use daybreak_tftp::Time;
use daybreak_tftp::download::LocalPort;
use daybreak_tftp::limits::REQUEST_BYTES_MAX;
use rustix::event::{Timespec, epoll};

use crate::arrival::{Arrivals, Arriving, Part};
use crate::client::{Booted, Client, Next, as_micros, micros};
use crate::limits;
use crate::plan::{Fleet, Plan};
use crate::progress::Progress;
use crate::tally::{Boot, Failure, Tally};

/// How often a loop that waits looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Which clients a thread drives.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Which.
    pub part: Part,
    /// How many at once. Where there are more, the next one is powered on when a place is free.
    pub concurrency: u32,
    /// How many in all.
    pub clients: u32,
}

struct Seat {
    client: Client,
    socket: UdpSocket,
    port: LocalPort,
    /// When the timer heap will wake the client; at most one entry counts.
    alarm: Option<Time>,
}

struct Driver<'a> {
    plan: &'a Plan,
    progress: &'a Progress,
    /// Whether clients wait for each other: then one is powered on when its turn comes, not when it is due.
    in_turn: bool,
    /// Whether somebody has ended the run.
    stopped: bool,
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
    let seats = share.concurrency as usize;
    let mut driver = Driver {
        plan,
        progress,
        in_turn: share.concurrency < share.clients,
        stopped: false,
        origin: Instant::now(),
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        seats: (0..seats).map(|_| None).collect(),
        free: Vec::new(),
        alarms: BinaryHeap::new(),
        tally: Tally::new(plan),
        datagram: vec![0; limits::DATAGRAM_BYTES_MAX],
        packet: [0; REQUEST_BYTES_MAX],
    };
    driver.run(share.part)?;
    driver.tally.elapsed = driver.origin.elapsed();
    Ok(driver.tally)
}

impl Driver<'_> {
    fn run(&mut self, part: Part) -> io::Result<()> {
        let mut waiting = self.plan.arrivals(part).peekable();
        // Everybody who is due at once, and fits, is powered on at the same moment. What a client needs of this
        // system is made ready before that.
        let mut together = 0;
        while together < self.seats.len()
            && let Some(who) = waiting.next_if(|who| who.at == Time::ZERO)
        {
            self.seat(together, who, Time::ZERO);
            together += 1;
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
            for _ in 0..self.free.len().min(limits::STARTS_PER_TURN) {
                let Some(who) = waiting.next_if(|who| who.at <= now) else {
                    break;
                };
                let index = self.free.pop().expect("counted");
                self.seat(index, who, now);
                self.after(index, now);
            }
            if waiting.peek().is_none() && self.free.len() == self.seats.len() {
                return Ok(());
            }
            self.stopped = self.progress.stop.load(Ordering::Relaxed);
            if now >= deadline || self.stopped {
                self.give_up(now, waiting);
                return Ok(());
            }
            let next = if unasked.is_empty() {
                self.next_event(&mut waiting).min(deadline)
            } else {
                now
            };
            self.wait(&mut events, next.since(now).min(LOOK))?;
            for event in events.drain(..) {
                let index = usize::try_from(event.data.u64()).expect("a seat");
                self.receive(index);
            }
            self.ring();
        }
    }

    /// When something is to be done, if nothing comes before.
    fn next_event(&self, waiting: &mut Peekable<Arrivals<'_>>) -> Time {
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        let arrival = waiting.peek().map(|who| who.at);
        let arrival = arrival.filter(|_| !self.free.is_empty());
        let never = Time::from_nanos(u64::MAX);
        alarm.unwrap_or(never).min(arrival.unwrap_or(never))
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
    fn seat(&mut self, index: usize, who: Arriving, now: Time) {
        let on = if self.in_turn { now } else { who.at };
        let counts = &mut self.tally.fleets[who.fleet];
        counts.started += 1;
        counts.late.saturating_record(as_micros(now.since(who.at)));
        self.progress.started.fetch_add(1, Ordering::Relaxed);
        let fleet = &self.plan.fleets[who.fleet];
        let seated = Client::new(self.plan, &self.tally.contents, who, on).and_then(|client| {
            let socket = open(fleet, &self.epoll, index, client.download.server())?;
            Ok(Seat {
                client,
                socket,
                port: LocalPort::default(),
                alarm: None,
            })
        });
        match seated {
            Ok(seat) => self.seats[index] = Some(seat),
            Err(failure) => self.leave(index, who.fleet, now, Err(failure)),
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
            let fleet = seat.client.fleet;
            if seat.client.luck.loses(self.plan.fleets[fleet].loss) {
                self.tally.fleets[fleet].packets.lost_in += 1;
                continue;
            }
            let (datagram, contents) = (&self.datagram[..len], &mut self.tally.contents);
            seat.client
                .handle_datagram(now, from, datagram, self.plan, contents);
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
            let tried = self.send(index);
            let Some(seat) = &mut self.seats[index] else {
                return true;
            };
            let fleet = seat.client.fleet;
            match tried {
                Ok(some) => sent |= some,
                Err(failure) => {
                    self.leave(index, fleet, now, Err(failure));
                    return true;
                }
            }
            match seat.client.next(self.plan, &mut self.tally, now) {
                None => break,
                Some(Next::Ask) => seat.port = LocalPort(u8::MAX),
                Some(Next::End(end)) => {
                    self.leave(index, fleet, now, end);
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
        let fleet = &self.plan.fleets[seat.client.fleet];
        let packets = &mut self.tally.fleets[seat.client.fleet].packets;
        let mut sent = false;
        while let Some(transmit) = seat.client.download.poll_transmit(&mut self.packet[..]) {
            sent = true;
            if transmit.port != seat.port {
                seat.socket = open(fleet, &self.epoll, index, transmit.to)?;
                seat.port = transmit.port;
            }
            if seat.client.luck.loses(fleet.loss) {
                packets.lost_out += 1;
            } else if seat
                .socket
                .send_to(&self.packet[..transmit.len], transmit.to)
                .is_err()
            {
                // As good as lost: the timers deal with it.
                packets.send_errors += 1;
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

    fn leave(&mut self, index: usize, fleet: usize, now: Time, end: Result<Booted, Failure>) {
        self.seats[index] = None;
        self.free.push(index);
        let counts = &mut self.tally.fleets[fleet];
        match end {
            Ok(booted) => {
                counts.completed += 1;
                counts.served[booted.server] += 1;
                counts.booted_at[booted.server].record(now);
                let time = micros(now, booted.powered_on);
                counts.completion.saturating_record(time);
                let waited = booted.moved.map(as_micros);
                if let Some(waited) = waited {
                    counts.moved.completion.saturating_record(time);
                    counts.moved.waited.saturating_record(waited);
                }
                if self.plan.each {
                    counts.boots.push(Boot {
                        client: booted.client,
                        server: booted.server,
                        completion: time,
                        waited,
                    });
                }
                self.progress.booted(fleet, booted, time);
            }
            Err(Failure::Deadline) if self.stopped => counts.unfinished += 1,
            Err(failure) => {
                counts.fail(failure, 1);
                counts.failed_at.record(now);
                self.progress.failed(fleet, failure);
            }
        }
    }

    /// The end has come before everybody was done: whoever is not has failed, also those that were never powered on.
    /// Where somebody ended the run, they are unfinished.
    fn give_up(&mut self, now: Time, never_on: impl Iterator<Item = Arriving>) {
        for index in 0..self.seats.len() {
            if let Some(seat) = &mut self.seats[index] {
                seat.client.download.abort();
                self.after(index, now);
            }
        }
        for who in never_on {
            let counts = &mut self.tally.fleets[who.fleet];
            if self.stopped {
                counts.unfinished += 1;
            } else {
                counts.fail(Failure::Deadline, 1);
                counts.failed_at.record(now);
                self.progress.failed(who.fleet, Failure::Deadline);
            }
        }
    }
}

/// A socket on a new port, watched.
fn open(
    fleet: &Fleet,
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
        if let Some(bytes) = fleet.receive_buffer {
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
        }
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(epoll, &socket, data, epoll::EventFlags::IN)?;
        Ok::<_, std::io::Error>(socket)
    };
    open().map_err(|_| Failure::Socket)
}
