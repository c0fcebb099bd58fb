//! Content that arrives in pieces, over many requests and restarts: it lies in `images/partial`, grows only at its end, and
//! can become [`Staged`] when it is complete.
//!
//! Invariants: it is named by a number of ours, never by what somebody sent; what [`Partial::append`] has returned for is
//! on the disk; only one at a time writes to it; a collection removes one that nobody has written to for the
//! retention time.

use std::io::Read;

use crate::disk::Disk;
use crate::limits::COPY_BYTES;
use crate::stage::{Progress, Staged};
use crate::{ImageHash, Store, StoreError, layout};

/// An image that is not complete yet, open for more of it.
pub struct Partial<'s, D: Disk> {
    store: &'s Store<D>,
    path: String,
    file: D::File,
    len: u64,
}

impl<D: Disk> Store<D> {
    /// Begins one, empty.
    pub fn create_partial(&self, number: u128) -> Result<Partial<'_, D>, StoreError> {
        let path = layout::partial(number);
        let created = self.disk.create_file(&path, layout::PARTIAL_MODE);
        let file = created.map_err(StoreError::io("cannot create", &path))?;
        let made = self.disk.sync_folder(layout::PARTIAL);
        made.map_err(StoreError::io("cannot sync", layout::PARTIAL))?;
        self.locked_partial(path, file)
    }

    /// Opens one to go on with it; `None`: there is none. Busy: somebody else is writing to it.
    pub fn open_partial(&self, number: u128) -> Result<Option<Partial<'_, D>>, StoreError> {
        let path = layout::partial(number);
        match self.disk.open_append(&path) {
            Ok(file) => self.locked_partial(path, file).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("cannot open", &path)(error)),
        }
    }

    /// How much of it there is; `None`: there is none. Also while somebody writes to it.
    pub fn partial_len(&self, number: u128) -> Result<Option<u64>, StoreError> {
        let path = layout::partial(number);
        match self.disk.open_file(&path) {
            Ok(file) => {
                let stat = self.disk.stat(&file);
                let stat = stat.map_err(StoreError::io("cannot read", &path))?;
                Ok(Some(stat.len))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("cannot open", &path)(error)),
        }
    }

    fn locked_partial(&self, path: String, file: D::File) -> Result<Partial<'_, D>, StoreError> {
        let locked = self.disk.lock_exclusive(&file);
        if !locked.map_err(StoreError::io("cannot lock", &path))? {
            return Err(StoreError::Busy(std::time::Duration::ZERO));
        }
        let stat = self.disk.stat(&file);
        let stat = stat.map_err(StoreError::io("cannot read", &path))?;
        Ok(Partial {
            store: self,
            path,
            file,
            len: stat.len,
        })
    }
}

impl<'s, D: Disk> Partial<'s, D> {
    /// How much of it there is.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing of it yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds what `source` gives. Where that breaks off, what came before stays, and counts.
    pub fn append(&mut self, source: &mut dyn Read) -> Result<(), StoreError> {
        let outcome = self.fill(source);
        self.sync()?;
        outcome
    }

    /// Adds these octets, which may be lost with the power: whoever goes on later looks at the hash of all of it.
    pub fn append_unsynced(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        let written = self.store.disk.write(&mut self.file, octets);
        written.map_err(StoreError::io("cannot write", &self.path))?;
        self.len += octets.len() as u64;
        Ok(())
    }

    /// What there is of it is on the disk.
    pub fn sync(&self) -> Result<(), StoreError> {
        let synced = self.store.disk.sync_file(&self.file);
        synced.map_err(StoreError::io("cannot sync", &self.path))
    }

