//! The client side: one [`Download`] fetches one file as a real network-boot client would, and checks the server.
//!
//! Packets and time in, packets and octets of the file out; no socket, no clock. What makes one client differ
//! from another (options, patience, what it does with a stray block) is its [`Profile`]. It is no model
//! client on purpose: it is as stubborn, forgetful or strict as the one it stands for.
//!
//! Invariants: the octets of the file reach the sink in order and once (from offset 0 again after a restart,
//! which only a profile with restarts does); a block that is not the next one is dropped, never kept (RFC 7440
//! lets a receiver do that); a client that has not ended has exactly one timer, and one that has ended none; every
//! rule that the server breaks ends the download with a [`Violation`] that names it.

mod clients;
mod profile;
mod state;
mod verify;

pub use profile::{Abort, Probe, Profile, Schedule, Stray};
pub use verify::Violation;

use alloc::sync::Arc;
use core::net::SocketAddr;

use crate::limits;
use crate::time::Time;
use crate::wire::{self, BlockIndex, BlockNumber, ErrorCode, OptionKind, Packet};
use state::{Outbox, State, Window};

/// One file, fetched from one server by one client. About 250 octets, beside the profile and the name that
/// clients share.
#[derive(Clone, Debug)]
pub struct Download {
    profile: Arc<Profile>,
    name: Arc<[u8]>,
    server: SocketAddr,
    /// The server's transfer ID: the first that answered wins. Always at the server's address.
    peer: Option<u16>,
    state: State,
    outbox: Outbox,
    /// Raised when the client goes on from another port.
    port: LocalPort,
    probing: bool,
    restarts: u8,
    /// Position in the schedule in force.
    tries: u16,
    deadline: Option<Time>,
    /// What the caller said that the size is.
    bytes_expected: Option<u64>,
    first_data_at: Option<Time>,
    counters: Counters,
}

/// Which of its ports a client uses: the driver must give every value a port of its own, and may close that
/// of the one before. It only grows, and starts at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPort(pub u8);

/// A datagram to send now, in the buffer that was given to [`Download::poll_transmit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The server's address (a request), its transfer ID, or a stranger (see [`Profile::answers_strangers`]).
    pub to: SocketAddr,
    /// The port to send it from.
    pub port: LocalPort,
    /// Octets of the buffer that are the datagram.
    pub len: usize,
}

/// How a download ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole file arrived: its size in octets.
    Completed(u64),
    /// The server sent an ERROR.
    Refused(ErrorCode),
    /// The client's patience ended. `answered`: the server had been heard.
    TimedOut {
        /// Whether anything had come from the server.
        answered: bool,
    },
    /// The server broke a rule, or cannot serve this kind of client.
    Violated(Violation),
    /// [`Download::abort`] was called.
    Aborted,
}

/// What a client saw. Only ever grows; restarts go on counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams handed in.
    pub datagrams_in: u32,
    /// Datagrams to send, handed out.
    pub datagrams_out: u32,
    /// DATA that had arrived before.
    pub blocks_duplicate: u32,
    /// DATA from further on in the window, dropped because one before it is missing.
    pub blocks_ahead: u32,
    /// Times a wait ran out, and the client sent again (or, if it never does, waited on).
    pub retries: u32,
    /// Datagrams from another address or port than the server's, or that are no TFTP.
    pub strangers: u32,
}

/// A name or a list of options that no request can carry: a NUL in it, empty, or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no read request can carry this name: empty, longer than a request, or with a NUL in it")]
pub struct BadName;

impl Download {
    /// A client that asks `server` for `name` now: the first [`poll_transmit`](Self::poll_transmit) gives the request.
    ///
    /// # Errors
    /// [`BadName`] if the request cannot be written.
    pub fn new(
        profile: Arc<Profile>,
        name: Arc<[u8]>,
        server: SocketAddr,
        now: Time,
    ) -> Result<Self, BadName> {
        let mut scratch = [0; limits::REQUEST_BYTES_MAX];
        let mut fits = |options| wire::emit_request(&name, profile.mode, options, &mut scratch);
        let probe_fits = profile
            .probe
            .as_ref()
            .is_none_or(|probe| fits(&probe.options).is_some());
        if name.is_empty() || !probe_fits || fits(&profile.options).is_none() {
            return Err(BadName);
        }
        let probing = profile.probe.is_some();
        let mut download = Download {
            profile,
            name,
            server,
            peer: None,
            state: State::Asking,
            outbox: Outbox::default(),
            port: LocalPort(0),
            probing,
            restarts: 0,
            tries: 0,
            deadline: None,
            bytes_expected: None,
            first_data_at: None,
            counters: Counters::default(),
        };
        download.ask(now);
        Ok(download)
    }

    /// Tells the client the true size of the file, in octets: a `tsize` or an end that differs is a
    /// [`Violation`].
    pub fn expect_bytes(&mut self, bytes: u64) {
        self.bytes_expected = Some(bytes);
    }

