//! The world: one heap of events by (time, sequence), two servers, the connection between them, operators on both.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use daybreak_sync::NodeId;
use daybreak_sync::session::{Now, Session};
use daybreak_sync::wire::Frames;
use daybreak_tests::world::prng::{Prng, mix};

use super::disk::Disk;
use super::observer::Observer;
use super::plan::{Plan, ServerPlan};
use super::{Check, Failure, check};

/// A pair that is not the same so long after the faults ended never will be.
const EQUAL_WITHIN: Duration = Duration::from_secs(180);
const EVENTS_MAX: u64 = 2_000_000;
/// The first wall clock: some day in 2026.
const WALL_MS: u64 = 1_790_000_000_000;
/// How often a server without a connection tries for one, forgets what is old, and reads its images.
pub(crate) const CONNECT_EVERY: Duration = Duration::from_millis(700);
const PRUNE_EVERY: Duration = Duration::from_secs(3);
pub(crate) const SCRUB_EVERY: Duration = Duration::from_secs(20);

/// What a world was, once both servers were the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Hash of everything that happened, in order.
    pub(crate) trace: u64,
    pub(crate) events: u64,
    pub(crate) acknowledged: usize,
    pub(crate) conflicts: usize,
    pub(crate) images: usize,
    pub(crate) tails_lost: u32,
    pub(crate) comparisons: u32,
    pub(crate) deaths: u32,
    /// How long after the faults ended.
    pub(crate) equal_after: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The next message from this server is at the other, in this connection.
    Flow(usize, u64),
    Timer(usize),
    Connect,
    Break(bool),
    Edit(usize),
    Death(usize, bool, Duration),
    Birth(usize),
    Lie(usize, bool),
    Jump(usize, i64),
    Rot,
    Prune(usize),
    Scrub(usize),
    Heal,
}

/// What is under way in one direction.
pub(crate) enum Parcel {
    Octets(Vec<u8>),
    End,
}

pub(crate) struct Server {
    pub(crate) plan: ServerPlan,
    pub(crate) disk: Disk,
    pub(crate) session: Option<Session>,
    /// The connection, as this server sees it.
    pub(crate) connection: Option<u64>,
    pub(crate) frames: Frames,
    pub(crate) timer: Option<Duration>,
    pub(crate) offset_ms: i64,
    /// The last position that was told, in this life.
    pub(crate) told: Option<(NodeId, u64)>,
}

/// See the module.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Duration,
    pub(crate) servers: [Server; 2],
    pub(crate) under_way: [VecDeque<(Duration, Parcel)>; 2],
    pub(crate) connection: u64,
    pub(crate) observer: Observer,
    pub(crate) healed: bool,
    pub(crate) dice: Prng,
    pub(crate) serial: u64,
    pub(crate) edits_left: usize,
    pub(crate) heap: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    pub(crate) events: Vec<Option<Event>>,
    pub(crate) report: Report,
}

/// Runs a world until both servers are the same.
///
/// # Errors
/// The first invariant that does not hold.
pub(crate) fn run(plan: Plan) -> Result<Report, Failure> {
    let run = || World::new(plan).run();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
        Err(Failure {
            monitor: "panic",
            what: text.unwrap_or_default(),
        })
    })
}

