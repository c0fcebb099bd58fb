//! The sockets of ProxyDHCP, and the thread that answers on them: apart from the packets of boots.
//!
//! For each interface one socket takes what is sent to everybody on port 67. It is bound to the broadcast address, so that a
//! DHCP server of this very machine gets a copy of it, and keeps for itself what is sent to it alone: renewals, and what relays pass on. Only
//! where the operator says that there is no such server, another takes what relays send to us. A third is the boot server's (4011). And
//! one hears what clients are offered by others (68, to everybody), so that the log tells of other servers like this one.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::Time;
use rustix::event::{PollFd, PollFlags, poll};

use super::request::is_hosts;
use super::{
    Answer, BOOT_SERVER_PORT, CLIENT_PORT, Firmware, ProxyDhcp, SERVER_PORT, Server, Silence, Way,
    is_proxy_offer, react,
};
use crate::clock::Clock;
use crate::io::{LinkDatagram, LinkSocket};
use crate::limits::{
    DHCP_BATCH, DHCP_DATAGRAM_BYTES_MAX, DHCP_IN_ALL_A_SECOND_MAX, DHCP_OTHERS_MAX,
};
use crate::notice::{Notice, Notices, Told};
use crate::per_second::PerSecond;
use crate::published::Published;
use crate::quiet::{Cause, Quiet};
use crate::refusal::StartError;
use crate::tally::Tally;

/// An interface that is answered on.
#[derive(Debug)]
pub struct Interface {
    name: String,
    broadcast: LinkSocket,
    relayed: Option<LinkSocket>,
    boot_server: LinkSocket,
    /// Not there, if a DHCP client of this machine keeps the port for itself.
    clients: Option<LinkSocket>,
}

/// What the thread works with.
#[derive(Debug)]
pub struct Serving {
    /// Of all workers.
    pub clock: Clock,
    /// What there is to boot, and who is who.
    pub published: Arc<Published>,
    /// Who takes which address.
    pub notices: Notices,
    /// What is counted.
    pub tally: Arc<Tally>,
    /// Where the files are by HTTP, too.
    pub http_port: Option<u16>,
}

/// Binds on every interface that is wanted.
///
/// # Errors
/// The first port that cannot be had.
pub fn bind(wanted: &ProxyDhcp) -> Result<Vec<Interface>, StartError> {
    let interfaces = wanted.interfaces.iter();
    interfaces
        .map(|name| {
            let interface = Interface::bind(name, wanted.relayed)?;
            tracing::info!(interface = name, "answering PXE clients (ProxyDHCP)");
            Ok(interface)
        })
        .collect()
}

/// Which socket something came to.
#[derive(Clone, Copy)]
enum Door {
    Broadcast,
    Relayed,
    BootServer,
    Clients,
}

impl Interface {
    fn bind(name: &str, relayed: bool) -> Result<Self, StartError> {
        let socket = |address, port, shared| {
            let bound = LinkSocket::bind(name, SocketAddrV4::new(address, port), shared);
            bound.map_err(|source| StartError::ProxyDhcp {
                interface: name.to_owned(),
                port,
                source,
            })
        };
        let any = Ipv4Addr::UNSPECIFIED;
        let relays = || socket(any, SERVER_PORT, true);
        Ok(Interface {
            name: name.to_owned(),
            broadcast: socket(Ipv4Addr::BROADCAST, SERVER_PORT, true)?,
            relayed: relayed.then(relays).transpose()?,
            boot_server: socket(any, BOOT_SERVER_PORT, false)?,
            clients: socket(Ipv4Addr::BROADCAST, CLIENT_PORT, true).ok(),
        })
    }

    fn doors(&self) -> impl Iterator<Item = (&str, Door, &LinkSocket)> {
        let relayed = self.relayed.as_ref().map(|socket| (Door::Relayed, socket));
        let clients = self.clients.as_ref().map(|socket| (Door::Clients, socket));
        let doors = [
            (Door::Broadcast, &self.broadcast),
            (Door::BootServer, &self.boot_server),
        ];
        doors
            .into_iter()
            .chain(relayed)
            .chain(clients)
            .map(|(door, socket)| (self.name.as_str(), door, socket))
    }
}

