//! The catalog format, version 2: written. The layout is described in `snapshot.rs`.

use core::fmt;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::snapshot::{
    CHECKSUM_BYTES, ENTRY_BYTES, HEADER_BYTES, INDEX_BYTES, KIND_IMAGE, KIND_INLINE, MAGIC,
    VERSION, cmp_index,
};
use super::terminal::{StoredTerminal, TERMINAL_BYTES};
use super::{CatalogError, Content, Snapshot};
use crate::limits::{CATALOG_BYTES_MAX, ENTRIES_MAX, INLINE_BYTES_MAX, TERMINALS_MAX};
use crate::{Generation, ImageHash, Mac, Name};

/// An entry's content, owned.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredContent {
    /// An image of the store.
    Image {
        /// Which one.
        hash: ImageHash,
        /// Its length in octets.
        len: u64,
    },
    /// Kept in the catalog itself; at most [`INLINE_BYTES_MAX`] octets.
    Inline(Arc<[u8]>),
}

impl StoredContent {
    /// Length in octets.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            StoredContent::Image { len, .. } => *len,
            StoredContent::Inline(bytes) => bytes.len() as u64,
        }
    }

    /// Whether it has no octet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for StoredContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoredContent::Image { hash, len } => write!(f, "Image({hash}, {len})"),
            StoredContent::Inline(bytes) => write!(f, "Inline({} octets)", bytes.len()),
        }
    }
}

/// Where a content lies in memory, as long as it is held.
fn place_of(bytes: &[u8]) -> (usize, usize) {
    (bytes.as_ptr().addr(), bytes.len())
}

/// The contents of a catalog to be. The same contents and generation always give the same octets.
#[derive(Clone, Debug, Default)]
pub struct SnapshotBuilder {
    entries: BTreeMap<Name, StoredContent>,
    terminals: BTreeMap<Mac, StoredTerminal>,
}

impl SnapshotBuilder {
    /// No entries.
    #[must_use]
    pub fn new() -> Self {
        SnapshotBuilder::default()
    }

