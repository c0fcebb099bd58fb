//! The catalog format, version 3: read. One file of it is a [`Layer`]; what is served is a [`Snapshot`](super::Snapshot) of one or
//! two of them.
//!
//! Everything is little-endian and lies in this order, without a gap:
//!
//! | part | octets | what |
//! |---|---|---|
//! | header | 64 | magic (16), version u32, zero u32, generation u64, file length u64, entries u32, terminals u32, octets of names u64, octets of blobs u64 |
//! | entries | 48 each | name offset u32, name length u16, kind u8, zero u8, content length u64, content (32): a BLAKE3 hash, or a blob offset u64 and zeros |
//! | folded index | 4 each | entry numbers u32, ordered by (ASCII-lower-case name, name) |
//! | terminals | 128 each | network cards and whose they are, in order of the addresses: see `terminal.rs` |
//! | names | | in entry order, adjacent |
//! | blobs | | small contents kept in the catalog itself |
//! | checksum | 32 | BLAKE3 of everything before it |
//!
//! Entries are in strict octet order of their names, so both lookups are binary searches over the octets
//! as they lie in the file, and so is that of a card; nothing is copied or allocated. Everything is checked once, by
//! [`Layer::parse`]: a file that passes cannot make a lookup fail. The checksum finds damage, not malice:
//! the checks after it do not rely on it.
//!
//! Version 1 had no terminals, and is read as a catalog without any; version 2 did not tell a server that leaves booting to the
//! other one from terminals without a seat. What is written is version 3; a reader of before refuses it by its number, and
//! goes on with what it has.

use core::cmp::Ordering;
use core::ops::Range;

use super::terminal::{self, TERMINAL_BYTES, TerminalView};
use crate::limits::{CATALOG_BYTES_MAX, ENTRIES_MAX, INLINE_BYTES_MAX, TERMINALS_MAX};
use crate::name::{self, NameError};
use crate::{Generation, ImageHash, Mac};

const MAGIC: &[u8; 16] = b"daybreak-catalog";
const VERSION: u32 = 3;
/// The oldest version that is read.
const VERSION_OLDEST: u32 = 1;
/// Where it stands.
const VERSION_AT: usize = 16;
pub(super) const HEADER_BYTES: usize = 64;
pub(super) const ENTRY_BYTES: usize = 48;
pub(super) const INDEX_BYTES: usize = 4;
pub(super) const CHECKSUM_BYTES: usize = 32;
pub(super) const KIND_IMAGE: u8 = 1;
pub(super) const KIND_INLINE: u8 = 2;

