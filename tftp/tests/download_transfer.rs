//! A whole file, in order, octet by octet: RFC 1350 and 7440 from the client's side.

mod download_bench;

use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::download::{BadName, Download, Outcome, Profile, Stray};
use daybreak_tftp::wire::{ErrorCode, OptionKind, Rollover};
use download_bench::{Bench, PEER, SERVER, ack, address, data, error, oack};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_client_is_small() {
    assert!(size_of::<Download>() <= 300, "{}", size_of::<Download>());
}

#[test]
fn a_file_of_two_blocks_arrives_whole() {
    let mut bench = Bench::new(Profile::rfc1350());
    let sent = bench.sent();
    let [(to, _, request)] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(
        (*to, &request[..]),
        (address(SERVER), &b"\0\x01boot.img\0octet\0"[..])
    );
    bench.now = bench.now + SECOND / 2;
    let sent = bench.give_from(PEER, &data(1, &[7; 512]));
    assert_eq!((sent[0].0, &sent[0].2), (address(PEER), &ack(1)));
    assert_eq!(bench.download.first_data_at(), Some(bench.now));
    assert_eq!(bench.download.outcome(), None);
    assert_eq!(bench.give(&data(2, &[8; 3])), [ack(2)]);
    assert_eq!(bench.download.outcome(), Some(Outcome::Completed(515)));
    assert_eq!(bench.download.poll_timeout(), None);
    assert_eq!(bench.received, [&[7; 512][..], &[8; 3]].concat());
}

#[test]
fn an_empty_file_and_a_multiple_of_the_block_end_with_an_empty_block() {
    let mut bench = Bench::asked(Profile::rfc1350());
    assert_eq!(bench.give(&data(1, &[])), [ack(1)]);
    assert_eq!(bench.download.outcome(), Some(Outcome::Completed(0)));
    let mut bench = Bench::asked(Profile::rfc1350());
    bench.give(&data(1, &[1; 512]));
    assert_eq!(bench.download.outcome(), None);
    bench.give(&data(2, &[]));
    assert_eq!(bench.download.outcome(), Some(Outcome::Completed(512)));
}

#[test]
fn a_repeated_last_block_is_acknowledged_after_the_end() {
    let mut bench = Bench::asked(Profile::rfc1350());
    bench.give(&data(1, &[1; 5]));
    assert_eq!(bench.give(&data(1, &[1; 5])), [ack(1)]);
    assert_eq!(bench.received.len(), 5);
}

#[test]
fn a_duplicate_block_is_dropped_and_acknowledged_again() {
    let mut bench = Bench::asked(Profile::rfc1350());
    bench.give(&data(1, &[1; 512]));
    assert_eq!(bench.give(&data(1, &[1; 512])), [ack(1)]);
    assert_eq!(bench.received.len(), 512);
    assert_eq!(bench.download.counters().blocks_duplicate, 1);
}

#[test]
fn a_window_is_acknowledged_at_its_end_only() {
    let mut bench = Bench::windowed(Profile::rfc1350(), 3);
    assert!(bench.give(&data(1, &[1; 8])).is_empty());
    assert!(bench.give(&data(2, &[2; 8])).is_empty());
    assert_eq!(bench.give(&data(3, &[3; 8])), [ack(3)]);
    assert!(bench.give(&data(4, &[4; 8])).is_empty());
    assert_eq!(
        bench.give(&data(5, &[5; 1])),
        [ack(5)],
        "a short window ends with the file"
    );
    assert_eq!(bench.download.outcome(), Some(Outcome::Completed(33)));
}

#[test]
fn a_gap_is_reported_once_for_each_flight() {
    let mut bench = Bench::windowed(Profile::rfc1350(), 4);
    bench.give(&data(1, &[1; 8]));
    assert_eq!(bench.give(&data(3, &[3; 8])), [ack(1)]);
    assert!(bench.give(&data(4, &[4; 8])).is_empty());
    // The window again, from the gap: its first block is lost once more.
    assert_eq!(bench.give(&data(3, &[3; 8])), [ack(1)]);
    assert!(bench.give(&data(4, &[4; 8])).is_empty());
    assert!(bench.give(&data(5, &[5; 8])).is_empty());
    for number in 2..=4 {
        assert!(bench.give(&data(number, &[number as u8; 8])).is_empty());
    }
    assert_eq!(
        bench.give(&data(5, &[5; 8])),
        [ack(5)],
        "the new window is 2 to 5"
    );
    assert_eq!(bench.received.len(), 40);
}

