//! Sees every datagram that the server hears and sends, and knows from them alone what may come next.
//!
//! It shares no code with what it watches: it reads octets, keeps a [`Session`] for each pair of a client's
//! port and a server's port, and fails by the number of the invariant.

pub mod session;
pub mod terms;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Config, Ended, Outcome, Path};
use daybreak_tftp::limits;

use super::failure::{Check, check};
use super::host::{Lease, Opening};
use super::packet::{Block, Body};

pub use session::{Over, Session};

/// What a datagram is to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A request, or something that begins like one.
    Request,
    /// An ERROR of a client that has a transfer: never answered. What waited behind its transfer may leave.
    Error,
    /// An ACK of a transfer that runs.
    Ours,
    /// Anything else: it may bring one ERROR, and changes nothing.
    Foreign,
    /// An ERROR of anybody else: it brings nothing, and changes nothing.
    StrangeError,
}

/// See the module.
#[derive(Debug)]
pub struct Observer {
    config: Config,
    sessions: HashMap<(SocketAddr, u16), Session>,
    /// Opened, and nothing sent yet: the server's port is not known.
    pending: HashMap<SocketAddr, Session>,
    /// The server's port of a client's last transfer.
    latest: HashMap<SocketAddr, u16>,
    /// The generations that were opened for a client's port.
    generations: HashMap<SocketAddr, Vec<u8>>,
    /// Transfers opened, replaced before anything was sent, and reported as ended.
    opened: u64,
    unseen: u64,
    ended: u64,
    half_open: HashMap<IpAddr, u32>,
    /// Who may get an ERROR until the end of this turn.
    askers: Vec<Path>,
    unknown: (u64, u32),
}

