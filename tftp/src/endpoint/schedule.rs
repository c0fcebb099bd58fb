//! Who sends next, by one way out.
//!
//! The OACKs, which are small and keep clients patient; first DATA for every client, then those whose wait has reached its bound, then the shortest remaining transfer, so
//! that boots end one after another instead of all at the last moment. Where the first two bring no answers, some
//! of the third go before them. When
//! anything may leave at all is the [`Governor`]'s word.
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
    /// Its first DATA.
    First,
    /// One block, because it has waited for long.
    Overdue,
    /// By what remains of it.
    Ordered,
}

/// The queues of one way out. See the module.
#[derive(Debug)]
pub(super) struct Egress {
    pub(super) governor: Governor,
    /// Something waits, and may leave then.
    pub(super) opens_at: Option<Time>,
    offers: VecDeque<u32>,
    first: VecDeque<u32>,
    overdue: VecDeque<u32>,
    /// Least remaining blocks first; among equals, first come.
    ordered: BinaryHeap<Reverse<(u64, u64, u32)>>,
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
            offers: VecDeque::new(),
            first: VecDeque::new(),
            overdue: VecDeque::new(),
            ordered: BinaryHeap::new(),
            arrivals: 0,
            credit: 0,
        }
    }

    /// Puts a transfer that has something to send in its place, which it is told.
    pub(super) fn push<F>(&mut self, slot: u32, transfer: &mut Transfer<F>, place: Place) {
        transfer.place = place;
        match place {
            Place::Offer => self.offers.push_back(slot),
            Place::First => self.first.push_back(slot),
            Place::Overdue => self.overdue.push_back(slot),
            Place::Ordered => {
                self.arrivals += 1;
                self.ordered
                    .push(Reverse((transfer.blocks_remaining(), self.arrivals, slot)));
            }
            Place::Nowhere => {}
        }
    }

    /// The transfer that sends next. `waits` tells whether an entry is still good.
    pub(super) fn next(&mut self, now: Time, waits: impl Fn(u32, Place) -> bool) -> Option<u32> {
        if let Some(slot) = front(&mut self.offers, Place::Offer, &waits) {
            return Some(slot);
        }
        if self.credit > 0
            && self.governor.is_blind(now)
            && let Some(slot) = self.next_ordered(&waits)
        {
            return Some(slot);
        }
        for (queue, place) in [
            (&mut self.first, Place::First),
            (&mut self.overdue, Place::Overdue),
        ] {
            if let Some(slot) = front(queue, place, &waits) {
                return Some(slot);
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
    pub(super) fn is_crowded(&self) -> bool {
        self.first.len() > 1
    }

    /// Takes the transfer that [`next`](Self::next) named out of its place; `bytes` of it leave now.
    pub(super) fn pop<F>(&mut self, transfer: &mut Transfer<F>, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        match transfer.place {
            Place::First | Place::Overdue => self.credit += bytes / 2,
            Place::Ordered => self.credit -= bytes,
            Place::Nowhere | Place::Offer => {}
        }
        match transfer.place {
            Place::Offer => drop(self.offers.pop_front()),
            Place::First => drop(self.first.pop_front()),
            Place::Overdue => drop(self.overdue.pop_front()),
            Place::Ordered => drop(self.ordered.pop()),
            Place::Nowhere => {}
        }
        transfer.place = Place::Nowhere;
    }

    /// Drops the entries that are passed over, when they have become many.
    pub(super) fn tidy(&mut self, live: usize, waits: impl Fn(u32, Place) -> bool) {
        let most = 2 * live + 64;
        if self.offers.len() > most {
            self.offers.retain(|slot| waits(*slot, Place::Offer));
        }
        if self.first.len() > most {
            self.first.retain(|slot| waits(*slot, Place::First));
        }
        if self.overdue.len() > most {
            self.overdue.retain(|slot| waits(*slot, Place::Overdue));
        }
        if self.ordered.len() > most {
            self.ordered
                .retain(|Reverse((.., slot))| waits(*slot, Place::Ordered));
        }
    }
}

/// The first entry of a queue that is still good; those before it are dropped.
fn front(
    queue: &mut VecDeque<u32>,
    place: Place,
    waits: &impl Fn(u32, Place) -> bool,
) -> Option<u32> {
    while let Some(&slot) = queue.front() {
        if waits(slot, place) {
            return Some(slot);
        }
        queue.pop_front();
    }
    None
}
