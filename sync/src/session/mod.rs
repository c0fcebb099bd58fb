//! One server's side of the pair: what to say to the other, and what to make of what it says.
//!
//! A [`Session`] lives as long as the pairing, over any number of connections. Time comes in as an argument; the database
//! and the store are a [`Host`]; messages come in whole ([`Frames`](crate::wire::Frames)) and go out of
//! [`Session::poll_transmit`]. The connection keeps order, loses nothing within itself, and is only the peer's.
//!
//! Everything is asked for by whoever needs it: the answering side keeps no state but a short queue of requests.
//! Invariants: nothing is acknowledged before the host said that it is on the disk; an object is written after the
//! images that it names; what was read of the other's log counts only when all of it, up to one moment, is written.

mod fetch;
mod greet;
mod pull;
mod serve;
mod status;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::host::{Host, HostError};
use crate::limits::{EVENTS_MAX, OUTBOX_MAX, PING_EVERY, SILENCE_MAX};
use crate::policy::{Mode, Refusal, Role};
use crate::wire::{Malformed, Message, VERSIONS};
use crate::{Book, Head, ImageRef, ObjectKey};

use fetch::Fetcher;
use greet::Peer;
use pull::Puller;
use serve::Server;

pub(crate) use pull::later;
pub use status::{PeerStatus, Progress, State, Status};

/// The time, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since an origin of the driver's choice; it never runs back.
    pub time: Duration,
    /// Milliseconds since 1970, as far as the wall clock knows.
    pub wall_ms: u64,
}

/// What an operator or a licence decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Off: nothing is said but that it is.
    pub enabled: bool,
    /// How the servers share the work.
    pub mode: Mode,
    /// Which of the two this is.
    pub role: Role,
    /// The name of this server, for people.
    pub name: String,
    /// The version of its software, for people.
    pub software: String,
    /// The peer was replaced in its pair, whatever it says: it is only asked, and what is new becomes a conflict.
    pub replaced: bool,
    /// Octets of images per second, each way; zero: no bound.
    pub rate: u64,
    /// The versions of the messages that it speaks.
    pub versions: RangeInclusive<u16>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enabled: true,
            mode: Mode::Full,
            role: Role::Primary,
            name: String::new(),
            software: String::new(),
            replaced: false,
            rate: 0,
            versions: VERSIONS,
        }
    }
}

/// What happened, for the log, the audit and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The state is another.
    State(State),
    /// Objects were changed as the peer said.
    Applied {
        /// How many.
        objects: usize,
    },
    /// This object was changed on both; the later is in force, the other is kept.
    Conflict(ObjectKey),
    /// An object had too many values: so many of those that had lost are gone.
    Dropped {
        /// Which object.
        key: ObjectKey,
        /// How many.
        values: usize,
    },
    /// This server had told the peer of changes that its disk does not hold any more.
    TailLost {
        /// What the peer has heard of.
        told: Head,
        /// What is here.
        found: Head,
    },
    /// An image came, whole.
    Fetched(ImageRef),
    /// The peer does not have this image, or not whole. It is asked for again.
    Unavailable(ImageRef),
    /// Both have taken in the same and hold something else: everything is compared.
    Unequal,
    /// The clocks differ by so many milliseconds; positive: the peer's is ahead.
    Skew(i64),
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    config: Config,
    book: Book,
    conflicts: usize,
    link: Option<Link>,
    puller: Puller,
    fetcher: Fetcher,
    server: Server,
    /// Why it stopped, until the next connection says otherwise.
    refused: Option<Refusal>,
    trouble: Option<String>,
    /// The last peer, also while there is no connection.
    peer: Option<Peer>,
    confirmed: Head,
    last_in_sync_ms: Option<u64>,
    shown: State,
    events: VecDeque<Event>,
    events_lost: u64,
}

/// A connection.
#[derive(Debug)]
struct Link {
    /// The version that both speak, once it is known.
    version: Option<u16>,
    greeted: bool,
    heard_at: Duration,
    sent_at: Duration,
    /// When this session was last called.
    awake_at: Duration,
    outbox: VecDeque<Message>,
    /// The books have changed since the peer was told.
    heads_due: bool,
    closing: bool,
    /// The peer said nothing for so long that it will not hear anything either.
    silent: bool,
    /// An unexplained difference was looked at: once for each connection.
    compared: bool,
    skew_told: bool,
}

impl Link {
    /// This session is called. Whoever was not for longer than it asked for was kept, by a slow disk, say, and has heard nothing
    /// meanwhile: that is not the peer's silence.
    fn wake(&mut self, now: Duration) {
        self.heard_at += now.saturating_sub(self.awake_at + PING_EVERY);
        self.awake_at = self.awake_at.max(now);
    }
}

