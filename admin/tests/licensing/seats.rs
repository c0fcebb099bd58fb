//! S12: no server grants a seat beyond the entitlement that it knows; an excess arises only by a merge, is shown, and never
//! grows; turning the clock back gains nothing. Two servers, apart and together, whatever operators and clocks do.

use std::collections::BTreeMap;
use std::sync::Arc;

use daybreak_admin::events::Follower;
use daybreak_admin::kind::{Body, Kind};
use daybreak_admin::licences::{Licences, Lookout, give_seat, tend};
use daybreak_admin::licensing::{
    Count, Entitlement, PairView, Redundancy, Seat, SeatState, Span, Told, VendorKeys, sign,
};
use daybreak_admin::object::Id;
use daybreak_sync::policy::Role;
use proptest::prelude::*;
use serde_json::json;

use crate::support::vendor::{DAY_MS, id, key, licence_for};
use crate::support::{Site, actor, mac, until};

#[derive(Clone, Copy, Debug)]
enum Act {
    /// A new terminal, or an edit of one that is there.
    Edit {
        server: usize,
        terminal: u8,
        enabled: bool,
    },
    /// Somebody takes the seat away, by hand.
    Release { server: usize, terminal: u8 },
    /// The server looks who waits.
    Tend { server: usize },
    /// The clock of a server goes, or is set, also back.
    Clock { server: usize, to_ms: u64 },
    /// The licence of a server counts another number from now on.
    License { server: usize, seats: u64 },
    /// Both meet.
    Merge,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..2_usize, 0..12_u8, prop::bool::weighted(0.8))
            .prop_map(|(server, terminal, enabled)| Act::Edit { server, terminal, enabled }),
        2 => (0..2_usize, 0..12_u8).prop_map(|(server, terminal)| Act::Release { server, terminal }),
        2 => (0..2_usize).prop_map(|server| Act::Tend { server }),
        2 => (0..2_usize, 0..1000_u64).prop_map(|(server, to_ms)| Act::Clock { server, to_ms }),
        1 => (0..2_usize, 0..10_u64).prop_map(|(server, seats)| Act::License { server, seats }),
        2 => Just(Act::Merge),
    ];
    prop::collection::vec(act, 0..80)
}

#[derive(Clone, Default)]
struct Server {
    terminals: BTreeMap<u8, (bool, Seat)>,
    seats: u64,
    now_ms: u64,
}

impl Server {
    fn held(&self) -> u64 {
        self.terminals
            .values()
            .filter(|(_, seat)| seat.is_held())
            .count() as u64
    }

    fn grants(&self, others: u64) -> bool {
        let entitlement = Entitlement {
            seats: Count::Of(self.seats),
            ..Entitlement::default()
        };
        entitlement.grants(others)
    }

