//! S12 on the real configurations of two servers: their databases, their rules, their merges. Operators create, edit, disable, delete,
//! release, give and choose; clocks are set, licences change, the two meet and part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use daybreak_admin::configuration::{Actor, Configuration, Edit, Expected};
use daybreak_admin::database::Database;
use daybreak_admin::edge::Machine;
use daybreak_admin::kind::{Body, Kind, Terminal, TerminalName};
use daybreak_admin::licences::{give_seat, release_seat, tend};
use daybreak_admin::licensing::{Count, Entitlement, Redundancy, Seat, SeatState};
use daybreak_admin::object::{Id, NodeId};
use daybreak_sync::host::Batch;
use daybreak_sync::{Completion, Heads};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{HandClock, mac};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Clone, Debug)]
enum Act {
    Create,
    Rename(usize),
    Enable(usize, bool),
    Delete(usize),
    Release(usize),
    Give(usize),
    /// Who waits is looked at; terminals that were not seen for so many days may make room.
    Tend(Option<u16>),
    /// Somebody sets the clock.
    Clock(u64),
    /// So many seats from now on.
    License(u64),
    /// Of the first conflict, this value is chosen.
    Choose(usize),
}

fn acts() -> impl Strategy<Value = Vec<Option<(usize, Act)>>> {
    let which = 0..16_usize;
    let act = prop_oneof![
        5 => Just(Act::Create),
        2 => which.clone().prop_map(Act::Rename),
        3 => (which.clone(), any::<bool>()).prop_map(|(which, enabled)| Act::Enable(which, enabled)),
        1 => which.clone().prop_map(Act::Delete),
        2 => which.clone().prop_map(Act::Release),
        2 => which.prop_map(Act::Give),
        3 => prop::option::weighted(0.3, 1..40_u16).prop_map(Act::Tend),
        2 => (0..60 * DAY_MS).prop_map(Act::Clock),
        1 => (0..8_u64).prop_map(Act::License),
        1 => (0..3_usize).prop_map(Act::Choose),
    ];
    // Nothing: the two meet.
    let step = prop_oneof![5 => (0..2_usize, act).prop_map(Some), 1 => Just(None)];
    prop::collection::vec(step, 0..60)
}

struct Server {
    _dir: tempfile::TempDir,
    clock: Arc<HandClock>,
    configuration: Configuration,
}

fn actor() -> Actor {
    Actor::machine("test")
}

impl Server {
    fn new() -> Self {
        // In memory, where there is such a place: the disk is not what this is about.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let dir = dir.expect("a folder");
        let clock = Arc::new(HandClock::at(30 * DAY_MS));
        let time: Arc<HandClock> = Arc::clone(&clock);
        let path = dir.path().join("config.db");
        let configuration = Configuration::open(&path, time, Arc::new(Machine)).expect("opened");
        let server = Server {
            _dir: dir,
            clock,
            configuration,
        };
        server.license(4);
        server
    }

    fn license(&self, seats: u64) {
        self.configuration.entitle(Entitlement {
            redundancy: Redundancy::Full,
            seats: Count::Of(seats),
            ..Entitlement::default()
        });
    }

    fn entitled(&self) -> u64 {
        let seats = self.configuration.site().entitlement().seats;
        seats.number().expect("a number")
    }

    fn terminals(&self) -> BTreeMap<Id, (bool, Seat)> {
        let site = self.configuration.site();
        let objects = site.table(Kind::Terminal).objects();
        let terminals = objects.filter_map(|object| match &object.body {
            Body::Terminal(terminal) => {
                Some((object.id.clone(), (terminal.enabled, terminal.seat)))
            }
            _ => None,
        });
        terminals.collect()
    }

    fn held(&self) -> u64 {
        self.configuration.site().seats()
    }

    fn edit(&self, which: usize, change: impl Fn(&mut Terminal)) -> Option<Id> {
        let id = self.terminals().keys().nth(which)?.clone();
        let site = self.configuration.site();
        let Body::Terminal(before) = &site.object(Kind::Terminal, &id)?.body else {
            return None;
        };
        let mut terminal = before.clone();
        change(&mut terminal);
        let edit = Edit::Replace {
            id: id.clone(),
            body: Body::Terminal(terminal),
            expected: Expected::Any,
        };
        let applied = self.configuration.apply(&actor(), vec![edit]);
        applied.expect("it may be changed");
        Some(id)
    }

