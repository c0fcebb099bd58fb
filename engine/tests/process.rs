//! The real program: what it does while it runs, and how it ends.

mod support;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use daybreak_store::Store;
use support::engine::{Engine, publish};
use support::{Answer, Ask, Client, Step, content, eventually, fetch};

#[test]
fn it_serves_with_either_driver_and_ends_in_order() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(100_000);
    publish(data.path(), &[("boot/a", &octets)]);
    for io in ["uring", "portable"] {
        let mut engine = Engine::start(
            data.path(),
            &[
                "--listen",
                "127.0.0.1:0",
                "--listen",
                "[::1]:0",
                "--workers",
                "2",
                "--io",
                io,
            ],
        );
        assert!(
            engine
                .line("INFO ready")
                .contains(&format!("generation=1 driver={io} workers=2"))
        );
        for address in engine.addresses("listening") {
            // Several ports, so that both workers have their share.
            for _ in 0..8 {
                let ask = Ask::octet("boot/a").blksize(1428).windowsize(16);
                assert!(matches!(fetch(address, &ask), Answer::File(got, _) if got == octets));
            }
        }
        // The last ACK was sent, not yet heard.
        eventually("all completed", || {
            (engine.number("daybreak_engine_transfers_completed_total") == 16).then_some(())
        });
        assert_eq!(engine.number("daybreak_engine_catalog_generation"), 1);
        assert_eq!(
            engine.number("daybreak_engine_kernel_receive_drops_total"),
            0
        );
        assert_eq!(
            engine.number("daybreak_engine_driver_send_errors_total{class=\"forbidden\"}"),
            0
        );
        engine.signal();
        assert_eq!(engine.exit(), Some(0), "{io}");
        engine.line("INFO ended");
    }
}

#[test]
fn a_published_catalog_is_in_service_at_once_and_a_running_transfer_keeps_its_own() {
    let data = tempfile::tempdir().unwrap();
    let (old, new) = (content(200_000), content(200_001));
    publish(data.path(), &[("a", &old)]);
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let mut running = Client::new(engine.address()).patience(Duration::from_secs(5));
    running.ask(&Ask::octet("a"));
    assert_eq!(running.step(), Step::More);

    publish(data.path(), &[("a", &new), ("b", b"b")]);
    // How soon is measured by the benchmark `site`.
    eventually("served", || {
        matches!(fetch(engine.address(), &Ask::octet("b")), Answer::File(..)).then_some(())
    });
    let ask = Ask::octet("a").blksize(1428);
    assert!(matches!(fetch(engine.address(), &ask), Answer::File(got, _) if got == new));
    assert!(matches!(running.finish(), Answer::File(got, _) if got == old));
}

#[test]
fn a_damaged_catalog_is_named_and_the_last_good_one_stays() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"one")]);
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let current = data.path().join("catalogs/current");
    let good = std::fs::read(&current).unwrap();
    let damage = |octets: &[u8]| {
        let temporary = data.path().join("catalogs/damage");
        std::fs::write(&temporary, octets).unwrap();
        std::fs::rename(&temporary, &current).unwrap();
    };
    damage(b"nonsense");
    let line = engine.line("ERROR the published catalog cannot be served");
    assert!(
        line.contains("catalogs/current") && line.contains("served=1"),
        "{line}"
    );
    assert!(
        matches!(fetch(engine.address(), &Ask::octet("a")), Answer::File(got, _) if got == b"one")
    );
    damage(&good);
    publish(data.path(), &[("a", b"two")]);
    engine.line("INFO catalog in service generation=2");
    eventually("two", || {
        matches!(fetch(engine.address(), &Ask::octet("a")), Answer::File(got, _) if got == b"two")
            .then_some(())
    });
}

