//! `--zero-copy kernel` with the real program: what arrives, what is given back, and what happens where it cannot be.

mod support;

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::engine::{Engine, publish};
use support::network::in_own_network;
use support::{Answer, Ask, Client, Step, content, eventually, fetch};

const ZERO_COPY: [&str; 6] = [
    "--listen",
    "127.0.0.1:0",
    "--workers",
    "1",
    "--zero-copy",
    "kernel",
];

const SENDS: &str = "daybreak_engine_driver_zero_copy_sends_total";
const REFUSED: &str = "daybreak_engine_driver_zero_copy_refused_total";
const LEASES: &str = "daybreak_engine_driver_zero_copy_leases";

#[test]
fn where_the_driver_cannot_it_says_so_and_copies() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(100_000);
    publish(data.path(), &[("a", &octets)]);
    for io in ["tokio-uring", "portable"] {
        let engine = Engine::start(data.path(), &[&ZERO_COPY[..], &["--io", io]].concat());
        engine.line("needs the driver uring");
        let ask = Ask::octet("a").blksize(1428).windowsize(16);
        assert!(matches!(fetch(engine.address(), &ask), Answer::File(got, _) if got == octets));
        assert_eq!(engine.number(SENDS), 0);
    }
}

#[test]
fn without_locked_memory_every_block_arrives_with_a_copy_and_that_is_said_once() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(1_000_000);
    publish(data.path(), &[("a", &octets)]);
    let engine = Engine::start(data.path(), &ZERO_COPY);
    // It holds for whoever has no CAP_IPC_LOCK: for the engine, since it has confined itself.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let pid = Pid::from_raw(i32::try_from(engine.pid()).unwrap());
    prlimit(pid, Resource::Memlock, none).unwrap();
    let ask = Ask::octet("a").blksize(1428).windowsize(64);
    for _ in 0..3 {
        assert!(matches!(fetch(engine.address(), &ask), Answer::File(got, _) if got == octets));
    }
    assert!(engine.number(REFUSED) >= 1);
    eventually("no lease at rest", || {
        (engine.number(LEASES) == 0).then_some(())
    });
    let lines = engine.log.lock().unwrap();
    let said = lines
        .iter()
        .filter(|line| line.contains("without a copy was refused"));
    assert_eq!(said.count(), 1, "{lines:?}");
    assert!(
        lines.iter().any(|line| line.contains("LimitMEMLOCK")),
        "{lines:?}"
    );
}

// Datagrams wait for their turn, as they do for a network card.
#[test]
fn t8_packets_that_wait_in_a_queue_hold_their_leases_and_the_end_waits_for_them() {
    in_own_network(
        "t8_packets_that_wait_in_a_queue_hold_their_leases_and_the_end_waits_for_them",
        "ip link set lo up && tc qdisc add dev lo root tbf rate 40mbit burst 70k limit 4m",
        slow_loopback,
    );
}

fn slow_loopback() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(3_000_000);
    publish(data.path(), &[("a", &octets)]);
    let mut engine = Engine::start(data.path(), &ZERO_COPY);
    let mut clients: Vec<Client> = (0..8)
        .map(|_| Client::new(engine.address()).patience(Duration::from_secs(20)))
        .collect();
    for client in &mut clients {
        client.ask(&Ask::octet("a").blksize(1428).windowsize(64));
        assert_eq!(client.step(), Step::More);
    }
    let downloads: Vec<_> = clients
        .into_iter()
        .map(|client| std::thread::spawn(move || client.finish()))
        .collect();
    eventually("leases that are held", || {
        (engine.number(LEASES) > 0).then_some(())
    });
    assert_eq!(engine.number(REFUSED), 0);
    engine.signal();
    for download in downloads {
        assert!(matches!(download.join().unwrap(), Answer::File(got, _) if got == octets));
    }
    assert_eq!(engine.exit(), Some(0));
    engine.line("INFO ended");
    assert!(engine.find("left to the end of the process").is_none());
}
