//! What a session of the synchronization needs of this server: its configuration and its store of images.
//!
//! Rows are written by [`Configuration::take_in`], in one transaction with the books; images go through the store's own
//! ways. A piece of an image may be lost with the power: when all are here, the hash of the whole is looked at.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Poll;

use daybreak_store::{Store, StoreError};
use daybreak_sync::host::{Batch, Changes, Host, HostError, Piece, Taken, Trace};
use daybreak_sync::limits::PIECE_BYTES;
use daybreak_sync::{
    Book, Damaged, Digest, Head, ImageHash, ImageRef, NodeId, ObjectKey, Planting, Row, Tree,
};

use crate::configuration::Configuration;
use crate::database::{Database, DatabaseError};
use crate::file::stored_hash;
use crate::limits::{
    IMAGE_READ_AT_ONCE_BYTES, IMAGE_SYNCED_EVERY_BYTES, IMAGE_TREES_KEPT, IMAGES_HASHED_AT_ONCE,
};

/// See the module.
pub struct Server {
    configuration: Arc<Configuration>,
    store: Store,
    /// Hashes of images that are being sent, the one that was used last at the end.
    trees: VecDeque<Tree>,
    /// Images that are read for their hashes, the one that was begun last at the end.
    planting: VecDeque<Planting>,
    /// What of an image that arrives was hashed already: as it came, or, if that was to another process, since it is complete.
    arriving: HashMap<ImageHash, blake3::Hasher>,
    /// Images that were found damaged here, to be fetched again.
    lost: Vec<ImageRef>,
}

impl From<DatabaseError> for HostError {
    fn from(error: DatabaseError) -> Self {
        match error.is_disk_full() {
            true => HostError::Full(error.to_string()),
            false => HostError::Failed(error.to_string()),
        }
    }
}

fn failed(error: &StoreError) -> HostError {
    match error.is_disk_full() {
        true => HostError::Full(error.to_string()),
        false => HostError::Failed(error.to_string()),
    }
}

impl Server {
    /// This server. The store is its own, beside those of others.
    #[must_use]
    pub fn new(configuration: Arc<Configuration>, store: Store) -> Self {
        Server {
            configuration,
            store,
            trees: VecDeque::new(),
            planting: VecDeque::new(),
            arriving: HashMap::new(),
            lost: Vec::new(),
        }
    }

    /// Images that objects name and that are not here, or were found damaged.
    pub fn missing(&mut self) -> Result<Vec<ImageRef>, HostError> {
        let mut missing = std::mem::take(&mut self.lost);
        let named = self.read(Database::images)?;
        let absent = |image: &ImageRef| !self.is_stored(*image);
        missing.extend(named.into_iter().filter(absent));
        Ok(missing)
    }

    /// Whether an image was found damaged since [`missing`](Self::missing) was asked for.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// The wall clock.
    pub(super) fn now_ms(&self) -> u64 {
        self.configuration.now_ms()
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, DatabaseError>,
    ) -> Result<T, HostError> {
        Ok(self.configuration.with_database(work)?)
    }

    fn is_stored(&self, image: ImageRef) -> bool {
        self.store.has_image(&stored_hash(image), image.bytes)
    }

    fn keep_hashing(&mut self, image: ImageRef, hasher: blake3::Hasher) {
        if self.arriving.len() >= IMAGES_HASHED_AT_ONCE {
            self.arriving.clear();
        }
        self.arriving.insert(image.hash, hasher);
    }

    /// Has the hashes of an image among `trees`, if it is whole. One that is large is read over many calls.
    fn prepare(&mut self, image: ImageRef) -> Result<Poll<()>, HostError> {
        let kept = self.trees.iter().position(|tree| tree.image() == image);
        let tree = match kept.and_then(|at| self.trees.remove(at)) {
            Some(tree) => tree,
            None => match self.plant(image) {
                Ok(Poll::Ready(tree)) => tree,
                Ok(Poll::Pending) => return Ok(Poll::Pending),
                Err(Unread::Damaged) => return Ok(Poll::Ready(())),
                Err(Unread::Failed(error)) => return Err(failed(&error)),
            },
        };
        if self.trees.len() >= IMAGE_TREES_KEPT {
            self.trees.pop_front();
        }
        self.trees.push_back(tree);
        Ok(Poll::Ready(()))
    }