/// Why a catalog is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Shorter than the smallest catalog, or than it says itself.
    #[error("cut short: {have} octets of {want}")]
    CutShort {
        /// Octets there are.
        have: u64,
        /// Octets there should be.
        want: u64,
    },
    /// Octets after the end.
    #[error("{0} octets too long")]
    TrailingOctets(u64),
    /// Over [`CATALOG_BYTES_MAX`] octets, or memory for it is not to be had.
    #[error("too large: {0} octets")]
    TooLarge(u64),
    /// Not a catalog.
    #[error("not a catalog (its first octets are wrong)")]
    Magic,
    /// A format of another version of this software.
    #[error(
        "catalog format {0} is not known to this version, which reads formats {VERSION_OLDEST} to {VERSION}"
    )]
    Version(u32),
    /// Changes in a format of another version of this software.
    #[error(
        "changes of catalogs in format {0} are not known to this version, which reads format 1"
    )]
    ChangesVersion(u32),
    /// The checksum does not match: damage.
    #[error("damaged: the checksum does not match")]
    Checksum,
    /// Octets that must be zero are not.
    #[error("damaged: reserved octets are not zero")]
    Reserved,
    /// No generation, or one out of range.
    #[error("damaged: generation {0} is out of range")]
    Generation(u64),
    /// Changes that remove something which the catalog before does not have.
    #[error("damaged: removal {0} is of something that is not there")]
    Removal(u32),
    /// Changes of another catalog than the one at hand.
    #[error("damaged: they are changes of another catalog than the one at hand")]
    OtherBase,
    /// More than [`ENTRIES_MAX`] entries.
    #[error("too many entries: {0}")]
    Entries(u32),
    /// More than [`TERMINALS_MAX`] terminals.
    #[error("too many terminals: {0}")]
    Terminals(u32),
    /// A record of a terminal that is none, or out of order.
    #[error("damaged: the record of terminal {0} is wrong")]
    Terminal(u32),
    /// The lengths of the parts do not add up to the length of the file.
    #[error("damaged: the parts do not add up to the length of the file")]
    Parts,
    /// A name out of its part, or not adjacent to the one before.
    #[error("damaged: the name of entry {0} is out of place")]
    NamePlace(u32),
    /// A name that is not canonical.
    #[error("damaged: entry {0}: {1}")]
    Name(u32, NameError),
    /// Entries out of order, or a name twice.
    #[error("damaged: entry {0} is out of order")]
    Order(u32),
    /// A kind of content that the format does not have.
    #[error("damaged: entry {0} is of an unknown kind")]
    Kind(u32),
    /// A blob out of its part, or over [`INLINE_BYTES_MAX`].
    #[error("damaged: the content of entry {0} is out of place")]
    Blob(u32),
    /// The folded index is not what the entries say.
    #[error("damaged: place {0} of the folded index is wrong")]
    Index(u32),
}

/// The number of an entry in one catalog. It means nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(super) u32);

impl EntryId {
    /// The number, from zero: below that of all entries that the files of the catalog have, hidden ones included.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where an entry's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// An image of the store.
    Image(ImageHash),
    /// In the catalog itself.
    Inline(&'a [u8]),
}

/// One entry, borrowed from its catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryView<'a> {
    /// The canonical name.
    pub name: &'a str,
    /// Length of the content in octets.
    pub len: u64,
    /// The content.
    pub content: Content<'a>,
}

/// A catalog file in memory, checked: a whole catalog, or what was put over one.
pub(crate) struct Layer {
    bytes: Box<[u8]>,
    generation: Generation,
    entries: u32,
    terminals: u32,
    names: Range<usize>,
    blobs: Range<usize>,
}

impl Layer {
    /// Checks `bytes` as a whole catalog file. Total: any octets give a layer or an error.
    pub(crate) fn parse(bytes: impl Into<Box<[u8]>>) -> Result<Self, CatalogError> {
        let is_whole = |body: &[u8], checksum: &[u8]| blake3::hash(body).as_bytes() == checksum;
        let layer = Self::frame(bytes.into(), is_whole)?;
        layer.check()?;
        Ok(layer)
    }

    /// The same for what was built a moment ago: its checksum was computed of these very octets, and is not checked again. Nor is
    /// the rest: [`check`](Self::check) must be called before anybody is told of it.
    pub(crate) fn of_built(bytes: Vec<u8>) -> Result<Self, CatalogError> {
        Self::frame(bytes.into(), |_, _| true)
    }

    /// Everything that lookups rely on.
    pub(crate) fn check(&self) -> Result<(), CatalogError> {
        self.check_entries()?;
        self.check_index()?;
        self.check_terminals()
    }

    /// The catalog before anything was published: [`Generation::ZERO`], no entries. It is in no file.
    #[must_use]
    pub(super) fn empty() -> Self {
        Layer {
            bytes: Box::default(),
            generation: Generation::ZERO,
            entries: 0,
            terminals: 0,
            names: 0..0,
            blobs: 0..0,
        }
    }

    /// The generation that this catalog is.
    #[must_use]
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// How many entries there are.
    #[must_use]
    pub(super) fn len(&self) -> u32 {
        self.entries
    }

    /// The name of the entry at a place.
    pub(super) fn name_at(&self, place: u32) -> &[u8] {
        self.name_bytes(EntryId(place))
    }

