//! A disk in memory that knows what is safe: what was synced. At a loss of power the rest may be lost.
//!
//! It promises no more than POSIX does, which is less than most file systems give:
//! - the content of a file is safe after `sync_file`; otherwise the file may be found empty, cut, or full of zeros;
//! - a name is safe after `sync_folder` of its folder; otherwise each name by itself may be found as it was
//!   at the last sync, or as it was last;
//! - a folder whose own name is lost takes everything in it along.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Disk, FileKind, Replace, Space, Stat};

/// How much of what was not synced is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLoss {
    /// All of it.
    Everything,
    /// Each name and each content by itself, drawn from this seed.
    Some(u64),
}

/// A disk in memory. A clone is another handle on the same one.
#[derive(Clone, Debug)]
pub struct Model {
    state: Arc<Mutex<State>>,
}

/// An open file of a [`Model`].
#[derive(Debug)]
pub struct ModelFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    handle: u64,
}

#[derive(Debug)]
struct State {
    // Never shrinks: a number stays valid. Runs are short.
    inodes: Vec<Inode>,
    // Folder path to its names; `""` is the root, which is always safe.
    folders: BTreeMap<String, Folder>,
    now: SystemTime,
    free: u64,
    handles: u64,
    // Per inode: shared holders, exclusive holder.
    locks: BTreeMap<usize, Locks>,
}

#[derive(Debug, Default)]
struct Locks {
    shared: BTreeSet<u64>,
    exclusive: Option<u64>,
}

#[derive(Clone, Debug)]
struct Inode {
    content: Vec<u8>,
    safe: Vec<u8>,
    modified: SystemTime,
}

#[derive(Clone, Debug, Default)]
struct Folder {
    names: BTreeMap<String, Node>,
    safe: BTreeMap<String, Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder,
}

impl Default for Model {
    fn default() -> Self {
        Model::new()
    }
}

impl Model {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            inodes: Vec::new(),
            folders: BTreeMap::from([(String::new(), Folder::default())]),
            now: SystemTime::UNIX_EPOCH,
            free: 1 << 40,
            handles: 0,
            locks: BTreeMap::new(),
        };
        Model {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Another disk with the same content, to try something on. Locks and open files stay behind.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.lock();
        let copy = State {
            inodes: state.inodes.clone(),
            folders: state.folders.clone(),
            now: state.now,
            free: state.free,
            handles: 0,
            locks: BTreeMap::new(),
        };
        Model {
            state: Arc::new(Mutex::new(copy)),
        }
    }

    /// What the disk is after the power came back.
    #[must_use]
    pub fn after_power_loss(&self, loss: PowerLoss) -> Self {
        let after = self.fork();
        after.lock().lose(loss);
        after
    }

    /// What the time of the next writes is.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.lock().now
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.lock().now += time;
    }

    /// Sets how much room is left.
    pub fn set_free(&self, free: u64) {
        self.lock().free = free;
    }

    /// Changes one octet of a file, as damage does.
    ///
    /// # Panics
    ///
    /// If there is no such octet.
    pub fn damage(&self, path: &str, at: usize) {
        let mut state = self.lock();
        let inode = state.find(path).expect("a file to damage");
        state.inodes[inode].content[at] ^= 1;
        state.inodes[inode].safe = state.inodes[inode].content.clone();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, state: &mut State, inode: usize) -> ModelFile {
        state.handles += 1;
        ModelFile {
            state: Arc::clone(&self.state),
            inode,
            handle: state.handles,
        }
    }
}

impl State {
    fn split(path: &str) -> (&str, &str) {
        path.rsplit_once('/').unwrap_or(("", path))
    }

