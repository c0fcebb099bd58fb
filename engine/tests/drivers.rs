//! Both drivers, with the whole worker on them, over real sockets: what must hold whichever carries the datagrams.

mod support;

use std::fs::OpenOptions;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use daybreak_engine::binding::{self, Plan, Wanted};
use daybreak_engine::board::{self, Board};
use daybreak_engine::clock::Clock;
use daybreak_engine::files::Files;
use daybreak_engine::io::{self, Doorbell, Multishot, Parts, Portable, Uring};
use daybreak_engine::orders::{Order, Orders};
use daybreak_engine::published::Published;
use daybreak_engine::worker::{Shared, Worker};
use daybreak_store::{Name, Reader, Store};
use daybreak_tftp::endpoint::{Config, Endpoint};
use support::{Answer, Ask, Client, Step, content, eventually, fetch};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Multishot,
    /// The same, and the kernel copies nothing.
    ZeroCopy,
    Uring,
    Portable,
}

const ALL: [Kind; 4] = [Kind::Multishot, Kind::ZeroCopy, Kind::Uring, Kind::Portable];

/// One worker in a thread of this process.
struct Server {
    data: TempDir,
    addresses: Vec<SocketAddr>,
    orders: Arc<Orders>,
    doorbell: Doorbell,
    boards: [Arc<Board>; 1],
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    fn start(kind: Kind, listen: &[&str], files: &[(&str, &[u8])]) -> Self {
        Self::start_with(kind, listen, files, 4)
    }

    fn start_with(
        kind: Kind,
        listen: &[&str],
        files: &[(&str, &[u8])],
        transfer_sockets: u16,
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let mut draft = store.begin().unwrap();
        for (name, octets) in files {
            let name = Name::parse(name).unwrap();
            let len = octets.len() as u64;
            let go_on = &mut |_| std::ops::ControlFlow::Continue(());
            draft
                .import(name, &mut Cursor::new(octets), len, go_on)
                .unwrap();
        }
        draft.publish().unwrap();
        let catalog = Reader::open(data.path()).unwrap().load().unwrap();
        let wanted = |text: &&str| Wanted {
            address: text.parse().unwrap(),
            optional: false,
        };
        let plan = Plan {
            listen: listen.iter().map(wanted).collect(),
            workers: 1,
            transfer_sockets,
            dont_fragment: false,
            listener_receive_bytes: 1 << 20,
            transfer_receive_bytes: 1 << 20,
            send_bytes: 1 << 20,
        };
        let mut state = std::process::id();
        let mut bound = binding::bind(&plan, &mut || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        })
        .unwrap();
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
        let (orders, boards) = (shared.orders.clone(), [shared.board.clone()]);
        let published = Arc::new(Published::new(catalog));
        let parts = Parts {
            sockets: sockets.sockets,
            doorbell: doorbell.clone(),
            clock,
            zero_copy: kind == Kind::ZeroCopy,
        };
        let thread = std::thread::spawn(move || {
            let files = Files::new(published, shared.quiet.clone(), clock);
            let endpoint = Endpoint::new(Config::default(), sockets.listeners, [7; 32]);
            match kind {
                Kind::Portable => {
                    io::block_on(Worker::new(Portable::new(parts)?, endpoint, files, shared).run())
                }
                Kind::Multishot | Kind::ZeroCopy => {
                    io::block_on(Worker::new(Multishot::new(parts)?, endpoint, files, shared).run())
                }
                Kind::Uring => io::start(|| async {
                    Worker::new(Uring::new(parts)?, endpoint, files, shared)
                        .run()
                        .await
                })
                .map_err(std::io::Error::other)?,
            }
        });
        let addresses = bound.addresses;
        Server {
            data,
            addresses,
            orders,
            doorbell,
            boards,
            thread: Some(thread),
        }
    }

    fn give(&self, order: Order) {
        self.orders.give(order);
        self.doorbell.ring();
    }

    fn number(&self, name: &str) -> u64 {
        board::together(&self.boards)
            .filter(|(metric, _)| metric.name == name)
            .map(|(_, number)| number)
            .sum()
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.give(Order::ShutDown);
        if !std::thread::panicking() {
            self.join();
        }
    }
}

