//! Segmentation offload refused by the kernel: blocks larger than the MTU, on a loopback made small for the test.
//!
//! The MTU of a loopback is that of all its users, so the test runs itself again in a network of its own.

mod support;

use std::process::Command;

use support::engine::{Engine, publish};
use support::{Answer, Ask, content, fetch};

/// Set in the network of its own.
const INSIDE: &str = "DAYBREAK_SMALL_MTU";

#[test]
fn blocks_larger_than_the_mtu_arrive_without_offload() {
    if std::env::var_os(INSIDE).is_some() {
        return small_mtu();
    }
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", "sh", "-c", script, "sh"]);
        command.arg(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "blocks_larger_than_the_mtu_arrive_without_offload",
            "--nocapture",
        ]);
        command.env(INSIDE, "1");
        command.output()
    };
    let small = "ip link set lo mtu 1500 up";
    if !unshare(small).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network namespaces here");
        return;
    }
    let output = unshare(&format!("{small} && exec \"$@\"")).unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}\n{}", text[0], text[1]);
}

fn small_mtu() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(500_000);
    publish(data.path(), &[("a", &octets)]);
    for io in ["uring", "portable"] {
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
