//! The world: one heap of events by (time, sequence), one server, its clients, and the monitors that watch them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::download::Download;
use daybreak_tftp::endpoint::{Audit, Endpoint, Path};

use super::event::{Event, Scheduled, Stage, Tamper};
use super::failure::{Check, Failure, check};
use super::host::{Catalog, Lease};
use super::monitors::{check_books, check_rest};
use super::network::{Network, Way};
use super::observer::Observer;
use super::packet::Body;
use super::prng::{Prng, mix};
use super::scenario::Scenario;
use super::terminal::{End, Outgoing, Ports, Terminal};

/// A world that has not come to rest so long after the faults ended never will.
const REST_WITHIN: Duration = Duration::from_secs(1_500);
/// Nor one that had so many events.
const EVENTS_MAX: u64 = 30_000_000;
/// Failed boots after which a terminal waits for the end of the faults.
const BOOTS_MAX: u32 = 8;
/// Longest time without a datagram of the file, for a client that nothing disturbs.
const STALL_MAX: Duration = Duration::from_secs(10);

/// What a world was, once it has come to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Hash of everything that happened, in order.
    pub trace: u64,
    /// Events.
    pub events: u64,
    /// Boots that were begun.
    pub boots: u32,
    /// When the last client had booted.
    pub booted_at: Time,
    /// When each had.
    pub booted: Vec<Option<Time>>,
    /// Longest time without a datagram of the file, of clients that nothing disturbed.
    pub stall: Duration,
    /// Octets that passed the bottleneck, and datagrams that it dropped.
    pub bottleneck: (u64, u64),
    /// Blocks that the server sent, and how many of them again.
    pub blocks: (u64, u64),
    /// What each client was sent, first copies only: the hash, and the generation that it received.
    pub digests: Vec<Option<(u64, u8)>>,
    /// Octets of images that clients received.
    pub bytes: u64,
}

/// See the module.
pub struct World {
    pub(super) scenario: Scenario,
    pub(super) now: Time,
    pub(super) terminals: Vec<Terminal>,
    pub(super) dice: Prng,
    pub(super) intruded: u32,
    pub(super) endpoint: Endpoint<Lease>,
    pub(super) catalog: Catalog,
    pub(super) observer: Observer,
    pub(super) tamper: Option<Tamper>,
    pub(super) inbox: VecDeque<(Path, Body)>,
    pub(super) turn_at: Option<Time>,
    pub(super) buffer: Vec<u8>,
    pub(super) network: Network,
    pub(super) healed_at: Option<Time>,
    heap: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    pub(super) by_address: HashMap<SocketAddr, usize>,
    ports: Ports,
    server_timer: Option<Time>,
    terminal_timers: Vec<Option<Time>>,
    outgoing: Vec<Outgoing>,
    report: Report,
}

