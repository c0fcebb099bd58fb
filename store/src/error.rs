//! What can stop the writing side. Each says what to do next; none breaks what is served.

use std::io;
use std::time::Duration;

use crate::{CatalogError, Generation, ImageHash, Name};

/// Why a change of the store was refused or failed. What was published before is still published.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory cannot be opened or made.
    #[error("the data directory {path} cannot be opened: {source}")]
    Open {
        /// As it was given.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The disk is full, or would be fuller than the reserve allows.
    #[error(
        "the disk is full: {needed} octets are needed and {reserve} are kept in reserve, but only {free} are \
         free; remove what is not used any more and run `daybreak-admin gc`, or use a larger disk. Everything \
         published is still served"
    )]
    DiskFull {
        /// What the import takes.
        needed: u64,
        /// What is free now.
        free: u64,
        /// What must stay free.
        reserve: u64,
    },
    /// The disk became full while writing.
    #[error(
        "the disk became full while writing {path}; nothing was published and everything served before still \
         is. Remove what is not used any more and run `daybreak-admin gc`, or use a larger disk"
    )]
    NoSpace {
        /// What was written.
        path: String,
    },
    /// Another command holds the store.
    #[error(
        "another command has been changing this store for {0:?}; try again when it has finished"
    )]
    Busy(Duration),
    /// A file operation failed.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was done.
        operation: &'static str,
        /// On what, in the data directory.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The source of an import cannot be read.
    #[error("the source cannot be read: {0}")]
    Source(io::Error),
    /// The source is larger than an image may be.
    #[error("an image has at most {} octets", crate::limits::IMAGE_BYTES_MAX)]
    ImageTooLarge,
    /// The caller's progress function said to stop. What was written of this image is gone again.
    #[error("interrupted; nothing was published")]
    Interrupted,
    /// An entry would name an image that is not in the store.
    #[error("{name} names image {hash}, which is not in the store")]
    NotStored {
        /// The entry.
        name: Name,
        /// The image.
        hash: ImageHash,
    },
    /// The entries do not make a catalog.
    #[error("the catalog cannot be written: {0}")]
    Catalog(#[from] CatalogError),
    /// The published catalog cannot be read at this moment. To start from an older one would undo changes.
    #[error("what is published cannot be read: {0}; nothing was changed")]
    Published(crate::LoadError),
    /// The published catalog cannot be read, so nobody knows what may be removed.
    #[error(
        "the published catalog is damaged, so nothing can be removed safely: {0}. Publish a new one (any import \
         does), then try again"
    )]
    CurrentDamaged(crate::LoadError),
    /// Ten digits are used up.
    #[error("there is no generation after {0}")]
    GenerationsExhausted(Generation),
}

impl StoreError {
    pub(crate) fn io(operation: &'static str, path: &str) -> impl FnOnce(io::Error) -> StoreError {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::NoSpace {
                path: path.to_owned(),
            },
            _ => StoreError::Io {
                operation,
                path: path.to_owned(),
                source,
            },
        }
    }

    /// Whether the cause is a full disk.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(
            self,
            StoreError::DiskFull { .. } | StoreError::NoSpace { .. }
        )
    }
}
