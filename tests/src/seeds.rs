//! Worlds by their seeds: which ones, on all threads, and those that failed once.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const THREADS: usize = 2;

/// `DAYBREAK_SEEDS=START..END`: other seeds than those of an ordinary run.
///
/// # Panics
/// If it says something else.
#[must_use]
pub fn asked() -> Option<Range<u64>> {
    let text = std::env::var("DAYBREAK_SEEDS").ok()?;
    let (start, end) = text.split_once("..").expect("DAYBREAK_SEEDS=START..END");
    let number = |text: &str| text.trim().parse().expect("DAYBREAK_SEEDS=START..END");
    Some(number(start)..number(end))
}

/// The seeds of a list: each begins a line, and `#` a remark.
///
/// # Panics
/// If there are none, or something else begins a line.
#[must_use]
pub fn listed(text: &str) -> Vec<u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let seeds: Vec<u64> = lines
        .filter_map(|line| line.split_whitespace().next())
        .map(|seed| seed.parse().expect("a seed starts the line"))
        .collect();
    assert!(!seeds.is_empty());
    seeds
}

/// Runs these seeds; what came of them.
///
/// # Panics
/// With the worlds that failed.
pub fn run_all<T: Send>(
    seeds: impl IntoIterator<Item = u64>,
    run: impl Fn(u64) -> Result<T, String> + Sync,
) -> Vec<T> {
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let next = AtomicU64::new(0);
    let (failures, reports) = (Mutex::new(String::new()), Mutex::new(Vec::new()));
    let worker = || {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            match run(seed) {
                Ok(report) => reports.lock().expect("no thread panics").push(report),
                Err(failure) => {
                    let mut failures = failures.lock().expect("no thread panics");
                    writeln!(failures, "{failure}").expect("a string takes all");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(worker);
        }
    });
    let failures = failures.into_inner().expect("no thread panics");
    assert!(failures.is_empty(), "\n{failures}");
    reports.into_inner().expect("no thread panics")
}
