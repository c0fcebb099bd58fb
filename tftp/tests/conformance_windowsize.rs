//! Statements 58–71 of `docs/protocol.md`: RFC 7440, and block rollover. Each test cites its number.

mod support;

use daybreak_tftp::endpoint::{Config, Outcome};
use support::*;

/// A transfer past its OACK: the first window, and a server whose round trip was measured as `rtt`.
fn first_window(server: &mut Server, windowsize: &str, rtt: u64) -> Vec<Sent> {
    let options = [("blksize", "512"), ("windowsize", windowsize)];
    let sent = server.rrq(client(2000), "f", "octet", &options);
    server.now = server.now + ms(rtt);
    server.ack(&sent[0], 0)
}

fn numbers(sent: &[Sent]) -> Vec<u16> {
    sent.iter().map(|sent| sent.data().0).collect()
}

fn range(first: u16, last: u16) -> Vec<u16> {
    (first..=last).collect()
}

#[test]
fn c58_c59_window_sizes_are_granted_up_to_the_cap() {
    let mut server = Server::with(Config {
        windowsize_max: u16::MAX,
        window_bytes_max: u32::MAX,
        ..Config::default()
    });
    server.file("f", 5000);
    for (asked, granted) in [("1", "1"), ("16", "16"), ("65535", "65535")] {
        let sent = server.rrq(client(2000), "f", "octet", &[("windowsize", asked)]);
        assert_eq!(sent[0].oack()[0].1, granted);
    }
    let mut server = Server::with(Config {
        windowsize_max: 64,
        ..Config::default()
    });
    server.file("f", 5000);
    for (asked, granted) in [("4", "4"), ("64", "64"), ("65", "64"), ("65535", "64")] {
        let sent = server.rrq(client(2000), "f", "octet", &[("windowsize", asked)]);
        assert_eq!(sent[0].oack()[0].1, granted);
    }
}

#[test]
fn c60_window_sizes_that_are_none_are_left_out() {
    let mut server = Server::new();
    server.file("f", 5000);
    for value in ["0", "65536", "x", "-4", ""] {
        let sent = server.rrq(client(2000), "f", "octet", &[("windowsize", value)]);
        assert_eq!(sent[0].data().0, 1, "{value:?}");
    }
}

#[test]
fn c61_c62_c65_exactly_a_window_leaves_and_its_last_ack_brings_the_next() {
    let mut server = Server::new();
    server.file("f", 512 * 10 + 7);
    let window = first_window(&mut server, "4", 5);
    assert_eq!(numbers(&window), range(1, 4));
    assert!(server.drain().is_empty());
    let window = server.ack(&window[3].clone(), 4);
    assert_eq!(numbers(&window), range(5, 8));
    let window = server.ack(&window[3].clone(), 8);
    assert_eq!(numbers(&window), range(9, 11), "the final window is short");
    assert!(server.ack(&window[2], 11).is_empty());
    assert_eq!(server.outcomes(), [Outcome::Completed]);
}

#[test]
fn c61_windows_larger_than_a_train_leave_whole() {
    for windowsize in ["65", "200", "1000"] {
        let mut server = Server::with(Config {
            windowsize_max: u16::MAX,
            ..Config::default()
        });
        let content = server.file("f", 512 * 2345 + 1);
        let options = [("blksize", "512"), ("windowsize", windowsize)];
        assert!(server.fetch("f", "octet", &options).0 == content);
    }
}

#[test]
fn c63_an_ack_inside_the_window_starts_the_next_after_it() {
    let mut server = Server::new();
    server.file("f", 512 * 100);
    let window = first_window(&mut server, "8", 5);
    server.now = server.now + ms(5);
    let next = server.ack(&window[0], 3);
    assert_eq!(numbers(&next), range(4, 11));
}

#[test]
fn c63_an_ack_soon_after_a_rewind_moves_the_end_of_the_window() {
    let mut server = Server::new();
    server.file("f", 512 * 100);
    let window = first_window(&mut server, "4", 20);
    server.now = server.now + ms(20);
    assert_eq!(numbers(&server.ack(&window[0], 2)), range(3, 6));
    // Its client had 3 and 4 from before: its window is 5 to 8 now, and it acknowledges nothing before 8.
    server.now = server.now + ms(1);
    assert_eq!(numbers(&server.ack(&window[0], 4)), range(7, 8));
    assert_eq!(server.endpoint.counters().rewinds, 1);
}

