//! Round-trip time and retransmission time-out of one transfer (RFC 6298's estimator, RFC 1123 §4.2.3.2).

use core::time::Duration;

use crate::limits;

/// The estimator. Microseconds inside: 16 bytes a transfer.
#[derive(Clone, Debug)]
pub(crate) struct Rtt {
    /// Smoothed round trip; 0 before the first sample.
    smoothed_us: u32,
    variation_us: u32,
    /// What is used before the first sample.
    initial_ms: u32,
    /// Doublings since the last progress.
    backoff: u8,
}

impl Rtt {
    /// `timeout_s` is the interval that the client negotiated (RFC 2349), the initial one then; without it, that is
    /// ours and the `jitter`.
    pub(crate) fn new(timeout_s: Option<u8>, jitter: Duration) -> Self {
        let initial = timeout_s.map_or(limits::RTO_INITIAL + jitter, |s| {
            Duration::from_secs(u64::from(s))
        });
        Rtt {
            smoothed_us: 0,
            variation_us: 0,
            initial_ms: u32::try_from(initial.as_millis()).expect("at most 255 s"),
            backoff: 0,
        }
    }

    /// Takes a measured round trip. Never one of a retransmission (Karn's rule): the caller sees to it.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        let rtt_us = u32::try_from(rtt.as_micros())
            .unwrap_or(u32::MAX / 8)
            .clamp(1, u32::MAX / 8);
        // The first sample, or one so short that the others measured something else than the way: a
        // repeated ACK, a client that was busy.
        if self.smoothed_us == 0 || rtt_us < self.smoothed_us / 8 {
            self.smoothed_us = rtt_us;
            self.variation_us = rtt_us / 2;
        } else {
            let deviation = self.smoothed_us.abs_diff(rtt_us);
            self.variation_us = self.variation_us - self.variation_us / 4 + deviation / 4;
            self.smoothed_us = self.smoothed_us - self.smoothed_us / 8 + rtt_us / 8;
        }
    }

    /// The smoothed round trip, if one was measured.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        (self.smoothed_us != 0).then(|| Duration::from_micros(u64::from(self.smoothed_us)))
    }

    /// How long to wait for an acknowledgement now.
    pub(crate) fn timeout(&self) -> Duration {
        let initial = Duration::from_millis(u64::from(self.initial_ms));
        let base = match self.smoothed() {
            None => initial,
            Some(smoothed) => {
                let spread = Duration::from_micros(4 * u64::from(self.variation_us));
                (smoothed + spread).max(limits::RTO_MIN)
            }
        };
        let most = limits::RTO_MAX.max(initial);
        base.saturating_mul(1 << self.backoff.min(16)).min(most)
    }

    /// A time-out ran out: the next one is twice as long.
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// The client made progress.
    pub(crate) fn progressed(&mut self) {
        self.backoff = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_timeout_is_half_a_second_and_doubles() {
        let mut rtt = Rtt::new(None, Duration::ZERO);
        assert_eq!(rtt.timeout(), limits::RTO_INITIAL);
        rtt.back_off();
        assert_eq!(rtt.timeout(), limits::RTO_INITIAL * 2);
        for _ in 0..40 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), limits::RTO_MAX);
        rtt.progressed();
        assert_eq!(rtt.timeout(), limits::RTO_INITIAL);
    }

    #[test]
    fn one_long_round_trip_at_the_start_is_soon_forgotten() {
        let mut rtt = Rtt::new(None, Duration::ZERO);
        rtt.sample(Duration::from_secs(1));
        assert!(rtt.timeout() > Duration::from_secs(1));
        rtt.sample(Duration::from_millis(2));
        assert_eq!(rtt.timeout(), limits::RTO_MIN);
    }

    #[test]
    fn a_negotiated_timeout_is_the_initial_interval_until_a_round_trip_is_known() {
        let mut rtt = Rtt::new(Some(5), Duration::ZERO);
        assert_eq!(rtt.timeout(), Duration::from_secs(5));
        rtt.sample(Duration::from_millis(10));
        assert!(rtt.timeout() < Duration::from_secs(1));
    }

    #[test]
    fn the_timeout_follows_the_round_trip_and_never_undercuts_it() {
        let mut rtt = Rtt::new(None, Duration::ZERO);
        for _ in 0..100 {
            rtt.sample(Duration::from_millis(400));
        }
        assert!(
            rtt.timeout() >= Duration::from_millis(390),
            "{:?}",
            rtt.timeout()
        );
        assert!(
            rtt.timeout() < Duration::from_millis(600),
            "{:?}",
            rtt.timeout()
        );
    }
}
