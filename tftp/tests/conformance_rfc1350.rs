//! Statements 1–31 of `docs/protocol.md`: RFC 1350, and RFC 1123 §4.2. Each test cites its number.

mod support;

use daybreak_tftp::endpoint::{Config, Outcome};
use daybreak_tftp::wire::{ErrorCode, Packet};
use support::*;

#[test]
fn c01_request_without_options_gets_data_1_from_a_new_port() {
    let mut server = Server::new();
    let content = server.file("f", 1000);
    let sent = server.rrq(client(2000), "f", "octet", &[]);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].data(), (1, &content[..512]));
    assert_ne!(sent[0].path.socket, LISTENER);

    let mut server = Server::single_port();
    server.file("f", 1000);
    assert_eq!(
        server.rrq(client(2000), "f", "octet", &[])[0].path.socket,
        LISTENER
    );
}

#[test]
fn c02_transfer_ids_are_unpredictable_and_two_in_a_row_differ() {
    let mut server = Server::new();
    server.file("f", 1000);
    let sockets: Vec<u16> = (0..200)
        .map(|n| {
            server.rrq(client(2000 + n), "f", "octet", &[])[0]
                .path
                .socket
                .0
        })
        .collect();
    assert!(sockets.windows(2).all(|pair| pair[0] != pair[1]));
    let steps: std::collections::HashSet<i32> = sockets
        .windows(2)
        .map(|pair| i32::from(pair[1]) - i32::from(pair[0]))
        .collect();
    assert!(
        steps.len() > 10,
        "the order of ports can be guessed: {steps:?}"
    );
    for socket in 1..SOCKETS {
        assert!(sockets.contains(&socket), "port {socket} is never used");
    }
}

#[test]
fn c03_c04_blocks_count_from_1_and_only_the_last_is_short() {
    for len in [1, 511, 513, 1023, 5000] {
        let mut server = Server::new();
        let content = server.file("f", len);
        let (received, packets) = server.fetch("f", "octet", &[]);
        assert_eq!(received, content);
        assert_eq!(packets, len / 512 + 1);
    }
}

#[test]
fn c05_a_multiple_of_512_ends_with_an_empty_block() {
    let mut server = Server::new();
    let content = server.file("f", 1024);
    assert_eq!(server.fetch("f", "octet", &[]), (content, 3));
}

#[test]
fn c06_an_empty_file_is_one_empty_block() {
    let mut server = Server::new();
    server.file("f", 0);
    let sent = server.rrq(client(2000), "f", "octet", &[]);
    assert_eq!(sent[0].data(), (1, &[][..]));
    assert!(server.ack(&sent[0], 1).is_empty());
    assert_eq!(server.outcomes(), [Outcome::Completed]);
}

#[test]
fn c07_the_next_block_waits_for_the_ack_of_the_present_one() {
    let mut server = Server::new();
    server.file("f", 5000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    assert_eq!(first.len(), 1);
    assert!(server.drain().is_empty());
    assert!(server.wait(ms(490)).is_empty());
    let second = server.ack(&first[0], 1);
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].data().0, 2);
}

