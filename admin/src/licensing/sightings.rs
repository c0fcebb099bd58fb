//! When terminals were last seen, by this server and by the other one, and who is unseen for a number of days. No clock, no disk: the times
//! are arguments, each in milliseconds since 1970 by the clock of this server.
//!
//! A terminal is unseen when every server that may have seen it says so. Each server knows what its own engine saw, and tells it as *ages*,
//! "seen so long ago": clocks that differ make no difference. What is known reaches from a time to a time ([`Span`]), and is of use only if it
//! reaches up to now and back over all of the days; else nobody is unseen.
//!
//! Invariants: whoever was seen on either server within the days is not unseen, but for what the other one saw since it told last, which is no
//! longer ago than [`SIGHTINGS_FRESH_MS`]; what is not known takes no seat away.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::{OBJECTS_MAX, SEAT_CLOCK_STEP_MS, SEAT_DAYS_MARGIN_MS, SIGHTINGS_FRESH_MS};
use crate::object::Id;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A time in which every terminal that was seen is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its beginning; 0: from the first terminal on.
    pub since_ms: u64,
    /// Its end.
    pub until_ms: u64,
}

impl Span {
    /// Where both know.
    fn and(self, other: Span) -> Self {
        Span {
            since_ms: self.since_ms.max(other.since_ms),
            until_ms: self.until_ms.min(other.until_ms),
        }
    }

    /// In ages. A beginning at 0 is longer ago than any clock shows.
    #[must_use]
    pub fn ages(self, now_ms: u64) -> Self {
        Span {
            since_ms: now_ms.saturating_sub(self.since_ms),
            until_ms: now_ms.saturating_sub(self.until_ms),
        }
    }
}

/// The time, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What the clock shows, as far as it is believed, in milliseconds since 1970.
    pub now_ms: u64,
    /// What the clock shows.
    pub clock_ms: u64,
    /// How long this process runs, by a clock that nobody sets.
    pub running_ms: u64,
}

/// What the other server tells: everything in ages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// It is all that it knows, and not only what is new.
    pub is_whole: bool,
    /// In which time it knows who was seen; none, while it cannot tell.
    pub span: Option<Span>,
    /// How long ago terminals were last seen.
    pub seen: BTreeMap<Id, u64>,
}

/// It told of more terminals than a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more terminals than a server has ({OBJECTS_MAX})")]
pub struct TooManySeen;

/// What is kept of it, beside the book of this server's own engine. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sightings {
    /// Since when nothing is missing that other servers saw and that this clock was wrong for; none, while the clock is wrong.
    since_ms: Option<u64>,
    /// The clock was set, and may be wrong since: if it is believed to be far ahead, that puts it right, and is no time without power.
    was_set: bool,
    partner: Option<Partner>,
    /// What servers told that were the other one once.
    former: BTreeMap<Id, u64>,
    /// Where the clock goes on from, as long as nobody sets it.
    #[serde(skip)]
    reckoned: Option<Moment>,
}

/// The other server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partner {
    key: String,
    span: Option<Span>,
    seen: BTreeMap<Id, u64>,
    /// The end of `span` in the running time of this process, in which it was told; else it is not known how long ago that was.
    #[serde(skip)]
    until_running_ms: Option<u64>,
}

impl Partner {
    /// In which time it knows who was seen, if that reaches up to now.
    fn fresh(&self, running_ms: u64) -> Option<Span> {
        let ago_ms = running_ms.saturating_sub(self.until_running_ms?);
        self.span.filter(|_| ago_ms <= SIGHTINGS_FRESH_MS)
    }
}

impl Sightings {
    /// Nothing is missing since then. 0: there was no terminal before.
    #[must_use]
    pub fn begun(since_ms: u64) -> Self {
        Sightings {
            since_ms: Some(since_ms),
            was_set: false,
            partner: None,
            former: BTreeMap::new(),
            reckoned: None,
        }
    }

    /// It is looked at the clock. When terminals were seen before it was set cannot be compared with what it shows now: the days begin anew, and while
    /// it is known to be behind (`is_behind`) nobody is unseen. Gives whether anything changed that is to be kept.
    pub fn look(&mut self, at: Moment, is_behind: bool) -> bool {
        let from = *self.reckoned.get_or_insert(at);
        let passed_ms = at.running_ms.saturating_sub(from.running_ms);
        let step = |then_ms: u64, now_ms: u64| {
            let expected_ms = then_ms.saturating_add(passed_ms);
            let is_step = expected_ms.abs_diff(now_ms) > SEAT_CLOCK_STEP_MS;
            is_step.then(|| now_ms.cmp(&expected_ms))
        };
        let set = step(from.clock_ms, at.clock_ms);
        let believed = step(from.now_ms, at.now_ms);
        if set.is_some() || believed.is_some() {
            self.reckoned = Some(at);
        }
        let is_put_right = self.was_set && believed == Some(Ordering::Greater);
        let since_ms = match self.since_ms {
            _ if is_behind => None,
            // What lies ahead was noted before the time was put right.
            Some(since_ms) if set.is_none() && !is_put_right => Some(since_ms.min(at.now_ms)),
            _ => Some(at.now_ms),
        };
        let was_set = match (set, believed) {
            _ if is_behind => true,
            (Some(Ordering::Less), _) => true,
            // As soon as the clock is believed again.
            (_, Some(Ordering::Greater)) if at.now_ms >= at.clock_ms => false,
            (set, _) => self.was_set || set.is_some(),
        };
        let before = (self.since_ms, self.was_set);
        (self.since_ms, self.was_set) = (since_ms, was_set);
        before != (since_ms, was_set)
    }

