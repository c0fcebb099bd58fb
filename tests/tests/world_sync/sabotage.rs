//! Servers that are broken on purpose: every invariant can fail, and fails by its name.

use super::plan::{Plan, draw};
use super::world::run;

/// One rule that a server breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// It says that rows are on its disk, and writes nothing.
    AckWithoutWriting,
    /// It tells of a log that is longer than what is on its disk.
    HeadAhead,
    /// It takes every image for one that is here.
    NoImages,
    /// It keeps pieces of images otherwise than they came, and does not look at the whole.
    KeepsDamage,
    /// It leaves out some rows of its log.
    Omit,
    /// It takes only what is in force of a row that has a conflict.
    DropConflicts,
    /// It keeps the row that it has.
    FirstWins,
    /// It forgets deleted objects, and that its log does not go back so far.
    NoHorizon,
}

/// What a world with such a second server says, whichever seed finds it first.
fn caught(sabotage: Sabotage, plan: impl Fn(u64) -> Plan) -> &'static str {
    for seed in 0..40 {
        let mut plan = plan(seed);
        plan.servers[1].sabotage = Some(sabotage);
        if let Err(failure) = run(plan) {
            println!("seed {seed}: {failure}");
            return failure.monitor;
        }
    }
    panic!("nobody noticed {sabotage:?}")
}

fn quiet(seed: u64) -> Plan {
    Plan::quiet(seed, 60)
}

/// Both change the same few objects while they cannot hear each other.
fn parted(seed: u64) -> Plan {
    let mut plan = quiet(seed);
    plan.objects = 3;
    plan.partitions = vec![super::plan::Partition {
        time: plan.heal_at / 6..plan.heal_at,
        cuts: [true, true],
    }];
    plan
}

#[test]
fn monitor_s8_catches_an_acknowledgement_of_what_is_not_on_the_disk() {
    assert_eq!(caught(Sabotage::AckWithoutWriting, quiet), "S8");
}

#[test]
fn monitor_s3_catches_a_head_that_is_ahead_of_the_disk() {
    assert_eq!(caught(Sabotage::HeadAhead, quiet), "S3");
}

#[test]
fn monitor_s4_catches_a_row_before_its_image() {
    assert_eq!(caught(Sabotage::NoImages, quiet), "S4");
}

#[test]
fn monitor_s6_catches_an_image_that_is_taken_damaged() {
    assert_eq!(caught(Sabotage::KeepsDamage, quiet), "S6");
}

#[test]
fn monitor_s1_catches_a_row_that_is_left_out() {
    assert_eq!(caught(Sabotage::Omit, quiet), "S1");
}

#[test]
fn monitor_s1_or_s2_catches_a_server_that_keeps_what_it_has() {
    // Its log has marks of rows that it does not hold, which is as if its disk had lost them.
    assert!(["S1", "S2"].contains(&caught(Sabotage::FirstWins, quiet)));
}

#[test]
fn monitor_s1_or_s2_catches_a_conflict_that_is_not_kept() {
    assert!(["S1", "S2"].contains(&caught(Sabotage::DropConflicts, parted)));
}

#[test]
fn monitor_s1_or_s9_catches_deletes_that_are_forgotten_too_early() {
    let hasty = |seed| {
        let mut plan = parted(seed);
        plan.objects = 40;
        plan.horizon = std::time::Duration::from_secs(2);
        plan
    };
    assert!(["S1", "S2", "S9"].contains(&caught(Sabotage::NoHorizon, hasty)));
    // The same worlds with the rule kept.
    for seed in 0..40 {
        run(hasty(seed)).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
}

#[test]
fn s1_the_same_seed_gives_the_same_trace() {
    for seed in [3, 5] {
        let trace = || {
            run(draw(seed))
                .unwrap_or_else(|failure| panic!("{failure}"))
                .trace
        };
        assert_eq!(trace(), trace());
    }
}