    /// As an edit settles it.
    fn settle(&mut self, terminal: u8, enabled: bool) {
        let before = self.terminals.get(&terminal).map(|(_, seat)| *seat);
        let had = before.unwrap_or_else(|| Seat::wanted(self.now_ms));
        let room = self.grants(self.held() - u64::from(had.is_held()));
        let seat = had.settled(enabled, room, self.now_ms);
        self.terminals.insert(terminal, (enabled, seat));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn s12_no_server_grants_beyond_what_it_knows_and_an_excess_never_grows(acts in acts()) {
        let mut servers = [Server::default(), Server::default()];
        for server in &mut servers {
            server.seats = 4;
        }
        for act in acts {
            let before = servers.clone();
            match act {
                Act::Edit { server, terminal, enabled } => servers[server].settle(terminal, enabled),
                Act::Release { server, terminal } => {
                    let server = &mut servers[server];
                    if let Some((_, seat)) = server.terminals.get_mut(&terminal) {
                        *seat = seat.becomes(SeatState::Released, server.now_ms);
                    }
                }
                Act::Tend { server } => {
                    let known: Vec<(u8, bool)> = servers[server].terminals.iter().map(|(id, (enabled, _))| (*id, *enabled)).collect();
                    for (terminal, enabled) in known {
                        servers[server].settle(terminal, enabled);
                    }
                }
                Act::Clock { server, to_ms } => servers[server].now_ms = to_ms,
                Act::License { server, seats } => servers[server].seats = seats,
                Act::Merge => merge(&mut servers),
            }
            for (before, after) in before.iter().zip(&servers) {
                // More are held than before only within the count, except by a merge.
                if !matches!(act, Act::Merge) && after.held() > before.held() {
                    prop_assert!(after.held() <= after.seats, "{act:?}");
                }
                // Who holds one loses it only by being disabled or released.
                for (terminal, (_, seat)) in &before.terminals {
                    let now = after.terminals.get(terminal);
                    let asked = matches!(act, Act::Edit { terminal: other, enabled: false, .. } | Act::Release { terminal: other, .. } if other == *terminal)
                        || matches!(act, Act::Tend { .. } | Act::Merge);
                    if seat.is_held() && !asked {
                        prop_assert!(now.is_some_and(|(_, seat)| seat.is_held()), "{act:?}");
                    }
                    // No statement is taken back by an earlier one, whatever the clock says.
                    prop_assert!(now.is_some_and(|(_, now)| now.since_ms >= seat.since_ms), "{act:?}");
                }
            }
        }
        merge(&mut servers);
        prop_assert_eq!(&servers[0].terminals.iter().map(|(id, (_, seat))| (*id, *seat)).collect::<Vec<_>>(),
            &servers[1].terminals.iter().map(|(id, (_, seat))| (*id, *seat)).collect::<Vec<_>>());
    }

    #[test]
    fn merging_seats_is_commutative_associative_and_idempotent(a in seats(), b in seats(), c in seats()) {
        prop_assert_eq!(a.merged(b), b.merged(a));
        prop_assert_eq!(a.merged(b).merged(c), a.merged(b.merged(c)));
        prop_assert_eq!(a.merged(a), a);
        // Of one time, nobody is refused.
        if a.since_ms == b.since_ms {
            prop_assert_eq!(a.merged(b).is_held(), a.is_held() || b.is_held());
        }
    }
}

fn seats() -> impl Strategy<Value = Seat> {
    let states = [SeatState::Held, SeatState::Waiting, SeatState::Released];
    let state = prop::sample::select(states.to_vec());
    (0..4_u64, state).prop_map(|(since_ms, state)| Seat { since_ms, state })
}

/// Each takes over what the other knows; the terminal itself is what the first one says.
fn merge(servers: &mut [Server; 2]) {
    let [one, other] = &servers;
    let mut terminals = other.terminals.clone();
    for (id, (enabled, seat)) in &one.terminals {
        let known = terminals
            .get(id)
            .map_or(*seat, |(_, other)| seat.merged(*other));
        terminals.insert(*id, (*enabled, known));
    }
    for server in servers {
        server.terminals.clone_from(&terminals);
    }
}

/// A site whose licences are looked at as its administration does.
struct Watched {
    site: Site,
    licences: Arc<Licences>,
    follower: Arc<Follower>,
    lookout: Lookout,
}

impl Watched {
    fn of(site: Site) -> Self {
        let dir = site.dir.path();
        let configuration = Arc::clone(&site.configuration);
        let licences = Licences::open(dir, &dir.join("machine-id"), Arc::clone(&configuration));
        let licences = Arc::new(licences.expect("opened"));
        let follower = Follower::start(dir, Arc::clone(&configuration), Box::new(|| {}));
        let follower = Arc::new(follower.expect("a thread"));
        let lookout = Lookout::open(configuration, Arc::clone(&licences), Arc::clone(&follower));
        Watched {
            lookout: lookout.expect("opened"),
            site,
            licences,
            follower,
        }
    }

    fn restarted(self) -> Self {
        let Watched {
            site,
            licences,
            follower,
            lookout,
        } = self;
        drop((lookout, follower, licences));
        Watched::of(site.restarted())
    }

    /// It takes this place beside another server, with a mirrored licence for both that has room.
    fn mirrored(&self, role: Role) {
        let this = self.licences.installation();
        let products = [("mirrored-terminal-connection", 20)];
        let licence = licence_for("mirrored", vec![this, id(2)], &products);
        let trusted = VendorKeys::key_text(&key(1).verifying_key());
        self.licences.trust(&trusted).expect("trusted");
        let text = sign(&licence, &key(1)).expect("signed");
        let installed = self.licences.install(&actor(), text.as_bytes());
        installed.expect("installed");
        let view = PairView {
            role,
            automatic: true,
            ceiling: Redundancy::Full,
            partner: Some(id(2)),
            partner_licences: None,
        };
        self.licences.set_pair(Some(view)).expect("said");
    }

    fn pair(&self, paired: bool) {
        let view = PairView {
            role: Role::Primary,
            automatic: true,
            ceiling: Redundancy::Full,
            partner: None,
            partner_licences: None,
        };
        self.licences
            .set_pair(paired.then_some(view))
            .expect("said");
        self.lookout.place(paired.then_some("b")).expect("kept");
    }

    /// The other server tells all: it knows who was seen there since its beginning, and that one terminal was now.
    fn hear(&self, seen: &Id) {
        let told = Told {
            is_whole: true,
            span: Some(Span {
                since_ms: u64::MAX,
                until_ms: 0,
            }),
            seen: BTreeMap::from([(seen.clone(), 0)]),
        };
        self.lookout.hear(told).expect("kept");
    }