    /// Who the other server is, by its key. With one that is it no more, what it told stays true: if that reached up to now, nothing is missing;
    /// else the days begin anew. Gives whether anything changed.
    pub fn place(
        &mut self,
        partner: Option<&str>,
        at: Moment,
        is_there: impl Fn(&Id) -> bool,
    ) -> bool {
        if self.partner.as_ref().map(|known| known.key.as_str()) == partner {
            return false;
        }
        if let Some(gone) = self.partner.take() {
            let fresh = gone.fresh(at.running_ms);
            let since_ms = fresh.map_or(at.now_ms, |span| span.since_ms);
            self.since_ms = self.since_ms.map(|known_ms| known_ms.max(since_ms));
            take_later(&mut self.former, gone.seen);
            self.former.retain(|id, _| is_there(id));
        }
        self.partner = partner.map(|key| Partner {
            key: key.to_owned(),
            span: None,
            seen: BTreeMap::new(),
            until_running_ms: None,
        });
        true
    }

    /// The other server tells. What it tells wholly takes the place of what it told before.
    pub fn hear(&mut self, told: Told, at: Moment) -> Result<(), TooManySeen> {
        let Some(partner) = &mut self.partner else {
            return Ok(());
        };
        let new = told
            .seen
            .into_iter()
            .map(|(id, ago_ms)| (id, at.now_ms.saturating_sub(ago_ms)));
        let mut seen = match told.is_whole {
            true => BTreeMap::new(),
            false => std::mem::take(&mut partner.seen),
        };
        take_later(&mut seen, new);
        if seen.len() > OBJECTS_MAX {
            (partner.span, partner.seen) = (None, BTreeMap::new());
            return Err(TooManySeen);
        }
        partner.seen = seen;
        // Its ages are times of this clock by the same reckoning.
        partner.span = told.span.map(|ages| ages.ages(at.now_ms));
        partner.until_running_ms = told
            .span
            .and_then(|ages| at.running_ms.checked_sub(ages.until_ms));
        Ok(())
    }

    /// What this server can tell for itself, whose own book knows this. Not what the other one told: that one knows it better.
    #[must_use]
    pub fn own_span(&self, book: Option<Span>) -> Option<Span> {
        let (book, since_ms) = (book?, self.since_ms?);
        Some(Span {
            since_ms: book.since_ms.max(since_ms),
            ..book
        })
    }

    /// When this server saw a terminal last, by its book and by what former other servers told.
    #[must_use]
    pub fn own_seen_ms(&self, id: &Id, book: Option<u64>) -> Option<u64> {
        book.max(self.former.get(id).copied())
    }

    /// What former other servers told.
    pub fn former(&self) -> impl Iterator<Item = (&Id, u64)> {
        self.former.iter().map(|(id, seen_ms)| (id, *seen_ms))
    }

    /// When a terminal was last seen by any of them.
    #[must_use]
    pub fn seen_ms(&self, id: &Id, book: Option<u64>) -> Option<u64> {
        let partner = self.partner.as_ref();
        let told = partner.and_then(|partner| partner.seen.get(id).copied());
        self.own_seen_ms(id, book).max(told)
    }

    /// A terminal that was last seen before that time is unseen for so many `days`. None, while that cannot be known.
    #[must_use]
    pub fn unseen_before_ms(&self, days: u16, at: Moment, book: Option<Span>) -> Option<u64> {
        let mut known = self.own_span(book)?;
        if at.now_ms.saturating_sub(known.until_ms) > SIGHTINGS_FRESH_MS {
            return None;
        }
        if let Some(partner) = &self.partner {
            known = known.and(partner.fresh(at.running_ms)?);
        }
        let days_ms = u64::from(days) * DAY_MS + SEAT_DAYS_MARGIN_MS;
        let before_ms = known.until_ms.min(at.now_ms).checked_sub(days_ms)?;
        (known.since_ms <= before_ms).then_some(before_ms)
    }
}

fn take_later(seen: &mut BTreeMap<Id, u64>, others: impl IntoIterator<Item = (Id, u64)>) {
    for (id, seen_ms) in others {
        let known_ms = seen.entry(id).or_insert(seen_ms);
        *known_ms = seen_ms.max(*known_ms);
    }
}
