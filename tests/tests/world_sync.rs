//! World of sync: a deterministic simulator of two real [`Session`](daybreak_sync::session::Session)s over disks that
//! fail, with operators on both sides.
//!
//! One heap of events by (time, sequence), one seed: it draws the whole world (`plan.rs`). First everything goes wrong that
//! may: crashes, loss of power, disks that fail, are full, or lie, rotten images, partitions (both ways, one way,
//! flapping), connections that end or fall silent, clocks that are wrong and jump. Then the faults end, and both servers
//! must become the same. There is no clock, no socket, no file and no thread.
//!
//! # How to run
//!
//! ```text
//! cargo test -p daybreak-tests --test world_sync                                # the seeds of an ordinary run
//! cargo test -p daybreak-tests --test world_sync -- --ignored                   # ten thousand more, as `make test-long` does
//! DAYBREAK_SEEDS=0..5000 cargo test -p daybreak-tests --test world_sync seeds   # any others
//! DAYBREAK_SEEDS=42..43 cargo test -p daybreak-tests --test world_sync seeds    # one again
//! ```
//!
//! Every seed that ever failed goes into `tests/seeds/sync.txt` and is run for ever. Every eighth seed runs twice.
//!
//! # Who checks what
//!
//! | invariant | monitor |
//! |---|---|
//! | S1 equal after the faults | `judge.rs`: rows, heads, sums, images; no unexplained difference on the way |
//! | S2 what was acknowledged is there, or a conflict | `observer.rs`; a lost tail only where a disk lied |
//! | S3 nothing is told before it is on the disk, no head goes back | `judge.rs` |
//! | S4 images before the rows that name them | `Disk::check_rows` |
//! | S5 merge | `sync/tests/merge.rs` |
//! | S6 damage is found, never passed on, fetched again | `Disk::finish_image`, `judge.rs` |
//! | S7 all or nothing | `Disk::commit` with crashes before and after |
//! | S8 no acknowledgement without the disk | `judge.rs` |
//! | S9 deletes stay deleted | `observer.rs` |
//! | S10 epochs, S13 replay, S14 versions, S15 hostile peers | `special.rs` |
//! | S11 stamps increase | `acts.rs`, `sync/src/stamp.rs` |
//! | S12 seats | `admin/tests/licensing/` (`pair.rs`, `seats.rs`): they are part of terminals, and licences are not synchronized |
//! | S16 generations | the store's own tests |
//!
//! That each can fail is shown by `sabotage.rs`.

#[path = "world_sync/acts.rs"]
mod acts;
#[path = "world_sync/disk.rs"]
mod disk;
#[path = "world_sync/judge.rs"]
mod judge;
#[path = "world_sync/observer.rs"]
mod observer;
#[path = "world_sync/plan.rs"]
mod plan;
#[path = "world_sync/sabotage.rs"]
mod sabotage;
#[path = "world_sync/special.rs"]
mod special;
#[path = "world_sync/wire.rs"]
mod wire;
#[path = "world_sync/world.rs"]
mod world;

use std::ops::Range;

use daybreak_tests::seeds;
use daybreak_tests::world::{Check, Failure, check};

/// The seeds of an ordinary run.
const SEEDS: Range<u64> = 0..300;
/// The seeds of a long run: others.
const SEEDS_LONG: Range<u64> = 300..10_300;
/// So many worlds have everything in them that may happen.
const MANY: usize = 200;
/// Every so many seeds runs twice.
const TWICE_EVERY: u64 = 8;

fn run_seed(seed: u64) -> Result<world::Report, String> {
    let checked = || {
        let report = world::run(plan::draw(seed))?;
        if seed.is_multiple_of(TWICE_EVERY) {
            let again = world::run(plan::draw(seed))?;
            check("trace", report == again, || {
                format!("two runs differ: {report:?} and {again:?}")
            })?;
        }
        Ok(report)
    };
    checked().map_err(|failure: Failure| {
        let end = seed + 1;
        format!(
            "seed {seed}: {failure}\n  again: DAYBREAK_SEEDS={seed}..{end} cargo test -p daybreak-tests --test world_sync seeds"
        )
    })
}

/// Runs these seeds, fails with the worlds that failed, and says what the others were like.
fn run_all(all: impl IntoIterator<Item = u64>) {
    let reports = seeds::run_all(all, run_seed);
    let sum = |of: fn(&world::Report) -> u64| reports.iter().map(of).sum::<u64>();
    let exercised = [
        ("edits", sum(|report| report.acknowledged as u64)),
        ("conflicts", sum(|report| report.conflicts as u64)),
        ("images", sum(|report| report.images as u64)),
        ("deaths", sum(|report| report.deaths.into())),
        ("lost tails", sum(|report| report.tails_lost.into())),
        ("comparisons", sum(|report| report.comparisons.into())),
    ];
    println!("{} worlds: {exercised:?}", reports.len());
    // A few seeds that somebody asks for need not have all of it.
    if reports.len() >= MANY {
        for (what, count) in exercised {
            assert!(count > 0, "no {what} in all of these worlds");
        }
    }
}

#[test]
fn seeds() {
    run_all(seeds::asked().unwrap_or(SEEDS));
}

#[test]
#[ignore = "long: make test-long"]
fn ten_thousand_seeds_more() {
    run_all(SEEDS_LONG);
}

#[test]
fn seeds_that_failed_once() {
    run_all(seeds::listed(include_str!("../seeds/sync.txt")));
}
