//! Who is unseen for the days of `seat-days`, in a pair: as tables, and as what must hold whatever two servers, their clocks, their link and the
//! terminals do. The bookkeeping is the real one; the two books and the link are these tests'.

use std::collections::BTreeMap;

use daybreak_admin::licensing::{LicenceClock, Moment, Sightings, Span, Told, Witnesses};
use daybreak_admin::limits::{
    LICENCE_CLOCK_TOLERANCE_MS, SEAT_CLOCK_STEP_MS, SEAT_DAYS_MARGIN_MS, SIGHTINGS_FRESH_MS,
    SIGHTINGS_TOLD_EXACTLY_MS,
};
use daybreak_admin::object::Id;
use proptest::prelude::*;

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;
const NOW_MS: u64 = 20_000 * DAY_MS;
const DAYS: u16 = 3;

fn id(number: u8) -> Id {
    Id::parse(&format!("terminal-{number}")).expect("an identifier")
}

/// By a process that runs for 50 days.
fn at(now_ms: u64) -> Moment {
    Moment {
        now_ms,
        clock_ms: now_ms,
        running_ms: (now_ms + 50 * DAY_MS).saturating_sub(NOW_MS),
    }
}

fn ago(days: u64) -> u64 {
    NOW_MS - days * DAY_MS
}

/// Everything up to now, since so many days.
fn span(days: u64) -> Option<Span> {
    Some(Span {
        since_ms: ago(days),
        until_ms: NOW_MS,
    })
}

/// All that the other server knows, who saw terminal 1 so many days ago.
fn told(since_days: u64, until_ago_ms: u64, seen_days: u64) -> Told {
    let ages = Span {
        since_ms: since_days * DAY_MS,
        until_ms: until_ago_ms,
    };
    Told {
        is_whole: true,
        span: Some(ages),
        seen: BTreeMap::from([(id(1), seen_days * DAY_MS)]),
    }
}

fn in_a_pair() -> Sightings {
    let mut sightings = Sightings::begun(0);
    assert!(sightings.place(Some("b"), at(ago(100)), |_| true));
    sightings
}

/// Whether the terminal that this server saw so many days ago is unseen for 30.
fn unseen(sightings: &Sightings, own_days: u64) -> bool {
    let before_ms = sightings.unseen_before_ms(30, at(NOW_MS), span(100));
    let seen_ms = sightings.seen_ms(&id(1), Some(ago(own_days)));
    before_ms.is_some_and(|before_ms| seen_ms < Some(before_ms))
}

#[test]
fn a_terminal_is_unseen_when_both_servers_know_it_up_to_now() {
    let fresh = SIGHTINGS_FRESH_MS;
    for (what, told, own_days, expected) in [
        ("neither saw it", Some(told(100, 0, 40)), 40, true),
        ("seen here", Some(told(100, 0, 40)), 20, false),
        ("seen there", Some(told(100, 0, 20)), 40, false),
        (
            "a day for clocks that are wrong",
            Some(told(100, 0, 31)),
            31,
            false,
        ),
        ("an older server, or none so far", None, 40, false),
        ("it told an hour ago", Some(told(100, fresh, 40)), 40, true),
        (
            "it told longer ago",
            Some(told(100, fresh + 1, 40)),
            40,
            false,
        ),
        ("it knows of 20 days only", Some(told(20, 0, 40)), 40, false),
        (
            "its clock was set back",
            Some(Told {
                span: None,
                ..told(100, 0, 40)
            }),
            40,
            false,
        ),
    ] {
        let mut sightings = in_a_pair();
        if let Some(told) = told {
            sightings.hear(told, at(NOW_MS)).expect("few");
        }
        assert_eq!(unseen(&sightings, own_days), expected, "{what}");
    }
    // This server must know it, too.
    let mut sightings = in_a_pair();
    sightings.hear(told(100, 0, 40), at(NOW_MS)).expect("few");
    let late = Span {
        since_ms: ago(100),
        until_ms: NOW_MS - fresh - 1,
    };
    for book in [None, span(20), Some(late)] {
        assert_eq!(sightings.unseen_before_ms(30, at(NOW_MS), book), None);
    }
    // After a restart nobody knows how long ago the other one told.
    let kept = serde_json::to_string(&sightings).expect("text");
    let mut read: Sightings = serde_json::from_str(&kept).expect("read");
    assert_eq!((unseen(&sightings, 40), unseen(&read, 40)), (true, false));
    let again = Told {
        is_whole: false,
        seen: BTreeMap::new(),
        ..told(100, 0, 40)
    };
    read.hear(again, at(NOW_MS)).expect("few");
    assert_eq!(read, sightings);
}

