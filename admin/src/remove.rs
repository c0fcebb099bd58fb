//! Removing names. The images stay until a collection finds that nothing names or reads them any more.

use daybreak_store::{Generation, Store, StoreError};

use crate::damage;

/// What a removal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// How many names are gone.
    pub names: usize,
    /// What is published now.
    pub generation: Generation,
    /// That the catalog that was published before was damaged, and what that means.
    pub warning: Option<String>,
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The store refuses or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of the names is not published.
    #[error("{0} is not published, so nothing was removed; `daybreak-admin list` shows the names")]
    Unknown(String),
}

/// Removes all of `names`, or nothing. One that ends in `/` means everything in that folder.
pub fn remove(store: &Store, names: &[String]) -> Result<Removed, RemoveError> {
    let mut draft = store.begin()?;
    let mut removed = 0;
    for name in names {
        let count = match name.strip_suffix('/') {
            Some(folder) => draft.remove_folder(folder),
            None => usize::from(draft.remove(name)),
        };
        if count == 0 {
            return Err(RemoveError::Unknown(name.clone()));
        }
        removed += count;
    }
    let warning = damage::warning(&draft);
    let published = draft.publish()?;
    Ok(Removed {
        names: removed,
        generation: published.generation,
        warning,
    })
}