impl World {
    fn new(plan: Plan) -> Self {
        let seed = plan.seed;
        let server = |at: usize, name| {
            let server = plan.servers[at].clone();
            let mut disk = Disk::new(seed, name, server.disk);
            disk.sabotage = server.sabotage;
            Server {
                offset_ms: server.skew_ms,
                disk,
                session: None,
                connection: None,
                frames: Frames::default(),
                timer: None,
                told: None,
                plan: server,
            }
        };
        let mut world = World {
            now: Duration::ZERO,
            servers: [server(0, "a"), server(1, "b")],
            under_way: Default::default(),
            connection: 0,
            observer: Observer::default(),
            healed: false,
            dice: Prng::new(seed, "events"),
            serial: 0,
            edits_left: plan.late_edits,
            heap: BinaryHeap::new(),
            events: Vec::new(),
            report: Report {
                trace: seed,
                events: 0,
                acknowledged: 0,
                conflicts: 0,
                images: 0,
                tails_lost: 0,
                comparisons: 0,
                deaths: 0,
                equal_after: Duration::ZERO,
            },
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let plan = self.plan.clone();
        self.schedule(plan.heal_at, Event::Heal);
        self.schedule(Duration::ZERO, Event::Connect);
        for _ in 0..plan.edits {
            let at = self.dice.time(Duration::ZERO, plan.heal_at);
            let server = self.dice.count(0, 1);
            self.schedule(at, Event::Edit(server));
        }
        for at in plan.breaks {
            let silent = self.dice.chance(400);
            self.schedule(at, Event::Break(silent));
        }
        for at in plan.rots {
            self.schedule(at, Event::Rot);
        }
        for (at, server) in plan.servers.into_iter().enumerate() {
            self.schedule(Duration::ZERO, Event::Birth(at));
            for (time, power, down) in server.deaths {
                self.schedule(time, Event::Death(at, power, down));
            }
            for lie in server.lies {
                self.schedule(lie.start, Event::Lie(at, true));
                self.schedule(lie.end, Event::Lie(at, false));
            }
            for (time, by) in server.jumps {
                self.schedule(time, Event::Jump(at, by));
            }
            self.schedule(PRUNE_EVERY, Event::Prune(at));
            self.schedule(SCRUB_EVERY, Event::Scrub(at));
        }
    }

    pub(crate) fn schedule(&mut self, at: Duration, event: Event) {
        let sequence = self.events.len();
        self.events.push(Some(event));
        self.heap.push(Reverse((at, sequence as u64, sequence)));
    }

    fn run(mut self) -> Result<Report, Failure> {
        while let Some(Reverse((at, _, index))) = self.heap.pop() {
            self.now = at;
            self.report.events += 1;
            let Some(event) = self.events[index].take() else {
                continue;
            };
            self.step(event)?;
            if self.healed && self.edits_left == 0 && self.is_equal() {
                return self.rest();
            }
            let since = at.saturating_sub(self.plan.heal_at);
            let ends = since < EQUAL_WITHIN && self.report.events < EVENTS_MAX;
            check("S1", ends, || self.unequal())?;
        }
        Err(Failure {
            monitor: "S1",
            what: "nothing happens any more".into(),
        })
    }

    fn step(&mut self, event: Event) -> Check {
        let trace = self.report.trace ^ mix(self.now.as_nanos() as u64);
        self.report.trace = mix(trace ^ format!("{event:?}").len() as u64);
        match event {
            Event::Flow(from, connection) => self.flow(from, connection),
            Event::Timer(at) => {
                if self.servers[at].timer == Some(self.now) {
                    self.servers[at].timer = None;
                    self.with(at, Session::handle_timeout)?;
                }
                Ok(())
            }
            Event::Connect => self.connect(),
            Event::Break(silent) => {
                if !self.healed {
                    self.cut(silent)?;
                }
                Ok(())
            }
            Event::Edit(at) => self.edit(at),
            Event::Death(at, power, down) => {
                if !self.healed {
                    self.die(at, power, down)?;
                }
                Ok(())
            }
            Event::Birth(at) => self.birth(at),
            Event::Lie(at, lying) => {
                self.servers[at].disk.lying = lying && !self.healed;
                Ok(())
            }
            Event::Jump(at, by) => {
                self.servers[at].offset_ms += by;
                Ok(())
            }
            Event::Rot => {
                self.rot();
                Ok(())
            }
            Event::Prune(at) => {
                if self.servers[at].session.is_some() {
                    self.touch(at);
                    let forgotten = self.servers[at].disk.prune(self.plan.horizon);
                    forgotten.iter().for_each(|row| self.observer.forgets(row));
                    self.after(at)?;
                }
                self.schedule(self.now + PRUNE_EVERY, Event::Prune(at));
                Ok(())
            }
            Event::Scrub(at) => self.scrub(at),
            Event::Heal => self.heal(),
        }
    }

    fn heal(&mut self) -> Check {
        self.healed = true;
        for at in 0..2 {
            let disk = &mut self.servers[at].disk;
            disk.faults = None;
            disk.lying = false;
            if self.servers[at].session.is_none() {
                self.birth(at)?;
            }
            self.scrub(at)?;
        }
        for _ in 0..self.plan.late_edits {
            let at = self.now + self.dice.time(Duration::ZERO, Duration::from_secs(20));
            let server = self.dice.count(0, 1);
            self.schedule(at, Event::Edit(server));
        }
        Ok(())
    }

    /// Tells the disk the time.
    pub(crate) fn touch(&mut self, at: usize) -> Now {
        let server = &mut self.servers[at];
        let elapsed = u64::try_from(self.now.as_millis()).expect("a short time");
        let wall_ms = (WALL_MS + elapsed).saturating_add_signed(server.offset_ms);
        (server.disk.now, server.disk.wall_ms) = (self.now, wall_ms);
        Now {
            time: self.now,
            wall_ms,
        }
    }

    /// Lets a session do something, and does what it wants then.
    pub(crate) fn with(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Session, Now, &mut Disk),
    ) -> Check {
        let now = self.touch(at);
        let server = &mut self.servers[at];
        if let Some(session) = &mut server.session {
            act(session, now, &mut server.disk);
        }
        self.after(at)
    }

    pub(crate) fn after(&mut self, at: usize) -> Check {
        let now = self.touch(at);
        let server = &mut self.servers[at];
        if let Some((monitor, what)) = server.disk.wrong.take() {
            return check(monitor, false, || what);
        }
        if server.disk.crashed {
            let down = self
                .dice
                .time(Duration::from_millis(20), Duration::from_secs(3));
            let power = self.dice.chance(300);
            return self.die(at, power, down);
        }
        let mut sent = Vec::new();
        if let Some(session) = &mut server.session {
            while let Some(octets) = session.poll_transmit(now, &mut server.disk) {
                sent.push(octets);
            }
        }
        for octets in sent {
            self.watch(at, &octets)?;
            self.send(at, Parcel::Octets(octets));
        }
        if self.servers[at].disk.crashed {
            return self.after(at);
        }
        self.hear_events(at)?;
        let server = &mut self.servers[at];
        let Some(session) = &server.session else {
            return Ok(());
        };
        if session.wants_close() {
            return self.close(at);
        }
        let timers = [session.poll_timeout(), session.speaks_at()];
        if let Some(timer) = timers.into_iter().flatten().min()
            && server.timer.is_none_or(|set| timer < set || set < self.now)
        {
            let timer = timer.max(self.now);
            server.timer = Some(timer);
            self.schedule(timer, Event::Timer(at));
        }
        Ok(())
    }
}
