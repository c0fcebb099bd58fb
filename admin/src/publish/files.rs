//! Imported files: the catalog and the objects that say them to the other server are brought together.
//!
//! The database remembers on what they last agreed. Whichever differs from that was changed since: what an import, a removal
//! or an upload did to the catalog becomes objects; what a merge did to the objects is done to the catalog, once the image is
//! here. Where both were changed, what was done on this server wins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use daybreak_store::{Draft, Name, StoreError, StoredContent};
use daybreak_sync::ImageRef;

use super::active;
use crate::configuration::{Actor, ChangeError, Configuration};
use crate::database::{Database, DatabaseError, FileRow};
use crate::file::{File, image, stored_hash};
use crate::object::Id;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// The catalog is another.
    pub(super) changed: bool,
    /// What is to be remembered when the catalog is published.
    pub(super) agreed: Vec<FileRow>,
    /// Names whose images are not here. It is to be tried again.
    pub(super) missing: BTreeSet<Name>,
    /// Objects were written.
    pub(super) written: bool,
    /// The files that were looked at.
    pub(super) seen: Seen,
}

/// Why they cannot be brought together now.
#[derive(Debug, thiserror::Error)]
pub enum AgreeError {
    /// The store refuses or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was done to the catalog cannot be written as objects.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The database fails.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The files of the site that were looked at last, as long as there is nothing more to do for them.
pub(super) type Seen = Option<Arc<BTreeMap<Id, File>>>;

/// Does what was done to the objects to the catalog of `draft`, and the other way round.
pub(super) fn agree(
    draft: &mut Draft<'_>,
    configuration: &Configuration,
) -> Result<Agreement, AgreeError> {
    // In this order: what an upload is remembered by is then also said by the objects. The other way round, objects from before it
    // beside what is remembered after it would be a change that somebody else made, and undo it.
    let known = configuration.with_database(Database::files)?;
    let site = configuration.site();
    let wanted: BTreeMap<&str, ImageRef> = site
        .files()
        .values()
        .map(|file| (file.name.as_str(), file.image))
        .collect();
    let links = active::ours(draft);
    let published: BTreeMap<Name, ImageRef> = draft
        .entries()
        .iter()
        .filter(|(name, _)| !links.contains(*name))
        .filter_map(|(name, content)| match content {
            StoredContent::Image { hash, len } => Some((name.clone(), image(*hash, *len))),
            StoredContent::Inline(_) => None,
        })
        .collect();
    let mut agreement = Agreement {
        seen: Some(Arc::clone(site.files())),
        ..Agreement::default()
    };
    let mut local = Vec::new();
    let names = published.keys().map(Name::as_str);
    let names: BTreeSet<&str> = names
        .chain(wanted.keys().copied())
        .chain(known.keys().map(String::as_str))
        .collect();
    for name in names {
        let here = published.get(name).copied();
        let (before, said) = (known.get(name).copied(), wanted.get(name).copied());
        if here == said && before == said {
            continue;
        }
        let Ok(parsed) = Name::parse(name) else {
            continue;
        };
        if here == said {
            agreement.agreed.push((name.to_owned(), said));
        } else if here != before {
            local.push((parsed, here));
        } else {
            match said {
                None => drop(draft.remove(name)),
                // What is rendered under this name, or was linked, gives way to what somebody imported.
                Some(image) => {
                    match draft.put_stored(parsed.clone(), stored_hash(image), image.bytes) {
                        Ok(_) => {}
                        Err(StoreError::NotStored { .. }) => {
                            agreement.missing.insert(parsed);
                            continue;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            agreement.changed = true;
            agreement.agreed.push((name.to_owned(), said));
        }
    }
    if !local.is_empty() {
        let actor = Actor::machine("import");
        let mut edits = configuration.draft(&actor);
        for (name, image) in &local {
            edits.put_file(name, *image, None)?;
        }
        edits.commit()?;
        agreement.written = true;
    }
    if !agreement.missing.is_empty() {
        agreement.seen = None;
    }
    Ok(agreement)
}
