//! Changing the configuration: the one way, whoever asks.
//!
//! A [`Draft`] checks edits one by one against the state that they make, and commits them with their audit rows in one
//! transaction; only then readers see the new state. [`Configuration::apply`] is the draft that wants all of
//! its edits. Everything is synchronous; time and randomness were passed in.

mod check;
mod draft;
mod error;
mod merge;
mod overwrite;
mod seats;

pub use draft::Draft;
pub use error::ChangeError;
pub use overwrite::Overwrite;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use daybreak_store::Name;
use daybreak_sync::{ImageRef, ObjectKey, policy};

use crate::database::{AuditRow, Database, DatabaseError};
use crate::edge::{Clock, Entropy};
use crate::file;
use crate::kind::{Body, Kind};
use crate::licensing::Entitlement;
use crate::limits::DROPPED_UNTOLD_MAX;
use crate::object::{Id, NodeId, Object};
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

/// The place of a server in its pair: its role, and what the other one is called. Nothing: it has none.
#[derive(Clone, Debug, Default)]
pub struct Place(pub Option<(policy::Role, String)>);

/// The configuration of this server.
pub struct Configuration {
    site: ArcSwap<Site>,
    writer: Mutex<Writer>,
    place: ArcSwap<Place>,
    watcher: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// What edits have dropped and nobody was told of yet.
    dropped: Mutex<Vec<(ObjectKey, usize)>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

struct Writer {
    database: Database,
}

impl Configuration {
    /// Opens `config.db` at `path`, making it if there is none.
    pub fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, DatabaseError> {
        let database = Database::open(path, entropy.as_ref())?;
        let site = Site::of(&database.rows()?, database.book().head().position);
        Ok(Configuration {
            site: ArcSwap::from_pointee(site),
            writer: Mutex::new(Writer { database }),
            place: ArcSwap::default(),
            watcher: OnceLock::new(),
            dropped: Mutex::default(),
            clock,
            entropy,
        })
    }

    /// Calls `watcher` after every change, whoever makes it. Only the first one is kept.
    pub fn watch(&self, watcher: impl Fn() + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(watcher));
    }

    /// Objects that edits left with more values than fit, and how many of those that had lost were dropped, since the last call.
    pub fn take_dropped(&self) -> Vec<(ObjectKey, usize)> {
        std::mem::take(&mut self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep_dropped(&self, dropped: Vec<(ObjectKey, usize)>) {
        let mut kept = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(dropped);
        kept.truncate(DROPPED_UNTOLD_MAX);
    }

    /// Which place this server has in its pair, if it has one.
    pub fn take_place(&self, place: Place) {
        self.place.store(Arc::new(place));
    }

    /// The server on which changes are made, if that is not this one.
    #[must_use]
    pub fn primary_elsewhere(&self) -> Option<String> {
        let place = self.place.load();
        let (role, primary) = place.0.as_ref()?;
        let mode = policy::Mode::from(self.site.load().entitlement().redundancy);
        (!mode.edits(*role)).then(|| primary.clone())
    }

    /// Lets readers see this state, which is on the disk.
    fn show(&self, site: Site) {
        self.site.store(Arc::new(site));
        if let Some(watcher) = self.watcher.get() {
            watcher();
        }
    }

    /// What is configured now.
    #[must_use]
    pub fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }

    /// Says what the licences allow from now on, or that others are installed. Nobody changes anything meanwhile.
    pub fn entitle(&self, entitlement: Entitlement) {
        let _writer = self.writer();
        let mut site = Site::clone(&self.site.load());
        site.set_entitlement(entitlement);
        self.show(site);
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

    /// Milliseconds that went by since some moment of this process, by a clock that nobody sets.
    #[must_use]
    pub fn running_ms(&self) -> u64 {
        self.clock.running_ms()
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
        let row = self.audit_row(actor, action, (kind, id), before, after);
        self.with_database(|database| database.note(&row))
    }

    /// The same for a file of the catalog, together with the object that says it to the other server.
    pub fn note_file(
        &self,
        actor: &Actor,
        action: &str,
        name: &Name,
        before: Option<&serde_json::Value>,
        after: Option<(ImageRef, &serde_json::Value)>,
    ) -> Result<(), ChangeError> {
        let said = after.map(|(_, said)| said);
        let row = self.audit_row(actor, action, (file::KIND, name.as_str()), before, said);
        let mut draft = self.draft(actor);
        draft.put_file(name, after.map(|(image, _)| image), Some(row))?;
        draft.commit()
    }

    fn audit_row(
        &self,
        actor: &Actor,
        action: &str,
        (kind, id): (&str, &str),
        before: Option<&serde_json::Value>,
        after: Option<&serde_json::Value>,
    ) -> AuditRow {
        AuditRow {
            number: 0, // given by the database
            time_ms: self.now_ms(),
            actor: actor.name.clone(),
            action: action.into(),
            kind: kind.into(),
            id: id.into(),
            before: before.map(ToString::to_string),
            after: after.map(ToString::to_string),
        }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic under the lock happened before the commit or after it: the database is whole either way.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
