//! Anything on the wire: the engine stays up, small and quiet, and serves the next honest client. And what is sent to the
//! administration by hundreds at once: it stays as small, and answers who asks beside them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use daybreak_tests::administration::{Administration, PASSWORD};
use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::content::{self, split_mix};
use daybreak_tests::corpus;
use daybreak_tests::poll;
use daybreak_tests::raw::RawClient;
use daybreak_tests::site::{Engine, Site};
use serde_json::json;

/// How much memory of its own an engine may have gained after an attack, in octets.
const MEMORY_GROWTH_MAX: u64 = 64 << 20;

/// Lines that an engine may log in an attack: it lasts seconds, and each cause has one line a second.
const LOG_LINES_MAX: usize = 300;

/// The largest payload of a datagram.
const DATAGRAM_BYTES_MAX: usize = 65_507;

const DRIVERS: [[&str; 2]; 3] = [
    ["--io", "uring"],
    ["--io", "tokio-uring"],
    ["--io", "portable"],
];

/// Attacks an engine of each driver from one socket, then checks that it is well.
fn attack(assault: impl Fn(&RawClient)) {
    let image = content::octets(1, 500_000);
    let site = Site::new();
    site.import("image", &image);
    for driver in DRIVERS {
        let mut engine = site.engine(&driver);
        let (memory_before, (lines_before, _)) = (engine.memory(), engine.process().log_size());
        assault(&RawClient::new(engine.address()));
        expect_well(&mut engine, &image);
        let growth = engine.memory().saturating_sub(memory_before);
        assert!(
            growth <= MEMORY_GROWTH_MAX,
            "{driver:?}: {growth} octets of memory gained"
        );
        let lines = engine.process().log_size().0 - lines_before;
        assert!(lines <= LOG_LINES_MAX, "{driver:?}: {lines} lines logged");
    }
}

fn expect_well(engine: &mut Engine, image: &[u8]) {
    assert!(engine.is_running(), "the engine ended");
    Fetch::new(Client::Curl, engine.address()).expect("image", image);
    Fetch::new(Client::Atftp, engine.address())
        .windowsize(16)
        .expect("image", image);
}

#[test]
fn the_corpus_of_hostile_datagrams_does_no_harm() {
    attack(|client| {
        for _ in 0..20 {
            for (_, datagram) in corpus::packets() {
                client.send(&datagram);
            }
        }
    });
}

#[test]
fn names_of_every_length_do_no_harm() {
    attack(|client| {
        let lengths = (0..600).chain((600..DATAGRAM_BYTES_MAX - 9).step_by(997));
        for len in lengths.chain([DATAGRAM_BYTES_MAX - 9]) {
            let name = vec![b'n'; len];
            client.send(&[b"\0\x01", &name[..], b"\0octet\0"].concat());
            client.send(&[b"\0\x01", &name[..]].concat());
        }
    });
}

#[test]
fn ten_thousand_options_in_a_request_do_no_harm() {
    attack(|client| {
        for option in [&b"a\0b\0"[..], b"blksize\x001\0", b"\0\0", b"x\0"] {
            for count in [1, 31, 32, 33, 100, 10_000] {
                let options = option.repeat(count.min(60_000 / option.len()));
                client.send(&[b"\0\x01image\0octet\0", &options[..]].concat());
            }
        }
    });
}

#[test]
fn noise_does_no_harm() {
    attack(|client| {
        let mut random = 42;
        for _ in 0..20_000 {
            let len = usize::try_from(split_mix(&mut random) % 600).expect("small");
            let mut datagram = content::octets(random, len);
            // Half of it with an opcode that is understood.
            if let [first, second, ..] = &mut datagram[..]
                && random & 1 == 0
            {
                (*first, *second) = (0, u8::try_from(random % 7).expect("small"));
            }
            client.send(&datagram);
        }
    });
}

#[test]
fn requests_for_names_that_are_not_there_do_not_flood_the_log() {
    attack(|client| {
        for number in 0..20_000 {
            client.send(format!("\0\x01%s%n/../{number}\0octet\0").as_bytes());
            client.send(format!("\0\x01missing/{number}\0octet\0").as_bytes());
        }
    });
}

#[test]
fn nothing_outside_the_catalog_is_ever_served() {
    let site = Site::new();
    site.import("image", b"content");
    let secret = site.source("secret", b"not for clients");
    let secret = secret.to_str().expect("a plain path");
    let engine = site.engine(&[]);
    let names = [
        "../sources/secret",
        "..\\sources\\secret",
        "../../../../../../etc/passwd",
        "/etc/passwd",
        "catalogs/current",
        "./catalogs/../catalogs/current",
        "images/../catalogs/current",
        "....//sources/secret",
        "%2e%2e/sources/secret",
        secret,
    ];
    for name in names {
        let fetched = Fetch::new(Client::Atftp, engine.address()).run(name);
        assert!(fetched.content.is_none(), "{name} was served");
    }
}

/// Connections at once to the administration.
const MANY: usize = 300;

