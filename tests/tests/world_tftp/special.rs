//! Worlds that are made for one question.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use daybreak_tests::world::network::{Bottleneck, Faults};
use daybreak_tests::world::scenario::Scenario;
use daybreak_tests::world::{Report, run};
use daybreak_tftp::Time;
use daybreak_tftp::download::{Profile, Schedule};

const MIB: u64 = 1 << 20;

fn well(scenario: Scenario) -> Report {
    let seed = scenario.seed;
    run(scenario).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"))
}

/// So many clients of a kind, behind a bottleneck.
fn storm(clients: usize, profile: &Profile, bytes: u64, bottleneck: Bottleneck) -> Scenario {
    let profiles = vec![profile.clone(); clients];
    let mut scenario = Scenario::quiet(7, &profiles, bytes);
    scenario.wire.bottleneck = Some(bottleneck);
    for terminal in &mut scenario.terminals {
        terminal.delay = Duration::from_micros(100);
    }
    scenario
}

#[test]
fn liveness_goodput_is_nine_tenths_of_the_bottleneck() {
    for (windowsize, queue) in [
        (1, 1_000_000),
        (16, 1_000_000),
        (64, 1_000_000),
        (16, 64_000),
    ] {
        let rate = 12_500_000;
        let profile = Profile::plain(1428, windowsize);
        let report = well(storm(50, &profile, MIB, Bottleneck { rate, queue }));
        assert_eq!(report.bytes, 50 * MIB);
        // What the wire can carry of image octets in frames of this size.
        let possible = rate as f64 * 1428.0 / 1474.0;
        let goodput =
            report.bytes as f64 / report.booted_at.since(Time::ZERO).as_secs_f64() / possible;
        assert!(
            goodput >= 0.9,
            "window {windowsize}, queue {queue}: {goodput:.3} of the wire"
        );
    }
}

#[test]
fn liveness_twenty_thousand_clients_boot_in_one_storm() {
    let bottleneck = Bottleneck {
        rate: 125_000_000,
        queue: 4_000_000,
    };
    let mut profile = Profile::plain(1428, 4);
    profile.transfer = Schedule::fixed(Duration::from_secs(1), 30);
    let mut scenario = storm(20_000, &profile, 5_000, bottleneck);
    // One in two behind one of four addresses.
    for (position, terminal) in scenario.terminals.iter_mut().enumerate().step_by(2) {
        terminal.address = IpAddr::from([203, 0, 113, (position % 8) as u8]);
    }
    let report = well(scenario);
    assert_eq!(report.boots, 20_000, "at the first try");
    assert!(report.booted_at.since(Time::ZERO) < Duration::from_secs(25));
}

#[test]
fn liveness_twenty_thousand_clients_of_every_kind_boot_on_a_bad_wire() {
    let bottleneck = Bottleneck {
        rate: 125_000_000,
        queue: 256_000,
    };
    let mut scenario = storm(20_000, &Profile::ipxe(), 3_000, bottleneck);
    for (position, terminal) in scenario.terminals.iter_mut().enumerate() {
        let name = Profile::NAMES[position % Profile::NAMES.len()];
        terminal.profile = Arc::new(Profile::named(name).expect("one of the names"));
        terminal.on_at = Duration::from_micros(position as u64 * 50);
    }
    // Two transfers for those that probe first, and each lingers.
    scenario.server.config.transfers_max = 60_000;
    scenario.faults = Faults {
        loss: [20, 20],
        copies: 5,
        disorder: 5,
        disorder_delay: Duration::from_millis(2),
        partitions: Vec::new(),
    };
    scenario.heal_at = Duration::from_secs(5);
    well(scenario);
}

#[test]
fn every_block_is_sent_once_where_every_ack_is_doubled() {
    // Statement 26 of the protocol: for n blocks, n packets, whatever is doubled.
    for windowsize in [1, 4, 16] {
        let mut profile = Profile::plain(1428, windowsize);
        profile.ack_copies = 2;
        profile.request_copies = 2;
        let report = well(Scenario::quiet(3, &[profile], 1428 * 200 + 1));
        assert_eq!(report.blocks, (201, 0), "windowsize {windowsize}");
    }
}

#[test]
fn liveness_a_window_that_the_queue_cannot_hold_starves_nobody() {
    for (blksize, queue) in [
        (65_464, 397_000),
        (65_464, 140_000),
        (8_192, 64_000),
        (1_428, 16_000),
    ] {
        let wide = Profile::plain(blksize, 64);
        let narrow = Profile::plain(1_428, 1);
        let profiles = [wide.clone(), narrow.clone(), wide, narrow];
        let mut scenario = Scenario::quiet(5, &profiles, 8 * MIB);
        scenario.wire.bottleneck = Some(Bottleneck {
            rate: 1_250_000,
            queue,
        });
        let report = well(scenario);
        let wire = report.bytes as f64 / 1_250_000.0;
        let took = report.booted_at.since(Time::ZERO).as_secs_f64();
        assert_eq!(report.boots, 4, "at the first try");
        let what = format!("blksize {blksize}, queue {queue}");
        assert!(
            took <= 1.35 * wire,
            "{what}: {took:.1} s for {wire:.1} s of wire"
        );
        // A held client gets a block every 2 s; some are dropped.
        assert!(
            report.stall <= Duration::from_secs(4),
            "{what}: {:?}",
            report.stall
        );
    }
}

#[test]
fn liveness_a_terminal_that_has_begun_its_boot_finishes_before_a_storm_and_starves_nobody() {
    let bottleneck = Bottleneck {
        rate: 12_500_000,
        queue: 256_000,
    };
    let mut scenario = storm(202, &Profile::plain(1428, 4), MIB, bottleneck);
    // One terminal fetches its first file alone, and its second one while 200 others begin.
    let (begun, newcomers) = scenario.terminals.split_at_mut(2);
    begun[1].address = begun[0].address;
    for terminal in newcomers.iter_mut().chain(&mut begun[1..]) {
        terminal.on_at = Duration::from_millis(500);
    }
    begun[1].on_at = Duration::from_millis(520);
    let report = well(scenario);
    let second = report.booted[1].expect("all boot");
    let earlier = report.booted[2..].iter().filter(|at| **at < Some(second));
    assert!(earlier.count() <= 2, "at {second:?}");
    // All others get a block every two seconds at least.
    assert!(report.stall <= Duration::from_secs(3), "{:?}", report.stall);
    assert_eq!(report.boots, 202, "at the first try");
}