    /// Does it. Gives the terminals that may lose their seats by that.
    fn act(&self, act: &Act, number: u32) -> Vec<Id> {
        let nth = |which: usize| self.terminals().keys().nth(which).cloned();
        match act {
            Act::Create => {
                let json = json!({"name": format!("t{number}"), "macs": [mac(number)]});
                let body = Body::parse_request(Kind::Terminal, &json).expect("a terminal");
                let made = self.configuration.apply(&actor(), vec![Edit::Create(body)]);
                made.expect("made");
                vec![]
            }
            Act::Rename(which) => {
                let name = format!("renamed{number}");
                let _ = self.edit(*which, |terminal| {
                    terminal.name = TerminalName::parse(&name).expect("a name");
                });
                vec![]
            }
            Act::Enable(which, enabled) => {
                let id = self.edit(*which, |terminal| terminal.enabled = *enabled);
                id.filter(|_| !enabled).into_iter().collect()
            }
            Act::Delete(which) => {
                let id = nth(*which);
                if let Some(id) = id.clone() {
                    let edit = Edit::Delete {
                        kind: Kind::Terminal,
                        id,
                        expected: Expected::Any,
                        force: true,
                    };
                    let applied = self.configuration.apply(&actor(), vec![edit]);
                    applied.expect("deleted");
                }
                id.into_iter().collect()
            }
            Act::Release(which) => {
                let id = nth(*which);
                if let Some(id) = &id {
                    let _ = release_seat(&self.configuration, &actor(), id).expect("released");
                }
                id.into_iter().collect()
            }
            Act::Give(which) => {
                if let Some(id) = nth(*which) {
                    // There may be no room, or it may be disabled.
                    let _ = give_seat(&self.configuration, &actor(), &id);
                }
                vec![]
            }
            Act::Tend(unseen_days) => {
                self.configuration.settle_seats(&actor()).expect("settled");
                let before = self.terminals();
                let before_ms = unseen_days.map(|days| {
                    let now_ms = self.configuration.now_ms();
                    now_ms.saturating_sub(u64::from(days) * DAY_MS)
                });
                tend(&self.configuration, before_ms, &|_| None).expect("tended");
                let unseen = before.into_keys();
                unseen.filter(|_| unseen_days.is_some()).collect()
            }
            Act::Clock(now_ms) => {
                self.clock.set(*now_ms);
                vec![]
            }
            Act::License(seats) => {
                self.license(*seats);
                vec![]
            }
            Act::Choose(choice) => {
                let rows = self
                    .configuration
                    .with_database(|database| database.conflicts(None, 1))
                    .expect("read");
                let Some(row) = rows.first() else {
                    return vec![];
                };
                let chosen = row.values().get(*choice);
                let _ = self.configuration.resolve(&actor(), row, *choice);
                // Whoever chooses may choose that it is gone, or switched off.
                let id = Id::parse(row.key.id()).expect("an identifier");
                chosen.map(|_| id).into_iter().collect()
            }
        }
    }

    fn takes_in(&self, other: &Server) {
        let nobody = NodeId::from_random([0xee; 8]);
        let theirs = other
            .configuration
            .with_database(|database| database.changes(0, usize::MAX, nobody))
            .expect("read");
        let end = Completion {
            node: theirs.book.node,
            head: theirs.book.head(),
            heads: theirs.book.heads.clone(),
        };
        let batch = Batch {
            from: theirs.book.node,
            late: false,
            keep: false,
            rows: &theirs.rows,
            gone: &[],
            seen: &Heads::default(),
            heard: Some((theirs.book.node, theirs.book.head())),
            end: Some(&end),
        };
        self.configuration.take_in(&batch).expect("taken in");
    }
}

fn meet([one, other]: &[Server; 2]) {
    one.takes_in(other);
    other.takes_in(one);
    one.takes_in(other);
}