impl World {
    /// A world before its first event.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let seed = scenario.seed;
        let plan = &scenario.server;
        let count = scenario.terminals.len();
        let key = Prng::new(seed, "endpoint").key();
        let mut world = World {
            now: Time::ZERO,
            terminals: scenario
                .terminals
                .iter()
                .cloned()
                .map(Terminal::new)
                .collect(),
            dice: Prng::new(seed, "events"),
            intruded: 0,
            endpoint: Endpoint::new(plan.config.clone(), plan.listeners.clone(), key),
            catalog: Catalog::new(scenario.images.clone(), scenario.generation),
            observer: Observer::new(plan.config.clone()),
            tamper: None,
            inbox: VecDeque::new(),
            turn_at: None,
            buffer: Vec::new(),
            network: Network::new(
                scenario.wire.clone(),
                scenario.faults.clone(),
                count,
                Prng::new(seed, "wire"),
            ),
            healed_at: None,
            heap: BinaryHeap::new(),
            sequence: 0,
            by_address: HashMap::new(),
            ports: Ports::default(),
            server_timer: None,
            terminal_timers: vec![None; count],
            outgoing: Vec::new(),
            report: Report {
                trace: seed,
                events: 0,
                boots: 0,
                booted_at: Time::ZERO,
                booted: vec![None; count],
                stall: Duration::ZERO,
                bottleneck: (0, 0),
                blocks: (0, 0),
                digests: vec![None; count],
                bytes: 0,
            },
            scenario,
        };
        world.begin();
        world
    }

    /// The same world, with a hand in the server.
    #[must_use]
    pub fn tampered(scenario: Scenario, tamper: Tamper) -> Self {
        let mut world = World::new(scenario);
        world.tamper = Some(tamper);
        world
    }

    fn begin(&mut self) {
        let start = Time::ZERO;
        self.schedule(start + self.scenario.heal_at, Event::Heal);
        for at in self.scenario.publishes.clone() {
            self.schedule(start + at, Event::Publish);
        }
        for position in 0..self.terminals.len() {
            let plan = self.terminals[position].plan.clone();
            self.schedule(start + plan.on_at, Event::Boot(position, false));
            for (at, same_port) in plan.power_cycles {
                self.schedule(start + at, Event::PowerCycle(position, same_port));
            }
        }
        if let Some(intruders) = &self.scenario.intruders {
            let at = start + intruders.every.start;
            self.schedule(at, Event::Intrude);
        }
    }

    pub(super) fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse(Scheduled(at, self.sequence, event)));
    }

    /// Runs until nothing happens any more, and sees that all is well then.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run(mut self) -> Result<Report, Failure> {
        while let Some(Reverse(Scheduled(at, _, event))) = self.heap.pop() {
            self.now = at;
            self.report.events += 1;
            self.note(&event);
            self.step(event)?;
            self.check_end()?;
            if self.report.events.is_multiple_of(self.books_every()) {
                self.check_books()?;
            }
        }
        self.rest()
    }

    fn step(&mut self, event: Event) -> Check {
        match event {
            Event::ToServer(path, body) => self.arrive(path, body),
            Event::ToTerminal(to, from, body) => self.deliver(to, from, &body),
            Event::Turn => self.turn(),
            Event::ServerTimer => {
                if self.server_timer == Some(self.now) {
                    self.server_timer = None;
                }
                self.serve()
            }
            Event::TerminalTimer(position) => {
                let timer = &mut self.terminal_timers[position];
                if *timer == Some(self.now) {
                    *timer = None;
                }
                if let Some(download) = &mut self.terminals[position].download {
                    download.handle_timeout(self.now);
                }
                self.after_terminal(position)
            }
            Event::Boot(position, same_port) => self.boot(position, same_port),
            Event::PowerCycle(position, same_port) => {
                if self.healed_at.is_none() && self.terminals[position].is_booting() {
                    self.terminals[position].switch_off();
                    let off = self.dice.time(Duration::ZERO, Duration::from_secs(3));
                    self.schedule(self.now + off, Event::Boot(position, same_port));
                }
                Ok(())
            }
            Event::Publish => {
                self.catalog.publish();
                Ok(())
            }
            Event::Intrude => {
                self.intrude();
                Ok(())
            }
            Event::Heal => {
                self.healed_at = Some(self.now);
                self.network.heal();
                for position in 0..self.terminals.len() {
                    if self.terminals[position].boots >= BOOTS_MAX {
                        self.schedule(self.now, Event::Boot(position, false));
                    }
                }
                Ok(())
            }
        }
    }

    fn boot(&mut self, position: usize, same_port: bool) -> Check {
        let terminal = &mut self.terminals[position];
        if terminal.booted || terminal.is_booting() {
            return Ok(());
        }
        terminal.boot(self.now, &mut self.ports, same_port);
        self.report.boots += 1;
        self.after_terminal(position)
    }

    fn deliver(&mut self, to: SocketAddr, from: SocketAddr, body: &Body) -> Check {
        let Some(&position) = self.by_address.get(&to) else {
            return Ok(());
        };
        let terminal = &mut self.terminals[position];
        if !terminal.listens_at(to) {
            return Ok(());
        }
        let octets = body.read(&mut self.buffer);
        let observer = &self.observer;
        terminal.hears(self.now, from, octets, || observer.generations(to))?;
        self.after_terminal(position)
    }

    /// Sends what a terminal has to send, and sees whether its boot has ended.
    fn after_terminal(&mut self, position: usize) -> Check {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        self.terminals[position].sends(&mut outgoing);
        for sent in outgoing.drain(..) {
            self.by_address.insert(sent.from, position);
            self.send_up(position, &sent);
        }
        self.outgoing = outgoing;
        let terminal = &mut self.terminals[position];
        let excused = self.healed_at.is_none_or(|healed| terminal.since < healed);
        match terminal.ended(&self.catalog, excused || self.scenario.scarce)? {
            None => {}
            Some(End::Booted) => self.booted(position, excused)?,
            Some(End::Failed) if self.healed_at.is_none() && terminal.boots >= BOOTS_MAX => {}
            Some(End::Failed) => {
                let pause = self
                    .dice
                    .time(Duration::from_millis(200), Duration::from_secs(5));
                self.schedule(self.now + pause, Event::Boot(position, false));
            }
        }
        let timer = self.terminals[position]
            .download
            .as_ref()
            .and_then(Download::poll_timeout);
        if let Some(at) = earlier(timer, &mut self.terminal_timers[position]) {
            self.schedule(at.max(self.now), Event::TerminalTimer(position));
        }
        Ok(())
    }

    fn booted(&mut self, position: usize, excused: bool) -> Check {
        let terminal = &self.terminals[position];
        self.report.booted_at = self.now;
        self.report.booted[position] = Some(self.now);
        if !excused && !self.scenario.scarce && !terminal.confused {
            self.report.stall = self.report.stall.max(terminal.stall);
            check("liveness", terminal.stall <= STALL_MAX, || {
                format!(
                    "{} had nothing for {:?}",
                    terminal.plan.profile.name, terminal.stall
                )
            })?;
        }
        let Some(download) = &terminal.download else {
            return Ok(());
        };
        self.report.bytes += download.bytes();
        let socket = download
            .peer()
            .and_then(|peer| self.scenario.server.socket(peer.port()));
        if let (Some(socket), Some(generation), false) =
            (socket, terminal.generation(), terminal.confused)
        {
            let session = self.observer.session(terminal.address(), socket.0);
            self.report.digests[position] = session.map(|session| (session.firsts, generation));
        }
        Ok(())
    }

    fn send_up(&mut self, position: usize, sent: &Outgoing) {
        let plan = &self.terminals[position].plan;
        let Some(socket) = self.scenario.server.socket(sent.to.port()) else {
            return;
        };
        if sent.to.ip() != plan.server.ip() {
            return;
        }
        let path = Path {
            socket,
            remote: sent.from,
            local: self.scenario.server.local_known.then(|| sent.to.ip()),
        };
        let (delay, len) = (plan.delay, sent.body.len());
        let arrivals = self.network.carry(self.now, Way::Up, position, delay, len);
        for at in arrivals.into_iter().flatten() {
            self.schedule(at, Event::ToServer(path, sent.body.clone()));
        }
    }

    /// A datagram of the server starts on its way.
    pub(super) fn send_down(&mut self, path: Path, mut body: Body) {
        // Strangers get what they get; nobody looks.
        let Some(&position) = self.by_address.get(&path.remote) else {
            return;
        };
        if let Some(tamper) = &mut self.tamper {
            tamper(Stage::Wire(&mut body));
        }
        let plan = &self.terminals[position].plan;
        let address = path.local.unwrap_or(plan.server.ip());
        let from = SocketAddr::new(address, self.scenario.server.port(path.socket));
        let (delay, len) = (plan.delay, body.len());
        let arrivals = self
            .network
            .carry(self.now, Way::Down, position, delay, len);
        for at in arrivals.into_iter().flatten() {
            self.schedule(at, Event::ToTerminal(path.remote, from, body.clone()));
        }
    }

    /// Sets the server's timer to what it asks for.
    pub(super) fn arm_server(&mut self) {
        if let Some(at) = earlier(self.endpoint.poll_timeout(), &mut self.server_timer) {
            self.schedule(at.max(self.now), Event::ServerTimer);
        }
    }

    fn note(&mut self, event: &Event) {
        let of = |body: &Body| match body {
            Body::Octets(octets) => octets.iter().take(8).fold(7, |h, &b| h << 8 ^ u64::from(b)),
            Body::Block(block) => block.start << 20 ^ u64::from(block.number()),
        };
        let what = match event {
            Event::ToServer(path, body) => {
                u64::from(path.socket.0) << 32 ^ u64::from(path.remote.port()) ^ mix(of(body))
            }
            Event::ToTerminal(to, from, body) => {
                u64::from(from.port()) << 32 ^ u64::from(to.port()) ^ mix(of(body))
            }
            Event::TerminalTimer(position) => *position as u64,
            _ => 1,
        };
        self.report.trace = mix(self.report.trace ^ mix(self.now.as_nanos()) ^ what);
    }

    fn check_end(&self) -> Check {
        let since = self.now.since(Time::ZERO + self.scenario.heal_at);
        let ends = self.report.events < EVENTS_MAX && since <= REST_WITHIN;
        check("liveness", ends, || self.unfinished())
    }

    fn unfinished(&self) -> String {
        let missing = self.terminals.iter().enumerate().filter(|(_, t)| !t.booted);
        let missing: Vec<String> = missing
            .take(5)
            .map(|(position, t)| {
                let outcome = t.download.as_ref().map(Download::outcome);
                format!("{} (client {position}: {outcome:?})", t.plan.profile.name)
            })
            .collect();
        let audit = self.endpoint.audit();
        let events = self.report.events;
        format!(
            "after {events} events at {:?}: {audit:?}, not booted: {missing:?}",
            self.now
        )
    }

    fn books_every(&self) -> u64 {
        (self.terminals.len() as u64 * 8).next_power_of_two()
    }

    fn books(&mut self) -> Audit {
        let mut audit = self.endpoint.audit();
        if let Some(tamper) = &mut self.tamper {
            tamper(Stage::Books(&mut audit));
        }
        audit
    }

    fn check_books(&mut self) -> Check {
        let audit = self.books();
        let leases = self.catalog.leases();
        check_books(&audit, leases, &self.scenario.server.config)
    }

    /// Nothing will ever happen again.
    fn rest(mut self) -> Result<Report, Failure> {
        check("liveness", self.terminals.iter().all(|t| t.booted), || {
            self.unfinished()
        })?;
        let audit = self.books();
        let timer = self.endpoint.poll_timeout().is_some();
        check_rest(&audit, self.catalog.leases(), timer)?;
        let (opened, ended) = self.observer.totals();
        check("T7", opened == ended, || {
            format!("{opened} transfers were opened, {ended} ended")
        })?;
        let counters = self.endpoint.counters();
        check("T12", counters.events_dropped == 0, || {
            "events were lost, though they were read at once".into()
        })?;
        self.report.blocks = (counters.blocks_sent, counters.blocks_resent);
        self.report.bottleneck = (self.network.passed, self.network.dropped);
        Ok(self.report)
    }
}

/// When a timer has to be set: if there is a deadline, and it is before what is set already.
fn earlier(deadline: Option<Time>, set: &mut Option<Time>) -> Option<Time> {
    let deadline = deadline?;
    if set.is_some_and(|set| set <= deadline) {
        return None;
    }
    *set = Some(deadline);
    Some(deadline)
}
