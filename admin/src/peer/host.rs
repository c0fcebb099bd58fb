//! What a session of the synchronization needs of this server: its configuration and its store of images.
//!
//! Rows are written by [`Configuration::take_in`], in one transaction with the books; images go through the store's own
//! ways. A piece of an image may be lost with the power: when all are here, the hash of the whole is looked at.

use core::ops::ControlFlow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use daybreak_store::{Store, StoreError};
use daybreak_sync::host::{Batch, Changes, Host, HostError, Piece, Taken, Trace};
use daybreak_sync::limits::PIECE_BYTES;
use daybreak_sync::{
    Book, Damaged, Digest, Head, ImageHash, ImageRef, NodeId, ObjectKey, Row, Tree,
};

use crate::configuration::Configuration;
use crate::database::{Database, DatabaseError};
use crate::file::stored_hash;
use crate::limits::{IMAGE_TREES_KEPT, IMAGES_HASHED_AT_ONCE};

/// See the module.
pub struct Server {
    configuration: Arc<Configuration>,
    store: Store,
    /// Hashes of images that are being sent, the one that was used last at the end.
    trees: VecDeque<Tree>,
    /// What of an image that arrives was hashed already, as long as this process has seen all of it.
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

    fn read<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, DatabaseError>,
    ) -> Result<T, HostError> {
        Ok(self.configuration.with_database(work)?)
    }

    fn is_stored(&self, image: ImageRef) -> bool {
        self.store.has_image(&stored_hash(image), image.bytes)
    }

    /// The hashes of an image that is here and whole.
    fn tree(&mut self, image: ImageRef) -> Result<Option<&Tree>, HostError> {
        match self.trees.iter().position(|tree| tree.image() == image) {
            Some(at) => {
                let tree = self.trees.remove(at).expect("it is there");
                self.trees.push_back(tree);
            }
            None => {
                let store = &self.store;
                let read = Tree::read(image, |index| read_piece(store, image, index));
                match read {
                    Ok(tree) => self.trees.push_back(tree),
                    Err(Unread::Damaged) => return Ok(None),
                    Err(Unread::Failed(error)) => return Err(failed(&error)),
                }
                if self.trees.len() > IMAGE_TREES_KEPT {
                    self.trees.pop_front();
                }
            }
        }
        Ok(self.trees.back())
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
            if self.arriving.len() >= IMAGES_HASHED_AT_ONCE {
                self.arriving.clear();
            }
            self.arriving.insert(image.hash, blake3::Hasher::new());
        }
        if let Some(hasher) = self.arriving.get_mut(&image.hash) {
            hasher.update(octets);
        }
        Ok(())
    }

    fn finish_image(&mut self, image: ImageRef) -> Result<(), HostError> {
        let hasher = self.arriving.remove(&image.hash);
        let finish = || {
            let Some(partial) = self.store.open_partial(number(image))? else {
                return Ok(false);
            };
            partial.sync()?;
            let hash = match hasher.filter(|hasher| hasher.count() == partial.len()) {
                Some(hasher) => {
                    daybreak_store::ImageHash::from_bytes(*hasher.finalize().as_bytes())
                }
                None => partial.hash(&mut |_| ControlFlow::Continue(()))?,
            };
            if hash != stored_hash(image) {
                partial.remove()?;
                return Ok(false);
            }
            let staged = partial.into_staged(hash)?;
            self.store.begin()?.keep(staged)?;
            Ok(true)
        };
        match finish() {
            Ok(true) => Ok(()),
            Ok(false) => Err(HostError::Failed(format!(
                "image {} did not reach the disk whole; it is fetched again",
                image.hash
            ))),
            Err(error) => Err(failed(&error)),
        }
    }

    fn piece(&mut self, image: ImageRef, index: u32) -> Result<Option<Piece>, HostError> {
        if !self.is_stored(image) || index >= image.pieces() {
            return Ok(None);
        }
        let octets = match read_piece(&self.store, image, index) {
            Ok(octets) => octets,
            Err(Unread::Damaged) => Vec::new(),
            Err(Unread::Failed(error)) => return Err(failed(&error)),
        };
        let proof = self.tree(image)?.map(|tree| tree.proof(index, &octets));
        if let Some(Ok(proof)) = proof {
            return Ok(Some(Piece { octets, proof }));
        }
        self.trees.retain(|tree| tree.image() != image);
        let aside = self.store.put_aside(stored_hash(image));
        if aside.map_err(|error| failed(&error))? {
            let image = image.hash;
            tracing::error!(%image, "an image is damaged; it is fetched from the other server");
        }
        self.lost.push(image);
        Ok(None)
    }
}
