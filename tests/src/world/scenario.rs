//! What a world is made of, before anything happens: all of it can be said in advance, and a seed says it
//! (see [`draw`](super::draw())).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::download::Profile;
use daybreak_tftp::endpoint::{Config, Listener, SocketId};

use super::host::Image;
use super::network::{Faults, Wire};

/// The server's address, where it has but one.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// A world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where its luck comes from.
    pub seed: u64,
    /// The server.
    pub server: ServerPlan,
    /// The images, by position.
    pub images: Vec<Image>,
    /// The first generation that is served.
    pub generation: u8,
    /// When another generation is published.
    pub publishes: Vec<Duration>,
    /// The clients.
    pub terminals: Vec<TerminalPlan>,
    /// The wire.
    pub wire: Wire,
    /// What goes wrong on it.
    pub faults: Faults,
    /// What goes wrong at the server's sockets.
    pub driver: DriverFaults,
    /// Strangers.
    pub intruders: Option<Intruders>,
    /// When the faults end.
    pub heal_at: Duration,
    /// The server cannot take all clients at once: some have to wait and ask again.
    pub scarce: bool,
}

/// The server.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// Its settings.
    pub config: Config,
    /// Its listeners; the first sockets are theirs, in order.
    pub listeners: Vec<Listener>,
    /// Whether the driver knows at which address a datagram arrived.
    pub local_known: bool,
    /// How long after the first datagram the driver's turn comes; zero: each datagram has a turn of its own.
    pub turn: Duration,
    /// Most sends of one turn.
    pub room: usize,
}

impl ServerPlan {
    /// A server of these settings with one listener, so many transfer sockets, and a turn for each datagram.
    #[must_use]
    pub fn new(config: Config, transfer_sockets: u16) -> Self {
        ServerPlan {
            config,
            listeners: listeners(1, transfer_sockets),
            local_known: true,
            turn: Duration::ZERO,
            room: usize::MAX,
        }
    }

    /// The port of a socket.
    #[must_use]
    pub fn port(&self, socket: SocketId) -> u16 {
        match (socket.0, usize::from(socket.0) < self.listeners.len()) {
            (0, true) => 69,
            (_, true) => 4900,
            _ => 40_000 + socket.0,
        }
    }

    /// The socket of a port, if there is one.
    #[must_use]
    pub fn socket(&self, port: u16) -> Option<SocketId> {
        let sockets = self.listeners.iter().map(|l| l.transfer_sockets.end).max();
        let count = sockets.unwrap_or(0).max(2);
        (0..count)
            .map(SocketId)
            .find(|&socket| self.port(socket) == port)
    }
}

/// So many listeners, each with so many transfer sockets (0: single-port mode).
#[must_use]
pub fn listeners(count: u16, transfer_sockets: u16) -> Vec<Listener> {
    let listener = |position: u16| Listener {
        socket: SocketId(position),
        transfer_sockets: if transfer_sockets == 0 {
            0..0
        } else {
            let start = count + position * transfer_sockets;
            start..start + transfer_sockets
        },
    };
    (0..count).map(listener).collect()
}

/// A client.
#[derive(Clone, Debug)]
pub struct TerminalPlan {
    /// What kind it is.
    pub profile: Arc<Profile>,
    /// What it boots, by the position of the image.
    pub image: usize,
    /// It asks for a file that does not exist instead.
    pub absent: bool,
    /// Where it is.
    pub address: IpAddr,
    /// Whom it asks.
    pub server: SocketAddr,
    /// The way from or to the server, at least.
    pub delay: Duration,
    /// When it is switched on.
    pub on_at: Duration,
    /// When it loses power for a moment, and whether it comes back at the same port.
    pub power_cycles: Vec<(Duration, bool)>,
    /// Once done, it still answers.
    pub lingers: bool,
}

/// What goes wrong at the server's sockets, in a thousand trains.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverFaults {
    /// The kernel has no room: the train vanishes.
    pub vanish: u32,
    /// Only the first blocks of the train leave.
    pub cut: u32,
    /// The image cannot be read.
    pub unreadable: u32,
}

/// Strangers: where datagrams come from that belong to nothing.
#[derive(Clone, Debug)]
pub struct Intruders {
    /// The time between two of them, from and to.
    pub every: Range<Duration>,
    /// Some speak with the voice of a terminal.
    pub spoof: bool,
    /// Some come in floods of so many.
    pub flood: u16,
}

impl Scenario {
    /// A quiet world: clients of these kinds, switched on together, a millisecond away, fetch one image of `bytes`
    /// octets from a server as it comes.
    #[must_use]
    pub fn quiet(seed: u64, profiles: &[Profile], bytes: u64) -> Scenario {
        let terminal = |(position, profile): (u32, &Profile)| TerminalPlan {
            profile: Arc::new(profile.clone()),
            image: 0,
            absent: false,
            address: IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + position)),
            server: SocketAddr::new(SERVER, 69),
            delay: Duration::from_micros(500),
            on_at: Duration::ZERO,
            power_cycles: Vec::new(),
            lingers: true,
        };
        Scenario {
            seed,
            server: ServerPlan::new(Config::default(), 64),
            images: vec![Image { sizes: vec![bytes] }],
            generation: 0,
            publishes: Vec::new(),
            terminals: (0..).zip(profiles).map(terminal).collect(),
            wire: Wire::default(),
            faults: Faults::default(),
            driver: DriverFaults::default(),
            intruders: None,
            heal_at: Duration::ZERO,
            scarce: false,
        }
    }

    /// One client in a quiet world: a part of another one, to see whether it gets the same alone.
    #[must_use]
    pub fn alone(&self, terminal: usize, generation: u8) -> Scenario {
        let plan = &self.terminals[terminal];
        Scenario {
            generation,
            publishes: Vec::new(),
            terminals: vec![TerminalPlan {
                power_cycles: Vec::new(),
                on_at: Duration::ZERO,
                ..plan.clone()
            }],
            wire: Wire::default(),
            faults: Faults::default(),
            driver: DriverFaults::default(),
            intruders: None,
            heal_at: Duration::ZERO,
            scarce: false,
            ..self.clone()
        }
    }
}
