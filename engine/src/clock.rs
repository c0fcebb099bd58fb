//! The engine's clock: monotonic, as the protocol core's [`Time`]. One origin for the whole process.

use std::time::{Duration, Instant};

use daybreak_tftp::Time;

/// A monotonic clock. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn start() -> Self {
        Clock {
            origin: Instant::now(),
        }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// How long until `time`; zero when it has passed.
    #[must_use]
    pub fn until(&self, time: Time) -> Duration {
        time.since(self.now())
    }
}
