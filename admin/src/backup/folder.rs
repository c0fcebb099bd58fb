//! The folder of backups: a file has its name when it is complete and on the disk, and never before.
//!
//! A name is an identifier and an ending, so none can lead out of the folder. What is being written is locked: a crash
//! lets go of it, and the next start removes it.

use std::io::{self, BufWriter, Read, Write};
use std::ops::ControlFlow;

use daybreak_store::disk::{Directory, Disk, FileKind, Replace};
use daybreak_store::{ImageHash, Progress, Store, StoreError};

use super::archive::{ArchiveError, Head, Reader, Written};
use super::error::Stopped;
use super::{BackupError, Source};
use crate::limits::{BACKUPS_MAX, COPY_BYTES};
use crate::object::Id;

const FOLDER: &str = "backups";
const COMPLETE: &str = ".backup";
const PARTIAL: &str = ".partial";
/// Nobody but the administration reads a backup: it has what proves identities.
const MODE: u32 = 0o600;

/// The folder.
pub struct Folder<'s, D: Disk = Directory> {
    store: &'s Store<D>,
}

/// A backup that is there.
#[derive(Debug)]
pub struct Found {
    /// Which.
    pub id: Id,
    /// Octets.
    pub len: u64,
    /// What it says of itself, or why it cannot be read.
    pub head: Result<Head, ArchiveError>,
}

/// A backup that is being written.
pub(super) struct Partial<'s, D: Disk> {
    store: &'s Store<D>,
    id: Id,
    path: Option<String>,
    file: D::File,
}

impl<'s, D: Disk> Folder<'s, D> {
    /// Of this data directory.
    #[must_use]
    pub fn of(store: &'s Store<D>) -> Self {
        Folder { store }
    }

    /// Every complete backup, in the order of their identifiers.
    pub fn list(&self) -> Result<Vec<Found>, BackupError> {
        self.ids()?
            .into_iter()
            .filter_map(|id| match self.find(&id) {
                Err(BackupError::Unknown(_)) => None,
                found => Some(found),
            })
            .collect()
    }

    /// The identifiers of all complete backups.
    pub fn ids(&self) -> Result<Vec<Id>, BackupError> {
        let names = self
            .disk()
            .list(FOLDER)
            .map_err(failed("cannot list", FOLDER))?;
        let ids = names
            .iter()
            .filter_map(|name| Id::parse(name.strip_suffix(COMPLETE)?).ok());
        Ok(ids.collect())
    }

    /// One backup.
    pub fn find(&self, id: &Id) -> Result<Found, BackupError> {
        let (file, len) = self.open(id)?;
        let mut quiet = quiet;
        let reader = Reader::open(FileReader::new(self.disk(), &file, &mut quiet));
        Ok(Found {
            id: id.clone(),
            len,
            head: reader.map(|reader| reader.head().clone()),
        })
    }

    /// Opens a backup, to be read with [`Disk::read_at`].
    pub fn open(&self, id: &Id) -> Result<(D::File, u64), BackupError> {
        let path = complete(id);
        let opened = self.disk().open_file(&path);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BackupError::Unknown(id.clone()),
            _ => failed("cannot open", &path)(error),
        })?;
        let stat = self
            .disk()
            .stat(&file)
            .map_err(failed("cannot read", &path))?;
        match stat.kind {
            FileKind::File => Ok((file, stat.len)),
            _ => Err(BackupError::Unknown(id.clone())),
        }
    }

    /// Removes a backup.
    pub fn remove(&self, id: &Id) -> Result<(), BackupError> {
        let path = complete(id);
        self.disk()
            .unlink(&path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => BackupError::Unknown(id.clone()),
                _ => failed("cannot remove", &path)(error),
            })?;
        self.disk()
            .sync_folder(FOLDER)
            .map_err(failed("cannot sync", FOLDER))
    }

    /// Removes what a crash has left.
    pub fn clean(&self) -> Result<(), BackupError> {
        let names = self
            .disk()
            .list(FOLDER)
            .map_err(failed("cannot list", FOLDER))?;
        for name in names.iter().filter(|name| name.ends_with(PARTIAL)) {
            let path = format!("{FOLDER}/{name}");
            // Somebody else writes it, or it is not for us: it stays.
            let Ok(file) = self.disk().open_file(&path) else {
                continue;
            };
            if self.disk().lock_exclusive(&file).unwrap_or(false) {
                self.disk()
                    .unlink(&path)
                    .map_err(failed("cannot remove", &path))?;
            }
        }
        Ok(())
    }

    /// Begins to write a backup.
    pub(super) fn create(&self, id: Id) -> Result<Partial<'s, D>, BackupError> {
        let ids = self.ids()?;
        if ids.contains(&id) {
            return Err(BackupError::Taken(id));
        }
        if ids.len() >= BACKUPS_MAX {
            return Err(BackupError::TooMany);
        }
        let path = format!("{FOLDER}/{id}{PARTIAL}");
        let file = self
            .disk()
            .create_file(&path, MODE)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => BackupError::Taken(id.clone()),
                _ => failed("cannot create", &path)(error),
            })?;
        // Nobody looks at it before it is complete: this is only for those who clean up.
        let _ = self.disk().lock_exclusive(&file);
        Ok(Partial {
            store: self.store,
            id,
            path: Some(path),
            file,
        })
    }

    fn disk(&self) -> &'s D {
        self.store.disk()
    }
}

