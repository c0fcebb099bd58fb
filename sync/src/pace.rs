//! Rates that are not exceeded, so that images on their way do not starve the boots: one that was set, and one that is learned.

use core::time::Duration;

use crate::limits::{
    FASTEST_KNOWN, IMAGE_RATE_MIN, PIECE_BYTES, PIECE_LATER, PIECE_SLOWER, PIECES_LOOKED_AT,
};

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

/// What is learned of the wire from how long pieces take: they wait where boots wait, too.
///
/// As long as they take about as long as the fastest one did, the rate grows; when they take much longer, it is half of what the wire
/// carried meanwhile. The fastest of some is looked at: one alone may have waited for a processor. So images have the wire while
/// nobody else wants it, and little of it then; never less than [`IMAGE_RATE_MIN`], and never more than was set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    rate: u64,
    /// The fastest piece of this time and of the time before.
    fastest: [Duration; 2],
    since: Duration,
    /// The pieces since then, all asked for at this rate: how many, and the fastest.
    some: (u8, Duration),
    some_since: Duration,
    slowed_at: Duration,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Wire {
            rate: u64::MAX,
            fastest: [Duration::MAX; 2],
            since: Duration::ZERO,
            some: (0, Duration::MAX),
            some_since: Duration::ZERO,
            slowed_at: Duration::ZERO,
        }
    }

    /// A whole piece is here that was asked for at that time, while so many were on their way.
    pub(crate) fn carried(&mut self, now: Duration, asked_at: Duration, in_flight: usize) {
        let took = now.saturating_sub(asked_at).max(Duration::from_micros(1));
        if now.saturating_sub(self.since) >= FASTEST_KNOWN {
            self.fastest = [Duration::MAX, self.fastest[0]];
            self.since = now;
        }
        self.fastest[0] = self.fastest[0].min(took);
        let fastest = self.fastest[0].min(self.fastest[1]);
        if asked_at < self.slowed_at {
            return;
        }
        self.some = (self.some.0 + 1, self.some.1.min(took));
        if self.some.0 < PIECES_LOOKED_AT {
            return;
        }
        let (_, took) = core::mem::replace(&mut self.some, (0, Duration::MAX));
        if took <= fastest * PIECE_SLOWER + PIECE_LATER {
            let passed = now.saturating_sub(self.some_since).as_millis().min(1000);
            // Twice as much after two seconds or so.
            let grown = self.rate / 2500 * u64::try_from(passed).unwrap_or(1000);
            self.rate = self.rate.saturating_add(grown);
        } else {
            let octets = (in_flight * PIECE_BYTES) as u128;
            let carried = octets * 1_000_000 / took.as_micros();
            let carried = u64::try_from(carried).unwrap_or(u64::MAX);
            self.rate = (self.rate.min(carried) / 2).max(IMAGE_RATE_MIN);
            self.slowed_at = now;
        }
        self.some_since = now;
    }

    /// Octets per second, if so many were set; zero: no bound was.
    pub(crate) fn rate(&mut self, set: u64) -> u64 {
        let most = if set == 0 { u64::MAX } else { set };
        self.rate = self.rate.min(most);
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fetches for so long over a wire that carries so much, of which boots want a share; gives the octets per second that images got.
    fn fetch(wire: &mut Wire, from: Duration, seconds: u32, carries: u64, boots: u64) -> u64 {
        const SET: u64 = 64 << 20;
        let (mut now, mut pieces) = (from, 0);
        let until = from + Duration::from_secs(seconds.into());
        let took = |octets: u64, rate: u64| Duration::from_micros(octets * 1_000_000 / rate);
        while now < until {
            // A queue of theirs stands before ours, and grows while both want more than there is.
            let rate = wire.rate(SET);
            let contended = boots > 0 && rate + boots > carries;
            let waits = if contended {
                Duration::from_millis(40)
            } else {
                Duration::ZERO
            };
            let in_flight = if rate > carries { 16 } else { 1 };
            let takes = waits + took(in_flight * PIECE_BYTES as u64, carries);
            wire.carried(now + takes, now, in_flight as usize);
            now += takes.max(took(PIECE_BYTES as u64 * in_flight, rate));
            pieces += in_flight;
        }
        pieces * PIECE_BYTES as u64 / u64::from(seconds)
    }

    #[test]
    fn images_have_the_wire_alone_and_little_of_it_beside_boots_and_go_on_always() {
        const CARRIES: u64 = 5_000_000;
        let mut wire = Wire::new();
        // One piece, before anybody knows anything.
        wire.carried(Duration::from_millis(13), Duration::ZERO, 1);
        let second = Duration::from_secs;
        let alone = fetch(&mut wire, second(1), 20, CARRIES, 0);
        assert!(alone > CARRIES * 2 / 3, "{alone}");
        let beside = fetch(&mut wire, second(30), 20, CARRIES, CARRIES * 9 / 10);
        assert!(beside < CARRIES / 4, "{beside}");
        let starved = fetch(&mut wire, second(60), 20, CARRIES, CARRIES);
        assert!(
            (IMAGE_RATE_MIN / 2..CARRIES / 8).contains(&starved),
            "{starved}"
        );
        let again = fetch(&mut wire, second(90), 60, CARRIES, 0);
        assert!(again > CARRIES / 2, "{again}");
        // A wire that is another one by now: what was fast there is forgotten.
        let slower = fetch(&mut wire, second(200), 1800, CARRIES / 20, 0);
        assert!(slower > CARRIES / 20 / 2, "{slower}");
        assert_eq!(wire.rate(1000), 1000, "never more than was set");
    }

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
