//! One transfer as the wire shows it, from the place where the server's socket is: every datagram of it in the
//! order in which the server heard and sent them.

use std::time::Duration;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Outcome, TransferId};
use daybreak_tftp::limits;

use super::super::content::ImageKey;
use super::super::failure::{Check, check};
use super::super::host::Opening;
use super::super::packet::Block;
use super::super::prng::mix;
use super::terms::{Terms, check_oack};

/// Retransmissions by timer in a row, without any answer, at most: exponential from the shortest time-out to
/// the end of the patience.
const RETRIES_MAX: u32 = 16;

/// Why nothing may be sent for a transfer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its client acknowledged the last block.
    Completed,
    /// Its client sent an ERROR.
    ClientLeft,
    /// Its client asked for something else from the same port.
    Replaced,
    /// The server sent an ERROR.
    Dismissed,
    /// The server gave up.
    GivenUp,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Session {
    /// The image pinned at the request.
    pub key: ImageKey,
    /// Its size, in octets.
    pub len: u64,
    /// Where it arrived.
    pub opening: Opening,
    /// The client has answered.
    pub answered: bool,
    /// Nothing may be sent any more.
    pub over: Option<Over>,
    /// The endpoint has said that it ended.
    pub reported: bool,
    /// Hash of every datagram that was sent, the first time that it was.
    pub firsts: u64,
    /// Blocks sent again.
    pub resent: u64,
    request: Vec<u8>,
    /// The last request of the client's port was the same.
    asked_again: bool,
    terms: Terms,
    oack: Option<Vec<u8>>,
    transfer: Option<TransferId>,
    first_replies: u32,
    repeats: u32,
    acked: u64,
    /// The last ACK said that everything sent had arrived: its repetition says nothing.
    acked_all: bool,
    highest: u64,
    previous: u64,
    last: u64,
    sent_at: Time,
    progress_at: Time,
    /// The shortest round trip that the wire allows.
    round_trip: Duration,
    /// A gap was reported, and may be answered by a rewind; when that was last so.
    gap: bool,
    gap_at: Option<Time>,
    retries: u32,
}

impl Session {
    pub(super) fn new(
        now: Time,
        opening: Opening,
        request: &[u8],
        (terms, oack): (Terms, Option<Vec<u8>>),
        round_trip: Duration,
    ) -> Self {
        Session {
            key: opening.key,
            len: opening.len,
            opening,
            request: request.to_vec(),
            asked_again: false,
            answered: false,
            over: None,
            reported: false,
            firsts: 0,
            resent: 0,
            terms,
            oack,
            transfer: None,
            first_replies: 0,
            repeats: 0,
            acked: 0,
            acked_all: true,
            highest: 0,
            previous: 0,
            last: opening.len / terms.blksize + 1,
            sent_at: now,
            progress_at: now,
            round_trip,
            gap: false,
            gap_at: None,
            retries: 0,
        }
    }

    /// A request came from the client's port, and no file was opened for it: a repetition, or one that was refused.
    pub(super) fn repeated(&mut self, request: &[u8]) {
        self.repeats += 1;
        self.asked_again = self.request == request;
    }

    /// The transfer that takes its place at the same port, with the same file: the client asked the same again after a
    /// silence.
    pub(super) fn again(&self, now: Time) -> Option<Session> {
        (self.asked_again && self.over.is_none()).then(|| {
            let terms = (self.terms, self.oack.clone());
            Session::new(now, self.opening, &self.request, terms, self.round_trip)
        })
    }

    /// An ACK arrived.
    pub(super) fn heard_ack(&mut self, now: Time, number: u16) {
        if self.over.is_some() {
            return;
        }
        let first = if self.oack.is_some() && !self.answered {
            // Only the OACK is out: no other number can be meant.
            if number != 0 {
                return;
            }
            0
        } else {
            self.acked
        };
        let heard = (first..=self.highest.max(first)).find(|&i| self.terms.number(i) == number);
        let Some(index) = heard else { return };
        if !self.answered && (index > 0 || self.oack.is_some()) {
            self.answered = true;
        } else if index == self.acked {
            if !self.acked_all {
                self.report_gap(now);
            }
            return;
        }
        self.acked = index;
        self.acked_all = index == self.highest;
        self.progress_at = now;
        self.retries = 0;
        if index == self.last {
            self.over = Some(Over::Completed);
        } else if !self.acked_all {
            self.report_gap(now);
        }
    }

    /// A rewind is granted once in a round trip. Where the first reply left twice, its round trip is not known
    /// (Karn's rule), and may be taken for the shortest time-out.
    fn report_gap(&mut self, now: Time) {
        let mut guard = self.round_trip * 7 / 10;
        if self.first_replies > 1 {
            guard = guard.min(limits::RTO_MIN);
        }
        let waited = self.gap_at.is_none_or(|at| now.since(at) >= guard);
        // One that is granted already counts from when it was: the server may have waited for its turn to send.
        if self.terms.windowsize > 1 && waited && !self.gap {
            self.gap = true;
            self.gap_at = Some(now);
        }
    }

    /// An ERROR arrived from the client.
    pub(super) fn heard_error(&mut self) {
        self.over.get_or_insert(Over::ClientLeft);
    }