    /// The contents of `snapshot`.
    #[must_use]
    pub fn from_snapshot(snapshot: &Snapshot) -> Self {
        // What entries share in the file they share here, too: thousands of terminals have one script.
        let mut shared: HashMap<(usize, usize), Arc<[u8]>> = HashMap::new();
        let mut owned = |view: super::EntryView<'_>| {
            let content = match view.content {
                Content::Image(hash) => StoredContent::Image {
                    hash,
                    len: view.len,
                },
                Content::Inline(bytes) => {
                    let held = shared.entry(place_of(bytes));
                    let held = held.or_insert_with(|| bytes.into());
                    StoredContent::Inline(Arc::clone(held))
                }
            };
            (
                Name::parse(view.name).expect("checked when parsed"),
                content,
            )
        };
        SnapshotBuilder {
            entries: snapshot.entries().map(|(_, view)| owned(view)).collect(),
            terminals: snapshot
                .terminals()
                .map(|view| (view.mac, view.into()))
                .collect(),
        }
    }

    /// Adds or replaces; gives back what was there.
    pub fn put(&mut self, name: Name, content: StoredContent) -> Option<StoredContent> {
        self.entries.insert(name, content)
    }

    /// Removes; gives back what was there.
    pub fn remove(&mut self, name: &str) -> Option<StoredContent> {
        self.entries.remove(name)
    }

    /// The entries, in octet order of the names.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<Name, StoredContent> {
        &self.entries
    }

    /// Says whose every network card is; what was said before is gone.
    pub fn set_terminals(&mut self, terminals: BTreeMap<Mac, StoredTerminal>) {
        self.terminals = terminals;
    }

    /// Says whose one network card is; `None`: nobody's.
    pub fn set_terminal(&mut self, mac: Mac, terminal: Option<StoredTerminal>) {
        match terminal {
            Some(terminal) => drop(self.terminals.insert(mac, terminal)),
            None => drop(self.terminals.remove(&mac)),
        }
    }

    /// Whose the network cards are.
    #[must_use]
    pub fn terminals(&self) -> &BTreeMap<Mac, StoredTerminal> {
        &self.terminals
    }

    /// The catalog file of these entries as `generation`. Refuses what [`Snapshot::parse`] would refuse.
    pub fn build(&self, generation: Generation) -> Result<Vec<u8>, CatalogError> {
        if generation == Generation::ZERO {
            return Err(CatalogError::Generation(0));
        }
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        if count > ENTRIES_MAX {
            return Err(CatalogError::Entries(count));
        }
        let terminals = self.terminal_records()?;
        let mut records = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        let mut names = Vec::new();
        let mut blobs = Vec::new();
        // Thousands of terminals may share one rendered file: it is kept once.
        let mut blob_places: HashMap<&[u8], u64> = HashMap::new();
        // Told by where it lies in memory, before its content is looked at.
        let mut held_places: HashMap<(usize, usize), u64> = HashMap::new();
        for (number, (name, content)) in (0..).zip(&self.entries) {
            let name_offset =
                u32::try_from(names.len()).expect("bounded by entries and name length");
            let name_len = u16::try_from(name.as_bytes().len()).expect("bounded by Name");
            names.extend_from_slice(name.as_bytes());
            let mut place = [0; 32];
            let kind = match content {
                StoredContent::Image { hash, .. } => {
                    place = *hash.as_bytes();
                    KIND_IMAGE
                }
                StoredContent::Inline(bytes) => {
                    if bytes.len() as u64 > INLINE_BYTES_MAX {
                        return Err(CatalogError::Blob(number));
                    }
                    let offset = *held_places.entry(place_of(bytes)).or_insert_with(|| {
                        *blob_places.entry(bytes).or_insert_with(|| {
                            let offset = blobs.len() as u64;
                            blobs.extend_from_slice(bytes);
                            offset
                        })
                    });
                    place[..8].copy_from_slice(&offset.to_le_bytes());
                    KIND_INLINE
                }
            };
            records.extend_from_slice(&name_offset.to_le_bytes());
            records.extend_from_slice(&name_len.to_le_bytes());
            records.extend_from_slice(&[kind, 0]);
            records.extend_from_slice(&content.len().to_le_bytes());
            records.extend_from_slice(&place);
            if (records.len() + names.len() + blobs.len()) as u64 > CATALOG_BYTES_MAX {
                return Err(CatalogError::TooLarge(CATALOG_BYTES_MAX + 1));
            }
        }
        let file_len = HEADER_BYTES
            + self.entries.len() * (ENTRY_BYTES + INDEX_BYTES)
            + terminals.len()
            + names.len()
            + blobs.len()
            + CHECKSUM_BYTES;
        if file_len as u64 > CATALOG_BYTES_MAX {
            return Err(CatalogError::TooLarge(file_len as u64));
        }
        let mut file = Vec::with_capacity(file_len);
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&0_u32.to_le_bytes());
        file.extend_from_slice(&generation.get().to_le_bytes());
        file.extend_from_slice(&(file_len as u64).to_le_bytes());
        file.extend_from_slice(&count.to_le_bytes());
        let terminal_count = u32::try_from(self.terminals.len()).expect("bounded");
        file.extend_from_slice(&terminal_count.to_le_bytes());
        file.extend_from_slice(&(names.len() as u64).to_le_bytes());
        file.extend_from_slice(&(blobs.len() as u64).to_le_bytes());
        file.extend_from_slice(&records);
        for number in self.folded_index() {
            file.extend_from_slice(&number.to_le_bytes());
        }
        file.extend_from_slice(&terminals);
        file.extend_from_slice(&names);
        file.extend_from_slice(&blobs);
        let checksum = blake3::hash(&file);
        file.extend_from_slice(checksum.as_bytes());
        debug_assert_eq!(file.len(), file_len);
        Ok(file)
    }

    fn terminal_records(&self) -> Result<Vec<u8>, CatalogError> {
        let count = u32::try_from(self.terminals.len()).unwrap_or(u32::MAX);
        if count > TERMINALS_MAX {
            return Err(CatalogError::Terminals(count));
        }
        let mut records = Vec::with_capacity(self.terminals.len() * TERMINAL_BYTES);
        for (place, (mac, terminal)) in (0..).zip(&self.terminals) {
            if !terminal.fits() {
                return Err(CatalogError::Terminal(place));
            }
            records.extend_from_slice(&terminal.emit(*mac));
        }
        Ok(records)
    }

    fn folded_index(&self) -> Vec<u32> {
        let mut index: Vec<(&Name, u32)> = self.entries.keys().zip(0..).collect();
        index.sort_unstable_by(|(a, _), (b, _)| cmp_index(a.as_bytes(), b.as_bytes()));
        index.into_iter().map(|(_, number)| number).collect()
    }
}
