//! A server of the tests: an `Endpoint`, files in memory and a clock that the test moves. Every packet that
//! leaves comes back as octets, trains cut into their blocks.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{
    Config, Endpoint, Event, Host, Listener, Mode, Opened, Outcome, Path, Payload, Question, Rate,
    Refusal, SocketId,
};
use daybreak_tftp::wire::{ErrorCode, Packet};

pub const LISTENER: SocketId = SocketId(0);
pub const SOCKETS: u16 = 17;

/// A packet that the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub at: Time,
    pub path: Path,
    pub bytes: Vec<u8>,
}

impl Sent {
    pub fn packet(&self) -> Packet<'_> {
        Packet::parse(&self.bytes).expect("what we send is well formed")
    }

    /// Number and payload of a DATA packet.
    pub fn data(&self) -> (u16, &[u8]) {
        match self.packet() {
            Packet::Data(number, payload) => (number.0, payload),
            other => panic!("DATA expected, not {other:?}"),
        }
    }

    pub fn error(&self) -> (ErrorCode, String) {
        match self.packet() {
            Packet::Error(code, text) => (code, String::from_utf8(text.to_vec()).unwrap()),
            other => panic!("ERROR expected, not {other:?}"),
        }
    }

    /// The pairs of an OACK, as text.
    pub fn oack(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match self.packet() {
            Packet::Oack(options) => options.iter().map(|(n, v)| (text(n), text(v))).collect(),
            other => panic!("OACK expected, not {other:?}"),
        }
    }
}

#[derive(Default)]
struct Files(HashMap<Vec<u8>, Rc<Vec<u8>>>);

impl Host for Files {
    type File = Rc<Vec<u8>>;
    fn open(&mut self, question: &Question<'_>) -> Result<Opened<Self::File>, Refusal> {
        let Some(file) = self.0.get(question.name) else {
            return Err(Refusal {
                code: ErrorCode::FILE_NOT_FOUND,
                text: "file not found",
            });
        };
        let mut file = file.clone();
        if question.mode == Mode::Netascii {
            let mut text = Vec::new();
            daybreak_tftp::netascii::encode(&file, &mut text);
            file = Rc::new(text);
        }
        Ok(Opened {
            len: file.len() as u64,
            file,
        })
    }
}

pub struct Server {
    pub endpoint: Endpoint<Rc<Vec<u8>>>,
    pub now: Time,
    files: Files,
}

pub fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

pub fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