    pub(super) fn sent_oack(&mut self, now: Time, oack: &[u8]) -> Check {
        self.check_live()?;
        check_oack(self.oack.as_deref(), oack)?;
        check("T3", !self.answered, || {
            "an OACK after the transfer had started".into()
        })?;
        if self.first_replies == 0 {
            self.firsts = oack.iter().fold(1, |hash, &b| mix(hash ^ u64::from(b)));
        }
        self.sent_at = now;
        self.first_reply()
    }

    fn first_reply(&mut self) -> Check {
        self.first_replies += 1;
        let most = u32::from(limits::FIRST_REPLY_TRIES) + self.repeats;
        check("T10", self.first_replies <= most, || {
            format!(
                "{} first replies to a source that never answered",
                self.first_replies
            )
        })
    }

    fn check_live(&self) -> Check {
        check("T7", self.over.is_none(), || {
            format!("a packet of a transfer that is over: {:?}", self.over)
        })
    }

    pub(super) fn sent_block(&mut self, now: Time, block: &Block) -> Check {
        self.check_live()?;
        check("T1", block.key == self.key, || {
            format!("DATA of {:?}, pinned was {:?}", block.key, self.key)
        })?;
        let known = *self.transfer.get_or_insert(block.transfer);
        check("T13", known == block.transfer, || {
            "DATA of another transfer".into()
        })?;
        let index = block.start / self.terms.blksize + 1;
        let start = (index - 1) * self.terms.blksize;
        let len = self.terms.blksize.min(self.len.saturating_sub(start));
        let exact = block.start == start && u64::from(block.len) == len && index <= self.last;
        check("T11", exact && block.header[..2] == [0, 3], || {
            format!("block {index} is not what `emit` gives: {block:?}")
        })?;
        let number = self.terms.number(index);
        check("T6", block.number() == number, || {
            format!("block {index} is numbered {}, not {number}", block.number())
        })?;
        check("T2", self.answered || self.oack.is_none(), || {
            "DATA before ACK 0".into()
        })?;
        let reach = if self.answered {
            self.terms.windowsize
        } else {
            1
        };
        check("T2", index <= self.acked + reach, || {
            format!("block {index}, acknowledged {}, window {reach}", self.acked)
        })?;
        check("T4", index > self.acked, || {
            format!("block {index} was acknowledged, and is sent again")
        })?;
        let follows = index == self.previous + 1 || index == self.acked + 1;
        check("T13", follows, || {
            format!("block {index} after {}", self.previous)
        })?;
        if index <= self.previous {
            self.check_rewind(now, index)?;
        }
        if !self.answered {
            self.first_reply()?;
        }
        if index > self.highest {
            self.highest = index;
            self.firsts = mix(self.firsts ^ u64::from(number) << 32 ^ len);
        } else {
            self.resent += 1;
        }
        self.previous = index;
        self.sent_at = now;
        Ok(())
    }

    /// T4: what was sent is sent again because of a time-out, or because of a gap, reported, once a round trip.
    fn check_rewind(&mut self, now: Time, index: u64) -> Check {
        if !self.answered {
            return Ok(());
        }
        if now.since(self.sent_at) >= limits::RTO_MIN {
            self.retries += u32::from(!self.gap);
            return check("T7", self.retries <= RETRIES_MAX, || {
                format!("block {index} is sent again for the {}. time", self.retries)
            });
        }
        let gap = std::mem::take(&mut self.gap);
        check("T4", gap, || {
            let last = now.since(self.sent_at);
            format!("block {index} is sent again after {last:?}, and no gap was reported: {self:?}")
        })
    }

    pub(super) fn dismissed(&mut self) {
        self.over.get_or_insert(Over::Dismissed);
    }

    /// The endpoint says that the transfer ended.
    pub(super) fn ended(
        &mut self,
        now: Time,
        outcome: Outcome,
        acknowledged: u64,
        resent: u64,
    ) -> Check {
        check("T7", !self.reported, || "a transfer ended twice".into())?;
        self.reported = true;
        if matches!(outcome, Outcome::TimedOut | Outcome::Unconfirmed) {
            let silence = now.since(self.progress_at);
            check("T7", silence >= Duration::from_secs(30), || {
                format!("given up after {silence:?}")
            })?;
            self.over.get_or_insert(Over::GivenUp);
        }
        let right = match outcome {
            Outcome::Completed => self.over == Some(Over::Completed) && acknowledged == self.len,
            Outcome::Aborted(_) | Outcome::Probe => self.over == Some(Over::ClientLeft),
            Outcome::Replaced => self.over == Some(Over::Replaced) || self.repeats > 0,
            Outcome::TimedOut | Outcome::Unconfirmed => {
                let all_sent = self.acked > 0 && self.highest == self.last;
                self.over == Some(Over::GivenUp) && all_sent == (outcome == Outcome::Unconfirmed)
            }
            Outcome::SendFailed | Outcome::ShutDown => true,
        };
        if outcome == Outcome::Replaced {
            self.over.get_or_insert(Over::Replaced);
        }
        check("T5", right, || {
            format!(
                "the endpoint says {outcome:?} with {acknowledged} octets, the wire {:?}",
                self.over
            )
        })?;
        check("T11", resent == self.resent, || {
            format!("{resent} blocks sent again, on the wire {}", self.resent)
        })
    }

    /// Not answered yet, and not over.
    #[must_use]
    pub fn is_half_open(&self) -> bool {
        !self.answered && self.over.is_none()
    }
}
