//! Making the configuration what somebody else says: a backup, or another server.
//!
//! Unlike edits of an operator these come all at once, and are judged by the state that they make, not one after the
//! other: two terminals may have exchanged their names. What they make may have problems (a reference that leads nowhere),
//! as after a merge; these are listed, and stop nothing.

use std::sync::Arc;

use super::draft::{Planned, give_key};
use super::{Actor, ChangeError, Configuration, check};
use crate::database::AuditRow;
use crate::kind::{Body, Kind};
use crate::limits::OBJECTS_MAX;
use crate::object::Id;
use crate::site::FileChange;

/// What becomes of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Overwrite {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub id: Id,
    /// What it says from now on; nothing: it is deleted.
    pub body: Option<Body>,
}

impl Configuration {
    /// Makes all of `overwrites`, and `files` what the next publication makes them, or nothing; `why` is noted first. Each is a
    /// new edit, whatever it brings back: it has seen the edits before it, and its number and its stamp are new. Refused if
    /// anything was changed since change number `expected`.
    pub fn restore(
        &self,
        actor: &Actor,
        expected: u64,
        overwrites: Vec<Overwrite>,
        files: &[FileChange],
        why: AuditRow,
    ) -> Result<(), ChangeError> {
        if let Some(primary) = self.primary_elsewhere() {
            return Err(ChangeError::Secondary(primary));
        }
        let mut draft = self.draft(actor);
        let before = Arc::clone(&draft.before);
        if before.change() != expected {
            return Err(ChangeError::Stale);
        }
        draft.note(why);
        let mut keys = Vec::with_capacity(overwrites.len());
        for Overwrite { kind, id, mut body } in overwrites {
            if let Some(body) = &mut body {
                give_key(body, self.entropy());
            }
            // A seat is given here and now: no file brings one.
            if let Some(Body::Terminal(terminal)) = &mut body {
                let object = before.object(kind, &id);
                terminal.seat = draft.seat(terminal, object.map(Arc::as_ref), false)?;
            }
            keys.push((kind, id.clone()));
            draft.make(Planned {
                before: before.object(kind, &id).cloned(),
                kind,
                id,
                after: body,
                sealing: true,
            })?;
        }
        if draft.site().len() > OBJECTS_MAX {
            return Err(ChangeError::TooMany);
        }
        // Roles may have changed, too: what is taken away counts as it was, what is given as it will be.
        for (kind, id) in &keys {
            for site in [&*before, draft.site()] {
                if let Some(object) = site.object(*kind, id) {
                    check::granted(site, actor, &object.body)?;
                }
            }
        }
        for change in files {
            draft.restore_file(change)?;
        }
        draft.commit()
    }

    /// Gives every terminal that has none the key of its reports: what an older version stored.
    pub fn give_missing_keys(&self, actor: &Actor) -> Result<(), ChangeError> {
        if self.primary_elsewhere().is_some() {
            return Ok(());
        }
        let mut draft = self.draft(actor);
        let before = Arc::clone(&draft.before);
        for object in before.table(Kind::Terminal).objects() {
            let mut body = object.body.clone();
            give_key(&mut body, self.entropy());
            if body != object.body {
                draft.make(Planned {
                    before: Some(Arc::clone(object)),
                    kind: Kind::Terminal,
                    id: object.id.clone(),
                    after: Some(body),
                    sealing: true,
                })?;
            }
        }
        draft.commit()
    }
}
