//! What is known for a while: a table that is bounded, whose entries go when they are old, the oldest first.

use core::hash::Hash;
use core::time::Duration;
use std::collections::HashMap;

use daybreak_tftp::Time;

/// See the module.
#[derive(Debug)]
pub struct Remembered<K, V> {
    entries: HashMap<K, (V, Time)>,
    entries_max: usize,
    known_for: Duration,
}

impl<K: Eq + Hash + Copy, V> Remembered<K, V> {
    /// Nothing yet. At most `entries_max`, each for `known_for` after it was put.
    #[must_use]
    pub fn new(entries_max: usize, known_for: Duration) -> Self {
        Remembered {
            entries: HashMap::new(),
            entries_max,
            known_for,
        }
    }

    /// Puts, in place of what was known before.
    pub fn put(&mut self, now: Time, key: K, value: V) {
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        self.entries.insert(key, (value, now));
    }

    /// What is known of `key`.
    pub fn find(&mut self, now: Time, key: &K) -> Option<&mut V> {
        let known_for = self.known_for;
        let (value, put) = self.entries.get_mut(key)?;
        (now < *put + known_for).then_some(value)
    }

    /// The same, not known any more.
    pub fn take(&mut self, now: Time, key: &K) -> Option<V> {
        let (value, put) = self.entries.remove(key)?;
        (now < put + self.known_for).then_some(value)
    }

    /// Forgets what is older than an age that is halved until a quarter of the table is free: so that a full table costs one
    /// look at everything for many puts.
    fn make_room(&mut self, now: Time) {
        let mut age = self.known_for;
        while self.entries.len() > self.entries_max / 4 * 3 {
            self.entries.retain(|_, (_, put)| now.since(*put) < age);
            age /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn an_entry_is_known_for_its_time() {
        let mut table = Remembered::new(4, Duration::from_millis(100));
        table.put(at(0), 1, 'a');
        assert_eq!(table.find(at(99), &1), Some(&mut 'a'));
        assert_eq!(table.find(at(100), &1), None);
        table.put(at(100), 1, 'b');
        assert_eq!(table.take(at(150), &1), Some('b'));
        assert_eq!(table.take(at(150), &1), None);
    }

    #[test]
    fn a_full_table_forgets_the_oldest_also_when_all_came_at_once() {
        let mut table = Remembered::new(1000, Duration::from_secs(10));
        for key in 0..1000_u32 {
            table.put(at(u64::from(key)), key, ());
        }
        table.put(at(2000), 5000, ());
        assert!(table.entries.len() <= 751);
        assert!(table.find(at(2000), &999).is_some() && table.find(at(2000), &0).is_none());
        for key in 0..100_000_u32 {
            table.put(at(3000), key, ());
            assert!(table.entries.len() <= 1000);
        }
    }
}
