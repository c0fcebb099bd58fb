//! What a monitor says when something is wrong.

use std::fmt;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The invariant, by its number (`T1` to `T14`) or `liveness`.
    pub monitor: &'static str,
    /// What was seen.
    pub what: String,
}

/// What every check gives.
pub type Check = Result<(), Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.monitor, self.what)
    }
}

/// Fails by the name of a monitor, with a text that is only written when it does.
pub fn check(monitor: &'static str, holds: bool, what: impl FnOnce() -> String) -> Check {
    if holds {
        return Ok(());
    }
    let what = what();
    Err(Failure { monitor, what })
}