#[test]
fn c08_data_without_an_ack_is_sent_again() {
    let mut server = Server::new();
    server.file("f", 5000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    let second = server.ack(&first[0], 1);
    let again = server.wait(ms(1100));
    assert!(!again.is_empty());
    assert!(again.iter().all(|sent| sent.bytes == second[0].bytes));
}

#[test]
fn c09_the_last_block_is_sent_again_until_its_ack_or_the_limit() {
    let mut server = Server::new();
    server.file("f", 600);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    let last = server.ack(&first[0], 1);
    let again = server.wait(ms(60_000));
    assert!(again.len() >= 4, "{} tries", again.len());
    assert!(again.iter().all(|sent| sent.bytes == last[0].bytes));
    assert!(again.last().unwrap().at.since(last[0].at) <= ms(33_000));
    assert_eq!(server.outcomes(), [Outcome::Unconfirmed]);
    assert_eq!(
        server.endpoint.poll_timeout(),
        None,
        "a finished transfer has no timer"
    );
}

#[test]
fn c09_a_client_that_is_silent_in_mid_file_is_given_up_and_not_taken_for_one_whose_last_ack_is_lost()
 {
    let mut server = Server::new();
    server.file("f", 1600);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    let second = server.ack(&first[0], 1);
    let third = server.ack(&second[0], 2);
    server.wait(ms(60_000));
    assert_eq!(
        server.outcomes(),
        [Outcome::TimedOut],
        "the fourth was never sent"
    );
    server.rrq(client(2001), "f", "octet", &[]);
    server.wait(ms(60_000));
    assert_eq!(
        server.outcomes(),
        [Outcome::TimedOut],
        "nothing was acknowledged"
    );
    assert_eq!(third[0].data().0, 3);
    assert_eq!(server.endpoint.counters().transfers_unconfirmed, 0);
}

#[test]
fn c10_a_stranger_gets_error_5_and_disturbs_nothing() {
    for mut server in [Server::new(), Server::single_port()] {
        server.file("f", 5000);
        let first = server.rrq(client(2000), "f", "octet", &[]);
        let mut stranger = first[0].clone();
        for remote in [client(2001), "198.51.100.1:2000".parse().unwrap()] {
            stranger.path.remote = remote;
            let reply = server.ack(&stranger, 1);
            assert_eq!(reply.len(), 1);
            assert_eq!(reply[0].error().0, ErrorCode::UNKNOWN_TID);
            assert_eq!(reply[0].path.remote, remote);
        }
        assert_eq!(server.ack(&first[0], 1)[0].data().0, 2);
    }
}

#[test]
fn c10_error_5_is_limited_in_rate() {
    let mut server = Server::new();
    server.file("f", 5000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    let replies: usize = (0..60_000)
        .map(|n: u32| {
            let mut stranger = first[0].clone();
            stranger.path.remote.set_port(3000 + (n % 60_000) as u16);
            server.ack(&stranger, 1).len()
        })
        .sum();
    assert!((1..=200).contains(&replies), "{replies}");
}

#[test]
fn c11_c12_c13_an_error_ends_the_transfer_and_is_never_answered() {
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 99] {
        let mut server = Server::new();
        server.file("f", 5000);
        let first = server.rrq(client(2000), "f", "octet", &[]);
        assert!(server.error(&first[0], code, "bye").is_empty());
        assert_eq!(
            server.outcomes(),
            [Outcome::Aborted(ErrorCode(code.into()))]
        );
        assert!(
            server.wait(ms(60_000)).is_empty(),
            "an ERROR is neither answered nor repeated"
        );
        let mut stranger = first[0].clone();
        stranger.path.remote.set_port(9);
        assert!(server.error(&stranger, code, "bye").is_empty());
        assert!(
            server
                .request(client(9), &[0, 5, 0, code, b'x', 0])
                .is_empty()
        );
    }
}

#[test]
fn c11_our_own_errors_are_sent_once() {
    let mut server = Server::new();
    assert_eq!(server.rrq(client(2000), "missing", "octet", &[]).len(), 1);
    assert!(server.wait(ms(60_000)).is_empty());
}

#[test]
fn c14_c28_modes_are_known_in_any_case() {
    for mode in ["octet", "OCTET", "oCtEt", "netascii", "NetASCII"] {
        let mut server = Server::new();
        let content = server.file_of("f", b"plain".to_vec());
        assert_eq!(server.fetch("f", mode, &[]).0, content, "{mode}");
    }
}

#[test]
fn c15_netascii_is_converted_across_block_borders() {
    let mut server = Server::new();
    let mut text = vec![b'x'; 511];
    text.extend_from_slice(b"\n\r\nend\r");
    server.file_of("f", text.clone());
    let (wire, _) = server.fetch("f", "netascii", &[]);
    assert_eq!(&wire[511..], b"\r\n\r\0\r\nend\r\0");
    let mut back = Vec::new();
    daybreak_tftp::netascii::decode(&wire, &mut back);
    assert_eq!(back, text);
}

#[test]
fn c16_c29_mail_and_unknown_modes_are_refused() {
    for mode in ["mail", "MAIL", "image", ""] {
        let mut server = Server::new();
        server.file("f", 10);
        let sent = server.rrq(client(2000), "f", mode, &[]);
        assert_eq!(sent[0].error().0, ErrorCode::ILLEGAL_OPERATION, "{mode:?}");
        assert_eq!(server.endpoint.transfers_live(), 0);
    }
}

#[test]
fn c17_errors_carry_the_codes_of_their_causes() {
    let mut server = Server::new();
    let code = |sent: Vec<Sent>| sent[0].error().0;
    assert_eq!(
        code(server.rrq(client(1), "missing", "octet", &[])),
        ErrorCode::FILE_NOT_FOUND
    );
    assert_eq!(
        code(server.request(client(1), b"\0\x02f\0octet\0")),
        ErrorCode::ACCESS_VIOLATION
    );
    assert_eq!(
        code(server.request(client(1), b"\0\x01f\0octet")),
        ErrorCode::ILLEGAL_OPERATION
    );
    assert_eq!(
        code(server.request(client(1), b"\0\x04\0\x01")),
        ErrorCode::UNKNOWN_TID
    );
    assert_eq!(
        code(server.request(client(1), b"\0\x01f\0octet\0blksize\0")),
        ErrorCode::OPTION_NEGOTIATION
    );
}

#[test]
fn c18_a_write_request_is_refused_with_error_2() {
    let mut server = Server::new();
    server.file("f", 10);
    for name in ["f", "new"] {
        let bytes = [b"\0\x02", name.as_bytes(), b"\0octet\0tsize\x0099\0"].concat();
        let sent = server.request(client(2000), &bytes);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].error().0, ErrorCode::ACCESS_VIOLATION);
    }
    assert_eq!(server.endpoint.transfers_live(), 0);
}

