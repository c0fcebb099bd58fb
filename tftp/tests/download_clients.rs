//! The clients of the field, by what is known of each (`docs/protocol.md`, part 1).

mod download_bench;

use std::time::Duration;

use daybreak_tftp::download::{LocalPort, Outcome, Profile};
use daybreak_tftp::wire::ErrorCode;
use download_bench::{Bench, SERVER, ack, address, data, error, oack};

/// When a client that nobody answers sends its request, in ms after the first; and when it gives up.
fn unanswered(profile: Profile) -> (Vec<u128>, u128) {
    let mut bench = Bench::asked(profile);
    let start = bench.now;
    let mut times = vec![0];
    loop {
        let (_, sent) = bench.expire();
        let time = bench.now.since(start).as_millis();
        if let Some(outcome) = bench.download.outcome() {
            assert_eq!(outcome, Outcome::TimedOut { answered: false });
            return (times, time);
        }
        assert_eq!(sent.len(), 1);
        times.push(time);
    }
}

#[test]
fn each_asks_again_by_its_own_clock() {
    assert_eq!(
        unanswered(Profile::ipxe()),
        (vec![0, 250, 750, 1750, 3750, 7750], 15_750)
    );
    let edk2 = (0..6).map(|n| n * 4000).collect();
    assert_eq!(unanswered(Profile::edk2()), (edk2, 24_000));
    let (grub, end) = unanswered(Profile::grub2());
    assert_eq!(
        (grub.len(), &grub[..3], end),
        (40, &[0, 400, 820][..], 31_600)
    );
    let (pxelinux, end) = unanswered(Profile::pxelinux());
    assert_eq!(pxelinux[..7], [0, 109, 219, 384, 549, 768, 1043]);
    assert!((130_500..131_500).contains(&end), "{end}");
    let (uboot, end) = unanswered(Profile::uboot());
    assert_eq!((uboot.len(), end), (40, 200_000), "4 × 10 tries of 5 s");
}

#[test]
fn edk2_probes_for_the_size_and_comes_back_from_a_new_port() {
    let mut bench = Bench::new(Profile::edk2());
    let sent = bench.sent();
    let probe = b"\0\x01boot.img\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0";
    assert_eq!(sent, [(address(SERVER), LocalPort(0), probe.to_vec())]);
    let options = [("tsize", "20"), ("blksize", "1468"), ("windowsize", "4")];
    let sent = bench.give_from(download_bench::PEER, &oack(&options));
    let request = b"\0\x01boot.img\0octet\0blksize\x001468\0windowsize\x004\0".to_vec();
    let abort = error(8, "User aborted the transfer");
    assert_eq!(
        sent,
        [
            (address(download_bench::PEER), LocalPort(0), abort),
            (address(SERVER), LocalPort(1), request),
        ]
    );
    // Another transfer, another transfer ID.
    let peer = "192.0.2.1:40777";
    let sent = bench.give_from(peer, &oack(&options[1..]));
    assert_eq!(sent, [(address(peer), LocalPort(1), ack(0))]);
    let sent = bench.give_from(peer, &data(2, &[2; 1468]));
    assert_eq!(sent[0].2, ack(0));
    let sent = bench.give_from(peer, &data(3, &[3; 1468]));
    assert_eq!(sent[0].2, ack(0), "each stray block is answered");
    bench.give_from(peer, &data(1, &[1; 20]));
    assert_eq!(bench.download.outcome(), Some(Outcome::Completed(20)));
}

#[test]
fn edk2_refuses_an_oack_that_it_did_not_ask_for() {
    let mut bench = Bench::asked(Profile::edk2());
    let sent = bench.give(&oack(&[("timeout", "1")]));
    assert_eq!(sent, [error(4, "Malformatted OACK packet")]);
}

#[test]
fn grub_never_repeats_an_ack_by_timer_and_echoes_old_blocks() {
    let mut bench = Bench::asked(Profile::grub2());
    bench.give(&oack(&[("blksize", "1024"), ("tsize", "9000")]));
    assert!(bench.expire().1.is_empty());
    bench.give(&data(1, &[1; 1024]));
    bench.give(&data(2, &[2; 1024]));
    assert!(bench.expire().1.is_empty());
    assert_eq!(bench.give(&data(1, &[1; 1024])), [ack(1)]);
    assert_eq!(bench.give(&data(2, &[2; 1024])), [ack(2)]);
    let mut waited = Duration::ZERO;
    while bench.download.outcome().is_none() {
        waited += bench.expire().0;
    }
    assert!(waited > Duration::from_secs(30));
}

#[test]
fn uboot_starts_all_over_but_not_for_a_missing_file() {
    let mut bench = Bench::asked(Profile::uboot());
    let sent = bench.give_from(download_bench::PEER, &error(0, "busy"));
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0, sent[0].1), (address(SERVER), LocalPort(1)));
    bench.give(&data(1, &[1; 512]));
    for _ in 0..9 {
        assert_eq!(bench.expire(), (Duration::from_secs(5), vec![ack(1)]));
    }
    assert_eq!(bench.expire().1[0][..2], [0, 1], "a new request");
    bench.received.clear();
    assert_eq!(bench.give(&data(1, &[1; 512])), [ack(1)]);
    bench.give(&error(1, "gone"));
    assert_eq!(
        bench.download.outcome(),
        Some(Outcome::Refused(ErrorCode::FILE_NOT_FOUND))
    );
}

#[test]
fn the_raspberry_stutters_and_leaves_its_first_answer() {
    let mut bench = Bench::asked(Profile::raspberry());
    let (wait, sent) = bench.expire();
    assert_eq!((wait, sent.len()), (Duration::from_millis(6), 1));
    let options = [("tsize", "3"), ("blksize", "1024")];
    let sent = bench.give(&oack(&options));
    assert_eq!(sent[0], error(0, "Early Terminate"));
    assert_eq!(sent[1][..2], [0, 1]);
    assert_eq!(bench.give(&oack(&options)), [ack(0)]);
    let (wait, sent) = bench.expire();
    assert_eq!((wait, sent.len()), (Duration::from_secs(30), 0));
    assert_eq!(
        bench.download.outcome(),
        Some(Outcome::TimedOut { answered: true })
    );
}

#[test]
fn every_named_profile_is_known() {
    for name in Profile::NAMES {
        assert_eq!(Profile::named(name).expect("known").name, name);
    }
    assert!(Profile::named("nobody").is_none());
}
