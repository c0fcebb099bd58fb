//! How fast data may leave by one way out: a leaky bucket whose rate is learned from the round trips of those
//! who acknowledge.
//!
//! A round trip longer than the shortest of its subnet is a queue somewhere on the way. The rate is steered
//! so that this queue stays at [`QUEUE_TARGET`]: short enough for the smallest switch buffers, long enough that
//! the wire never idles. Loss by itself says nothing here (a noisy line loses without being full); only when
//! time-outs come and acknowledgements do not, the rate is halved.
//!
//! What is not limited does not learn upwards: a rate that nobody needed was not tried.

use core::net::IpAddr;
use core::time::Duration;

use super::Rate;
use super::measures::{Throughput, Trips, in_time, product_over, time_of};
use crate::Time;

/// The standing queue that is aimed at.
const QUEUE_TARGET: Duration = Duration::from_micros(1_000);
/// Shortest time between two steps of the rate; a round trip if that is longer, to see what the last step did.
const EPOCH_MIN: Duration = Duration::from_millis(2);
/// Longest burst, as time at the present rate.
const BURST: Duration = Duration::from_micros(700);
/// Who waited and was woken late may make up for so much time: the queue of the wire has drained meanwhile.
const LATE_MAX: Duration = QUEUE_TARGET;
/// Smallest burst, in octets: some blocks of an Ethernet frame.
const BURST_BYTES_MIN: u64 = 6_000;
/// Before anything is known, in octets per second (100 Mbit/s). It doubles every [`EPOCH_MIN`] until a queue is seen.
const RATE_INITIAL: u64 = 12_500_000;
/// Never slower (5 Mbit/s).
const RATE_MIN: u64 = 625_000;
/// Never faster (400 Gbit/s): beyond it there is nothing to govern.
const RATE_MAX: u64 = 50_000_000_000;
/// So long without a round trip, and whole windows must be sent to get one.
const BLIND: Duration = Duration::from_millis(10);
/// So many epochs at the floor would empty any queue of ours.
const PINNED_EPOCHS: u32 = 8;
/// So long, and for so many octets beside three of the widest windows, a round trip that shows a short queue may
/// be missing.
const DOUBT_MIN: Duration = Duration::from_millis(25);
const DOUBT_BYTES: u64 = 100_000;
/// The shortest round trip is looked for again so often, by sending at half the rate for a moment: the standing
/// queue would pass for the way itself otherwise.
const PROBE_EVERY: Duration = Duration::from_secs(4);
const PROBE_TIME: Duration = Duration::from_millis(6);
/// So many time-outs in so long a time without any acknowledgement halve the rate.
const COLLAPSE_TIMEOUTS: u32 = 16;
const COLLAPSE_SILENCE: Duration = Duration::from_millis(200);
/// Errors and gains are in this many parts.
const PARTS: i64 = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Governor {
    rate: u64,
    ceiling: u64,
    learning: bool,
    /// The bucket: octets that left and have not drained, as of `at`.
    level: u64,
    at: Time,
    /// Octets that may leave beyond a burst, because those who waited for their time were woken after it.
    late: u64,
    /// When somebody who waits wants to be woken.
    opens_at: Option<Time>,
    /// Doubling until a queue is seen.
    starting: bool,
    /// Data was held back in this epoch.
    limited: bool,
    /// How far the queue is from its target, in parts, as of the last epoch: -PARTS (twice as long, or more) to
    /// PARTS (no queue).
    error: i64,
    epoch_ends: Time,
    /// Least queue seen in this epoch.
    queue: Option<Duration>,
    shortest_trip: Duration,
    delivered: Throughput,
    sent: Throughput,
    /// The part of the queue that does not depend on our rate.
    foreign: Duration,
    /// Epochs in a row that ended at the floor with too long a queue.
    pinned: u32,
    /// The rate and the queue when the rate began to fall.
    fell_from: Option<(u64, Duration)>,
    timeouts: u32,
    silent_since: Time,
    /// When the rate was last found not to be too high.
    trusted_at: Time,
    /// Octets of whole windows that left since then, and the widest window there was.
    unproven: u64,
    /// Octets that were acknowledged since then.
    proven: u64,
    widest: u64,
    /// The largest train that has left in this epoch: more than a burst if one block is.
    train: u64,
    /// Steps upwards in a row, without a queue: they grow.
    climbs: i64,
    probe_at: Time,
    trips: Trips,
}