    fn fill(&mut self, source: &mut dyn Read) -> Result<(), StoreError> {
        let mut buf = vec![0; COPY_BYTES];
        loop {
            let count = match source.read(&mut buf) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::Source(error)),
            };
            let written = self.store.disk.write(&mut self.file, &buf[..count]);
            written.map_err(StoreError::io("cannot write", &self.path))?;
            self.len += count as u64;
        }
    }

    /// The hash of what there is, read from the disk.
    pub fn hash(&self, progress: Progress<'_>) -> Result<ImageHash, StoreError> {
        let mut hasher = blake3::Hasher::new();
        loop {
            let before = hasher.count();
            if self.hash_more(&mut hasher, COPY_BYTES as u64)? {
                return Ok(ImageHash::from_bytes(*hasher.finalize().as_bytes()));
            }
            if progress(hasher.count() - before).is_break() {
                return Err(StoreError::Interrupted);
            }
        }
    }

    /// Goes on to hash what there is, read from the disk, where `hasher` is: for about so many octets. Says whether that was all.
    pub fn hash_more(&self, hasher: &mut blake3::Hasher, octets: u64) -> Result<bool, StoreError> {
        let until = hasher.count() + octets;
        let mut buf = vec![0; COPY_BYTES];
        while hasher.count() < until {
            let read = self
                .store
                .disk
                .read_at(&self.file, hasher.count(), &mut buf);
            let count = read.map_err(StoreError::io("cannot read", &self.path))?;
            if count == 0 {
                return Ok(true);
            }
            hasher.update(&buf[..count]);
        }
        Ok(false)
    }

    /// It is complete: what can get a name now. `hash` is what [`Partial::hash`] gave.
    pub fn into_staged(self, hash: ImageHash) -> Result<Staged<'s, D>, StoreError> {
        let mode = self.store.disk.set_mode(&self.file, layout::PUBLISHED_MODE);
        mode.map_err(StoreError::io("cannot set the mode of", &self.path))?;
        Ok(Staged::new(
            self.store, self.path, self.file, hash, self.len,
        ))
    }

    /// Throws it away.
    pub fn remove(self) -> Result<(), StoreError> {
        let removed = self.store.disk.unlink(&self.path);
        removed.map_err(StoreError::io("cannot remove", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use core::ops::ControlFlow;
    use std::io::{self, Read};

    use super::*;
    use crate::disk::Directory;
    use crate::{Change, Name};

    fn store() -> (tempfile::TempDir, Store<Directory>) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("data")).expect("a store");
        (dir, store)
    }

    /// Gives `content`, then breaks.
    struct Broken<'c>(&'c [u8]);

    impl Read for Broken<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(io::ErrorKind::ConnectionReset.into()),
                count => Ok(count),
            }
        }
    }

    #[test]
    fn what_arrived_stays_across_breaks_and_restarts_and_becomes_one_image() {
        let (dir, store) = store();
        let mut partial = store.create_partial(7).expect("created");
        assert!(matches!(store.open_partial(7), Err(StoreError::Busy(_))));
        let broken = partial.append(&mut Broken(b"one "));
        assert!(matches!(broken, Err(StoreError::Source(_))));
        drop(partial);
        drop(store);

        let store = Store::open(&dir.path().join("data")).expect("a store");
        assert_eq!(store.partial_len(7).expect("read"), Some(4));
        let mut partial = store.open_partial(7).expect("opened").expect("there");
        partial.append(&mut &b"two"[..]).expect("appended");
        let hash = partial
            .hash(&mut |_| ControlFlow::Continue(()))
            .expect("hashed");
        assert_eq!(hash.as_bytes(), blake3::hash(b"one two").as_bytes());
        let mut draft = store.begin().expect("a draft");
        let name = Name::parse("image").expect("a name");
        let staged = partial.into_staged(hash).expect("staged");
        assert_eq!(draft.put_staged(name, staged).expect("put"), Change::Added);
        draft.publish().expect("published");
        assert!(store.has_image(&hash, 7));
        assert_eq!(store.partial_len(7).expect("read"), None);
        assert!(store.open_partial(7).expect("read").is_none());
    }

    #[test]
    fn one_that_nobody_writes_to_is_collected_after_the_retention_time_and_one_in_use_is_not() {
        let (_dir, store) = store();
        drop(store.create_partial(1).expect("created"));
        let used = store.create_partial(2).expect("created");
        let retention = crate::Retention::default();
        let later = std::time::SystemTime::now() + 2 * retention.time;
        let report = store.collect(later, retention).expect("collected");
        assert_eq!(report.partials, 1);
        assert_eq!(store.partial_len(1).expect("read"), None);
        used.remove().expect("removed");
        assert_eq!(store.partial_len(2).expect("read"), None);
    }
}