    /// The file, octet by octet (of the empty catalog: nothing).
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The checksum at the end of the file; `current` repeats it.
    #[must_use]
    pub(crate) fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        self.bytes.last_chunk().copied().unwrap_or_default()
    }

    /// The entry with exactly this name.
    #[must_use]
    pub(super) fn lookup(&self, name: &[u8]) -> Option<EntryId> {
        let place = self.first_place(|id| self.name_bytes(id) < name, EntryId);
        let id = EntryId(place);
        (place < self.entries && self.name_bytes(id) == name).then_some(id)
    }

    /// The first in octet order of those entries that have this name, upper and lower case of ASCII being the same, and that `counts`.
    pub(super) fn lookup_folded(
        &self,
        name: &[u8],
        counts: impl Fn(EntryId) -> bool,
    ) -> Option<EntryId> {
        let before = |id| cmp_folded(self.name_bytes(id), name) == Ordering::Less;
        let place = self.first_place(before, |place| self.index_entry(place));
        (place..self.entries)
            .map(|place| self.index_entry(place))
            .take_while(|id| self.name_bytes(*id).eq_ignore_ascii_case(name))
            .find(|id| counts(*id))
    }

    /// An entry. `id` must come from this catalog; one of a larger catalog panics.
    #[must_use]
    pub(super) fn entry(&self, id: EntryId) -> EntryView<'_> {
        let record = self.record(id);
        let len = u64_at(record, 8);
        let content = if record[6] == KIND_IMAGE {
            Content::Image(ImageHash::from_bytes(
                record[16..48].try_into().expect("32 octets"),
            ))
        } else {
            let place = self.blob_place(record).expect("checked when parsed");
            Content::Inline(&self.bytes[place])
        };
        let name = core::str::from_utf8(self.name_bytes(id)).expect("checked when parsed");
        EntryView { name, len, content }
    }

    /// How many network cards there are.
    pub(super) fn terminals(&self) -> u32 {
        self.terminals
    }

    /// The place of a network card.
    pub(super) fn card(&self, mac: Mac) -> Option<u32> {
        let before = |place| terminal::mac(self.terminal_record(place)) < mac;
        let place = first_place(self.terminals, before);
        (place < self.terminals && self.card_at(place) == mac).then_some(place)
    }

    /// The network card at a place.
    pub(super) fn card_at(&self, place: u32) -> Mac {
        terminal::mac(self.terminal_record(place))
    }

    /// Whose the network card at a place is.
    pub(super) fn terminal_at(&self, place: u32) -> TerminalView<'_> {
        terminal::view(self.terminal_record(place))
    }

    /// Where in the file the content of an entry lies, if it lies there.
    pub(super) fn inline_place(&self, id: EntryId) -> Option<Range<usize>> {
        let record = self.record(id);
        (record[6] == KIND_INLINE).then(|| self.blob_place(record).expect("checked when parsed"))
    }

    /// The first place in `0..entries` whose entry is not `before` what is sought.
    fn first_place(
        &self,
        before: impl Fn(EntryId) -> bool,
        entry_at: impl Fn(u32) -> EntryId,
    ) -> u32 {
        first_place(self.entries, |place| before(entry_at(place)))
    }

    /// Where the record of a terminal begins, or the records end.
    fn terminal_start(&self, place: u32) -> usize {
        HEADER_BYTES
            + self.entries as usize * (ENTRY_BYTES + INDEX_BYTES)
            + place as usize * TERMINAL_BYTES
    }

    fn terminal_record(&self, place: u32) -> &[u8] {
        &self.bytes[self.terminal_start(place)..][..TERMINAL_BYTES]
    }

    /// Where the record of an entry begins, or the records end.
    fn record_start(&self, place: u32) -> usize {
        HEADER_BYTES + place as usize * ENTRY_BYTES
    }

    fn record(&self, id: EntryId) -> &[u8] {
        &self.bytes[self.record_start(id.0)..][..ENTRY_BYTES]
    }

    fn index_entry(&self, place: u32) -> EntryId {
        let start = self.record_start(self.entries) + place as usize * INDEX_BYTES;
        EntryId(u32_at(&self.bytes, start))
    }

    fn name_bytes(&self, id: EntryId) -> &[u8] {
        let record = self.record(id);
        let start = self.names.start + u32_at(record, 0) as usize;
        &self.bytes[start..start + usize::from(u16_at(record, 4))]
    }

    fn blob_place(&self, record: &[u8]) -> Option<Range<usize>> {
        let (offset, len) = (u64_at(record, 16), u64_at(record, 8));
        let end = offset.checked_add(len)?;
        if len > INLINE_BYTES_MAX || end > self.blobs.len() as u64 {
            return None;
        }
        let start = self.blobs.start + usize::try_from(offset).ok()?;
        Some(start..start + usize::try_from(len).ok()?)
    }

    /// Header, checksum, and where the parts are.
    fn frame(
        bytes: Box<[u8]>,
        is_whole: impl FnOnce(&[u8], &[u8]) -> bool,
    ) -> Result<Self, CatalogError> {
        let have = bytes.len() as u64;
        let least = (HEADER_BYTES + CHECKSUM_BYTES) as u64;
        if have > CATALOG_BYTES_MAX {
            return Err(CatalogError::TooLarge(have));
        }
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
            return Err(CatalogError::Magic);
        }
        if have < least {
            return Err(CatalogError::CutShort { have, want: least });
        }
        // Before anything whose meaning another version may have changed.
        let version = u32_at(&bytes, VERSION_AT);
        if !(VERSION_OLDEST..=VERSION).contains(&version) {
            return Err(CatalogError::Version(version));
        }
        let want = u64_at(&bytes, 32);
        if have < want {
            return Err(CatalogError::CutShort { have, want });
        }
        if have > want {
            return Err(CatalogError::TrailingOctets(have - want));
        }
        let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if !is_whole(body, checksum) {
            return Err(CatalogError::Checksum);
        }
        let terminals = u32_at(&bytes, 44);
        if u32_at(&bytes, 20) != 0 || (version == VERSION_OLDEST && terminals != 0) {
            return Err(CatalogError::Reserved);
        }
        let generation = Generation::new(u64_at(&bytes, 24))
            .filter(|generation| *generation > Generation::ZERO)
            .ok_or(CatalogError::Generation(u64_at(&bytes, 24)))?;
        let entries = u32_at(&bytes, 40);
        if entries > ENTRIES_MAX {
            return Err(CatalogError::Entries(entries));
        }
        if terminals > TERMINALS_MAX {
            return Err(CatalogError::Terminals(terminals));
        }
        // Bounded by the checks above: no sum here can overflow, once the two lengths are in range.
        let names_len = part_len(u64_at(&bytes, 48), have)?;
        let blobs_len = part_len(u64_at(&bytes, 56), have)?;
        let names_start = HEADER_BYTES
            + entries as usize * (ENTRY_BYTES + INDEX_BYTES)
            + terminals as usize * TERMINAL_BYTES;
        let names = names_start..names_start + names_len;
        let blobs = names.end..names.end + blobs_len;
        if blobs.end + CHECKSUM_BYTES != bytes.len() {
            return Err(CatalogError::Parts);
        }
        Ok(Layer {
            bytes,
            generation,
            entries,
            terminals,
            names,
            blobs,
        })
    }

    fn check_entries(&self) -> Result<(), CatalogError> {
        let mut names_end = 0;
        let mut previous: &[u8] = &[];
        for number in 0..self.entries {
            let record = self.record(EntryId(number));
            let (offset, len) = (u32_at(record, 0) as usize, usize::from(u16_at(record, 4)));
            if offset != names_end || len > self.names.len() - names_end {
                return Err(CatalogError::NamePlace(number));
            }
            names_end += len;
            let name = &self.bytes[self.names.start + offset..self.names.start + names_end];
            name::check(name).map_err(|why| CatalogError::Name(number, why))?;
            if name <= previous {
                return Err(CatalogError::Order(number));
            }
            previous = name;
            if record[7] != 0 {
                return Err(CatalogError::Reserved);
            }
            match record[6] {
                KIND_IMAGE => {}
                KIND_INLINE => {
                    if record[24..].iter().any(|&octet| octet != 0) {
                        return Err(CatalogError::Reserved);
                    }
                    self.blob_place(record).ok_or(CatalogError::Blob(number))?;
                }
                _ => return Err(CatalogError::Kind(number)),
            }
        }
        if names_end != self.names.len() {
            return Err(CatalogError::Parts);
        }
        Ok(())
    }

    /// Strictly increasing, in range and of full length: so a permutation, in the right order.
    fn check_index(&self) -> Result<(), CatalogError> {
        let mut previous: Option<&[u8]> = None;
        for place in 0..self.entries {
            let id = self.index_entry(place);
            if id.0 >= self.entries {
                return Err(CatalogError::Index(place));
            }
            let name = self.name_bytes(id);
            if previous.is_some_and(|previous| cmp_index(previous, name) != Ordering::Less) {
                return Err(CatalogError::Index(place));
            }
            previous = Some(name);
        }
        Ok(())
    }

    fn check_terminals(&self) -> Result<(), CatalogError> {
        let version = u32_at(&self.bytes, VERSION_AT);
        let mut previous = None;
        for place in 0..self.terminals {
            let record = self.terminal_record(place);
            let mac = Some(terminal::mac(record));
            if mac <= previous || !terminal::check(record, version) {
                return Err(CatalogError::Terminal(place));
            }
            previous = mac;
        }
        Ok(())
    }
}