impl Governor {
    pub(super) fn new(rate: Rate) -> Self {
        let (rate, ceiling, learning) = match rate {
            Rate::Learned { max } => (RATE_INITIAL, max.unwrap_or(RATE_MAX), true),
            Rate::Fixed(rate) => (rate, rate, false),
        };
        let ceiling = ceiling.clamp(RATE_MIN, RATE_MAX);
        Governor {
            rate: rate.clamp(RATE_MIN, ceiling),
            learning,
            ceiling,
            level: 0,
            at: Time::ZERO,
            late: 0,
            opens_at: None,
            starting: true,
            limited: false,
            // A fixed rate is kept to the octet.
            error: 0,
            epoch_ends: Time::ZERO,
            queue: None,
            shortest_trip: Duration::ZERO,
            delivered: Throughput::default(),
            sent: Throughput::default(),
            foreign: Duration::ZERO,
            pinned: 0,
            fell_from: None,
            timeouts: 0,
            silent_since: Time::ZERO,
            trusted_at: Time::ZERO,
            unproven: 0,
            proven: 0,
            widest: 0,
            train: 0,
            climbs: 0,
            probe_at: Time::ZERO,
            trips: Trips::default(),
        }
    }

    /// The rate at which the bucket drains: the learned one, corrected by how far the queue is from its target.
    fn drain_rate(&self) -> u64 {
        let probing = self.learning && self.limited && self.at > self.probe_at;
        let correction = if probing {
            PARTS / 2
        } else {
            PARTS + self.error * 3 / 10
        };
        scaled(self.rate, correction).clamp(RATE_MIN, self.ceiling)
    }

    fn burst(&self) -> u64 {
        in_time(self.rate, BURST).max(BURST_BYTES_MIN)
    }

    /// The standing queue that is aimed at: on a slow wire what leaves at once is one by itself.
    fn target(&self) -> Duration {
        let burst = self.burst().max(self.train);
        QUEUE_TARGET.max(time_of(burst, self.rate))
    }

    fn drain(&mut self, now: Time) {
        if now <= self.at {
            return;
        }
        if self.learning && now.since(self.probe_at) >= PROBE_TIME {
            self.probe_at = now + PROBE_EVERY;
        }
        let drained = in_time(self.drain_rate(), now.since(self.at));
        // Time is only taken when it drains at least an octet, or a fast clock would never drain any.
        if drained > 0 {
            let beyond = drained.saturating_sub(self.level);
            self.late = if self.learning && self.opens_at.is_some() {
                (self.late + beyond).min(in_time(self.rate, LATE_MAX))
            } else {
                0
            };
            self.level = self.level.saturating_sub(drained);
            self.at = now;
        }
    }

    /// Octets that may leave now, for data that would take `wanted`; 0 if it must wait. What is short of
    /// `wanted` is only granted from half a burst on: a train is not cut to crumbs.
    pub(super) fn room(&mut self, now: Time, wanted: u64) -> u64 {
        self.drain(now);
        let room = self.burst().saturating_sub(self.level) + self.late;
        if room >= wanted.min(self.burst() / 2) {
            self.opens_at = None;
            return room;
        }
        let missing = wanted.min(self.burst() / 2) - room;
        let opens_at = self.at + time_of(missing, self.drain_rate()) + Duration::from_nanos(1);
        self.opens_at = Some(opens_at);
        self.limited = true;
        self.doubt(now);
        0
    }

    /// Where every window is torn by losses, no round trip can be measured: when none has shown a short queue
    /// while several windows left, the rate is too high.
    fn doubt(&mut self, now: Time) {
        let overdue = now.since(self.trusted_at) >= DOUBT_MIN.max(self.shortest_trip * 4);
        if self.learning && overdue && self.unproven > 3 * self.widest + DOUBT_BYTES {
            // By as much as too little of it has arrived, but not by more than half.
            let arrived = product_over(self.rate, self.proven, self.unproven);
            let rate = (arrived / 4 * 5).clamp(self.rate / 2, self.rate / 5 * 4);
            self.rate = rate.max(self.floor()).max(RATE_MIN);
            self.starting = false;
            self.trust(now);
        }
    }