#[test]
fn c64_a_timeout_sends_again_from_the_last_acknowledged_block() {
    let mut server = Server::new();
    server.file("f", 512 * 100);
    let window = first_window(&mut server, "4", 5);
    let window = server.ack(&window[3].clone(), 4);
    assert_eq!(numbers(&window), range(5, 8));
    let again = server.wait(ms(90));
    assert_eq!(numbers(&again)[..4], range(5, 8));
}

#[test]
fn c64_a_client_that_repeats_its_ack_is_not_left_to_a_timeout_that_has_grown() {
    let mut server = Server::new();
    server.file("f", 512 * 100);
    let window = first_window(&mut server, "4", 5);
    let last = window[3].clone();
    assert_eq!(numbers(&server.ack(&last, 4)), range(5, 8));
    // The way is dead for some seconds; then it works again, and the client says what it has.
    server.wait(ms(5_000));
    assert!(server.wait(ms(1_000)).is_empty(), "the time-out is seconds");
    assert!(server.ack(&last, 4).is_empty(), "never by the ACK itself");
    let again = server.wait(ms(60));
    assert_eq!(numbers(&again)[..1], [5]);
    // A copy of that ACK, soon after, brings nothing: the window leaves once, in bursts.
    assert!(server.ack(&last, 4).is_empty());
    let rest = server.wait(ms(600));
    assert_eq!(numbers(&[again, rest].concat()), range(5, 8));
}

#[test]
fn c66_a_window_of_1_is_rfc_1350_on_the_wire() {
    let mut plain = Server::new();
    let mut windowed = Server::new();
    let content = plain.file("f", 512 * 20 + 5);
    windowed.file("f", 512 * 20 + 5);
    let (received, packets) = plain.fetch("f", "octet", &[]);
    let (received_windowed, packets_windowed) =
        windowed.fetch("f", "octet", &[("windowsize", "1")]);
    assert_eq!(
        (received, packets + 1),
        (received_windowed, packets_windowed)
    );
    assert_eq!(plain.file("f", 512 * 20 + 5), content);
}

#[test]
fn c67_repeated_reports_of_one_gap_bring_one_rewind_per_round_trip() {
    let mut server = Server::new();
    server.file("f", 512 * 100);
    let window = first_window(&mut server, "8", 20);
    server.now = server.now + ms(20);
    assert_eq!(numbers(&server.ack(&window[0], 3)), range(4, 11));
    // EDK2 answers every stray block of the old window with the same ACK.
    for _ in 0..5 {
        server.now = server.now + ms(1);
        assert!(server.ack(&window[0], 3).is_empty());
    }
    server.now = server.now + ms(20);
    assert_eq!(
        numbers(&server.ack(&window[0], 3)),
        range(4, 11),
        "the resent block was lost too"
    );
    assert_eq!(server.endpoint.counters().rewinds, 2);
}

#[test]
fn c67_a_duplicate_of_an_ack_that_left_nothing_missing_brings_no_rewind() {
    let mut server = Server::new();
    server.file("f", 512 * 100);
    let window = first_window(&mut server, "16", 40);
    // After a time-out the window leaves in bursts: the client acknowledges the first one before the second leaves.
    let mut burst = server.wait(ms(1));
    while burst.is_empty() {
        burst = server.wait(ms(1));
    }
    assert_eq!(numbers(&burst), range(1, 8));
    assert_eq!(numbers(&server.ack(&window[0], 8)), range(9, 24));
    server.now = server.now + ms(100);
    assert!(server.ack(&window[0], 8).is_empty());
    assert_eq!(server.endpoint.counters().rewinds, 0);
}

#[test]
fn c67_a_client_that_acknowledges_every_block_does_not_multiply_them() {
    let mut server = Server::new();
    server.file("f", 512 * 64 + 1);
    let mut in_flight: std::collections::VecDeque<Sent> =
        first_window(&mut server, "16", 10).into();
    let mut sent = in_flight.len();
    let mut expected = 1;
    while let Some(packet) = in_flight.pop_front() {
        server.now = server.now + ms(1);
        let (number, payload) = packet.data();
        if number != expected {
            continue;
        }
        expected += 1;
        let ended = payload.len() < 512;
        let more = server.ack(&packet, number);
        sent += more.len();
        in_flight.extend(more);
        if ended {
            break;
        }
    }
    assert_eq!(server.outcomes(), [Outcome::Completed]);
    assert!(sent <= 65 * 3, "{sent} packets for 65 blocks");
}

#[test]
fn c68_no_windowed_data_leaves_before_the_ack_of_the_oack() {
    let mut server = Server::new();
    server.file("f", 512 * 100);
    let options = [("blksize", "512"), ("windowsize", "64")];
    let sent = server.rrq(client(2000), "f", "octet", &options);
    let again = server.wait(ms(40_000));
    assert!(
        sent.iter()
            .chain(&again)
            .all(|sent| sent.bytes[..2] == [0, 6])
    );
    assert!(again.len() <= 3);
}

