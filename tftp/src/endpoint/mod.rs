//! The server side: one `Endpoint` holds the transfers of one worker.
//!
//! `handle_*` take what happened and the time; `poll_*` say what to do next. A [`Transmit`] of data names an
//! image, a first block and a count, never octets: how they travel is the driver's business.
//!
//! Invariants (the simulator of `tests/` checks them on every step, by the numbers of `docs/proof.md`):
//! blocks in flight never exceed the granted window (T2); a duplicate ACK never brings DATA, and a window
//! is rewound at most once per round trip (T4); a live transfer has exactly one timer, and a finished one
//! holds no file (T7, T8); a source that never answered gets its first reply and a few tries of it (T10).

mod answer;
mod begun;
mod config;
mod events;
mod governor;
mod limiter;
mod measures;
mod receive;
mod schedule;
mod subnets;
mod table;
mod timer;
mod transfer;
mod types;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::wire::{ErrorCode, ErrorPacket, Packet, emit_error};
use crate::{Time, limits};
use begun::Begun;
use limiter::Limiter;
use schedule::{Egress, Place};
use table::{Keyed, Table};
use timer::Wheel;
use transfer::{Overdue, Phase};

pub use config::{Config, Rate};
pub use events::{Counters, Ended, Event, Outcome};
pub use subnets::{BlksizeCaps, Subnet, SubnetError};
pub use types::{
    Host, Listener, Mode, Opened, Path, Payload, Question, Refusal, SocketId, Train, TransferId,
    Transmit, Unsendable,
};

/// The server side of TFTP, for all clients of one worker. See the module.
#[derive(Debug)]
pub struct Endpoint<F> {
    config: Config,
    listeners: Vec<Listener>,
    table: Table<F>,
    timers: Wheel,
    /// The ways out, with the transfers that have something due: one for each address of ours in `ways`.
    egresses: Vec<Egress>,
    ways: Vec<Option<IpAddr>>,
    /// The way out whose turn it is.
    turn: usize,
    /// Replies that belong to no transfer.
    replies: VecDeque<(Path, ErrorPacket)>,
    /// The reply that was last handed out by `poll_transmit`.
    leaving: Option<(Path, ErrorPacket)>,
    events: VecDeque<Event<F>>,
    counters: Counters,
    unknown_tid: Limiter,
    begun: Begun,
    random: ChaCha8Rng,
    hasher: Keyed,
    last_socket: u16,
    live: usize,
    draining: bool,
    /// Slots whose timer has fired; kept for its memory only.
    due: Vec<u32>,
}

impl<F: Clone> Endpoint<F> {
    /// An endpoint without transfers. `seed` must be unpredictable: transfer IDs and hashing depend on it.
    #[must_use]
    pub fn new(mut config: Config, listeners: Vec<Listener>, seed: [u8; 32]) -> Self {
        let mut random = ChaCha8Rng::from_seed(seed);
        let mut key = [0; 16];
        random.fill_bytes(&mut key);
        let hasher = Keyed(key);
        config.blksize_max = config
            .blksize_max
            .clamp(limits::BLKSIZE_MIN, limits::BLKSIZE_MAX);
        config.windowsize_max = config.windowsize_max.max(1);
        Endpoint {
            config,
            listeners,
            table: Table::new(&hasher),
            timers: Wheel::new(),
            egresses: Vec::new(),
            ways: Vec::new(),
            turn: 0,
            replies: VecDeque::new(),
            leaving: None,
            events: VecDeque::new(),
            counters: Counters::default(),
            begun: Begun::new(&hasher),
            unknown_tid: Limiter::new(limits::UNKNOWN_TID_PER_SECOND_MAX),
            random,
            hasher,
            last_socket: u16::MAX,
            live: 0,
            draining: false,
            due: Vec::with_capacity(64),
        }
    }