impl Server {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        Self::listening(config, 1..SOCKETS)
    }

    pub fn single_port() -> Self {
        Self::listening(Config::default(), 0..0)
    }

    fn listening(mut config: Config, transfer_sockets: std::ops::Range<u16>) -> Self {
        // The clock of these tests stands still: what waits for its turn would wait for ever.
        config.rate = Rate::Fixed(u64::MAX);
        Self::made(config, transfer_sockets)
    }

    /// A server whose rate is that of its configuration.
    pub fn steered(config: Config) -> Self {
        Self::made(config, 1..SOCKETS)
    }

    fn made(config: Config, transfer_sockets: std::ops::Range<u16>) -> Self {
        let listener = Listener {
            socket: LISTENER,
            transfer_sockets,
        };
        Server {
            endpoint: Endpoint::new(config, vec![listener], [7; 32]),
            now: Time::from_nanos(5_000_000_000),
            files: Files::default(),
        }
    }

    /// Adds a file of a recognisable content.
    pub fn file(&mut self, name: &str, len: usize) -> Vec<u8> {
        self.file_of(name, content(len))
    }

    pub fn file_of(&mut self, name: &str, content: Vec<u8>) -> Vec<u8> {
        self.files.0.insert(name.into(), Rc::new(content.clone()));
        content
    }

    /// Everything that is due now.
    pub fn drain(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(self.now) {
            let (at, path) = (self.now, transmit.path);
            match transmit.payload {
                Payload::Packet(bytes) => sent.push(Sent {
                    at,
                    path,
                    bytes: bytes.to_vec(),
                }),
                Payload::Train(train) => {
                    assert!(train.count <= 64 && train.wire_bytes() <= 65_507);
                    for position in 0..train.count {
                        let (header, range) = train.block(position);
                        let payload = &train.file[range.start as usize..range.end as usize];
                        sent.push(Sent {
                            at,
                            path,
                            bytes: [&header[..], payload].concat(),
                        });
                    }
                }
            }
        }
        sent
    }

    /// A datagram arrives at one of our sockets.
    pub fn receive(&mut self, socket: SocketId, from: SocketAddr, bytes: &[u8]) -> Vec<Sent> {
        let path = Path {
            socket,
            remote: from,
            local: None,
        };
        self.receive_by(path, bytes)
    }

    /// A datagram arrives, to an address of ours.
    pub fn receive_by(&mut self, path: Path, bytes: &[u8]) -> Vec<Sent> {
        self.endpoint
            .handle_datagram(self.now, path, bytes, &mut self.files);
        self.drain()
    }

    pub fn request(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<Sent> {
        self.receive(LISTENER, from, bytes)
    }

    /// A read request: name, mode, options.
    pub fn rrq(
        &mut self,
        from: SocketAddr,
        name: &str,
        mode: &str,
        options: &[(&str, &str)],
    ) -> Vec<Sent> {
        self.request(from, &rrq(name, mode, options))
    }

    /// The client acknowledges, towards the port that `sent` came from.
    pub fn ack(&mut self, sent: &Sent, number: u16) -> Vec<Sent> {
        self.receive(
            sent.path.socket,
            sent.path.remote,
            &[&[0, 4][..], &number.to_be_bytes()].concat(),
        )
    }

    pub fn error(&mut self, sent: &Sent, code: u8, text: &str) -> Vec<Sent> {
        let bytes = [&[0, 5, 0, code][..], text.as_bytes(), &[0]].concat();
        self.receive(sent.path.socket, sent.path.remote, &bytes)
    }

    /// Time passes without any packet; what the timers send.
    pub fn wait(&mut self, time: Duration) -> Vec<Sent> {
        let until = self.now + time;
        let mut sent = Vec::new();
        while let Some(next) = self.endpoint.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.endpoint.handle_timeout(self.now);
            sent.extend(self.drain());
        }
        self.now = until;
        sent
    }

    /// The outcomes of the transfers that ended since the last call.
    pub fn outcomes(&mut self) -> Vec<Outcome> {
        let events = std::iter::from_fn(|| self.endpoint.poll_event());
        events
            .filter_map(|event| match event {
                Event::Ended(ended) => Some(ended.outcome),
                Event::Started { .. } => None,
            })
            .collect()
    }

    /// Plays an obedient client to the end: what it received, and how many packets the server sent.
    pub fn fetch(&mut self, name: &str, mode: &str, options: &[(&str, &str)]) -> (Vec<u8>, usize) {
        let mut sent = self.rrq(client(2000), name, mode, options);
        let (mut blksize, mut window, mut rollover_to_one) = (512, 1, false);
        let mut packets = sent.len();
        if let Packet::Oack(_) = sent[0].packet() {
            for (name, value) in sent[0].oack() {
                match name.to_ascii_lowercase().as_str() {
                    "blksize" => blksize = value.parse().unwrap(),
                    "windowsize" => window = value.parse().unwrap(),
                    "rollover" => rollover_to_one = value == "1",
                    _ => {}
                }
            }
            sent = self.ack(&sent[0].clone(), 0);
            packets += sent.len();
        }
        let (mut received, mut expected) = (Vec::new(), 1_u16);
        loop {
            assert!(
                sent.len() <= window,
                "{} blocks in a window of {window}",
                sent.len()
            );
            let mut ended = false;
            for packet in &sent {
                let (number, payload) = packet.data();
                assert_eq!(number, expected);
                assert!(!ended, "a block after the last");
                expected = match expected {
                    u16::MAX if rollover_to_one => 1,
                    number => number.wrapping_add(1),
                };
                received.extend_from_slice(payload);
                ended = payload.len() < blksize;
            }
            assert!(ended || sent.len() == window, "a short window in mid-file");
            let last = sent.last().expect("the server goes on").clone();
            sent = self.ack(&last, last.data().0);
            packets += sent.len();
            if ended {
                assert!(sent.is_empty());
                return (received, packets);
            }
        }
    }
}

pub fn rrq(name: &str, mode: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    let options = options.iter().flat_map(|(name, value)| [*name, *value]);
    for text in [name, mode].into_iter().chain(options) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
