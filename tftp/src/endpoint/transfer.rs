//! One transfer: what was acknowledged, what is in flight, and what to send next. It knows of no other
//! transfer, of no socket and of no queue; its `Endpoint` moves it.
//!
//! Block positions are absolute ([`BlockIndex`] without rollover) and ordered
//! `acked < next <= window_end + 1`, `acked <= highest_sent <= acked + windowsize`.

mod progress;

use alloc::boxed::Box;
use core::time::Duration;

use super::schedule::{HOLD_MAX, Place};
use super::table::Key;
use super::{Path, SocketId, TransferId};
use crate::Time;
use crate::limits;
use crate::rtt::Rtt;
use crate::wire::{BlockIndex, HEADER_BYTES, Rollover};
pub(super) use progress::{Acked, Overdue};

/// Octets of UDP, IP and Ethernet around a small packet: as much as there is in it.
const FRAME_BYTES: u64 = 46;

/// See the module.
#[derive(Debug)]
pub(super) struct Transfer<F> {
    pub(super) id: TransferId,
    /// Where it is served from, and to.
    pub(super) path: Path,
    /// Where its request arrived.
    pub(super) listener: SocketId,
    /// Fingerprint of the request datagram: tells a repetition from another request.
    pub(super) request: u64,
    /// `None` once it is over: a finished transfer pins nothing.
    pub(super) file: Option<F>,
    pub(super) len: u64,
    pub(super) blksize: u16,
    pub(super) rollover: Rollover,
    /// The granted window, in blocks.
    pub(super) windowsize: u16,
    pub(super) phase: Phase,
    /// Its way out, by its position in the endpoint's list.
    pub(super) egress: u8,
    /// Its terminal has begun its boot with another file.
    pub(super) begun: bool,
    /// Where it waits to send, and since when.
    pub(super) place: Place,
    pub(super) held_since: Time,
    pub(super) started_at: Time,
    pub(super) blocks_resent: u64,

    acked: u64,
    next: u64,
    window_end: u64,
    highest_sent: u64,
    /// The end of the file: the number of blocks.
    last: u64,

    rtt: Rtt,
    patience: Duration,
    /// The round trip that the last ACK showed, until it is taken.
    sampled: Option<Duration>,
    /// Longest wait for a turn to send.
    hold: Duration,
    /// The last step forward: an acknowledgement of something new, or new blocks sent.
    progress_at: Time,
    /// The last packet of the client that belonged to it.
    heard_at: Time,
    /// When the first reply, or the end of the present window, left.
    sent_at: Time,
    /// When the beginning of the present window left.
    window_sent_at: Time,
    rewound_at: Option<Time>,
    /// `acked` lies inside a window: the client reported that it misses what follows.
    gap_follows: bool,
    /// The present window holds blocks that were sent before: its round trip says nothing (Karn's rule).
    resent: bool,
    /// Times that the first reply left.
    tries: u8,
    /// Times that a repeated ACK has brought the next time-out forward since the last progress.
    hints: u8,
    /// Most blocks that leave at once; shrinks when time-outs show that bursts are lost (BCP 145).
    burst: u16,
}

/// Where a transfer stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// The OACK is on its way, DATA waits for ACK 0. The client may still go away with the size.
    Offered {
        /// The packet, as often as it is needed.
        oack: Box<[u8]>,
        /// It is to be sent.
        due: bool,
        /// The client asked for the size.
        tsize_asked: bool,
    },
    /// No option was accepted: DATA 1 is on its way, and is the only block before the first ACK.
    Opened,
    /// The client has answered.
    Running,
    /// Over; late packets of the client are swallowed.
    Lingering {
        /// Every block was acknowledged.
        completed: bool,
        /// Since when.
        since: Time,
    },
}

/// Blocks to send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) first: BlockIndex,
    pub(super) count: u16,
    /// How many of them were sent before.
    pub(super) resent: u16,
}

