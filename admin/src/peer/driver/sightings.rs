//! When terminals were last seen: told to the other server now and then, and heard of it.

use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::Driver;
use crate::licences::HearError;
use crate::limits::{SIGHTINGS_TOLD_EVERY, SIGHTINGS_TOLD_EXACTLY_MS};

impl Driver {
    /// When the other server is told next; nothing while it is being told, does not listen, or there is no room.
    pub(super) fn tells_sightings_at(&self) -> Option<Instant> {
        let teller = &self.sightings.0;
        let may = self.connection.is_some() && teller.is_heard && !self.blocked;
        (may && !teller.is_telling() && self.config().enabled).then_some(self.sightings_at)
    }

    pub(super) fn tell_sightings(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|_| !self.blocked) else {
            return;
        };
        let outgoing = connection.outgoing.clone();
        let now_ms = self.lookout.now_ms();
        if self.is_clock_another(now_ms) {
            // The ages that were told were those of another time.
            self.sightings.0.begin_anew();
            (self.sightings_by, self.sightings_at) = (None, Instant::now());
        }
        if self
            .tells_sightings_at()
            .is_some_and(|at| at <= Instant::now())
        {
            self.begin_sightings(now_ms);
        }
        while self.sightings.0.is_telling() {
            match outgoing.try_reserve() {
                Ok(permit) => permit.send(self.sightings.0.next(now_ms).unwrap_or_default()),
                Err(TrySendError::Full(())) => {
                    self.blocked = true;
                    return;
                }
                // It is told by the reader.
                Err(TrySendError::Closed(())) => return,
            }
        }
    }

    /// Whether the clock was set, or is believed again, since it was told last.
    fn is_clock_another(&self, now_ms: u64) -> bool {
        self.sightings_by.is_some_and(|(then_ms, then)| {
            let passed_ms = u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX);
            let by_ms = now_ms.abs_diff(then_ms.saturating_add(passed_ms));
            by_ms >= SIGHTINGS_TOLD_EXACTLY_MS
        })
    }

    fn begin_sightings(&mut self, now_ms: u64) {
        let now = Instant::now();
        self.sightings_at = now + SIGHTINGS_TOLD_EVERY;
        self.sightings_by = Some((now_ms, now));
        match self.lookout.tell() {
            Ok((span, seen)) => self.sightings.0.begin(span, seen),
            Err(error) => {
                tracing::warn!(%error, "the other server is not told who was seen here; it is next time");
            }
        }
    }

    pub(super) fn hear_sightings(&mut self, message: &[u8]) {
        let told = match self.sightings.1.hear(message) {
            Ok(told) => told,
            Err(error) => {
                return tracing::warn!(%error, "what the other server tells of who was seen there is not listened to");
            }
        };
        match told.map(|told| self.lookout.hear(told)) {
            None | Some(Ok(())) => {}
            Some(Err(HearError::TooMany(error))) => {
                self.sightings.1.refuse();
                tracing::warn!(%error, "the other server tells of too many terminals, and is not listened to");
            }
            Some(Err(HearError::Database(error))) => {
                tracing::warn!(%error, "what the other server tells of who was seen there is not on the disk yet");
            }
        }
    }
}
