//! A storm behind a slow wire: 200 Mbit/s with a queue of 64 kB, where storms are lost. A small world of its own:
//! one endpoint, real clients, one bottleneck towards them, a clean way back.

mod support;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::download::{Download, Outcome, Profile};
use daybreak_tftp::endpoint::{
    Config, Endpoint, Host, Listener, Opened, Path, Payload, Question, Refusal, SocketId,
};
use support::client;

const RATE: u64 = 25_000_000;
const QUEUE: u64 = 64_000;
/// Octets of UDP, IP and Ethernet headers of a datagram.
const FRAME: u64 = 42;
const TRIP: Duration = Duration::from_micros(60);

struct OneFile(u64);

impl Host for OneFile {
    type File = ();
    fn open(&mut self, _: &Question<'_>) -> Result<Opened<()>, Refusal> {
        Ok(Opened {
            file: (),
            len: self.0,
        })
    }
}

#[derive(Debug)]
enum Arrival {
    AtClient(usize, SocketId, Vec<u8>),
    AtServer(Path, Vec<u8>),
}

/// How a storm ended.
#[derive(Debug)]
struct Storm {
    last: Duration,
    median: Duration,
    first_data_last: Duration,
    dropped_percent: f64,
    wire: Duration,
}

struct World {
    now: Time,
    sequence: u64,
    arrivals: BinaryHeap<Reverse<(Time, u64)>>,
    payloads: std::collections::HashMap<u64, Arrival>,
    /// When the bottleneck will have sent all that it holds.
    idle_at: Time,
    queue: VecDeque<(Time, u64)>,
    queued: u64,
    offered: u64,
    dropped: u64,
}

impl World {
    fn schedule(&mut self, at: Time, arrival: Arrival) {
        self.sequence += 1;
        self.arrivals.push(Reverse((at, self.sequence)));
        self.payloads.insert(self.sequence, arrival);
    }

    /// A datagram enters the bottleneck.
    fn down(&mut self, to: usize, socket: SocketId, bytes: Vec<u8>) {
        let size = bytes.len() as u64 + FRAME;
        while let Some((leaves, size)) = self.queue.front().copied().filter(|q| q.0 <= self.now) {
            let _: Time = leaves;
            self.queue.pop_front();
            self.queued -= size;
        }
        self.offered += 1;
        if self.queued + size > QUEUE {
            self.dropped += 1;
            return;
        }
        let takes = Duration::from_nanos(size * 1_000_000_000 / RATE);
        self.idle_at = self.idle_at.max(self.now) + takes;
        self.queue.push_back((self.idle_at, size));
        self.queued += size;
        self.schedule(
            self.idle_at + TRIP / 2,
            Arrival::AtClient(to, socket, bytes),
        );
    }
}

