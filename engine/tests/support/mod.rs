//! A client as simple as can be, and a server in this process: what the tests of this folder share.
#![allow(dead_code, reason = "every test program uses a part of it")]

pub(crate) mod engine;
pub(crate) mod network;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use daybreak_tftp::wire::{BlockNumber, OptionKind, Packet, emit_ack, emit_request};

/// What a client asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) name: &'a str,
    pub(crate) mode: &'a str,
    pub(crate) blksize: u16,
    pub(crate) windowsize: u16,
}

impl<'a> Ask<'a> {
    pub(crate) fn octet(name: &'a str) -> Self {
        Ask {
            name,
            mode: "octet",
            blksize: 512,
            windowsize: 1,
        }
    }

    pub(crate) fn blksize(self, blksize: u16) -> Self {
        Ask { blksize, ..self }
    }

    pub(crate) fn windowsize(self, windowsize: u16) -> Self {
        Ask { windowsize, ..self }
    }

    fn options(&self) -> Vec<(OptionKind, u64)> {
        let mut options = Vec::new();
        if self.blksize != 512 {
            options.push((OptionKind::Blksize, self.blksize.into()));
        }
        if self.windowsize != 1 {
            options.push((OptionKind::Windowsize, self.windowsize.into()));
        }
        options
    }
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The whole file, and the address and port that it came from.
    File(Vec<u8>, SocketAddr),
    /// An ERROR: code and text.
    Refused(u16, String),
    /// Nothing for as long as the client waits.
    Silence,
}

/// A download, step by step.
pub(crate) struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    tid: Option<SocketAddr>,
    blksize: usize,
    windowsize: u16,
    expected: u64,
    pub(crate) content: Vec<u8>,
}

/// What one step brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    Done(SocketAddr),
    Refused(u16, String),
    Silence,
}

impl Client {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let any: IpAddr = if server.is_ipv4() {
            [0, 0, 0, 0].into()
        } else {
            [0_u16; 8].into()
        };
        let socket = UdpSocket::bind((any, 0)).unwrap();
        Client {
            socket,
            server,
            tid: None,
            blksize: 512,
            windowsize: 1,
            expected: 1,
            content: Vec::new(),
        }
    }

    pub(crate) fn patience(self, patience: Duration) -> Self {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        self
    }

    pub(crate) fn ask(&mut self, ask: &Ask<'_>) {
        let mut packet = [0; 1024];
        let name = ask.name.as_bytes();
        let len = emit_request(name, ask.mode, &ask.options(), &mut packet).unwrap();
        self.socket.send_to(&packet[..len], self.server).unwrap();
    }

    /// Takes one packet, and acknowledges it where the protocol says so.
    pub(crate) fn step(&mut self) -> Step {
        let mut packet = vec![0; 65_536];
        let Ok((len, from)) = self.socket.recv_from(&mut packet) else {
            return Step::Silence;
        };
        match Packet::parse(&packet[..len]).unwrap() {
            Packet::Oack(options) => {
                for (kind, _, value) in options.known() {
                    let value: usize = std::str::from_utf8(value).unwrap().parse().unwrap();
                    match kind {
                        OptionKind::Blksize => self.blksize = value,
                        OptionKind::Windowsize => self.windowsize = u16::try_from(value).unwrap(),
                        _ => {}
                    }
                }
                self.acknowledge(from, 0);
                Step::More
            }
            Packet::Data(number, payload) => {
                assert_eq!(
                    *self.tid.get_or_insert(from),
                    from,
                    "one TID for a transfer"
                );
                if u64::from(number.0) != self.expected % 65_536 {
                    return Step::More;
                }
                self.content.extend_from_slice(payload);
                let last = payload.len() < self.blksize;
                if last || self.expected.is_multiple_of(self.windowsize.into()) {
                    self.acknowledge(from, self.expected);
                }
                self.expected += 1;
                if last { Step::Done(from) } else { Step::More }
            }
            Packet::Error(code, text) => {
                Step::Refused(code.0, String::from_utf8_lossy(text).into())
            }
            other => panic!("a server sends no {other:?}"),
        }
    }

    fn acknowledge(&self, to: SocketAddr, block: u64) {
        let number = BlockNumber(u16::try_from(block % 65_536).unwrap());
        self.socket.send_to(&emit_ack(number), to).unwrap();
    }

    /// Steps until it is over.
    pub(crate) fn finish(mut self) -> Answer {
        loop {
            match self.step() {
                Step::More => {}
                Step::Done(from) => return Answer::File(self.content, from),
                Step::Refused(code, text) => return Answer::Refused(code, text),
                Step::Silence => return Answer::Silence,
            }
        }
    }
}

/// One whole download.
pub(crate) fn fetch(server: SocketAddr, ask: &Ask<'_>) -> Answer {
    let mut client = Client::new(server).patience(Duration::from_secs(5));
    client.ask(ask);
    client.finish()
}

/// Content that differs at every place.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

/// Looks until a state is reached, or fails.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within 10 s");
        std::thread::yield_now();
    }
}
