//! Waiting for a state: look, pause, look again, until a deadline. The only pause of the tests.

use std::time::{Duration, Instant};

/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Looks until `look` gives a value.
///
/// # Panics
/// When `within` has passed: `what` names what did not happen.
pub fn until<T>(what: &str, within: Duration, look: impl FnMut() -> Option<T>) -> T {
    try_until(within, look).unwrap_or_else(|| panic!("after {within:?}, still not: {what}"))
}

/// Looks until `look` gives a value; `None` when `within` has passed.
pub fn try_until<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        #[expect(clippy::disallowed_methods, reason = "the pause between two looks")]
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
