//! The bare sender: what one core pays to send DATA and do nothing else, in CPU seconds for each 10^9 octets.
//!
//! Headers and slices of memory leave by `sendmsg` to 64 sockets in turn, 16 blocks a send (UDP GSO) or one block a
//! send. Somebody reads them on the other core, so that what is measured includes the delivery to a socket, as
//! with a real server on loopback; the sender waits for him between rounds, asleep. There is no ACK, no request, no
//! state. Only the sender's thread is counted.
//!
//! `--wire-ready` lays headers and blocks out once, one behind the other, and sends each train as one piece of memory:
//! what copying the image into the form of the wire would gain over naming its slices.
//!
//! Its sockets are connected, each to one receiver. `--unconnected` names the receiver with each send, as a server does that has
//! a few sockets for all clients: what connected sockets would gain.
//!
//! The reader knows where the next packet comes, and asks for it. `--watched` has it wait for all sockets at once (epoll), as
//! who stands for many clients must: then each packet that arrives costs its sender a notice, too.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use daybreak_bench::peers::floor::Floor;
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use rustix::event::{Timespec, epoll};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg, sendmsg, sendmsg_addr};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

const BLKSIZE: usize = 1428;
const HEADER: usize = 4;
const SOCKETS: usize = 64;
/// Rounds of one train to each socket that may wait in the receivers' buffers.
const ROUNDS_AHEAD: usize = 2;
/// Receive buffer of a socket, in octets: far more than those rounds.
const RECEIVE_BYTES: usize = 1 << 20;
/// How long the reader waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of the file: more than a cache holds, like real ones.
const FILE_BYTES: usize = 16 << 20;

/// A socket, and to whom it sends if it is not connected.
type Source = (UdpSocket, Option<SocketAddr>);

#[derive(Debug, Parser)]
struct Args {
    /// Blocks of one send
    #[arg(long, default_value_t = 16)]
    blocks: usize,
    /// Octets to send
    #[arg(long, default_value_t = 1 << 30)]
    bytes: usize,
    /// Send trains that lie ready in memory, headers included
    #[arg(long)]
    wire_ready: bool,
    /// Name the receiver with each send
    #[arg(long, conflicts_with = "wire_ready")]
    unconnected: bool,
    /// Send to a reader that waits for all its sockets at once, as the generator does
    #[arg(long)]
    watched: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!((1..=44).contains(&args.blocks), "--blocks must be 1 to 44");
    let rounds = args.bytes.div_ceil(args.blocks * BLKSIZE * SOCKETS);
    let mut pairs = Vec::new();
    for _ in 0..SOCKETS {
        let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        set_socket_recv_buffer_size_force(&sink, RECEIVE_BYTES).context("root is needed")?;
        sink.set_read_timeout(Some(PATIENCE))?;
        let source = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let receiver = sink.local_addr()?;
        let receiver = match args.unconnected {
            true => Some(receiver),
            false => source.connect(receiver).map(|()| None)?,
        };
        if args.blocks > 1 {
            setsockopt(&source, UdpGsoSegment, &i32::try_from(HEADER + BLKSIZE)?)?;
        }
        pairs.push(((source, receiver), sink));
    }
    let (sources, sinks): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let (read, reads) = mpsc::channel();
    let blocks = args.blocks;
    let reader = thread::spawn(move || {
        // Where there is one core only, they share it.
        pin(1).ok();
        match args.watched {
            true => watch(&sinks, blocks, rounds, &read),
            false => take(&sinks, blocks, rounds, &read),
        }
    });
    pin(0).ok();
    let cpu = cpu_s();
    let sent = match args.wire_ready {
        true => send_ready(&sources, blocks, rounds, &reads),
        false => send(&sources, blocks, rounds, &reads),
    };
    let cpu = cpu_s() - cpu;
    let Ok(taken) = reader.join() else {
        bail!("the reader died");
    };
    // A reader that has given up is why the sender had to.
    taken.and(sent)?;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let gigabytes = (rounds * SOCKETS * blocks * BLKSIZE) as f64 / 1e9;
    let floor = Floor {
        blocks,
        watched: args.watched,
        cpu_s_per_gb: cpu / gigabytes,
    };
    println!("{}", serde_json::to_string(&floor)?);
    Ok(())
}

