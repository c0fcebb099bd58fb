//! Who was seen when, by the engine here and by the other server: what [`Sightings`] decides, with the clock, and with the disk.
//!
//! What the other server told is kept in `events.db`, beside what the engine here has seen, so that one is not there without the other.
//! It belongs to this server alone: it is in no backup and is never synchronized.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Licences;
use crate::configuration::Configuration;
use crate::database::DatabaseError;
use crate::events::{Book, Follower};
use crate::kind::Kind;
use crate::licensing::{Moment, Sightings, Span, Told, TooManySeen};
use crate::object::Id;

/// Why what the other server tells is not kept.
#[derive(Debug, thiserror::Error)]
pub enum HearError {
    /// It is refused.
    #[error("it tells of {0}")]
    TooMany(#[from] TooManySeen),
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// See the module.
pub struct Lookout {
    configuration: Arc<Configuration>,
    licences: Arc<Licences>,
    follower: Arc<Follower>,
    kept: Mutex<Kept>,
}

struct Kept {
    sightings: Sightings,
    /// The last change could not be written; it is in force all the same, and written as soon as that is possible.
    is_stale: bool,
}

impl Lookout {
    /// Goes on from what is kept. Where nothing is, or nothing that can be read, the days begin anew, unless there is no terminal yet.
    pub fn open(
        configuration: Arc<Configuration>,
        licences: Arc<Licences>,
        follower: Arc<Follower>,
    ) -> Result<Self, DatabaseError> {
        let kept = follower.book().sightings()?;
        let kept = kept.and_then(|body| match serde_json::from_str(&body) {
            Ok(sightings) => Some(sightings),
            Err(error) => {
                tracing::warn!(%error, "when other servers saw terminals is lost; the days of seat-days begin anew");
                None
            }
        });
        let begun = || {
            let site = configuration.site();
            let is_empty = site.table(Kind::Terminal).objects().next().is_none();
            let now_ms = licences.known().time_ms();
            Sightings::begun(if is_empty { 0 } else { now_ms })
        };
        let mut kept = Kept {
            sightings: kept.unwrap_or_else(begun),
            is_stale: true,
        };
        kept.write(&follower.book())?;
        Ok(Lookout {
            configuration,
            licences,
            follower,
            kept: Mutex::new(kept),
        })
    }

    /// What the clock shows, as far as it is believed.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.licences.known().time_ms()
    }

    /// Looks at the clock: to be called again and again.
    pub fn look(&self) -> Result<(), DatabaseError> {
        let known = self.licences.known();
        self.change(|sightings| sightings.look(self.moment(), known.is_behind()))
    }

    /// Says who the other server is, by its key.
    pub fn place(&self, partner: Option<&str>) -> Result<(), DatabaseError> {
        let site = self.configuration.site();
        let is_there = |id: &Id| site.object(Kind::Terminal, id).is_some();
        self.change(|sightings| sightings.place(partner, self.moment(), is_there))
    }

    /// Takes what the other server tells. On return it is kept.
    pub fn hear(&self, told: Told) -> Result<(), HearError> {
        let mut kept = self.locked();
        kept.is_stale = true;
        let heard = kept.sightings.hear(told, self.moment());
        kept.write(&self.follower.book())?;
        Ok(heard?)
    }

    /// What the other server is to be told: in which time this one knows who was seen, and when terminals were last.
    pub fn tell(&self) -> Result<(Option<Span>, BTreeMap<Id, u64>), DatabaseError> {
        let kept = self.locked();
        let sightings = &kept.sightings;
        // First: what is seen while the book is read may be missing in it.
        let span = sightings.own_span(self.book_span()?);
        let book = self.follower.book().seen()?;
        let book = book
            .into_iter()
            .filter_map(|(id, seen_ms)| Some((Id::parse(&id).ok()?, seen_ms)));
        let mut seen: BTreeMap<Id, u64> = book.collect();
        for (id, _) in sightings.former() {
            let before = seen.get(id).copied();
            seen.extend(
                sightings
                    .own_seen_ms(id, before)
                    .map(|seen_ms| (id.clone(), seen_ms)),
            );
        }
        Ok((span, seen))
    }

    /// A terminal that was last seen before that time is unseen for so many `days`. None, while that cannot be known.
    pub fn unseen_before_ms(&self, days: u16) -> Result<Option<u64>, DatabaseError> {
        let (book, at) = (self.book_span()?, self.moment());
        Ok(self.locked().sightings.unseen_before_ms(days, at, book))
    }

    /// When a terminal was last seen here or by the other server, as far as that is known.
    #[must_use]
    pub fn seen_ms(&self, id: &Id) -> Option<u64> {
        let status = self.follower.book().status(id.as_str());
        let book = match status {
            Ok(status) => status.and_then(|status| status.seen_ms()),
            // What cannot be read is not unseen.
            Err(_) => Some(u64::MAX),
        };
        self.locked().sightings.seen_ms(id, book)
    }

    fn moment(&self) -> Moment {
        Moment {
            now_ms: self.now_ms(),
            clock_ms: self.configuration.now_ms(),
            running_ms: self.configuration.running_ms(),
        }
    }

    /// In which time the book knows every terminal that was seen.
    fn book_span(&self) -> Result<Option<Span>, DatabaseError> {
        let running_ms = self.configuration.running_ms();
        let Some(read_ago_ms) = self.follower.read_ago_ms(running_ms) else {
            return Ok(None);
        };
        let since_ms = self.follower.book().known_since_ms()?;
        Ok(since_ms.map(|since_ms| Span {
            since_ms,
            until_ms: self.now_ms().saturating_sub(read_ago_ms),
        }))
    }

    fn change(&self, change: impl FnOnce(&mut Sightings) -> bool) -> Result<(), DatabaseError> {
        let mut kept = self.locked();
        kept.is_stale |= change(&mut kept.sightings);
        match kept.is_stale {
            true => kept.write(&self.follower.book()),
            // Whoever reads the events now is not waited for.
            false => Ok(()),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn write(&mut self, book: &Book) -> Result<(), DatabaseError> {
        let body = serde_json::to_string(&self.sightings).expect("text keys and plain values");
        book.put_sightings(&body)?;
        self.is_stale = false;
        Ok(())
    }
}
