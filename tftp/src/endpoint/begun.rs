//! Terminals that have begun their boot: sources that have fetched a file a short time ago. What they ask next is the
//! next file of the same boot, which goes before the boots that have not begun.
//!
//! Two sets, of which the older one is dropped from time to time: a source is known for one to two
//! [`limits::BOOT_PAUSE`]s. The sets are bounded, and nothing else is kept of a source.

use core::net::IpAddr;

use hashbrown::HashSet;

use super::table::{Keyed, octets};
use crate::{Time, limits};

/// See the module.
#[derive(Debug)]
pub(super) struct Begun {
    recent: HashSet<[u8; 16], Keyed>,
    before: HashSet<[u8; 16], Keyed>,
    since: Time,
}

impl Begun {
    pub(super) fn new(hasher: &Keyed) -> Self {
        Begun {
            recent: HashSet::with_hasher(hasher.clone()),
            before: HashSet::with_hasher(hasher.clone()),
            since: Time::ZERO,
        }
    }

    /// A source has fetched a file to its end.
    pub(super) fn add(&mut self, now: Time, source: IpAddr) {
        self.age(now);
        if self.recent.len() < limits::BEGUN_MAX {
            self.recent.insert(octets(source));
        }
    }

    /// Whether a source has fetched a file of late.
    pub(super) fn knows(&mut self, now: Time, source: IpAddr) -> bool {
        self.age(now);
        let source = octets(source);
        self.recent.contains(&source) || self.before.contains(&source)
    }

    fn age(&mut self, now: Time) {
        let age = now.since(self.since);
        if age < limits::BOOT_PAUSE {
            return;
        }
        core::mem::swap(&mut self.recent, &mut self.before);
        self.recent.clear();
        if age >= limits::BOOT_PAUSE * 2 {
            self.before.clear();
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_source_is_known_for_at_least_one_pause_and_forgotten_after_two() {
        let start = Time::from_nanos(1 << 50);
        for offset in [0, 1, 30, 59] {
            let mut begun = Begun::new(&Keyed([1; 16]));
            begun.age(start);
            let added = start + core::time::Duration::from_secs(offset);
            begun.add(added, source(1));
            assert!(!begun.knows(added, source(2)));
            assert!(begun.knows(added + limits::BOOT_PAUSE, source(1)));
            assert!(!begun.knows(added + limits::BOOT_PAUSE * 3, source(1)));
        }
    }

    #[test]
    fn beyond_the_bound_a_source_is_a_newcomer() {
        let mut begun = Begun::new(&Keyed([1; 16]));
        let most = u32::try_from(limits::BEGUN_MAX).unwrap();
        for number in 0..=most {
            begun.add(Time::ZERO, source(number));
        }
        assert!(begun.knows(Time::ZERO, source(most - 1)));
        assert!(!begun.knows(Time::ZERO, source(most)));
    }
}