    /// So many days go by, and the terminals `seen` boot here at their end; who holds a seat then, where thirty days are set.
    fn after(&self, days: u64, seen: &[&Id]) -> Vec<Id> {
        self.site.clock.pass(days * DAY_MS);
        let now_ms = self.site.configuration.now_ms();
        let seen_ms = |id: &Id| {
            let here_ms = seen.contains(&id).then_some(now_ms);
            here_ms.max(self.lookout.seen_ms(id))
        };
        self.licences.refresh().expect("looked at");
        self.lookout.look().expect("kept");
        until("the events to be read", || {
            let running_ms = self.site.configuration.running_ms();
            (self.follower.read_ago_ms(running_ms)? < 1000).then_some(())
        });
        let before_ms = self.lookout.unseen_before_ms(30).expect("read");
        tend(&self.site.configuration, before_ms, &seen_ms).expect("tended");
        let site = self.site.configuration.site();
        let terminals = site.table(Kind::Terminal).objects();
        let held = terminals.filter(|object| match &object.body {
            Body::Terminal(terminal) => terminal.seat.is_held(),
            _ => false,
        });
        held.map(|object| object.id.clone()).collect()
    }
}

#[test]
fn a_terminal_that_boots_from_the_other_server_keeps_its_seat_and_makes_room_only_when_both_know_it_unseen()
 {
    let site = Site::new();
    site.clock.set(1_700_000_000_000);
    let watched = Watched::of(site);
    watched.pair(true);
    let ids: Vec<Id> = (1..=11)
        .map(|number| {
            let terminal = json!({"name": format!("t{number}"), "macs": [mac(number)]});
            watched.site.create(Kind::Terminal, &terminal)
        })
        .collect();
    // Ten have seats, boot from the other one for years, and are never seen here; the eleventh waits.
    let holders = watched.after(0, &[]);
    assert_eq!(holders.len(), 10);
    assert!(!holders.contains(&ids[10]));
    assert_eq!(watched.after(400, &[]), holders);
    let watched = watched.restarted();
    watched.pair(true);
    assert_eq!(watched.after(400, &[]), holders);

    // The other one is dead, and the pair is ended: only from now on is it this one that all of them boot from.
    watched.pair(false);
    assert_eq!(watched.after(0, &[]), holders);
    assert_eq!(watched.after(15, &[]), holders);
    let watched = watched.restarted();
    assert_eq!(watched.after(14, &[]), holders);
    // A clock that runs wild takes nobody's seat.
    watched.site.clock.set(1_900_000_000_000);
    assert_eq!(watched.after(0, &[]), holders);
    watched
        .site
        .clock
        .set(1_700_000_000_000 + (400 + 400 + 29) * DAY_MS);
    assert_eq!(watched.after(0, &[]), holders);
    // One that was behind begins the days anew when it is put right: what was seen meanwhile was noted too early.
    watched.site.clock.set(1_600_000_000_000);
    assert_eq!(watched.after(0, &[]), holders);
    watched
        .site
        .clock
        .set(1_700_000_000_000 + (400 + 400 + 29) * DAY_MS);
    assert_eq!(watched.after(2, &[]), holders);
    assert_eq!(watched.after(30, &[]), holders);
    // Nine of them have booted here when the time is over: the tenth makes room.
    let seen: Vec<&Id> = holders[1..].iter().collect();
    let now = watched.after(2, &seen);
    assert_eq!(now.len(), 10);
    assert!(!now.contains(&holders[0]));
    assert!(now.contains(&ids[10]));

    // A new partner: nobody loses a seat to it before it tells who booted there.
    watched.pair(true);
    assert_eq!(watched.after(400, &[]), now);
    // The tenth waits again, and one of those that were not seen here for so long was seen there.
    let seen_there = &now[3];
    watched.hear(seen_there);
    let told = watched.after(0, &[]);
    assert_eq!(told.len(), 10);
    assert!(told.contains(seen_there) && told.contains(&holders[0]));
    // It falls silent, and nobody else does, also after a restart; the pair ends, and only what is new counts.
    assert_eq!(watched.after(400, &[]), told);
    let watched = watched.restarted();
    watched.pair(true);
    assert_eq!(watched.after(0, &[]), told);
    watched.pair(false);
    assert_eq!(watched.after(30, &[]), told);
    assert_ne!(watched.after(2, &[]), told);
}

#[test]
fn a_mirror_grants_no_seat_though_there_is_room_and_gives_them_as_soon_as_it_is_the_primary() {
    let site = Site::new();
    site.clock.set(1_800_000_000_000);
    let watched = Watched::of(site);
    let make = |numbers: std::ops::RangeInclusive<u32>| {
        for number in numbers {
            let terminal = json!({"name": format!("t{number}"), "macs": [mac(number)]});
            watched.site.create(Kind::Terminal, &terminal);
        }
    };
    make(1..=11);
    assert_eq!(watched.after(0, &[]).len(), 10);
    watched.mirrored(Role::Secondary);
    let site = watched.site.configuration.site();
    let entitlement = site.entitlement();
    assert_eq!(entitlement.redundancy, Redundancy::Mirrored);
    assert_eq!(entitlement.seats, Count::Of(20));
    // It boots who holds one, and gives none: to those that wait, by hand, or to new ones.
    assert!(!entitlement.standby);
    assert_eq!(watched.after(0, &[]).len(), 10);
    let waiting = site.table(Kind::Terminal).objects();
    let waiting = waiting.filter(|object| match &object.body {
        Body::Terminal(terminal) => !terminal.seat.is_held(),
        _ => false,
    });
    for object in waiting {
        let given = give_seat(&watched.site.configuration, &actor(), &object.id);
        assert!(given.is_err(), "{given:?}");
    }
    make(12..=12);
    assert_eq!(watched.after(0, &[]).len(), 10);
    watched.mirrored(Role::Primary);
    assert_eq!(watched.after(0, &[]).len(), 12);
}
