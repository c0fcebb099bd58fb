//! The steps of an `Endpoint`, beside 1 and beside 10,000 other transfers.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{
    Config, Endpoint, Host, Listener, Opened, Path, Payload, Question, Rate, Refusal, SocketId,
};

const FILE_BYTES: u64 = 1 << 40;

struct Endless;

impl Host for Endless {
    type File = ();
    fn open(&mut self, _: &Question<'_>) -> Result<Opened<()>, Refusal> {
        Ok(Opened {
            file: (),
            len: FILE_BYTES,
        })
    }
}

struct World {
    endpoint: Endpoint<()>,
    now: Time,
    /// The last block that was sent to each client, and from where.
    clients: Vec<(Path, u16)>,
}

fn client(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 2000))
}

fn path(number: usize) -> Path {
    Path {
        socket: SocketId(0),
        remote: client(number),
        local: None,
    }
}

fn request(windowsize: &str) -> Vec<u8> {
    let mut bytes = b"\0\x01vmlinuz\0octet\0blksize\x001428\0windowsize\0".to_vec();
    bytes.extend_from_slice(windowsize.as_bytes());
    bytes.push(0);
    bytes
}

impl World {
    /// `clients` transfers, each with its first window in flight.
    fn new(clients: usize, windowsize: &str) -> Self {
        // A fixed rate that nothing reaches: the steps are measured, not the wire.
        let config = Config {
            rate: Rate::Fixed(u64::MAX),
            ..Config::default()
        };
        let listener = Listener {
            socket: SocketId(0),
            transfer_sockets: 1..17,
        };
        let mut world = World {
            endpoint: Endpoint::new(config, vec![listener], [1; 32]),
            now: Time::from_nanos(1_000_000_000),
            clients: Vec::new(),
        };
        let request = request(windowsize);
        for number in 0..clients {
            world
                .endpoint
                .handle_datagram(world.now, path(number), &request, &mut Endless);
            let Some(offer) = world.endpoint.poll_transmit(world.now) else {
                panic!("an OACK")
            };
            let path = offer.path;
            world.clients.push((path, 0));
            world.step(number);
        }
        while world.endpoint.poll_event().is_some() {}
        world
    }

    /// A client acknowledges its last block; its next window leaves.
    fn step(&mut self, number: usize) {
        self.now = self.now + Duration::from_micros(2);
        let (path, block) = &mut self.clients[number];
        let [high, low] = block.to_be_bytes();
        self.endpoint
            .handle_datagram(self.now, *path, &[0, 4, high, low], &mut Endless);
        while let Some(transmit) = self.endpoint.poll_transmit(self.now) {
            if let Payload::Train(train) = transmit.payload {
                *block = train
                    .rollover
                    .number(train.first)
                    .0
                    .wrapping_add(train.count - 1);
                black_box(train.block(0));
            }
        }
    }
}

fn endpoint(criterion: &mut Criterion) {
    for clients in [1, 10_000] {
        for windowsize in ["1", "16"] {
            let mut world = World::new(clients, windowsize);
            let mut number = 0;
            let name = format!("ack to train/windowsize {windowsize}, {clients} transfers");
            criterion.bench_function(&name, |b| {
                b.iter(|| {
                    number = (number + 7919) % clients;
                    world.step(number);
                });
            });
        }
        criterion.bench_function(&format!("request to oack/{clients} transfers"), |b| {
            let request = request("16");
            b.iter_batched_ref(
                || World::new(clients, "16"),
                |world| {
                    let path = path(60_000);
                    world
                        .endpoint
                        .handle_datagram(world.now, path, &request, &mut Endless);
                    black_box(world.endpoint.poll_transmit(world.now).is_some())
                },
                BatchSize::LargeInput,
            );
        });
    }
    criterion.bench_function("timers/a turn without any due, 10,000 transfers", |b| {
        let mut world = World::new(10_000, "16");
        b.iter(|| {
            world.endpoint.handle_timeout(world.now);
            world.endpoint.poll_timeout()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = endpoint
}
criterion_main!(benches);
