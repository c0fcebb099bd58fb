//! A change of several edits: each sees those before it; all are committed together, or none.
//!
//! A refused edit leaves the draft as it was, so that whoever wants to can go on with the others. Dropping the draft changes
//! nothing, and uses up neither a number nor a stamp.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use daybreak_store::Name;
use daybreak_sync::host::{Write, edited};
use daybreak_sync::{Book, ImageRef, ObjectKey, Row};

use super::{Actor, ChangeError, Configuration, Edit, Expected, Writer, check};
use crate::database::{AuditRow, Commit, DatabaseError, FileRow};
use crate::edge::{Entropy, random};
use crate::file::{self, File};
use crate::kind::{Body, Kind, Setting, Terminal};
use crate::licensing::Seat;
use crate::limits::{BODY_BYTES_MAX, OBJECTS_MAX};
use crate::object::{HybridClock, Id, Object};
use crate::security::StatusKey;
use crate::site::{FileChange, Site, StoredFile};

/// Edits that are not committed yet. Meanwhile nobody else changes anything.
pub struct Draft<'c> {
    configuration: &'c Configuration,
    writer: MutexGuard<'c, Writer>,
    actor: &'c Actor,
    now_ms: u64,
    pub(super) before: Arc<Site>,
    next: Site,
    book: Book,
    clock: HybridClock,
    // As they are after the edits so far.
    rows: BTreeMap<ObjectKey, Row>,
    writes: Vec<Write>,
    audit: Vec<AuditRow>,
    files: Vec<FileRow>,
    files_changed: bool,
    /// Objects with more values than fit, and how many of those that had lost are dropped.
    dropped: Vec<(ObjectKey, usize)>,
}

