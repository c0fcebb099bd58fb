//! Changing the configuration: the one way, whoever asks.
//!
//! A [`Draft`] checks edits one by one against the state that they make, and commits them with their audit rows in one
//! transaction; only then readers see the new state. [`Configuration::apply`] is the draft that wants all of
//! its edits. Everything is synchronous; time and randomness were passed in.

mod check;
mod draft;
mod error;

pub use draft::Draft;
pub use error::ChangeError;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::database::{AuditRow, Database, DatabaseError};
use crate::edge::{Clock, Entropy};
use crate::kind::{Body, Kind};
use crate::object::{HybridClock, Id, NodeId, Object, Stamp};
use crate::security::{Right, Rights};
use crate::site::Site;

/// Who makes a change, and what they may grant.
#[derive(Clone, Debug)]
pub struct Actor {
    /// As it stands in the audit: `user admin`, `key backup`.
    pub name: String,
    /// What they may do. Nobody can give more than they have.
    pub rights: Rights,
}

impl Actor {
    /// The operator of the machine, who needs no account: the set-up, and the command line.
    #[must_use]
    pub fn machine(name: &str) -> Self {
        Actor {
            name: name.to_owned(),
            rights: Right::ALL.into_iter().collect(),
        }
    }
}

/// Which state of an object an edit was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is now.
    Any,
    /// The one with one of these revisions ([`Object::revision`]).
    OneOf(Vec<String>),
}

/// One change of one object.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A new object. A setting's identifier is its key; others get a random one.
    Create(Body),
    /// The same object with another body. What is sealed stays.
    Replace {
        /// Which one.
        id: Id,
        /// What it says from now on.
        body: Body,
        /// What it was made for.
        expected: Expected,
    },
    /// The same, setting also what is sealed: a password, a key's digest.
    Seal {
        /// Which one.
        id: Id,
        /// What it says from now on.
        body: Body,
        /// The revision that `body` was made from.
        expected: Option<String>,
    },
    /// The object is gone.
    Delete {
        /// What it is.
        kind: Kind,
        /// Which one.
        id: Id,
        /// What it was made for.
        expected: Expected,
        /// Also if others refer to it: they fall back to what they inherit, and that is a problem to be listed.
        force: bool,
    },
}

/// The configuration of this server.
pub struct Configuration {
    site: ArcSwap<Site>,
    writer: Mutex<Writer>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

struct Writer {
    database: Database,
    stamps: HybridClock,
}

impl Configuration {
    /// Opens `config.db` at `path`, making it if there is none.
    pub fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, DatabaseError> {
        let database = Database::open(path, entropy.as_ref())?;
        let progress = database.progress()?;
        let site = Site::of(database.objects()?, progress.change);
        let last = progress.stamp;
        let stamps = HybridClock::after(Stamp {
            time_ms: last.map_or(0, |stamp| stamp.time_ms),
            counter: last.map_or(0, |stamp| stamp.counter),
            node: database.node(),
        });
        Ok(Configuration {
            site: ArcSwap::from_pointee(site),
            writer: Mutex::new(Writer { database, stamps }),
            clock,
            entropy,
        })
    }

    /// What is configured now.
    #[must_use]
    pub fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }

    /// This server.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.writer().database.node()
    }

    /// The wall clock that was passed in.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The random source that was passed in.
    #[must_use]
    pub fn entropy(&self) -> &dyn Entropy {
        self.entropy.as_ref()
    }

    /// Makes all of `edits`, in order, or none. Gives the objects as they are now; none for a deleted one.
    pub fn apply(
        &self,
        actor: &Actor,
        edits: Vec<Edit>,
    ) -> Result<Vec<Option<Arc<Object>>>, ChangeError> {
        let mut draft = self.draft(actor);
        let edits = edits.into_iter().map(|edit| draft.edit(edit));
        let outcome = edits.collect::<Result<_, _>>()?;
        draft.commit()?;
        Ok(outcome)
    }

    /// Begins a change of several edits, each of which sees those before it. Nobody else changes anything meanwhile.
    #[must_use]
    pub fn draft<'c>(&'c self, actor: &'c Actor) -> Draft<'c> {
        Draft::new(self, self.writer(), actor)
    }

    /// Reads or writes what belongs to this server alone.
    pub fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        work(&self.writer().database)
    }

    /// Writes into the audit what was done to something that is no object: a file.
    pub fn note(
        &self,
        actor: &Actor,
        action: &str,
        (kind, id): (&str, &str),
        before: Option<&serde_json::Value>,
        after: Option<&serde_json::Value>,
    ) -> Result<(), DatabaseError> {
        let row = AuditRow {
            number: 0, // given by the database
            time_ms: self.now_ms(),
            actor: actor.name.clone(),
            action: action.into(),
            kind: kind.into(),
            id: id.into(),
            before: before.map(ToString::to_string),
            after: after.map(ToString::to_string),
        };
        self.with_database(|database| database.note(&row))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic under the lock happened before the commit or after it: the database is whole either way.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
