//! At most so many a second: a token bucket, in whole tokens, with time as an argument.

use crate::Time;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Limiter {
    per_second: u32,
    left: u32,
    since: Time,
}

impl Limiter {
    pub(super) fn new(per_second: u32) -> Self {
        Limiter {
            per_second,
            left: per_second,
            since: Time::ZERO,
        }
    }

    /// Whether one more may happen now; it counts if so.
    pub(super) fn allows(&mut self, now: Time) -> bool {
        if now.since(self.since).as_secs() >= 1 {
            self.since = now;
            self.left = self.per_second;
        }
        let allowed = self.left > 0;
        self.left -= u32::from(allowed);
        allowed
    }
}
