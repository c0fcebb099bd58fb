//! Block sizes by network and fragments, with the real program on paths that carry less than it would send.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use daybreak_tftp::wire::{OptionKind, Packet, emit_request};
use support::engine::{Engine, publish};
use support::network::in_own_network;
use support::{Answer, Ask, content, fetch};

/// The blksize granted to a client at `from` that asks for 8192.
fn granted(server: SocketAddr, from: &str) -> u64 {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut packet = [0; 512];
    let asked = [(OptionKind::Blksize, 8192)];
    let len = emit_request(b"a", "octet", &asked, &mut packet).unwrap();
    socket.send_to(&packet[..len], server).unwrap();
    let len = socket.recv(&mut packet).unwrap();
    let Packet::Oack(options) = Packet::parse(&packet[..len]).unwrap() else {
        panic!("no OACK");
    };
    let (_, _, value) = options.known().next().unwrap();
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

#[test]
fn the_blksize_is_capped_by_the_network_that_a_client_is_in() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", &content(20_000))]);
    let config = data.path().join("engine.toml");
    let text = "
        blksize_max = 4096
        [[subnet]]
        net = '127.1.0.0/16'
        blksize_max = 1428
        [[subnet]]
        net = '127.1.2.0/24'
        blksize_max = 1024
        [[subnet]]
        net = '127.3.0.0/16'
        blksize_max = 65464
        [[subnet]]
        net = '::1/128'
        blksize_max = 1232
    ";
    std::fs::write(&config, text).unwrap();
    let engine = Engine::start(
        data.path(),
        &[
            "--config",
            config.to_str().unwrap(),
            "--listen",
            "0.0.0.0:0",
            "--listen",
            "[::1]:0",
        ],
    );
    let [v4, v6] = engine.addresses("listening")[..] else {
        panic!("two addresses")
    };
    let v4 = SocketAddr::from(([127, 0, 0, 1], v4.port()));
    for (from, blksize) in [
        ("127.0.0.1", 4096),
        ("127.1.9.9", 1428),
        ("127.1.2.9", 1024),
        // A network can have less than everybody, not more.
        ("127.3.0.1", 4096),
    ] {
        assert_eq!(granted(v4, from), blksize, "{from}");
    }
    assert_eq!(granted(v6, "::1"), 1232);
}

#[test]
fn without_fragments_a_block_larger_than_the_mtu_is_refused_with_advice() {
    in_own_network(
        "without_fragments_a_block_larger_than_the_mtu_is_refused_with_advice",
        "ip link set lo mtu 1500 up",
        small_path,
    );
}

fn small_path() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(500_000);
    publish(data.path(), &[("a", &octets)]);
    for io in ["uring", "tokio-uring", "portable"] {
        let engine = Engine::start(
            data.path(),
            &[
                "--listen",
                "127.0.0.1:0",
                "--listen",
                "[::1]:0",
                "--io",
                io,
                "--dont-fragment",
            ],
        );
        for address in engine.addresses("listening") {
            for windowsize in [1, 16] {
                let ask = |blksize| Ask::octet("a").blksize(blksize).windowsize(windowsize);
                // In the one way and then in the other: a refusal holds up nobody else.
                for _ in 0..2 {
                    let answer = fetch(address, &ask(8192));
                    assert!(
                        matches!(&answer, Answer::Refused(0, text) if text.contains("smaller blksize")),
                        "{io} {address} {answer:?}"
                    );
                    assert!(
                        matches!(fetch(address, &ask(1428)), Answer::File(got, _) if got == octets),
                        "{io} {address}"
                    );
                }
            }
        }
        let line = engine.line("ERROR transfer ends: its blocks cannot be sent");
        assert!(
            line.contains("too_big") && line.contains("blksize_max"),
            "{line}"
        );
    }
}
