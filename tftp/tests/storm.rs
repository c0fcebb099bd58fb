//! A storm of requests, as the endpoint alone sees it: who is answered, in which order, and how soon.

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use daybreak_tftp::endpoint::{Config, Event, Outcome, Path, Rate};
use support::*;

const OPTIONS: [(&str, &str); 2] = [("blksize", "1428"), ("windowsize", "4")];

fn terminal(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 1, (number >> 8) as u8, number as u8], 2000))
}

/// A server on a way out of so many octets per second, with a file `f`.
fn server(rate: u64) -> Server {
    let mut server = Server::steered(Config {
        rate: Rate::Fixed(rate),
        ..Config::default()
    });
    server.file("f", 100_000);
    server
}

fn is_oack(sent: &Sent) -> bool {
    sent.bytes[1] == 6
}

#[test]
fn ten_thousand_requests_at_once_are_answered_within_ten_milliseconds_of_a_gigabit() {
    let mut server = server(125_000_000);
    let start = server.now;
    let mut sent = Vec::new();
    for number in 0..10_000 {
        sent.extend(server.rrq(terminal(number), "f", "octet", &OPTIONS));
    }
    assert_eq!(sent[0].at, start, "nothing waits on an idle way");
    sent.extend(server.wait(ms(10)));
    assert_eq!(sent.iter().filter(|sent| is_oack(sent)).count(), 10_000);
}

#[test]
fn oacks_leave_at_the_rate_of_the_way() {
    let mut server = server(1_250_000);
    let mut sent = Vec::new();
    for number in 0..5_000 {
        sent.extend(server.rrq(terminal(number), "f", "octet", &OPTIONS));
    }
    sent.extend(server.wait(ms(100)));
    let octets: usize = sent.iter().map(|sent| sent.bytes.len() + 46).sum();
    assert!((110_000..140_000).contains(&octets), "{octets} in 100 ms");
}

#[test]
fn an_oack_goes_before_all_data() {
    let mut server = server(1_250_000);
    for number in 0..100 {
        let sent = server.rrq(terminal(number), "f", "octet", &OPTIONS);
        let sent = [sent, server.wait(ms(1))].concat();
        server.ack(sent.iter().find(|sent| is_oack(sent)).unwrap(), 0);
    }
    // Much DATA waits. One who asks now is answered before it.
    let late = terminal(5_000);
    let mut sent = server.rrq(late, "f", "octet", &OPTIONS);
    sent.extend(server.wait(ms(10)));
    let answer = sent.iter().find(|sent| is_oack(sent)).unwrap();
    assert_eq!(answer.path.remote, late);
    assert!(sent.len() > 5 && sent.iter().position(is_oack) <= Some(1));
}

#[test]
fn first_replies_that_were_lost_together_do_not_come_again_together() {
    let mut server = server(125_000_000);
    for number in 0..200 {
        server.rrq(terminal(number), "f", "octet", &OPTIONS);
    }
    let again = server.wait(ms(700));
    assert_eq!(again.len(), 200);
    let most = again.chunk_by(|a, b| a.at == b.at).map(<[Sent]>::len).max();
    assert!(most < Some(40), "{most:?} at once");
}

/// Clients that ask for `f` now, in this order, and acknowledge every window at once: who has it, in the order of the
/// ends.
fn boots(server: &mut Server, clients: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut sent = Vec::new();
    for &client in clients {
        sent.extend(server.rrq(client, "f", "octet", &OPTIONS));
    }
    let mut ended = Vec::new();
    while ended.len() < clients.len() {
        let acks: Vec<_> = sent
            .iter()
            .filter(|sent: &&Sent| {
                is_oack(sent) || sent.data().0.is_multiple_of(4) || sent.data().1.len() < 1428
            })
            .map(|sent| (sent.clone(), if is_oack(sent) { 0 } else { sent.data().0 }))
            .collect();
        sent.clear();
        for (packet, number) in acks {
            sent.extend(server.ack(&packet, number));
        }
        sent.extend(server.wait(ms(1)));
        while let Some(event) = server.endpoint.poll_event() {
            if let Event::Ended(end) = event {
                assert_eq!(end.outcome, Outcome::Completed);
                ended.push(end.path.remote);
            }
        }
    }
    ended
}

#[test]
fn a_terminal_that_has_begun_its_boot_is_let_to_finish_it() {
    let mut server = server(1_250_000);
    let again = |number| SocketAddr::from((terminal(number).ip(), 3000));
    boots(&mut server, &[terminal(7), terminal(8)]);
    // They come last, with the same file as all the others.
    let mut clients: Vec<SocketAddr> = (100..150).map(terminal).collect();
    clients.extend([again(7), again(8)]);
    let ended = boots(&mut server, &clients);
    assert_eq!(ended[..2], [again(7), again(8)]);
    // A boot that is over gives no right to go first in another.
    server.wait(ms(180_000));
    let ended = boots(&mut server, &clients);
    assert!(!ended[..10].contains(&again(7)), "{ended:?}");
}

#[test]
fn a_boot_that_another_worker_has_begun_is_let_to_finish_too() {
    let mut server = server(1_250_000);
    let (now, known) = (server.now, terminal(7));
    server.endpoint.boot_has_begun(now, known.ip());
    let mut clients: Vec<SocketAddr> = (100..150).map(terminal).collect();
    clients.push(known);
    assert_eq!(boots(&mut server, &clients)[0], known);
}

