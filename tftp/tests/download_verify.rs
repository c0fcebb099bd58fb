//! Each rule that a server may break is found, and has a name.

mod download_bench;

use daybreak_tftp::download::{Outcome, Profile, Violation};
use daybreak_tftp::wire::{BlockNumber, OptionKind, Rollover};
use download_bench::{Bench, ack, data, oack};

/// A client that asked for everything.
fn asked() -> Bench {
    let options = vec![
        (OptionKind::Blksize, 1024),
        (OptionKind::Timeout, 5),
        (OptionKind::Tsize, 0),
        (OptionKind::Windowsize, 4),
        (OptionKind::Rollover, 1),
    ];
    Bench::asked(Profile {
        options,
        rollover: Some(Rollover::Zero),
        ..Profile::rfc1350()
    })
}

#[track_caller]
fn oack_is(options: &[(&str, &str)], violation: Violation) {
    let mut bench = asked();
    bench.download.expect_bytes(5000);
    let sent = bench.give(&oack(options));
    bench.assert_violated(violation);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0][..4], [0, 5, 0, 8], "told with ERROR 8");
}

#[test]
fn an_oack_holds_what_was_asked_and_no_more() {
    oack_is(&[], Violation::OackEmpty);
    oack_is(&[("multicast", "")], Violation::OptionNotAsked);
    oack_is(
        &[("blksize", "8"), ("BLKSIZE", "8")],
        Violation::OptionTwice(OptionKind::Blksize),
    );
    oack_is(
        &[("blksize", "1025")],
        Violation::ValueLarger(OptionKind::Blksize),
    );
    oack_is(
        &[("blksize", "7")],
        Violation::ValueBad(OptionKind::Blksize),
    );
    oack_is(
        &[("blksize", "+8")],
        Violation::ValueBad(OptionKind::Blksize),
    );
    oack_is(
        &[("windowsize", "5")],
        Violation::ValueLarger(OptionKind::Windowsize),
    );
    oack_is(
        &[("windowsize", "0")],
        Violation::ValueBad(OptionKind::Windowsize),
    );
    oack_is(
        &[("timeout", "4")],
        Violation::ValueChanged(OptionKind::Timeout),
    );
    oack_is(
        &[("rollover", "0")],
        Violation::ValueChanged(OptionKind::Rollover),
    );
    let tsize = Violation::TsizeWrong {
        expected: 5000,
        acknowledged: 4999,
    };
    oack_is(&[("tsize", "4999")], tsize);

    let mut bench = Bench::asked(Profile::plain(1024, 1));
    bench.give(&oack(&[("tsize", "5000")]));
    bench.assert_violated(Violation::OptionNotAsked);
}

#[test]
fn a_right_oack_in_another_order_and_spelling_is_accepted() {
    let mut bench = asked();
    bench.download.expect_bytes(5000);
    let options = [
        ("WindowSize", "2"),
        ("tsize", "5000"),
        ("rollover", "1"),
        ("timeout", "5"),
    ];
    assert_eq!(bench.give(&oack(&options)), [ack(0)]);
    assert_eq!(bench.give(&oack(&options)), [ack(0)], "ACK 0 was lost");
    bench.give(&oack(&[("windowsize", "4")]));
    bench.assert_violated(Violation::OackChanged);
}

#[test]
fn an_oack_after_data_is_found() {
    let mut bench = asked();
    bench.give(&data(1, &[1; 512]));
    bench.give(&oack(&[("windowsize", "4")]));
    bench.assert_violated(Violation::OackAfterData);
}

#[test]
fn data_before_ack_0_is_found() {
    let mut bench = asked();
    let peer = download_bench::address(download_bench::PEER);
    let now = bench.now;
    let mut sink = |_: u64, _: &[u8]| panic!("nothing may be taken");
    bench
        .download
        .handle_datagram(now, peer, &oack(&[("windowsize", "4")]), &mut sink);
    bench
        .download
        .handle_datagram(now, peer, &data(1, &[1; 512]), &mut sink);
    bench.assert_violated(Violation::DataBeforeAck);
}

