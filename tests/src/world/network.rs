//! The wire between the server and its clients: loss, copies, delay, disorder, a bottleneck with a short queue,
//! and times when a part of the clients is cut off.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use daybreak_tftp::Time;

use super::prng::Prng;

/// Octets of Ethernet, IP and UDP headers around a datagram.
pub const FRAME_BYTES: u64 = 42;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Towards the clients.
    Down,
    /// Towards the server.
    Up,
}

/// What the wire does, while there are faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Datagrams lost, in a thousand, down and up.
    pub loss: [u32; 2],
    /// Datagrams that arrive twice, in a thousand.
    pub copies: u32,
    /// Datagrams that others overtake, in a thousand.
    pub disorder: u32,
    /// How much later those arrive, at most.
    pub disorder_delay: Duration,
    /// Times when clients are cut off.
    pub partitions: Vec<Partition>,
}

/// A time when a part of the clients is cut off.
#[derive(Clone, Debug)]
pub struct Partition {
    /// From when to when, after the start.
    pub time: Range<Duration>,
    /// Which terminals, by position.
    pub terminals: Range<usize>,
    /// Whether it cuts the way down, and the way up.
    pub cuts: [bool; 2],
}

/// What the wire is, with or without faults.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// Delay that varies from datagram to datagram, at most. It changes no order.
    pub jitter: Duration,
    /// The slowest part of the way down.
    pub bottleneck: Option<Bottleneck>,
}

/// A rate, and a queue that drops what does not fit.
#[derive(Clone, Copy, Debug)]
pub struct Bottleneck {
    /// Octets per second.
    pub rate: u64,
    /// Octets.
    pub queue: u64,
}

/// When a datagram arrives: never, once, or twice.
pub type Arrivals = [Option<Time>; 2];

/// The wire, as it works.
#[derive(Debug)]
pub struct Network {
    wire: Wire,
    faults: Option<Faults>,
    dice: Prng,
    /// The last arrival at each terminal, and from each: nothing overtakes by jitter.
    last: Vec<[Time; 2]>,
    queue: VecDeque<(Time, u64)>,
    queued: u64,
    idle_at: Time,
    /// Octets that passed the bottleneck, frames included.
    pub passed: u64,
    /// Datagrams that the bottleneck dropped.
    pub dropped: u64,
}

impl Network {
    /// A wire to so many terminals.
    #[must_use]
    pub fn new(wire: Wire, faults: Faults, terminals: usize, dice: Prng) -> Self {
        Network {
            wire,
            faults: Some(faults),
            dice,
            last: vec![[Time::ZERO; 2]; terminals],
            queue: VecDeque::new(),
            queued: 0,
            idle_at: Time::ZERO,
            passed: 0,
            dropped: 0,
        }
    }

    /// From now on there are no faults. What is under way stays so.
    pub fn heal(&mut self) {
        self.faults = None;
    }

    /// The fate of a datagram of `len` octets between the server and a terminal that is `delay` away.
    pub fn carry(
        &mut self,
        now: Time,
        way: Way,
        terminal: usize,
        delay: Duration,
        len: usize,
    ) -> Arrivals {
        let mut leaves = now;
        if way == Way::Down
            && let Some(bottleneck) = self.wire.bottleneck
        {
            let Some(at) = self.pass(now, bottleneck, len as u64) else {
                return [None; 2];
            };
            leaves = at;
        }
        let jitter = self.dice.time(Duration::ZERO, self.wire.jitter);
        let last = &mut self.last[terminal][way as usize];
        let arrives = (leaves + delay + jitter).max(*last);
        let Some(faults) = &self.faults else {
            *last = arrives;
            return [Some(arrives), None];
        };
        let since_start = now.since(Time::ZERO);
        let cut = faults.partitions.iter().any(|partition| {
            partition.cuts[way as usize]
                && partition.time.contains(&since_start)
                && partition.terminals.contains(&terminal)
        });
        if cut || self.dice.chance(faults.loss[way as usize]) {
            return [None; 2];
        }
        let later = |dice: &mut Prng| dice.time(Duration::ZERO, faults.disorder_delay);
        let copy = self
            .dice
            .chance(faults.copies)
            .then(|| arrives + later(&mut self.dice));
        if self.dice.chance(faults.disorder) {
            return [Some(arrives + later(&mut self.dice)), copy];
        }
        *last = arrives;
        [Some(arrives), copy]
    }

    /// When the bottleneck has sent a datagram; `None` if its queue is full.
    fn pass(&mut self, now: Time, bottleneck: Bottleneck, len: u64) -> Option<Time> {
        while let Some((_, size)) = self.queue.front().copied().filter(|(at, _)| *at <= now) {
            self.queue.pop_front();
            self.queued -= size;
        }
        let size = len + FRAME_BYTES;
        if self.queued + size > bottleneck.queue {
            self.dropped += 1;
            return None;
        }
        self.idle_at =
            self.idle_at.max(now) + Duration::from_nanos(size * 1_000_000_000 / bottleneck.rate);
        self.queue.push_back((self.idle_at, size));
        self.queued += size;
        self.passed += size;
        Some(self.idle_at)
    }
}
