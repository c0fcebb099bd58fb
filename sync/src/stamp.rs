//! A hybrid logical clock: close to the wall clock, but never backwards.
//!
//! A stamp decides only between concurrent edits of one object; a successive edit wins whatever its stamp is.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::limits::DRIFT_MAX;

/// When an edit was made. Ordered by time, then counter, then node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds since 1970, as far as the node knew.
    pub time_ms: u64,
    /// Tells edits of one millisecond apart.
    pub counter: u32,
    /// Who made it.
    pub node: NodeId,
}

/// Gives stamps that strictly increase, whatever the wall clock does.
#[derive(Clone, Copy, Debug)]
pub struct HybridClock {
    last: Stamp,
}

impl HybridClock {
    /// Goes on after the last stamp that this node gave.
    #[must_use]
    pub fn after(last: Stamp) -> Self {
        HybridClock { last }
    }

    /// The stamp of an edit at `now_ms`, greater than every one before.
    pub fn stamp(&mut self, now_ms: u64) -> Stamp {
        let last = &mut self.last;
        if now_ms > last.time_ms {
            (last.time_ms, last.counter) = (now_ms, 0);
        } else if let Some(next) = last.counter.checked_add(1) {
            last.counter = next;
        } else {
            (last.time_ms, last.counter) = (last.time_ms.saturating_add(1), 0);
        }
        *last
    }

    /// Has seen a stamp of another node: later ones of this node are greater, unless the other's clock is further
    /// ahead than [`DRIFT_MAX`]. So a wrong clock there does not make this one wrong.
    pub fn observe(&mut self, seen: Stamp, now_ms: u64) {
        let last = &mut self.last;
        let bound_ms = now_ms.saturating_add(milliseconds(DRIFT_MAX));
        if seen.time_ms <= bound_ms && (seen.time_ms, seen.counter) > (last.time_ms, last.counter) {
            (last.time_ms, last.counter) = (seen.time_ms, seen.counter);
        }
    }

    /// The same clock in another life of its node.
    #[must_use]
    pub fn of_node(self, node: NodeId) -> Self {
        HybridClock {
            last: Stamp { node, ..self.last },
        }
    }

    /// The greatest stamp so far.
    #[must_use]
    pub fn last(&self) -> Stamp {
        self.last
    }
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(time_ms: u64, counter: u32, node: u8) -> Stamp {
        let node = NodeId::from_random([node; 8]);
        Stamp {
            time_ms,
            counter,
            node,
        }
    }

    #[test]
    fn s11_stamps_increase_also_when_the_clock_is_set_back() {
        let start = stamp(1000, u32::MAX - 1, 1);
        let mut clock = HybridClock::after(start);
        let mut last = start;
        for now_ms in [1000, 999, 5, 1001, 1001, 2000, 0] {
            let next = clock.stamp(now_ms);
            assert!(next > last, "{next:?} after {last:?}");
            last = next;
        }
        assert_eq!(last.time_ms, 2000);
    }

    #[test]
    fn s11_a_clock_follows_another_that_is_a_little_ahead_and_no_further() {
        let mut clock = HybridClock::after(stamp(0, 0, 1));
        clock.observe(stamp(60_000, 3, 2), 1000);
        assert_eq!(clock.stamp(1001), stamp(60_000, 4, 1));
        let wrong = stamp(4_000_000_000_000, 0, 2);
        clock.observe(wrong, 1000);
        assert_eq!(clock.stamp(1001), stamp(60_000, 5, 1));
    }
}