impl Door {
    /// How a datagram came; `None`: not by the way that this socket is for.
    fn way(self, datagram: &LinkDatagram) -> Option<Way> {
        let to_us = datagram.destination == datagram.local;
        match self {
            Door::Broadcast => datagram
                .destination
                .is_broadcast()
                .then_some(Way::Broadcast),
            Door::Relayed => to_us.then_some(Way::Relayed),
            // A machine without an address, or port 0, could not be answered.
            Door::BootServer => {
                let from = datagram.source;
                let answerable = is_hosts(*from.ip()) && from.port() != 0;
                (to_us && answerable).then_some(Way::BootServer(from))
            }
            // Those who listen there do not answer.
            Door::Clients => None,
        }
    }
}

/// Answers until the process ends.
pub fn serve(interfaces: &[Interface], serving: &Serving) {
    let doors: Vec<_> = interfaces.iter().flat_map(Interface::doors).collect();
    let mut waiting: Vec<_> = doors
        .iter()
        .map(|(_, _, socket)| PollFd::new(socket, PollFlags::IN))
        .collect();
    let mut talker = Talker {
        serving,
        quiet: Quiet::default(),
        allowed: PerSecond::new(DHCP_IN_ALL_A_SECOND_MAX),
        others: Vec::new(),
    };
    loop {
        if poll(&mut waiting, None).is_err() {
            // A signal, or a moment without memory.
            std::thread::park_timeout(Duration::from_millis(1));
            continue;
        }
        for ((interface, door, socket), waiting) in doors.iter().zip(&waiting) {
            if !waiting.revents().is_empty() {
                talker.drain(interface, *door, socket);
            }
        }
    }
}

struct Talker<'s> {
    serving: &'s Serving,
    quiet: Quiet,
    allowed: PerSecond,
    /// Other servers like this one, which were told of.
    others: Vec<Ipv4Addr>,
}

