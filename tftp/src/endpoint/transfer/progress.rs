//! What moves a transfer on, or back: acknowledgements, reports of gaps, and time-outs.

use core::time::Duration;

use super::super::schedule::Place;
use super::{Phase, Transfer};
use crate::endpoint::Outcome;
use crate::wire::{BlockIndex, BlockNumber};
use crate::{Time, limits};

/// What an ACK did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Acked {
    /// Nothing: too old, too new, or a duplicate.
    Stale,
    /// Nothing either, but the client is there and waits for what left long ago: the next time-out comes soon.
    Waiting,
    /// The client is there; DATA is due.
    Started,
    /// The window moved on.
    Moved,
    /// A gap was reported: the window was rewound to it.
    Rewound,
    /// The last block was acknowledged.
    Completed,
}

/// What a time-out asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Overdue {
    /// Nothing to send now; wait on.
    Wait,
    /// Something is to be sent again.
    Resend,
    /// The next burst of the window.
    Continue,
    /// It has waited for its turn for as long as it may.
    Promote,
    /// The end.
    Over(Outcome),
    /// The linger has ended.
    Forget,
}

impl<F> Transfer<F> {
    /// Takes an ACK of the client.
    pub(in crate::endpoint) fn acknowledge(&mut self, now: Time, number: BlockNumber) -> Acked {
        self.heard_at = now;
        match self.phase {
            Phase::Lingering { .. } => Acked::Stale,
            Phase::Offered { .. } if number.0 == 0 => {
                self.sample(now);
                self.resent = false;
                self.run(now);
                self.open_window();
                Acked::Started
            }
            Phase::Offered { .. } => Acked::Stale,
            Phase::Opened | Phase::Running => self.acknowledge_block(now, number),
        }
    }

    fn acknowledge_block(&mut self, now: Time, number: BlockNumber) -> Acked {
        let BlockIndex(index) = self.rollover.index_from(BlockIndex(self.acked), number);
        if index > self.highest_sent {
            return Acked::Stale;
        }
        if index == self.acked && self.lost_while_held(now) {
            self.start_over();
            // First DATA has a place of its own; the others keep theirs, and with it the bound on their wait.
            if self.is_fresh() {
                self.place = Place::Nowhere;
            }
            return Acked::Moved;
        }
        if index == self.acked {
            // Of the last block of a window, a duplicate never brings DATA (RFC 1123 §4.2.3.1); inside
            // one it reports the gap again.
            return if self.gap_follows && self.may_rewind(now) {
                self.rewind(now)
            } else if self.lost_long_ago(now) {
                self.hints += 1;
                Acked::Waiting
            } else {
                Acked::Stale
            };
        }
        let started = self.is_half_open();
        let window_ended = index == self.window_end;
        if window_ended {
            self.sample(now);
        } else if !self.resent && self.rtt.smoothed().is_none() {
            // Which block brought this ACK is not known; it left after the beginning of the window. Better than
            // none, where the OACK left twice and no window comes through whole.
            self.rtt.sample(now.since(self.window_sent_at));
        }
        // With every step forward: where losses tear each window, waiting for a whole one would take for ever.
        self.burst = self.burst.saturating_mul(2).min(self.windowsize);
        self.acked = index;
        self.next = self.next.max(index + 1);
        // Where everything that was sent has arrived, nothing is missing, though the window goes on.
        self.gap_follows = self.next > index + 1;
        self.run(now);
        if index == self.last {
            return Acked::Completed;
        }
        if window_ended {
            self.resent = false;
        }
        if window_ended || self.next == index + 1 {
            self.open_window();
            return if started {
                Acked::Started
            } else {
                Acked::Moved
            };
        }
        // Inside a window (RFC 7440 §4): the client misses what follows.
        if self.may_rewind(now) {
            return self.rewind(now);
        }
        // What follows was sent again a moment ago. The client's window starts here all the same: without the
        // blocks at its end both would wait for a time-out.
        self.open_window();
        Acked::Moved
    }

    /// The rest of the window waits for its turn, and the client repeats its ACK long after the first part left: that
    /// part was lost. It is due again, in its turn; while a transfer is held no time-out of its own would tell, and what it
    /// gets at the bound of its wait must not be beyond the gap. However long the time-outs have grown: no way is as long.
    fn lost_while_held(&self, now: Time) -> bool {
        matches!(self.place, Place::Ordered | Place::Overdue)
            && self.next > self.acked + 1
            && now.since(self.sent_at) >= self.rtt.timeout().min(limits::HINT_AFTER)
    }

    /// The client repeats its ACK so long after everything left that no way is as long: it was lost, or the client's
    /// answer was. Time-outs that have grown would outlast the patience of a client that is alive.
    fn lost_long_ago(&self, now: Time) -> bool {
        self.place == Place::Nowhere
            && self.hints < limits::HINTS_MAX
            && now.since(self.sent_at) >= limits::HINT_AFTER
    }

    /// Once a round trip: the reports of one gap arrive in a row, and a client that acknowledges every
    /// block of its window reports none.
    fn may_rewind(&self, now: Time) -> bool {
        let guard = self
            .rtt
            .smoothed()
            .map_or(limits::RTO_MIN, |rtt| rtt * 3 / 4);
        self.windowsize > 1 && self.rewound_at.is_none_or(|at| now.since(at) >= guard)
    }

    fn rewind(&mut self, now: Time) -> Acked {
        self.rewound_at = Some(now);
        self.start_over();
        Acked::Rewound
    }

    /// Everything that was not acknowledged is due again, as a new window.
    fn start_over(&mut self) {
        self.next = self.acked + 1;
        self.resent = true;
        self.open_window();
    }

    /// The next window starts after what was acknowledged.
    fn open_window(&mut self) {
        self.window_end = (self.acked + u64::from(self.windowsize)).min(self.last);
    }

    fn sample(&mut self, now: Time) {
        if !self.resent {
            let round_trip = now.since(self.sent_at);
            self.rtt.sample(round_trip);
            self.sampled = Some(round_trip);
        }
    }

    /// The round trip that the last ACK showed, once.
    pub(in crate::endpoint) fn take_sample(&mut self) -> Option<Duration> {
        self.sampled.take()
    }

    fn run(&mut self, now: Time) {
        self.phase = Phase::Running;
        self.progress_at = now;
        self.hints = 0;
        self.rtt.progressed();
    }

    /// Its timer fired.
    pub(in crate::endpoint) fn overdue(&mut self, now: Time) -> Overdue {
        if !self.is_live() {
            return Overdue::Forget;
        }
        // What waits for its turn is held by us, not by its client.
        match self.place {
            Place::Nowhere => {}
            Place::Ordered if now.since(self.held_since) >= self.hold => return Overdue::Promote,
            _ => return Overdue::Wait,
        }
        if now.since(self.progress_at) >= self.patience {
            let only_the_last_ack_is_missing = self.acked > 0 && self.highest_sent == self.last;
            return Overdue::Over(if only_the_last_ack_is_missing {
                Outcome::Unconfirmed
            } else {
                Outcome::TimedOut
            });
        }
        if self.is_half_open() && self.tries >= limits::FIRST_REPLY_TRIES {
            return Overdue::Wait;
        }
        if self.is_pacing() {
            return Overdue::Continue;
        }
        self.rtt.back_off();
        if self.is_half_open() {
            self.repeat_first_reply();
        } else {
            self.burst = (self.burst / 2).max(1);
            self.start_over();
        }
        Overdue::Resend
    }
}
