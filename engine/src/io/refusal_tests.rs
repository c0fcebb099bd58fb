//! Sends that the kernel refuses, error by error: the blocks arrive all the same, by the next way, and no lease is
//! forgotten. The ring is played by the test: what is queued is answered as a kernel would.

use std::net::UdpSocket;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{
    Config, Endpoint, Host, Listener, Opened, Path, Payload, Question, Rate, Refusal, SocketId,
};
use daybreak_tftp::wire::{BlockNumber, OptionKind, emit_ack, emit_request};

use super::queue::Queue;
use super::{Content, SendError, Sharing, Socket, SocketOptions};
use crate::texts::Text;

const BLKSIZE: usize = 1428;
const BLOCKS: usize = 64;

/// Opens one file, whatever is asked.
struct One(Content);

impl Host for One {
    type File = Content;

    fn open(&mut self, _: &Question<'_>) -> Result<Opened<Content>, Refusal> {
        Ok(Opened {
            len: self.0.len(),
            file: self.0.clone(),
        })
    }
}

/// A transfer whose first window is due, and the queue that is to send it to a client.
struct Stage {
    queue: Queue,
    endpoint: Endpoint<Content>,
    host: One,
    client: UdpSocket,
    path: Path,
}

impl Stage {
    fn new(zero_copy: bool) -> Self {
        let octets: Vec<u8> = (0..BLKSIZE * BLOCKS * 4).map(|n| (n / 7) as u8).collect();
        let content = Content::text("a", Rc::new(Text::new(octets, Rc::default())));
        let options = SocketOptions {
            receive_bytes: 1 << 20,
            send_bytes: 1 << 20,
            dont_fragment: false,
        };
        let any = "127.0.0.1:0".parse().unwrap();
        let (socket, _) = Socket::bind(any, Sharing::Alone, &options).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let config = Config {
            rate: Rate::Fixed(u64::MAX),
            ..Config::default()
        };
        let listener = Listener {
            socket: SocketId(0),
            transfer_sockets: 0..0,
        };
        let path = Path {
            socket: SocketId(0),
            remote: client.local_addr().unwrap(),
            local: None,
        };
        Stage {
            queue: Queue::new(Arc::new([socket]), zero_copy),
            endpoint: Endpoint::new(config, vec![listener], [7; 32]),
            host: One(content),
            client,
            path,
        }
    }

    fn now() -> Time {
        Time::from_nanos(1_000_000_000)
    }

    /// Asks, and acknowledges what was offered.
    fn ask(&mut self) {
        let options = [
            (OptionKind::Blksize, BLKSIZE as u64),
            (OptionKind::Windowsize, BLOCKS as u64),
        ];
        let mut request = [0; 128];
        let len = emit_request(b"a", "octet", &options, &mut request).unwrap();
        for packet in [&request[..len], &emit_ack(BlockNumber(0))] {
            self.endpoint
                .handle_datagram(Self::now(), self.path, packet, &mut self.host);
            self.queue_all();
        }
    }

    /// Queues the trains that are due; the offer is left out.
    fn queue_all(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit(Self::now()) {
            if let Payload::Train(train) = transmit.payload {
                self.queue.push_train(&transmit.path, &train);
            }
        }
        // Events hold the file too.
        while self.endpoint.poll_event().is_some() {}
    }

    /// Reads the window from the client's socket.
    fn assert_window_arrived(&self, first: usize) {
        let mut datagram = [0; 2048];
        for block in first..first + BLOCKS {
            let len = self.client.recv(&mut datagram).unwrap();
            assert_eq!(len, BLKSIZE + 4, "block {block}");
            assert_eq!(datagram[2..4], (block as u16).to_be_bytes());
            let start = (block - 1) * BLKSIZE;
            let expected = (start..start + BLKSIZE).map(|n| (n / 7) as u8);
            assert!(
                datagram[4..len].iter().copied().eq(expected),
                "block {block}"
            );
        }
    }
}