/// What a new transfer is made of.
pub(super) struct Terms<F> {
    pub(super) path: Path,
    pub(super) listener: SocketId,
    pub(super) request: u64,
    pub(super) file: F,
    pub(super) len: u64,
    pub(super) blksize: u16,
    pub(super) windowsize: u16,
    pub(super) rollover: Rollover,
    pub(super) timeout_s: Option<u8>,
    /// Added to the first time-out, so that what was lost together does not come again together.
    pub(super) jitter: Duration,
    pub(super) phase: Phase,
    pub(super) patience: Duration,
    pub(super) egress: u8,
    pub(super) begun: bool,
}

impl<F> Transfer<F> {
    pub(super) fn new(id: TransferId, now: Time, terms: Terms<F>) -> Self {
        let timeout = Duration::from_secs(u64::from(terms.timeout_s.unwrap_or(0)));
        Transfer {
            id,
            path: terms.path,
            listener: terms.listener,
            request: terms.request,
            file: Some(terms.file),
            len: terms.len,
            blksize: terms.blksize,
            rollover: terms.rollover,
            windowsize: terms.windowsize,
            // Before the first ACK nothing but one block may leave, whatever was agreed.
            window_end: if matches!(terms.phase, Phase::Opened) {
                1
            } else {
                0
            },
            phase: terms.phase,
            egress: terms.egress,
            begun: terms.begun,
            place: Place::Nowhere,
            held_since: now,
            started_at: now,
            blocks_resent: 0,
            acked: 0,
            next: 1,
            highest_sent: 0,
            last: terms.len / u64::from(terms.blksize) + 1,
            rtt: Rtt::new(terms.timeout_s, terms.jitter),
            patience: terms.patience.max(timeout * 3),
            sampled: None,
            hold: if timeout.is_zero() {
                HOLD_MAX
            } else {
                HOLD_MAX.min(timeout / 2)
            },
            progress_at: now,
            heard_at: now,
            sent_at: now,
            window_sent_at: now,
            rewound_at: None,
            gap_follows: false,
            resent: false,
            tries: 0,
            hints: 0,
            burst: terms.windowsize,
        }
    }

    /// By what it is found. Twice the same in single-port mode.
    pub(super) fn keys(&self) -> [Key; 2] {
        [
            Key::new(self.listener, self.path.remote),
            Key::new(self.path.socket, self.path.remote),
        ]
    }

