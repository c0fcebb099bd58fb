//! The world: one heap of events by (time, sequence), two servers, the connection between them, operators on both.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use daybreak_sync::host::{Write, edited, resolved};
use daybreak_sync::session::{Config, Event as Told, Now, Session, State};
use daybreak_sync::wire::{Frames, Message};
use daybreak_sync::{Body, NodeId, ObjectKey, Row};
use daybreak_tests::world::prng::{Prng, mix};

use super::disk::{Database, Disk, Stored, advertised};
use super::observer::{Ident, Observer, ident};
use super::plan::{Plan, ServerPlan};
use super::{Check, Failure, check};

/// A pair that is not the same so long after the faults ended never will be.
const EQUAL_WITHIN: Duration = Duration::from_secs(180);
const EVENTS_MAX: u64 = 2_000_000;
/// The first wall clock: some day in 2026.
const WALL_MS: u64 = 1_790_000_000_000;
/// How often a server without a connection tries for one, forgets what is old, and reads its images.
const CONNECT_EVERY: Duration = Duration::from_millis(700);
const PRUNE_EVERY: Duration = Duration::from_secs(3);
const SCRUB_EVERY: Duration = Duration::from_secs(20);

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
enum Event {
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
enum Parcel {
    Octets(Vec<u8>),
    End,
}

struct Server {
    plan: ServerPlan,
    disk: Disk,
    session: Option<Session>,
    /// The connection, as this server sees it.
    connection: Option<u64>,
    frames: Frames,
    timer: Option<Duration>,
    offset_ms: i64,
    /// The last position that was told, in this life.
    told: Option<(NodeId, u64)>,
}

/// See the module.
pub(crate) struct World {
    plan: Plan,
    now: Duration,
    servers: [Server; 2],
    under_way: [VecDeque<(Duration, Parcel)>; 2],
    connection: u64,
    observer: Observer,
    healed: bool,
    dice: Prng,
    serial: u64,
    edits_left: usize,
    heap: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    events: Vec<Option<Event>>,
    report: Report,
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