    /// Takes a datagram that arrived by `path`.
    pub fn handle_datagram<H: Host<File = F>>(
        &mut self,
        now: Time,
        path: Path,
        datagram: &[u8],
        host: &mut H,
    ) {
        match Packet::parse(datagram) {
            Ok(Packet::Ack(number)) => self.handle_ack(now, path, number),
            Ok(Packet::Rrq(request)) => self.handle_request(now, path, datagram, &request, host),
            Ok(Packet::Error(code, _)) => self.handle_error(now, path, code),
            Ok(Packet::Wrq(_)) => {
                self.counters.requests_write += 1;
                self.refuse(
                    path,
                    ErrorCode::ACCESS_VIOLATION,
                    "this server is read-only",
                );
            }
            // Nothing that a client of ours sends: a wrong port, or a stranger.
            Ok(Packet::Data(..) | Packet::Oack(_)) => self.handle_unknown_tid(now, path),
            Err(malformed) => self.handle_malformed(now, path, datagram, malformed),
        }
    }

    /// Takes the time. To be called when it has reached [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Time) {
        let mut due = core::mem::take(&mut self.due);
        self.timers.expire(now, &mut due);
        for slot in due.drain(..) {
            let Some(transfer) = self.table.get_mut(slot) else {
                continue;
            };
            match transfer.overdue(now) {
                Overdue::Wait => self.arm(now, slot),
                Overdue::Continue => self.enqueue(now, slot),
                Overdue::Promote => {
                    let egress = &mut self.egresses[usize::from(transfer.egress)];
                    egress.push(slot, transfer, Place::Overdue);
                    self.arm(now, slot);
                }
                Overdue::Resend => {
                    self.counters.timeouts += 1;
                    self.egresses[usize::from(transfer.egress)]
                        .governor
                        .timed_out(now);
                    self.enqueue(now, slot);
                }
                Overdue::Over(outcome) => self.end(now, slot, outcome),
                Overdue::Forget => self.forget(slot),
            }
        }
        self.due = due;
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let opening = self.egresses.iter().filter_map(|egress| egress.opens_at);
        opening.chain(self.timers.next()).min()
    }

    /// The next thing to send, if there is any. To be called until there is none.
    pub fn poll_transmit(&mut self, now: Time) -> Option<Transmit<'_, F>> {
        self.leaving = self.replies.pop_front();
        if self.leaving.is_some() {
            let (path, packet) = self.leaving.as_ref()?;
            return Some(Transmit {
                path: *path,
                payload: Payload::Packet(packet.as_bytes()),
            });
        }
        for _ in 0..self.egresses.len() {
            self.turn = (self.turn + 1) % self.egresses.len();
            match self.next_leaving(now, self.turn) {
                Some(Leaving::Offer(slot)) => return self.transmit_offer(now, slot),
                Some(Leaving::Train(slot, count)) => return self.transmit_train(now, slot, count),
                None => {}
            }
        }
        None
    }

    /// The next thing that happened, if there is any. To be called until there is none.
    pub fn poll_event(&mut self) -> Option<Event<F>> {
        self.events.pop_front()
    }

    /// The terminal at an address has got a file from another endpoint of this server: it is let to finish its boot here, too.
    pub fn boot_has_begun(&mut self, now: Time, source: IpAddr) {
        self.begun.add(now, source);
    }

    /// A train of a transfer cannot be sent, now or later: the transfer ends with an ERROR.
    pub fn handle_send_failure(&mut self, now: Time, transfer: TransferId, why: Unsendable) {
        let Some(slot) = self.table.slot_of(transfer) else {
            return;
        };
        let text = match why {
            Unsendable::Unreadable => "the file cannot be read on the server",
            Unsendable::TooBig => "the block is too big for the way: ask for a smaller blksize",
        };
        self.dismiss(now, slot, Outcome::SendFailed, text);
    }

    /// From now on no request is answered: the client asks the other server. What runs goes on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Ends every transfer with an ERROR.
    pub fn shut_down(&mut self, now: Time) {
        self.draining = true;
        for slot in self.table.slots() {
            self.dismiss(now, slot, Outcome::ShutDown, "the server is shutting down");
        }
    }

    /// Transfers that are not over.
    #[must_use]
    pub fn transfers_live(&self) -> usize {
        self.live
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Live transfers, and how many of them have a timer, a file, and a block in flight beyond their window:
    /// what a simulator checks (T2, T7, T8). Not for the packet path.
    #[must_use]
    pub fn audit(&self) -> Audit {
        let mut audit = Audit::default();
        for slot in self.table.slots() {
            let Some(transfer) = self.table.get(slot) else {
                continue;
            };
            audit.transfers += 1;
            audit.live += usize::from(transfer.is_live());
            audit.timers += usize::from(self.timers.is_set(slot));
            audit.files += usize::from(transfer.file.is_some());
            audit.beyond_window += usize::from(!transfer.keeps_its_window());
        }
        audit
    }

    /// What may leave by a way out now.
    fn next_leaving(&mut self, now: Time, way: usize) -> Option<Leaving> {
        let egress = &mut self.egresses[way];
        egress.opens_at = None;
        loop {
            let table = &self.table;
            let waits = |slot, place| table.get(slot).is_some_and(|t| t.place == place);
            let Some(slot) = egress.next(now, waits) else {
                egress.governor.rest();
                return None;
            };
            let crowded = egress.is_crowded();
            let transfer = self.table.get_mut(slot)?;
            if let Some(bytes) = transfer.offer_bytes() {
                if egress.governor.room(now, bytes) < bytes {
                    egress.opens_at = egress.governor.opens_at();
                    return None;
                }
                egress.pop(transfer, 0);
                egress.governor.spend(now, bytes);
                return Some(Leaving::Offer(slot));
            }
            let (mut wanted, packet) = (transfer.blocks_wanted(), transfer.packet_bytes());
            if transfer.place == Place::First && crowded {
                wanted = wanted.min(1);
            }
            if wanted == 0 || !transfer.has_due() {
                egress.pop(transfer, 0);
                self.timers
                    .set(slot, transfer.deadline(now, self.config.linger));
                continue;
            }
            let room = egress.governor.room(now, wanted * packet);
            if room == 0 {
                egress.opens_at = egress.governor.opens_at();
                return None;
            }
            let count = wanted.min(room / packet).max(1);
            let whole = transfer.place == Place::Ordered;
            let window = if whole {
                u64::from(transfer.windowsize) * packet
            } else {
                0
            };
            egress.pop(transfer, count * packet);
            egress.governor.sent(now, count * packet, window);
            return Some(Leaving::Train(slot, count));
        }
    }

    fn transmit_offer(&mut self, now: Time, slot: u32) -> Option<Transmit<'_, F>> {
        self.table.get_mut(slot)?.offer_sent(now);
        self.arm(now, slot);
        let transfer = self.table.get(slot)?;
        let Phase::Offered { oack, .. } = &transfer.phase else {
            return None;
        };
        Some(Transmit {
            path: transfer.path,
            payload: Payload::Packet(oack),
        })
    }

    fn transmit_train(&mut self, now: Time, slot: u32, count: u64) -> Option<Transmit<'_, F>> {
        let transfer = self.table.get_mut(slot)?;
        let blocks = transfer.take_blocks(now, count)?;
        if transfer.has_due() && !transfer.is_pacing() {
            transfer.held_since = now;
            self.egresses[usize::from(transfer.egress)].push(slot, transfer, Place::Ordered);
        }
        self.timers
            .set(slot, transfer.deadline(now, self.config.linger));
        let transfer = self.table.get(slot)?;
        let train = Train {
            transfer: transfer.id,
            file: transfer.file.as_ref()?,
            len: transfer.len,
            first: blocks.first,
            count: blocks.count,
            blksize: transfer.blksize,
            rollover: transfer.rollover,
        };
        self.counters.trains_sent += 1;
        self.counters.blocks_sent += u64::from(blocks.count);
        self.counters.blocks_resent += u64::from(blocks.resent);
        self.counters.bytes_sent += train.wire_bytes() as u64;
        Some(Transmit {
            path: transfer.path,
            payload: Payload::Train(train),
        })
    }

    /// Puts a transfer that has something to send into its queue, unless it waits there already.
    fn enqueue(&mut self, now: Time, slot: u32) {
        let live = self.live;
        let Some(transfer) = self.table.get_mut(slot) else {
            return;
        };
        let place = transfer.place_for_due();
        if transfer.place == Place::Nowhere
            || transfer.place == Place::Offer && place != Place::Offer
        {
            transfer.held_since = now;
            let egress = &mut self.egresses[usize::from(transfer.egress)];
            egress.push(slot, transfer, place);
            let table = &self.table;
            egress.tidy(live, |slot, place| {
                table.get(slot).is_some_and(|t| t.place == place)
            });
        }
        self.arm(now, slot);
    }

    fn arm(&mut self, now: Time, slot: u32) {
        if let Some(transfer) = self.table.get(slot) {
            self.timers
                .set(slot, transfer.deadline(now, self.config.linger));
        }
    }

    fn refuse(&mut self, path: Path, code: ErrorCode, text: &str) {
        if self.replies.len() >= limits::REPLIES_MAX {
            self.replies.pop_front();
            self.counters.replies_dropped += 1;
        }
        self.replies.push_back((path, emit_error(code, text)));
    }

    /// Ends a live transfer with an ERROR to its client.
    fn dismiss(&mut self, now: Time, slot: u32, outcome: Outcome, text: &str) {
        if let Some(transfer) = self.table.get(slot).filter(|transfer| transfer.is_live()) {
            let path = transfer.path;
            self.refuse(path, ErrorCode::NOT_DEFINED, text);
            self.end(now, slot, outcome);
        }
    }

    fn end(&mut self, now: Time, slot: u32, outcome: Outcome) {
        let Some(transfer) = self
            .table
            .get_mut(slot)
            .filter(|transfer| transfer.is_live())
        else {
            return;
        };
        let (half_open, source) = (transfer.is_half_open(), transfer.path.remote.ip());
        let file = transfer.end(now, outcome == Outcome::Completed);
        let ended = file.map(|file| Ended {
            transfer: transfer.id,
            path: transfer.path,
            file,
            outcome,
            bytes_acknowledged: transfer.bytes_acknowledged(),
            blocks_resent: transfer.blocks_resent,
            duration: now.since(transfer.started_at),
        });
        if half_open {
            self.table.half_open_remove(source);
        }
        if outcome == Outcome::Completed {
            self.begun.add(now, source);
        }
        self.live -= 1;
        *match outcome {
            Outcome::Completed => &mut self.counters.transfers_completed,
            Outcome::Probe => &mut self.counters.transfers_probe,
            Outcome::Aborted(_) => &mut self.counters.transfers_aborted,
            Outcome::TimedOut => &mut self.counters.transfers_timed_out,
            Outcome::Unconfirmed => &mut self.counters.transfers_unconfirmed,
            Outcome::Replaced => &mut self.counters.transfers_replaced,
            Outcome::SendFailed | Outcome::ShutDown => &mut self.counters.transfers_failed,
        } += 1;
        if let Some(ended) = ended {
            self.push_event(Event::Ended(ended));
        }
        self.arm(now, slot);
    }

    fn forget(&mut self, slot: u32) {
        self.timers.clear(slot);
        self.table.remove(slot);
    }

    fn push_event(&mut self, event: Event<F>) {
        if self.events.len() >= limits::EVENTS_MAX {
            self.events.pop_front();
            self.counters.events_dropped += 1;
        }
        self.events.push_back(event);
    }
}

/// What the transfer in a slot sends next.
enum Leaving {
    /// Its OACK.
    Offer(u32),
    /// So many blocks.
    Train(u32, u64),
}

/// See [`Endpoint::audit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Transfers held, lingering ones included.
    pub transfers: usize,
    /// Transfers that are not over.
    pub live: usize,
    /// Timers set.
    pub timers: usize,
    /// Files held.
    pub files: usize,
    /// Transfers with more blocks in flight than their window.
    pub beyond_window: usize,
}