impl Session {
    /// A session without a connection.
    ///
    /// # Errors
    /// The host's.
    pub fn new<H: Host>(config: Config, host: &mut H) -> Result<Self, HostError> {
        let book = host.book()?;
        let rate = config.rate;
        let mut session = Session {
            conflicts: host.conflicts()?,
            confirmed: book.confirmed,
            config,
            book,
            link: None,
            puller: Puller::default(),
            fetcher: Fetcher::new(rate),
            server: Server::new(rate),
            refused: None,
            trouble: None,
            peer: None,
            last_in_sync_ms: None,
            shown: State::WaitingForPeer,
            events: VecDeque::new(),
            events_lost: 0,
        };
        session.shown = session.state();
        Ok(session)
    }

    /// Other settings. What they change is said at once.
    pub fn configure(&mut self, now: Now, config: Config) {
        self.fetcher.set_rate(config.rate);
        self.server.set_rate(config.rate);
        let before = core::mem::replace(&mut self.config, config);
        let same = Config {
            rate: self.config.rate,
            ..before
        } == self.config;
        let open = self.link.as_ref().is_some_and(|link| !link.closing);
        match (same, self.config.enabled) {
            (false, true) if open => self.greet(now),
            (false, false) if open => self.say_off(),
            _ => {}
        }
        self.show(now);
    }

    /// There is a connection to the peer.
    pub fn connected<H: Host>(&mut self, now: Now, host: &mut H) {
        self.disconnected(now);
        self.link = Some(Link {
            version: None,
            greeted: false,
            heard_at: now.time,
            sent_at: now.time,
            awake_at: now.time,
            outbox: VecDeque::new(),
            heads_due: false,
            closing: false,
            silent: false,
            compared: false,
            skew_told: false,
        });
        if !self.config.enabled {
            self.say_off();
        } else if self.refresh(now, host) {
            self.greet(now);
        }
        self.show(now);
    }

    /// There is none any more.
    pub fn disconnected(&mut self, now: Now) {
        self.link = None;
        self.puller.interrupt();
        self.fetcher.interrupt();
        self.server.clear();
        self.show(now);
    }

    /// An operator's change is on the disk.
    pub fn changed<H: Host>(&mut self, now: Now, host: &mut H) {
        self.refresh(now, host);
        self.show(now);
    }

    /// An image is missing here that some object names: it was damaged, or restored without.
    pub fn want_image<H: Host>(&mut self, now: Now, image: ImageRef, host: &mut H) {
        self.fetcher.want(image);
        self.go_on(now, host);
    }

    /// Takes a whole message.
    pub fn handle<H: Host>(&mut self, now: Now, octets: &[u8], host: &mut H) {
        let Some(link) = &mut self.link else {
            return;
        };
        if link.closing {
            return;
        }
        link.wake(now.time);
        link.heard_at = now.time;
        match Message::decode(octets, &self.config.versions) {
            Ok(message) => self.hear(now, message, host),
            Err(malformed) => self.misread(now, octets, malformed),
        }
        self.go_on(now, host);
    }

    /// What the peer says beside the session is of a version that is not spoken here.
    pub fn misheard(&mut self, now: Now) {
        if self.link.as_ref().is_some_and(|link| !link.closing) {
            self.refuse(Refusal::Version);
            self.show(now);
        }
    }

    fn misread(&mut self, now: Now, octets: &[u8], malformed: Malformed) {
        if !matches!(malformed, Malformed::Version(_)) {
            return self.refuse(Refusal::Malformed);
        }
        // Said in a version that is not spoken here. If there is another, it will be said again.
        let theirs = Message::versions_of_hello(octets);
        match theirs.and_then(|theirs| self.agree(theirs)) {
            Some(version) => self.greet_in(now, version),
            None => self.refuse(Refusal::Version),
        }
    }

    fn hear<H: Host>(&mut self, now: Now, message: Message, host: &mut H) {
        match message {
            Message::Hello(hello) => self.hear_hello(now, hello, host),
            Message::Refuse(refusal) => {
                self.refused = Some(refusal);
                // A replaced server still answers: what only it knows is asked for.
                if refusal != Refusal::Replaced {
                    self.close();
                }
            }
            Message::Ping { wall_ms } => self.look_at_clock(now, wall_ms),
            _ if !self.is_greeted() => self.refuse(Refusal::Malformed),
            Message::Heads {
                node,
                heads,
                digest,
            } => self.hear_heads(node, heads, digest),
            Message::Ack { node, head } => self.hear_ack(now, node, head, host),
            Message::Rows(rows) => self.hear_rows(now, rows, host),
            Message::TooOld => self.hear_too_old(),
            Message::Page(page) => self.hear_page(now, page, host),
            Message::Objects {
                head,
                answered,
                rows,
            } => self.hear_objects(now, head, answered, rows, host),
            Message::Piece {
                hash,
                index,
                proof,
                octets,
            } => self.hear_piece(now, hash, index, &proof, &octets, host),
            Message::NoPiece { hash } => self.hear_no_piece(now, hash),
            request @ (Message::Pull { .. }
            | Message::Compare { .. }
            | Message::Fetch(_)
            | Message::Ask { .. }) => self.hear_request(request),
        }
    }

