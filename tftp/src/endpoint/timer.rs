//! One timer a slot, in a hashed timing wheel: setting, moving and clearing are O(1), and nothing allocates
//! once the slots exist. Resolution: [`TICK`]; a timer fires up to one tick late, never early.
//!
//! Invariant: a slot is in at most one bucket, and the bucket's bit is set exactly when it is not empty.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Time;

/// Resolution of the wheel.
pub(super) const TICK: Duration = Duration::from_millis(4);
const TICK_NANOS: u64 = TICK.as_nanos() as u64;
const BUCKETS: usize = 4096;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    /// The tick at which it fires, or `UNSET`.
    tick: u64,
}

const UNSET: u64 = u64::MAX;

/// The timers of all slots.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32; BUCKETS]>,
    occupied: [u64; BUCKETS / 64],
    links: Vec<Link>,
    /// Every bucket before this tick has been visited.
    current: u64,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Wheel {
            heads: Box::new([NONE; BUCKETS]),
            occupied: [0; BUCKETS / 64],
            links: Vec::new(),
            current: 0,
        }
    }

    /// Sets, or moves, the timer of a slot.
    pub(super) fn set(&mut self, slot: u32, deadline: Time) {
        let index = slot as usize;
        if index >= self.links.len() {
            self.links.resize(
                index + 1,
                Link {
                    previous: NONE,
                    next: NONE,
                    tick: UNSET,
                },
            );
        }
        let tick = deadline.as_nanos().div_ceil(TICK_NANOS).max(self.current);
        if self.links[index].tick == tick {
            return;
        }
        self.clear(slot);
        let bucket = bucket(tick);
        let next = self.heads[bucket];
        self.links[index] = Link {
            previous: NONE,
            next,
            tick,
        };
        if next != NONE {
            self.links[next as usize].previous = slot;
        }
        self.heads[bucket] = slot;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    /// Clears the timer of a slot, if it is set.
    pub(super) fn clear(&mut self, slot: u32) {
        let Some(&link) = self
            .links
            .get(slot as usize)
            .filter(|link| link.tick != UNSET)
        else {
            return;
        };
        let bucket = bucket(link.tick);
        match link.previous {
            NONE => self.heads[bucket] = link.next,
            previous => self.links[previous as usize].next = link.next,
        }
        if link.next != NONE {
            self.links[link.next as usize].previous = link.previous;
        }
        if self.heads[bucket] == NONE {
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
        }
        self.links[slot as usize].tick = UNSET;
    }

    /// Whether the timer of a slot is set.
    pub(super) fn is_set(&self, slot: u32) -> bool {
        self.links
            .get(slot as usize)
            .is_some_and(|link| link.tick != UNSET)
    }

    /// No timer fires before this; `None` when none is set.
    pub(super) fn next(&self) -> Option<Time> {
        let ahead = self.ahead()?;
        Some(Time::from_nanos(
            (self.current + ahead).saturating_mul(TICK_NANOS),
        ))
    }

    /// Takes out every timer that is due, and adds its slot to `due`.
    pub(super) fn expire(&mut self, now: Time, due: &mut Vec<u32>) {
        let last = now.as_nanos() / TICK_NANOS;
        // After a long pause one turn of the wheel meets every bucket: more would meet them again.
        let mut visits = BUCKETS;
        while let Some(ahead) = self.ahead() {
            if self.current + ahead > last || visits == 0 {
                break;
            }
            self.current += ahead;
            visits = visits.saturating_sub(1);
            let mut slot = self.heads[bucket(self.current)];
            while slot != NONE {
                let Link { next, tick, .. } = self.links[slot as usize];
                if tick <= last {
                    self.clear(slot);
                    due.push(slot);
                }
                slot = next;
            }
            self.current += 1;
        }
        self.current = self.current.max(last + 1);
    }

    /// Ticks from `current` to the first bucket that is not empty.
    fn ahead(&self) -> Option<u64> {
        let start = bucket(self.current);
        let words = self.occupied.len();
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let found = word * 64 + bits.trailing_zeros() as usize;
                return Some(((found + BUCKETS - start) % BUCKETS) as u64);
            }
        }
        None
    }
}

fn bucket(tick: u64) -> usize {
    usize::try_from(tick % BUCKETS as u64).expect("a remainder by BUCKETS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_timer_beyond_one_turn_of_the_wheel_waits_for_its_turn() {
        let mut wheel = Wheel::new();
        let mut due = Vec::new();
        wheel.set(3, at(40_000));
        for ms in (0..40_000).step_by(100) {
            wheel.expire(at(ms), &mut due);
            assert!(due.is_empty(), "fired at {ms} ms");
        }
        wheel.expire(at(40_004), &mut due);
        assert_eq!(due, [3]);
        assert_eq!(wheel.next(), None);
    }

    proptest! {
        /// The wheel against a plain list of deadlines, through any order of operations.
        #[test]
        fn the_wheel_fires_what_a_list_of_deadlines_would(
            steps in prop::collection::vec((0_u32..24, 0_u64..60_000, 0_u64..3_000, any::<bool>()), 1..200)
        ) {
            let mut wheel = Wheel::new();
            let mut list = [None; 24];
            let mut now = 0_u64;
            for (slot, delay, pause, clear) in steps {
                if clear {
                    wheel.clear(slot);
                    list[slot as usize] = None;
                } else {
                    wheel.set(slot, at(now + delay));
                    list[slot as usize] = Some(now + delay);
                }
                now += pause;
                let mut due = Vec::new();
                wheel.expire(at(now), &mut due);
                for (slot, deadline) in list.iter_mut().enumerate() {
                    let fired = due.contains(&u32::try_from(slot).unwrap());
                    match *deadline {
                        Some(d) if fired => { prop_assert!(d <= now); *deadline = None; }
                        Some(d) => prop_assert!(d + 4 > now, "late: {} at {}", d, now),
                        None => prop_assert!(!fired),
                    }
                    prop_assert_eq!(wheel.is_set(u32::try_from(slot).unwrap()), deadline.is_some());
                }
                // The announced deadline is never after the true one, rounded up to a tick.
                let earliest = list.iter().flatten().min();
                match (wheel.next(), earliest) {
                    (Some(next), Some(&d)) => prop_assert!(next <= at(d.div_ceil(4) * 4).max(at(now / 4 * 4 + 4))),
                    (next, earliest) => prop_assert_eq!(next.is_some(), earliest.is_some()),
                }
            }
        }
    }
}