/// What is to be written for one edit.
pub(super) struct Planned {
    pub(super) kind: Kind,
    pub(super) id: Id,
    pub(super) before: Option<Arc<Object>>,
    pub(super) after: Option<Body>,
    // Whether what is sealed is set: nothing else of that shows in the audit.
    pub(super) sealing: bool,
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
            book: writer.database.book().clone(),
            clock: writer.database.clock(),
            rows: BTreeMap::new(),
            writes: Vec::new(),
            audit: Vec::new(),
            files: Vec::new(),
            files_changed: false,
            dropped: Vec::new(),
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
        if let Some(primary) = self.configuration.primary_elsewhere()
            && !self.rejoins(&edit)
        {
            return Err(ChangeError::Secondary(primary));
        }
        let planned = self.plan(edit)?;
        if let Some(body) = &planned.after {
            check::body(&self.next, &planned.id, body)?;
        }
        self.make(planned)
    }

    /// Whether it is about synchronization while that is off: a secondary must be able to switch it on again, since no change of the
    /// primary comes meanwhile.
    fn rejoins(&self, edit: &Edit) -> bool {
        let (Edit::Create(body) | Edit::Replace { body, .. }) = edit else {
            return false;
        };
        let about = matches!(body, Body::Setting(Setting::Synchronization(_)));
        about && !self.next.synchronization().enabled
    }

    /// Makes all of these edits, judged by the state that they make together: two terminals may exchange their cards. Or
    /// none: then says which of them are refused.
    pub fn edit_together(
        &mut self,
        edits: Vec<Edit>,
    ) -> Result<Vec<Arc<Object>>, Vec<(usize, ChangeError)>> {
        let before = (
            self.next.clone(),
            self.book.clone(),
            self.clock,
            self.rows.clone(),
            (self.writes.len(), self.audit.len(), self.dropped.len()),
        );
        let (mut made, mut refused) = (Vec::with_capacity(edits.len()), Vec::new());
        for (index, edit) in edits.into_iter().enumerate() {
            match self.plan(edit).and_then(|planned| self.make(planned)) {
                Ok(object) => made.extend(object),
                Err(error) => refused.push((index, error)),
            }
        }
        if refused.is_empty() {
            let checked = made
                .iter()
                .map(|object| check::body(&self.next, &object.id, &object.body));
            refused = (0..)
                .zip(checked)
                .filter_map(|(index, checked)| Some((index, checked.err()?)))
                .collect();
        }
        if refused.is_empty() {
            return Ok(made);
        }
        let (writes, audit, dropped);
        (
            self.next,
            self.book,
            self.clock,
            self.rows,
            (writes, audit, dropped),
        ) = before;
        self.writes.truncate(writes);
        self.audit.truncate(audit);
        self.dropped.truncate(dropped);
        Err(refused)
    }

    /// Makes what is planned a part of the change. It has seen the edits before it; its number and its stamp are new.
    pub(super) fn make(&mut self, planned: Planned) -> Result<Option<Arc<Object>>, ChangeError> {
        let key = ObjectKey::parse(planned.kind.word(), planned.id.as_str())
            .expect("an identifier is one of both");
        let body = planned.after.as_ref().map(|body| synced(&self.next, body));
        let row = self.write(&key, body)?;
        self.audit.push(audited(self.actor, self.now_ms, &planned));
        let object = planned.after.map(|body| {
            Arc::new(Object {
                id: planned.id.clone(),
                body,
                version: row.version.clone(),
                stamp: row.values()[0].stamp,
            })
        });
        match &object {
            Some(object) => self.next.put(Arc::clone(object)),
            None => self.next.remove(planned.kind, &planned.id),
        }
        Ok(object)
    }

    /// What a name in the catalog stands for, or that it is gone there: an edit like any other. With `audit`, it stands there,
    /// too.
    pub fn put_file(
        &mut self,
        name: &Name,
        image: Option<ImageRef>,
        audit: Option<AuditRow>,
    ) -> Result<(), DatabaseError> {
        let file = image.map(|image| File {
            name: name.clone(),
            image,
        });
        let key = file::key(name);
        let body = file.as_ref().map(File::body);
        let before = self.row(&key)?;
        if before.as_ref().and_then(Row::body) != body.as_ref() {
            let row = self.write(&key, body)?;
            self.next.hold(&row);
            self.files_changed = true;
        }
        self.audit.extend(audit);
        self.files.push((name.to_string(), image));
        Ok(())
    }

    /// The same for a restore, which does not change the catalog itself: what it is there stays known as what was agreed on, so
    /// that the next publication does to the catalog what the object says.
    pub(super) fn restore_file(&mut self, change: &FileChange) -> Result<(), DatabaseError> {
        let image = |file: StoredFile| file::image(file.hash, file.len);
        self.put_file(&change.name, change.after.map(image), None)?;
        self.files.pop();
        let before = change.before.map(image);
        self.files.push((change.name.to_string(), before));
        Ok(())
    }

    /// Writes into the audit what the edits are a part of.
    pub(super) fn note(&mut self, why: AuditRow) {
        self.audit.push(why);
    }

    /// Lets packages name the images that their active versions have now.
    fn name_images(&mut self) -> Result<(), DatabaseError> {
        let packages = Arc::clone(self.next.table(Kind::FirmwarePackage));
        for object in packages.objects() {
            let key = ObjectKey::parse(Kind::FirmwarePackage.word(), object.id.as_str())
                .expect("an identifier is one of both");
            let body = synced(&self.next, &object.body);
            let before = self.row(&key)?;
            let images = before.as_ref().and_then(Row::body).map(|body| &body.images);
            if images.is_some_and(|images| *images != body.images) {
                let row = self.write(&key, Some(body))?;
                self.next.hold(&row);
            }
        }
        Ok(())
    }

    /// An object as it is after the edits so far, deleted or not.
    fn row(&self, key: &ObjectKey) -> Result<Option<Row>, DatabaseError> {
        match self.rows.get(key) {
            Some(row) => Ok(Some(row.clone())),
            None => self.writer.database.row(key),
        }
    }

    fn write(
        &mut self,
        key: &ObjectKey,
        body: Option<daybreak_sync::Body>,
    ) -> Result<Row, DatabaseError> {
        let before = self.row(key)?;
        let stamp = self.clock.stamp(self.now_ms);
        let (write, dropped) = edited(&mut self.book, before.as_ref(), key, stamp, body);
        if dropped > 0 {
            self.dropped.push((key.clone(), dropped));
        }
        let Write::Put { row, .. } = &write else {
            unreachable!("an edit puts a row");
        };
        let row = row.clone();
        self.rows.insert(key.clone(), row.clone());
        self.writes.push(write);
        Ok(row)
    }

    /// Commits all edits. On return they are on the disk, and readers see them.
    pub fn commit(mut self) -> Result<(), ChangeError> {
        if self.writes.is_empty() && self.files.is_empty() && self.audit.is_empty() {
            return Ok(());
        }
        check::administrator_left(&self.before, &self.next)?;
        if self.files_changed {
            self.name_images()?;
        }
        self.writer.database.commit(&Commit {
            book: &self.book,
            clock: self.clock,
            writes: &self.writes,
            audit: &self.audit,
            files: &self.files,
            now_ms: self.now_ms,
        })?;
        self.configuration.keep_dropped(self.dropped);
        self.next.set_change(self.book.head().position);
        self.configuration.show(self.next);
        Ok(())
    }

    /// The seat of a terminal after an edit. Only who sets what is sealed says what it is to be.
    pub(super) fn seat(
        &self,
        terminal: &Terminal,
        before: Option<&Object>,
        sealing: bool,
    ) -> Result<Seat, ChangeError> {
        let had = before.map_or_else(|| Seat::wanted(self.now_ms), seat_of);
        let wanted = if sealing { terminal.seat } else { had };
        let others = self.next.seats() - u64::from(had.is_held());
        let room = self.next.entitlement().grants(others);
        if wanted.is_held() && !had.is_held() && !room {
            return Err(ChangeError::NoSeat);
        }
        // Who says what it is to be gets that, and no more.
        let room = room && !sealing;
        Ok(wanted.settled(terminal.enabled, room, self.now_ms))
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
                return self.allowed(Planned {
                    kind,
                    id,
                    before: Some(before),
                    after: None,
                    sealing: false,
                });
            }
        };
        give_key(&mut body, entropy);
        if let Body::Terminal(terminal) = &mut body {
            terminal.seat = self.seat(terminal, before.as_deref(), sealing)?;
        }
        if body.stored().to_string().len() > BODY_BYTES_MAX {
            return Err(ChangeError::TooLarge);
        }
        let planned = Planned {
            kind: body.kind(),
            id,
            before,
            after: Some(body),
            sealing,
        };
        self.allowed(planned)
    }

    /// What is planned, if the actor may do it and there is room for it.
    fn allowed(&self, planned: Planned) -> Result<Planned, ChangeError> {
        check::grants(&self.next, self.actor, &planned)?;
        if planned.before.is_none() && self.next.len() >= OBJECTS_MAX {
            return Err(ChangeError::TooMany);
        }
        Ok(planned)
    }
}

/// Gives a terminal the key of its reports, unless it has one.
pub(super) fn give_key(body: &mut Body, entropy: &dyn Entropy) {
    if let Body::Terminal(terminal) = body {
        let key = &mut terminal.status_key;
        key.get_or_insert_with(|| StatusKey::new(entropy));
    }
}

/// What a terminal held before an edit.
fn seat_of(object: &Object) -> Seat {
    match &object.body {
        Body::Terminal(terminal) => terminal.seat,
        _ => Seat::default(),
    }
}

/// What both servers keep of a body. A package names the images of its active version: the other server has them before it
/// makes that version active.
fn synced(site: &Site, body: &Body) -> daybreak_sync::Body {
    let images = match body {
        Body::FirmwarePackage(package) => match &package.active {
            Some(active) => {
                let (package, active) = (package.name.as_str(), active.as_str());
                site.images_beneath(&format!("firmware/{package}/{active}/"))
            }
            None => Vec::new(),
        },
        _ => Vec::new(),
    };
    daybreak_sync::Body {
        octets: body.stored().to_string().into_bytes().into(),
        images: images.into(),
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
