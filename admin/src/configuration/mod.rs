//! Changing the configuration: the one way, whoever asks.
//!
//! [`Configuration::apply`] checks a list of edits against the state they would make, commits them with their audit rows
//! in one transaction, and only then shows the new state to readers. Everything is synchronous; time and
//! randomness were passed in.

mod check;
mod error;

pub use error::ChangeError;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::database::{AuditRow, Database, DatabaseError, Row};
use crate::edge::{Clock, Entropy, random};
use crate::kind::{Body, Kind};
use crate::limits::{BODY_BYTES_MAX, OBJECTS_MAX};
use crate::object::{HybridClock, Id, NodeId, Object, Stamp, Version};
use crate::security::{Right, Rights, StatusKey};
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

/// What is to be written for one edit.
struct Planned {
    kind: Kind,
    id: Id,
    before: Option<Arc<Object>>,
    after: Option<Body>,
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
        let mut writer = self.writer();
        let before = self.site();
        let mut next = Site::clone(&before);
        let now_ms = self.now_ms();
        // Until the commit, only here: a refused edit uses up neither a number nor a stamp.
        let mut stamps = writer.stamps;
        let mut rows = Vec::with_capacity(edits.len());
        let mut outcome = Vec::with_capacity(edits.len());
        for edit in edits {
            let planned = self.plan(&next, edit)?;
            check::grants(&next, actor, &planned)?;
            let change = next.change() + 1;
            let version = match &planned.before {
                Some(object) => object.version.clone(),
                // It may have existed and been deleted: then the new one has seen that.
                None => {
                    let key = (planned.kind, planned.id.clone());
                    writer
                        .database
                        .row(&key)?
                        .map_or_else(Version::default, |row| row.version)
                }
            };
            let node = writer.database.node();
            let row = Row {
                kind: planned.kind,
                id: planned.id.clone(),
                body: planned.after.clone(),
                version: version.followed_by(node, change),
                stamp: stamps.stamp(now_ms),
                change: (node, change),
            };
            let audit = audited(actor, now_ms, &planned);
            let object = planned.after.map(|body| {
                Arc::new(Object {
                    id: planned.id.clone(),
                    body,
                    version: row.version.clone(),
                    stamp: row.stamp,
                })
            });
            match &object {
                Some(object) => next.put(Arc::clone(object)),
                None => next.remove(planned.kind, &planned.id),
            }
            next.set_change(change);
            if next.len() > OBJECTS_MAX {
                return Err(ChangeError::TooMany);
            }
            rows.push((row, audit));
            outcome.push(object);
        }
        check::administrator_left(&before, &next)?;
        writer.database.commit(&rows, next.change())?;
        writer.stamps = stamps;
        self.site.store(Arc::new(next));
        Ok(outcome)
    }

    /// Reads or writes what belongs to this server alone.
    pub fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        work(&self.writer().database)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic under the lock happened before the commit or after it: the database is whole either way.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, site: &Site, edit: Edit) -> Result<Planned, ChangeError> {
        let (id, before, mut body) = match edit {
            Edit::Create(body) => {
                let id = match &body {
                    Body::Setting(setting) => setting.id(),
                    _ => Id::from_random(random(self.entropy())),
                };
                if site.object(body.kind(), &id).is_some() {
                    return Err(ChangeError::Taken {
                        field: "key".into(),
                        by: id,
                    });
                }
                (id, None, body)
            }
            Edit::Replace {
                id,
                mut body,
                expected,
            } => {
                let before = existing(site, body.kind(), &id, &expected)?;
                body.keep_sealed(&before.body);
                (id, Some(before), body)
            }
            Edit::Seal { id, body, expected } => {
                let expected =
                    expected.map_or(Expected::Any, |revision| Expected::OneOf(vec![revision]));
                let before = existing(site, body.kind(), &id, &expected)?;
                (id, Some(before), body)
            }
            Edit::Delete {
                kind,
                id,
                expected,
                force,
            } => {
                let before = existing(site, kind, &id, &expected)?;
                if !force {
                    check::unused(site, kind, &id)?;
                }
                return Ok(Planned {
                    kind,
                    id,
                    before: Some(before),
                    after: None,
                });
            }
        };
        if let Body::Terminal(terminal) = &mut body {
            let key = &mut terminal.status_key;
            key.get_or_insert_with(|| StatusKey::new(self.entropy()));
        }
        if body.stored().to_string().len() > BODY_BYTES_MAX {
            return Err(ChangeError::TooLarge);
        }
        check::body(site, &id, &body)?;
        Ok(Planned {
            kind: body.kind(),
            id,
            before,
            after: Some(body),
        })
    }
}

fn existing(
    site: &Site,
    kind: Kind,
    id: &Id,
    expected: &Expected,
) -> Result<Arc<Object>, ChangeError> {
    let object = site.object(kind, id).ok_or_else(|| ChangeError::Unknown {
        kind,
        id: id.clone(),
    })?;
    match expected {
        Expected::OneOf(revisions) if !revisions.contains(&object.revision()) => {
            Err(ChangeError::Stale)
        }
        _ => Ok(Arc::clone(object)),
    }
}

fn audited(actor: &Actor, now_ms: u64, planned: &Planned) -> AuditRow {
    let shown = |body: &Body| body.shown().to_string();
    let action = match (&planned.before, &planned.after) {
        (None, _) => "create",
        (Some(_), Some(_)) => "change",
        (Some(_), None) => "delete",
    };
    AuditRow {
        number: 0, // given by the database
        time_ms: now_ms,
        actor: actor.name.clone(),
        action: action.into(),
        kind: planned.kind.word().into(),
        id: planned.id.to_string(),
        before: planned.before.as_ref().map(|object| shown(&object.body)),
        after: planned.after.as_ref().map(shown),
    }
}
