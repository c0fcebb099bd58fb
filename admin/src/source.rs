//! What an import brings: one file, or the files of a folder with the names that they will have.
//!
//! The folder is opened once; everything in it is reached beneath that descriptor with openat2 and through no
//! symbolic link. So a link in the folder, also one put there while the import runs, brings nothing from outside.
//! What cannot be imported is [`Skipped`], with the reason, and the rest goes on.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use daybreak_store::{Name, NameError};
use rustix::fs::{self as sys, FileType, Mode, OFlags, ResolveFlags};

use crate::limits::{FILES_MAX, FOLDER_DEPTH_MAX};

/// Why nothing can be imported.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The path cannot be opened.
    #[error("{path} cannot be read: {source}")]
    Open {
        /// As it was given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path is a symbolic link.
    #[error("{0} is a symbolic link; give the path that it leads to")]
    Link(PathBuf),
    /// Neither a file nor a folder.
    #[error("{0} is neither a file nor a folder")]
    Kind(PathBuf),
    /// A name was given for a folder.
    #[error(
        "{0} is a folder: its files have their paths as names; --prefix puts something before them"
    )]
    NameForFolder(PathBuf),
    /// The name that the file would have is not canonical.
    #[error("{path} cannot have the name {name:?}: {why}; choose another with --name")]
    Name {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// The prefix is no name of a folder.
    #[error("--prefix {prefix:?} cannot be the folder of a name: {why}")]
    Prefix {
        /// As it was given.
        prefix: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// More than [`FILES_MAX`] files.
    #[error("{0} has more than {FILES_MAX} files; import its folders one by one")]
    TooMany(PathBuf),
}

/// A file to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The name that it will have.
    pub name: Name,
    /// Length in octets when it was found.
    pub len: u64,
    // Beneath the root; empty for an import of one file.
    path: PathBuf,
}

/// Something that is not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Beneath the folder.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// What was found.
#[derive(Debug)]
pub struct Source {
    root: Root,
    /// The files, in order of their names.
    pub files: Vec<SourceFile>,
    /// What is left out.
    pub skipped: Vec<Skipped>,
}

#[derive(Debug)]
enum Root {
    File(File),
    Folder(OwnedFd),
}

impl Source {
    /// Finds what `path` holds. A file gets `name`, or else its own; the folder `prefix` comes before every name.
    pub fn scan(
        path: &Path,
        name: Option<&str>,
        prefix: Option<&str>,
    ) -> Result<Self, SourceError> {
        let prefix = prefix.map(folder_name).transpose()?;
        let open = |source: io::Error| SourceError::Open {
            path: path.into(),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let root = match sys::open(path, flags, Mode::empty()) {
            Err(rustix::io::Errno::LOOP) => return Err(SourceError::Link(path.into())),
            opened => opened.map_err(|error| open(error.into()))?,
        };
        let stat = sys::fstat(&root).map_err(|error| open(error.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let own = || {
                    path.file_name()
                        .map(|own| own.to_string_lossy().into_owned())
                };
                let name = name.map(str::to_owned).or_else(own).unwrap_or_default();
                let name = prefixed(prefix, name.as_bytes());
                let parsed = Name::parse(&name).map_err(|why| SourceError::Name {
                    path: path.into(),
                    name: String::from_utf8_lossy(&name).into_owned(),
                    why,
                })?;
                let len = u64::try_from(stat.st_size).unwrap_or(0);
                let files = vec![SourceFile {
                    name: parsed,
                    len,
                    path: PathBuf::new(),
                }];
                Ok(Source {
                    root: Root::File(root.into()),
                    files,
                    skipped: Vec::new(),
                })
            }
            FileType::Directory if name.is_some() => Err(SourceError::NameForFolder(path.into())),
            FileType::Directory => {
                let mut scan = Scan {
                    prefix,
                    files: Vec::new(),
                    skipped: Vec::new(),
                };
                scan.folder(&root, Path::new(""), 0)
                    .map_err(|stop| match stop {
                        Stop::Io(error) => open(error),
                        Stop::TooMany => SourceError::TooMany(path.into()),
                    })?;
                scan.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                Ok(Source {
                    root: Root::Folder(root),
                    files: scan.files,
                    skipped: scan.skipped,
                })
            }
            _ => Err(SourceError::Kind(path.into())),
        }
    }

    /// Opens one of [`Source::files`], with its length now.
    pub fn open(&self, file: &SourceFile) -> io::Result<(File, u64)> {
        let opened = match &self.root {
            Root::File(only) => only.try_clone()?,
            Root::Folder(root) => File::from(open_beneath(root, &file.path, OFlags::NONBLOCK)?),
        };
        let meta = opened.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("it is not a regular file any more"));
        }
        Ok((opened, meta.len()))
    }
}

struct Scan<'p> {
    prefix: Option<&'p str>,
    files: Vec<SourceFile>,
    skipped: Vec<Skipped>,
}

enum Stop {
    Io(io::Error),
    TooMany,
}

impl Scan<'_> {
    fn folder(&mut self, folder: &OwnedFd, path: &Path, depth: usize) -> Result<(), Stop> {
        let entries = sys::Dir::read_from(folder).map_err(|error| Stop::Io(error.into()))?;
        for entry in entries {
            let entry = entry.map_err(|error| Stop::Io(error.into()))?;
            let own = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
            if own == "." || own == ".." {
                continue;
            }
            let path = path.join(own);
            if let Err(why) = self.entry(folder, own, &path, depth)? {
                self.skipped.push(Skipped { path, why });
            }
        }
        Ok(())
    }

    /// The inner error: why this entry is skipped.
    fn entry(
        &mut self,
        folder: &OwnedFd,
        own: &std::ffi::OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<Result<(), String>, Stop> {
        let stat = match sys::statat(folder, own, sys::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => return Ok(Err(error.to_string())),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let name = match Name::parse(prefixed(self.prefix, path.as_os_str().as_bytes())) {
                    Ok(name) => name,
                    Err(why) => return Ok(Err(why.to_string())),
                };
                if self.files.len() == FILES_MAX {
                    return Err(Stop::TooMany);
                }
                let len = u64::try_from(stat.st_size).unwrap_or(0);
                self.files.push(SourceFile {
                    name,
                    len,
                    path: path.into(),
                });
                Ok(Ok(()))
            }
            FileType::Directory if depth == FOLDER_DEPTH_MAX => Ok(Err(format!(
                "it is more than {FOLDER_DEPTH_MAX} folders deep"
            ))),
            FileType::Directory => match open_beneath(folder, Path::new(own), OFlags::DIRECTORY) {
                Ok(inner) => self.folder(&inner, path, depth + 1).map(Ok),
                Err(error) => Ok(Err(error.to_string())),
            },
            FileType::Symlink => Ok(Err("it is a symbolic link".into())),
            _ => Ok(Err("it is neither a file nor a folder".into())),
        }
    }
}

fn open_beneath(folder: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match sys::openat2(folder, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            opened => return Ok(opened?),
        }
    }
}

/// A prefix as it stands before a name. Whoever ends it with a slash means the same.
fn folder_name(prefix: &str) -> Result<&str, SourceError> {
    let folder = prefix.strip_suffix('/').unwrap_or(prefix);
    let refused = |why| SourceError::Prefix {
        prefix: prefix.into(),
        why,
    };
    Name::parse(folder).map(|_| folder).map_err(refused)
}

fn prefixed(prefix: Option<&str>, name: &[u8]) -> Vec<u8> {
    let mut whole = prefix
        .map_or(String::new(), |prefix| format!("{prefix}/"))
        .into_bytes();
    whole.extend_from_slice(name);
    whole
}
