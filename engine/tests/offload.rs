//! Segmentation offload refused by the kernel: blocks larger than the MTU, on a loopback made small for the test.

mod support;

use std::process::Command;
use std::time::Duration;

use support::engine::{Engine, publish};
use support::network::in_own_network;
use support::{Answer, Ask, Client, Step, content, fetch};

const DRIVERS: [&str; 3] = ["uring", "tokio-uring", "portable"];

#[test]
fn blocks_larger_than_the_mtu_arrive_without_offload() {
    in_own_network(
        "blocks_larger_than_the_mtu_arrive_without_offload",
        "ip link set lo mtu 1500 up",
        small_mtu,
    );
}

fn small_mtu() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(500_000);
    publish(data.path(), &[("a", &octets)]);
    for io in DRIVERS {
        let engine = Engine::start(
            data.path(),
            &[
                "--listen",
                "127.0.0.1:0",
                "--listen",
                "[::1]:0",
                "--io",
                io,
                "--workers",
                "1",
            ],
        );
        for address in engine.addresses("listening") {
            for (blksize, windowsize) in [(1428, 16), (8192, 7), (8192, 1), (1428, 16), (65_464, 1)]
            {
                let ask = Ask::octet("a").blksize(blksize).windowsize(windowsize);
                let Answer::File(got, _) = fetch(address, &ask) else {
                    panic!("{io} {address} {ask:?}")
                };
                assert!(got == octets, "{io} {address} {ask:?}");
            }
        }
        // Refused once for each address, remembered, said once; and small blocks still travel together.
        assert_eq!(
            engine.number("daybreak_engine_driver_trains_refused_total"),
            2,
            "{io}"
        );
        assert!(
            engine.number("daybreak_engine_driver_trains_singly_total") >= 10,
            "{io}"
        );
        let lines = engine.log.lock().unwrap();
        let said = lines
            .iter()
            .filter(|line| line.contains("segmentation offload refused"))
            .count();
        assert_eq!(said, 1, "{io}");
        assert_eq!(engine_resent(&lines), 0, "{io}: {lines:?}");
    }
}

#[test]
fn a_path_that_shrinks_while_a_transfer_runs_does_not_end_it() {
    in_own_network(
        "a_path_that_shrinks_while_a_transfer_runs_does_not_end_it",
        "ip link set lo mtu 65536 up",
        shrinking_mtu,
    );
}

fn shrinking_mtu() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(3_000_000);
    publish(data.path(), &[("a", &octets)]);
    let set_mtu = |mtu: &str| {
        let mut ip = Command::new("ip");
        assert!(
            ip.args(["link", "set", "lo", "mtu", mtu])
                .status()
                .unwrap()
                .success()
        );
    };
    for io in DRIVERS {
        set_mtu("65536");
        let arguments = ["--listen", "127.0.0.1:0", "--io", io, "--workers", "1"];
        let engine = Engine::start(data.path(), &arguments);
        let mut client = Client::new(engine.address()).patience(Duration::from_secs(5));
        client.ask(&Ask::octet("a").blksize(8192).windowsize(7));
        while client.content.len() < 1_000_000 {
            assert_eq!(client.step(), Step::More);
        }
        let refused = || engine.number("daybreak_engine_driver_trains_refused_total");
        assert_eq!(refused(), 0, "{io}");
        set_mtu("1500");
        assert!(
            matches!(client.finish(), Answer::File(got, _) if got == octets),
            "{io}"
        );
        assert_eq!(refused(), 1, "{io}: refused once, and remembered");
        // Smaller blocks still leave in trains, to the same address.
        let ask = Ask::octet("a").blksize(1428).windowsize(16);
        assert!(matches!(fetch(engine.address(), &ask), Answer::File(got, _) if got == octets));
        assert_eq!(refused(), 1, "{io}");
    }
}

/// Blocks sent more than once, by the lines of completed transfers.
fn engine_resent(lines: &[String]) -> u64 {
    let resent = |line: &String| {
        line.split("resent=")
            .nth(1)?
            .split(' ')
            .next()?
            .parse::<u64>()
            .ok()
    };
    lines.iter().filter_map(resent).sum()
}
