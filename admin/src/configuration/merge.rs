//! What another server brings, and what a loss of the newest changes makes necessary: written like an operator's change, in one
//! transaction, with an audit row for each object.
//!
//! Nothing is refused here: uniqueness and references are rules for operators, and what a merge breaks is listed as a problem.

use std::collections::BTreeMap;

use daybreak_sync::host::{Batch, Taken, Trace, Write, overwritten, renewed, resolved, take_in};
use daybreak_sync::{Body, Book, Head, HybridClock, NodeId, ObjectKey, Row};

use super::seats::keeping_seat;
use super::{Actor, ChangeError, Configuration};
use crate::database::{AuditRow, Commit, Database, DatabaseError, FileRow};
use crate::edge::random;
use crate::kind::Kind;
use crate::site::{Site, read};

impl Configuration {
    /// Takes in what another server sent: all of it, or nothing.
    pub fn take_in(&self, batch: &Batch<'_>) -> Result<Taken, DatabaseError> {
        let mut writer = self.writer();
        let database = &mut writer.database;
        let mut book = database.book().clone();
        let taken = take_in(&mut book, batch, |key| database.row(key))?;
        let mut clock = database.clock();
        if let Some(stamp) = taken.latest {
            clock.observe(stamp, self.now_ms());
        }
        let by = (format!("server {}", batch.from), None);
        self.write(database, (book, clock), &taken.writes, by)?;
        Ok(taken)
    }

    /// Begins a new life of this server: its disk has lost what it had told.
    pub fn renew(&self) -> Result<(), DatabaseError> {
        let mut writer = self.writer();
        let database = &mut writer.database;
        let node = NodeId::from_random(random(self.entropy.as_ref()));
        let mut book = database.book().clone();
        let writes = renewed(&mut book, node, database.all_rows()?.into_iter());
        database.commit(&Commit {
            book: &book,
            clock: database.clock().of_node(node),
            writes: &writes,
            audit: &[],
            files: &[],
            now_ms: self.now_ms(),
        })?;
        self.show_written(&writes, book.head());
        Ok(())
    }

    /// A pair was made of which this server is a part: from now on its epoch is this, and never less than before.
    pub fn set_epoch(&self, epoch: u64) -> Result<(), DatabaseError> {
        let mut writer = self.writer();
        let database = &mut writer.database;
        let mut book = database.book().clone();
        book.epoch = epoch.max(book.epoch);
        database.commit(&Commit {
            book: &book,
            clock: database.clock(),
            writes: &[],
            audit: &[],
            files: &[],
            now_ms: self.now_ms(),
        })
    }

    /// The catalog and the objects agree on these files.
    pub fn remember_files(&self, files: &[FileRow]) -> Result<(), DatabaseError> {
        let mut writer = self.writer();
        let database = &mut writer.database;
        let book = database.book().clone();
        database.commit(&Commit {
            book: &book,
            clock: database.clock(),
            writes: &[],
            audit: &[],
            files,
            now_ms: self.now_ms(),
        })
    }

    /// The other server holds this much of the log. It is written with the next change.
    pub fn confirm(&self, head: Head) {
        self.writer().database.confirm(head);
    }

    /// What is known of a position of the log.
    pub fn trace(&self, position: u64) -> Result<Trace, DatabaseError> {
        self.writer().database.trace(position)
    }

    /// Forgets objects that were deleted until then. Says how many.
    pub fn forget_deleted(&self, until_ms: u64) -> Result<usize, DatabaseError> {
        let now_ms = self.now_ms();
        self.writer().database.forget_deleted(until_ms, now_ms)
    }

    /// Answers a conflict: the object is what its value at `choice` says, and nothing else. `seen` is the row that whoever chose
    /// has looked at.
    pub fn resolve(&self, actor: &Actor, seen: &Row, choice: usize) -> Result<(), ChangeError> {
        if let Some(primary) = self.primary_elsewhere() {
            return Err(ChangeError::Secondary(primary));
        }
        let mut writer = self.writer();
        let database = &mut writer.database;
        let before = database.row(&seen.key)?;
        let Some(value) = seen
            .values()
            .get(choice)
            .filter(|_| before.as_ref() == Some(seen))
        else {
            return Err(ChangeError::Stale);
        };
        let mut book = database.book().clone();
        let mut clock = database.clock();
        let now_ms = self.now_ms();
        let site = self.site();
        let body = value.body.clone();
        let body = body.map(|body| keeping_seat(&site, &seen.key, body, now_ms));
        let write = resolved(&mut book, seen, clock.stamp(now_ms), body);
        let by = (actor.name.clone(), Some("resolve"));
        Ok(self.write(database, (book, clock), &[write], by)?)
    }