#[test]
fn what_is_told_anew_is_added_and_what_is_told_wholly_takes_its_place() {
    let mut sightings = in_a_pair();
    sightings.hear(told(100, 0, 40), at(NOW_MS)).expect("few");
    let other = Told {
        is_whole: false,
        seen: BTreeMap::from([(id(2), 5 * DAY_MS), (id(1), 50 * DAY_MS)]),
        ..told(100, 0, 0)
    };
    sightings.hear(other.clone(), at(NOW_MS)).expect("few");
    let seen = |sightings: &Sightings, number| sightings.seen_ms(&id(number), None);
    assert_eq!(
        (seen(&sightings, 1), seen(&sightings, 2)),
        (Some(ago(40)), Some(ago(5)))
    );
    let whole = Told {
        is_whole: true,
        ..other
    };
    sightings.hear(whole, at(NOW_MS)).expect("few");
    assert_eq!(seen(&sightings, 1), Some(ago(50)));
    // Nobody hears of a server that is none of the pair.
    let mut alone = Sightings::begun(0);
    alone.hear(told(100, 0, 40), at(NOW_MS)).expect("nothing");
    assert_eq!(alone, Sightings::begun(0));
}

#[test]
fn the_days_go_on_when_a_pair_begins_and_when_it_ends_but_for_what_nobody_knows() {
    // Alone for 100 days; a new machine, which has had no terminals before.
    let ever = NOW_MS / DAY_MS;
    for (what, first, ended, expected) in [
        ("ended right after it told", told(ever, 0, 40), 0, true),
        (
            "and who was seen there stays so",
            told(ever, 0, 20),
            0,
            false,
        ),
        ("it knew of 20 days only", told(20, 0, 40), 0, false),
        (
            "nobody knows of the last days",
            told(ever, 0, 40),
            SIGHTINGS_FRESH_MS + 1,
            false,
        ),
    ] {
        let mut sightings = in_a_pair();
        sightings.hear(first, at(NOW_MS - ended)).expect("few");
        assert_eq!(
            unseen(&sightings, 40),
            expected && ended == 0,
            "{what}: in the pair"
        );
        assert!(sightings.place(None, at(NOW_MS), |_| true));
        assert!(!sightings.place(None, at(NOW_MS), |_| true));
        assert_eq!(unseen(&sightings, 40), expected, "{what}: alone");
        // The next one is told of it.
        let own_ms = sightings.own_seen_ms(&id(1), Some(ago(40)));
        assert_eq!(
            own_ms < Some(ago(31)),
            what != "and who was seen there stays so"
        );
    }
    // From then on they count anew.
    let mut sightings = in_a_pair();
    assert!(sightings.place(None, at(ago(40)), |_| true));
    assert!(unseen(&sightings, 40));
    // Terminals that are gone are forgotten, so that nothing grows.
    let mut sightings = in_a_pair();
    sightings.hear(told(100, 0, 1), at(NOW_MS)).expect("few");
    assert!(sightings.place(Some("c"), at(NOW_MS), |_| false));
    assert_eq!(sightings.former().count(), 0);
}

