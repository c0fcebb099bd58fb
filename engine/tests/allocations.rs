//! In the steady state nothing is allocated: not by the protocol, not by a driver, not for a packet.
//!
//! One worker and one client in lock-step share this process and its counting allocator.

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use daybreak_engine::binding::{self, Plan, Wanted};
use daybreak_engine::clock::Clock;
use daybreak_engine::files::Files;
use daybreak_engine::io::{self, Doorbell, Multishot, Parts, Portable, Uring};
use daybreak_engine::orders::Order;
use daybreak_engine::published::Published;
use daybreak_engine::worker::{Shared, Worker};
use daybreak_store::{Name, Reader, Store};
use daybreak_tftp::endpoint::{Config, Endpoint};
use daybreak_tftp::wire::{BlockNumber, OptionKind, emit_ack, emit_request};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

const WARM_UP: u16 = 2_000;
const MEASURED: u16 = 20_000;

/// A transfer that goes on: its socket, and where from.
struct Transfer {
    socket: UdpSocket,
    server: SocketAddr,
    windowsize: u16,
    acknowledged: u16,
}

impl Transfer {
    fn begin(server: SocketAddr, windowsize: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut packet = [0; 512];
        let options = [(OptionKind::Windowsize, windowsize.into())];
        let len = emit_request(b"f", "octet", &options, &mut packet).unwrap();
        socket.send_to(&packet[..len], server).unwrap();
        let (_, server) = socket.recv_from(&mut packet).unwrap();
        Transfer {
            socket,
            server,
            windowsize,
            acknowledged: 0,
        }
    }

    /// Takes `blocks` more, without an allocation of its own. What is sent again on a slow machine is passed over.
    fn take(&mut self, blocks: u16) {
        let mut packet = [0; 600];
        let end = self.acknowledged + blocks;
        while self.acknowledged < end {
            let ack = emit_ack(BlockNumber(self.acknowledged));
            self.socket.send_to(&ack, self.server).unwrap();
            let window_end = self.acknowledged + self.windowsize;
            while self.acknowledged < window_end {
                self.socket.recv_from(&mut packet).unwrap();
                let next = self.acknowledged + 1;
                if packet[2..4] == next.to_be_bytes() {
                    self.acknowledged = next;
                }
            }
        }
    }
}

/// Runs a worker in a thread of its own while the transfers are taken from it.
fn allocations_with<D, W>(zero_copy: bool, work: W) -> usize
where
    W: FnOnce(Parts, Endpoint<io::Content>, Files, Shared) -> D + Send + 'static,
    D: Send + 'static,
{
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let mut draft = store.begin().unwrap();
    let octets = vec![7; 512 * 30_000];
    let go_on = &mut |_| std::ops::ControlFlow::Continue(());
    let len = octets.len() as u64;
    let name = Name::parse("f").unwrap();
    draft
        .import(name, &mut std::io::Cursor::new(octets), len, go_on)
        .unwrap();
    draft.publish().unwrap();
    let catalog = Reader::open(data.path()).unwrap().load().unwrap();
    let plan = Plan {
        listen: vec![Wanted {
            address: "127.0.0.1:0".parse().unwrap(),
            optional: false,
        }],
        workers: 1,
        transfer_sockets: 4,
        dont_fragment: false,
        listener_receive_bytes: 1 << 20,
        transfer_receive_bytes: 1 << 20,
        send_bytes: 1 << 20,
    };
    let mut bound = binding::bind(&plan, &mut || 9).unwrap();
    let sockets = bound.workers.remove(0);
    let (clock, doorbell) = (Clock::start(), Doorbell::new().unwrap());
    let shared = Shared {
        orders: Arc::default(),
        board: Arc::default(),
        quiet: Arc::default(),
        clock,
        notices: daybreak_engine::notice::Notices::default(),
        boots: daybreak_engine::boots::Boots::default(),
    };
    let orders = shared.orders.clone();
    let parts = Parts {
        sockets: sockets.sockets,
        doorbell: doorbell.clone(),
        clock,
        zero_copy,
    };
    let published = Arc::new(Published::new(catalog));
    let worker = std::thread::spawn(move || {
        let files = Files::new(published, shared.quiet.clone(), clock);
        let endpoint = Endpoint::new(Config::default(), sockets.listeners, [7; 32]);
        work(parts, endpoint, files, shared);
    });
    let mut transfers = [1, 16].map(|windowsize| Transfer::begin(bound.addresses[0], windowsize));
    for transfer in &mut transfers {
        transfer.take(WARM_UP);
    }
    let before = ALLOCATOR.stats();
    for transfer in &mut transfers {
        transfer.take(MEASURED);
    }
    let after = ALLOCATOR.stats();
    orders.give(Order::ShutDown);
    doorbell.ring();
    worker.join().unwrap();
    after.allocations + after.reallocations - before.allocations - before.reallocations
}

// One test, not four: the allocator counts for the whole process.
#[test]
fn nothing_is_allocated_for_a_packet() {
    let multishot = allocations_with(false, |parts, endpoint, files, shared| {
        let driver = Multishot::new(parts).unwrap();
        io::block_on(Worker::new(driver, endpoint, files, shared).run()).unwrap();
    });
    let zero_copy = allocations_with(true, |parts, endpoint, files, shared| {
        let driver = Multishot::new(parts).unwrap();
        io::block_on(Worker::new(driver, endpoint, files, shared).run()).unwrap();
    });
    let portable = allocations_with(false, |parts, endpoint, files, shared| {
        let driver = Portable::new(parts).unwrap();
        io::block_on(Worker::new(driver, endpoint, files, shared).run()).unwrap();
    });
    let uring = allocations_with(false, |parts, endpoint, files, shared| {
        io::start(|| async {
            let driver = Uring::new(parts).unwrap();
            Worker::new(driver, endpoint, files, shared).run().await
        })
        .unwrap()
        .unwrap();
    });
    assert_eq!((multishot, zero_copy, portable), (0, 0, 0));
    // tokio-uring keeps each operation in flight in a slab of its own, and wakes through a queue: the figure
    // may not grow with the packets.
    let packets = 2 * usize::from(MEASURED);
    assert!(
        uring * 100 < packets,
        "{uring} allocations for {packets} packets"
    );
}
