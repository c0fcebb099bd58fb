//! What real clients do (`docs/protocol.md`, rules R1–R10), and what they must get.

mod support;

use daybreak_tftp::endpoint::{Config, Outcome};
use support::*;

const SIZE_PROBE: [(&str, &str); 3] = [("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")];

#[test]
fn r1_the_same_request_after_the_first_ack_is_ignored_while_acks_arrive() {
    let mut server = Server::new();
    server.file("f", 50_000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    let second = server.ack(&first[0], 1);
    assert!(server.rrq(client(2000), "f", "octet", &[]).is_empty());
    assert_eq!(
        server.ack(&second[0], 2)[0].data().0,
        3,
        "the transfer goes on"
    );
    assert_eq!(server.endpoint.counters().requests_duplicate, 1);
}

#[test]
fn r1_the_same_request_after_a_silence_starts_anew() {
    let mut server = Server::new();
    server.file("f", 50_000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    server.ack(&first[0], 1);
    server.wait(ms(1_500));
    let anew = server.rrq(client(2000), "f", "octet", &[]);
    assert_eq!(anew.last().unwrap().data().0, 1);
    assert_eq!(server.outcomes(), [Outcome::Replaced]);
    assert_eq!(server.endpoint.transfers_live(), 1);
}

#[test]
fn r9_r10_with_one_port_the_same_request_after_a_silence_gets_the_file_that_was_pinned() {
    for (mut server, len) in [(Server::new(), 9_000), (Server::single_port(), 50_000)] {
        let old = server.file("f", 50_000);
        let options = [("tsize", "0")];
        let first = server.rrq(client(2000), "f", "octet", &options);
        let data = server.ack(&first[0], 0);
        server.ack(&data[0], 1);
        server.file_of("f", vec![7; 9_000]);
        server.wait(ms(1_500));
        let anew = server.rrq(client(2000), "f", "octet", &options);
        let anew = anew.iter().find(|sent| sent.bytes[1] == 6).unwrap();
        assert_eq!(anew.oack()[0].1, len.to_string());
        assert_eq!(server.outcomes(), [Outcome::Replaced]);
        let data = server.ack(anew, 0);
        assert_eq!(data[0].data().1 == &old[..512], len == 50_000);
        // Another request is another boot.
        let other = server.rrq(client(2000), "f", "octet", &[("TSIZE", "0")]);
        assert_eq!(other[0].oack()[0].1, "9000");
    }
}

#[test]
fn r1_a_request_repeated_while_we_hold_the_transfer_up_is_ignored() {
    let mut server = Server::new();
    server.file("f", 50_000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    // The ACK has come, and DATA 2 waits for its turn to leave: the silence is ours.
    let ack = [0, 4, 0, 1];
    server
        .endpoint
        .handle_datagram(server.now, first[0].path, &ack, &mut Nothing);
    server.now = server.now + ms(5_000);
    let sent = server.rrq(client(2000), "f", "octet", &[]);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].data().0, 2);
    assert_eq!(server.outcomes(), []);
}

#[test]
fn r1_r9_another_file_from_the_same_port_replaces_the_old_transfer_silently() {
    for mut server in [Server::new(), Server::single_port()] {
        server.file("f", 50_000);
        server.file("g", 700);
        let first = server.rrq(client(2000), "f", "octet", &[]);
        let other = server.rrq(client(2000), "g", "octet", &[]);
        assert_eq!(other.len(), 1, "no ERROR for the old one");
        assert_eq!(server.outcomes(), [Outcome::Replaced]);
        assert_eq!(server.ack(&other[0], 1)[0].data().0, 2);
        if other[0].path.socket != first[0].path.socket {
            assert!(
                server.ack(&first[0], 1).is_empty(),
                "late packets of the old one are swallowed"
            );
        }
    }
}

#[test]
fn r1_a_request_read_late_after_a_short_transfer_is_a_duplicate() {
    // Raspberry Pi: two or three requests for one file within milliseconds.
    let mut server = Server::new();
    server.file("f", 100);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    server.ack(&first[0], 1);
    assert!(server.rrq(client(2000), "f", "octet", &[]).is_empty());
    server.wait(ms(1_200));
    assert_eq!(
        server.rrq(client(2000), "f", "octet", &[])[0].data().0,
        1,
        "later it is a new one"
    );
}

#[test]
fn r3_a_client_that_never_repeats_its_ack_is_helped_by_the_servers_timer() {
    // GRUB: the server's retransmission is the only recovery. First within a second, for 30 s.
    let mut server = Server::new();
    server.file("f", 50_000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    let again = server.wait(ms(1_010));
    assert_eq!(again.len(), 1);
    server.now = server.now + ms(3);
    let second = server.ack(&first[0], 1);
    let again = server.wait(ms(31_000));
    assert!(again.len() >= 5);
    assert!(again.iter().all(|sent| sent.bytes == second[0].bytes));
    assert_eq!(server.ack(&second[0], 2)[0].data().0, 3);
}

#[test]
fn r5_a_size_probe_is_counted_apart() {
    for code in [0, 8] {
        let mut server = Server::new();
        server.file("f", 50_000);
        let sent = server.rrq(client(2000), "f", "octet", &SIZE_PROBE);
        assert!(
            server
                .error(&sent[0], code, "User aborted the transfer")
                .is_empty()
        );
        assert_eq!(server.outcomes(), [Outcome::Probe]);
        assert_eq!(server.endpoint.counters().transfers_probe, 1);
        assert_eq!(server.endpoint.counters().transfers_aborted, 0);
        // The real request follows, often from the same port.
        let real = server.rrq(client(2000), "f", "octet", &SIZE_PROBE[1..]);
        assert_eq!(real[0].oack().len(), 2);
    }
}

#[test]
fn r6_replies_leave_by_the_address_that_was_asked() {
    let mut server = Server::new();
    server.file("f", 50_000);
    let path = daybreak_tftp::endpoint::Path {
        socket: LISTENER,
        remote: client(2000),
        local: Some("192.0.2.77".parse().unwrap()),
    };
    struct Files;
    impl daybreak_tftp::endpoint::Host for Files {
        type File = std::rc::Rc<Vec<u8>>;
        fn open(
            &mut self,
            _: &daybreak_tftp::endpoint::Question<'_>,
        ) -> Result<daybreak_tftp::endpoint::Opened<Self::File>, daybreak_tftp::endpoint::Refusal>
        {
            Ok(daybreak_tftp::endpoint::Opened {
                file: std::rc::Rc::new(vec![1; 900]),
                len: 900,
            })
        }
    }
    server
        .endpoint
        .handle_datagram(server.now, path, &rrq("f", "octet", &[]), &mut Files);
    let sent = server.drain();
    assert_eq!(sent[0].path.local, path.local);
    let again = server.wait(ms(1_100));
    assert_eq!(again[0].path.local, path.local);
}

#[test]
fn r8_late_packets_of_a_finished_transfer_are_swallowed() {
    let mut server = Server::new();
    server.file("f", 100);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    server.ack(&first[0], 1);
    for _ in 0..50 {
        assert!(server.ack(&first[0], 1).is_empty());
        assert!(server.error(&first[0], 0, "closed").is_empty());
    }
    assert_eq!(server.outcomes(), [Outcome::Completed]);
    server.wait(ms(5_000));
    assert_eq!(
        server.endpoint.audit().transfers,
        0,
        "and forgotten after the linger"
    );
}

#[test]
fn r10_the_content_is_that_of_the_time_of_the_request() {
    let mut server = Server::new();
    let old = server.file("f", 700);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    server.file_of("f", vec![0xee; 9_000]);
    let second = server.ack(&first[0], 1);
    assert_eq!([first[0].data().1, second[0].data().1].concat(), old);
}

#[test]
fn a_silent_source_gets_a_few_first_replies_and_no_more() {
    // T10: what a spoofed request can bring upon its victim.
    for options in [&[][..], &[("blksize", "65464"), ("windowsize", "64")]] {
        let mut server = Server::new();
        server.file("f", 5_000_000);
        let mut sent = server.rrq(client(2000), "f", "octet", options);
        sent.extend(server.wait(ms(300_000)));
        assert_eq!(sent.len(), 4);
        assert!(sent.iter().map(|sent| sent.bytes.len()).sum::<usize>() <= 4 * 516);
    }
}

#[test]
fn draining_answers_no_new_request_and_finishes_what_runs() {
    let mut server = Server::new();
    server.file("f", 700);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    server.endpoint.drain();
    assert!(server.rrq(client(2001), "f", "octet", &[]).is_empty());
    let second = server.ack(&first[0], 1);
    server.ack(&second[0], 2);
    assert_eq!(server.outcomes(), [Outcome::Completed]);
    assert_eq!(server.endpoint.transfers_live(), 0);
}

#[test]
fn shutting_down_tells_every_client() {
    let mut server = Server::with(Config::default());
    server.file("f", 7000);
    for port in 2000..2010 {
        server.rrq(client(port), "f", "octet", &[]);
    }
    server.endpoint.shut_down(server.now);
    let sent = server.drain();
    assert_eq!(sent.len(), 10);
    assert!(
        sent.iter()
            .all(|sent| sent.error().1.contains("shutting down"))
    );
    assert_eq!(server.endpoint.audit().files, 0);
}

#[test]
fn a_file_that_cannot_be_read_fails_its_transfer_only() {
    use daybreak_tftp::endpoint::{Event, Payload, Unsendable};
    let mut server = Server::new();
    server.file("f", 7000);
    let first = server.rrq(client(2000), "f", "octet", &[]);
    server.rrq(client(2001), "f", "octet", &[]);
    let path = first[0].path;
    server
        .endpoint
        .handle_datagram(server.now, path, &[0, 4, 0, 1], &mut Nothing);
    let transfer = loop {
        let transmit = server
            .endpoint
            .poll_transmit(server.now)
            .expect("DATA 2 is due");
        if let Payload::Train(train) = transmit.payload {
            break train.transfer;
        }
    };
    server
        .endpoint
        .handle_send_failure(server.now, transfer, Unsendable::Unreadable);
    assert!(server.drain()[0].error().1.contains("cannot be read"));
    assert_eq!(server.endpoint.transfers_live(), 1);
    let ended = std::iter::from_fn(|| server.endpoint.poll_event())
        .any(|event| matches!(event, Event::Ended(ended) if ended.outcome == Outcome::SendFailed));
    assert!(ended);
}

struct Nothing;
impl daybreak_tftp::endpoint::Host for Nothing {
    type File = std::rc::Rc<Vec<u8>>;
    fn open(
        &mut self,
        _: &daybreak_tftp::endpoint::Question<'_>,
    ) -> Result<daybreak_tftp::endpoint::Opened<Self::File>, daybreak_tftp::endpoint::Refusal> {
        unreachable!("no request arrives")
    }
}
