//! What a restore would change: a pure function of what is, what the backup says, and what was asked for.
//!
//! Users, roles and API keys stay as they are unless asked for: a restore must neither lock out who came since nor let in
//! who was sent away, and an uploaded file must not give rights. Where they are asked for, whoever can administer the site
//! now still can afterwards: these users and the roles that they have stay, and an account of the backup that has the name
//! of such a user is left out.

use std::collections::{BTreeMap, BTreeSet};

use daybreak_store::{ImageHash, Name, Snapshot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Target;
use super::make::{is_of_site, stored_files};
use crate::configuration::Overwrite;
use crate::kind::{Body, Kind};
use crate::limits::DIFFERENCE_NAMES_MAX;
use crate::object::Id;
use crate::site::{FileChange, Site, StoredFile};

/// What is restored, and what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restoring {
    /// Also users, roles and API keys. Otherwise they stay as they are.
    #[serde(default)]
    pub accounts: bool,
    /// Whether files are left out whose images are neither in the backup nor in the store: they stay as they are now.
    /// Otherwise the restore is refused.
    #[serde(default)]
    pub without_missing_images: bool,
}

/// What changes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Difference {
    /// The kind, or `file`.
    pub kind: String,
    /// How many are new.
    pub added: usize,
    /// How many have another content.
    pub changed: usize,
    /// How many go.
    pub removed: usize,
    /// Names of the first of those that are new.
    pub added_names: Vec<String>,
    /// Names of the first of those that have another content.
    pub changed_names: Vec<String>,
    /// Names of the first of those that go.
    pub removed_names: Vec<String>,
}

/// Everything that changes.
#[derive(Debug, Default)]
pub struct Differences {
    /// Objects.
    pub objects: Vec<Overwrite>,
    /// Files.
    pub files: Vec<FileChange>,
    /// The same for people: kinds that change, and `file`.
    pub shown: Vec<Difference>,
}

impl Difference {
    fn of(kind: &str) -> Self {
        Difference {
            kind: kind.to_owned(),
            ..Difference::default()
        }
    }

    fn note(&mut self, name: &str, before: bool, after: bool) {
        let (count, names) = match (before, after) {
            (false, _) => (&mut self.added, &mut self.added_names),
            (true, true) => (&mut self.changed, &mut self.changed_names),
            (true, false) => (&mut self.removed, &mut self.removed_names),
        };
        *count += 1;
        names.push(name.to_owned());
    }

    /// As it is shown: the first names, in order.
    fn shown(mut self) -> Self {
        for names in [
            &mut self.added_names,
            &mut self.changed_names,
            &mut self.removed_names,
        ] {
            names.sort_unstable();
            names.truncate(DIFFERENCE_NAMES_MAX);
        }
        self
    }

    fn is_none(&self) -> bool {
        self.added + self.changed + self.removed == 0
    }
}

/// What makes `target` of `site` and of the files of `published`. Of `lost` images, which the store has no more and the
/// backup has, each file is a change.
#[must_use]
pub fn differences(
    site: &Site,
    published: &Snapshot,
    target: &Target,
    restoring: Restoring,
    lost: &BTreeMap<ImageHash, u64>,
) -> Differences {
    let kept = Kept::of(site);
    let mut differences = Differences::default();
    for kind in Kind::ALL {
        if is_account(kind) && !restoring.accounts {
            continue;
        }
        let mut shown = Difference::of(kind.word());
        let wanted: BTreeMap<&Id, &Body> = target
            .objects
            .iter()
            .filter(|((of, _), body)| *of == kind && is_of_site(body))
            .filter(|((_, id), body)| !kept.keeps(kind, id) && !kept.names(body))
            .map(|((_, id), body)| (id, body))
            .collect();
        let mut note = |id: &Id, before: Option<&Body>, after: Option<&Body>| {
            let name = after.or(before).map_or("", Body::name);
            shown.note(name, before.is_some(), after.is_some());
            differences.objects.push(Overwrite {
                kind,
                id: id.clone(),
                body: after.cloned(),
            });
        };
        for (id, body) in &wanted {
            let before = site.object(kind, id).map(|object| &object.body);
            let body = seated(body, before);
            if before != Some(&body) {
                note(id, before, Some(&body));
            }
        }
        for object in site.table(kind).objects() {
            let stays = kept.keeps(kind, &object.id) || !is_of_site(&object.body);
            if !stays && !wanted.contains_key(&object.id) {
                note(&object.id, Some(&object.body), None);
            }
        }
        if !shown.is_none() {
            differences.shown.push(shown.shown());
        }
    }
    differences.files = file_changes(published, &target.files, lost);
    let mut shown = Difference::of("file");
    for change in &differences.files {
        shown.note(
            change.name.as_str(),
            change.before.is_some(),
            change.after.is_some(),
        );
    }
    if !shown.is_none() {
        differences.shown.push(shown.shown());
    }
    differences
}

fn file_changes(
    published: &Snapshot,
    wanted: &BTreeMap<Name, StoredFile>,
    lost: &BTreeMap<ImageHash, u64>,
) -> Vec<FileChange> {
    let present: BTreeMap<&str, StoredFile> = stored_files(published)
        .map(|(name, hash, len)| (name, StoredFile { hash, len }))
        .collect();
    let mut changes: Vec<FileChange> = wanted
        .iter()
        .map(|(name, file)| FileChange {
            name: name.clone(),
            before: present.get(name.as_str()).copied(),
            after: Some(*file),
        })
        .filter(|change| {
            let is_lost = |file: StoredFile| lost.contains_key(&file.hash);
            change.before != change.after || change.after.is_some_and(is_lost)
        })
        .collect();
    let known: BTreeSet<&str> = wanted.keys().map(Name::as_str).collect();
    for (name, file) in present
        .into_iter()
        .filter(|(name, _)| !known.contains(name))
    {
        // A catalog has no other names.
        if let Ok(name) = Name::parse(name.as_bytes()) {
            changes.push(FileChange {
                name,
                before: Some(file),
                after: None,
            });
        }
    }
    changes
}

/// A terminal keeps the seat that it has now, or has none.
fn seated(body: &Body, before: Option<&Body>) -> Body {
    let mut body = body.clone();
    if let (Body::Terminal(new), Some(Body::Terminal(old))) = (&mut body, before) {
        new.seat = old.seat;
    }
    body
}

fn is_account(kind: Kind) -> bool {
    matches!(kind, Kind::User | Kind::Role | Kind::ApiKey)
}

/// Who can administer the site now.
struct Kept<'s> {
    users: BTreeSet<&'s Id>,
    roles: BTreeSet<&'s Id>,
    names: BTreeSet<String>,
}

impl<'s> Kept<'s> {
    fn of(site: &'s Site) -> Self {
        let users: BTreeSet<&Id> = site.administrators().collect();
        let bodies = || users.iter().filter_map(|id| site.user(id));
        Kept {
            roles: bodies().flat_map(|user| &user.roles).collect(),
            names: bodies()
                .map(|user| user.name.as_str().to_lowercase())
                .collect(),
            users,
        }
    }

    fn keeps(&self, kind: Kind, id: &Id) -> bool {
        match kind {
            Kind::User => self.users.contains(id),
            Kind::Role => self.roles.contains(id),
            _ => false,
        }
    }

    fn names(&self, body: &Body) -> bool {
        matches!(body, Body::User(user) if self.names.contains(&user.name.as_str().to_lowercase()))
    }
}
