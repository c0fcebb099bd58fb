//! ProxyDHCP: tells PXE and HTTP-boot firmware which file to fetch from this server, beside the DHCP server that gives it its
//! address (PXE 2.1, RFC 4578).
//!
//! A client that starts asks everybody on its network (port 67); the site's DHCP server offers an address, and we offer a file. Some
//! firmware then asks once more, us alone (port 4011). A server that is dead offers nothing, so a client boots from whichever of
//! two is alive, with no change anywhere.
//!
//! Invariants: no address is ever given (`yiaddr` is zero); nobody but PXE and HTTP-boot clients is answered; an answer depends on
//! the question and the catalog alone, nothing is remembered; and what is sent where nobody could be (`ciaddr` and `giaddr` of a
//! broadcast) is not answered, so that nobody is hit by the answers to somebody else's questions.

mod loaders;
mod reply;
mod request;
mod serve;
mod wanted;

use std::net::{Ipv4Addr, SocketAddrV4};

use daybreak_store::{Catalog, Mac};

pub use request::{Architecture, Firmware, Request, is_proxy_offer};
pub use serve::{Interface, Serving, bind, serve};
pub use wanted::ProxyDhcp;

/// Where DHCP servers are asked.
pub const SERVER_PORT: u16 = 67;
/// Where clients take answers.
pub const CLIENT_PORT: u16 = 68;
/// Where PXE boot servers are asked.
pub const BOOT_SERVER_PORT: u16 = 4011;

/// How a datagram came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To everybody, on port 67.
    Broadcast,
    /// To us, by a relay, on port 67.
    Relayed,
    /// To us, on port 4011, from this address and port.
    BootServer(SocketAddrV4),
}

/// This server, as a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address on the network that the question came from.
    pub address: Ipv4Addr,
    /// Where it has the same files by HTTP, if it does.
    pub http_port: Option<u16>,
}

/// What follows from a datagram.
#[derive(Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The answer, or why there is none.
    pub answer: Result<Answer, Silence>,
    /// A client that takes this address now.
    pub learned: Option<(Ipv4Addr, Mac)>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The datagram.
    pub octets: Vec<u8>,
    /// Where it goes.
    pub to: SocketAddrV4,
    /// Who asked.
    pub mac: Mac,
    /// What it is to fetch.
    pub file: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It is no DHCP message, or contradicts itself.
    Malformed,
    /// It is for the DHCP server: no PXE or HTTP-boot client, or nothing that we offer.
    NotOurs,
    /// A relay's question where only neighbours are answered, or the reverse.
    NotOurWay,
    /// This server boots nobody: its partner does.
    StandsBy,
    /// The catalog has nothing that this firmware can boot.
    NothingToBoot(Mac, Firmware),
}

/// What follows from a datagram.
#[must_use]
pub fn react(datagram: &[u8], way: Way, server: Server, catalog: &Catalog) -> Reaction {
    let request = match Request::parse(datagram) {
        Ok(request) => request,
        Err(silence) => {
            return Reaction {
                answer: Err(silence),
                learned: None,
            };
        }
    };
    let known = request.firmware.is_some() || catalog.terminal(request.mac).is_some();
    Reaction {
        answer: answer(&request, way, server, catalog),
        // What a relay or a single sender says of addresses may come from anywhere.
        learned: request
            .takes
            .filter(|_| known && way == Way::Broadcast)
            .map(|address| (address, request.mac)),
    }
}

fn answer(
    request: &Request,
    way: Way,
    server: Server,
    catalog: &Catalog,
) -> Result<Answer, Silence> {
    let firmware = request.firmware.as_ref().ok_or(Silence::NotOurs)?;
    let kind = reply::Kind::of(request, way)?;
    if loaders::stands_by(catalog) {
        return Err(Silence::StandsBy);
    }
    let nothing = || Silence::NothingToBoot(request.mac, firmware.clone());
    let name = loaders::file(catalog, request.mac, firmware).ok_or_else(nothing)?;
    let file = match firmware {
        Firmware::Http(_) => reply::url(server, &name).ok_or_else(nothing)?,
        Firmware::Pxe(_) | Firmware::Ipxe => name,
    };
    let to = match way {
        // The client has no address yet, or none that we could know to be its own.
        Way::Broadcast => SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT),
        Way::Relayed => SocketAddrV4::new(request.relay, SERVER_PORT),
        Way::BootServer(source) => source,
    };
    Ok(Answer {
        octets: reply::emit(request, firmware, kind, server.address, &file),
        to,
        mac: request.mac,
        file,
    })
}

#[cfg(test)]
mod tests;
