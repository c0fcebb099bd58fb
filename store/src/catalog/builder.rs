//! The catalog format, version 3: written. The layout is described in `layer.rs`.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use foldhash::{HashMap, HashMapExt};

use super::layer::{
    CHECKSUM_BYTES, ENTRY_BYTES, HEADER_BYTES, INDEX_BYTES, KIND_IMAGE, KIND_INLINE, cmp_index,
    header,
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
    /// The folded index of the entries, as long as no name comes or goes.
    index: OnceLock<Vec<u32>>,
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
            index: OnceLock::new(),
        }
    }

    /// Adds or replaces; gives back what was there.
    pub fn put(&mut self, name: Name, content: StoredContent) -> Option<StoredContent> {
        let before = self.entries.insert(name, content);
        if before.is_none() {
            self.index.take();
        }
        before
    }

    /// Removes; gives back what was there.
    pub fn remove(&mut self, name: &str) -> Option<StoredContent> {
        let before = self.entries.remove(name);
        if before.is_some() {
            self.index.take();
        }
        before
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
        let terminal_count = u32::try_from(self.terminals.len()).unwrap_or(u32::MAX);
        if terminal_count > TERMINALS_MAX {
            return Err(CatalogError::Terminals(terminal_count));
        }
        let names_len: usize = self.entries.keys().map(|name| name.as_bytes().len()).sum();
        let blobs = Blobs::of(&self.entries)?;
        let file_len = HEADER_BYTES
            + self.entries.len() * (ENTRY_BYTES + INDEX_BYTES)
            + self.terminals.len() * TERMINAL_BYTES
            + names_len
            + blobs.len
            + CHECKSUM_BYTES;
        if file_len as u64 > CATALOG_BYTES_MAX {
            return Err(CatalogError::TooLarge(file_len as u64));
        }
        // Every length is known: each octet is written once, to where it stays.
        let mut file = Vec::with_capacity(file_len);
        file.extend_from_slice(&header(
            generation,
            file_len as u64,
            (self.entries.len(), self.terminals.len()),
            (names_len, blobs.len),
        ));
        let mut name_offset = 0_u32;
        for ((name, content), place) in self.entries.iter().zip(&blobs.places) {
            let name_len = u16::try_from(name.as_bytes().len()).expect("bounded by Name");
            file.extend_from_slice(&record(name_offset, name_len, content, *place));
            name_offset += u32::from(name_len);
        }
        for number in self.index.get_or_init(|| self.folded_index()) {
            file.extend_from_slice(&number.to_le_bytes());
        }
        for (number, (mac, terminal)) in (0..).zip(&self.terminals) {
            if !terminal.fits() {
                return Err(CatalogError::Terminal(number));
            }
            file.extend_from_slice(&terminal.emit(*mac));
        }
        for name in self.entries.keys() {
            file.extend_from_slice(name.as_bytes());
        }
        for blob in &blobs.contents {
            file.extend_from_slice(blob);
        }
        let checksum = blake3::hash(&file);
        file.extend_from_slice(checksum.as_bytes());
        debug_assert_eq!(file.len(), file_len);
        Ok(file)
    }

    fn folded_index(&self) -> Vec<u32> {
        let mut index: Vec<(&Name, u32)> = self.entries.keys().zip(0..).collect();
        index.sort_unstable_by(|(a, _), (b, _)| cmp_index(a.as_bytes(), b.as_bytes()));
        index.into_iter().map(|(_, number)| number).collect()
    }
}

/// The small contents of a catalog, in the order in which they lie in it.
struct Blobs<'e> {
    contents: Vec<&'e [u8]>,
    /// Octets of all of them.
    len: usize,
    /// Where the content of each entry begins; of an image, zero.
    places: Vec<u64>,
}

impl<'e> Blobs<'e> {
    fn of(entries: &'e BTreeMap<Name, StoredContent>) -> Result<Self, CatalogError> {
        let mut blobs = Blobs {
            contents: Vec::new(),
            len: 0,
            places: Vec::with_capacity(entries.len()),
        };
        // Thousands of terminals may share one rendered file: it is kept once.
        let mut known: HashMap<&[u8], u64> = HashMap::new();
        // Told by where it lies in memory, before its content is looked at.
        let mut held: HashMap<(usize, usize), u64> = HashMap::new();
        for (number, content) in (0..).zip(entries.values()) {
            let StoredContent::Inline(bytes) = content else {
                blobs.places.push(0);
                continue;
            };
            if bytes.len() as u64 > INLINE_BYTES_MAX {
                return Err(CatalogError::Blob(number));
            }
            let place = *held.entry(place_of(bytes)).or_insert_with(|| {
                *known.entry(bytes).or_insert_with(|| {
                    let place = blobs.len as u64;
                    blobs.contents.push(bytes);
                    blobs.len += bytes.len();
                    place
                })
            });
            blobs.places.push(place);
        }
        Ok(blobs)
    }
}

fn record(
    name_offset: u32,
    name_len: u16,
    content: &StoredContent,
    place: u64,
) -> [u8; ENTRY_BYTES] {
    let mut record = [0; ENTRY_BYTES];
    record[..4].copy_from_slice(&name_offset.to_le_bytes());
    record[4..6].copy_from_slice(&name_len.to_le_bytes());
    record[8..16].copy_from_slice(&content.len().to_le_bytes());
    match content {
        StoredContent::Image { hash, .. } => {
            record[6] = KIND_IMAGE;
            record[16..].copy_from_slice(hash.as_bytes());
        }
        StoredContent::Inline(_) => {
            record[6] = KIND_INLINE;
            record[16..24].copy_from_slice(&place.to_le_bytes());
        }
    }
    record
}