impl Observer {
    /// An observer of a server with these settings.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Observer {
            config,
            sessions: HashMap::new(),
            pending: HashMap::new(),
            latest: HashMap::new(),
            generations: HashMap::new(),
            opened: 0,
            unseen: 0,
            ended: 0,
            half_open: HashMap::new(),
            askers: Vec::new(),
            unknown: (0, 0),
        }
    }

    /// The transfer between a client's port and a socket of the server.
    #[must_use]
    pub fn session(&self, remote: SocketAddr, socket: u16) -> Option<&Session> {
        self.sessions.get(&(remote, socket))
    }

    /// The generations that were opened for a client's port, oldest first.
    #[must_use]
    pub fn generations(&self, remote: SocketAddr) -> Vec<u8> {
        self.generations.get(&remote).cloned().unwrap_or_default()
    }

    /// A datagram is about to be handed to the server.
    pub fn hears(&mut self, now: Time, path: Path, octets: &[u8]) -> Heard {
        let kind = octets.get(..2);
        let live = self
            .session(path.remote, path.socket.0)
            .is_some_and(|session| session.over.is_none());
        if kind == Some(&[0, 5]) {
            if octets.len() >= 4 {
                self.change(path, Session::heard_error);
            }
            return if live {
                Heard::Error
            } else {
                Heard::StrangeError
            };
        }
        self.askers.push(path);
        if matches!(kind, Some([0, 1 | 2])) {
            return Heard::Request;
        }
        let &[0, 4, high, low, ..] = octets else {
            return Heard::Foreign;
        };
        let number = u16::from_be_bytes([high, low]);
        self.change(path, |session| session.heard_ack(now, number));
        if live { Heard::Ours } else { Heard::Foreign }
    }

    /// The datagram that was handed over was a request: whether a file was opened for it.
    ///
    /// # Errors
    /// T9: more half-open transfers of a source than allowed.
    pub fn answers(
        &mut self,
        now: Time,
        path: Path,
        request: &[u8],
        opening: Option<Opening>,
        round_trip: Duration,
    ) -> Check {
        let remote = path.remote;
        let Some(opening) = opening else {
            let latest = self.latest.get(&remote).copied();
            let known = match self.pending.get_mut(&remote) {
                Some(pending) => Some(pending),
                None => latest.and_then(|socket| self.sessions.get_mut(&(remote, socket))),
            };
            if let Some(session) = known {
                session.repeated(request);
            }
            return Ok(());
        };
        self.replace(remote);
        self.opened += 1;
        let generations = self.generations.entry(remote).or_default();
        generations.push(opening.key.generation);
        generations.dedup();
        let terms = terms::expected(request, opening.len, &self.config);
        let session = Session::new(now, opening, request, terms, round_trip);
        self.pending.insert(remote, session);
        let half_open = self.half_open.entry(remote.ip()).or_default();
        *half_open += 1;
        let most = self.config.half_open_per_source_max;
        check("T9", *half_open <= most, || {
            format!("{half_open} half-open transfers of {}", remote.ip())
        })
    }

    /// A client has asked anew from the same port: its transfer before that is over.
    fn replace(&mut self, remote: SocketAddr) {
        if self.pending.remove(&remote).is_some() {
            self.close_half(remote.ip());
            self.unseen += 1;
        }
        if let Some(&socket) = self.latest.get(&remote) {
            self.change_at(remote, socket, |session| {
                session.over.get_or_insert(Over::Replaced);
            });
        }
    }

    fn close_half(&mut self, source: IpAddr) {
        if let Some(half_open) = self.half_open.get_mut(&source) {
            *half_open -= 1;
        }
    }

    fn change(&mut self, path: Path, change: impl FnOnce(&mut Session)) {
        self.change_at(path.remote, path.socket.0, change);
    }

    fn change_at(&mut self, remote: SocketAddr, socket: u16, change: impl FnOnce(&mut Session)) {
        let Some(session) = self.sessions.get_mut(&(remote, socket)) else {
            return;
        };
        let before = session.is_half_open();
        change(session);
        if before && !session.is_half_open() {
            self.close_half(remote.ip());
        }
    }

    /// The server sends a datagram.
    ///
    /// # Errors
    /// The invariant that it breaks.
    pub fn sends(&mut self, now: Time, path: Path, body: &Body) -> Check {
        match body {
            Body::Block(block) => self.sends_block(now, path, block),
            Body::Octets(octets) if octets.starts_with(&[0, 6]) => {
                let session = self.bind(path)?;
                session.sent_oack(now, octets)
            }
            Body::Octets(octets) if octets.starts_with(&[0, 5]) => {
                self.sends_error(now, path, octets)
            }
            Body::Octets(octets) => check("T12", false, || format!("a server sends {octets:?}")),
        }
    }

    fn sends_block(&mut self, now: Time, path: Path, block: &Block) -> Check {
        self.bind(path)?.sent_block(now, block)
    }

    /// The transfer that a datagram belongs to. The first one of a transfer shows its port.
    fn bind(&mut self, path: Path) -> Result<&mut Session, super::Failure> {
        let key = (path.remote, path.socket.0);
        if let Some(pending) = self.pending.remove(&path.remote) {
            self.latest.insert(path.remote, path.socket.0);
            self.sessions.insert(key, pending);
        }
        let session = self.sessions.get_mut(&key);
        check("T5", session.is_some(), || {
            format!("{path:?} has never asked, and gets a packet")
        })?;
        let session = session.expect("checked above");
        let asked = session.opening.path.local;
        check("T5", asked == path.local, || {
            format!("asked at {asked:?}, answered from {:?}", path.local)
        })?;
        Ok(session)
    }

    fn sends_error(&mut self, now: Time, path: Path, octets: &[u8]) -> Check {
        let code = u16::from_be_bytes([octets[2], octets[3]]);
        let terminated = octets.last() == Some(&0) && octets.len() <= 4 + 128 + 1;
        let text = octets.get(4..octets.len() - 1).unwrap_or(&[]);
        let printable = text.iter().all(|&b| b == b' ' || b.is_ascii_graphic());
        check("T12", terminated && printable, || {
            format!("an ERROR that is not well formed: {octets:?}")
        })?;
        if code == 5 {
            let second = now.as_nanos() / 1_000_000_000;
            if self.unknown.0 != second {
                self.unknown = (second, 0);
            }
            self.unknown.1 += 1;
            let most = 2 * limits::UNKNOWN_TID_PER_SECOND_MAX;
            check("T5", self.unknown.1 <= most, || {
                format!("{} ERROR 5 in a second", self.unknown.1)
            })?;
        }
        if let Some(at) = self.askers.iter().position(|asker| *asker == path) {
            self.askers.swap_remove(at);
            if code != 0 {
                return Ok(());
            }
        }
        let live = self
            .session(path.remote, path.socket.0)
            .is_some_and(|session| session.over.is_none());
        self.change(path, Session::dismissed);
        check("T5", live, || {
            format!("ERROR {code} to {path:?}, which asked nothing")
        })
    }

    /// The server has nothing more to send for what it has heard.
    pub fn turn_ends(&mut self) {
        self.askers.clear();
    }

    /// The endpoint says that a transfer ended.
    ///
    /// # Errors
    /// T1, T5 or T7, if the wire says otherwise.
    pub fn ends(&mut self, now: Time, ended: &Ended<Lease>) -> Check {
        self.ended += 1;
        check("T7", self.ended <= self.opened, || {
            format!("{} ends of {} transfers", self.ended, self.opened)
        })?;
        let remote = ended.path.remote;
        let Some(session) = self
            .sessions
            .get_mut(&(remote, ended.path.socket.0))
            .filter(|session| !session.reported)
        else {
            // It ended before anything of it was sent.
            if ended.outcome != Outcome::Replaced && self.pending.remove(&remote).is_some() {
                self.close_half(remote.ip());
                self.unseen += 1;
            }
            check("T7", self.unseen > 0, || format!("{ended:?} is unknown"))?;
            self.unseen -= 1;
            return Ok(());
        };
        check("T1", ended.file.key == session.key, || {
            format!("{:?} ended, pinned was {:?}", ended.file.key, session.key)
        })?;
        let one_port = session.opening.path.socket == ended.path.socket;
        let again = session
            .again(now)
            .filter(|_| ended.outcome == Outcome::Replaced && one_port);
        let before = session.is_half_open();
        let (acknowledged, resent) = (ended.bytes_acknowledged, ended.blocks_resent);
        session.ended(now, ended.outcome, acknowledged, resent)?;
        let after = session.is_half_open();
        if before && !after {
            self.close_half(remote.ip());
        }
        if let Some(again) = again {
            self.opened += 1;
            *self.half_open.entry(remote.ip()).or_default() += 1;
            self.pending.insert(remote, again);
        }
        Ok(())
    }

    /// Transfers that were opened, and how many of them the endpoint has reported as ended.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        (self.opened, self.ended)
    }
}