#[test]
fn every_size_arrives_whole_by_every_block_and_window() {
    let sizes = [0, 1, 511, 512, 513, 1428 * 64, 1428 * 64 + 1, 300_000];
    let files: Vec<(String, Vec<u8>)> = sizes
        .iter()
        .map(|&size| (format!("size/{size}"), content(size)))
        .collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, octets)| (&**name, &**octets))
        .collect();
    for kind in ALL {
        let server = Server::start(kind, &["127.0.0.1:0"], &files);
        for (name, octets) in &files {
            for (blksize, windowsize) in [
                (512, 1),
                (1428, 16),
                (1428, 64),
                (8, 3),
                (1024, 64),
                (65_464, 2),
            ] {
                if octets.len() > 100_000 && blksize == 8 {
                    continue;
                }
                let ask = Ask::octet(name).blksize(blksize).windowsize(windowsize);
                let Answer::File(got, from) = fetch(server.addresses[0], &ask) else {
                    panic!("{kind:?} {ask:?}");
                };
                assert!(got == *octets, "{kind:?} {ask:?}: content");
                assert_ne!(from, server.addresses[0], "a TID of its own");
            }
        }
        assert_eq!(server.number("driver_trains_refused"), 0, "{kind:?}");
        assert_eq!(server.number("driver_send_errors"), 0, "{kind:?}");
        // T8: what was lent is given back; and the trains were cut as the kernel wants them.
        assert_eq!(
            server.number("driver_zero_copy_sends") > 0,
            kind == Kind::ZeroCopy,
        );
        eventually("no lease at rest", || {
            (server.number("driver_zero_copy_leases") == 0).then_some(())
        });
        assert_eq!(server.number("driver_zero_copy_refused"), 0, "{kind:?}");
    }
}

#[test]
fn r6_replies_leave_from_the_address_that_was_asked() {
    let octets = content(10_000);
    for kind in ALL {
        let server = Server::start(kind, &["0.0.0.0:0", "[::]:0"], &[("a", &octets)]);
        for ip in ["127.0.0.1", "127.0.0.2", "127.9.8.7", "::1"] {
            let ip: std::net::IpAddr = ip.parse().unwrap();
            let port = server.addresses[usize::from(ip.is_ipv6())].port();
            let server = SocketAddr::new(ip, port);
            for windowsize in [1, 8] {
                let ask = Ask::octet("a").windowsize(windowsize);
                let Answer::File(got, from) = fetch(server, &ask) else {
                    panic!("{kind:?} {server}")
                };
                assert_eq!(got, octets);
                assert_eq!(from.ip(), ip, "{kind:?}");
            }
        }
    }
}

#[test]
fn c01_single_port_mode_answers_from_the_listening_port() {
    let octets = content(100_000);
    for kind in ALL {
        let server = Server::start_with(kind, &["127.0.0.1:0", "[::1]:0"], &[("a", &octets)], 0);
        for &address in &server.addresses {
            let answer = fetch(address, &Ask::octet("a").windowsize(16));
            assert_eq!(answer, Answer::File(octets.clone(), address), "{kind:?}");
        }
    }
}

#[test]
fn c31_a_request_to_a_broadcast_address_is_ignored() {
    for kind in ALL {
        let server = Server::start(kind, &["0.0.0.0:0"], &[("a", b"x")]);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_broadcast(true).unwrap();
        let port = server.addresses[0].port();
        socket
            .send_to(b"\0\x01a\0octet\0", ("127.255.255.255", port))
            .unwrap();
        eventually("ignored", || {
            (server.number("driver_datagrams_ignored") == 1).then_some(())
        });
        assert_eq!(server.number("requests"), 0);
        // And the next one, to us alone, is answered.
        let asked = SocketAddr::from(([127, 0, 0, 1], port));
        assert!(
            matches!(fetch(asked, &Ask::octet("a")), Answer::File(..)),
            "{kind:?}"
        );
    }
}

#[test]
fn a_burst_of_requests_is_answered_to_the_last() {
    let octets = content(3000);
    for kind in ALL {
        let server = Server::start(kind, &["127.0.0.1:0"], &[("a", &octets)]);
        let mut clients: Vec<Client> = (0..400)
            .map(|_| Client::new(server.addresses[0]).patience(Duration::from_secs(5)))
            .collect();
        for client in &mut clients {
            client.ask(&Ask::octet("a").blksize(1428));
        }
        for client in clients {
            assert!(
                matches!(client.finish(), Answer::File(got, _) if got == octets),
                "{kind:?}"
            );
        }
    }
}