#[test]
fn while_a_clock_is_behind_nobody_is_unseen_and_when_it_was_set_the_days_begin_anew() {
    let since = |sightings: &Sightings| {
        let own = sightings.own_span(span(100));
        own.map(|own| (NOW_MS - own.since_ms) / DAY_MS)
    };
    let mut sightings = Sightings::begun(0);
    assert!(unseen(&sightings, 40));
    // It goes as it should, or almost so; then it is set, and is known to be wrong as long as it is far behind.
    for (off_ms, days, is_behind, changes, expected) in [
        (0, 10, false, false, Some(100)),
        (SEAT_CLOCK_STEP_MS, 9, false, false, Some(100)),
        (SEAT_CLOCK_STEP_MS + DAY_MS, 8, false, true, Some(9)),
        (SEAT_CLOCK_STEP_MS + DAY_MS, 7, false, false, Some(9)),
        (40 * DAY_MS, 6, true, true, None),
        (40 * DAY_MS, 5, true, false, None),
        (0, 4, false, true, Some(4)),
    ] {
        let shown_ms = ago(days) - off_ms;
        let running_ms = at(ago(days)).running_ms;
        let shown = Moment {
            running_ms,
            ..at(shown_ms)
        };
        let changed = sightings.look(shown, is_behind);
        assert_eq!(
            (changed, since(&sightings)),
            (changes, expected),
            "{days} days ago"
        );
    }
    assert!(!unseen(&sightings, 40));
    // What was noted by a clock that was ahead does not last longer than that.
    let mut ahead = Sightings::begun(NOW_MS + 365 * DAY_MS);
    assert!(ahead.look(at(ago(40)), false));
    assert!(unseen(&ahead, 41));
}

#[derive(Clone, Debug)]
enum Act {
    /// A terminal boots from a server.
    Boot { server: usize, terminal: u8 },
    /// Time goes by on both.
    Pass { hours: u64 },
    /// The clock of a server is set: so many hours from what it should show.
    Set { server: usize, off_hours: i64 },
    /// A server is started again, and its clock is set meanwhile.
    Restart { server: usize, off_hours: i64 },
    /// The link between the two is cut, or made again.
    Link { up: bool },
    /// One is told by the other, if they are linked.
    Tell { from: usize },
    /// The pair is ended, or made again.
    Pair { paired: bool },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    // Within a day, without a word; or many days, back.
    let off = prop_oneof![3 => -11..12_i64, 1 => -500..-30_i64];
    let act = prop_oneof![
        6 => (0..2_usize, 0..4_u8).prop_map(|(server, terminal)| Act::Boot { server, terminal }),
        6 => (1..60_u64).prop_map(|hours| Act::Pass { hours }),
        1 => (0..2_usize, off.clone()).prop_map(|(server, off_hours)| Act::Set { server, off_hours }),
        1 => (0..2_usize, off).prop_map(|(server, off_hours)| Act::Restart { server, off_hours }),
        1 => any::<bool>().prop_map(|up| Act::Link { up }),
        6 => (0..2_usize).prop_map(|from| Act::Tell { from }),
        1 => prop::bool::weighted(0.7).prop_map(|paired| Act::Pair { paired }),
    ];
    prop::collection::vec(act, 0..120)
}

/// A server as the administration drives it.
struct Side {
    name: &'static str,
    /// How much its clock is wrong, always.
    skew_ms: u64,
    off_ms: i64,
    started_ms: u64,
    clock: LicenceClock,
    book: BTreeMap<Id, u64>,
    sightings: Sightings,
    /// The other one has heard of it by this connection, which begins with all.
    told: Option<BTreeMap<Id, u64>>,
}

impl Side {
    fn new(name: &'static str, skew_ms: u64) -> Self {
        let witnesses = Witnesses {
            seen_ms: NOW_MS + skew_ms,
            ..Witnesses::default()
        };
        Side {
            name,
            skew_ms,
            off_ms: 0,
            started_ms: NOW_MS,
            clock: LicenceClock::new(witnesses, 0),
            book: BTreeMap::new(),
            sightings: Sightings::begun(0),
            told: None,
        }
    }

    /// A clock that was set back is left so, is set back further, or is put right: one that is put right by half, while the server does
    /// not run, cannot be told from one that is right.
    fn set(&mut self, off_hours: i64) {
        let hours = self.off_ms / i64::try_from(HOUR_MS).expect("small");
        let is_half = off_hours > hours && off_hours < -24;
        let off_hours = if is_half { 0 } else { off_hours };
        self.off_ms = off_hours * i64::try_from(HOUR_MS).expect("small");
    }