    fn trust(&mut self, now: Time) {
        self.trusted_at = now;
        self.unproven = 0;
        self.proven = 0;
    }

    /// When [`room`](Self::room) will grant something to who was refused last.
    pub(super) fn opens_at(&self) -> Option<Time> {
        self.opens_at
    }

    /// Nobody waits.
    pub(super) fn rest(&mut self) {
        self.opens_at = None;
    }

    /// How late we are: what arrived meanwhile has waited for us, for some of that time.
    fn lateness(&self, now: Time) -> Duration {
        self.opens_at.map_or(Duration::ZERO, |at| now.since(at))
    }

    /// Octets left that nobody acknowledges as such.
    pub(super) fn spend(&mut self, now: Time, bytes: u64) {
        self.drain(now);
        let late = self.late.min(bytes);
        self.late -= late;
        self.level += bytes - late;
    }

    /// Octets left, of a window of `window` octets; 0 if an acknowledgement is not to be expected yet.
    pub(super) fn sent(&mut self, now: Time, bytes: u64, window: u64) {
        self.spend(now, bytes);
        self.sent.add(now, bytes);
        self.train = self.train.max(bytes);
        if window > 0 {
            self.unproven += bytes;
            self.widest = self.widest.max(window);
        }
    }

    /// Octets were acknowledged, and, where it says something, how long their round trip was.
    pub(super) fn acknowledged(
        &mut self,
        now: Time,
        from: IpAddr,
        bytes: u64,
        round_trip: Option<Duration>,
    ) {
        self.silent_since = now;
        self.timeouts = 0;
        self.delivered.add(now, bytes);
        self.proven += bytes;
        let Some(round_trip) = round_trip else { return };
        let queue = round_trip.saturating_sub(self.trips.shortest(now, from, round_trip));
        // What it has waited for us is no queue; how much of it that was is not known, so it does not pass for a short one.
        let aim = self.foreign + self.target();
        let queue = if queue > aim {
            queue.saturating_sub(self.lateness(now)).max(aim)
        } else {
            queue
        };
        // Of an OACK: it tells how short the way can be, no more. Octets that say something are still to come.
        if bytes == 0 {
            return;
        }
        self.trust(now);
        if self.queue.is_none_or(|least| queue < least) {
            self.queue = Some(queue);
            self.shortest_trip = round_trip;
        }
        // The start is over with the first queue that is too long, whatever else this epoch has seen.
        if self.starting && queue > self.target() {
            self.queue = Some(queue);
            self.epoch_ends = now;
        }
        if self.learning && now >= self.epoch_ends {
            self.step(now);
        }
    }

    /// Whether nothing has been heard of the way for a while.
    pub(super) fn is_blind(&self, now: Time) -> bool {
        now.since(self.trusted_at) >= BLIND
    }

    /// A time-out ran out.
    pub(super) fn timed_out(&mut self, now: Time) {
        self.timeouts += 1;
        let silent = now.since(self.silent_since) >= COLLAPSE_SILENCE;
        if self.learning && silent && self.timeouts >= COLLAPSE_TIMEOUTS {
            self.timeouts = 0;
            self.silent_since = now;
            self.rate = (self.rate / 2).max(RATE_MIN);
            self.starting = true;
        }
    }

    /// The end of an epoch: the rate follows what was seen in it.
    fn step(&mut self, now: Time) {
        let Some(seen) = self.queue.take() else {
            return;
        };
        let limited = core::mem::take(&mut self.limited);
        self.epoch_ends = now + self.shortest_trip.clamp(EPOCH_MIN, EPOCH_MIN * 50);
        self.foreign = self.foreign.min(seen);
        let queue = seen - self.foreign;
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let target = micros(self.target());
        self.error = (target - micros(queue).min(2 * target)) * PARTS / target;
        self.climbs = if self.error > PARTS / 2 && limited {
            self.climbs + 1
        } else {
            0
        };
        if self.error < 0 {
            self.fall(seen, queue);
        } else {
            self.fell_from = None;
            self.starting &= self.error > 0;
            if limited && self.starting {
                self.rate *= 2;
            } else if limited {
                let gain = self.error / 40 * self.climbs.clamp(1, 8);
                self.rate = scaled(self.rate, PARTS + gain);
            }
        }
        self.rate = self.rate.max(self.floor()).clamp(RATE_MIN, self.ceiling);
        self.train = 0;
    }