impl<D: Disk> Partial<'_, D> {
    /// Has `write` write all of it, then brings it onto the disk and gives it its name.
    pub(super) fn write<T>(
        mut self,
        write: impl FnOnce(&mut dyn Write) -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        let disk = self.store.disk();
        let path = self.path.clone().unwrap_or_default();
        let mut out = BufWriter::with_capacity(
            COPY_BYTES,
            FileWriter {
                disk,
                file: &mut self.file,
                path: &path,
            },
        );
        let outcome = write(&mut out).map_err(BackupError::unwrapped)?;
        out.flush()?;
        drop(out);
        disk.sync_file(&self.file)
            .map_err(failed("cannot sync", &path))?;
        self.complete(outcome)
    }

    fn complete<T>(mut self, outcome: T) -> Result<T, BackupError> {
        let disk = self.store.disk();
        let from = self.path.clone().unwrap_or_default();
        let to = complete(&self.id);
        disk.rename(&from, &to, Replace::No)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => BackupError::Taken(self.id.clone()),
                _ => failed("cannot rename to", &to)(error),
            })?;
        self.path = None;
        // It may last or not: whoever hears of the error does not count on it.
        disk.sync_folder(FOLDER)
            .map_err(failed("cannot sync", FOLDER))?;
        Ok(outcome)
    }

    /// Reads what was written so far.
    fn reader<'r>(&'r self, progress: Progress<'r>) -> FileReader<'r, D> {
        FileReader::new(self.store.disk(), &self.file, progress)
    }
}

impl<D: Disk> Partial<'_, D> {
    /// Writes what `source` gives, until its end; looks every now and then whether there is room.
    fn receive(
        &mut self,
        source: &mut dyn Read,
        expected: Option<u64>,
    ) -> Result<Written, BackupError> {
        self.store.check_room(expected.unwrap_or(0))?;
        let disk = self.store.disk();
        let path = self.path.clone().unwrap_or_default();
        let mut buffer = vec![0; COPY_BYTES];
        let mut hasher = blake3::Hasher::new();
        let (mut len, mut looked) = (0_u64, 0_u64);
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::Source(error).into()),
            };
            disk.write(&mut self.file, &buffer[..count])
                .map_err(failed("cannot write", &path))?;
            hasher.update(&buffer[..count]);
            len += count as u64;
            if len - looked >= crate::limits::ROOM_CHECKED_EVERY_BYTES {
                looked = len;
                self.store
                    .check_room(expected.map_or(0, |expected| expected.saturating_sub(len)))?;
            }
        }
        let hash = ImageHash::from_bytes(*hasher.finalize().as_bytes());
        Ok(Written { len, hash })
    }

    /// Brings what was received onto the disk, and gives it its name.
    fn keep(self) -> Result<(), BackupError> {
        let path = self.path.clone().unwrap_or_default();
        self.store
            .disk()
            .sync_file(&self.file)
            .map_err(failed("cannot sync", &path))?;
        self.complete(())
    }
}

impl<D: Disk> Drop for Partial<'_, D> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // If this fails, the next start does it.
            let _ = self.store.disk().unlink(path);
        }
    }
}

/// Takes a backup from elsewhere, and keeps it if it is whole. `said`: its length, and its hash, where they are known.
pub fn receive<D: Disk>(
    store: &Store<D>,
    id: &Id,
    source: &mut dyn Read,
    (len, expected): (Option<u64>, Option<ImageHash>),
    progress: Progress<'_>,
) -> Result<Written, BackupError> {
    let mut partial = Folder::of(store).create(id.clone())?;
    let written = partial.receive(source, len)?;
    if let Some(expected) = expected.filter(|expected| *expected != written.hash) {
        let found = written.hash;
        return Err(BackupError::HashMismatch { found, expected });
    }
    Source::open(partial.reader(progress))?.images(|_, _, _| Ok(()))?;
    partial.keep()?;
    Ok(written)
}

/// Reads a file of the data directory from front to back.
pub(super) struct FileReader<'r, D: Disk> {
    disk: &'r D,
    file: &'r D::File,
    offset: u64,
    // What was read ahead.
    buffer: Vec<u8>,
    taken: usize,
    progress: Progress<'r>,
}

impl<'r, D: Disk> FileReader<'r, D> {
    pub(super) fn new(disk: &'r D, file: &'r D::File, progress: Progress<'r>) -> Self {
        FileReader {
            disk,
            file,
            offset: 0,
            buffer: Vec::new(),
            taken: 0,
            progress,
        }
    }
}

/// Octets that are read ahead: a few records.
const AHEAD_BYTES: usize = 64 << 10;

impl<D: Disk> Read for FileReader<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.buffer.len() {
            self.buffer.resize(AHEAD_BYTES, 0);
            self.taken = 0;
            let count = self.disk.read_at(self.file, self.offset, &mut self.buffer);
            self.buffer.truncate(*count.as_ref().unwrap_or(&0));
            self.offset += count? as u64;
            if (self.progress)(self.buffer.len() as u64).is_break() {
                return Err(io::Error::other(Stopped));
            }
        }
        let count = buffer.len().min(self.buffer.len() - self.taken);
        buffer[..count].copy_from_slice(&self.buffer[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

struct FileWriter<'w, D: Disk> {
    disk: &'w D,
    file: &'w mut D::File,
    path: &'w str,
}

impl<D: Disk> Write for FileWriter<'_, D> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.disk.write(self.file, octets);
        // Said as what it is: a full disk is told from a broken one.
        written.map_err(|error| io::Error::other(store_error("cannot write", self.path)(error)))?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn complete(id: &Id) -> String {
    format!("{FOLDER}/{id}{COMPLETE}")
}

fn store_error(operation: &'static str, path: &str) -> impl FnOnce(io::Error) -> StoreError {
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

fn failed(operation: &'static str, path: &str) -> impl FnOnce(io::Error) -> BackupError {
    let failed = store_error(operation, path);
    move |source| failed(source).into()
}

/// Progress that nobody hears of.
pub(super) fn quiet(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