#[test]
fn c19_unknown_opcodes_and_truncated_packets_are_harmless() {
    let mut server = Server::new();
    server.file("f", 5000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    for opcode in (0..=0_u16).chain(7..300).chain([u16::MAX]) {
        assert!(server.request(client(5), &opcode.to_be_bytes()).is_empty());
    }
    let whole = rrq("f", "octet", &[("blksize", "1024"), ("tsize", "0")]);
    for len in 0..whole.len() {
        for sent in server.request(client(6), &whole[..len]) {
            assert!(matches!(
                sent.packet(),
                Packet::Error(..) | Packet::Data(..) | Packet::Oack(_)
            ));
        }
        server.receive(first[0].path.socket, client(2000), &whole[..len]);
    }
    for bytes in [
        &[][..],
        &[0],
        &[0, 4],
        &[0, 4, 0],
        &[0, 3, 0],
        &[0, 5, 0],
        &[4],
    ] {
        assert!(
            server
                .receive(first[0].path.socket, client(2000), bytes)
                .is_empty()
        );
    }
    assert_eq!(
        server.ack(&first[0], 1)[0].data().0,
        2,
        "the running transfer goes on"
    );
}

#[test]
fn c20_error_texts_are_printable_and_end_with_nul() {
    let mut server = Server::new();
    for bytes in [
        &b"\0\x01\x01\x02\0octet\0"[..],
        b"\0\x01%n%s\0octet\0",
        b"\0\x02x\0octet\0",
        b"\0\x01\0\0",
    ] {
        for sent in server.request(client(7), bytes) {
            let (last, text) = sent.bytes[4..].split_last().unwrap();
            assert_eq!(*last, 0);
            assert!(text.iter().all(|b| (b' '..0x7f).contains(b)), "{text:?}");
            assert!(!text.is_empty());
        }
    }
}

#[test]
fn c21_a_duplicate_request_makes_one_transfer_only() {
    let mut server = Server::new();
    server.file("f", 5000);
    for options in [&[][..], &[("blksize", "1024")]] {
        let first = server.rrq(client(2000), "f", "octet", options);
        let again = server.rrq(client(2000), "f", "octet", options);
        assert_eq!(server.endpoint.transfers_live(), 1);
        assert_eq!(first[0].bytes, again[0].bytes, "the first reply, again");
        assert_eq!(first[0].path, again[0].path, "from the same port");
        server.error(&first[0], 0, "done");
    }
}

#[test]
fn c22_two_clients_of_one_file_both_finish() {
    let mut server = Server::new();
    let content = server.file("f", 1300);
    let mut sides = [(client(2000), Vec::new()), (client(2001), Vec::new())];
    let mut last: Vec<Sent> = sides
        .iter()
        .map(|(from, _)| server.rrq(*from, "f", "octet", &[]).remove(0))
        .collect();
    for _ in 0..3 {
        for (side, sent) in sides.iter_mut().zip(&mut last) {
            let (number, payload) = sent.data();
            side.1.extend_from_slice(payload);
            if let Some(next) = server.ack(&sent.clone(), number).pop() {
                *sent = next;
            }
        }
    }
    assert!(sides.iter().all(|(_, received)| *received == content));
    assert_eq!(server.outcomes(), [Outcome::Completed; 2]);
}

#[test]
fn c23_an_ack_of_a_future_block_is_ignored() {
    let mut server = Server::new();
    server.file("f", 5000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    for future in [2, 3, 10, 32_767, 32_769, 65_535] {
        assert!(server.ack(&first[0], future).is_empty(), "{future}");
    }
    assert_eq!(server.ack(&first[0], 1)[0].data().0, 2);
}

#[test]
fn c24_an_ack_of_an_older_block_brings_nothing() {
    let mut server = Server::new();
    server.file("f", 5000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    server.ack(&first[0], 1);
    server.ack(&first[0], 2);
    for older in [1, 0] {
        assert!(server.ack(&first[0], older).is_empty(), "{older}");
    }
    assert_eq!(server.ack(&first[0], 3)[0].data().0, 4);
}

#[test]
fn c26_duplicate_ack_never_triggers_data() {
    let mut server = Server::new();
    server.file("f", 512 * 40);
    let mut last = server.rrq(client(2000), "f", "octet", &[]).remove(0);
    let mut packets = 1;
    loop {
        let (number, payload) = last.data();
        let ended = payload.len() < 512;
        let next = server.ack(&last.clone(), number);
        let doubled = server.ack(&last.clone(), number);
        assert!(
            doubled.is_empty(),
            "the doubled ACK {number} brought {doubled:?}"
        );
        packets += next.len();
        if ended {
            break;
        }
        last = next.into_iter().next().unwrap();
    }
    assert_eq!(packets, 41, "n blocks are n packets");
}

#[test]
fn c27_the_timeout_backs_off_exponentially_and_follows_the_round_trip() {
    let mut server = Server::new();
    server.file("f", 50_000);
    let mut last = server.rrq(client(2000), "f", "octet", &[]).remove(0);
    for _ in 0..20 {
        server.now = server.now + ms(30);
        last = server.ack(&last.clone(), last.data().0).remove(0);
    }
    let sent_at = last.at;
    let again = server.wait(ms(31_000));
    let gaps: Vec<u128> = std::iter::once(again[0].at.since(sent_at))
        .chain(again.windows(2).map(|pair| pair[1].at.since(pair[0].at)))
        .map(|gap| gap.as_millis())
        .collect();
    assert!(
        gaps[0] < 250,
        "a round trip of 30 ms, and the first repetition after {} ms",
        gaps[0]
    );
    for pair in gaps.windows(2).filter(|pair| pair[1] < 7_000) {
        assert!(pair[1] * 10 >= pair[0] * 18, "{gaps:?}");
    }
    assert!(
        again.last().unwrap().at.since(sent_at) > ms(15_000),
        "still trying late: {gaps:?}"
    );
}

#[test]
fn c30_names_are_the_hosts_to_allow_or_refuse() {
    let mut server = Server::new();
    server.file("allowed", 10);
    assert_eq!(
        server.rrq(client(1), "allowed", "octet", &[])[0].data().0,
        1
    );
    assert_eq!(
        server.rrq(client(2), "forbidden", "octet", &[])[0]
            .error()
            .0,
        ErrorCode::FILE_NOT_FOUND
    );
}

#[test]
fn limits_at_the_bound_of_transfers_a_request_meets_silence() {
    let config = Config {
        transfers_max: 3,
        ..Config::default()
    };
    let mut server = Server::with(config);
    server.file("f", 5000);
    let sent: Vec<usize> = (0..5)
        .map(|n| server.rrq(client(2000 + n), "f", "octet", &[]).len())
        .collect();
    assert_eq!(sent, [1, 1, 1, 0, 0]);
    assert_eq!(server.endpoint.counters().requests_over_limit, 2);
}

#[test]
fn limits_half_open_transfers_of_one_source_are_bounded_and_finished_ones_do_not_count() {
    let config = Config {
        half_open_per_source_max: 2,
        ..Config::default()
    };
    let mut server = Server::with(config);
    server.file("f", 5000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    assert_eq!(server.rrq(client(2001), "f", "octet", &[]).len(), 1);
    assert_eq!(server.rrq(client(2002), "f", "octet", &[]).len(), 0);
    assert_eq!(
        server
            .request("198.51.100.9:7".parse().unwrap(), &rrq("f", "octet", &[]))
            .len(),
        1
    );
    server.ack(&first[0], 1);
    assert_eq!(server.rrq(client(2002), "f", "octet", &[]).len(), 1);
}