#[test]
fn data_that_is_too_long_is_found() {
    let mut bench = asked();
    bench.give(&data(1, &[1; 513]));
    bench.assert_violated(Violation::DataLong);
}

#[test]
fn data_beyond_the_window_is_found() {
    let mut bench = Bench::windowed(Profile::rfc1350(), 4);
    assert_eq!(bench.give(&data(4, &[1; 8])), [ack(0)]);
    bench.give(&data(5, &[1; 8]));
    bench.assert_violated(Violation::BeyondWindow(BlockNumber(5)));
    let mut bench = Bench::windowed(Profile::rfc1350(), 4);
    bench.give(&data(0, &[1; 8]));
    bench.assert_violated(Violation::BeyondWindow(BlockNumber(0)));
    let mut bench = Bench::asked(Profile::rfc1350());
    bench.give(&data(1, &[1; 512]));
    bench.give(&data(3, &[1; 512]));
    bench.assert_violated(Violation::BeyondWindow(BlockNumber(3)));
}

#[test]
fn a_window_of_65535_tells_past_from_future() {
    let mut bench = Bench::windowed(Profile::rfc1350(), u16::MAX);
    bench.give(&data(1, &[1; 8]));
    assert_eq!(bench.give(&data(65_535, &[1; 8])), [ack(1)]);
    bench.give(&data(1, &[1; 8]));
    assert_eq!(bench.download.outcome(), None);
    assert_eq!(bench.download.counters().blocks_ahead, 1);
    // ACK 1 opened the window up to block 65536, number 0.
    bench.give(&data(0, &[1; 8]));
    assert_eq!(bench.download.outcome(), None);
}

#[test]
fn data_after_the_end_is_found() {
    let mut bench = Bench::asked(Profile::rfc1350());
    bench.give(&data(1, &[1; 5]));
    bench.give(&data(2, &[1; 5]));
    bench.assert_violated(Violation::DataAfterEnd(BlockNumber(2)));
}

#[test]
fn a_file_shorter_or_longer_than_its_size_is_found() {
    let mut bench = asked();
    bench.give(&oack(&[("tsize", "600")]));
    assert!(bench.give(&data(1, &[1; 512])).is_empty() || bench.download.outcome().is_none());
    bench.give(&data(2, &[1; 87]));
    bench.assert_violated(Violation::WrongLength {
        expected: 600,
        bytes: 599,
    });
    let mut bench = asked();
    bench.download.expect_bytes(10);
    let sent = bench.give(&data(1, &[1; 512]));
    bench.assert_violated(Violation::WrongLength {
        expected: 10,
        bytes: 512,
    });
    assert_eq!(sent[0][..2], [0, 5], "no ACK, an ERROR");
}

#[test]
fn what_is_no_packet_for_a_client_is_found() {
    for (packet, violation) in [
        (&b"\0"[..], Violation::Malformed),
        (b"\0\x09ab", Violation::Malformed),
        (b"\0\x04\0\x01", Violation::NotForClients),
        (b"\0\x01f\0octet\0", Violation::NotForClients),
    ] {
        let mut bench = Bench::asked(Profile::rfc1350());
        bench.give(packet);
        assert_eq!(bench.download.outcome(), None, "nobody has answered yet");
        bench.give(&data(1, &[1; 512]));
        bench.give(packet);
        bench.assert_violated(violation);
    }
}

#[test]
fn a_client_that_needs_an_option_says_so() {
    let mut bench = Bench::asked(Profile::grub2());
    bench.give(&data(1, &[1; 512]));
    bench.assert_violated(Violation::OptionMissing(OptionKind::Blksize));
    let mut bench = Bench::asked(Profile::pxelinux());
    bench.give(&oack(&[("blksize", "1408")]));
    bench.assert_violated(Violation::OptionMissing(OptionKind::Tsize));
    assert!(matches!(
        bench.download.outcome(),
        Some(Outcome::Violated(_))
    ));
}
