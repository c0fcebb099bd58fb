//! The reading side of the store: what the engine sees. It creates, writes and removes nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::catalog::Layer;
use crate::disk::{Directory, Disk};
use crate::image::ImageFolder;
use crate::publish::Unreadable;
use crate::{Catalog, CatalogError, Generation, Snapshot, layout, publish};

/// Why the published catalog cannot be loaded. Whoever has an older one keeps it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The data directory cannot be opened.
    #[error(
        "the data directory {path} cannot be opened: {source}; `daybreak-admin --data {path} import` makes one"
    )]
    Open {
        /// As it was given.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// Which, in the data directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There are catalogs, but nothing says which one is published.
    #[error("catalogs/current is missing; publish anew (any change by daybreak-admin does)")]
    CurrentMissing,
    /// `current` is not what was written.
    #[error("catalogs/current is damaged; publish anew (any change by daybreak-admin does)")]
    CurrentDamaged,
    /// `current` names a catalog that is not there.
    #[error("{path} is missing; publish anew (any change by daybreak-admin does)")]
    Missing {
        /// Which.
        path: String,
    },
    /// A catalog is not what was written.
    #[error("{path}: {why}; publish anew (any change by daybreak-admin does)")]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong.
        why: CatalogError,
    },
    /// A catalog is under the name of another generation.
    #[error("{path} is generation {generation}; publish anew (any change by daybreak-admin does)")]
    OtherGeneration {
        /// Which.
        path: String,
        /// What it is.
        generation: Generation,
    },
    /// A whole catalog, but not the one that `current` means.
    #[error(
        "{path} is not the catalog that catalogs/current names (the checksums differ); publish anew (any change \
         by daybreak-admin does)"
    )]
    OtherCatalog {
        /// Which.
        path: String,
    },
    /// The catalog is being removed at this moment: a newer one is published.
    #[error("{path} is being collected; try again")]
    Collected {
        /// Which.
        path: String,
    },
}

impl LoadError {
    /// Whether the same file may be whole at the next try: nothing says that it is damaged.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            LoadError::Open { .. } | LoadError::Io { .. } | LoadError::Collected { .. }
        )
    }
}

/// A catalog, and what was wrong with a newer one.
#[derive(Debug)]
pub struct Loaded {
    /// What to serve.
    pub catalog: Arc<Catalog>,
    /// Why it is not what `current` names: the operator must be told.
    pub warning: Option<LoadError>,
}

/// A data directory, for reading.
pub struct Reader {
    disk: Directory,
    images: Arc<ImageFolder>,
    catalogs_dir: PathBuf,
    // The last whole catalog that was read: the next ones are likely to be told from it.
    base: Mutex<Arc<Layer>>,
}

impl Reader {
    /// Opens the data directory at `path`, which [`Store::open`](crate::Store::open) has made.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let disk = Directory::open(path)
            .and_then(|disk| disk.list(layout::CATALOGS).map(|_| disk))
            .map_err(|source| LoadError::Open {
                path: path.display().to_string(),
                source,
            })?;
        Ok(Reader {
            images: Arc::new(ImageFolder::new(disk.clone())),
            disk,
            catalogs_dir: path.join(layout::CATALOGS),
            base: Mutex::new(Arc::clone(Snapshot::empty().base())),
        })
    }

    /// The folder to watch: a file is moved to `current` in it whenever a generation is published.
    #[must_use]
    pub fn catalogs_dir(&self) -> &Path {
        &self.catalogs_dir
    }

    /// The generation that `current` names, without loading it. Zero: nothing was published yet.
    pub fn published(&self) -> Result<Generation, LoadError> {
        let current = publish::read_current(&self.disk)?;
        Ok(current.map_or(Generation::ZERO, |current| current.generation))
    }

    /// The published catalog; an empty one ([`Generation::ZERO`]) if nothing was published yet. After an error the
    /// caller keeps what it has.
    pub fn load(&self) -> Result<Arc<Catalog>, LoadError> {
        let known = Arc::clone(&self.base());
        Ok(
            match publish::load_published_with(&self.disk, Some(&known))? {
                Some((snapshot, pin)) => self.catalog(snapshot, Some(pin)),
                None => self.catalog(Snapshot::empty(), None),
            },
        )
    }

    /// For the start, when there is nothing to keep: the published catalog; if that is damaged, the newest older
    /// one that is whole, with a warning. The error, if there is none.
    pub fn load_or_fallback(&self) -> Result<Loaded, LoadError> {
        let error = match self.load() {
            Ok(catalog) => {
                return Ok(Loaded {
                    catalog,
                    warning: None,
                });
            }
            Err(error) => error,
        };
        let fallback = publish::load_fallback(&self.disk, Unreadable::Skip);
        let Ok(Some((snapshot, pin))) = fallback else {
            return Err(error);
        };
        Ok(Loaded {
            catalog: self.catalog(snapshot, Some(pin)),
            warning: Some(error),
        })
    }

    fn base(&self) -> MutexGuard<'_, Arc<Layer>> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog(&self, snapshot: Snapshot, pin: Option<std::fs::File>) -> Arc<Catalog> {
        *self.base() = Arc::clone(snapshot.base());
        Arc::new(Catalog::new(snapshot, Arc::clone(&self.images), pin))
    }
}

impl core::fmt::Debug for Reader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader")
            .field("catalogs_dir", &self.catalogs_dir)
            .finish_non_exhaustive()
    }
}