    /// Reads the next part of an image.
    fn plant(&mut self, image: ImageRef) -> Result<Poll<Tree>, Unread> {
        let begun = self
            .planting
            .iter()
            .position(|begun| begun.image() == image);
        let begun = begun.and_then(|at| self.planting.remove(at));
        let mut planting = begun.unwrap_or_else(|| Planting::new(image));
        for _ in 0..IMAGE_READ_AT_ONCE_BYTES / PIECE_BYTES as u64 {
            let octets = read_piece(&self.store, image, planting.next_piece())?;
            if let Some(tree) = planting.push(&octets)? {
                return Ok(Poll::Ready(tree));
            }
        }
        if self.planting.len() >= IMAGE_TREES_KEPT {
            self.planting.pop_front();
        }
        self.planting.push_back(planting);
        Ok(Poll::Pending)
    }
}

/// Why a piece cannot be read.
enum Unread {
    Damaged,
    Failed(StoreError),
}

impl From<Damaged> for Unread {
    fn from(_: Damaged) -> Self {
        Unread::Damaged
    }
}

fn read_piece(store: &Store, image: ImageRef, index: u32) -> Result<Vec<u8>, Unread> {
    let offset = u64::from(index) * PIECE_BYTES as u64;
    let read = store.read_image(&stored_hash(image), offset, image.piece_bytes(index));
    match read {
        Ok(octets) => octets.ok_or(Unread::Damaged),
        Err(error) => Err(Unread::Failed(error)),
    }
}

/// An image that arrives lies under a number made of its hash.
fn number(image: ImageRef) -> u128 {
    u128::from_be_bytes(*image.hash.0.first_chunk().expect("a hash has 32 octets"))
}

impl Host for Server {
    fn book(&mut self) -> Result<Book, HostError> {
        self.read(|database| Ok(database.book().clone()))
    }

    fn trace(&mut self, position: u64) -> Result<Trace, HostError> {
        Ok(self.configuration.trace(position)?)
    }

    fn changes(&mut self, after: u64, bytes: usize, skip: NodeId) -> Result<Changes, HostError> {
        self.read(|database| database.changes(after, bytes, skip))
    }

    fn page(
        &mut self,
        after: Option<&ObjectKey>,
        count: usize,
    ) -> Result<(Book, Vec<(ObjectKey, Digest)>), HostError> {
        self.read(|database| Ok((database.book().clone(), database.digests(after, count)?)))
    }

    fn row(&mut self, key: &ObjectKey) -> Result<Option<Row>, HostError> {
        self.read(|database| database.row(key))
    }

    fn apply(&mut self, batch: &Batch<'_>) -> Result<Taken, HostError> {
        Ok(self.configuration.take_in(batch)?)
    }

    fn confirm(&mut self, head: Head) -> Result<(), HostError> {
        self.configuration.confirm(head);
        Ok(())
    }

    fn renew(&mut self) -> Result<(), HostError> {
        Ok(self.configuration.renew()?)
    }

    fn conflicts(&mut self) -> Result<usize, HostError> {
        self.read(Database::conflict_count)
    }

    fn names_image(&mut self, image: ImageRef) -> Result<bool, HostError> {
        self.read(|database| database.names_image(image))
    }

    fn has_image(&mut self, image: ImageRef) -> Result<bool, HostError> {
        Ok(self.is_stored(image))
    }

    fn pieces(&mut self, image: ImageRef) -> Result<u32, HostError> {
        let number = number(image);
        let len = self
            .store
            .partial_len(number)
            .map_err(|error| failed(&error))?;
        match len {
            Some(len) if len == image.bytes && len > 0 => Ok(image.pieces()),
            Some(len) if len < image.bytes && len % PIECE_BYTES as u64 == 0 => {
                Ok(u32::try_from(len / PIECE_BYTES as u64).unwrap_or(u32::MAX))
            }
            None => Ok(0),
            // A write that was cut off: nobody knows which octets are there.
            Some(_) => {
                if let Some(partial) = self
                    .store
                    .open_partial(number)
                    .map_err(|error| failed(&error))?
                {
                    partial.remove().map_err(|error| failed(&error))?;
                }
                Ok(0)
            }
        }
    }

