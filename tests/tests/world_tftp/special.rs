//! Worlds that are made for one question.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use daybreak_tests::world::network::{Bottleneck, Faults};
use daybreak_tests::world::scenario::Scenario;
use daybreak_tests::world::{Report, run};
use daybreak_tftp::download::Profile;

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
        let (passed, _) = report.bottleneck;
        let share = passed as f64 / (rate as f64 * report.booted_at.since_start());
        // Of what the wire can carry of image octets in frames of this size.
        let possible = rate as f64 * 1428.0 / 1474.0;
        let goodput = report.bytes as f64 / report.booted_at.since_start() / possible;
        assert!(
            goodput >= 0.9,
            "window {windowsize}, queue {queue}: {goodput:.3} of the wire, {share:.3} used"
        );
    }
}

trait SinceStart {
    fn since_start(self) -> f64;
}

impl SinceStart for daybreak_tftp::Time {
    fn since_start(self) -> f64 {
        self.since(daybreak_tftp::Time::ZERO).as_secs_f64()
    }
}

#[test]
fn liveness_twenty_thousand_clients_boot_in_one_storm() {
    let bottleneck = Bottleneck {
        rate: 125_000_000,
        queue: 512_000,
    };
    let mut scenario = storm(20_000, &Profile::plain(1428, 4), 5_000, bottleneck);
    // One in two behind one of four addresses.
    for (position, terminal) in scenario.terminals.iter_mut().enumerate().step_by(2) {
        terminal.address = IpAddr::from([203, 0, 113, (position % 8) as u8]);
    }
    let report = well(scenario);
    assert_eq!(report.boots, 20_000, "at the first try");
    assert!(
        report.booted_at.since_start() < 3.0,
        "{report:?}",
        report = report.booted_at
    );
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
        let mut scenario = Scenario::quiet(3, &[profile], 1428 * 200 + 1);
        scenario.wire.bottleneck = Some(Bottleneck {
            rate: 125_000_000,
            queue: 1_000_000,
        });
        let (passed, dropped) = well(scenario).bottleneck;
        let oack = if windowsize == 1 {
            15
        } else {
            15 + 12 + (windowsize > 9) as u64
        };
        let data = 200 * (1428 + 46) + 47;
        assert_eq!(dropped, 0);
        let oacks = (passed - data) as f64 / (oack + 42) as f64;
        assert!(
            (1.0..=2.1).contains(&oacks),
            "{passed} octets, {oacks} OACKs"
        );
    }
}