impl core::fmt::Debug for Layer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Layer")
            .field("generation", &self.generation)
            .field("entries", &self.entries)
            .field("terminals", &self.terminals)
            .finish_non_exhaustive()
    }
}

/// The first place in `0..count` that is not `before` what is sought.
fn first_place(count: u32, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The order of the folded index.
pub(super) fn cmp_index(a: &[u8], b: &[u8]) -> Ordering {
    cmp_folded(a, b).then_with(|| a.cmp(b))
}

fn cmp_folded(a: &[u8], b: &[u8]) -> Ordering {
    // Neighbours begin alike: what is the same is passed over eight octets at a time.
    let chunks = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let alike = 8 * chunks.take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[alike..], &b[alike..]);
    let mut pairs = a.iter().zip(b);
    pairs
        .find_map(|(a, b)| {
            let order = a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase());
            order.is_ne().then_some(order)
        })
        .unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// The header of a file of so many octets, with counts of entries and of terminals, and octets of names and of blobs.
pub(super) fn header(
    generation: Generation,
    file_len: u64,
    (entries, terminals): (usize, usize),
    (names_len, blobs_len): (usize, usize),
) -> [u8; HEADER_BYTES] {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(MAGIC);
    header[VERSION_AT..20].copy_from_slice(&VERSION.to_le_bytes());
    header[24..32].copy_from_slice(&generation.get().to_le_bytes());
    header[32..40].copy_from_slice(&file_len.to_le_bytes());
    header[40..44].copy_from_slice(&count(entries));
    header[44..48].copy_from_slice(&count(terminals));
    header[48..56].copy_from_slice(&(names_len as u64).to_le_bytes());
    header[56..].copy_from_slice(&(blobs_len as u64).to_le_bytes());
    header
}

fn part_len(len: u64, file_len: u64) -> Result<usize, CatalogError> {
    if len > file_len {
        return Err(CatalogError::Parts);
    }
    usize::try_from(len).map_err(|_| CatalogError::Parts)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 octets"))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 octets"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 octets"))
}