/// Sends one train to each socket a round.
fn send(
    sources: &[Source],
    blocks: usize,
    rounds: usize,
    reads: &mpsc::Receiver<()>,
) -> Result<()> {
    let file: Vec<u8> = (0..FILE_BYTES).map(|at| (at % 251) as u8).collect();
    let mut slices = file.chunks_exact(BLKSIZE).cycle();
    let headers: Vec<[u8; HEADER]> = (0..blocks)
        .map(|block| [0, 3, 0, u8::try_from(block).unwrap_or(0)])
        .collect();
    let mut train = Vec::with_capacity(2 * blocks);
    for round in 0..rounds {
        if round >= ROUNDS_AHEAD {
            reads.recv()?;
        }
        for (source, receiver) in sources {
            train.clear();
            for (header, slice) in headers.iter().zip(&mut slices) {
                train.extend([IoSlice::new(header), IoSlice::new(slice)]);
            }
            let mut nothing = SendAncillaryBuffer::default();
            let none = SendFlags::empty();
            let sent = match receiver {
                Some(receiver) => sendmsg_addr(source, receiver, &train, &mut nothing, none)?,
                None => sendmsg(source, &train, &mut nothing, none)?,
            };
            ensure!(sent == blocks * (HEADER + BLKSIZE), "a send was cut short");
        }
    }
    Ok(())
}

/// The same of trains that lie ready.
fn send_ready(
    sources: &[Source],
    blocks: usize,
    rounds: usize,
    reads: &mpsc::Receiver<()>,
) -> Result<()> {
    let train_bytes = blocks * (HEADER + BLKSIZE);
    let file: Vec<u8> = (0..FILE_BYTES).map(|at| (at % 251) as u8).collect();
    let mut trains = file.chunks_exact(train_bytes).cycle();
    for round in 0..rounds {
        if round >= ROUNDS_AHEAD {
            reads.recv()?;
        }
        for ((source, _), train) in sources.iter().zip(&mut trains) {
            let mut nothing = SendAncillaryBuffer::default();
            let train = [IoSlice::new(train)];
            let sent = sendmsg(source, &train, &mut nothing, SendFlags::empty())?;
            ensure!(sent == train_bytes, "a send was cut short");
        }
    }
    Ok(())
}

/// Reads what was sent, in its order, and says so after each round.
fn take(sinks: &[UdpSocket], blocks: usize, rounds: usize, read: &mpsc::Sender<()>) -> Result<()> {
    let mut packet = [0; HEADER + BLKSIZE];
    for _ in 0..rounds {
        for sink in sinks {
            for _ in 0..blocks {
                let mut nothing = rustix::net::RecvAncillaryBuffer::default();
                let mut into = [IoSliceMut::new(&mut packet)];
                recvmsg(sink, &mut into, &mut nothing, RecvFlags::empty())
                    .context("a packet was lost")?;
            }
        }
        // The sender is done with sending when nobody listens any more.
        read.send(()).ok();
    }
    Ok(())
}

/// The same, wherever something has come: the generator's way to read.
fn watch(sinks: &[UdpSocket], blocks: usize, rounds: usize, read: &mpsc::Sender<()>) -> Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (at, sink) in sinks.iter().enumerate() {
        sink.set_nonblocking(true)?;
        let which = epoll::EventData::new_u64(at as u64);
        epoll::add(&epoll, sink, which, epoll::EventFlags::IN)?;
    }
    let patience = Timespec::try_from(PATIENCE)?;
    let mut events = Vec::with_capacity(sinks.len());
    let mut packet = [0; HEADER + BLKSIZE];
    let (mut packets, mut said) = (0, 0);
    while said < rounds {
        let room = rustix::buffer::spare_capacity(&mut events);
        let ready = epoll::wait(&epoll, room, Some(&patience))?;
        ensure!(ready > 0, "a packet was lost");
        for event in events.drain(..) {
            let sink = &sinks[usize::try_from(event.data.u64())?];
            for _ in 0..blocks {
                match sink.recv(&mut packet) {
                    Ok(_) => packets += 1,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // The sender sends in rounds, so that many packets are at least so many rounds.
        while said < packets / (blocks * sinks.len()) {
            read.send(()).ok();
            said += 1;
        }
    }
    Ok(())
}

fn pin(core: usize) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
}

/// CPU time of this thread.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default().as_secs_f64()
}