#[test]
fn without_a_catalog_it_waits_for_the_first() {
    let data = tempfile::tempdir().unwrap();
    Store::open(data.path()).unwrap();
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    engine.line("WARN nothing is published yet");
    let ask = Ask::octet("a");
    assert!(matches!(
        fetch(engine.address(), &ask),
        Answer::Refused(1, _)
    ));
    engine.line("DEBUG file not found");
    publish(data.path(), &[("a", b"one")]);
    eventually("one", || {
        matches!(fetch(engine.address(), &ask), Answer::File(..)).then_some(())
    });
}

#[test]
fn sigterm_lets_running_transfers_finish_within_the_bound() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(300_000);
    publish(data.path(), &[("a", &octets)]);
    for io in ["uring", "portable"] {
        let mut engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0", "--io", io]);
        let mut running = Client::new(engine.address()).patience(Duration::from_secs(5));
        running.ask(&Ask::octet("a"));
        assert_eq!(running.step(), Step::More);
        engine.signal();
        engine.line("INFO draining");
        // Each worker hears of it a moment later.
        eventually("no new transfers", || {
            let mut late = Client::new(engine.address()).patience(Duration::from_millis(100));
            late.ask(&Ask::octet("a").blksize(8192));
            (late.finish() == Answer::Silence).then_some(())
        });
        assert!(matches!(running.finish(), Answer::File(got, _) if got == octets));
        assert_eq!(engine.exit(), Some(0));

        // One that does not finish is told, at the bound.
        let mut engine = Engine::start(
            data.path(),
            &[
                "--listen",
                "127.0.0.1:0",
                "--io",
                io,
                "--drain-seconds",
                "1",
            ],
        );
        let mut stuck = Client::new(engine.address()).patience(Duration::from_secs(5));
        stuck.ask(&Ask::octet("a"));
        assert_eq!(stuck.step(), Step::More);
        engine.signal();
        assert_eq!(engine.exit(), Some(0));
        let told = std::iter::from_fn(|| Some(stuck.step())).find(|step| *step != Step::More);
        assert!(matches!(told, Some(Step::Refused(0, text)) if text.contains("shutting down")));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", &content(100_000))]);
    let mut engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let mut running = Client::new(engine.address()).patience(Duration::from_secs(5));
    running.ask(&Ask::octet("a"));
    assert_eq!(running.step(), Step::More);
    engine.signal();
    engine.line("INFO draining");
    engine.signal();
    assert_eq!(engine.exit(), Some(1));
}

#[test]
fn the_metrics_address_answers_what_it_should_and_survives_the_rest() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    assert!(
        engine
            .get(b"GET /healthz HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 200 OK")
    );
    assert!(
        engine
            .get(b"GET /secret HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        engine
            .get(b"POST /metrics HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 405")
    );
    // Said nothing, said half, hung up: none of it holds the next one up for long.
    drop(TcpStream::connect(engine.addresses("metrics")[0]).unwrap());
    let mut half = TcpStream::connect(engine.addresses("metrics")[0]).unwrap();
    half.write_all(b"GET /met").unwrap();
    let metrics = engine.get(b"GET /metrics HTTP/1.1\r\n\r\n");
    for line in [
        "# TYPE daybreak_engine_requests counter",
        "# HELP daybreak_engine_transfers_live Transfers running now",
        "daybreak_engine_build_info{",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn t12_a_flood_of_nonsense_brings_one_line_a_second() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    for n in 0..2000_u32 {
        let name = format!("\0\x01nothing/{n}\0octet\0");
        let climb = "\0\x01../../etc/passwd\0octet\0".to_owned();
        let junk = format!("\0\x07{n}");
        for packet in [name, climb, junk] {
            socket.send_to(packet.as_bytes(), engine.address()).unwrap();
        }
    }
    eventually("all heard", || {
        (engine.number("daybreak_engine_driver_datagrams_received_total") >= 5000).then_some(())
    });
    let lines = engine.log.lock().unwrap().len() as u64;
    let allowed = 2 * (begun.elapsed().as_secs() + 2) + 8;
    assert!(lines <= allowed, "{lines} lines, {allowed} allowed");
    assert!(matches!(
        fetch(engine.address(), &Ask::octet("a")),
        Answer::File(..)
    ));
}
