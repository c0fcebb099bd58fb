//! The status port: one socket and one thread, apart from the packets of boots.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::status::{DATAGRAM_BYTES, PORT};
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::Clock;
use crate::journal::wall_ms;
use crate::limits::{REPORTS_IN_ALL_A_SECOND_MAX, STATUS_RECEIVE_BYTES};
use crate::notice::{Notice, Notices, Told};
use crate::per_second::PerSecond;
use crate::published::Published;
use crate::reports::Reports;
use crate::tally::Tally;

/// What the thread works with.
#[derive(Debug)]
pub struct Serving {
    /// Of all workers.
    pub clock: Clock,
    /// Who is who.
    pub published: Arc<Published>,
    /// What is told.
    pub notices: Notices,
    /// What is counted.
    pub tally: Arc<Tally>,
}

/// Binds to `address`; without one to [`PORT`] of every address, IPv6 and IPv4, or IPv4 alone where there is no other.
///
/// # Errors
/// Those of bind(2).
pub fn bind(address: Option<SocketAddr>) -> io::Result<UdpSocket> {
    match address {
        Some(address) => bind_one(address),
        None => {
            bind_one((Ipv6Addr::UNSPECIFIED, PORT).into()).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse => Err(error),
                _ => bind_one((Ipv4Addr::UNSPECIFIED, PORT).into()),
            })
        }
    }
}

fn bind_one(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // Less than asked for costs reports in a flood, which come again.
    let _ = socket.set_recv_buffer_size(STATUS_RECEIVE_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Answers until the process ends.
pub fn serve(socket: &UdpSocket, serving: &Serving) {
    let mut reports = Reports::new(wall_ms(), serving.tally.clone());
    // One octet more than the longest: what is longer is told from it.
    let mut datagram = [0; DATAGRAM_BYTES + 1];
    let mut allowed = PerSecond::new(REPORTS_IN_ALL_A_SECOND_MAX);
    loop {
        let Ok((len, source)) = socket.recv_from(&mut datagram) else {
            // Of an answer that somebody refused, or of a moment without memory.
            std::thread::park_timeout(Duration::from_millis(1));
            continue;
        };
        let now = serving.clock.now();
        if !allowed.lets(now) {
            Tally::add(&serving.tally.status_over_limit, 1);
            std::thread::park_timeout(allowed.rest(now));
            continue;
        }
        let client = source.ip().to_canonical();
        let catalog = serving.published.catalog();
        let reaction = reports.handle(now, client, &datagram[..len], &catalog);
        if let Some(answer) = reaction.answer {
            // Lost, the terminal reports again.
            let _ = socket.send_to(&answer, source);
        }
        if let Some((mac, report)) = reaction.event {
            serving.notices.put(Notice {
                now,
                client,
                server: None,
                what: Told::Reported(mac, report),
            });
        }
    }
}
