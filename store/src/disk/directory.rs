//! The real disk: one data directory, held open, so that moving or replacing its path changes nothing.
//!
//! Every path is resolved by the kernel with openat2 beneath that directory, through no symbolic link; the last
//! step of a rename or unlink is relative to the folder that was opened this way. So a link that is put in the
//! way, even between two steps, is an error and never another file.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    self as sys, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags,
};

use super::{Disk, FileKind, Replace, Space, Stat};
use crate::limits::FOLDER_NAMES_MAX;

/// A data directory on the real disk. A clone is another handle on the same one.
#[derive(Clone, Debug)]
pub struct Directory {
    root: Arc<OwnedFd>,
}

impl Directory {
    /// Opens a directory that exists.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Not O_PATH: the root itself is synced, too.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = sys::open(path, flags, Mode::empty())?;
        Ok(Directory {
            root: Arc::new(root),
        })
    }

    /// Opens a directory, making it (mode 0755, durably) if only its last component is missing.
    pub fn create(path: &Path) -> io::Result<Self> {
        match sys::mkdir(path, Mode::from_raw_mode(0o700)) {
            Ok(()) => {
                let directory = Directory::open(path)?;
                sys::fchmod(&directory.root, Mode::from_raw_mode(0o755))?;
                let parent = path
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
                Ok(directory)
            }
            Err(rustix::io::Errno::EXIST) => Directory::open(path),
            Err(error) => Err(error.into()),
        }
    }

    fn open_at(&self, path: &str, flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { "." } else { path };
        let mode = Mode::from_raw_mode(mode);
        loop {
            match sys::openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, resolve) {
                // BENEATH may say so when something is renamed meanwhile; nothing was opened.
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                opened => return Ok(opened?),
            }
        }
    }

    fn open_folder(&self, path: &str) -> io::Result<OwnedFd> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
    }

    /// The folder of `path`, open, and the last component.
    fn parent<'p>(&self, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.open_folder(folder)?, name))
    }
}

impl Disk for Directory {
    type File = File;

    fn create_folder(&self, path: &str, mode: u32) -> io::Result<bool> {
        let (parent, name) = self.parent(path)?;
        match sys::mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {
                sys::fchmod(self.open_folder(path)?, Mode::from_raw_mode(mode))?;
                Ok(true)
            }
            Err(rustix::io::Errno::EXIST) => {
                self.open_folder(path)?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn create_file(&self, path: &str, mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = self.open_at(path, flags, 0o600)?;
        sys::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(File::from(file))
    }

    fn open_file(&self, path: &str) -> io::Result<File> {
        // NONBLOCK: a pipe in the place of a file must not hold us.
        Ok(File::from(self.open_at(
            path,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
            0,
        )?))
    }

    fn open_append(&self, path: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(File::from(self.open_at(path, flags, 0)?))
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(file, bytes)
    }

    fn read_at(&self, file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn stat(&self, file: &File) -> io::Result<Stat> {
        let meta = file.metadata()?;
        let kind = match FileType::from_raw_mode(sys::fstat(file)?.st_mode) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Folder,
            _ => FileKind::Other,
        };
        Ok(Stat {
            kind,
            len: meta.len(),
            modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        Ok(sys::fchmod(file, Mode::from_raw_mode(mode))?)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        Ok(sys::fsync(self.open_folder(path)?)?)
    }

    fn sync_all(&self) -> io::Result<()> {
        // All of the file system, not only this directory: there is nothing in between.
        Ok(sys::syncfs(&*self.root)?)
    }

    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()> {
        let (from_folder, from_name) = self.parent(from)?;
        let (to_folder, to_name) = self.parent(to)?;
        if replace == Replace::Yes {
            return Ok(sys::renameat(&from_folder, from_name, &to_folder, to_name)?);
        }
        let flags = RenameFlags::NOREPLACE;
        match sys::renameat_with(&from_folder, from_name, &to_folder, to_name, flags) {
            // A file system without the flag: a hard link refuses to replace, too.
            Err(rustix::io::Errno::INVAL) => {
                sys::linkat(
                    &from_folder,
                    from_name,
                    &to_folder,
                    to_name,
                    AtFlags::empty(),
                )?;
                Ok(sys::unlinkat(&from_folder, from_name, AtFlags::empty())?)
            }
            renamed => Ok(renamed?),
        }
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(sys::unlinkat(parent, name, AtFlags::empty())?)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in sys::Dir::new(self.open_folder(path)?)? {
            let entry = entry?;
            // What is not UTF-8 is not ours; it is shown, and opens as nothing.
            let name = entry.file_name().to_string_lossy();
            if name == "." || name == ".." {
                continue;
            }
            if names.len() == FOLDER_NAMES_MAX {
                return Err(io::Error::other(format!(
                    "more than {FOLDER_NAMES_MAX} files in {path}"
                )));
            }
            names.push(name.into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn lock_shared(&self, file: &File) -> io::Result<bool> {
        locked(sys::flock(file, FlockOperation::NonBlockingLockShared))
    }

    fn lock_exclusive(&self, file: &File) -> io::Result<bool> {
        locked(sys::flock(file, FlockOperation::NonBlockingLockExclusive))
    }

    fn lock(&self, path: &str, wait: Duration) -> io::Result<Option<File>> {
        let file = File::from(self.open_at(path, OFlags::RDWR | OFlags::CREATE, 0o600)?);
        if self.lock_exclusive(&file)? {
            return Ok(Some(file));
        }
        // flock knows no time-out, and asking again and again wakes late: a thread waits in the kernel. If it
        // comes too late, nobody takes what it sends, and the lock is released with it.
        let (sender, receiver) = mpsc::sync_channel(0);
        std::thread::Builder::new()
            .name("store-lock".into())
            .spawn(move || {
                let outcome = sys::flock(&file, FlockOperation::LockExclusive);
                let _ = sender.send(outcome.map(|()| file));
            })?;
        match receiver.recv_timeout(wait) {
            Ok(outcome) => Ok(Some(outcome?)),
            Err(_) => Ok(None),
        }
    }

    fn space(&self) -> io::Result<Space> {
        let stat = sys::fstatvfs(&*self.root)?;
        Ok(Space {
            total: stat.f_blocks * stat.f_frsize,
            free: stat.f_bavail * stat.f_frsize,
        })
    }
}

fn locked(outcome: rustix::io::Result<()>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
