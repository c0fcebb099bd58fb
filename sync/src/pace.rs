//! A rate that is not exceeded: so that images on their way do not starve the boots.

use core::time::Duration;

/// Octets may pass at a rate, after a short burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Octets per second; zero: no bound.
    rate: u64,
    /// Until then, all that passed is paid for.
    paid_until: Duration,
}

/// What may pass at once after a pause.
const BURST: Duration = Duration::from_millis(20);

impl Pace {
    pub(crate) fn new(rate: u64) -> Self {
        Pace {
            rate,
            paid_until: Duration::ZERO,
        }
    }

    pub(crate) fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
    }

    /// When the next octet may pass.
    pub(crate) fn opens_at(&self) -> Duration {
        self.paid_until.saturating_sub(BURST)
    }

    pub(crate) fn is_open(&self, now: Duration) -> bool {
        self.rate == 0 || self.opens_at() <= now
    }

    pub(crate) fn pass(&mut self, now: Duration, bytes: usize) {
        if let Some(nanos) = (bytes as u64 * 1_000_000_000).checked_div(self.rate) {
            self.paid_until = self.paid_until.max(now) + Duration::from_nanos(nanos);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_not_more_than_the_rate_and_a_burst() {
        let mut pace = Pace::new(1_000_000);
        let (mut now, mut passed) = (Duration::ZERO, 0);
        while now < Duration::from_secs(2) {
            while pace.is_open(now) {
                pace.pass(now, 10_000);
                passed += 10_000;
            }
            now = pace.opens_at();
        }
        assert!((2_000_000..=2_040_000).contains(&passed), "{passed}");
        assert!(Pace::new(0).is_open(Duration::ZERO));
    }
}