#[test]
fn a_repeated_window_is_acknowledged_once() {
    let mut bench = Bench::windowed(Profile::rfc1350(), 2);
    bench.give(&data(1, &[1; 8]));
    assert_eq!(bench.give(&data(2, &[2; 8])), [ack(2)]);
    assert!(bench.give(&data(1, &[1; 8])).is_empty());
    assert_eq!(bench.give(&data(2, &[2; 8])), [ack(2)]);
}

#[test]
fn every_way_with_strays_is_as_its_client_does_it() {
    let answers = |stray, packets: &[u16]| {
        let mut bench = Bench::windowed(
            Profile {
                stray,
                ..Profile::rfc1350()
            },
            4,
        );
        bench.give(&data(1, &[1; 8]));
        let give = |&number: &u16| bench.give(&data(number, &[0; 8]));
        packets.iter().flat_map(give).collect::<Vec<_>>()
    };
    assert!(answers(Stray::Silent, &[3, 4, 1, 3]).is_empty());
    assert_eq!(
        answers(Stray::Each, &[3, 4, 1, 3]),
        [ack(1), ack(1), ack(1), ack(1)]
    );
    assert_eq!(answers(Stray::OnceUntilProgress, &[3, 4, 1, 3]), [ack(1)]);
    assert_eq!(
        answers(Stray::OnceUntilProgress, &[3, 4, 2, 4]),
        [ack(1), ack(2)]
    );
    assert_eq!(answers(Stray::OncePerFlight, &[3, 4, 3]), [ack(1), ack(1)]);
    assert_eq!(answers(Stray::EchoOld, &[2, 1, 2, 3]), [ack(1), ack(2)]);
}

#[test]
fn time_outs_repeat_the_request_then_the_last_ack_and_end() {
    let mut bench = Bench::new(Profile::rfc1350());
    let request = bench.sent().remove(0).2;
    for _ in 1..10 {
        assert_eq!(bench.expire(), (SECOND, vec![request.clone()]));
    }
    assert_eq!(bench.expire(), (SECOND, vec![]));
    assert_eq!(
        bench.download.outcome(),
        Some(Outcome::TimedOut { answered: false })
    );

    let mut bench = Bench::windowed(Profile::rfc1350(), 4);
    assert_eq!(bench.expire().1, [ack(0)]);
    bench.give(&data(1, &[1; 8]));
    for _ in 1..10 {
        assert_eq!(
            bench.expire(),
            (SECOND, vec![ack(1)]),
            "the patience starts again"
        );
    }
    assert_eq!(bench.expire(), (SECOND, vec![]));
    assert_eq!(
        bench.download.outcome(),
        Some(Outcome::TimedOut { answered: true })
    );
    assert_eq!(bench.download.poll_timeout(), None);
}

#[test]
fn a_time_out_before_its_time_does_nothing() {
    let mut bench = Bench::asked(Profile::rfc1350());
    bench.download.handle_timeout(Time::ZERO);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.download.counters().retries, 0);
}

#[test]
fn an_error_ends_it_and_is_not_answered() {
    let mut bench = Bench::asked(Profile::rfc1350());
    assert!(bench.give(&error(1, "no such file")).is_empty());
    assert_eq!(
        bench.download.outcome(),
        Some(Outcome::Refused(ErrorCode::FILE_NOT_FOUND))
    );
    assert!(bench.give(&data(1, &[1; 512])).is_empty());
    assert!(bench.received.is_empty());
}

#[test]
fn the_first_transfer_id_wins_and_others_change_nothing() {
    let mut bench = Bench::asked(Profile {
        answers_strangers: true,
        ..Profile::rfc1350()
    });
    // Another host, before the server has answered.
    let sent = bench.give_from("198.51.100.9:69", &data(1, &[9; 512]));
    assert_eq!(sent[0].0, address("198.51.100.9:69"));
    assert_eq!(sent[0].2[..4], [0, 5, 0, 5]);
    bench.give(&data(1, &[1; 512]));
    let sent = bench.give_from("192.0.2.1:40002", &data(2, &[9; 5]));
    assert_eq!(sent[0].2[..4], [0, 5, 0, 5]);
    assert!(
        bench.give_from("192.0.2.1:40002", &error(0, "")).is_empty(),
        "an ERROR is not answered"
    );
    assert_eq!(bench.give(&data(2, &[2; 5])), [ack(2)]);
    assert_eq!(bench.received.len(), 517);
    assert_eq!(bench.download.counters().strangers, 3);
}

