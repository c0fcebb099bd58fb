//! What comes from outside and is passed in: the time, and randomness. Tests bring their own.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The wall clock, which anybody may set, and one that nobody does.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Milliseconds that went by since some moment of this process.
    fn running_ms(&self) -> u64;
}

/// Unpredictable octets.
pub trait Entropy: Send + Sync {
    /// Fills `octets`.
    fn fill(&self, octets: &mut [u8]);
}

/// So many unpredictable octets.
pub fn random<const COUNT: usize>(entropy: &dyn Entropy) -> [u8; COUNT] {
    let mut octets = [0; COUNT];
    entropy.fill(&mut octets);
    octets
}

/// The time zone that the machine is in now; UTC, if it does not say.
#[must_use]
pub fn machine_zone() -> jiff::tz::TimeZone {
    jiff::tz::TimeZone::try_system().unwrap_or(jiff::tz::TimeZone::UTC)
}

/// The clock and the random source of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

impl Clock for Machine {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    fn running_ms(&self) -> u64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Entropy for Machine {
    fn fill(&self, octets: &mut [u8]) {
        // A machine without a random source can keep no secret: nothing may go on.
        getrandom::fill(octets).expect("the kernel's random source");
    }
}