    fn restart(&mut self, true_ms: u64, off_hours: i64) {
        self.set(off_hours);
        self.started_ms = true_ms;
        self.clock = LicenceClock::new(self.clock.witnesses(), 0);
        let kept = serde_json::to_string(&self.sightings).expect("text");
        self.sightings = serde_json::from_str(&kept).expect("read");
    }

    fn shows_ms(&self, true_ms: u64) -> u64 {
        (true_ms + self.skew_ms).saturating_add_signed(self.off_ms)
    }

    fn believes_ms(&self, true_ms: u64) -> u64 {
        let latest_ms = self.clock.witnesses().latest_ms();
        self.shows_ms(true_ms).min(latest_ms)
    }

    fn moment(&self, true_ms: u64) -> Moment {
        Moment {
            now_ms: self.believes_ms(true_ms),
            clock_ms: self.shows_ms(true_ms),
            running_ms: true_ms - self.started_ms,
        }
    }

    fn look(&mut self, true_ms: u64) {
        self.clock
            .look(self.shows_ms(true_ms), true_ms - self.started_ms);
        let behind_ms = self.clock.witnesses().latest_ms() - self.believes_ms(true_ms);
        let is_behind = behind_ms > LICENCE_CLOCK_TOLERANCE_MS;
        let _ = self.sightings.look(self.moment(true_ms), is_behind);
    }

    fn book_span(&self, true_ms: u64) -> Option<Span> {
        Some(Span {
            since_ms: 0,
            until_ms: self.believes_ms(true_ms),
        })
    }

    fn boot(&mut self, terminal: u8, true_ms: u64) {
        // By the clock, whatever is believed of it; what was later stays.
        let shows_ms = self.shows_ms(true_ms);
        let seen_ms = self.book.entry(id(terminal)).or_insert(shows_ms);
        *seen_ms = shows_ms.max(*seen_ms);
    }

    fn tell(&mut self, true_ms: u64) -> Told {
        let now_ms = self.believes_ms(true_ms);
        let mut all = self.book.clone();
        for (id, _) in self.sightings.former() {
            let seen_ms = self.sightings.own_seen_ms(id, all.get(id).copied());
            all.extend(seen_ms.map(|seen_ms| (id.clone(), seen_ms)));
        }
        let is_whole = self.told.is_none();
        let told = self.told.get_or_insert_default();
        all.retain(|id, seen_ms| {
            let before = told.get(id);
            before.is_none_or(|before| *seen_ms >= *before + SIGHTINGS_TOLD_EXACTLY_MS)
        });
        told.extend(all.clone());
        let span = self.sightings.own_span(self.book_span(true_ms));
        Told {
            is_whole,
            span: span.map(|span| span.ages(now_ms)),
            seen: all
                .into_iter()
                .map(|(id, seen_ms)| (id, now_ms.saturating_sub(seen_ms)))
                .collect(),
        }
    }

    fn unseen(&self, terminal: u8, true_ms: u64) -> bool {
        let (at, book) = (self.moment(true_ms), self.book_span(true_ms));
        let before_ms = self.sightings.unseen_before_ms(DAYS, at, book);
        let id = id(terminal);
        let seen_ms = self.sightings.seen_ms(&id, self.book.get(&id).copied());
        before_ms.is_some_and(|before_ms| seen_ms.unwrap_or(0) < before_ms)
    }
}

struct World {
    sides: [Side; 2],
    true_ms: u64,
    paired: bool,
    linked: bool,
    /// When terminals really booted, and from which server; those of the other one count for a server as long as they are a pair.
    boots: Vec<(usize, u8, u64)>,
    unpaired_boots: usize,
    unpaired_ms: u64,
}

impl World {
    fn new(skews: [u64; 2]) -> Self {
        let mut world = World {
            sides: [Side::new("a", skews[0]), Side::new("b", skews[1])],
            true_ms: NOW_MS,
            paired: false,
            linked: true,
            boots: Vec::new(),
            unpaired_boots: 0,
            unpaired_ms: 0,
        };
        world.act(&Act::Pair { paired: true });
        world
    }

