//! What happens in a world, in its order; and where a test may put its hand in.

use std::net::SocketAddr;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Audit, Path, Train};

use super::driver::Sending;
use super::host::Lease;
use super::packet::Body;

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A datagram arrives at a socket of the server.
    ToServer(Path, Body),
    /// A datagram arrives at a client's port, from a port of the server or of a stranger.
    ToTerminal(SocketAddr, SocketAddr, Body),
    /// The server's driver has its turn.
    Turn,
    /// The server's timer.
    ServerTimer,
    /// A client's timer.
    TerminalTimer(usize),
    /// A client is switched on, at the same port as before or not.
    Boot(usize, bool),
    /// A client loses power.
    PowerCycle(usize, bool),
    /// Another generation is published.
    Publish,
    /// A stranger sends something.
    Intrude,
    /// The faults end.
    Heal,
}

/// An event, when it happens, and its place among those of the same moment.
#[derive(Debug)]
pub(super) struct Scheduled(pub(super) Time, pub(super) u64, pub(super) Event);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// Where a tampering hand may reach: what a broken server would do, to see that a monitor fails.
pub enum Stage<'a, 'b> {
    /// The server hears this.
    Hears(Path, &'a [u8]),
    /// The server sends these; the observer has not seen them yet.
    Sends(&'a mut Vec<Sending>),
    /// The observer has seen it, the wire has not.
    Wire(&'a mut Body),
    /// A train leaves, and its image is read.
    Leaves(&'a mut Train<'b, Lease>),
    /// The server's books are checked.
    Books(&'a mut Audit),
}

/// See [`Stage`].
pub type Tamper = Box<dyn FnMut(Stage<'_, '_>)>;
