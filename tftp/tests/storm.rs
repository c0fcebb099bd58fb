//! A storm of requests, as the endpoint alone sees it: who is answered, in which order, and how soon.

mod support;

use std::net::SocketAddr;

use daybreak_tftp::endpoint::{Config, Rate};
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