    /// Takes a datagram that came from `from` to the port in use. Octets of the file go to `sink` with their offset;
    /// then call [`poll_transmit`](Self::poll_transmit) until it gives nothing.
    pub fn handle_datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        datagram: &[u8],
        sink: &mut impl FnMut(u64, &[u8]),
    ) {
        self.counters.datagrams_in += 1;
        let ours =
            from.ip() == self.server.ip() && self.peer.is_none_or(|peer| peer == from.port());
        let Some(packet) = Packet::parse(datagram).ok().filter(|_| ours) else {
            return self.handle_stranger(from, ours, datagram);
        };
        match (packet, &self.state) {
            (Packet::Data(number, payload), State::Receiving(_)) => {
                self.handle_data(now, number, payload, sink);
            }
            // Another number is of a transfer that this port had before.
            (Packet::Data(number @ BlockNumber(1), payload), State::Asking) => {
                self.peer = Some(from.port());
                if self.probing {
                    return self.ask_after_probe(now);
                }
                if let Some(kind) = self.profile.requires {
                    return self.violated(Violation::OptionMissing(kind));
                }
                self.state = State::Receiving(Window::new(verify::Terms::PLAIN, &self.profile));
                self.handle_data(now, number, payload, sink);
            }
            (Packet::Data(number, payload), State::Ended(Outcome::Completed(bytes), window)) => {
                let (bytes, window) = (*bytes, *window);
                self.handle_data_after_end(number, payload, bytes, &window);
            }
            (Packet::Oack(options), State::Asking) => {
                self.peer = Some(from.port());
                self.handle_oack(now, options);
            }
            (Packet::Oack(options), State::Receiving(_)) => self.handle_oack_again(options),
            (Packet::Error(code, _), State::Asking | State::Receiving(_)) => {
                self.peer = Some(from.port());
                self.handle_error(now, code);
            }
            (Packet::Rrq(_) | Packet::Wrq(_) | Packet::Ack(_), State::Receiving(_)) => {
                self.violated(Violation::NotForClients);
            }
            (_, State::Asking) => self.counters.strangers += 1,
            (_, State::Ended(..)) => {}
        }
    }

    /// Takes the passing of time. Before [`poll_timeout`](Self::poll_timeout) is reached it does nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.tries += 1;
        let Some(wait) = self.schedule().wait(self.tries) else {
            return self.give_up(
                now,
                Outcome::TimedOut {
                    answered: self.peer.is_some(),
                },
            );
        };
        self.counters.retries += 1;
        self.deadline = Some(now + wait);
        match &mut self.state {
            State::Asking => self.outbox.request = self.profile.request_copies,
            State::Receiving(window) if self.profile.resends_ack => {
                let number = window.reack();
                self.outbox.ack(number, self.profile.ack_copies);
            }
            State::Receiving(_) | State::Ended(..) => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` once the download has ended.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.deadline
    }

    /// The next datagram to send, written at the start of `buffer`; `None` when there is none.
    ///
    /// # Panics
    /// If `buffer` is shorter than [`limits::REQUEST_BYTES_MAX`].
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        assert!(
            buffer.len() >= limits::REQUEST_BYTES_MAX,
            "a request may not fit the buffer"
        );
        let mut put = |bytes: &[u8]| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        };
        let (to, port, len) = if let Some(error) = self.outbox.error.take() {
            let Abort { code, text } = error.what;
            (
                error.to,
                error.port,
                put(wire::emit_error(code, text).as_bytes()),
            )
        } else if self.outbox.acks > 0 {
            self.outbox.acks -= 1;
            if let State::Receiving(window) = &mut self.state {
                window.ack_has_left();
            }
            (
                self.peer()?,
                self.port,
                put(&wire::emit_ack(self.outbox.ack_number)),
            )
        } else if self.outbox.request > 0 {
            self.outbox.request -= 1;
            let (options, mode) = (self.asked(), self.profile.mode);
            let len = wire::emit_request(&self.name, mode, options, buffer).expect("fitted in new");
            (self.server, self.port, len)
        } else {
            return None;
        };
        self.counters.datagrams_out += 1;
        Some(Transmit { to, port, len })
    }

    /// Gives up at once, with the ERROR that this client sends then, if any.
    pub fn abort(&mut self) {
        if let Some(abort) = self.profile.abort {
            self.error(abort);
        }
        self.end(Outcome::Aborted);
    }

    /// How it ended; `None` while it runs. A later packet may still turn a completion into a violation
    /// (DATA beyond the end), and a repeated last block is still acknowledged.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Ended(outcome, _) => Some(outcome),
            State::Asking | State::Receiving(_) => None,
        }
    }

    /// When the first block of the file arrived.
    #[must_use]
    pub fn first_data_at(&self) -> Option<Time> {
        self.first_data_at
    }

    /// What was seen until now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The address that is asked.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// The server's transfer ID, once it has answered the request in force.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        let mut peer = self.server;
        peer.set_port(self.peer?);
        Some(peer)
    }

    /// Octets of the file that have arrived, of the present attempt.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self.state {
            State::Receiving(window) | State::Ended(_, window) => window.bytes,
            State::Asking => 0,
        }
    }

    /// The window that the server granted, in blocks; 1 before its answer.
    #[must_use]
    pub fn windowsize(&self) -> u16 {
        match self.state {
            State::Receiving(window) | State::Ended(_, window) => window.terms.windowsize,
            State::Asking => 1,
        }
    }

    /// The block size that the server granted, in octets; 512 before its answer.
    #[must_use]
    pub fn blksize(&self) -> u16 {
        match self.state {
            State::Receiving(window) | State::Ended(_, window) => window.terms.blksize,
            State::Asking => limits::BLKSIZE_DEFAULT,
        }
    }

    fn asked(&self) -> &[(OptionKind, u64)] {
        match &self.profile.probe {
            Some(probe) if self.probing => &probe.options,
            _ => &self.profile.options,
        }
    }

    fn schedule(&self) -> &Schedule {
        match self.state {
            State::Asking => &self.profile.request,
            State::Receiving(_) | State::Ended(..) => &self.profile.transfer,
        }
    }
}
