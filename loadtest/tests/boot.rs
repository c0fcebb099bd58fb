//! Whole runs against a server in the same process.

mod responder;

use std::fs;

use clap::Parser;
use daybreak_loadtest::args::Args;
use daybreak_loadtest::plan::Plan;
use daybreak_loadtest::report::Report;
use daybreak_loadtest::run;
use daybreak_loadtest::watch::Nobody;
use responder::Responder;

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 % 251) as u8).collect()
}

fn boot(servers: &[&Responder], line: &str) -> Report {
    let addresses: Vec<_> = servers
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    boot_on(&addresses.join(","), line)
}

fn boot_on(servers: &str, line: &str) -> Report {
    let words = ["x", "--server", servers]
        .into_iter()
        .chain(line.split_whitespace());
    let plan = Plan::try_from(Args::try_parse_from(words).unwrap()).unwrap();
    Report::new(&plan, &run::run(&plan, &mut Nobody).unwrap())
}

#[test]
fn every_client_gets_every_file() {
    let (kernel, config) = (content(100_000), content(1428));
    let server = Responder::start(&[("kernel", &kernel), ("config", &config), ("empty", &[])]);
    let report = boot(&[&server], "--file kernel,config,empty --clients 20");
    assert_eq!((report.clients.completed, report.clients.failed), (20, 0));
    assert_eq!(report.bytes, 20 * 101_428);
    assert_eq!(
        (
            report.completion_ms.count,
            report.time_to_first_data_ms.count
        ),
        (20, 20)
    );
    assert_eq!(
        report.files[0].blake3,
        blake3::hash(&kernel).to_hex().as_str()
    );
    assert_eq!(report.files[2].bytes, 0);
    assert_eq!(report.packets.duplicate, 0);
}

#[test]
fn windows_threads_and_turns_change_nothing() {
    let server = Responder::start(&[("f", &content(100_000))]);
    let line = "--file f --clients 31 --concurrency 5 --threads 2 --windowsize 16 --blksize 1024";
    let report = boot(&[&server], line);
    assert_eq!((report.clients.completed, report.bytes), (31, 3_100_000));
    assert_eq!(report.servers[0].completed, 31);
}

#[test]
fn every_profile_boots() {
    let server = Responder::start(&[("f", &content(20_000))]);
    for name in daybreak_tftp::download::Profile::NAMES {
        let report = boot(
            &[&server],
            &format!("--file f --clients 3 --profile {name}"),
        );
        assert_eq!(report.clients.completed, 3, "{name}: {:?}", report.clients);
    }
}

#[test]
fn losses_delay_but_do_not_fail() {
    let server = Responder::start(&[("f", &content(50_000))]);
    for windowsize in [1, 8] {
        let line = "--file f --clients 10 --loss 0.05 --timeout 0.02 --tries 50 --windowsize";
        let report = boot(&[&server], &format!("{line} {windowsize}"));
        assert_eq!(report.clients.completed, 10, "{:?}", report.clients);
        assert!(report.packets.lost_in > 0 && report.packets.lost_out > 0);
        assert!(report.packets.retries > 0);
    }
}

#[test]
fn a_dead_server_is_passed_over() {
    // A port that was just free: nothing answers there.
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = Responder::start(&[("f", &content(5000))]);
    let servers = format!("{},{}", dead.local_addr().unwrap(), server.address);
    let report = boot_on(&servers, "--file f --clients 4 --timeout 0.05 --tries 2");
    assert_eq!(report.clients.completed, 4);
    assert_eq!(
        (report.servers[0].completed, report.servers[1].completed),
        (0, 4)
    );
    assert_eq!(report.clients.failovers, 4);
    assert!(report.completion_ms.min >= 100.0);
}

#[test]
fn each_failure_has_its_cause() {
    let server = Responder::start(&[("f", &content(5000))]);
    let causes = |report: Report| report.clients.failures.into_iter().collect::<Vec<_>>();
    let missing = boot(&[&server], "--file g --clients 2");
    assert_eq!(causes(missing), [("error-1".to_owned(), 2)]);
    let hash = blake3::hash(b"another").to_hex();
    let other = boot(
        &[&server],
        &format!("--file f --clients 2 --expect-blake3 {hash}"),
    );
    assert_eq!((other.clients.completed, other.completion_ms.count), (0, 0));
    assert_eq!(causes(other), [("content".to_owned(), 2)]);
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = dead.local_addr().unwrap().to_string();
    let nobody = boot_on(&dead, "--file f --clients 2 --timeout 0.02 --tries 2");
    assert_eq!(causes(nobody), [("no-answer".to_owned(), 2)]);
    let late = boot_on(
        &dead,
        "--file f --clients 3 --concurrency 2 --deadline 0.05",
    );
    assert_eq!(causes(late), [("deadline".to_owned(), 3)]);
    let long = boot(
        &[&server],
        &format!("--file {} --clients 1", "n".repeat(3000)),
    );
    assert_eq!(causes(long), [("bad-name".to_owned(), 1)]);
}

#[test]
fn the_expected_file_is_compared() {
    let right = content(5000);
    let path = std::env::temp_dir().join(format!("daybreak-loadtest-{}", std::process::id()));
    let server = Responder::start(&[("f", &right)]);
    let line = format!("--file f --clients 2 --expect-file {}", path.display());
    fs::write(&path, &right).unwrap();
    let same = boot(&[&server], &line);
    fs::write(&path, [&right[..4999], b"X"].concat()).unwrap();
    let differs = boot(&[&server], &line);
    fs::write(&path, &right[..4998]).unwrap();
    let shorter = boot(&[&server], &line);
    fs::remove_file(&path).unwrap();
    assert_eq!(same.clients.completed, 2);
    assert_eq!(differs.clients.failures["content"], 2);
    assert_eq!(shorter.clients.failures["violation-WrongLength"], 2);
}

#[test]
fn the_json_has_the_shape_that_is_promised() {
    let server = Responder::start(&[("f", &content(10))]);
    let report = boot(&[&server], "--file f --clients 1");
    let json = serde_json::to_value(&report).unwrap();
    let mut keys: Vec<_> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut promised = vec![
        "schema",
        "scenario",
        "clients",
        "time_to_first_data_ms",
        "completion_ms",
        "moved_completion_ms",
        "moved_waited_ms",
        "elapsed_s",
        "bytes",
        "throughput_bytes_per_s",
        "packets",
        "servers",
        "files",
        "generator",
    ];
    promised.sort_unstable();
    keys.sort_unstable();
    assert_eq!(keys, promised);
    assert_eq!(json["schema"], 1);
    assert_eq!(json["completion_ms"]["count"], 1);
}