#[test]
fn c69_bursts_shrink_when_time_outs_repeat_and_grow_again() {
    let mut server = Server::new();
    server.file("f", 512 * 1000);
    let window = first_window(&mut server, "16", 40);
    assert_eq!(window.len(), 16);
    let again = server.wait(ms(700));
    let largest_burst = |sent: &[Sent]| {
        sent.chunk_by(|a, b| a.at == b.at)
            .map(<[Sent]>::len)
            .collect::<Vec<_>>()
    };
    let bursts = largest_burst(&again);
    assert_eq!(bursts[..2], [8, 8], "{bursts:?}");
    assert_eq!(bursts[2..6], [4, 4, 4, 4], "{bursts:?}");
    let last = again.last().unwrap().clone();
    let mut next = server.ack(&last, 16);
    next.extend(server.wait(ms(30)));
    assert_eq!(
        numbers(&next),
        range(17, 32),
        "still a whole window, in smaller bursts"
    );
    assert!(largest_burst(&next).iter().all(|burst| *burst <= 8));
    let next = server.ack(&last, 32);
    assert_eq!(numbers(&next), range(33, 48), "and back to one burst");
}

#[test]
fn c69_bursts_grow_again_with_every_step_forward() {
    let mut server = Server::new();
    server.file("f", 512 * 1000);
    let window = first_window(&mut server, "16", 40);
    assert_eq!(server.wait(ms(160)).len(), 16, "in two bursts");
    // Each ACK reports another gap: no window comes through whole.
    server.now = server.now + ms(40);
    assert_eq!(numbers(&server.ack(&window[0], 3)), range(4, 19));
}

#[test]
fn c27_where_the_oack_left_twice_the_first_ack_inside_a_window_shows_the_round_trip() {
    let mut server = Server::new();
    server.file("f", 512 * 1000);
    let options = [("blksize", "512"), ("windowsize", "8")];
    let sent = server.rrq(client(2000), "f", "octet", &options);
    assert_eq!(server.wait(ms(700)).len(), 1, "the OACK again");
    assert_eq!(numbers(&server.ack(&sent[0], 0)), range(1, 8));
    server.now = server.now + ms(20);
    assert_eq!(numbers(&server.ack(&sent[0], 3)), range(4, 11));
    // The rest is lost: without a round trip it would take half a second.
    assert_eq!(numbers(&server.wait(ms(80)))[..4], range(4, 7));
}

#[test]
fn c70_block_numbers_roll_over_to_0() {
    for windowsize in ["1", "7", "64"] {
        let mut server = Server::new();
        let content = server.file("f", 8 * 140_000 + 3);
        let options = [("blksize", "8"), ("windowsize", windowsize)];
        assert!(
            server.fetch("f", "octet", &options).0 == content,
            "windowsize {windowsize}"
        );
    }
}

#[test]
fn c70_block_numbers_roll_over_to_1_where_the_client_asks() {
    for windowsize in ["1", "7", "64"] {
        let mut server = Server::new();
        let content = server.file("f", 8 * 140_000 + 3);
        let options = [
            ("blksize", "8"),
            ("windowsize", windowsize),
            ("rollover", "1"),
        ];
        assert!(
            server.fetch("f", "octet", &options).0 == content,
            "windowsize {windowsize}"
        );
    }
}

#[test]
fn c71_a_stale_ack_from_before_the_rollover_is_not_new() {
    let mut server = Server::with(Config {
        windowsize_max: u16::MAX,
        ..Config::default()
    });
    server.file("f", 8 * 140_000);
    let options = [("blksize", "8"), ("windowsize", "65535")];
    let sent = server.rrq(client(2000), "f", "octet", &options);
    assert_eq!(
        sent[0].oack()[1].1,
        "32767",
        "half the numbers, so that old and new never overlap"
    );
    let mut window = server.ack(&sent[0], 0);
    for _ in 0..2 {
        let last = window.last().unwrap().clone();
        window = server.ack(&last, last.data().0);
    }
    let last = window.last().unwrap().clone();
    assert_eq!(last.data().0, (3 * 32_767 % 65_536) as u16);
    for stale in [65_533, 65_000, 40_000, 32_767 + 5] {
        assert!(server.ack(&last, stale).is_empty(), "{stale}");
    }
    let next = server.ack(&last, last.data().0);
    assert_eq!(next[0].data().0, last.data().0 + 1);
}
