//! What changed since an earlier catalog: written in the place of a whole catalog when that is much less.
//!
//! Everything is little-endian and lies in this order, without a gap:
//!
//! | part | octets | what |
//! |---|---|---|
//! | header | 80 | magic (16), version u32, removed names u32, removed cards u32, zero u32, generation of the base u64, octets of the removed names u64, checksum of the base (32) |
//! | removed names | | length u16 and octets each, in octet order |
//! | removed cards | 6 each | |
//! | put | | a catalog (`layer.rs`) of the new generation, of the entries and cards that are new or others than before |
//! | checksum | 32 | BLAKE3 of everything before it |
//!
//! The base is always a whole catalog, so a catalog is of two files and never of more. `current` names the checksum of this one,
//! which names that of the base.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::layer::{CHECKSUM_BYTES, Layer, u32_at, u64_at};
use super::{CatalogError, Snapshot, SnapshotBuilder};
use crate::limits::{
    CATALOG_BYTES_MAX, CHANGES_BASE_BYTES_MIN, CHANGES_PART_MAX, ENTRIES_MAX, TERMINALS_MAX,
};
use crate::{Generation, Mac, Name};

const MAGIC: &[u8; 16] = b"daybreak-changes";
const VERSION: u32 = 1;
/// Octets of the header.
pub(crate) const CHANGES_HEADER_BYTES: usize = 80;
const BASE_AT: usize = 32;
const BASE_CHECKSUM_AT: usize = 48;
const CARD_BYTES: usize = 6;

/// Names and cards of which something was said since the base.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) names: BTreeSet<Name>,
    pub(crate) cards: BTreeSet<Mac>,
}

/// What changed since a base: the content of a file of catalogs that is not whole.
#[derive(Debug)]
pub struct Changes {
    base: Generation,
    base_checksum: [u8; CHECKSUM_BYTES],
    removed: Vec<Name>,
    removed_cards: Vec<Mac>,
    put: Arc<Layer>,
    checksum: [u8; CHECKSUM_BYTES],
}

impl Changes {
    /// Whether a file of catalogs is one, and no whole catalog.
    pub(crate) fn is_one(file: &[u8]) -> bool {
        file.starts_with(MAGIC)
    }

    /// The generation of the base, by the header alone; none, if it is no such file.
    pub(crate) fn base_of(header: &[u8]) -> Option<Generation> {
        (header.len() >= CHANGES_HEADER_BYTES && Self::is_one(header))
            .then(|| Generation::new(u64_at(header, BASE_AT)))
            .flatten()
    }

    /// Reads a whole file. Total: any octets give changes or an error.
    pub fn parse(file: &[u8]) -> Result<Self, CatalogError> {
        let (have, want) = (file.len(), CHANGES_HEADER_BYTES + CHECKSUM_BYTES);
        if !Self::is_one(file) {
            return Err(CatalogError::Magic);
        }
        if have < want {
            let (have, want) = (have as u64, want as u64);
            return Err(CatalogError::CutShort { have, want });
        }
        let version = u32_at(file, 16);
        if version != VERSION {
            return Err(CatalogError::ChangesVersion(version));
        }
        let (body, checksum) = file.split_at(have - CHECKSUM_BYTES);
        if blake3::hash(body).as_bytes() != checksum {
            return Err(CatalogError::Checksum);
        }
        if u32_at(body, 28) != 0 {
            return Err(CatalogError::Reserved);
        }
        let base = u64_at(body, BASE_AT);
        let base = Generation::new(base)
            .filter(|base| *base > Generation::ZERO)
            .ok_or(CatalogError::Generation(base))?;
        let (names, cards) = (u32_at(body, 20), u32_at(body, 24));
        if names > ENTRIES_MAX {
            return Err(CatalogError::Entries(names));
        }
        if cards > TERMINALS_MAX {
            return Err(CatalogError::Terminals(cards));
        }
        let rest = &body[CHANGES_HEADER_BYTES..];
        let names_len = usize::try_from(u64_at(body, 40)).map_err(|_| CatalogError::Parts)?;
        let (octets, rest) = rest
            .split_at_checked(names_len)
            .ok_or(CatalogError::Parts)?;
        let removed = parse_names(octets, names)?;
        let cards = cards as usize * CARD_BYTES;
        let (cards, put) = rest.split_at_checked(cards).ok_or(CatalogError::Parts)?;
        let cards = cards.as_chunks::<CARD_BYTES>().0;
        let put = Layer::parse(put)?;
        if put.generation() <= base {
            return Err(CatalogError::Generation(base.get()));
        }
        Ok(Changes {
            base,
            base_checksum: body[BASE_CHECKSUM_AT..][..CHECKSUM_BYTES]
                .try_into()
                .expect("32 octets"),
            removed,
            removed_cards: cards.iter().copied().map(Mac).collect(),
            put: Arc::new(put),
            checksum: checksum.try_into().expect("32 octets"),
        })
    }