/// The longest that any of these clients waits for its next DATA, when all ask for `f` now.
fn longest_gap(server: &mut Server, clients: u16, options: &[(&str, &str)]) -> Duration {
    let mut sent = Vec::new();
    for number in 0..clients {
        sent.extend(server.rrq(terminal(number), "f", "octet", options));
    }
    let mut last = HashMap::new();
    let (mut longest, mut whole) = (Duration::ZERO, 0);
    while whole < clients {
        let arrived = std::mem::take(&mut sent);
        for packet in arrived {
            let mut number = 0;
            if !is_oack(&packet) {
                let before = last.insert(packet.path.remote, packet.at);
                longest = longest.max(before.map_or(Duration::ZERO, |at| packet.at.since(at)));
                let (block, octets) = packet.data();
                number = block;
                whole += u16::from(octets.len() < 1428);
                if !block.is_multiple_of(4) && octets.len() == 1428 {
                    continue;
                }
            }
            sent.extend(server.ack(&packet, number));
        }
        sent.extend(server.wait(ms(1)));
    }
    longest
}

#[test]
fn a_held_client_gets_a_block_within_half_of_the_interval_that_it_negotiated() {
    let impatient = [("blksize", "1428"), ("windowsize", "4"), ("timeout", "1")];
    for (options, bound) in [(&OPTIONS[..], 2_000), (&impatient, 500)] {
        let longest = longest_gap(&mut server(1_250_000), 200, options);
        assert!(longest <= ms(bound + 300), "{longest:?} of {bound} ms");
        assert!(longest > ms(bound / 2), "{longest:?}: nobody was held");
    }
}

/// Plays clients that acknowledge whole windows of four at once, and others for whom it is `silent` what arrives.
fn play(server: &mut Server, sent: Vec<Sent>, time: Duration, silent: SocketAddr) -> Vec<Sent> {
    let (end, mut sent, mut seen) = (server.now + time, sent, Vec::new());
    while server.now < end {
        for packet in std::mem::take(&mut sent) {
            if packet.path.remote == silent {
                seen.push(packet);
            } else if is_oack(&packet) {
                sent.extend(server.ack(&packet, 0));
            } else if packet.data().0.is_multiple_of(4) || packet.data().1.len() < 1428 {
                sent.extend(server.ack(&packet, packet.data().0));
            }
        }
        sent.extend(server.wait(ms(1)));
    }
    seen
}

#[test]
fn a_held_client_that_repeats_its_ack_gets_what_it_waits_for_each_time_that_it_gets_anything() {
    let mut server = server(1_250_000);
    server.file("long", 2_000_000);
    let victim = terminal(9_999);
    let wide = [("blksize", "1428"), ("windowsize", "64")];
    let offer = server.rrq(victim, "long", "octet", &wide).remove(0);
    server.ack(&offer, 0);
    server.wait(ms(100));
    // Its second window is lost again and again: the time-outs have grown to seconds.
    server.ack(&offer, 64);
    server.wait(ms(8_000));
    let mut sent = Vec::new();
    for number in 0..200 {
        sent.extend(server.rrq(terminal(number), "f", "octet", &OPTIONS));
    }
    let mut again = Vec::new();
    for _ in 0..10 {
        sent.extend(server.ack(&offer, 64));
        again.extend(play(&mut server, sent, ms(1_000), victim));
        sent = Vec::new();
    }
    let blocks: Vec<u16> = again.iter().map(|sent| sent.data().0).collect();
    let first = blocks.iter().filter(|block| **block == 65).count();
    assert!(first >= 4, "{blocks:?} in ten seconds");
}

#[test]
fn a_way_out_that_is_full_delays_nobody_on_another() {
    let mut server = server(1_250_000);
    let ask = |server: &mut Server, number, local: [u8; 4]| {
        let path = Path {
            socket: LISTENER,
            remote: terminal(number),
            local: Some(local.into()),
        };
        server.receive_by(path, &rrq("f", "octet", &OPTIONS))
    };
    for number in 0..5_000 {
        ask(&mut server, number, [192, 0, 2, 1]);
    }
    let (start, other) = (server.now, terminal(9_999));
    let sent = ask(&mut server, 9_999, [192, 0, 2, 2]);
    let answer = sent.iter().find(|sent| sent.path.remote == other);
    assert_eq!(answer.expect("an OACK").at, start);
}

#[test]
fn at_the_bound_of_transfers_a_terminal_that_has_begun_its_boot_is_still_answered() {
    let mut server = Server::with(Config {
        transfers_max: 16,
        ..Config::default()
    });
    server.file("f", 100_000);
    boots(&mut server, &[terminal(7)]);
    server.wait(ms(10_000));
    let mut asks = |from| server.rrq(from, "f", "octet", &OPTIONS).len();
    let answered: usize = (100..130).map(|number| asks(terminal(number))).sum();
    assert_eq!(answered, 14, "two are kept for those that have begun");
    let next: usize = (3000..3010)
        .map(|port| asks(SocketAddr::from((terminal(7).ip(), port))))
        .sum();
    assert_eq!(next, 2, "and the bound is kept");
}
