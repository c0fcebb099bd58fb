//! The time that licences are judged by: honest clocks, wild ones, and such as are turned back.

use daybreak_admin::licensing::{LicenceClock, Witnesses};
use daybreak_admin::limits::LICENCE_CLOCK_NOTED_MS;
use proptest::prelude::*;

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;
const YEAR_MS: u64 = 365 * DAY_MS;
const START_MS: u64 = 50 * YEAR_MS;

fn activated() -> LicenceClock {
    let mut clock = LicenceClock::new(Witnesses::default(), 0);
    clock.activated(START_MS);
    clock.look(START_MS, 0);
    clock
}

#[test]
fn a_clock_that_ran_wild_and_was_put_right_leaves_nothing_behind() {
    let mut clock = activated();
    // An empty battery: the year 2099 for most of a day, and then the right time.
    for hour in 1..=23 {
        clock.look(START_MS + 70 * YEAR_MS + hour * HOUR_MS, hour * HOUR_MS);
        assert!(clock.witnesses().latest_ms() <= START_MS + hour * HOUR_MS);
    }
    clock.look(START_MS + DAY_MS, DAY_MS);
    assert_eq!(clock.witnesses().latest_ms(), START_MS + DAY_MS);
    // One that comes and goes is never believed.
    for hour in 25..200 {
        let wild = if hour % 20 == 0 { 0 } else { YEAR_MS };
        clock.look(START_MS + hour * HOUR_MS + wild, hour * HOUR_MS);
        assert!(clock.witnesses().latest_ms() <= START_MS + hour * HOUR_MS);
    }
}

#[test]
fn a_time_that_stands_for_a_day_is_believed_also_after_a_long_time_without_power() {
    let mut clock = LicenceClock::new(activated().witnesses(), 0);
    let now_ms = START_MS + YEAR_MS;
    clock.look(now_ms, 0);
    assert_eq!(clock.witnesses().latest_ms(), START_MS);
    clock.look(now_ms + DAY_MS - 1, DAY_MS - 1);
    assert_eq!(clock.witnesses().seen_ms, START_MS);
    clock.look(now_ms + DAY_MS, DAY_MS);
    assert_eq!(clock.witnesses().seen_ms, now_ms + DAY_MS);
    // A weekend is nothing to wonder at: what is ahead by no more than a day is believed at once.
    let mut clock = LicenceClock::new(clock.witnesses(), 0);
    clock.look(now_ms + 2 * DAY_MS, 0);
    assert_eq!(clock.witnesses().seen_ms, now_ms + 2 * DAY_MS);
}

#[test]
fn a_clock_that_is_turned_back_every_day_gains_nothing() {
    let mut clock = activated();
    for day in 1..=100 {
        for hour in 0..24 {
            clock.look(
                START_MS + hour * HOUR_MS,
                (day - 1) * DAY_MS + hour * HOUR_MS,
            );
        }
    }
    assert!(clock.witnesses().latest_ms() >= START_MS + 99 * DAY_MS);
}

#[test]
fn a_newer_activation_says_the_time_and_an_older_one_nothing() {
    let mut clock = activated();
    clock.look(START_MS + 10 * YEAR_MS, 0);
    clock.look(START_MS + 10 * YEAR_MS + DAY_MS, DAY_MS);
    assert_eq!(
        clock.witnesses().latest_ms(),
        START_MS + 10 * YEAR_MS + DAY_MS
    );
    clock.activated(START_MS);
    assert_eq!(
        clock.witnesses().latest_ms(),
        START_MS + 10 * YEAR_MS + DAY_MS
    );
    clock.activated(START_MS + YEAR_MS);
    clock.look(START_MS + YEAR_MS + HOUR_MS, DAY_MS);
    assert_eq!(clock.witnesses().latest_ms(), START_MS + YEAR_MS + HOUR_MS);
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Run(u64),
    Off(u64),
    Set(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..3 * DAY_MS).prop_map(Act::Run),
        1 => (0..90 * DAY_MS).prop_map(Act::Off),
        1 => (0..100 * YEAR_MS).prop_map(Act::Set),
    ];
    prop::collection::vec(act, 0..60)
}

proptest! {
    #[test]
    fn what_is_witnessed_never_runs_back_and_what_ran_counts(acts in acts()) {
        let mut clock = activated();
        let (mut now_ms, mut running_ms, mut ran_ms) = (START_MS, 0, 0);
        for act in acts {
            let before = clock.witnesses().latest_ms();
            match act {
                Act::Run(ms) => {
                    // It is looked at every few seconds; each hour will do.
                    let mut left = ms;
                    while left > 0 {
                        let step = left.min(LICENCE_CLOCK_NOTED_MS);
                        (now_ms, running_ms, left) = (now_ms + step, running_ms + step, left - step);
                        clock.look(now_ms, running_ms);
                    }
                    ran_ms += ms;
                }
                Act::Off(ms) => {
                    now_ms += ms;
                    running_ms = 0;
                    clock = LicenceClock::new(clock.witnesses(), 0);
                }
                Act::Set(to_ms) => now_ms = to_ms,
            }
            prop_assert!(clock.witnesses().latest_ms() >= before, "{act:?}");
            prop_assert!(clock.witnesses().latest_ms() >= START_MS + ran_ms, "{act:?}");
        }
    }

    #[test]
    fn on_a_server_whose_clock_is_right_nothing_is_ahead_of_it(acts in acts()) {
        let mut clock = activated();
        let (mut now_ms, mut running_ms) = (START_MS, 0);
        for act in acts {
            match act {
                Act::Run(ms) => (now_ms, running_ms) = (now_ms + ms, running_ms + ms),
                Act::Off(ms) => {
                    now_ms += ms;
                    running_ms = 0;
                    clock = LicenceClock::new(clock.witnesses(), 0);
                }
                Act::Set(_) => {}
            }
            clock.look(now_ms, running_ms);
            prop_assert!(clock.witnesses().latest_ms() <= now_ms, "{act:?}");
        }
    }
}
