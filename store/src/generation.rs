//! The number of a published catalog. It only increases.

use core::fmt;

use crate::limits::GENERATION_MAX;

/// A published state of the store; zero is the state before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl Generation {
    /// Before anything was published.
    pub const ZERO: Generation = Generation(0);

    /// The generation with this number, at most [`GENERATION_MAX`].
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number <= GENERATION_MAX {
            Some(Generation(number))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after this; `None` at the bound.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        Generation::new(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
