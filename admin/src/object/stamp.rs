//! A hybrid logical clock: close to the wall clock, but never backwards.
//!
//! A stamp decides only between concurrent edits of one object; a successive edit wins whatever its stamp is.

use serde::{Deserialize, Serialize};

use super::NodeId;

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
    /// Goes on after the last stamp that was given or seen.
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
            (last.time_ms, last.counter) = (last.time_ms + 1, 0);
        }
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_increase_also_when_the_clock_is_set_back() {
        let node = NodeId::from_random([1; 8]);
        let start = Stamp {
            time_ms: 1000,
            counter: u32::MAX - 1,
            node,
        };
        let mut clock = HybridClock::after(start);
        let mut last = start;
        for now_ms in [1000, 999, 5, 1001, 1001, 2000, 0] {
            let next = clock.stamp(now_ms);
            assert!(next > last, "{next:?} after {last:?}");
            last = next;
        }
        assert_eq!(last.time_ms, 2000);
    }
}
