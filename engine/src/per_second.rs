//! So many in a second, and no more.

use core::time::Duration;

use daybreak_tftp::Time;

const SECOND: Duration = Duration::from_secs(1);

/// Counts within the present second, which begins with its first.
#[derive(Clone, Debug)]
pub struct PerSecond {
    most: u32,
    since: Time,
    count: u32,
}

impl PerSecond {
    /// At most so many.
    #[must_use]
    pub fn new(most: u32) -> Self {
        PerSecond {
            most,
            since: Time::ZERO,
            count: 0,
        }
    }

    /// Whether one more is within the bound; then it counts.
    pub fn lets(&mut self, now: Time) -> bool {
        if now >= self.since + SECOND {
            (self.since, self.count) = (now, 0);
        }
        let within = self.count < self.most;
        self.count += u32::from(within);
        within
    }

    /// How long the present second still lasts.
    #[must_use]
    pub fn rest(&self, now: Time) -> Duration {
        (self.since + SECOND).since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_no_more() {
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        let mut three = PerSecond::new(3);
        let within =
            |three: &mut PerSecond, millis| (0..10).filter(|_| three.lets(at(millis))).count();
        assert_eq!(within(&mut three, 5000), 3);
        assert_eq!(within(&mut three, 5999), 0);
        assert_eq!(three.rest(at(5900)), Duration::from_millis(100));
        assert_eq!(within(&mut three, 6000), 3);
        assert_eq!(within(&mut three, 9000), 3);
    }
}
