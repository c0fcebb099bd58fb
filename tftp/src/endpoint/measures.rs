//! What is measured of a way out: how many octets pass, and how short a round trip can be.

use core::net::IpAddr;
use core::time::Duration;

use crate::Time;

/// Time over which throughput is measured.
const THROUGHPUT_WINDOW: Duration = Duration::from_millis(25);
/// How soon a throughput that was once reached says nothing any more.
const PEAK_FADES: Duration = Duration::from_secs(20);

/// Octets that a rate makes in a time.
pub(super) fn in_time(rate: u64, time: Duration) -> u64 {
    product_over(rate, nanos(time), NANOS)
}

/// The time that octets take at a rate.
pub(super) fn time_of(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(product_over(bytes, NANOS, rate))
}

const NANOS: u64 = 1_000_000_000;

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// `a * b / divisor`, at most the largest number. On the packet path the product fits 64 bits, whose division is
/// several times cheaper.
#[inline]
pub(super) fn product_over(a: u64, b: u64, divisor: u64) -> u64 {
    match a.checked_mul(b) {
        Some(product) => product / divisor,
        None => {
            u64::try_from(u128::from(a) * u128::from(b) / u128::from(divisor)).unwrap_or(u64::MAX)
        }
    }
}

/// The rate at which octets pass: the better of the last two windows, and the peak of some time.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    pub(super) peak: u64,
    since: Time,
    bytes: u64,
    /// The most that was added at once.
    largest: u64,
    rates: [u64; 2],
}

impl Throughput {
    pub(super) fn add(&mut self, now: Time, bytes: u64) {
        self.bytes += bytes;
        self.largest = self.largest.max(bytes);
        let elapsed = now.since(self.since);
        // One ACK may stand for a whole window: a few of them, or its octets would pass for the work of a moment.
        if elapsed >= THROUGHPUT_WINDOW && self.bytes >= 4 * self.largest {
            let elapsed = nanos(elapsed);
            let rate = product_over(self.bytes, NANOS, elapsed);
            self.rates = [rate, self.rates[0]];
            let faded = product_over(self.peak, elapsed, nanos(PEAK_FADES));
            self.peak = self.peak.saturating_sub(faded).max(rate);
            (self.since, self.bytes, self.largest) = (now, 0, 0);
        }
    }

    pub(super) fn rate(&self) -> u64 {
        self.rates[0].max(self.rates[1])
    }
}

/// The shortest round trip of each subnet, over the last 10 to 20 s. A fixed table: subnets that fall on one
/// place share it, and the shorter one counts.
#[derive(Debug)]
pub(super) struct Trips([Trip; Trips::PLACES]);

#[derive(Clone, Copy, Debug, Default)]
struct Trip {
    since: Time,
    now: Option<Duration>,
    before: Option<Duration>,
}

impl Default for Trips {
    fn default() -> Self {
        Trips([Trip::default(); Trips::PLACES])
    }
}

impl Trips {
    const PLACES: usize = 64;
    const AGE: Duration = Duration::from_secs(10);

    pub(super) fn shortest(&mut self, now: Time, from: IpAddr, round_trip: Duration) -> Duration {
        let subnet = match from {
            IpAddr::V4(v4) => u64::from(u32::from(v4) >> 8),
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
        };
        let place = subnet.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        let trip = &mut self.0[usize::try_from(place).expect("six bits")];
        if now.since(trip.since) >= Self::AGE {
            *trip = Trip {
                since: now,
                now: None,
                before: trip.now,
            };
        }
        let shortest = trip.now.unwrap_or(round_trip).min(round_trip);
        trip.now = Some(shortest);
        trip.before.unwrap_or(shortest).min(shortest)
    }
}
