//! What a world of the pair is made of: all of it is drawn from the seed.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use daybreak_tests::world::prng::Prng;

use super::disk::DiskFaults;
use super::sabotage::Sabotage;

/// A world before anything happens.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) servers: [ServerPlan; 2],
    /// The way from one to the other, at least and at most.
    pub(crate) delay: Range<Duration>,
    pub(crate) partitions: Vec<Partition>,
    /// When the connection breaks, with an end that both see, or silently.
    pub(crate) breaks: Vec<Duration>,
    /// Operators' edits: so many, until the faults end, of so many objects.
    pub(crate) edits: usize,
    pub(crate) objects: u64,
    /// Of a thousand edits, so many bring an image of up to so many octets.
    pub(crate) images: u32,
    pub(crate) image_bytes_max: usize,
    pub(crate) rots: Vec<Duration>,
    pub(crate) horizon: Duration,
    pub(crate) heal_at: Duration,
    /// Edits after the faults have ended, too.
    pub(crate) late_edits: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct ServerPlan {
    pub(crate) disk: DiskFaults,
    /// When it dies, whether power is lost, and for how long it is down.
    pub(crate) deaths: Vec<(Duration, bool, Duration)>,
    /// When its disk lies.
    pub(crate) lies: Vec<Range<Duration>>,
    pub(crate) skew_ms: i64,
    /// When its wall clock jumps, and by how much.
    pub(crate) jumps: Vec<(Duration, i64)>,
    pub(crate) versions: RangeInclusive<u16>,
    pub(crate) rate: u64,
    pub(crate) sabotage: Option<Sabotage>,
}

/// A time when messages do not get through: from the first to the second, and the other way.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) time: Range<Duration>,
    pub(crate) cuts: [bool; 2],
}

impl Plan {
    /// Two healthy servers and so many edits, in half a minute.
    pub(crate) fn quiet(seed: u64, edits: usize) -> Plan {
        let server = ServerPlan {
            disk: DiskFaults::default(),
            deaths: Vec::new(),
            lies: Vec::new(),
            skew_ms: 0,
            jumps: Vec::new(),
            versions: 1..=1,
            rate: 0,
            sabotage: None,
        };
        Plan {
            seed,
            servers: [server.clone(), server],
            delay: millis(1)..millis(2),
            partitions: Vec::new(),
            breaks: Vec::new(),
            edits,
            objects: 6,
            images: 200,
            image_bytes_max: 200_000,
            rots: Vec::new(),
            horizon: Duration::from_secs(3600),
            heal_at: Duration::from_secs(30),
            late_edits: 4,
        }
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The world of a seed.
pub(crate) fn draw(seed: u64) -> Plan {
    let mut dice = Prng::new(seed, "plan");
    let dice = &mut dice;
    let heal_at = dice.time(millis(10_000), millis(90_000));
    let some_time = |dice: &mut Prng| dice.time(Duration::ZERO, heal_at);
    let lying = dice.chance(250);
    let mut plan = Plan::quiet(seed, dice.count(5, 120));
    for server in &mut plan.servers {
        let rare = |dice: &mut Prng| dice.one_of(&[0, 0, 2, 10, 40]);
        server.disk = DiskFaults {
            failed: rare(dice),
            full: rare(dice),
            crash: dice.one_of(&[0, 0, 1, 3]),
        };
        let deaths = dice.count(0, 4);
        server.deaths = (0..deaths)
            .map(|_| {
                (
                    some_time(dice),
                    dice.chance(500),
                    dice.time(millis(50), millis(15_000)),
                )
            })
            .collect();
        if lying && dice.chance(700) {
            server.lies = (0..dice.count(1, 3))
                .map(|_| {
                    let from = some_time(dice);
                    // A lie that nobody finds out is none.
                    let until = from + dice.time(millis(500), millis(20_000));
                    server.deaths.push((
                        until - millis(1),
                        true,
                        dice.time(millis(50), millis(5_000)),
                    ));
                    from..until
                })
                .collect();
        }
        server.skew_ms = dice.one_of(&[0, 0, 400, -3_000, 90_000, -86_400_000]);
        server.jumps = (0..dice.below(3))
            .map(|_| {
                let by = dice.one_of(&[-5_000, 5_000, -3_600_000, 7_200_000, 4_000_000_000_000]);
                (some_time(dice), by)
            })
            .collect();
        server.rate = dice.one_of(&[0, 0, 100_000, 1_000_000]);
        server.versions = 1..=dice.one_of(&[1, 1, 2]);
    }
    let slowest = dice.one_of(&[2, 20, 300]);
    plan.delay = millis(dice.between(0, 1))..millis(slowest);
    plan.partitions = (0..dice.count(0, 5))
        .map(|_| {
            let from = some_time(dice);
            Partition {
                time: from..from + dice.time(millis(100), millis(30_000)),
                cuts: dice.one_of(&[[true, true], [true, true], [true, false], [false, true]]),
            }
        })
        .collect();
    if dice.chance(200) {
        // Flapping: half a second on, half a second off.
        let from = some_time(dice);
        plan.partitions.extend((0..30).map(|at| Partition {
            time: from + millis(1000 * at)..from + millis(1000 * at + 500),
            cuts: [true, true],
        }));
    }
    plan.breaks = (0..dice.count(0, 6)).map(|_| some_time(dice)).collect();
    plan.objects = dice.one_of(&[1, 3, 10, 40]);
    plan.images = dice.one_of(&[0, 100, 300, 600]);
    plan.image_bytes_max = dice.one_of(&[1, 70_000, 500_000]);
    if !lying {
        plan.rots = (0..dice.below(4)).map(|_| some_time(dice)).collect();
    }
    plan.horizon = dice.one_of(&[
        millis(1_000),
        millis(5_000),
        millis(20_000),
        millis(3_600_000),
    ]);
    plan.heal_at = heal_at;
    plan
}
