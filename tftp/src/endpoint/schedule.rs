//! Who sends next, by one way out.
//!
//! - the OACKs, which are small and keep clients patient;
//! - first DATA for every client, terminals that have begun their boot before the others;
//! - one block for those whose wait has reached its bound;
//! - the others: first terminals that have begun their boot, and among equals the shortest remaining transfer, so that
//!   boots end one after another instead of all at the last moment. Where nothing is heard of the way, some of these go
//!   before those that wait for their first DATA.
//!
//! When anything may leave at all is the [`Governor`]'s word.
//!
//! A queue names slots. An entry is good while its transfer says that it waits in this queue; others are
//! passed over, and their number is bounded.

use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;
use core::time::Duration;

use super::Rate;
use super::governor::Governor;
use super::transfer::Transfer;
use crate::Time;

/// Longest wait of a transfer that has something to send; half the interval that its client negotiated, if
/// that is shorter. Then one block of it goes before all others.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(2);

/// Where a transfer waits to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has nothing to send.
    Nowhere,
    /// Its OACK.
    Offer,
    /// Its first DATA, and its terminal has begun its boot.
    Resumed,
    /// Its first DATA.
    First,
    /// One block, because it has waited for long.
    Overdue,
    /// By what remains of it.
    Ordered,
}

/// The places where who comes first goes first, in the order of their turns.
const QUEUED: [Place; 4] = [Place::Offer, Place::Resumed, Place::First, Place::Overdue];

/// The queues of one way out. See the module.
#[derive(Debug)]
pub(super) struct Egress {
    pub(super) governor: Governor,
    /// Something waits, and may leave then.
    pub(super) opens_at: Option<Time>,
    /// By the places of [`QUEUED`].
    queues: [VecDeque<u32>; QUEUED.len()],
    /// Boots that have begun first; least remaining blocks first; among equals, first come.
    ordered: BinaryHeap<Reverse<(bool, u64, u64, u32)>>,
    arrivals: u64,
    /// Octets that ordered transfers may send before the other queues, while nothing is heard of the way: half of
    /// what those have sent. Single blocks of windows bring no ACK; without some whole windows among them
    /// nothing would be learned for as long as those queues are full.
    credit: i64,
}

impl Egress {
    pub(super) fn new(rate: Rate) -> Self {
        Egress {
            governor: Governor::new(rate),
            opens_at: None,
            queues: Default::default(),
            ordered: BinaryHeap::new(),
            arrivals: 0,
            credit: 0,
        }
    }

    /// The queue of a place, if it has one.
    fn queue(&mut self, place: Place) -> Option<&mut VecDeque<u32>> {
        let position = QUEUED.iter().position(|queued| *queued == place)?;
        self.queues.get_mut(position)
    }

    /// Puts a transfer that has something to send in its place, which it is told.
    pub(super) fn push<F>(&mut self, slot: u32, transfer: &mut Transfer<F>, place: Place) {
        transfer.place = place;
        if let Some(queue) = self.queue(place) {
            queue.push_back(slot);
        } else if place == Place::Ordered {
            self.arrivals += 1;
            let remaining = transfer.blocks_remaining();
            let entry = (!transfer.begun, remaining, self.arrivals, slot);
            self.ordered.push(Reverse(entry));
        }
    }

    /// The transfer that sends next. `waits` tells whether an entry is still good.
    pub(super) fn next(&mut self, now: Time, waits: impl Fn(u32, Place) -> bool) -> Option<u32> {
        let blind = self.credit > 0 && self.governor.is_blind(now);
        for (position, place) in QUEUED.into_iter().enumerate() {
            if blind
                && place != Place::Offer
                && let Some(slot) = self.next_ordered(&waits)
            {
                return Some(slot);
            }
            let queue = &mut self.queues[position];
            while let Some(&slot) = queue.front() {
                if waits(slot, place) {
                    return Some(slot);
                }
                queue.pop_front();
            }
        }
        self.credit = 0;
        self.next_ordered(&waits)
    }

    fn next_ordered(&mut self, waits: &impl Fn(u32, Place) -> bool) -> Option<u32> {
        while let Some(Reverse((.., slot))) = self.ordered.peek() {
            if waits(*slot, Place::Ordered) {
                return Some(*slot);
            }
            self.ordered.pop();
        }
        None
    }

    /// Whether several clients wait for their first DATA: then each gets one block before any gets more.
    pub(super) fn is_crowded(&mut self) -> bool {
        self.queue(Place::First)
            .is_some_and(|first| first.len() > 1)
    }

    /// Takes the transfer that [`next`](Self::next) named out of its place; `bytes` of its DATA leave now.
    pub(super) fn pop<F>(&mut self, transfer: &mut Transfer<F>, bytes: u64) {
        let place = core::mem::replace(&mut transfer.place, Place::Nowhere);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if let Some(queue) = self.queue(place) {
            queue.pop_front();
            self.credit += bytes / 2;
        } else if place == Place::Ordered {
            self.ordered.pop();
            self.credit -= bytes;
        }
    }

    /// Drops the entries that are passed over, when they have become many.
    pub(super) fn tidy(&mut self, live: usize, waits: impl Fn(u32, Place) -> bool) {
        let most = 2 * live + 64;
        for (queue, place) in self.queues.iter_mut().zip(QUEUED) {
            if queue.len() > most {
                queue.retain(|slot| waits(*slot, place));
            }
        }
        if self.ordered.len() > most {
            self.ordered
                .retain(|Reverse((.., slot))| waits(*slot, Place::Ordered));
        }
    }
}
