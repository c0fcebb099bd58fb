//! A client on a bench: packets written by hand go in, and everything that it sends is looked at.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::download::{Download, LocalPort, Outcome, Profile, Violation};

pub(crate) const SERVER: &str = "192.0.2.1:69";
pub(crate) const PEER: &str = "192.0.2.1:40001";

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) struct Bench {
    pub(crate) download: Download,
    pub(crate) now: Time,
    pub(crate) received: Vec<u8>,
}

/// A datagram that the client sent: where to, from which of its ports, and its octets.
pub(crate) type Sent = (SocketAddr, LocalPort, Vec<u8>);

impl Bench {
    pub(crate) fn new(profile: Profile) -> Bench {
        let now = Time::from_nanos(1_000_000);
        let download = Download::new(
            Arc::new(profile),
            Arc::from(&b"boot.img"[..]),
            address(SERVER),
            now,
        );
        Bench {
            download: download.unwrap(),
            now,
            received: Vec::new(),
        }
    }

    /// A client that has sent its request.
    pub(crate) fn asked(profile: Profile) -> Bench {
        let mut bench = Bench::new(profile);
        assert!(!bench.sent().is_empty());
        bench
    }

    /// A client of this window, whose server acknowledged `blksize 8` and the window, and got ACK 0.
    pub(crate) fn windowed(profile: Profile, windowsize: u16) -> Bench {
        let options = vec![
            (daybreak_tftp::wire::OptionKind::Blksize, 8),
            (
                daybreak_tftp::wire::OptionKind::Windowsize,
                u64::from(windowsize),
            ),
        ];
        let mut bench = Bench::asked(Profile { options, ..profile });
        let window = windowsize.to_string();
        let answer = bench.give(&oack(&[("blksize", "8"), ("windowsize", &window)]));
        assert_eq!(answer, [ack(0)]);
        bench
    }

    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        let mut buffer = [0; 2048];
        let mut sent = Vec::new();
        while let Some(transmit) = self.download.poll_transmit(&mut buffer) {
            sent.push((transmit.to, transmit.port, buffer[..transmit.len].to_vec()));
        }
        sent
    }

    /// Hands in a packet from the server's transfer ID; what the client sends then.
    pub(crate) fn give(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        self.give_from(PEER, packet)
            .into_iter()
            .map(|(_, _, packet)| packet)
            .collect()
    }

    pub(crate) fn give_from(&mut self, from: &str, packet: &[u8]) -> Vec<Sent> {
        let received = &mut self.received;
        self.download
            .handle_datagram(self.now, address(from), packet, &mut |offset, octets| {
                assert_eq!(offset, received.len() as u64, "octets out of order");
                received.extend_from_slice(octets);
            });
        self.sent()
    }

    /// Goes to the moment of the next time-out; how long that was, and what the client sends then.
    pub(crate) fn expire(&mut self) -> (Duration, Vec<Vec<u8>>) {
        let at = self.download.poll_timeout().expect("a timer runs");
        let wait = at.since(self.now);
        self.now = at;
        self.download.handle_timeout(at);
        (
            wait,
            self.sent()
                .into_iter()
                .map(|(_, _, packet)| packet)
                .collect(),
        )
    }

    pub(crate) fn assert_violated(&self, violation: Violation) {
        assert_eq!(self.download.outcome(), Some(Outcome::Violated(violation)));
        assert_eq!(self.download.poll_timeout(), None);
    }
}

pub(crate) fn data(number: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    [&[0, 3, high, low][..], payload].concat()
}

pub(crate) fn ack(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    vec![0, 4, high, low]
}

pub(crate) fn error(code: u8, text: &str) -> Vec<u8> {
    [&[0, 5, 0, code][..], text.as_bytes(), &[0]].concat()
}

pub(crate) fn oack(options: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = vec![0, 6];
    for (name, value) in options {
        packet.extend_from_slice(name.as_bytes());
        packet.push(0);
        packet.extend_from_slice(value.as_bytes());
        packet.push(0);
    }
    packet
}
