//! Anything on the wire: the engine stays up, small and quiet, and serves the next honest client.

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::content::{self, split_mix};
use daybreak_tests::corpus;
use daybreak_tests::raw::RawClient;
use daybreak_tests::site::{Engine, Site};

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