    fn schedule(&mut self, at: Duration, event: Event) {
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
    fn touch(&mut self, at: usize) -> Now {
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
    fn with(&mut self, at: usize, act: impl FnOnce(&mut Session, Now, &mut Disk)) -> Check {
        let now = self.touch(at);
        let server = &mut self.servers[at];
        if let Some(session) = &mut server.session {
            act(session, now, &mut server.disk);
        }
        self.after(at)
    }

    fn after(&mut self, at: usize) -> Check {
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
        if let Some(timer) = session.poll_timeout()
            && server.timer.is_none_or(|set| timer < set || set < self.now)
        {
            let timer = timer.max(self.now);
            server.timer = Some(timer);
            self.schedule(timer, Event::Timer(at));
        }
        Ok(())
    }

    fn hear_events(&mut self, at: usize) -> Check {
        let lied = self.servers.iter().any(|server| server.disk.lied);
        let Some(session) = &mut self.servers[at].session else {
            return Ok(());
        };
        while let Some(event) = session.poll_event() {
            self.report.trace = mix(self.report.trace ^ format!("{event:?}").len() as u64);
            match event {
                Told::TailLost { .. } => {
                    self.report.tails_lost += 1;
                    check("S2", lied, || "a disk that never lied lost its tail".into())?;
                }
                Told::Unequal => {
                    check("S1", lied, || "heads are equal and rows are not".into())?;
                }
                Told::State(State::Comparing) => self.report.comparisons += 1,
                Told::Dropped { values } => {
                    check("S2", false, || format!("{values} values dropped"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Watches what a server says: S3, S8.
    fn watch(&mut self, at: usize, octets: &[u8]) -> Check {
        let message = Message::decode(octets, &(1..=2)).map_err(|malformed| Failure {
            monitor: "S14",
            what: malformed.to_string(),
        })?;
        let server = &mut self.servers[at];
        let disk = &server.disk;
        let honest = !disk.lied;
        if let Some((node, head)) = advertised(&message) {
            let durable = disk.durable.book.heads.of(node).unwrap_or_default();
            check("S3", !honest || head.position <= durable.position, || {
                format!(
                    "{} told of {head:?}, and its disk has {durable:?}",
                    disk.name
                )
            })?;
            if let Some((of, position)) = server.told.filter(|(of, _)| *of == node) {
                check("S3", !honest || head.position >= position, || {
                    format!("{of} went from {position} back to {}", head.position)
                })?;
            }
            server.told = Some((node, head.position));
        }
        if let Message::Ack { node, head } = message {
            let durable = disk.durable.book.heads.of(node).unwrap_or_default();
            check("S8", !honest || durable.position >= head.position, || {
                format!(
                    "{} acknowledged {head:?}, and its disk has {durable:?}",
                    disk.name
                )
            })?;
        }
        Ok(())
    }

    fn is_cut(&self, from: usize) -> bool {
        let mut partitions = self.plan.partitions.iter();
        !self.healed
            && partitions
                .any(|partition| partition.cuts[from] && partition.time.contains(&self.now))
    }

    fn connect(&mut self) -> Check {
        self.schedule(self.now + CONNECT_EVERY, Event::Connect);
        let up = self.servers.iter().all(|server| server.session.is_some());
        let wanting = self
            .servers
            .iter()
            .any(|server| server.connection.is_none());
        if !up || !wanting || self.is_cut(0) || self.is_cut(1) {
            return Ok(());
        }
        self.connection += 1;
        self.under_way = Default::default();
        for at in 0..2 {
            self.servers[at].connection = Some(self.connection);
            self.servers[at].frames = Frames::default();
        }
        for at in 0..2 {
            if self.servers[at].connection == Some(self.connection) {
                self.with(at, Session::connected)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize, parcel: Parcel) {
        let Some(connection) = self.servers[from].connection else {
            return;
        };
        let delay = self.dice.time(self.plan.delay.start, self.plan.delay.end);
        let last = self.under_way[from].back().map(|(at, _)| *at);
        let arrives = (self.now + delay).max(last.unwrap_or_default());
        self.under_way[from].push_back((arrives, parcel));
        self.schedule(arrives, Event::Flow(from, connection));
    }

    fn flow(&mut self, from: usize, connection: u64) -> Check {
        if connection != self.connection {
            return Ok(());
        }
        if self.is_cut(from) {
            // It is sent again, later.
            self.schedule(
                self.now + Duration::from_millis(150),
                Event::Flow(from, connection),
            );
            return Ok(());
        }
        let to = 1 - from;
        while let Some((_, parcel)) = self.arrived(from) {
            if self.servers[to].connection != Some(connection) {
                continue;
            }
            match parcel {
                Parcel::End => self.disconnect(to)?,
                Parcel::Octets(octets) => {
                    self.report.trace = octets
                        .iter()
                        .take(64)
                        .fold(self.report.trace, |trace, octet| {
                            trace.rotate_left(5) ^ u64::from(*octet)
                        });
                    self.servers[to].frames.push(&octets);
                    while let Ok(Some(message)) = self.servers[to].frames.pop() {
                        self.with(to, |session, now, disk| session.handle(now, &message, disk))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn arrived(&mut self, from: usize) -> Option<(Duration, Parcel)> {
        let now = self.now;
        let parcels = &mut self.under_way[from];
        parcels
            .front()
            .is_some_and(|(at, _)| *at <= now)
            .then(|| parcels.pop_front())?
    }

    /// The server ends the connection; the other sees that when all before it has arrived.
    fn close(&mut self, at: usize) -> Check {
        self.send(at, Parcel::End);
        self.disconnect(at)
    }

    fn disconnect(&mut self, at: usize) -> Check {
        self.servers[at].connection = None;
        self.with(at, |session, now, _| session.disconnected(now))
    }

    fn cut(&mut self, silent: bool) -> Check {
        self.under_way = Default::default();
        if silent {
            // Neither sees it; both will wonder.
            self.connection += 1;
            return Ok(());
        }
        for at in 0..2 {
            if self.servers[at].connection.is_some() {
                self.disconnect(at)?;
            }
        }
        Ok(())
    }

    fn die(&mut self, at: usize, power: bool, down: Duration) -> Check {
        if self.servers[at].session.take().is_none() {
            return Ok(());
        }
        self.report.deaths += 1;
        let disk = &mut self.servers[at].disk;
        let before = values_of(&disk.database);
        if disk.restart(power) {
            let left = values_of(&disk.database);
            self.observer.lost(&before, &left);
            self.servers[at].told = None;
        }
        // A process that dies ends its connections; a machine without power says nothing.
        if !power {
            self.send(at, Parcel::End);
        }
        self.servers[at].connection = None;
        self.schedule(self.now + down, Event::Birth(at));
        Ok(())
    }

    fn birth(&mut self, at: usize) -> Check {
        if self.servers[at].session.is_some() {
            return Ok(());
        }
        self.touch(at);
        let server = &mut self.servers[at];
        let config = Config {
            name: server.disk.name.into(),
            versions: server.plan.versions.clone(),
            rate: server.plan.rate,
            ..Config::default()
        };
        let session = Session::new(config, &mut server.disk);
        server.session = Some(session.expect("reading does not fail"));
        self.want_missing(at)
    }

    fn want_missing(&mut self, at: usize) -> Check {
        let disk = &self.servers[at].disk;
        let wanted: Vec<_> = disk
            .missing()
            .into_iter()
            .chain(disk.damaged.iter().copied())
            .collect();
        for image in wanted {
            self.with(at, |session, now, disk| {
                session.want_image(now, image, disk);
            })?;
        }
        Ok(())
    }

    fn scrub(&mut self, at: usize) -> Check {
        self.schedule(self.now + SCRUB_EVERY, Event::Scrub(at));
        self.servers[at].disk.scrub();
        self.want_missing(at)
    }

    /// One image that the other has, too, and whole, is damaged on one of them.
    fn rot(&mut self) {
        let at = self.dice.count(0, 1);
        let [here, there] = [&self.servers[at].disk, &self.servers[1 - at].disk];
        let both = here.images.iter().filter(|(hash, content)| {
            let other = there.images.get(*hash);
            other.is_some_and(|other| other.octets == content.octets && !content.octets.is_empty())
        });
        let both: Vec<_> = both.map(|(hash, _)| *hash).collect();
        if both.is_empty() {
            return;
        }
        let hash = both[self.dice.count(0, both.len() - 1)];
        let place = self.dice.word();
        self.servers[at].disk.rot(hash, place);
    }

    fn edit(&mut self, at: usize) -> Check {
        if self.healed {
            self.edits_left = self.edits_left.saturating_sub(1);
        }
        if self.servers[at].session.is_none() {
            return Ok(());
        }
        let now = self.touch(at);
        self.serial += 1;
        let number = self.dice.below(self.plan.objects);
        let kind = ["terminal", "setting"][(number % 2) as usize];
        let key = ObjectKey::parse(kind, &format!("{number}")).expect("a key");
        let mut images = Vec::new();
        if self.dice.chance(self.plan.images) {
            let len = self.dice.count(0, self.plan.image_bytes_max);
            let fill = self.dice.word();
            let octets = (0..len as u64).map(|at| (mix(fill ^ (at / 8)) >> (at % 8)) as u8);
            let Ok(image) = self.servers[at].disk.upload(octets.collect()) else {
                return self.after(at);
            };
            images.push(image);
        }
        let body = Body {
            octets: self.serial.to_be_bytes().into(),
            images: images.into(),
        };
        let choice = self.dice.below(10);
        let before = self.servers[at]
            .disk
            .database
            .rows
            .get(&key)
            .map(|stored| stored.row.clone());
        let conflict = before
            .as_ref()
            .is_some_and(|row| row.conflicts().count() > 0);
        let exists = before.as_ref().is_some_and(|row| row.body().is_some());
        if choice < 2 && !exists {
            return Ok(());
        }
        let observer = &mut self.observer;
        let disk = &mut self.servers[at].disk;
        let mut made = None;
        let outcome = disk.commit(|database| {
            let last = database.clock.last();
            let stamp = database.clock.stamp(now.wall_ms);
            let book = &mut database.book;
            let write = match (&before, choice) {
                (before, 0..2) => edited(book, before.as_ref(), &key, stamp, None),
                (Some(row), 2..6) if conflict => resolved(book, row, stamp, Some(body)),
                (before, _) => edited(book, before.as_ref(), &key, stamp, Some(body)),
            };
            let Write::Put { row, .. } = &write else {
                unreachable!("an edit writes")
            };
            made = Some((observer.attempts(before.as_ref(), row), stamp > last));
            database.write(write, now.time);
        });
        if let Some((made, later)) = made {
            check("S11", later, || "a stamp that is not later".into())?;
            if outcome.is_ok() {
                self.observer.acknowledged(&made);
            }
        }
        self.with(at, Session::changed)
    }

    fn rows(&self, at: usize) -> BTreeMap<ObjectKey, Row> {
        let rows = self.servers[at].disk.database.rows.iter();
        let live = rows.filter(|(_, stored)| !stored.row.is_tombstone());
        live.map(|(key, stored)| (key.clone(), stored.row.clone()))
            .collect()
    }

    fn is_equal(&self) -> bool {
        let settled = |server: &Server| {
            let state = server.session.as_ref().map(Session::state);
            matches!(state, Some(State::InSync | State::Conflict { .. }))
        };
        let [a, b] = &self.servers;
        let heads = |server: &Server| server.disk.database.book.heads.clone();
        let whole = |server: &Server| {
            let images = server.disk.images.iter();
            server.disk.missing().is_empty()
                && images
                    .clone()
                    .all(|(hash, content)| *blake3::hash(&content.octets).as_bytes() == hash.0)
        };
        let sum = |server: &Server| server.disk.database.book.digest;
        let equal = settled(a) && settled(b) && heads(a) == heads(b) && sum(a) == sum(b);
        equal && whole(a) && whole(b)
    }

    fn unequal(&self) -> String {
        let say = |server: &Server| {
            let disk = &server.disk;
            let status = server.session.as_ref().map(Session::status);
            format!(
                "\n  {}: {:?}\n    missing images {:?}, damaged {:?}\n    {status:?}",
                disk.name,
                disk.database.book,
                disk.missing().len(),
                disk.damaged.len(),
            )
        };
        let rows = [self.rows(0), self.rows(1)];
        let only = |at: usize| {
            let other = &rows[1 - at];
            let mut only = rows[at].iter();
            only.find(|(key, row)| other.get(*key) != Some(row))
        };
        let [a, b] = &self.servers;
        let (a, b) = (say(a), say(b));
        format!(
            "not the same in time:{a}\n    {:?}{b}\n    {:?}",
            only(0),
            only(1)
        )
    }

    fn rest(mut self) -> Result<Report, Failure> {
        let (a, b) = (self.rows(0), self.rows(1));
        check("S1", a == b, || {
            let differs = a.iter().find(|(key, row)| b.get(*key) != Some(row));
            format!("rows differ: {differs:?}")
        })?;
        let [first, second] = &self.servers;
        let sums = [first, second].map(|server| server.disk.database.book.digest);
        check("S1", sums[0] == sums[1], || "sums differ".into())?;
        let lied = self.servers.iter().any(|server| server.disk.lied);
        // Deleted ones that one still remembers count, too.
        let mut all = a;
        for server in &self.servers {
            for (key, stored) in &server.disk.database.rows {
                all.entry(key.clone()).or_insert_with(|| stored.row.clone());
            }
        }
        self.observer.check(&all, lied)?;
        self.report.acknowledged = self.observer.acknowledged_count();
        self.report.conflicts = all
            .values()
            .filter(|row| row.conflicts().count() > 0)
            .count();
        self.report.images = self.servers[0].disk.images.len();
        self.report.equal_after = self.now.saturating_sub(self.plan.heal_at);
        Ok(self.report)
    }
}

fn values_of(database: &Database) -> BTreeSet<Ident> {
    let values = |stored: &Stored| stored.row.values().iter().map(ident).collect::<Vec<_>>();
    database.rows.values().flat_map(values).collect()
}