impl Talker<'_> {
    fn drain(&mut self, interface: &str, door: Door, socket: &LinkSocket) {
        let mut room = [0; DHCP_DATAGRAM_BYTES_MAX];
        for _ in 0..DHCP_BATCH {
            match socket.receive(&mut room) {
                Ok(Some(datagram)) if matches!(door, Door::Clients) => {
                    if self.allowed.lets(self.serving.clock.now()) {
                        self.look_at_offer(interface, &datagram, &room);
                    }
                }
                Ok(Some(datagram)) => {
                    Tally::add(&self.serving.tally.proxy_dhcp_datagrams, 1);
                    let now = self.serving.clock.now();
                    if !self.allowed.lets(now) {
                        Tally::add(&self.serving.tally.proxy_dhcp_over_limit, 1);
                        continue;
                    }
                    match door.way(&datagram) {
                        Some(way) => self.handle(now, interface, socket, way, &datagram, &room),
                        None => Tally::add(&self.serving.tally.proxy_dhcp_not_ours, 1),
                    }
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // The interface is down, or of an answer that somebody refused: no reason to turn without pause.
                    std::thread::park_timeout(Duration::from_millis(1));
                    return;
                }
            }
        }
    }

    /// Another server like this one is told of once: clients boot from either, and whoever did not expect it wants to know.
    fn look_at_offer(&mut self, interface: &str, datagram: &LinkDatagram, room: &[u8]) {
        let other = *datagram.source.ip();
        let known = other == datagram.local || self.others.contains(&other);
        if known || self.others.len() >= DHCP_OTHERS_MAX || !is_proxy_offer(&room[..datagram.len]) {
            return;
        }
        self.others.push(other);
        tracing::info!(
            interface, %other,
            "another server answers PXE clients here, too (ProxyDHCP): they boot from either"
        );
    }

    fn handle(
        &self,
        now: Time,
        interface: &str,
        socket: &LinkSocket,
        way: Way,
        datagram: &LinkDatagram,
        room: &[u8],
    ) {
        let Serving {
            published,
            notices,
            tally,
            http_port,
            ..
        } = self.serving;
        if !is_hosts(datagram.local) {
            Tally::add(&tally.proxy_dhcp_send_errors, 1);
            if let Some(suppressed) = self.quiet.lets(Cause::ProxyDhcpUnsent, now) {
                tracing::warn!(
                    interface,
                    suppressed,
                    "ProxyDHCP: no answers, as the interface has no IPv4 address to name"
                );
            }
            return;
        }
        let server = Server {
            address: datagram.local,
            http_port: *http_port,
        };
        let catalog = published.catalog();
        let reaction = react(&room[..datagram.len], way, server, &catalog);
        if let Some((address, mac)) = reaction.learned {
            notices.put(Notice {
                now,
                client: address.into(),
                server: Some(server.address.into()),
                what: Told::Takes(mac),
            });
        }
        let answer = match reaction.answer {
            Ok(answer) => answer,
            Err(silence) => return self.stay_silent(now, interface, &silence),
        };
        match socket.send(&answer.octets, answer.to, server.address) {
            Ok(()) => self.tell(now, interface, way, &answer),
            Err(why) => {
                Tally::add(&tally.proxy_dhcp_send_errors, 1);
                if let Some(suppressed) = self.quiet.lets(Cause::ProxyDhcpUnsent, now) {
                    tracing::warn!(interface, %why, suppressed, "ProxyDHCP answer not sent");
                }
            }
        }
    }

    fn tell(&self, now: Time, interface: &str, way: Way, answer: &Answer) {
        let count = match way {
            Way::Broadcast | Way::Relayed => &self.serving.tally.proxy_dhcp_offers,
            Way::BootServer(_) => &self.serving.tally.proxy_dhcp_acknowledgements,
        };
        Tally::add(count, 1);
        if let Some(suppressed) = self.quiet.lets(Cause::BootFileNamed, now) {
            let Answer { mac, file, .. } = answer;
            tracing::info!(interface, client = %mac, file, suppressed, "ProxyDHCP: boot file named");
        }
    }

    fn stay_silent(&self, now: Time, interface: &str, silence: &Silence) {
        let tally = &self.serving.tally;
        match silence {
            Silence::Malformed => Tally::add(&tally.proxy_dhcp_malformed, 1),
            Silence::NotOurs | Silence::NotOurWay => Tally::add(&tally.proxy_dhcp_not_ours, 1),
            Silence::StandsBy => {
                Tally::add(&tally.proxy_dhcp_not_ours, 1);
                if let Some(suppressed) = self.quiet.lets(Cause::NothingToBoot, now) {
                    tracing::info!(
                        interface,
                        suppressed,
                        "ProxyDHCP: no answer, as the licences say that the other server alone boots terminals"
                    );
                }
            }
            Silence::NothingToBoot(client, firmware) => {
                Tally::add(&tally.proxy_dhcp_nothing_to_boot, 1);
                if let Some(suppressed) = self.quiet.lets(Cause::NothingToBoot, now) {
                    let wanted = match firmware {
                        Firmware::Ipxe => "a script: boot/<mac>.ipxe of a terminal, or boot.ipxe",
                        Firmware::Http(_) if self.serving.http_port.is_none() => {
                            "HTTP: say with --http-boot-port where the files are"
                        }
                        Firmware::Pxe(_) | Firmware::Http(_) => {
                            "a boot program: import one, or name it in boot/loaders"
                        }
                    };
                    tracing::warn!(
                        interface, %client, ?firmware, wanted, suppressed,
                        "ProxyDHCP: nothing to boot for a client"
                    );
                }
            }
        }
    }
}
