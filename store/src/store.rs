//! The writing side of the store: one data directory, opened by the admin.
//!
//! Opening takes no lock; a change does ([`Store::begin`], [`Store::collect`]), so a command and a
//! long-running process can both have the store open.

use std::path::Path;
use std::time::Duration;

use crate::disk::{Directory, Disk, Space};
use crate::draft::{Draft, Kept};
use crate::limits::{LOCK_WAIT, RESERVE_BYTES};
use crate::publish::Current;
use crate::{Generation, ImageHash, LoadError, Snapshot, StoreError, layout, publish};

/// How much of the disk an import leaves free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// [`RESERVE_BYTES`] or one hundredth of the disk, whichever is less.
    Default,
    /// So many octets.
    Bytes(u64),
}

impl Reserve {
    pub(crate) fn bytes(self, space: Space) -> u64 {
        match self {
            Reserve::Default => RESERVE_BYTES.min(space.total / 100),
            Reserve::Bytes(bytes) => bytes,
        }
    }
}

/// A data directory, for writing.
#[derive(Debug)]
pub struct Store<D: Disk = Directory> {
    pub(crate) disk: D,
    pub(crate) reserve: Reserve,
    pub(crate) lock_wait: Duration,
}

impl Store {
    /// Opens the data directory at `path`, making what is missing of it (its parent must exist).
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let disk = Directory::create(path).map_err(|source| StoreError::Open {
            path: path.display().to_string(),
            source,
        })?;
        Store::on(disk)
    }
}

impl<D: Disk> Store<D> {
    /// Opens the data directory on `disk`, making what is missing of it.
    pub fn on(disk: D) -> Result<Self, StoreError> {
        for (folder, mode) in layout::FOLDERS {
            disk.create_folder(folder, mode)
                .map_err(StoreError::io("cannot create", folder))?;
        }
        let store = Store {
            disk,
            reserve: Reserve::Default,
            lock_wait: LOCK_WAIT,
        };
        store.lay_out()?;
        Ok(store)
    }

    /// Makes the layout last, and says in `current` that nothing was published yet. Also when an earlier start
    /// made the folders and then crashed: only a `current` says that they reached the disk.
    fn lay_out(&self) -> Result<(), StoreError> {
        if publish::is_laid_out(&self.disk)? {
            return Ok(());
        }
        let _lock = self.lock()?;
        if publish::is_laid_out(&self.disk)? {
            return Ok(());
        }
        for folder in ["", layout::IMAGES] {
            publish::sync_folder(&self.disk, folder)?;
        }
        publish::switch_current(&self.disk, Current::NOTHING)
    }

    /// The same store, leaving `reserve` free.
    #[must_use]
    pub fn with_reserve(self, reserve: Reserve) -> Self {
        Store { reserve, ..self }
    }

    /// The same store, waiting at most `wait` for another command.
    #[must_use]
    pub fn with_lock_wait(self, wait: Duration) -> Self {
        Store {
            lock_wait: wait,
            ..self
        }
    }

    /// Starts a change: takes the lock of the store, and starts from what is published.
    pub fn begin(&self) -> Result<Draft<'_, D>, StoreError> {
        Draft::begin(self, None)
    }

    /// The same, and what is published is not read if it still is what was `kept` of it: for a process that publishes often.
    pub fn begin_with(&self, kept: Option<Kept>) -> Result<Draft<'_, D>, StoreError> {
        Draft::begin(self, kept)
    }

    /// What is published now: an empty snapshot before anything is.
    pub fn published(&self) -> Result<Snapshot, LoadError> {
        let loaded = publish::load_published(&self.disk)?;
        Ok(loaded.map_or_else(Snapshot::empty, |(snapshot, _pin)| snapshot))
    }

    /// The number of what is published now, without reading it.
    pub fn generation(&self) -> Result<Generation, LoadError> {
        let current = publish::read_current(&self.disk)?;
        Ok(current.map_or(Generation::ZERO, |current| current.generation))
    }

    /// What is published now, held against collection with all its images as long as the second value lives.
    /// Nothing: nothing was published yet.
    pub fn pinned(&self) -> Result<Option<(Snapshot, D::File)>, LoadError> {
        publish::load_published(&self.disk)
    }

    /// The disk that it is on, for what others keep in the data directory.
    #[must_use]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Whether an image is in the store, by its length; its content is checked by [`Store::verify`].
    #[must_use]
    pub fn has_image(&self, hash: &ImageHash, len: u64) -> bool {
        let Ok(file) = self.disk.open_file(&layout::image(hash)) else {
            return false;
        };
        let stat = self.disk.stat(&file);
        stat.is_ok_and(|stat| stat.kind == crate::disk::FileKind::File && stat.len == len)
    }

    /// Refuses what would leave less than the reserve.
    pub fn check_room(&self, needed: u64) -> Result<(), StoreError> {
        let space = self
            .disk
            .space()
            .map_err(StoreError::io("cannot measure", "the disk"))?;
        let reserve = self.reserve.bytes(space);
        if needed.saturating_add(reserve) > space.free {
            return Err(StoreError::DiskFull {
                needed,
                free: space.free,
                reserve,
            });
        }
        Ok(())
    }

    pub(crate) fn lock(&self) -> Result<D::File, StoreError> {
        self.disk
            .lock(layout::LOCK, self.lock_wait)
            .map_err(StoreError::io("cannot lock", layout::LOCK))?
            .ok_or(StoreError::Busy(self.lock_wait))
    }
}
