//! A plant: two boot servers in networks of their own, the link between them, and clients who reach both whatever becomes of the
//! link.
//!
//! ```text
//!        clients
//!       /       \
//!     a ── link ── b
//! ```
//!
//! Or both the second server and the clients are at the other end of the only wire of the first, which has a rate:
//!
//! ```text
//!     a ── wire ── clients and b
//! ```
//!
//! A wire is one of the kernel. The link is cut as links are cut: unplugged, which both ends see; or silent, both ways or one way, which
//! nobody sees: frames leave for a card that is not there. All of it is gone with the value, or with the test.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::host::{Host, Private};
use crate::pair::Server;

/// The names of the servers.
const NAMES: [&str; 2] = ["a", "b"];
/// The ends of their wires at the clients.
const WIRES: [&str; 2] = ["to-a", "to-b"];
/// The hardware addresses of the two ends of the link.
const CARDS: [&str; 2] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"];
/// A card that is nowhere.
const NOWHERE: &str = "02:00:00:00:00:ff";

/// How a link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// No cable.
    Unplugged,
    /// Nothing arrives, and nothing says so.
    Silent,
    /// What this server sends does not arrive.
    From(usize),
}

/// See the module.
#[derive(Debug)]
pub struct Plant {
    clients: Arc<Host>,
    servers: [Arc<Host>; 2],
    /// Where each server is for the clients, and for the other one.
    addresses: [[Ipv4Addr; 2]; 2],
}

impl Default for Plant {
    fn default() -> Self {
        Plant::new()
    }
}

impl Plant {
    /// Networks, with the link whole.
    ///
    /// # Panics
    /// If the system refuses one; the message says what to do.
    #[must_use]
    pub fn new() -> Plant {
        let clients = Arc::new(Host::new(Private::Network));
        let servers = NAMES.map(|_| Arc::new(clients.beside()));
        for (at, server) in servers.iter().enumerate() {
            clients.link(WIRES[at], server, "clients");
            clients.connect(WIRES[at], &format!("10.78.{}.2/24", at + 1));
            server.connect("clients", &format!("10.78.{}.1/24", at + 1));
        }
        servers[0].link("cable", &servers[1], "cable");
        for (at, server) in servers.iter().enumerate() {
            server.run("ip", &["link", "set", "cable", "address", CARDS[at]]);
            server.connect("cable", &format!("10.78.0.{}/24", at + 1));
        }
        let addresses = [[[1, 1], [0, 1]], [[2, 1], [0, 2]]];
        let plant = Plant {
            clients,
            servers,
            addresses: addresses
                .map(|both| both.map(|[net, host]| Ipv4Addr::new(10, 78, net, host))),
        };
        plant.heal();
        plant
    }

    /// Networks with one wire, of which the end of the first server has this queue, in the words of `tc`.
    ///
    /// # Panics
    /// If the system refuses one; the message says what to do.
    #[must_use]
    pub fn on_one_wire(queue: &[&str]) -> Plant {
        let clients = Arc::new(Host::new(Private::Network));
        let server = Arc::new(clients.beside());
        clients.link(WIRES[0], &server, "wire");
        clients.connect(WIRES[0], "10.78.1.2/24");
        server.connect("wire", "10.78.1.1/24");
        let root = ["qdisc", "add", "dev", "wire", "root"];
        server.run("tc", &[&root[..], queue].concat());
        let addresses = [1, 2].map(|host| [Ipv4Addr::new(10, 78, 1, host); 2]);
        Plant {
            servers: [server, Arc::clone(&clients)],
            clients,
            addresses,
        }
    }

    /// Where the clients are.
    #[must_use]
    pub fn clients(&self) -> &Host {
        &self.clients
    }

    /// Sets a server up at its place: the first or the second.
    #[must_use]
    pub fn server(&self, at: usize) -> Server {
        let [clients, link] = self.addresses[at];
        Server::inside(NAMES[at], &self.servers[at], clients.into(), link.into())
    }

    /// Cuts the link, from whole.
    pub fn cut(&self, how: Cut) {
        match how {
            Cut::Unplugged => drop(self.servers[0].run("ip", &["link", "set", "cable", "down"])),
            Cut::Silent => (0..2).for_each(|from| self.direct(from, NOWHERE)),
            Cut::From(from) => self.direct(from, NOWHERE),
        }
    }

    /// Makes the link whole.
    pub fn heal(&self) {
        self.servers[0].run("ip", &["link", "set", "cable", "up"]);
        for from in 0..2 {
            self.direct(from, CARDS[1 - from]);
        }
    }

    /// The card that gets what this server sends over the link.
    fn direct(&self, from: usize, card: &str) {
        let other = self.addresses[1 - from][1].to_string();
        let neighbour = ["neigh", "replace", &other, "lladdr", card];
        let link = ["dev", "cable", "nud", "permanent"];
        self.servers[from].run("ip", &[&neighbour[..], &link].concat());
    }
}
