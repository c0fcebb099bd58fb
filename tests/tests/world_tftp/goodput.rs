//! How fast the endpoint is on a bad wire: a table that is reviewed when it changes. It is exact: virtual time.

use std::fmt::Write as _;
use std::time::Duration;

use daybreak_tests::world::network::{Bottleneck, Faults};
use daybreak_tests::world::run;
use daybreak_tests::world::scenario::Scenario;
use daybreak_tftp::Time;
use daybreak_tftp::download::{Profile, Schedule};

const SNAPSHOT: &str = include_str!("goodput.txt");
const WINDOWS: [u16; 4] = [1, 4, 16, 64];
const LOSSES_PER_MILLE: [u32; 5] = [0, 10, 50, 100, 200];
const WORLDS: u64 = 4;

/// A client that never gives up: what is measured is the server.
fn patient(windowsize: u16) -> Profile {
    Profile {
        transfer: Schedule::fixed(Duration::from_secs(1), 1000),
        ..Profile::plain(1428, windowsize)
    }
}

/// One client on a lossy wire: octets of the image per second, in kB.
fn on_a_lossy_wire(windowsize: u16, round_trip: Duration, loss: u32) -> u64 {
    let (mut bytes, mut time) = (0, Duration::ZERO);
    for seed in 0..WORLDS {
        let mut scenario = Scenario::quiet(seed, &[patient(windowsize)], 2 << 20);
        scenario.terminals[0].delay = round_trip / 2;
        scenario.faults = Faults {
            loss: [loss; 2],
            ..Faults::default()
        };
        scenario.heal_at = Duration::from_secs(100_000);
        let report = run(scenario).unwrap_or_else(|failure| panic!("{failure}"));
        bytes += report.bytes;
        time += report.booted_at.since(Time::ZERO);
    }
    u64::try_from(u128::from(bytes) * 1_000_000 / time.as_nanos()).expect("a rate")
}

/// Many clients behind a bottleneck of 100 Mbit/s: image octets in percent of what it can carry, and datagrams that
/// it dropped in percent of those sent.
fn behind_a_bottleneck(windowsize: u16, queue: u64) -> (u64, f64) {
    let rate = 12_500_000;
    let mut scenario = Scenario::quiet(1, &vec![patient(windowsize); 50], 512 << 10);
    scenario.wire.bottleneck = Some(Bottleneck { rate, queue });
    for terminal in &mut scenario.terminals {
        terminal.delay = Duration::from_micros(100);
    }
    let report = run(scenario).unwrap_or_else(|failure| panic!("{failure}"));
    let nanos = report.booted_at.since(Time::ZERO).as_nanos();
    let possible = u128::from(rate) * nanos * 1428 / 1474 / 1_000_000_000;
    let (passed, dropped) = report.bottleneck;
    let sent = passed / 1474 + dropped;
    let goodput = u128::from(report.bytes) * 100 / possible;
    (
        u64::try_from(goodput).expect("percent"),
        dropped as f64 * 100.0 / sent as f64,
    )
}

/// A storm on 1 Gbit/s, of clients that fetch 5,000 octets each: how long until the last one has booted, the longest
/// wait of one of them, in milliseconds, and datagrams dropped.
fn storm(clients: usize, queue: u64) -> (u128, u128, u64) {
    let mut scenario = Scenario::quiet(1, &vec![patient(4); clients], 5_000);
    scenario.wire.bottleneck = Some(Bottleneck {
        rate: 125_000_000,
        queue,
    });
    for terminal in &mut scenario.terminals {
        terminal.delay = Duration::from_micros(100);
    }
    let report = run(scenario).unwrap_or_else(|failure| panic!("{failure}"));
    let last = report.booted_at.since(Time::ZERO).as_millis();
    (last, report.stall.as_millis(), report.bottleneck.1)
}

fn table() -> String {
    let mut text = String::from(
        "One client, blksize 1428, 2 MiB: kB/s by loss, the same loss both ways\n\n\
         round trip  window      0 %      1 %      5 %     10 %     20 %\n",
    );
    for millis in [1, 20] {
        for windowsize in WINDOWS {
            write!(text, "{millis:>7} ms {windowsize:>7}").expect("a string takes all");
            for loss in LOSSES_PER_MILLE {
                let rate = on_a_lossy_wire(windowsize, Duration::from_millis(millis), loss);
                write!(text, " {rate:>8}").expect("a string takes all");
            }
            text.push('\n');
        }
    }
    text.push_str(
        "\n50 clients, blksize 1428, 512 KiB each, 100 Mbit/s: percent of the wire (percent dropped) by queue\n\n\
         window        16 kB        64 kB       256 kB      1000 kB\n",
    );
    for windowsize in WINDOWS {
        write!(text, "{windowsize:>6}").expect("a string takes all");
        for queue in [16_000, 64_000, 256_000, 1_000_000] {
            let (goodput, dropped) = behind_a_bottleneck(windowsize, queue);
            write!(text, " {goodput:>4} ({dropped:>4.1})").expect("a string takes all");
        }
        text.push('\n');
    }
    text.push_str(
        "\nStorms, windowsize 4, 5,000 octets each, 1 Gbit/s: ms to the last boot, longest wait, datagrams dropped\n\n\
         clients    queue   ms to last   ms longest  dropped\n",
    );
    for (clients, queue) in [
        (1_000, 64_000),
        (1_000, 512_000),
        (5_000, 64_000),
        (5_000, 512_000),
        (5_000, 4_000_000),
        (10_000, 512_000),
        (10_000, 4_000_000),
    ] {
        let (last, longest, dropped) = storm(clients, queue);
        let kilobytes = queue / 1000;
        writeln!(
            text,
            "{clients:>7} {kilobytes:>5} kB {last:>12} {longest:>12} {dropped:>8}"
        )
        .expect("a string takes all");
    }
    text
}

#[test]
fn goodput_is_what_it_was() {
    let table = table();
    if std::env::var("DAYBREAK_SNAPSHOT").is_ok_and(|wanted| wanted == "update") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/world_tftp/goodput.txt");
        std::fs::write(path, table).expect("the snapshot can be written");
        return;
    }
    assert!(
        table == SNAPSHOT,
        "goodput has changed; if that is meant, run with DAYBREAK_SNAPSHOT=update\n\nwas:\n{SNAPSHOT}\nis:\n{table}"
    );
}
