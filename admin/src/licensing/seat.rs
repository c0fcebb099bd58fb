//! A terminal's seat: whether it holds one, and since when that is so.
//!
//! A later statement takes the place of an earlier one, so two that were made apart become one by taking the later: in whatever
//! order they meet, however often. Where both are of one time, the one that refuses nobody wins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a terminal has.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SeatState {
    /// None, and it gets none by itself: somebody released it.
    Released,
    /// None yet; it gets the next one that is free. What was there before there were seats waits, too.
    #[default]
    Waiting,
    /// One.
    Held,
}

/// A terminal's seat: given by the server, never by a request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Seat {
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// What it has.
    pub state: SeatState,
}

impl Seat {
    /// That of a new terminal.
    #[must_use]
    pub fn wanted(now_ms: u64) -> Self {
        Seat {
            since_ms: now_ms,
            state: SeatState::Waiting,
        }
    }

    /// Whether it boots with it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state == SeatState::Held
    }

    /// What is true of it from `now_ms` on. Later than what was true before, also where the clock was set back.
    #[must_use]
    pub fn becomes(self, state: SeatState, now_ms: u64) -> Seat {
        if self.state == state {
            return self;
        }
        Seat {
            since_ms: now_ms.max(self.since_ms + 1),
            state,
        }
    }

    /// What a terminal has after an edit: who is switched off keeps none, and who waits gets one while there is `room`.
    #[must_use]
    pub fn settled(self, enabled: bool, room: bool, now_ms: u64) -> Seat {
        match self.state {
            SeatState::Held if !enabled => self.becomes(SeatState::Waiting, now_ms),
            SeatState::Waiting if enabled && room => self.becomes(SeatState::Held, now_ms),
            _ => self,
        }
    }

    /// The one that holds where two were stated apart.
    #[must_use]
    pub fn merged(self, other: Seat) -> Seat {
        self.max(other)
    }
}