    fn put_piece(&mut self, image: ImageRef, index: u32, octets: &[u8]) -> Result<(), HostError> {
        let store = &self.store;
        let write = || {
            let mut partial = if index == 0 {
                store.check_room(image.bytes)?;
                if let Some(stale) = store.open_partial(number(image))? {
                    stale.remove()?;
                }
                store.create_partial(number(image))?
            } else {
                match store.open_partial(number(image))? {
                    Some(partial) => partial,
                    None => return Ok(false),
                }
            };
            if partial.len() != u64::from(index) * PIECE_BYTES as u64 {
                return Ok(false);
            }
            partial.append_unsynced(octets)?;
            if partial.len() % IMAGE_SYNCED_EVERY_BYTES == 0 {
                partial.sync()?;
            }
            Ok(true)
        };
        match write() {
            Ok(true) => {}
            Ok(false) => {
                self.arriving.remove(&image.hash);
                return Err(HostError::Failed(format!(
                    "what was here of image {} is gone; it is fetched from its beginning",
                    image.hash
                )));
            }
            Err(error) => return Err(failed(&error)),
        }
        if index == 0 {
            self.keep_hashing(image, blake3::Hasher::new());
        }
        if let Some(hasher) = self.arriving.get_mut(&image.hash) {
            hasher.update(octets);
        }
        Ok(())
    }

    fn finish_image(&mut self, image: ImageRef) -> Result<Poll<()>, HostError> {
        let mut hasher = self.arriving.remove(&image.hash).unwrap_or_default();
        let mut finish = || {
            let Some(partial) = self.store.open_partial(number(image))? else {
                return Ok(Some(false));
            };
            if !partial.hash_more(&mut hasher, IMAGE_READ_AT_ONCE_BYTES)? {
                return Ok(None);
            }
            let hash = daybreak_store::ImageHash::from_bytes(*hasher.finalize().as_bytes());
            if hash != stored_hash(image) {
                partial.remove()?;
                return Ok(Some(false));
            }
            partial.sync()?;
            let staged = partial.into_staged(hash)?;
            self.store.begin()?.keep(staged)?;
            Ok(Some(true))
        };
        match finish() {
            Ok(Some(true)) => Ok(Poll::Ready(())),
            Ok(None) => {
                self.keep_hashing(image, hasher);
                Ok(Poll::Pending)
            }
            Ok(Some(false)) => Err(HostError::Failed(format!(
                "image {} did not reach the disk whole; it is fetched again",
                image.hash
            ))),
            Err(error) => Err(failed(&error)),
        }
    }

    fn piece(&mut self, image: ImageRef, index: u32) -> Result<Poll<Option<Piece>>, HostError> {
        if !self.is_stored(image) || index >= image.pieces() {
            return Ok(Poll::Ready(None));
        }
        if self.prepare(image)?.is_pending() {
            return Ok(Poll::Pending);
        }
        let octets = match read_piece(&self.store, image, index) {
            Ok(octets) => octets,
            Err(Unread::Damaged) => Vec::new(),
            Err(Unread::Failed(error)) => return Err(failed(&error)),
        };
        let tree = self.trees.iter().find(|tree| tree.image() == image);
        let proof = tree.map(|tree| tree.proof(index, &octets));
        if let Some(Ok(proof)) = proof {
            return Ok(Poll::Ready(Some(Piece { octets, proof })));
        }
        self.trees.retain(|tree| tree.image() != image);
        let aside = self.store.put_aside(stored_hash(image));
        if aside.map_err(|error| failed(&error))? {
            let image = image.hash;
            tracing::error!(%image, "an image is damaged; it is fetched from the other server");
        }
        self.lost.push(image);
        Ok(Poll::Ready(None))
    }
}