    /// Makes these objects what is said of each, and nothing else, in one transaction, if `holds` still says yes of the rows
    /// that there are. It counts as an edit that has seen everything here.
    pub fn overwrite<E>(
        &self,
        actor: &Actor,
        steps: &BTreeMap<ObjectKey, Option<Body>>,
        holds: impl FnOnce(&[Row]) -> Result<(), E>,
    ) -> Result<Result<(), E>, DatabaseError> {
        let mut writer = self.writer();
        let database = &mut writer.database;
        if let Err(refused) = holds(&database.rows()?) {
            return Ok(Err(refused));
        }
        let mut book = database.book().clone();
        let mut clock = database.clock();
        let now_ms = self.now_ms();
        let mut writes = Vec::with_capacity(steps.len());
        for (key, body) in steps {
            let before = database.row(key)?;
            let stamp = clock.stamp(now_ms);
            writes.push(overwritten(
                &mut book,
                before.as_ref(),
                key,
                stamp,
                body.clone(),
            ));
        }
        let by = (actor.name.clone(), None);
        self.write(database, (book, clock), &writes, by)?;
        Ok(Ok(()))
    }

    /// Commits these writes and what the audit says of them: who did it, and what, if it is not to be told from the writes
    /// themselves. On return they are on the disk, and readers see them.
    pub(super) fn write(
        &self,
        database: &mut Database,
        (book, clock): (Book, HybridClock),
        writes: &[Write],
        (by, action): (String, Option<&str>),
    ) -> Result<(), DatabaseError> {
        let now_ms = self.now_ms();
        let mut audit = audited(database, writes, &by, now_ms)?;
        if let Some(action) = action {
            audit.iter_mut().for_each(|row| row.action = action.into());
        }
        database.commit(&Commit {
            book: &book,
            clock,
            writes,
            audit: &audit,
            files: &[],
            now_ms,
        })?;
        self.show_written(writes, book.head());
        Ok(())
    }

    /// Lets readers see what these writes have made. The lock of the writer is held.
    fn show_written(&self, writes: &[Write], head: Head) {
        if writes.is_empty() {
            return;
        }
        let mut next = Site::clone(&self.site());
        for write in writes {
            match write {
                Write::Put { row, .. } => next.hold(row),
                Write::Forget(key) => next.let_go(key),
            }
        }
        next.set_change(head.position);
        self.show(next);
    }
}

fn audited(
    database: &Database,
    writes: &[Write],
    actor: &str,
    now_ms: u64,
) -> Result<Vec<AuditRow>, DatabaseError> {
    let mut audit = Vec::new();
    for write in writes {
        let Write::Put { row, .. } = write else {
            continue;
        };
        let before = database.row(&row.key)?;
        let (before, after) = (before.as_ref().and_then(shown), shown(row));
        let action = match (&before, &after) {
            (before, after) if before == after => continue,
            (None, _) => "create",
            (Some(_), Some(_)) => "change",
            (Some(_), None) => "delete",
        };
        audit.push(AuditRow {
            number: 0, // given by the database
            time_ms: now_ms,
            actor: actor.to_owned(),
            action: action.into(),
            kind: row.key.kind().to_owned(),
            id: name_of(&row.key, &before, &after),
            before,
            after,
        });
    }
    Ok(audit)
}

/// What is in force, as the audit may show it.
fn shown(row: &Row) -> Option<String> {
    let body = row.body()?;
    Some(match Kind::of_word(row.key.kind()) {
        Some(kind) => match read(kind, body) {
            Ok(body) => body.shown().to_string(),
            Err(_) => "{}".to_owned(),
        },
        None => String::from_utf8_lossy(&body.octets).into_owned(),
    })
}

/// A file is called by its name in the audit, everything else by its identifier.
fn name_of(key: &ObjectKey, before: &Option<String>, after: &Option<String>) -> String {
    let said = after.as_deref().or(before.as_deref());
    let name = said
        .filter(|_| key.kind() == crate::file::KIND)
        .and_then(|said| serde_json::from_str::<serde_json::Value>(said).ok())
        .and_then(|said| Some(said.get("name")?.as_str()?.to_owned()));
    name.unwrap_or_else(|| key.id().to_owned())
}