    /// Not over yet.
    pub(super) fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Lingering { .. })
    }

    /// Not acknowledged at all yet.
    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.phase, Phase::Offered { .. } | Phase::Opened)
    }

    /// How long the client has been silent, since it was heard or was sent something new: none while it is we who
    /// hold it up.
    pub(super) fn silence(&self, now: Time) -> Duration {
        if self.place != Place::Nowhere {
            return Duration::ZERO;
        }
        now.since(self.heard_at.max(self.progress_at))
    }

    /// Every block was acknowledged.
    pub(super) fn is_complete(&self) -> bool {
        self.acked == self.last
    }

    /// No more is in flight than was granted (T2).
    pub(super) fn keeps_its_window(&self) -> bool {
        self.next <= self.acked + 1 + u64::from(self.windowsize)
    }

    /// Octets of the file that were acknowledged.
    pub(super) fn bytes_acknowledged(&self) -> u64 {
        (self.acked * u64::from(self.blksize)).min(self.len)
    }

    /// The first reply is wanted again: the client repeated its request.
    pub(super) fn repeat_first_reply(&mut self) {
        match &mut self.phase {
            Phase::Offered { due, .. } => *due = true,
            Phase::Opened => self.next = 1,
            Phase::Running | Phase::Lingering { .. } => {}
        }
    }

    /// Whether there is anything to send now.
    pub(super) fn has_due(&self) -> bool {
        match &self.phase {
            Phase::Offered { due, .. } => *due,
            Phase::Opened | Phase::Running => self.next <= self.window_end,
            Phase::Lingering { .. } => false,
        }
    }

    /// Octets of the OACK on an Ethernet wire, if it is due.
    pub(super) fn offer_bytes(&self) -> Option<u64> {
        match &self.phase {
            Phase::Offered {
                oack, due: true, ..
            } => Some(oack.len() as u64 + FRAME_BYTES),
            _ => None,
        }
    }

    /// Takes note that the OACK leaves now.
    pub(super) fn offer_sent(&mut self, now: Time) {
        if let Phase::Offered { due, .. } = &mut self.phase {
            *due = false;
        }
        self.first_reply_sent(now);
    }

    fn first_reply_sent(&mut self, now: Time) {
        self.resent = self.tries > 0;
        self.tries = self.tries.saturating_add(1);
        self.sent_at = now;
    }

    /// Where it belongs with what it has due.
    pub(super) fn place_for_due(&self) -> Place {
        match self.phase {
            _ if !self.has_due() => Place::Nowhere,
            Phase::Offered { .. } => Place::Offer,
            _ if self.is_fresh() && self.begun => Place::Resumed,
            _ if self.is_fresh() => Place::First,
            _ => Place::Ordered,
        }
    }

    /// Whether no DATA of it has arrived yet, as far as we know.
    pub(super) fn is_fresh(&self) -> bool {
        self.acked == 0
    }

    /// Blocks of the file that have not been sent, or must be sent again.
    pub(super) fn blocks_remaining(&self) -> u64 {
        self.last + 1 - self.next
    }

    /// Octets of one DATA packet.
    pub(super) fn packet_bytes(&self) -> u64 {
        u64::from(self.blksize) + HEADER_BYTES as u64
    }

    /// How many blocks would leave next, if nothing held them back: at most a train, or one if the transfer's
    /// turn came because of its long wait.
    pub(super) fn blocks_wanted(&self) -> u64 {
        let fitting = limits::TRAIN_BYTES_MAX as u64 / self.packet_bytes();
        let most = fitting
            .min(u64::from(limits::TRAIN_BLOCKS_MAX))
            .min(u64::from(self.burst));
        let most = if self.place == Place::Overdue {
            1
        } else {
            most.max(1)
        };
        (self.window_end + 1).saturating_sub(self.next).min(most)
    }

    /// The next blocks to leave, at most `count` of them, which must be wanted; they count as sent.
    pub(super) fn take_blocks(&mut self, now: Time, count: u64) -> Option<Blocks> {
        if !self.has_due() || matches!(self.phase, Phase::Offered { .. }) {
            return None;
        }
        let first = self.next;
        if first == self.acked + 1 {
            self.window_sent_at = now;
        }
        self.next += count;
        let resent = (self.highest_sent + 1).saturating_sub(first).min(count);
        self.highest_sent = self.highest_sent.max(self.next - 1);
        self.blocks_resent += resent;
        if resent > 0 {
            self.resent = true;
        } else {
            self.progress_at = now;
        }
        if matches!(self.phase, Phase::Opened) {
            self.first_reply_sent(now);
        }
        self.sent_at = now;
        Some(Blocks {
            first: BlockIndex(first),
            count: u16::try_from(count).expect("at most a train"),
            resent: u16::try_from(resent).expect("at most a train"),
        })
    }

    /// Whether the rest of the window waits a moment, because bursts were lost.
    pub(super) fn is_pacing(&self) -> bool {
        self.burst < self.windowsize && self.next <= self.window_end && self.next > self.acked + 1
    }

    /// When its timer must fire next, after something was sent or heard.
    pub(super) fn deadline(&self, now: Time, linger: Duration) -> Time {
        match self.phase {
            Phase::Lingering { .. } => now + linger,
            _ if self.place == Place::Ordered => self.held_since.max(now - self.hold) + self.hold,
            _ if self.place != Place::Nowhere => now + self.hold,
            _ if self.is_pacing() => {
                let gap = self.rtt.smoothed().unwrap_or_default() / 4;
                now + gap.clamp(super::timer::TICK, limits::RTO_MIN)
            }
            _ if self.is_half_open() && self.tries >= limits::FIRST_REPLY_TRIES => {
                self.progress_at + self.patience
            }
            _ => (now + self.rtt.timeout()).min(self.progress_at + self.patience),
        }
    }

    /// It is over: nothing is pinned any more.
    pub(super) fn end(&mut self, now: Time, completed: bool) -> Option<F> {
        self.phase = Phase::Lingering {
            completed,
            since: now,
        };
        self.file.take()
    }
}