/// The terminals that no merge of these two takes a seat from: they are switched on wherever they are known, and hold one by the latest that
/// was said of it.
fn keeping(known: [BTreeMap<Id, (bool, Seat)>; 2], maybe_gone: &BTreeSet<Id>) -> Vec<Id> {
    let [one, mut other] = known;
    let mut keep = Vec::new();
    for (id, (enabled, seat)) in one {
        let (enabled, seat, is_there) = match other.remove(&id) {
            Some((too, said)) => {
                let said = [seat, said].into_iter();
                let latest = said.max_by_key(|seat| (seat.since_ms, seat.is_held()));
                (enabled && too, latest.expect("two"), true)
            }
            None => (enabled, seat, !maybe_gone.contains(&id)),
        };
        keep.extend((enabled && seat.is_held() && is_there).then_some(id));
    }
    let made = other.into_iter();
    let made =
        made.filter(|(id, (enabled, seat))| *enabled && seat.is_held() && !maybe_gone.contains(id));
    keep.extend(made.map(|(id, _)| id));
    keep
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn s12_two_real_configurations_never_grant_beyond_what_they_know_and_an_excess_never_grows(steps in acts()) {
        let servers = [Server::new(), Server::new()];
        let mut maybe_gone = BTreeSet::new();
        for (number, step) in steps.iter().enumerate() {
            let number = u32::try_from(number).expect("few");
            let Some((which, act)) = step else {
                let keep = keeping([servers[0].terminals(), servers[1].terminals()], &maybe_gone);
                meet(&servers);
                let [one, other] = &servers;
                prop_assert_eq!(one.terminals(), other.terminals());
                for id in keep {
                    let now = one.terminals().remove(&id);
                    prop_assert!(now.is_some_and(|(_, seat)| seat.is_held()), "the merge took the seat of {}", id);
                }
                continue;
            };
            let server = &servers[*which];
            let (held, before) = (server.held(), server.terminals());
            let may_lose = server.act(act, number);
            if matches!(act, Act::Delete(_) | Act::Choose(_)) {
                maybe_gone.extend(may_lose.iter().cloned());
            }
            let after = server.terminals();
            prop_assert_eq!(server.held(), after.values().filter(|(_, seat)| seat.is_held()).count() as u64);
            if server.held() > held {
                prop_assert!(server.held() <= server.entitled(), "{:?} gave a seat beyond the count", act);
            }
            for (id, (_, seat)) in &before {
                let now = after.get(id);
                if seat.is_held() && !may_lose.contains(id) {
                    prop_assert!(now.is_some_and(|(_, seat)| seat.is_held()), "{:?} took the seat of {}", act, id);
                }
                if let Some((_, now)) = now {
                    prop_assert!(now.since_ms >= seat.since_ms, "{:?} took a statement back", act);
                }
            }
        }
        // Healed and quiet: both hold the same seats, and nobody has to choose where only seats were changed.
        meet(&servers);
        for server in &servers {
            server.act(&Act::Tend(None), 0);
            meet(&servers);
        }
        let [one, other] = &servers;
        prop_assert_eq!(one.terminals(), other.terminals());
        if one.held() > one.entitled() {
            prop_assert_eq!(one.configuration.site().entitlement().seats.excess(one.held()), one.held() - one.entitled());
        }
    }
}

#[test]
fn a_choice_neither_brings_a_seat_back_nor_takes_one_away() {
    for chosen in 0..2 {
        let servers = [Server::new(), Server::new()];
        let [one, other] = &servers;
        for server in &servers {
            server.license(1);
        }
        one.act(&Act::Create, 1);
        meet(&servers);
        // Renamed here; there its seat is released, and another one gets it.
        one.clock.set(40 * DAY_MS);
        one.act(&Act::Rename(0), 2);
        other.act(&Act::Release(0), 0);
        other.act(&Act::Create, 3);
        meet(&servers);
        let states = |server: &Server| -> Vec<SeatState> {
            let mut states: Vec<_> = server.terminals().into_values().collect();
            states.sort_unstable_by_key(|(_, seat)| seat.state);
            states.into_iter().map(|(_, seat)| seat.state).collect()
        };
        assert_eq!(states(one), [SeatState::Released, SeatState::Held]);
        one.act(&Act::Choose(chosen), 0);
        assert_eq!(states(one), [SeatState::Released, SeatState::Held]);
        meet(&servers);
        assert_eq!(states(other), states(one));
        let conflicts = one.configuration.with_database(Database::conflict_count);
        assert_eq!(conflicts.expect("read"), 0);
    }
}

#[test]
fn a_seat_that_both_gave_while_they_were_parted_is_no_conflict() {
    let servers = [Server::new(), Server::new()];
    let [one, other] = &servers;
    for server in &servers {
        server.license(0);
    }
    one.act(&Act::Create, 1);
    meet(&servers);
    for (server, day) in servers.iter().zip([31, 32]) {
        server.clock.set(day * DAY_MS);
        server.license(1);
        server.act(&Act::Tend(None), 0);
        assert_eq!(server.held(), 1);
    }
    meet(&servers);
    let conflicts = |server: &Server| {
        let count = server.configuration.with_database(Database::conflict_count);
        count.expect("read")
    };
    assert_eq!(conflicts(one), 1);
    assert_eq!(
        one.configuration.settle_seats(&actor()).expect("settled"),
        1
    );
    meet(&servers);
    assert_eq!((conflicts(one), conflicts(other)), (0, 0));
    assert_eq!((one.held(), other.held()), (1, 1));
}