    /// However long the queue seems: a good part of what has arrived of late still arrives. Without it, clients and cores
    /// that are busy for seconds would be taken for a wire that has shrunk to nothing.
    fn floor(&self) -> u64 {
        self.delivered.peak / 5 * 2
    }

    /// The queue is too long: the rate falls. But a queue that is as long at half the rate is not ours (clients that
    /// are slow to answer, other traffic): it is taken as part of the way from then on, while it lasts.
    fn fall(&mut self, seen: Duration, queue: Duration) {
        let overshot = core::mem::take(&mut self.starting) || queue > 2 * self.target();
        let most = self.delivered.rate() + self.delivered.rate() / 4;
        let arrives = self.delivered.rate() >= self.sent.rate() / 10 * 7;
        // The floor fades a little in each epoch.
        if self.rate <= self.floor() / 20 * 21 {
            self.pinned += 1;
            if arrives && self.pinned >= PINNED_EPOCHS {
                self.foreign = seen;
                self.rate = self.delivered.peak;
                self.pinned = 0;
            }
            return;
        }
        self.pinned = 0;
        if overshot && most < self.drain_rate() {
            self.rate = most.max(self.rate / 2);
            self.fell_from = None;
            return;
        }
        let (from, queue_then) = *self.fell_from.get_or_insert((self.rate, seen));
        self.rate = scaled(self.rate, PARTS + self.error / 16);
        if self.rate > from / 2 {
            return;
        }
        if arrives && seen >= queue_then / 4 * 3 {
            self.foreign = seen;
            self.rate = from;
        }
        self.fell_from = None;
    }
}

