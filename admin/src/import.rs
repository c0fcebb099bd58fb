//! Importing: files become images, their names entries, and all of it one new generation.

use daybreak_store::disk::Directory;
use daybreak_store::{Change, Draft, Generation, Name, Progress, Store, StoreError, StoredContent};

use crate::damage;
use crate::source::{Source, SourceFile};

/// Why an import was given up. Nothing is published, and what was copied is gone again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store refuses or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One file stands in the way.
    #[error("{name}: {source}")]
    File {
        /// Its name.
        name: Name,
        /// What is wrong.
        source: StoreError,
    },
}

impl ImportError {
    /// What the store said.
    #[must_use]
    pub fn store_error(&self) -> &StoreError {
        match self {
            ImportError::Store(error) | ImportError::File { source: error, .. } => error,
        }
    }
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// New names.
    pub added: u64,
    /// Names that had another content.
    pub replaced: u64,
    /// Names that had this content already.
    pub unchanged: u64,
    /// Octets of images that the store did not have.
    pub stored_bytes: u64,
    /// What is published now.
    pub generation: Generation,
    /// Whether that is new.
    pub changed: bool,
    /// That the catalog that was published before was damaged, and what that means.
    pub warning: Option<String>,
}

/// Imports all of `source`, or nothing. What is known to be new must fit onto the disk before anything is written.
pub fn import(
    store: &Store,
    source: &Source,
    progress: Progress<'_>,
) -> Result<Imported, ImportError> {
    let mut draft = store.begin()?;
    store.check_room(new_bytes(&draft, source))?;
    let mut imported = Imported {
        warning: damage::warning(&draft),
        ..Imported::default()
    };
    for file in &source.files {
        let change =
            import_one(&mut draft, source, file, progress).map_err(|source| ImportError::File {
                name: file.name.clone(),
                source,
            })?;
        match change {
            Change::Added => imported.added += 1,
            Change::Replaced => imported.replaced += 1,
            Change::Unchanged => imported.unchanged += 1,
        }
    }
    imported.stored_bytes = draft.stored_bytes();
    let published = draft.publish()?;
    imported.generation = published.generation;
    imported.changed = published.changed;
    Ok(imported)
}

fn import_one(
    draft: &mut Draft<'_, Directory>,
    source: &Source,
    file: &SourceFile,
    progress: Progress<'_>,
) -> Result<Change, StoreError> {
    let (mut opened, len) = source.open(file).map_err(StoreError::Source)?;
    draft.import(file.name.clone(), &mut opened, len, progress)
}

/// What will surely be written, before the same content under two names is known.
fn new_bytes(draft: &Draft<'_, Directory>, source: &Source) -> u64 {
    let entries = draft.entries();
    let is_new =
        |file: &&SourceFile| entries.get(&file.name).map(StoredContent::len) != Some(file.len);
    source
        .files
        .iter()
        .filter(is_new)
        .map(|file| file.len)
        .sum()
}