fn storm(clients: u16, bytes: u64, windowsize: u16, config: Config) -> Storm {
    let listener = Listener {
        socket: SocketId(0),
        transfer_sockets: 1..17,
    };
    let mut endpoint = Endpoint::new(config, vec![listener], [3; 32]);
    let mut host = OneFile(bytes);
    let start = Time::from_nanos(1_000_000_000);
    let server =
        |socket: SocketId| std::net::SocketAddr::from(([198, 51, 100, 1], 40_000 + socket.0));
    let mut world = World {
        now: start,
        sequence: 0,
        arrivals: BinaryHeap::new(),
        payloads: std::collections::HashMap::new(),
        idle_at: start,
        queue: VecDeque::new(),
        queued: 0,
        offered: 0,
        dropped: 0,
    };
    let mut downloads: Vec<Download> = (0..clients)
        .map(|_| {
            let profile = Profile::plain(1428, windowsize);
            let name = b"f".as_slice().into();
            Download::new(profile.into(), name, server(SocketId(0)), start).expect("a good name")
        })
        .collect();
    let mut ends: Vec<Option<Duration>> = vec![None; downloads.len()];
    let mut first_data_last = Duration::ZERO;
    let mut timers: BinaryHeap<Reverse<(Time, usize)>> = BinaryHeap::new();
    let mut buffer = [0; 2048];
    let mut scratch = vec![0; 1432];
    let mut touched: Vec<usize> = (0..downloads.len()).collect();
    loop {
        for at in touched.drain(..) {
            let download = &mut downloads[at];
            while let Some(transmit) = download.poll_transmit(&mut buffer) {
                let socket = SocketId(transmit.to.port() - 40_000);
                let path = Path {
                    socket,
                    remote: client(10_000 + at as u16),
                    local: None,
                };
                let bytes = buffer[..transmit.len].to_vec();
                world.schedule(world.now + TRIP / 2, Arrival::AtServer(path, bytes));
            }
            if let Some(outcome) = download.outcome()
                && ends[at].is_none()
            {
                assert!(
                    matches!(outcome, Outcome::Completed { .. }),
                    "client {at}: {outcome:?}"
                );
                ends[at] = Some(world.now.since(start));
                first_data_last =
                    first_data_last.max(download.first_data_at().unwrap().since(start));
            }
            timers.extend(download.poll_timeout().map(|when| Reverse((when, at))));
        }
        if ends.iter().all(Option::is_some) {
            break;
        }
        let next = [
            world.arrivals.peek().map(|Reverse((at, _))| *at),
            timers.peek().map(|Reverse((at, _))| *at),
            endpoint.poll_timeout(),
        ];
        let next = next
            .into_iter()
            .flatten()
            .min()
            .expect("somebody waits for something");
        world.now = world.now.max(next);
        let now = world.now;
        assert!(now.since(start) < Duration::from_secs(300), "{ends:?}");
        while let Some(Reverse((_, sequence))) =
            world.arrivals.peek().copied().filter(|a| a.0.0 <= now)
        {
            world.arrivals.pop();
            match world.payloads.remove(&sequence).unwrap() {
                Arrival::AtClient(at, socket, bytes) => {
                    downloads[at].handle_datagram(now, server(socket), &bytes, &mut |_, _| {});
                    touched.push(at);
                }
                Arrival::AtServer(path, bytes) => {
                    endpoint.handle_datagram(now, path, &bytes, &mut host);
                }
            }
        }
        while let Some(Reverse((_, at))) = timers.peek().copied().filter(|t| t.0.0 <= now) {
            timers.pop();
            if downloads[at].poll_timeout().is_some_and(|when| when <= now) {
                downloads[at].handle_timeout(now);
            }
            touched.push(at);
        }
        endpoint.handle_timeout(now);
        while endpoint.poll_event().is_some() {}
        while let Some(transmit) = endpoint.poll_transmit(now) {
            let (at, socket) = (
                (transmit.path.remote.port() - 10_000) as usize,
                transmit.path.socket,
            );
            match transmit.payload {
                Payload::Packet(bytes) => world.down(at, socket, bytes.to_vec()),
                Payload::Train(train) => {
                    for position in 0..train.count {
                        let (header, span) = train.block(position);
                        let len = (span.end - span.start) as usize;
                        scratch.clear();
                        scratch.extend_from_slice(&header);
                        scratch.resize(4 + len, 0);
                        world.down(at, socket, scratch.clone());
                    }
                }
            }
        }
    }
    let mut ends: Vec<Duration> = ends.into_iter().flatten().collect();
    ends.sort();
    let packets = u64::from(clients) * (bytes / 1428 + 1);
    let wire_bytes = u64::from(clients) * bytes + packets * (4 + FRAME);
    Storm {
        last: ends[ends.len() - 1],
        median: ends[ends.len() / 2],
        first_data_last,
        dropped_percent: 100.0 * world.dropped as f64 / world.offered as f64,
        wire: Duration::from_nanos(wire_bytes * 1_000_000_000 / RATE),
    }
}

#[test]
fn a_storm_ends_within_the_time_of_the_wire_one_client_after_another() {
    storms(256 << 10);
}

#[test]
#[ignore = "long: make test-long"]
fn a_storm_of_whole_boot_files_does_too() {
    storms(2 << 20);
}

fn storms(bytes: u64) {
    for clients in [200, 500] {
        for windowsize in [1, 16, 64] {
            let storm = storm(clients, bytes, windowsize, Config::default());
            println!("{clients} clients, windowsize {windowsize}: {storm:.3?}");
            assert!(
                storm.last.as_secs_f64() <= 1.10 * storm.wire.as_secs_f64(),
                "{storm:?}"
            );
            assert!(
                storm.median.as_secs_f64() <= 0.60 * storm.last.as_secs_f64(),
                "{storm:?}"
            );
            assert!(storm.dropped_percent < 2.0, "{storm:?}");
            // Nearly at once; where it was lost, when the client's own timer asks again.
            assert!(
                storm.first_data_last < Duration::from_millis(1_100),
                "{storm:?}"
            );
        }
    }
}