/// How long an answer of the administration may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Begins a request, and sends no more of its body than this.
fn begin(administration: &Administration, head: &str, length: u64, body: &str) -> TcpStream {
    let address = administration.url().strip_prefix("http://");
    let mut stream = TcpStream::connect(address.expect("plain HTTP")).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let head = format!("{head}\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    // Who is refused at once may be cut off before all is sent.
    let _ = stream.write_all(head.as_bytes());
    stream
}

/// Whether it has been answered so far.
fn is_answered(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("set");
    let answered = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).expect("set");
    answered
}

/// The status of the answer; 0, if there is none.
fn status(stream: &mut TcpStream) -> u16 {
    let mut head = [0; 12];
    let read = stream.read_exact(&mut head);
    let text = String::from_utf8_lossy(&head[9..]);
    read.ok().and_then(|()| text.parse().ok()).unwrap_or(0)
}

/// Programs that a process has started and that run.
fn children(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    let children = tasks.expect("it runs").flatten().map(|task| {
        let children = std::fs::read_to_string(task.path().join("children"));
        children.unwrap_or_default()
    });
    children.filter(|children| !children.is_empty()).collect()
}

#[test]
fn hundreds_that_claim_four_gibibytes_and_send_little_take_no_memory_and_hold_up_nobody() {
    let site = Site::new();
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let key = format!("Authorization: Bearer {}", api.key().expect("a key"));
    let pid = administration.process().pid();
    let before = administration.process().memory();
    let senders: Vec<TcpStream> = (0..MANY)
        .map(|number| {
            let head = match number % 6 {
                0 => format!("PUT /api/v1/files/claimed-{number} HTTP/1.1\r\n{key}"),
                1 => format!("PUT /api/v1/backups/claimed-{number}/content HTTP/1.1\r\n{key}"),
                2 => format!(
                    "POST /api/v1/terminals/import HTTP/1.1\r\nContent-Type: text/csv\r\n{key}"
                ),
                3 => format!(
                    "POST /api/v1/terminals HTTP/1.1\r\nContent-Type: application/json\r\n{key}"
                ),
                4 => "POST /api/v1/session HTTP/1.1\r\nContent-Type: application/json".to_owned(),
                _ => format!("PUT /api/v1/files/anybody-{number} HTTP/1.1"),
            };
            // Where the disk has no room for it, a large one is refused for that.
            let claimed = if number / 6 % 2 == 0 {
                4 << 30
            } else {
                64 << 20
            };
            begin(&administration, &head, claimed, &"x".repeat(1000))
        })
        .collect();
    let mut most = before;
    for _ in 0..20 {
        api.get("/healthz").expect(200);
        most = most.max(administration.process().memory());
        assert_eq!(children(pid), Vec::<String>::new());
    }
    let name = json!({"name": "t", "macs": ["52:54:00:00:00:01"]});
    let _ = api.create("/api/v1/terminals", &name);
    let log_in = json!({"name": "admin", "password": PASSWORD});
    let anybody = administration.anybody();
    anybody.send("POST", "/api/v1/session", &log_in).expect(204);
    let waiting = senders.iter().filter(|sender| !is_answered(sender));
    assert!(
        waiting.count() >= MANY / 6,
        "they go on while others are answered"
    );
    assert!(
        most <= before + MEMORY_GROWTH_MAX,
        "from {before} to {most} octets"
    );
    drop(senders);
    // What had arrived of them is thrown away.
    let partial = site.data().join("images/partial");
    poll::until("nothing is left of them", PATIENCE, || {
        let mut left = std::fs::read_dir(&partial).expect("a folder");
        left.next().is_none().then_some(())
    });
    let files = api.get("/api/v1/files").expect(200).json();
    let whole = ["claimed", "anybody"].map(|name| files.to_string().contains(name));
    assert_eq!(whole, [false; 2], "{files}");
}

#[test]
fn hundreds_that_log_in_at_once_are_computed_two_at_a_time_and_the_rest_is_told_to_come_again() {
    let site = Site::new();
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let log_in = json!({"name": "admin", "password": PASSWORD}).to_string();
    let length = u64::try_from(log_in.len()).expect("short");
    let (most_of_it, rest) = log_in.split_at(log_in.len() - 1);
    let head =
        "POST /api/v1/session HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json";
    let mut senders: Vec<TcpStream> = (0..MANY)
        .map(|_| begin(&administration, head, length, most_of_it))
        .collect();
    let before = administration.process().memory();
    // All of them within a moment.
    for sender in &mut senders {
        sender.write_all(rest.as_bytes()).expect("sent");
    }
    api.get("/healthz").expect(200);
    let waiting = senders.iter().filter(|sender| !is_answered(sender));
    assert!(waiting.count() > 0, "it is well while they wait");
    let mut most = before;
    let mut statuses: Vec<u16> = Vec::new();
    for sender in &mut senders {
        statuses.push(status(sender));
        most = most.max(administration.process().memory());
    }
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    let (served, busy) = (count(204), count(503));
    assert_eq!(served + busy, MANY, "{statuses:?}");
    assert!(served >= 64 && busy > 0, "{served} served, {busy} busy");
    // Two computations take 40 MB; 66 would take 1.3 GB.
    assert!(
        most <= before + MEMORY_GROWTH_MAX,
        "from {before} to {most} octets"
    );
    let again = administration.anybody();
    let log_in = json!({"name": "admin", "password": PASSWORD});
    again.send("POST", "/api/v1/session", &log_in).expect(204);
}
