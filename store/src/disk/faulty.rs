//! A disk whose Nth operation fails: the crash points of the store, one by one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Disk, Replace, Space, Stat};

/// Which operations fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None.
    None,
    /// Only the one with this number, from zero: an I/O error.
    Once(u64),
    /// This one and all after it: the process is gone. What it wrote before is there.
    From(u64),
    /// From this one on, all that need room: the disk is full.
    FullFrom(u64),
}

/// Any disk, counted, and failing as planned. A clone fails by the same plan.
#[derive(Clone, Debug)]
pub struct Faulty<D> {
    inner: D,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug)]
struct Plan {
    fault: Fault,
    done: u64,
    failed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Needed,
    NotNeeded,
}

impl<D> Faulty<D> {
    /// `inner`, failing by `fault`.
    pub fn new(inner: D, fault: Fault) -> Self {
        Faulty {
            inner,
            plan: Arc::new(Mutex::new(Plan {
                fault,
                done: 0,
                failed: 0,
            })),
        }
    }

    /// The disk itself, which does not fail.
    #[must_use]
    pub fn inner(&self) -> &D {
        &self.inner
    }

    /// Fails by `fault` from now on, counting from zero.
    pub fn plan(&self, fault: Fault) {
        *self.lock() = Plan {
            fault,
            done: 0,
            failed: 0,
        };
    }

    /// How many operations failed since the plan was made.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.lock().failed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, room: Room) -> io::Result<()> {
        let mut plan = self.lock();
        let number = plan.done;
        plan.done += 1;
        let error = match plan.fault {
            Fault::Once(at) if number == at => io::ErrorKind::Other,
            Fault::From(at) if number >= at => io::ErrorKind::Other,
            Fault::FullFrom(at) if number >= at && room == Room::Needed => {
                io::ErrorKind::StorageFull
            }
            _ => return Ok(()),
        };
        plan.failed += 1;
        Err(io::Error::new(error, "planned"))
    }
}

impl<D: Disk> Disk for Faulty<D> {
    type File = D::File;

    fn create_folder(&self, path: &str, mode: u32) -> io::Result<bool> {
        self.step(Room::Needed)?;
        self.inner.create_folder(path, mode)
    }

    fn create_file(&self, path: &str, mode: u32) -> io::Result<D::File> {
        self.step(Room::Needed)?;
        self.inner.create_file(path, mode)
    }

    fn open_file(&self, path: &str) -> io::Result<D::File> {
        self.step(Room::NotNeeded)?;
        self.inner.open_file(path)
    }

    fn open_append(&self, path: &str) -> io::Result<D::File> {
        self.step(Room::NotNeeded)?;
        self.inner.open_append(path)
    }

    fn write(&self, file: &mut D::File, bytes: &[u8]) -> io::Result<()> {
        self.step(Room::Needed).or_else(|error| {
            // As real ones do: a part is written.
            self.inner.write(file, &bytes[..bytes.len() / 2])?;
            Err(error)
        })?;
        self.inner.write(file, bytes)
    }

    fn read_at(&self, file: &D::File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.step(Room::NotNeeded)?;
        self.inner.read_at(file, offset, buf)
    }

    fn stat(&self, file: &D::File) -> io::Result<Stat> {
        self.step(Room::NotNeeded)?;
        self.inner.stat(file)
    }

    fn set_mode(&self, file: &D::File, mode: u32) -> io::Result<()> {
        self.step(Room::NotNeeded)?;
        self.inner.set_mode(file, mode)
    }

    fn sync_file(&self, file: &D::File) -> io::Result<()> {
        // Allocation is delayed: a full disk may show only here.
        self.step(Room::Needed)?;
        self.inner.sync_file(file)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.step(Room::NotNeeded)?;
        self.inner.sync_folder(path)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.step(Room::Needed)?;
        self.inner.sync_all()
    }

    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()> {
        self.step(Room::Needed)?;
        self.inner.rename(from, to, replace)
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.step(Room::NotNeeded)?;
        self.inner.unlink(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.step(Room::NotNeeded)?;
        self.inner.list(path)
    }

    fn lock_shared(&self, file: &D::File) -> io::Result<bool> {
        self.step(Room::NotNeeded)?;
        self.inner.lock_shared(file)
    }

    fn lock_exclusive(&self, file: &D::File) -> io::Result<bool> {
        self.step(Room::NotNeeded)?;
        self.inner.lock_exclusive(file)
    }

    fn lock(&self, path: &str, wait: Duration) -> io::Result<Option<D::File>> {
        self.step(Room::NotNeeded)?;
        self.inner.lock(path, wait)
    }

    fn space(&self) -> io::Result<Space> {
        self.step(Room::NotNeeded)?;
        self.inner.space()
    }
}