#[test]
fn a_late_block_of_the_port_s_former_transfer_is_not_taken_for_an_answer() {
    let mut bench = Bench::asked(Profile::rfc1350());
    assert!(
        bench
            .give_from("192.0.2.1:40009", &data(77, &[9; 512]))
            .is_empty()
    );
    assert_eq!(bench.give(&data(1, &[1; 5])), [ack(1)]);
    assert_eq!(bench.received, [1; 5]);
}

fn at_the_rollover(rollover: Option<Rollover>, windowsize: u16) -> Bench {
    let mut bench = Bench::windowed(
        Profile {
            rollover,
            ..Profile::rfc1350()
        },
        windowsize,
    );
    for number in 1..=u16::MAX {
        bench.give(&data(number, &[0; 8]));
    }
    bench
}

#[test]
fn block_numbers_roll_over_to_0_or_to_1() {
    let lengths = |mut bench: Bench, numbers: &[u16]| {
        for &number in numbers {
            bench.give(&data(number, &[1; 8]));
        }
        (bench.received.len() / 8, bench.download.outcome().is_some())
    };
    assert_eq!(
        lengths(at_the_rollover(None, 1), &[0, 1, 2]),
        (65_538, false)
    );
    assert_eq!(
        lengths(at_the_rollover(None, 1), &[1, 2, 3]),
        (65_538, false)
    );
    assert_eq!(
        lengths(at_the_rollover(Some(Rollover::One), 5), &[1, 2, 3]),
        (65_538, false)
    );
    assert_eq!(
        lengths(at_the_rollover(Some(Rollover::Zero), 1), &[1]),
        (65_535, true)
    );
    // A window of several blocks does not guess: block 0 is missing, and block 1 comes too early.
    assert_eq!(lengths(at_the_rollover(None, 5), &[1]), (65_535, false));
}

#[test]
fn a_request_that_cannot_be_written_is_refused() {
    let make = |name: &[u8]| {
        Download::new(
            Profile::ipxe().into(),
            name.into(),
            address(SERVER),
            Time::ZERO,
        )
        .err()
    };
    assert_eq!(make(b""), Some(BadName));
    assert_eq!(make(b"a\0b"), Some(BadName));
    assert_eq!(make(&[b'a'; 2000]), Some(BadName));
    assert_eq!(make(&[b'a'; 508]), None);
}

#[test]
fn copies_leave_as_often_as_asked() {
    let profile = Profile {
        request_copies: 3,
        ack_copies: 2,
        ..Profile::rfc1350()
    };
    let mut bench = Bench::new(profile);
    assert_eq!(bench.sent().len(), 3);
    assert_eq!(bench.give(&data(1, &[1; 512])), [ack(1), ack(1)]);
}

#[test]
fn leaving_early_is_said_to_the_server() {
    let mut bench = Bench::asked(Profile::grub2());
    assert_eq!(bench.give(&oack(&[("blksize", "1024")])), [ack(0)]);
    bench.download.abort();
    let sent: Vec<_> = bench
        .sent()
        .into_iter()
        .map(|(_, _, packet)| packet)
        .collect();
    assert_eq!(sent, [error(0, "closed")]);
    assert_eq!(bench.download.outcome(), Some(Outcome::Aborted));
    // Nobody has answered: there is nobody to tell.
    let mut bench = Bench::asked(Profile::grub2());
    bench.download.abort();
    assert!(bench.sent().is_empty());
}

#[test]
fn an_option_that_is_asked_for_may_be_left_out() {
    let options = vec![(OptionKind::Blksize, 1432), (OptionKind::Windowsize, 16)];
    let mut bench = Bench::asked(Profile {
        options,
        ..Profile::rfc1350()
    });
    assert_eq!(bench.give(&oack(&[("blksize", "1024")])), [ack(0)]);
    assert_eq!(
        (bench.download.blksize(), bench.download.windowsize()),
        (1024, 1)
    );
    assert_eq!(bench.give(&data(1, &[1; 1024])), [ack(1)]);
}
