//! File operations as the store needs them: few, on paths relative to the data directory.
//!
//! [`Directory`] is the real one. With the feature `model` (and in the tests of this crate) there are two more:
//! a disk that lives in memory and forgets at a loss of power what was not synced, and a wrapper that
//! fails the Nth operation. Every operation of the writing side goes through this trait, so those two see all
//! of them.

mod directory;
#[cfg(any(test, feature = "model"))]
mod faulty;
#[cfg(any(test, feature = "model"))]
mod model;

use std::io;
use std::time::{Duration, SystemTime};

pub use directory::Directory;
#[cfg(any(test, feature = "model"))]
pub use faulty::{Fault, Faulty};
#[cfg(any(test, feature = "model"))]
pub use model::{Model, PowerLoss};

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Anything else: a link, a device, a pipe.
    Other,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Length in octets.
    pub len: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// Room on the disk, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What this process may still use.
    pub free: u64,
}

/// Whether a rename may replace its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It replaces it, atomically.
    Yes,
    /// It fails with `AlreadyExists`.
    No,
}

/// File operations below one data directory. No path ever follows a symbolic link or leaves the directory.
pub trait Disk {
    /// An open file. Dropping it closes it and releases its locks.
    type File;

    /// Makes a folder with exactly this mode. `false`: there is one already (its mode stays).
    fn create_folder(&self, path: &str, mode: u32) -> io::Result<bool>;
    /// Makes a file, open for writing, with exactly this mode. `AlreadyExists` if there is anything.
    fn create_file(&self, path: &str, mode: u32) -> io::Result<Self::File>;
    /// Opens a file for reading.
    fn open_file(&self, path: &str) -> io::Result<Self::File>;
    /// Opens a file to append to it.
    fn open_append(&self, path: &str) -> io::Result<Self::File>;
    /// Appends all of `bytes`.
    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;
    /// Reads until `buf` is full or the file ends; says how much.
    fn read_at(&self, file: &Self::File, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// What is known of an open file.
    fn stat(&self, file: &Self::File) -> io::Result<Stat>;
    /// Sets the mode of an open file.
    fn set_mode(&self, file: &Self::File, mode: u32) -> io::Result<()>;
    /// Returns when the content of a file is on the disk.
    fn sync_file(&self, file: &Self::File) -> io::Result<()>;
    /// Returns when the names in a folder are on the disk. The data directory itself is `""`.
    fn sync_folder(&self, path: &str) -> io::Result<()>;
    /// Returns when everything written so far, contents and names, is on the disk.
    fn sync_all(&self) -> io::Result<()>;
    /// Moves a file to another name.
    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()>;
    /// Removes a name of a file.
    fn unlink(&self, path: &str) -> io::Result<()>;
    /// The names in a folder, sorted; at most [`FOLDER_NAMES_MAX`](crate::limits::FOLDER_NAMES_MAX).
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Locks a file against collection, without waiting. `false`: it is locked exclusively.
    fn lock_shared(&self, file: &Self::File) -> io::Result<bool>;
    /// Locks a file for one, without waiting. `false`: it is locked.
    fn lock_exclusive(&self, file: &Self::File) -> io::Result<bool>;
    /// Opens (makes) `path` and locks it for one, waiting at most `wait`. `None`: it is still locked.
    fn lock(&self, path: &str, wait: Duration) -> io::Result<Option<Self::File>>;
    /// Room on the disk.
    fn space(&self) -> io::Result<Space>;
}
