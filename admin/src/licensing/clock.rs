//! The time that licences with an end are judged by: the clock, and two witnesses that nobody turns back.
//!
//! - *Seen*: the latest time that the clock has shown and stood by. One that nothing explains (it is ahead by more than the server ran, and
//!   more than [`LICENCE_CLOCK_TOLERANCE_MS`]) counts for as long as the clock shows it, and is remembered only after it stood for
//!   [`LICENCE_CLOCK_BELIEVED_MS`] of running: a clock that once ran wild and was put right leaves nothing behind.
//! - *Ran*: how long this server has run since the newest activation, which says the vendor's time. It needs no clock, so turning one back,
//!   again and again, gains nothing.
//!
//! Invariants: what is witnessed never runs back, except by a newer activation; on a server whose clock is right it is never ahead of that.

use crate::limits::{LICENCE_CLOCK_BELIEVED_MS, LICENCE_CLOCK_TOLERANCE_MS};

/// What is remembered across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witnesses {
    /// The latest time that the clock has shown and stood by, in milliseconds since 1970.
    pub seen_ms: u64,
    /// When the newest activation was made that was installed here.
    pub issued_ms: u64,
    /// How long this server has run since that was installed.
    pub ran_ms: u64,
}

impl Witnesses {
    /// The time that it is at least.
    #[must_use]
    pub fn latest_ms(&self) -> u64 {
        self.seen_ms.max(self.issued_ms.saturating_add(self.ran_ms))
    }
}

/// A clock that is ahead without a reason.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    /// When this process saw it first, in its running time.
    since_ms: u64,
    /// How much the clock was ahead of the running time.
    by_ms: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct LicenceClock {
    witnesses: Witnesses,
    /// The running time of the last look.
    looked_ms: u64,
    ahead: Option<Ahead>,
}

impl LicenceClock {
    /// Goes on from what is remembered; `running_ms` is how long this process runs, by a clock that nobody sets.
    #[must_use]
    pub fn new(witnesses: Witnesses, running_ms: u64) -> Self {
        LicenceClock {
            witnesses,
            looked_ms: running_ms,
            ahead: None,
        }
    }

    /// What is to be remembered.
    #[must_use]
    pub fn witnesses(&self) -> Witnesses {
        self.witnesses
    }

    /// The clock shows `now_ms`.
    pub fn look(&mut self, now_ms: u64, running_ms: u64) {
        let passed_ms = running_ms.saturating_sub(self.looked_ms);
        self.looked_ms = running_ms;
        let witnesses = &mut self.witnesses;
        witnesses.ran_ms = witnesses.ran_ms.saturating_add(passed_ms);
        if now_ms <= witnesses.seen_ms {
            self.ahead = None;
            return;
        }
        let explained_ms = passed_ms.saturating_add(LICENCE_CLOCK_TOLERANCE_MS);
        if now_ms - witnesses.seen_ms <= explained_ms {
            self.ahead = None;
            witnesses.seen_ms = now_ms;
            return;
        }
        let by_ms = now_ms.saturating_sub(running_ms);
        let ahead = self
            .ahead
            .filter(|ahead| ahead.by_ms.abs_diff(by_ms) <= LICENCE_CLOCK_TOLERANCE_MS)
            .unwrap_or(Ahead {
                since_ms: running_ms,
                by_ms,
            });
        self.ahead = Some(ahead);
        if running_ms - ahead.since_ms >= LICENCE_CLOCK_BELIEVED_MS {
            self.ahead = None;
            witnesses.seen_ms = now_ms;
        }
    }

    /// A licence was installed that was activated then. Its vendor knows the time: if it is the newest, what was witnessed before counts
    /// no more.
    pub fn activated(&mut self, issued_ms: u64) {
        if issued_ms > self.witnesses.issued_ms {
            self.ahead = None;
            self.witnesses = Witnesses {
                seen_ms: issued_ms,
                issued_ms,
                ran_ms: 0,
            };
        }
    }
}
