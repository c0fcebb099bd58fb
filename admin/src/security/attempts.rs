//! How often somebody may try a password: so often in a while, by source and by name.

use std::collections::HashMap;

use crate::limits::{
    ATTEMPT_COUNTERS_MAX, ATTEMPTS_BY_NAME_MAX, ATTEMPTS_BY_SOURCE_MAX, ATTEMPTS_WINDOW_MS,
};

/// Failed attempts of the last while.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    counters: HashMap<Counted, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Counted {
    Source(String),
    Name(String),
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    since_ms: u64,
    failures: u32,
}

impl Attempts {
    /// Milliseconds to wait before the next attempt; zero: now. An attempt counts as failed until it is forgiven.
    pub(super) fn begin(&mut self, source: &str, name: &str, now_ms: u64) -> u64 {
        if self.counters.len() >= ATTEMPT_COUNTERS_MAX {
            self.counters
                .retain(|_, counter| now_ms.saturating_sub(counter.since_ms) < ATTEMPTS_WINDOW_MS);
        }
        let counted = both(source, name);
        let full = self.counters.len() >= ATTEMPT_COUNTERS_MAX;
        let waits = counted
            .iter()
            .map(|(key, max)| match self.counters.get(key) {
                Some(counter) => counter.wait_ms(*max, now_ms),
                // So many sources at once are an attack: newcomers wait.
                None if full => ATTEMPTS_WINDOW_MS,
                None => 0,
            });
        let wait_ms = waits.max().unwrap_or(0);
        if wait_ms == 0 {
            for (key, _) in counted {
                self.counters
                    .entry(key)
                    .or_insert(Counter {
                        since_ms: now_ms,
                        failures: 0,
                    })
                    .count(now_ms);
            }
        }
        wait_ms
    }

    /// The attempt was good.
    pub(super) fn forgive(&mut self, source: &str, name: &str) {
        for (key, _) in both(source, name) {
            if let Some(counter) = self.counters.get_mut(&key) {
                counter.failures = counter.failures.saturating_sub(1);
            }
        }
    }
}

fn both(source: &str, name: &str) -> [(Counted, u32); 2] {
    [
        (Counted::Source(source.to_owned()), ATTEMPTS_BY_SOURCE_MAX),
        (Counted::Name(name.to_owned()), ATTEMPTS_BY_NAME_MAX),
    ]
}

impl Counter {
    fn wait_ms(self, max: u32, now_ms: u64) -> u64 {
        let passed = now_ms.saturating_sub(self.since_ms);
        if self.failures < max {
            0
        } else {
            ATTEMPTS_WINDOW_MS.saturating_sub(passed)
        }
    }

    fn count(&mut self, now_ms: u64) {
        // Also when the clock was set back: a window never lasts longer than itself.
        if now_ms < self.since_ms || now_ms - self.since_ms >= ATTEMPTS_WINDOW_MS {
            *self = Counter {
                since_ms: now_ms,
                failures: 0,
            };
        }
        self.failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_so_many_failures_the_source_waits_and_others_do_not() {
        let mut attempts = Attempts::default();
        for _ in 0..ATTEMPTS_BY_SOURCE_MAX {
            assert_eq!(attempts.begin("192.0.2.1", "admin", 1000), 0);
        }
        assert_eq!(
            attempts.begin("192.0.2.1", "admin", 2000),
            ATTEMPTS_WINDOW_MS - 1000
        );
        assert_eq!(attempts.begin("192.0.2.2", "admin", 2000), 0);
        assert_eq!(
            attempts.begin("192.0.2.1", "admin", 1000 + ATTEMPTS_WINDOW_MS),
            0
        );
    }

    #[test]
    fn good_attempts_do_not_add_up() {
        let mut attempts = Attempts::default();
        for _ in 0..10 * ATTEMPTS_BY_NAME_MAX {
            assert_eq!(attempts.begin("192.0.2.1", "admin", 1000), 0);
            attempts.forgive("192.0.2.1", "admin");
        }
    }

    #[test]
    fn a_name_that_many_sources_try_waits_too() {
        let mut attempts = Attempts::default();
        for number in 0..ATTEMPTS_BY_NAME_MAX {
            assert_eq!(attempts.begin(&number.to_string(), "admin", 1000), 0);
        }
        assert!(attempts.begin("elsewhere", "admin", 1000) > 0);
        assert_eq!(attempts.begin("elsewhere", "other", 1000), 0);
    }

    #[test]
    fn memory_is_bounded_whoever_tries() {
        let mut attempts = Attempts::default();
        for number in 0..2 * ATTEMPT_COUNTERS_MAX {
            attempts.begin(&number.to_string(), &number.to_string(), 1000);
        }
        assert!(attempts.counters.len() <= ATTEMPT_COUNTERS_MAX + 1);
    }
}
