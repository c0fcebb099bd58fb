//! The world of TFTP: many worlds by their seeds, and a few that are made for one question. What is checked, and how
//! a failure is shown again: `daybreak_tests::world`.

#[path = "world_tftp/goodput.rs"]
mod goodput;
#[path = "world_tftp/sabotage.rs"]
mod sabotage;
#[path = "world_tftp/special.rs"]
mod special;

use std::ops::Range;

use daybreak_tests::seeds;
use daybreak_tests::world::run_seed;

/// The seeds of an ordinary run.
const SEEDS: Range<u64> = 0..400;
/// The seeds of a long run: others.
const SEEDS_LONG: Range<u64> = 400..20_400;

/// Runs these seeds, and fails with the worlds that failed.
fn run_all(all: impl IntoIterator<Item = u64>) {
    let _ = seeds::run_all(all, run_seed);
}

#[test]
fn seeds() {
    run_all(seeds::asked().unwrap_or(SEEDS));
}

#[test]
#[ignore = "long: make test-long"]
fn twenty_thousand_seeds_more() {
    run_all(SEEDS_LONG);
}

#[test]
fn seeds_that_failed_once() {
    run_all(seeds::listed(include_str!("../seeds/tftp.txt")));
}