#[test]
fn t8_a_refused_send_without_a_copy_leaves_with_one_and_gives_its_lease_back() {
    for errno in [
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EMSGSIZE,
        libc::EOPNOTSUPP,
        libc::EIO,
        libc::EINVAL,
    ] {
        let mut stage = Stage::new(true);
        stage.ask();
        let slots = std::mem::take(stage.queue.queued());
        // Seven to eight blocks are what fits.
        assert!(
            (BLOCKS / 8..=BLOCKS / 7 + 3).contains(&slots.len()),
            "{}",
            slots.len()
        );
        for &slot in &slots {
            assert!(stage.queue.is_zero_copy(slot));
            stage.queue.post(slot);
        }
        assert_eq!(stage.queue.leases(), slots.len() as u64);
        for &slot in &slots {
            stage.queue.settle_zero_copy(slot, errno);
        }
        stage.assert_window_arrived(1);
        // Until the kernel says so, it may read what it refused.
        assert_eq!(stage.queue.leases(), slots.len() as u64);
        for &slot in &slots {
            stage.queue.end_lease(slot, false);
        }
        assert_eq!(stage.queue.leases(), 0);
        assert_eq!(stage.queue.counters.zero_copy_refused, slots.len() as u64);
        assert_eq!(stage.queue.counters.send_errors, [0; SendError::ALL.len()]);
        assert!(!stage.queue.has_failures());

        // The next window does not try again, and leaves as long trains.
        let ack = emit_ack(BlockNumber(BLOCKS as u16));
        stage
            .endpoint
            .handle_datagram(Stage::now(), stage.path, &ack, &mut stage.host);
        stage.queue_all();
        let slots = std::mem::take(stage.queue.queued());
        assert!(!slots.is_empty() && slots.len() <= BLOCKS / 32);
        for slot in slots {
            assert!(!stage.queue.is_zero_copy(slot), "errno {errno}");
            stage.queue.finish(slot, 0);
        }
        // Nothing holds the file but the transfer and the test.
        assert_eq!(stage.host.0.handles(), 2, "errno {errno}");
    }
}

#[test]
fn t8_a_slot_is_not_used_again_before_its_lease_is_over() {
    let mut stage = Stage::new(true);
    stage.ask();
    let slots = std::mem::take(stage.queue.queued());
    for &slot in &slots {
        stage.queue.post(slot);
        stage.queue.settle_zero_copy(slot, 0);
    }
    let mut used = Vec::new();
    while stage.queue.has_room() {
        stage.queue.push_packet(&stage.path, b"packet");
        used.append(stage.queue.queued());
    }
    assert!(used.iter().all(|slot| !slots.contains(slot)));
    assert!(stage.host.0.handles() > slots.len());
    for slot in slots {
        stage.queue.end_lease(slot, true);
    }
    assert_eq!(
        stage.queue.counters.zero_copy_copied,
        stage.queue.counters.zero_copy_sends
    );
    assert!(stage.queue.has_room());
    assert_eq!(stage.host.0.handles(), 2);
}

#[test]
fn a_train_that_segmentation_offload_refuses_leaves_block_by_block_to_that_client_from_then_on() {
    for errno in [libc::EIO, libc::EMSGSIZE, libc::EINVAL] {
        let mut stage = Stage::new(false);
        stage.ask();
        let slots = std::mem::take(stage.queue.queued());
        assert!(!slots.is_empty() && slots.len() <= BLOCKS / 32);
        for &slot in &slots {
            stage.queue.post(slot);
            stage.queue.finish(slot, errno);
        }
        stage.assert_window_arrived(1);
        assert_eq!(stage.queue.counters.trains_refused, slots.len() as u64);
        // The next window is not tried as trains: it has left before anything is queued.
        let ack = emit_ack(BlockNumber(BLOCKS as u16));
        stage
            .endpoint
            .handle_datagram(Stage::now(), stage.path, &ack, &mut stage.host);
        stage.queue_all();
        assert!(stage.queue.queued().is_empty(), "errno {errno}");
        stage.assert_window_arrived(1 + BLOCKS);
        assert!(stage.queue.counters.trains_singly > 0);
        assert_eq!(stage.queue.counters.send_errors, [0; SendError::ALL.len()]);
        // A client elsewhere still gets trains.
        stage.path.remote.set_ip([127, 0, 0, 2].into());
        stage.ask();
        assert!(!stage.queue.queued().is_empty(), "errno {errno}");
    }
}
