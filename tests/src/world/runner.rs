//! Runs worlds by their seeds: what a failure prints, what is run twice, and what is run again alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::draw::draw;
use super::failure::{Check, Failure, check};
use super::prng::Prng;
use super::scenario::Scenario;
use super::simulator::{Report, World};

/// Every so many seeds runs twice.
const TWICE_EVERY: u64 = 8;
/// Clients of one world that are run again alone, at most.
const ALONE_MAX: usize = 2;

/// Runs a world; a panic in it is a failure of T12.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run(scenario: Scenario) -> Result<Report, Failure> {
    run_world(move || World::new(scenario))
}

/// As [`run`], for a world that is made within.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run_world(make: impl FnOnce() -> World) -> Result<Report, Failure> {
    catch_unwind(AssertUnwindSafe(|| make().run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
        Err(Failure {
            monitor: "T12",
            what: format!("panic: {}", text.unwrap_or_default()),
        })
    })
}

/// Runs the world of a seed, sees that it is the same when it runs again, and that its clients get the same
/// when they are alone.
///
/// # Errors
/// The first invariant that does not hold, with the command that shows it again.
pub fn run_seed(seed: u64) -> Result<Report, String> {
    let checked = || {
        let scenario = draw(seed);
        let report = run(scenario.clone())?;
        if seed.is_multiple_of(TWICE_EVERY) {
            check_same(&report, &run(scenario.clone())?)?;
        }
        check_alone(&scenario, &report)?;
        Ok(report)
    };
    checked().map_err(|failure: Failure| {
        let end = seed + 1;
        format!(
            "seed {seed}: {failure}\n  again: DAYBREAK_SEEDS={seed}..{end} cargo test -p daybreak-tests --test world_tftp seeds"
        )
    })
}

/// T14: two runs of one world are the same to the last datagram.
///
/// # Errors
/// T14.
pub fn check_same(one: &Report, other: &Report) -> Check {
    check("T14", one == other, || {
        format!("two runs of one seed differ: {one:?} and {other:?}")
    })
}

/// T13: what a client is sent is what it is sent when there is nobody else.
///
/// # Errors
/// T13, or whatever fails in the world of one client.
pub fn check_alone(scenario: &Scenario, report: &Report) -> Check {
    let mut dice = Prng::new(scenario.seed, "alone");
    for _ in 0..ALONE_MAX.min(scenario.terminals.len() - 1) {
        let position = dice.count(0, scenario.terminals.len() - 1);
        let Some((digest, generation)) = report.digests[position] else {
            continue;
        };
        let alone = run(scenario.alone(position, generation))?;
        let same = alone.digests[0].map(|(digest, _)| digest) == Some(digest);
        check("T13", same, || {
            format!(
                "client {position} of {} gets something else alone",
                scenario.terminals.len()
            )
        })?;
    }
    Ok(())
}