/// The file of the only image of a data directory.
fn image_file(data: &Path) -> std::path::PathBuf {
    let mut found: Vec<_> = std::fs::read_dir(data.join("images"))
        .unwrap()
        .map(|shard| shard.unwrap().path())
        .filter(|shard| !shard.ends_with("partial"))
        .flat_map(|shard| {
            std::fs::read_dir(shard)
                .unwrap()
                .map(|file| file.unwrap().path())
        })
        .collect();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn a_file_truncated_from_outside_fails_its_transfer_and_nothing_else() {
    use std::os::unix::fs::PermissionsExt;
    let octets = content(4 << 20);
    for kind in ALL {
        for windowsize in [1, 16] {
            // What is small lies in the catalog, so that only one image file is there.
            let server = Server::start(kind, &["127.0.0.1:0"], &[("big", &octets)]);
            let mut client = Client::new(server.addresses[0]).patience(Duration::from_secs(5));
            client.ask(&Ask::octet("big").blksize(1428).windowsize(windowsize));
            while client.content.len() < 100_000 {
                assert_eq!(client.step(), Step::More);
            }
            let file = image_file(server.data.path());
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
            OpenOptions::new()
                .write(true)
                .open(&file)
                .unwrap()
                .set_len(4096)
                .unwrap();
            let answer = client.finish();
            assert!(
                matches!(&answer, Answer::Refused(0, text) if text.contains("cannot be read")),
                "{kind:?}: {answer:?}"
            );
            assert_eq!(server.number("transfers_failed"), 1, "{kind:?}");
            assert!(server.number("driver_send_errors") >= 1, "{kind:?}");
            // The engine lives, and answers what it still has.
            let answer = fetch(server.addresses[0], &Ask::octet("no/such/file"));
            assert_eq!(
                answer,
                Answer::Refused(1, "file not found".into()),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn names_are_found_in_any_case_and_without_the_folder_of_one_client() {
    let files: [(&str, &[u8]); 3] = [
        ("boot/Kernel.img", b"kernel"),
        ("aa-bb-cc-dd-ee-ff/config.txt", b"its own"),
        ("config.txt", b"shared"),
    ];
    for kind in ALL {
        let server = Server::start(kind, &["127.0.0.1:0"], &files);
        let ask = |name: &str| fetch(server.addresses[0], &Ask::octet(name));
        for (name, octets) in [
            ("boot/Kernel.img", &b"kernel"[..]),
            ("\\BOOT\\\\kernel.IMG", b"kernel"),
            ("/./boot//Kernel.img", b"kernel"),
            ("01-02-03-04-05-06/config.txt", b"shared"),
            ("10.0.0.7/boot/kernel.img", b"kernel"),
        ] {
            assert!(
                matches!(ask(name), Answer::File(got, _) if got == octets),
                "{kind:?} {name}"
            );
        }
        for (name, code) in [
            ("nothing", 1),
            ("boot/", 1),
            ("boot/../config.txt", 2),
            ("c:/config.txt", 2),
        ] {
            assert!(
                matches!(ask(name), Answer::Refused(got, _) if got == code),
                "{kind:?} {name}"
            );
        }
        assert_eq!(server.number("names_not_found"), 1);
    }
}

#[test]
fn c15_netascii_is_converted_and_too_large_a_file_says_what_to_do() {
    let large = vec![b'\n'; (8 << 20) + 1];
    for kind in ALL {
        let server = Server::start(
            kind,
            &["127.0.0.1:0"],
            &[("text", b"a\nb\rc"), ("large", &large)],
        );
        let ask = |name| Ask {
            mode: "netascii",
            ..Ask::octet(name)
        };
        let Answer::File(got, _) = fetch(server.addresses[0], &ask("text")) else {
            panic!("{kind:?}")
        };
        assert_eq!(got, b"a\r\nb\r\0c");
        let answer = fetch(server.addresses[0], &ask("large"));
        assert!(
            matches!(&answer, Answer::Refused(0, text) if text.contains("octet")),
            "{answer:?}"
        );
    }
}

#[test]
fn draining_finishes_what_runs_and_begins_nothing() {
    let octets = content(200_000);
    for kind in ALL {
        let mut server = Server::start(kind, &["127.0.0.1:0"], &[("a", &octets)]);
        let mut client = Client::new(server.addresses[0]).patience(Duration::from_secs(5));
        client.ask(&Ask::octet("a"));
        assert_eq!(client.step(), Step::More);
        server.give(Order::Drain);
        // The order is heard before the next request.
        eventually("heard", || {
            let mut late = Client::new(server.addresses[0]).patience(Duration::from_millis(20));
            late.ask(&Ask::octet("a"));
            (late.finish() == Answer::Silence).then_some(())
        });
        assert!(
            matches!(client.finish(), Answer::File(got, _) if got == octets),
            "{kind:?}"
        );
        // The worker ends by itself; a hang here is the failure.
        server.join();
    }
}

#[test]
fn shutting_down_tells_the_clients() {
    let octets = content(200_000);
    for kind in ALL {
        let mut server = Server::start(kind, &["127.0.0.1:0"], &[("a", &octets)]);
        let mut client = Client::new(server.addresses[0]).patience(Duration::from_secs(5));
        client.ask(&Ask::octet("a"));
        assert_eq!(client.step(), Step::More);
        server.give(Order::ShutDown);
        server.join();
        let answer = client.finish();
        assert!(
            matches!(&answer, Answer::Refused(0, text) if text.contains("shutting down")),
            "{answer:?}"
        );
    }
}

/// Turns of a bare driver that sends back what comes; each datagram must say whose it is.
async fn echo(mut driver: impl io::Driver, expected: usize, locals: &[SocketAddr]) {
    let mut got = 0;
    let mut waiting = std::collections::VecDeque::new();
    while got < expected || !waiting.is_empty() {
        driver
            .turn(None, &mut |path, datagram| {
                let text = std::str::from_utf8(datagram).unwrap();
                let (from, to) = text.split_once(' ').unwrap();
                assert_eq!(path.remote.to_string(), from);
                assert_eq!(locals[usize::from(path.socket.0)].to_string(), to);
                waiting.push_back((path, datagram.to_vec()));
                got += 1;
            })
            .await
            .unwrap();
        while driver.has_room()
            && let Some((path, text)) = waiting.pop_front()
        {
            driver.send_packet(path, &text);
        }
    }
    driver.close().await;
    assert_eq!(driver.counters().sends, expected as u64);
}

#[test]
fn every_datagram_keeps_its_sender_and_socket_both_ways() {
    const SENDERS: usize = 100;
    const ROUNDS: usize = 100;
    for kind in ALL {
        let options = io::SocketOptions {
            receive_bytes: 64 << 20,
            send_bytes: 1 << 20,
            dont_fragment: false,
        };
        let sockets: Arc<[io::Socket]> = (0..4)
            .map(|_| {
                let any = "127.0.0.1:0".parse().unwrap();
                io::Socket::bind(any, io::Sharing::Alone, &options)
                    .unwrap()
                    .0
            })
            .collect();
        let locals: Vec<SocketAddr> = sockets.iter().map(io::Socket::local).collect();
        let parts = Parts {
            sockets: sockets.clone(),
            doorbell: Doorbell::new().unwrap(),
            clock: Clock::start(),
            zero_copy: kind == Kind::ZeroCopy,
        };
        let targets = locals.clone();
        let clients = std::thread::spawn(move || {
            let clients: Vec<std::net::UdpSocket> = (0..SENDERS)
                .map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap())
                .collect();
            for round in 0..ROUNDS {
                for (n, client) in clients.iter().enumerate() {
                    let to = targets[(n + round) % targets.len()];
                    let text = format!("{} {to}", client.local_addr().unwrap());
                    client.send_to(text.as_bytes(), to).unwrap();
                }
            }
            for client in &clients {
                client
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                for _ in 0..ROUNDS {
                    let mut text = [0; 128];
                    let (len, from) = client.recv_from(&mut text).unwrap();
                    let expected = format!("{} {from}", client.local_addr().unwrap());
                    assert_eq!(std::str::from_utf8(&text[..len]).unwrap(), expected);
                }
            }
        });
        match kind {
            Kind::Portable => {
                let driver = Portable::new(parts).unwrap();
                io::block_on(echo(driver, SENDERS * ROUNDS, &locals));
            }
            Kind::Multishot | Kind::ZeroCopy => {
                let driver = Multishot::new(parts).unwrap();
                io::block_on(echo(driver, SENDERS * ROUNDS, &locals));
            }
            Kind::Uring => io::start(|| async {
                echo(Uring::new(parts).unwrap(), SENDERS * ROUNDS, &locals).await;
            })
            .unwrap(),
        }
        clients.join().unwrap();
        assert_eq!(
            sockets.iter().map(io::Socket::drops).sum::<u32>(),
            0,
            "{kind:?}"
        );
    }
}