    fn folder(&mut self, path: &str) -> io::Result<&mut Folder> {
        self.folders
            .get_mut(path)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn node(&mut self, path: &str) -> io::Result<Option<Node>> {
        let (folder, name) = State::split(path);
        Ok(self.folder(folder)?.names.get(name).copied())
    }

    fn find(&mut self, path: &str) -> io::Result<usize> {
        match self.node(path)? {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn lose(&mut self, loss: PowerLoss) {
        let mut seed = match loss {
            PowerLoss::Everything => None,
            PowerLoss::Some(seed) => Some(seed),
        };
        for inode in &mut self.inodes {
            if inode.content != inode.safe {
                // An unsynced file holds no promise: the old content, all of the new one, a part of it, or its
                // length without its octets.
                match draw(&mut seed, 4) {
                    0 => inode.content.clone_from(&inode.safe),
                    1 => {}
                    2 => {
                        let cut = draw(&mut seed, inode.content.len() as u64 + 1);
                        inode
                            .content
                            .truncate(usize::try_from(cut).expect("within the content"));
                    }
                    _ => inode.content.fill(0),
                }
            }
            inode.safe.clone_from(&inode.content);
        }
        for folder in self.folders.values_mut() {
            let names: BTreeSet<String> = folder
                .names
                .keys()
                .chain(folder.safe.keys())
                .cloned()
                .collect();
            for name in names {
                let (last, safe) = (
                    folder.names.get(&name).copied(),
                    folder.safe.get(&name).copied(),
                );
                if last != safe && draw(&mut seed, 2) == 0 {
                    match safe {
                        Some(node) => folder.names.insert(name, node),
                        None => folder.names.remove(&name),
                    };
                }
            }
            folder.safe = folder.names.clone();
        }
        let known: Vec<String> = self.folders.keys().cloned().collect();
        // Parents sort before their children.
        for path in known.into_iter().filter(|path| !path.is_empty()) {
            if !matches!(self.node(&path), Ok(Some(Node::Folder))) {
                self.folders.remove(&path);
            }
        }
    }
}

/// A number below `bound`; zero if there is no seed.
fn draw(seed: &mut Option<u64>, bound: u64) -> u64 {
    let Some(state) = seed else { return 0 };
    // SplitMix64: one multiplication chain per draw, enough to choose by.
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % bound
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(locks) = state.locks.get_mut(&self.inode) {
            locks.shared.remove(&self.handle);
            if locks.exclusive == Some(self.handle) {
                locks.exclusive = None;
            }
        }
    }
}

impl Disk for Model {
    type File = ModelFile;

    fn create_folder(&self, path: &str, _mode: u32) -> io::Result<bool> {
        let mut state = self.lock();
        match state.node(path)? {
            Some(Node::Folder) => return Ok(false),
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => {}
        }
        let (parent, name) = State::split(path);
        state
            .folder(parent)?
            .names
            .insert(name.into(), Node::Folder);
        state.folders.insert(path.into(), Folder::default());
        Ok(true)
    }

    fn create_file(&self, path: &str, _mode: u32) -> io::Result<ModelFile> {
        let mut state = self.lock();
        if state.node(path)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let modified = state.now;
        state.inodes.push(Inode {
            content: Vec::new(),
            safe: Vec::new(),
            modified,
        });
        let inode = state.inodes.len() - 1;
        let (parent, name) = State::split(path);
        state
            .folder(parent)?
            .names
            .insert(name.into(), Node::File(inode));
        Ok(self.file(&mut state, inode))
    }

    fn open_file(&self, path: &str) -> io::Result<ModelFile> {
        let mut state = self.lock();
        let inode = state.find(path)?;
        Ok(self.file(&mut state, inode))
    }

    fn open_append(&self, path: &str) -> io::Result<ModelFile> {
        self.open_file(path)
    }

    fn write(&self, file: &mut ModelFile, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let room = bytes.len() as u64;
        state.free = state
            .free
            .checked_sub(room)
            .ok_or(io::ErrorKind::StorageFull)?;
        let now = state.now;
        let inode = &mut state.inodes[file.inode];
        inode.content.extend_from_slice(bytes);
        inode.modified = now;
        Ok(())
    }

    fn read_at(&self, file: &ModelFile, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.lock();
        let content = &state.inodes[file.inode].content;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(content.len());
        let count = buf.len().min(content.len() - start);
        buf[..count].copy_from_slice(&content[start..start + count]);
        Ok(count)
    }

    fn stat(&self, file: &ModelFile) -> io::Result<Stat> {
        let state = self.lock();
        let inode = &state.inodes[file.inode];
        let len = inode.content.len() as u64;
        Ok(Stat {
            kind: FileKind::File,
            len,
            modified: inode.modified,
        })
    }

    fn set_mode(&self, _file: &ModelFile, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    fn sync_file(&self, file: &ModelFile) -> io::Result<()> {
        let mut state = self.lock();
        let inode = &mut state.inodes[file.inode];
        inode.safe.clone_from(&inode.content);
        Ok(())
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        let folder = state.folder(path)?;
        folder.safe = folder.names.clone();
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        let mut state = self.lock();
        for inode in &mut state.inodes {
            inode.safe.clone_from(&inode.content);
        }
        for folder in state.folders.values_mut() {
            folder.safe = folder.names.clone();
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str, replace: Replace) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.find(from)?;
        if state.node(to)?.is_some() && replace == Replace::No {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let ((from_folder, from_name), (to_folder, to_name)) =
            (State::split(from), State::split(to));
        state
            .folder(to_folder)?
            .names
            .insert(to_name.into(), Node::File(inode));
        state.folder(from_folder)?.names.remove(from_name);
        Ok(())
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.find(path)?;
        let (folder, name) = State::split(path);
        state.folder(folder)?.names.remove(name);
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        Ok(self.lock().folder(path)?.names.keys().cloned().collect())
    }

    fn lock_shared(&self, file: &ModelFile) -> io::Result<bool> {
        let mut state = self.lock();
        let locks = state.locks.entry(file.inode).or_default();
        if locks.exclusive.is_some_and(|holder| holder != file.handle) {
            return Ok(false);
        }
        locks.exclusive = None;
        locks.shared.insert(file.handle);
        Ok(true)
    }

    fn lock_exclusive(&self, file: &ModelFile) -> io::Result<bool> {
        let mut state = self.lock();
        let locks = state.locks.entry(file.inode).or_default();
        let shared = locks.shared.iter().any(|holder| *holder != file.handle);
        if shared || locks.exclusive.is_some_and(|holder| holder != file.handle) {
            return Ok(false);
        }
        locks.shared.clear();
        locks.exclusive = Some(file.handle);
        Ok(true)
    }

    fn lock(&self, path: &str, _wait: Duration) -> io::Result<Option<ModelFile>> {
        let file = match self.create_file(path, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.open_file(path)?,
            created => created?,
        };
        Ok(self.lock_exclusive(&file)?.then_some(file))
    }

    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            total: 1 << 40,
            free: self.lock().free,
        })
    }
}