    /// Takes the time. To be called when it has reached [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout<H: Host>(&mut self, now: Now, host: &mut H) {
        if let Some(link) = &mut self.link {
            link.wake(now.time);
            if now.time >= link.heard_at + SILENCE_MAX {
                (link.closing, link.silent) = (true, true);
            } else if now.time >= link.sent_at + PING_EVERY {
                link.sent_at = now.time;
                link.outbox.push_back(Message::Ping {
                    wall_ms: now.wall_ms,
                });
                self.look_at_sums();
            }
        }
        self.go_on(now, host);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, at the latest. Answers wait for their own time:
    /// [`speaks_at`](Self::speaks_at).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let link = self.link.as_ref().filter(|link| !link.closing)?;
        let alive = (link.sent_at + PING_EVERY).min(link.heard_at + SILENCE_MAX);
        let others = [self.puller.poll_timeout(), self.fetcher.poll_timeout()];
        others
            .into_iter()
            .flatten()
            .chain(core::iter::once(alive))
            .min()
    }

    /// When [`poll_transmit`](Self::poll_transmit) has more to say, if nothing else happens: answers are given at a pace. It is of no
    /// use before there is room for them.
    #[must_use]
    pub fn speaks_at(&self) -> Option<Duration> {
        let link = self.link.as_ref().filter(|link| !link.closing)?;
        link.greeted.then(|| self.server.opens_at())?
    }

    /// The next message to send, whole. To be called until there is none.
    pub fn poll_transmit<H: Host>(&mut self, now: Now, host: &mut H) -> Option<Vec<u8>> {
        if let Some(link) = &mut self.link {
            link.wake(now.time);
        }
        let message = self.next_message(now, host);
        self.show(now);
        let link = self.link.as_mut()?;
        let version = link.version.unwrap_or(*self.config.versions.start());
        let message = message?;
        link.sent_at = now.time;
        Some(message.encode(version))
    }

    fn next_message<H: Host>(&mut self, now: Now, host: &mut H) -> Option<Message> {
        let link = self.link.as_mut()?;
        if let Some(message) = link.outbox.pop_front() {
            return Some(message);
        }
        if link.closing || !link.greeted {
            return None;
        }
        if core::mem::take(&mut link.heads_due) {
            return Some(Message::Heads {
                node: self.book.node,
                heads: self.book.heads.clone(),
                digest: self.book.digest,
            });
        }
        self.answer(now, host)
    }

    /// Whether the connection is to be closed, when there is nothing more to send.
    #[must_use]
    pub fn wants_close(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.closing)
    }

    /// Whether it is to be closed whatever there is to send: nobody hears it.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.silent)
    }

    /// What happened since the last call, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Events that nobody read in time.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.events_lost
    }

    /// Asks for whatever is needed next.
    fn go_on<H: Host>(&mut self, now: Now, host: &mut H) {
        if self.is_greeted() {
            self.pull_next(now, host);
            self.fetch_next(now, host);
        }
        self.show(now);
    }

    fn is_greeted(&self) -> bool {
        self.link
            .as_ref()
            .is_some_and(|link| link.greeted && !link.closing)
    }

    fn say(&mut self, message: Message) {
        let Some(link) = &mut self.link else {
            return;
        };
        if link.outbox.len() >= OUTBOX_MAX {
            link.closing = true;
            return;
        }
        link.outbox.push_back(message);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refused = Some(refusal);
        self.say(Message::Refuse(refusal));
        self.close();
    }

    /// The peer need not wait for this server.
    fn say_off(&mut self) {
        self.say(Message::Refuse(Refusal::Off));
        self.close();
    }

    fn close(&mut self) {
        if let Some(link) = &mut self.link {
            link.closing = true;
        }
    }

    /// Reads the books; the peer is to hear of them if they are others.
    fn refresh<H: Host>(&mut self, now: Now, host: &mut H) -> bool {
        let read = host.book().and_then(|book| Ok((book, host.conflicts()?)));
        match read {
            Ok((book, conflicts)) => {
                let other = (&book.heads, book.digest) != (&self.book.heads, self.book.digest);
                (self.book, self.conflicts) = (book, conflicts);
                if other && let Some(link) = &mut self.link {
                    link.heads_due = true;
                }
                true
            }
            Err(error) => {
                self.fail(now, &error);
                false
            }
        }
    }

    /// The host could not: reading starts over after a while; what is on the disk stays.
    fn fail(&mut self, now: Now, error: &HostError) {
        self.trouble = Some(error.to_string());
        self.puller.rest(now);
    }

    fn note(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
            self.events_lost += 1;
        }
        self.events.push_back(event);
    }
}
