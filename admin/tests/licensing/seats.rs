//! S12: no server grants a seat beyond the entitlement that it knows; an excess arises only by a merge, is shown, and never
//! grows; turning the clock back gains nothing. Two servers, apart and together, whatever operators and clocks do.

use std::collections::BTreeMap;

use daybreak_admin::licensing::{Count, Entitlement, Seat, SeatState};
use proptest::prelude::*;

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
