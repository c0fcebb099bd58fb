//! A change of several edits: each sees those before it; all are committed together, or none.
//!
//! A refused edit leaves the draft as it was, so that whoever wants to can go on with the others. Dropping the draft changes
//! nothing, and uses up neither a number nor a stamp.

use std::sync::{Arc, MutexGuard};

use super::{Actor, ChangeError, Configuration, Edit, Expected, Writer, check};
use crate::database::{AuditRow, Row};
use crate::edge::random;
use crate::kind::{Body, Kind};
use crate::limits::{BODY_BYTES_MAX, OBJECTS_MAX};
use crate::object::{HybridClock, Id, Object, Version};
use crate::security::StatusKey;
use crate::site::Site;

/// Edits that are not committed yet. Meanwhile nobody else changes anything.
pub struct Draft<'c> {
    configuration: &'c Configuration,
    writer: MutexGuard<'c, Writer>,
    actor: &'c Actor,
    now_ms: u64,
    before: Arc<Site>,
    next: Site,
    stamps: HybridClock,
    rows: Vec<(Row, AuditRow)>,
}

/// What is to be written for one edit.
pub(super) struct Planned {
    kind: Kind,
    id: Id,
    pub(super) before: Option<Arc<Object>>,
    pub(super) after: Option<Body>,
    // Whether what is sealed is set: nothing else of that shows in the audit.
    sealing: bool,
}

impl<'c> Draft<'c> {
    pub(super) fn new(
        configuration: &'c Configuration,
        writer: MutexGuard<'c, Writer>,
        actor: &'c Actor,
    ) -> Self {
        let before = configuration.site();
        Draft {
            configuration,
            actor,
            now_ms: configuration.now_ms(),
            next: Site::clone(&before),
            before,
            stamps: writer.stamps,
            rows: Vec::new(),
            writer,
        }
    }

    /// The state that the edits have made so far.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.next
    }

    /// Makes one edit. Gives the object as it is then; none for a deleted one.
    pub fn edit(&mut self, edit: Edit) -> Result<Option<Arc<Object>>, ChangeError> {
        let planned = self.plan(edit)?;
        check::grants(&self.next, self.actor, &planned)?;
        if planned.before.is_none() && self.next.len() >= OBJECTS_MAX {
            return Err(ChangeError::TooMany);
        }
        let change = self.next.change() + 1;
        let version = match &planned.before {
            Some(object) => object.version.clone(),
            // It may have existed and been deleted: then the new one has seen that.
            None => {
                let key = (planned.kind, planned.id.clone());
                let row = self.writer.database.row(&key)?;
                row.map_or_else(Version::default, |row| row.version)
            }
        };
        let node = self.writer.database.node();
        let row = Row {
            kind: planned.kind,
            id: planned.id.clone(),
            body: planned.after.clone(),
            version: version.followed_by(node, change),
            stamp: self.stamps.stamp(self.now_ms),
            change: (node, change),
        };
        let audit = audited(self.actor, self.now_ms, &planned);
        let object = planned.after.map(|body| {
            Arc::new(Object {
                id: planned.id.clone(),
                body,
                version: row.version.clone(),
                stamp: row.stamp,
            })
        });
        match &object {
            Some(object) => self.next.put(Arc::clone(object)),
            None => self.next.remove(planned.kind, &planned.id),
        }
        self.next.set_change(change);
        self.rows.push((row, audit));
        Ok(object)
    }

    /// Commits all edits. On return they are on the disk, and readers see them.
    pub fn commit(mut self) -> Result<(), ChangeError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        check::administrator_left(&self.before, &self.next)?;
        let change = self.next.change();
        self.writer.database.commit(&self.rows, change)?;
        self.writer.stamps = self.stamps;
        self.configuration.site.store(Arc::new(self.next));
        Ok(())
    }

    fn plan(&self, edit: Edit) -> Result<Planned, ChangeError> {
        let site = &self.next;
        let entropy = self.configuration.entropy();
        let sealing = matches!(edit, Edit::Seal { .. });
        let (id, before, mut body) = match edit {
            Edit::Create(body) => {
                let id = match &body {
                    Body::Setting(setting) => setting.id(),
                    _ => Id::from_random(random(entropy)),
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
                    sealing: false,
                });
            }
        };
        if let Body::Terminal(terminal) = &mut body {
            let key = &mut terminal.status_key;
            key.get_or_insert_with(|| StatusKey::new(entropy));
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
            sealing,
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
    let before = planned.before.as_ref().map(|object| shown(&object.body));
    let after = planned.after.as_ref().map(shown);
    let action = match (&before, &after) {
        (None, _) => "create",
        // Nothing that may be shown is another.
        (Some(before), Some(after)) if planned.sealing && before == after => "secret",
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
        before,
        after,
    }
}
