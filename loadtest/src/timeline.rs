//! How many of something ended when: counts by hundredths of a second.

use std::collections::BTreeMap;

use daybreak_tftp::Time;
use serde::{Deserialize, Serialize};

/// Width of a bin.
pub const BIN_MS: u32 = 10;

/// Bins that are told apart: an hour. Beyond it: counted in the last.
const BINS_MAX: u32 = 360_000;

/// Counts by bin; empty bins take no room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, u32)>", into = "Vec<(u32, u32)>")]
pub struct Timeline(BTreeMap<u32, u32>);

impl Timeline {
    /// Counts one at a time after the start.
    pub fn record(&mut self, at: Time) {
        let bin = at.as_nanos() / (u64::from(BIN_MS) * 1_000_000);
        self.add(u32::try_from(bin).unwrap_or(u32::MAX), 1);
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Timeline) {
        for (bin, count) in &other.0 {
            self.add(*bin, *count);
        }
    }

    /// The same, so many bins later.
    #[must_use]
    pub fn later(&self, bins: u32) -> Timeline {
        let mut later = Timeline::default();
        for (bin, count) in &self.0 {
            later.add(bin.saturating_add(bins), *count);
        }
        later
    }

    /// The count of all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().map(|count| u64::from(*count)).sum()
    }

    /// The bins that are not empty, in order: the end of each in seconds, and its count.
    pub fn bins(&self) -> impl Iterator<Item = (f64, u32)> {
        let end = |bin: u32| f64::from(bin + 1) * f64::from(BIN_MS) / 1000.0;
        self.0.iter().map(move |(bin, count)| (end(*bin), *count))
    }

    fn add(&mut self, bin: u32, count: u32) {
        let bin = bin.min(BINS_MAX - 1);
        let sum = self.0.entry(bin).or_default();
        *sum = sum.saturating_add(count);
    }
}

impl From<Vec<(u32, u32)>> for Timeline {
    fn from(bins: Vec<(u32, u32)>) -> Timeline {
        let mut timeline = Timeline::default();
        for (bin, count) in bins {
            timeline.add(bin, count);
        }
        timeline
    }
}

impl From<Timeline> for Vec<(u32, u32)> {
    fn from(timeline: Timeline) -> Vec<(u32, u32)> {
        timeline.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_together_is_counted_together() {
        let mut timeline = Timeline::default();
        for millis in [0, 9, 10, 25, u64::MAX / 1_000_000] {
            timeline.record(Time::from_nanos(millis * 1_000_000));
        }
        let text = serde_json::to_string(&timeline).unwrap();
        assert_eq!(text, "[[0,2],[1,1],[2,1],[359999,1]]");
        let mut twice: Timeline = serde_json::from_str(&text).unwrap();
        assert_eq!(twice, timeline);
        twice.merge(&timeline.later(1));
        assert_eq!(twice.count(), 10);
        assert_eq!(twice.bins().next(), Some((0.01, 2)));
    }
}
