//! The world of TFTP: many worlds by their seeds, and a few that are made for one question. What is checked, and how
//! a failure is shown again: `daybreak_tests::world`.

#[path = "world_tftp/goodput.rs"]
mod goodput;
#[path = "world_tftp/sabotage.rs"]
mod sabotage;
#[path = "world_tftp/special.rs"]
mod special;

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use daybreak_tests::world::run_seed;

/// The seeds of an ordinary run.
const SEEDS: Range<u64> = 0..400;
/// The seeds of a long run: others.
const SEEDS_LONG: Range<u64> = 400..20_400;
const THREADS: usize = 2;

/// `DAYBREAK_SEEDS=START..END`: other seeds than those of an ordinary run.
fn seeds_asked() -> Option<Range<u64>> {
    let text = std::env::var("DAYBREAK_SEEDS").ok()?;
    let (start, end) = text.split_once("..").expect("DAYBREAK_SEEDS=START..END");
    let number = |text: &str| text.trim().parse().expect("DAYBREAK_SEEDS=START..END");
    Some(number(start)..number(end))
}

/// Runs these seeds, and fails with the worlds that failed.
fn run_all(seeds: &[u64]) {
    let next = AtomicU64::new(0);
    let failures = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    if let Err(failure) = run_seed(seed) {
                        let mut failures = failures.lock().expect("no thread panics");
                        writeln!(failures, "{failure}").expect("a string takes all");
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no thread panics");
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn seeds() {
    let seeds: Vec<u64> = seeds_asked().unwrap_or(SEEDS).collect();
    run_all(&seeds);
}

#[test]
#[ignore = "long: make test-long"]
fn twenty_thousand_seeds_more() {
    run_all(&SEEDS_LONG.collect::<Vec<u64>>());
}

#[test]
fn seeds_that_failed_once() {
    let lines = include_str!("../seeds/tftp.txt").lines();
    let seeds: Vec<u64> = lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .map(|seed| seed.parse().expect("a seed starts the line"))
        .collect();
    assert!(!seeds.is_empty());
    run_all(&seeds);
}