    fn act(&mut self, act: &Act) {
        let true_ms = self.true_ms;
        match *act {
            Act::Boot { server, terminal } => {
                self.sides[server].boot(terminal, true_ms);
                self.boots.push((server, terminal, true_ms));
            }
            Act::Pass { hours } => self.true_ms += hours * HOUR_MS,
            Act::Set { server, off_hours } => self.sides[server].set(off_hours),
            Act::Restart { server, off_hours } => {
                self.sides[server].restart(true_ms, off_hours);
                self.link(self.linked);
            }
            Act::Link { up } => self.link(up),
            Act::Tell { from } if self.paired && self.linked => {
                let told = self.sides[from].tell(true_ms);
                let to = &mut self.sides[1 - from];
                let at = to.moment(true_ms);
                to.sightings.hear(told, at).expect("few");
            }
            Act::Tell { .. } => {}
            Act::Pair { paired } => {
                if paired != self.paired {
                    self.paired = paired;
                    (self.unpaired_boots, self.unpaired_ms) = (self.boots.len(), true_ms);
                    for here in 0..2 {
                        let there = paired.then_some(self.sides[1 - here].name);
                        let at = self.sides[here].moment(true_ms);
                        let _ = self.sides[here].sightings.place(there, at, |_| true);
                    }
                    self.link(self.linked);
                }
            }
        }
        for side in &mut self.sides {
            side.look(self.true_ms);
        }
    }

    fn link(&mut self, up: bool) {
        self.linked = up;
        for side in &mut self.sides {
            side.told = None;
        }
    }

    /// When a terminal last booted, as far as that concerns a server; boots from the other one that are too young to be told of are not
    /// asked for.
    fn last_boot_ms(&self, here: usize, terminal: u8) -> Option<u64> {
        let concerns = |&(at, (server, booted, time_ms)): &(usize, &(usize, u8, u64))| {
            let is_here = *server == here;
            let paired_ms = if self.paired {
                self.true_ms
            } else {
                self.unpaired_ms
            };
            let told_ms = paired_ms - SIGHTINGS_FRESH_MS;
            let is_there = (self.paired || at < self.unpaired_boots) && *time_ms < told_ms;
            *booted == terminal && (is_here || is_there)
        };
        let boots = self.boots.iter().enumerate().filter(concerns);
        boots.map(|(_, (_, _, time_ms))| *time_ms).max()
    }

    fn check(&self) {
        for (here, side) in self.sides.iter().enumerate() {
            for terminal in 0..4 {
                if !side.unseen(terminal, self.true_ms) {
                    continue;
                }
                let last_ms = self.last_boot_ms(here, terminal).unwrap_or(0);
                let unseen_ms = self.true_ms - last_ms;
                assert!(
                    unseen_ms >= u64::from(DAYS) * DAY_MS,
                    "terminal {terminal} booted {unseen_ms} ms ago, and {} takes its seat",
                    side.name
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn who_was_seen_by_either_server_within_the_days_is_not_unseen_and_who_was_not_by_both_is(
        skews in prop::array::uniform2(0..10_000 * DAY_MS),
        acts in acts(),
    ) {
        let mut world = World::new(skews);
        for act in &acts {
            world.act(act);
            world.check();
        }
        // Healed, with clocks that are right; and one terminal goes on booting, from the other server.
        for side in 0..2 {
            world.act(&Act::Set { server: side, off_hours: 0 });
        }
        world.act(&Act::Pair { paired: true });
        world.act(&Act::Link { up: true });
        let needed_ms = u64::from(DAYS) * DAY_MS + SEAT_DAYS_MARGIN_MS;
        for _ in 0..=needed_ms / HOUR_MS + 48 {
            for from in 0..2 {
                world.act(&Act::Tell { from });
            }
            world.act(&Act::Boot { server: 1, terminal: 0 });
            world.check();
            world.act(&Act::Pass { hours: 1 });
        }
        for from in 0..2 {
            world.act(&Act::Tell { from });
        }
        world.check();
        for side in &world.sides {
            prop_assert!(!side.unseen(0, world.true_ms));
            for terminal in 1..4 {
                prop_assert!(side.unseen(terminal, world.true_ms), "{} keeps {terminal}", side.name);
            }
        }
    }
}