    /// The generation of the whole catalog that it is the difference to.
    #[must_use]
    pub fn base(&self) -> Generation {
        self.base
    }

    /// Whether this is the catalog that it is the difference to.
    pub(crate) fn is_of(&self, base: &Layer) -> bool {
        (base.generation(), base.checksum()) == (self.base, self.base_checksum)
    }

    /// What it makes of its base; of another catalog, nothing.
    pub fn make(&self, base: &Snapshot) -> Result<Snapshot, CatalogError> {
        self.make_of(base.base())
    }

    /// The same of a whole catalog.
    pub(crate) fn make_of(&self, base: &Arc<Layer>) -> Result<Snapshot, CatalogError> {
        if !self.is_of(base) {
            return Err(CatalogError::OtherBase);
        }
        Snapshot::of_layers(
            Arc::clone(base),
            (Arc::clone(&self.put), self.checksum),
            self.removed.iter().map(Name::as_bytes),
            self.removed_cards.iter().copied(),
        )
    }

    /// The file of what changed from `base` to `now`. None, if it is too much of the base, or the base too small: then a whole catalog
    /// is as good.
    pub(crate) fn between(
        base: &Layer,
        now: &SnapshotBuilder,
        touched: &Touched,
        generation: Generation,
    ) -> Result<Option<Vec<u8>>, CatalogError> {
        let base_bytes = base.as_bytes().len();
        if base_bytes < CHANGES_BASE_BYTES_MIN {
            return Ok(None);
        }
        let mut put = SnapshotBuilder::new();
        let (mut removed, mut removed_cards) = (Vec::new(), Vec::new());
        for name in &touched.names {
            match now.entries().get(name) {
                Some(content) => drop(put.put(name.clone(), content.clone())),
                None if base.lookup(name.as_bytes()).is_some() => removed.push(name),
                None => {}
            }
        }
        for card in &touched.cards {
            match now.terminals().get(card) {
                Some(terminal) => put.set_terminal(*card, Some(terminal.clone())),
                None if base.card(*card).is_some() => removed_cards.push(*card),
                None => {}
            }
        }
        let file = emit(base, &removed, &removed_cards, &put.build(generation)?);
        // Both together must be what can be written whole one day.
        let fits = |file: &Vec<u8>| {
            file.len() <= base_bytes / CHANGES_PART_MAX
                && (base_bytes + file.len()) as u64 <= CATALOG_BYTES_MAX
        };
        Ok(Some(file).filter(fits))
    }
}

/// The octets of a file.
fn emit(base: &Layer, removed: &[&Name], removed_cards: &[Mac], put: &[u8]) -> Vec<u8> {
    let count = |len: usize| u32::try_from(len).expect("no more than a catalog has");
    let mut names = Vec::new();
    for name in removed {
        let len = u16::try_from(name.as_bytes().len()).expect("bounded by Name");
        names.extend_from_slice(&len.to_le_bytes());
        names.extend_from_slice(name.as_bytes());
    }
    let mut file = Vec::new();
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&count(removed.len()).to_le_bytes());
    file.extend_from_slice(&count(removed_cards.len()).to_le_bytes());
    file.extend_from_slice(&0_u32.to_le_bytes());
    file.extend_from_slice(&base.generation().get().to_le_bytes());
    file.extend_from_slice(&(names.len() as u64).to_le_bytes());
    file.extend_from_slice(&base.checksum());
    debug_assert_eq!(file.len(), CHANGES_HEADER_BYTES);
    file.extend_from_slice(&names);
    for card in removed_cards {
        file.extend_from_slice(&card.0);
    }
    file.extend_from_slice(put);
    let checksum = blake3::hash(&file);
    file.extend_from_slice(checksum.as_bytes());
    file
}

/// So many names, in strict octet order, and nothing after them.
fn parse_names(mut octets: &[u8], count: u32) -> Result<Vec<Name>, CatalogError> {
    let mut names: Vec<Name> = Vec::new();
    for number in 0..count {
        let (len, rest) = octets.split_first_chunk().ok_or(CatalogError::Parts)?;
        let len = usize::from(u16::from_le_bytes(*len));
        let (name, rest) = rest.split_at_checked(len).ok_or(CatalogError::Parts)?;
        let name = Name::parse(name).map_err(|why| CatalogError::Name(number, why))?;
        if names.last().is_some_and(|last| *last >= name) {
            return Err(CatalogError::Order(number));
        }
        names.push(name);
        octets = rest;
    }
    octets
        .is_empty()
        .then_some(names)
        .ok_or(CatalogError::Parts)
}
