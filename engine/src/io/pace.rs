//! How many datagrams usually arrive within [`GATHER`]: a turn waits for so many, so that one wake-up handles
//! them together, and all answers leave together.
//!
//! A single client in lock-step is not slowed down: what usually arrives in that time is then one datagram.

use std::time::Duration;

use daybreak_tftp::Time;

/// The longest that a datagram waits for others.
pub(super) const GATHER: Duration = Duration::from_micros(50);

/// Over how long arrivals are counted.
const WINDOW: Duration = Duration::from_micros(500);

/// Most that a turn waits for.
const USUAL_MAX: u64 = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    since: Time,
    /// Datagrams in all when the window began.
    then: u64,
    usual: u32,
    /// The kernel cannot gather (before Linux 6.12): every turn ends with the first datagram.
    off: bool,
}

impl Pace {
    pub(super) fn new(off: bool) -> Self {
        Pace {
            since: Time::ZERO,
            then: 0,
            usual: 1,
            off,
        }
    }

    /// `datagrams` have arrived in all by `now`.
    pub(super) fn count(&mut self, now: Time, datagrams: u64) {
        let elapsed = now.since(self.since);
        if elapsed < WINDOW || self.off {
            return;
        }
        let arrived = (datagrams - self.then).min(1 << 32);
        let usual = arrived * GATHER.as_nanos() as u64 / elapsed.as_nanos().max(1) as u64;
        self.usual = usual.clamp(1, USUAL_MAX) as u32;
        (self.since, self.then) = (now, datagrams);
    }

    /// How many to wait for; at least 1.
    pub(super) fn usual(&self) -> u32 {
        self.usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(per_second: u64) -> u32 {
        let mut pace = Pace::new(false);
        for millis in 1..=10 {
            let now = Time::from_nanos(millis * 1_000_000);
            pace.count(now, per_second * millis / 1000);
        }
        pace.usual()
    }

    #[test]
    fn as_many_are_gathered_as_usually_come_in_that_time() {
        assert_eq!(usual(0), 1);
        assert_eq!(usual(33_000), 1, "one client in lock-step");
        assert_eq!(usual(200_000), 10);
        assert_eq!(usual(10_000_000), 64);
        assert_eq!(Pace::new(true).usual(), 1);
    }
}
