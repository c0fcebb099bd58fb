//! Bringing content onto the disk: copied once, hashed meanwhile, complete before it has a name.
//!
//! A staged image lies in `images/partial`, synced, locked against collection. It becomes an image when a
//! [`Draft`](crate::Draft) puts it under a name, and is gone when it is dropped.

use core::ops::ControlFlow;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::Disk;
use crate::limits::{COPY_BYTES, IMAGE_BYTES_MAX};
use crate::{ImageHash, Store, StoreError, layout};

/// Told how many octets were done since the last call; may say to stop.
pub type Progress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Content on the disk, not an image yet.
pub struct Staged<'s, D: Disk> {
    store: &'s Store<D>,
    path: Option<String>,
    // Closed for one of many: then only its age keeps it from collection.
    file: Option<D::File>,
    hash: ImageHash,
    len: u64,
}

// Two stages of one process never take the same name; two processes differ by their number.
static SERIAL: AtomicU64 = AtomicU64::new(0);

impl<D: Disk> Store<D> {
    /// Copies `source` onto the disk. `expected` octets, if known, are checked against the room there is
    /// before anything is written. Takes no lock of the store.
    pub fn stage(
        &self,
        source: &mut dyn Read,
        expected: Option<u64>,
        progress: Progress<'_>,
    ) -> Result<Staged<'_, D>, StoreError> {
        let staged = self.stage_unsynced(source, expected, progress)?;
        if let Some(file) = &staged.file {
            self.disk
                .sync_file(file)
                .map_err(StoreError::io("cannot sync", staged.path()))?;
        }
        Ok(staged)
    }

    /// The same, for a caller that syncs it before it gets a name.
    pub(crate) fn stage_unsynced(
        &self,
        source: &mut dyn Read,
        expected: Option<u64>,
        progress: Progress<'_>,
    ) -> Result<Staged<'_, D>, StoreError> {
        if expected.is_some_and(|len| len > IMAGE_BYTES_MAX) {
            return Err(StoreError::ImageTooLarge);
        }
        self.check_room(expected.unwrap_or(0))?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = format!("{}/import-{}-{serial}", layout::PARTIAL, std::process::id());
        let created = self.disk.create_file(&path, layout::PARTIAL_MODE);
        let file = created.map_err(StoreError::io("cannot create", &path))?;
        let outcome = self.fill(&path, file, source, expected, progress);
        outcome.inspect_err(|_| {
            let _ = self.disk.unlink(&path);
        })
    }

    fn fill(
        &self,
        path: &str,
        mut file: D::File,
        source: &mut dyn Read,
        expected: Option<u64>,
        progress: Progress<'_>,
    ) -> Result<Staged<'_, D>, StoreError> {
        let disk = &self.disk;
        if !disk
            .lock_exclusive(&file)
            .map_err(StoreError::io("cannot lock", path))?
        {
            return Err(StoreError::Busy(self.lock_wait));
        }
        let mut hasher = blake3::Hasher::new();
        let len = read_through(source, expected, progress, |bytes| {
            hasher.update(bytes);
            disk.write(&mut file, bytes)
                .map_err(StoreError::io("cannot write", path))
        })?;
        let hash = ImageHash::from_bytes(*hasher.finalize().as_bytes());
        disk.set_mode(&file, layout::PUBLISHED_MODE)
            .map_err(StoreError::io("cannot set the mode of", path))?;
        Ok(Staged {
            store: self,
            path: Some(path.to_owned()),
            file: Some(file),
            hash,
            len,
        })
    }
}

/// Hash and length of `source`: to learn whether the store has it already, without writing.
pub(crate) fn hash_source(
    source: &mut dyn Read,
    expected: u64,
    progress: Progress<'_>,
) -> Result<(ImageHash, u64), StoreError> {
    let mut hasher = blake3::Hasher::new();
    let len = read_through(source, Some(expected), progress, |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok((ImageHash::from_bytes(*hasher.finalize().as_bytes()), len))
}

fn read_through(
    source: &mut dyn Read,
    expected: Option<u64>,
    progress: Progress<'_>,
    mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    // One more than the whole of a small file, so that its end shows without a second buffer full.
    let whole = expected
        .and_then(|len| usize::try_from(len).ok())
        .unwrap_or(COPY_BYTES);
    let mut buf = vec![0; whole.saturating_add(1).min(COPY_BYTES)];
    let mut len = 0;
    loop {
        let count = match source.read(&mut buf) {
            Ok(0) => return Ok(len),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(StoreError::Source(error)),
        };
        len += count as u64;
        if len > IMAGE_BYTES_MAX {
            return Err(StoreError::ImageTooLarge);
        }
        each(&buf[..count])?;
        if progress(count as u64).is_break() {
            return Err(StoreError::Interrupted);
        }
    }
}

impl<'s, D: Disk> Staged<'s, D> {
    /// What lies complete and synced at `path`.
    pub(crate) fn new(
        store: &'s Store<D>,
        path: String,
        file: D::File,
        hash: ImageHash,
        len: u64,
    ) -> Self {
        Staged {
            store,
            path: Some(path),
            file: Some(file),
            hash,
            len,
        }
    }

    /// The hash of what was copied.
    #[must_use]
    pub fn hash(&self) -> ImageHash {
        self.hash
    }

    /// How many octets were copied.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the source was empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// The same without an open file: for one of so many that a process cannot have all of them open. It is safe from
    /// collection for the retention time only.
    #[must_use]
    pub fn closed(self) -> Self {
        let mut staged = self;
        staged.file = None;
        staged
    }

    /// Closes it; the caller cleans up from now on.
    pub(crate) fn into_path(mut self) -> String {
        self.path.take().unwrap_or_default()
    }
}

impl<D: Disk> Drop for Staged<'_, D> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // If this fails, a collection does it.
            let _ = self.store.disk.unlink(path);
        }
    }
}