fn scaled(rate: u64, parts: i64) -> u64 {
    let parts = u64::try_from(parts).unwrap_or(0);
    rate.saturating_mul(parts) / PARTS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wire of `rate` octets per second with a queue of `queue` octets, always something to send, round
    /// trips of 100 µs beside the queue: octets delivered and dropped in `seconds`.
    fn wire(rate: u64, queue: u64, seconds: u64, ceiling: Option<u64>) -> (Governor, u64, u64) {
        const PACKET: u64 = 1_432;
        let mut governor = Governor::new(Rate::Learned { max: ceiling });
        let from = IpAddr::from([10, 0, 0, 1]);
        let (mut backlog, mut delivered, mut dropped) = (0_u64, 0, 0);
        let mut acks = std::collections::VecDeque::new();
        let step = Duration::from_micros(10);
        let mut now = Time::from_nanos(1_000_000_000);
        let end = now + Duration::from_secs(seconds);
        while now < end {
            now = now + step;
            let drained = in_time(rate, step).min(backlog);
            backlog -= drained;
            while let Some((at, sent_at)) = acks.front().copied().filter(|(at, _)| *at <= now) {
                let _: Time = at;
                acks.pop_front();
                delivered += PACKET;
                governor.acknowledged(now, from, PACKET, Some(now.since(sent_at)));
            }
            while governor.room(now, PACKET) >= PACKET {
                governor.sent(now, PACKET, PACKET);
                if backlog + PACKET > queue {
                    dropped += PACKET;
                    continue;
                }
                backlog += PACKET;
                let wait = Duration::from_nanos(backlog * 1_000_000_000 / rate);
                acks.push_back((now + wait + Duration::from_micros(100), now));
            }
        }
        (governor, delivered, dropped)
    }

    extern crate std;

    /// The same wire of 200 Mbit/s and 64 kB, but whoever sends and reads is woken only so often.
    fn woken_every(pause: Duration) -> (u64, u64) {
        const PACKET: u64 = 1_432;
        let (rate, queue) = (25_000_000, 64_000);
        let mut governor = Governor::new(Rate::Learned { max: None });
        let from = IpAddr::from([10, 0, 0, 1]);
        let (mut free_at, mut delivered, mut dropped) = (Time::ZERO, 0, 0);
        let mut acks = std::collections::VecDeque::new();
        let mut now = Time::from_nanos(1_000_000_000);
        let end = now + Duration::from_secs(2);
        while now < end {
            now = now + pause;
            while let Some((_, sent_at)) = acks.front().copied().filter(|(at, _)| *at <= now) {
                acks.pop_front();
                delivered += PACKET;
                governor.acknowledged(now, from, PACKET, Some(now.since(sent_at)));
            }
            while governor.room(now, PACKET) >= PACKET {
                governor.sent(now, PACKET, PACKET);
                if in_time(rate, free_at.since(now)) + PACKET > queue {
                    dropped += PACKET;
                    continue;
                }
                free_at = free_at.max(now) + time_of(PACKET, rate);
                acks.push_back((free_at + Duration::from_micros(100), now));
            }
        }
        (delivered, dropped)
    }

    #[test]
    fn who_is_woken_late_makes_up_for_it_and_takes_no_wait_of_its_own_for_a_queue() {
        for micros in [50, 300, 1_000] {
            let (delivered, dropped) = woken_every(Duration::from_micros(micros));
            let wire = 2 * 25_000_000;
            assert!(
                delivered >= wire / 10 * 9,
                "{micros} µs: {delivered} of {wire}"
            );
            assert!(dropped <= wire / 20, "{micros} µs: {dropped} dropped");
        }
    }

    #[test]
    fn the_rate_of_a_wire_is_learned_and_its_short_queue_kept() {
        for (rate, queue) in [
            (1_250_000, 16_000),
            (25_000_000, 64_000),
            (125_000_000, 300_000),
        ] {
            let (governor, delivered, dropped) = wire(rate, queue, 4, None);
            assert!(
                delivered * 100 >= rate * 4 * 94,
                "{delivered} of {} at {rate}",
                rate * 4
            );
            // Beside what the start costs, before the rate is known.
            assert!(
                dropped * 100 <= delivered + 20_000_000,
                "{dropped} dropped of {delivered} at {rate}"
            );
            assert!(governor.rate < rate * 3 / 2, "{} at {rate}", governor.rate);
        }
    }

    #[test]
    fn a_delay_that_does_not_come_from_our_rate_does_not_slow_it_down() {
        // A shortest way of 100 µs was seen once; since then every client takes 60 ms to answer.
        let (rate, packet) = (50_000_000, 1_432);
        let mut governor = Governor::new(Rate::Learned { max: None });
        let from = IpAddr::from([10, 0, 0, 1]);
        let mut now = Time::from_nanos(1_000_000_000);
        governor.acknowledged(now, from, packet, Some(Duration::from_micros(100)));
        let mut acks = std::collections::VecDeque::new();
        let (mut in_flight, mut delivered) = (0_u32, 0);
        for step in 0..400_000 {
            now = now + Duration::from_micros(10);
            while acks.front().is_some_and(|at| *at <= now) {
                acks.pop_front();
                in_flight -= 1;
                delivered += if step >= 200_000 { packet } else { 0 };
                governor.acknowledged(now, from, packet, Some(Duration::from_millis(60)));
            }
            // As many clients as 50 MB/s need, each with one block in flight.
            while in_flight < 2_095 && governor.room(now, packet) >= packet {
                governor.sent(now, packet, packet);
                in_flight += 1;
                acks.push_back(now + Duration::from_millis(60));
            }
        }
        assert!(delivered >= 2 * rate * 8 / 10, "{delivered} in 2 s");
    }

    #[test]
    fn a_ceiling_is_never_exceeded() {
        let (_, delivered, _) = wire(125_000_000, 300_000, 2, Some(5_000_000));
        assert!(delivered <= 2 * 5_000_000 + 20_000, "{delivered}");
        assert!(delivered >= 2 * 5_000_000 * 9 / 10, "{delivered}");
    }

    #[test]
    fn the_bucket_opens_when_it_says() {
        let mut governor = Governor::new(Rate::Learned { max: None });
        let now = Time::from_nanos(1_000_000_000);
        while governor.room(now, 1_432) > 0 {
            governor.sent(now, 1_432, 1_432);
        }
        let opens = governor.opens_at().expect("refused");
        assert!(opens > now);
        assert!(governor.room(opens, 1_432) > 0);
    }

    #[test]
    fn time_outs_without_any_acknowledgement_halve_the_rate() {
        let mut governor = Governor::new(Rate::Learned { max: None });
        for _ in 0..COLLAPSE_TIMEOUTS {
            governor.timed_out(Time::from_nanos(1_000_000_000));
        }
        assert_eq!(governor.rate, RATE_INITIAL / 2);
    }
}
