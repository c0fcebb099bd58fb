//! Statements 32–57 of `docs/protocol.md`: RFC 2347, 2348, 2349. Each test cites its number.

mod support;

use daybreak_tftp::endpoint::{Config, Outcome, Subnet};
use daybreak_tftp::wire::{ErrorCode, Packet};
use support::*;

/// The OACK that a request gets, as text; empty if it gets DATA 1 instead.
fn oack(server: &mut Server, options: &[(&str, &str)]) -> Vec<(String, String)> {
    let sent = server.rrq(client(2000), "f", "octet", options);
    assert_eq!(sent.len(), 1);
    let pairs = match sent[0].packet() {
        Packet::Oack(_) => sent[0].oack(),
        _ => {
            assert_eq!(sent[0].data().0, 1);
            Vec::new()
        }
    };
    server.error(&sent[0], 0, "enough");
    pairs
}

fn pairs(text: &[(&str, &str)]) -> Vec<(String, String)> {
    text.iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn server_with(len: usize) -> Server {
    let mut server = Server::new();
    server.file("f", len);
    server
}

#[test]
fn c32_a_request_over_512_octets_does_no_harm() {
    let mut server = server_with(10);
    for len in [500, 508, 509, 512, 1000, 1460, 1468, 1500, 9000, 65_507] {
        let sent = server.request(client(2000), &rrq(&"a".repeat(len), "octet", &[]));
        assert!(sent.len() <= 1);
        for sent in sent {
            let (code, _) = sent.error();
            assert!([ErrorCode::FILE_NOT_FOUND, ErrorCode::ILLEGAL_OPERATION].contains(&code));
        }
    }
    let padding = "x".repeat(600);
    assert_eq!(
        oack(&mut server, &[("padding", &padding), ("tsize", "0")]),
        pairs(&[("tsize", "10")])
    );
}

#[test]
fn c33_c36_option_names_match_in_any_case_and_come_back_as_spelt() {
    let mut server = server_with(10);
    assert_eq!(
        oack(
            &mut server,
            &[("BlkSize", "1024"), ("TSIZE", "0"), ("wIndowsize", "4")]
        ),
        pairs(&[("BlkSize", "1024"), ("TSIZE", "10"), ("wIndowsize", "4")])
    );
}

#[test]
fn c34_the_order_of_options_is_the_clients() {
    let mut server = server_with(10);
    let options = [
        ("tsize", "0"),
        ("windowsize", "8"),
        ("timeout", "3"),
        ("blksize", "1428"),
    ];
    let mut expected = [
        ("tsize", "10"),
        ("windowsize", "8"),
        ("timeout", "3"),
        ("blksize", "1428"),
    ];
    assert_eq!(oack(&mut server, &options), pairs(&expected));
    let reversed: Vec<_> = options.into_iter().rev().collect();
    expected.reverse();
    assert_eq!(oack(&mut server, &reversed), pairs(&expected));
}

#[test]
fn c35_of_an_option_given_twice_the_first_counts() {
    let mut server = server_with(10);
    let options = [
        ("blksize", "1000"),
        ("blksize", "2000"),
        ("BLKSIZE", "3000"),
    ];
    assert_eq!(oack(&mut server, &options), pairs(&[("blksize", "1000")]));
}

#[test]
fn c37_unknown_options_are_left_out() {
    let mut server = server_with(10);
    let options = [
        ("multicast", ""),
        ("tsize", "0"),
        ("msftwindow", "31416"),
        ("utimeout", "9"),
    ];
    assert_eq!(oack(&mut server, &options), pairs(&[("tsize", "10")]));
}

#[test]
fn c38_without_an_accepted_option_the_reply_is_data_1() {
    let mut server = server_with(10);
    for options in [
        &[][..],
        &[("unknown", "1")],
        &[("blksize", "4")],
        &[("timeout", "0")],
    ] {
        assert_eq!(oack(&mut server, options), pairs(&[]), "{options:?}");
    }
}

#[test]
fn c39_data_1_follows_the_ack_of_the_oack() {
    let mut server = server_with(5000);
    let sent = server.rrq(client(2000), "f", "octet", &[("blksize", "1024")]);
    assert!(server.wait(ms(490)).is_empty());
    for wrong in [1, 2, 65_535] {
        assert!(server.ack(&sent[0], wrong).is_empty());
    }
    let data = server.ack(&sent[0], 0);
    assert_eq!(data.len(), 1);
    assert_eq!((data[0].data().0, data[0].data().1.len()), (1, 1024));
}

#[test]
fn c40_the_oack_is_sent_again_a_bounded_number_of_times() {
    let mut server = server_with(5000);
    let sent = server.rrq(client(2000), "f", "octet", &[("blksize", "1024")]);
    let again = server.wait(ms(120_000));
    assert_eq!(
        again.len(),
        3,
        "four tries in all, to a source that never answered"
    );
    assert!(again.iter().all(|repeated| repeated.bytes == sent[0].bytes));
    assert!(again[0].at.since(sent[0].at) <= ms(1_010));
    assert_eq!(server.outcomes(), [Outcome::TimedOut]);
}

#[test]
fn c40_a_late_client_is_still_served_after_30_seconds() {
    let mut server = server_with(5000);
    let sent = server.rrq(client(2000), "f", "octet", &[("blksize", "1024")]);
    server.wait(ms(30_000));
    assert_eq!(server.ack(&sent[0], 0)[0].data().0, 1);
}

#[test]
fn c41_error_8_after_the_oack_ends_the_transfer() {
    let mut server = server_with(5000);
    let sent = server.rrq(client(2000), "f", "octet", &[("blksize", "1024")]);
    assert!(server.error(&sent[0], 8, "no").is_empty());
    assert!(server.wait(ms(60_000)).is_empty());
    assert_eq!(
        server.outcomes(),
        [Outcome::Aborted(ErrorCode::OPTION_NEGOTIATION)]
    );
}

#[test]
fn c42_malformed_options_are_refused_without_harm() {
    let mut server = server_with(10);
    let refused = |sent: Vec<Sent>| sent[0].error().0;
    for bytes in [
        &b"\0\x01f\0octet\0blksize"[..],
        b"\0\x01f\0octet\0blksize\x001024",
        b"\0\x01f",
    ] {
        assert_eq!(
            refused(server.request(client(1), bytes)),
            ErrorCode::ILLEGAL_OPERATION
        );
    }
    let bytes = b"\0\x01f\0octet\0blksize\0";
    assert_eq!(
        refused(server.request(client(1), bytes)),
        ErrorCode::OPTION_NEGOTIATION
    );
    let many = [&b"\0\x01f\0octet\0"[..], &b"a\0b\0".repeat(10_000)].concat();
    assert_eq!(
        refused(server.request(client(1), &many)),
        ErrorCode::ILLEGAL_OPERATION
    );
    let many = [&b"\0\x01f\0octet\0"[..], &b"a\0b\0".repeat(33)].concat();
    assert_eq!(
        refused(server.request(client(1), &many)),
        ErrorCode::OPTION_NEGOTIATION
    );
    assert_eq!(server.endpoint.transfers_live(), 0);
}

#[test]
fn c42_nuls_after_the_last_string_are_padding() {
    let mut server = server_with(10);
    let bytes = [&rrq("f", "octet", &[("tsize", "0")])[..], &[0; 40]].concat();
    assert_eq!(
        server.request(client(1), &bytes)[0].oack(),
        pairs(&[("tsize", "10")])
    );
}

#[test]
fn c43_nothing_is_negotiated_that_was_not_asked() {
    let mut server = server_with(5000);
    assert_eq!(
        oack(&mut server, &[("tsize", "0")]),
        pairs(&[("tsize", "5000")])
    );
    let sent = server.rrq(client(2000), "f", "octet", &[("tsize", "0")]);
    assert_eq!(server.ack(&sent[0], 0)[0].data().1.len(), 512);
}

#[test]
fn c44_c46_c49_block_sizes_from_8_to_65464_are_granted_and_kept() {
    for blksize in [8, 9, 511, 513, 1024, 1428, 1468, 8192, 65_464_usize] {
        let mut server = Server::new();
        let content = server.file("f", 3 * blksize + blksize / 2);
        let text = blksize.to_string();
        assert_eq!(
            oack(&mut server, &[("blksize", &text)]),
            pairs(&[("blksize", &text)])
        );
        server.wait(ms(10_000));
        let (received, packets) = server.fetch("f", "octet", &[("blksize", &text)]);
        assert!(received == content);
        assert_eq!(packets, 1 + 4);
    }
}

#[test]
fn c45_block_sizes_that_are_none_are_left_out() {
    let mut server = server_with(10);
    let values = [
        "0",
        "7",
        "65465",
        "65536",
        "99999999999999999999999",
        "-8",
        "+512",
        " 512",
        "512 ",
        "0x200",
        "1e3",
        "",
        "5.5",
    ];
    for value in values {
        assert_eq!(
            oack(&mut server, &[("blksize", value)]),
            pairs(&[]),
            "{value:?}"
        );
    }
}

#[test]
fn c47_the_servers_cap_lowers_the_block_size() {
    let mut server = Server::with(Config {
        blksize_max: 1428,
        ..Config::default()
    });
    server.file("f", 5000);
    assert_eq!(
        oack(&mut server, &[("blksize", "8192")]),
        pairs(&[("blksize", "1428")])
    );
    assert_eq!(
        oack(&mut server, &[("blksize", "600")]),
        pairs(&[("blksize", "600")])
    );
}

#[test]
fn c47_the_cap_of_a_clients_network_lowers_it_further_and_never_raises_it() {
    for (caps, granted) in [
        (&[("0.0.0.0/0", 1200), ("::/0", 1200)][..], "1200"),
        (&[("0.0.0.0/0", 8192), ("::/0", 8192)], "1428"),
        (&[("203.0.113.0/24", 600)], "1428"),
    ] {
        let cap = |&(net, cap): &(&str, u16)| (net.parse::<Subnet>().unwrap(), cap);
        let mut server = Server::with(Config {
            blksize_max: 1428,
            blksize_caps: caps.iter().map(cap).collect(),
            ..Config::default()
        });
        server.file("f", 5000);
        assert_eq!(
            oack(&mut server, &[("blksize", "8192")]),
            pairs(&[("blksize", granted)])
        );
    }
}

#[test]
fn c48_a_multiple_of_the_block_size_ends_with_an_empty_block() {
    let mut server = Server::new();
    let content = server.file("f", 4096);
    assert_eq!(
        server.fetch("f", "octet", &[("blksize", "1024")]),
        (content, 1 + 5)
    );
}

#[test]
fn c50_c52_timeouts_are_echoed_exactly_or_left_out() {
    let mut server = server_with(10);
    for value in ["1", "5", "255", "007"] {
        assert_eq!(
            oack(&mut server, &[("timeout", value)]),
            pairs(&[("timeout", value)])
        );
    }
    for value in ["0", "256", "x", "-1", ""] {
        assert_eq!(oack(&mut server, &[("timeout", value)]), pairs(&[]));
    }
}

#[test]
fn c51_a_negotiated_timeout_is_the_interval_of_retransmission() {
    let mut server = server_with(5000);
    let sent = server.rrq(client(2000), "f", "octet", &[("timeout", "3")]);
    assert!(server.wait(ms(2_990)).is_empty());
    let again = server.wait(ms(20));
    assert_eq!(again[0].bytes, sent[0].bytes);
}

#[test]
fn c53_c57_tsize_is_the_exact_size_whatever_was_asked() {
    let mut server = server_with(123_457);
    for value in ["0", "1", "4294967296"] {
        assert_eq!(
            oack(&mut server, &[("tsize", value)]),
            pairs(&[("tsize", "123457")])
        );
    }
    assert_eq!(oack(&mut server, &[("tsize", "big")]), pairs(&[]));
}

#[test]
fn c54_sizes_beyond_4_gib_are_right() {
    use daybreak_tftp::Time;
    use daybreak_tftp::endpoint::*;
    struct Huge;
    impl Host for Huge {
        type File = ();
        fn open(&mut self, _: &Question<'_>) -> Result<Opened<()>, Refusal> {
            Ok(Opened {
                file: (),
                len: (5 << 32) + 3,
            })
        }
    }
    let listener = Listener {
        socket: LISTENER,
        transfer_sockets: 1..4,
    };
    let mut endpoint = Endpoint::new(Config::default(), vec![listener], [1; 32]);
    let path = Path {
        socket: LISTENER,
        remote: client(9),
        local: None,
    };
    let request = rrq("f", "octet", &[("tsize", "0"), ("blksize", "1428")]);
    endpoint.handle_datagram(Time::ZERO, path, &request, &mut Huge);
    let Some(Transmit {
        payload: Payload::Packet(bytes),
        ..
    }) = endpoint.poll_transmit(Time::ZERO)
    else {
        panic!("an OACK was due");
    };
    assert_eq!(bytes, b"\0\x06tsize\x0021474836483\0blksize\x001428\0");
}

#[test]
fn c55_tsize_of_a_text_is_its_size_on_the_wire() {
    let mut server = Server::new();
    server.file_of("f", b"one\ntwo\n".to_vec());
    let sent = server.rrq(client(2000), "f", "netascii", &[("tsize", "0")]);
    assert_eq!(sent[0].oack(), pairs(&[("tsize", "10")]));
}

#[test]
fn oack_ends_with_the_nul_of_its_last_value() {
    let mut server = server_with(10);
    let sent = server.rrq(
        client(2000),
        "f",
        "octet",
        &[("tsize", "0"), ("blksize", "512")],
    );
    assert_eq!(sent[0].bytes, b"\0\x06tsize\x0010\0blksize\x00512\0");
}
