//! What changed since an earlier catalog: written in the place of a whole catalog when that is much less.
//!
//! Everything is little-endian and lies in this order, without a gap:
//!
//! | part | octets | what |
//! |---|---|---|
//! | header | 112 | magic (16), version u32, removed names u32, removed cards u32, zero u32, generation of the base u64, octets of the removed names u64, checksum of the base (32), checksum of what it makes (32) |
//! | removed names | | length u16 and octets each, in octet order |
//! | removed cards | 6 each | in order |
//! | put | | a catalog (`snapshot.rs`) of the new generation, of the entries and cards that are new or others than before |
//! | checksum | 32 | BLAKE3 of everything before it |
//!
//! The base is always a whole catalog, so one is made of two files and never of more. What they make is a catalog as any other, with
//! its own checksum, which `current` names; only its small contents lie in another order than in one that was written whole: those of
//! the base first. That checksum also tells damage of the base: nothing of the base is relied on before.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::snapshot::{
    self, CHECKSUM_BYTES, ENTRY_BYTES, HEADER_BYTES as CATALOG_HEADER_BYTES, INDEX_BYTES,
    KIND_INLINE, cmp_index, first_place, u16_at, u32_at, u64_at,
};
use super::terminal::{self, TERMINAL_BYTES};
use super::{CatalogError, EntryId, Snapshot, SnapshotBuilder};
use crate::limits::{CHANGES_BASE_BYTES_MIN, CHANGES_PART_MAX};
use crate::{Generation, Mac, Name};

const MAGIC: &[u8; 16] = b"daybreak-changes";
const VERSION: u32 = 1;
/// Octets of the header.
pub(crate) const CHANGES_HEADER_BYTES: usize = 112;
const BASE_AT: usize = 32;
const BASE_CHECKSUM_AT: usize = 48;
const MADE_CHECKSUM_AT: usize = 80;
const CARD_BYTES: usize = 6;

/// Names and cards of which something was said since the base.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) names: BTreeSet<Name>,
    pub(crate) cards: BTreeSet<Mac>,
}

/// What changed since a base.
#[derive(Debug)]
pub(crate) struct Changes {
    base: Generation,
    base_checksum: [u8; CHECKSUM_BYTES],
    made_checksum: [u8; CHECKSUM_BYTES],
    removed: Vec<Name>,
    removed_cards: Vec<Mac>,
    put: Snapshot,
}

/// What becomes of the entries of the base, or of its cards, in their order.
enum Step<P> {
    /// These stay as they are.
    Keep(Range<u32>),
    /// This one goes.
    Drop,
    /// This one is new.
    Put(P),
    /// This one is there instead of one of the base.
    Replace(u32, P),
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
    pub(crate) fn parse(file: &[u8]) -> Result<Self, CatalogError> {
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
        let base = Generation::new(base).ok_or(CatalogError::Generation(base))?;
        let rest = &body[CHANGES_HEADER_BYTES..];
        let names = usize::try_from(u64_at(body, 40)).map_err(|_| CatalogError::Parts)?;
        let (names, rest) = rest.split_at_checked(names).ok_or(CatalogError::Parts)?;
        let removed = parse_names(names, u32_at(body, 20))?;
        let cards = (u32_at(body, 24) as usize).saturating_mul(CARD_BYTES);
        let (cards, put) = rest.split_at_checked(cards).ok_or(CatalogError::Parts)?;
        let cards = cards.as_chunks::<CARD_BYTES>().0;
        let put = Snapshot::parse(put)?;
        if put.generation() <= base {
            return Err(CatalogError::Generation(base.get()));
        }
        let octets = |at: usize| *file[at..].first_chunk().expect("in the header");
        Ok(Changes {
            base,
            base_checksum: octets(BASE_CHECKSUM_AT),
            made_checksum: octets(MADE_CHECKSUM_AT),
            removed,
            removed_cards: cards.iter().copied().map(Mac).collect(),
            put,
        })
    }

    /// The generation of the whole catalog that it is the difference to.
    pub(crate) fn base(&self) -> Generation {
        self.base
    }

    /// What it makes of the file of its base. Whatever is wrong with either, it is found.
    pub(crate) fn make(&self, base: Vec<u8>) -> Result<Snapshot, CatalogError> {
        let is_meant = |_: &[u8], checksum: &[u8]| checksum == self.base_checksum;
        let base = Snapshot::frame(base.into(), is_meant)?;
        if base.generation() != self.base {
            return Err(CatalogError::Generation(base.generation().get()));
        }
        let made = Snapshot::of_built(self.applied(&base)?)?;
        if made.checksum() != self.made_checksum {
            return Err(CatalogError::Checksum);
        }
        made.check()?;
        Ok(made)
    }

    /// The file of what changed from `base` to `now`, and the catalog that it makes, which is not checked yet. None, if it is too
    /// much of the base, or the base too small: then a whole catalog is as good.
    pub(crate) fn between(
        base: &Snapshot,
        now: &SnapshotBuilder,
        touched: &Touched,
        generation: Generation,
    ) -> Result<Option<(Vec<u8>, Snapshot)>, CatalogError> {
        let base_bytes = base.as_bytes().len();
        if base_bytes < CHANGES_BASE_BYTES_MIN {
            return Ok(None);
        }
        let mut put = SnapshotBuilder::new();
        let (mut removed, mut removed_cards) = (Vec::new(), Vec::new());
        for name in &touched.names {
            match now.entries().get(name) {
                Some(content) => drop(put.put(name.clone(), content.clone())),
                None if base.lookup(name.as_bytes()).is_some() => removed.push(name.clone()),
                None => {}
            }
        }
        for card in &touched.cards {
            match now.terminals().get(card) {
                Some(terminal) => put.set_terminal(*card, Some(terminal.clone())),
                None if base.terminal(*card).is_some() => removed_cards.push(*card),
                None => {}
            }
        }
        let put = put.build(generation)?;
        if put.len() > base_bytes / CHANGES_PART_MAX {
            return Ok(None);
        }
        let mut changes = Changes {
            base: base.generation(),
            base_checksum: base.checksum(),
            made_checksum: [0; CHECKSUM_BYTES],
            removed,
            removed_cards,
            put: Snapshot::parse(put)?,
        };
        let made = Snapshot::of_built(changes.applied(base)?)?;
        changes.made_checksum = made.checksum();
        Ok(Some((changes.emit(), made)))
    }

    fn emit(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).expect("no more than a catalog has");
        let mut names = Vec::new();
        for name in &self.removed {
            let len = u16::try_from(name.as_bytes().len()).expect("bounded by Name");
            names.extend_from_slice(&len.to_le_bytes());
            names.extend_from_slice(name.as_bytes());
        }
        let mut file = Vec::new();
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        file.extend_from_slice(&count(self.removed.len()).to_le_bytes());
        file.extend_from_slice(&count(self.removed_cards.len()).to_le_bytes());
        file.extend_from_slice(&0_u32.to_le_bytes());
        file.extend_from_slice(&self.base.get().to_le_bytes());
        file.extend_from_slice(&(names.len() as u64).to_le_bytes());
        file.extend_from_slice(&self.base_checksum);
        file.extend_from_slice(&self.made_checksum);
        debug_assert_eq!(file.len(), CHANGES_HEADER_BYTES);
        file.extend_from_slice(&names);
        for card in &self.removed_cards {
            file.extend_from_slice(&card.0);
        }
        file.extend_from_slice(self.put.as_bytes());
        let checksum = blake3::hash(&file);
        file.extend_from_slice(checksum.as_bytes());
        file
    }

    /// The octets of what it makes of `base`, of which only the frame is relied on. Runs of what stays are copied as they are.
    fn applied(&self, base: &Snapshot) -> Result<Vec<u8>, CatalogError> {
        let entries = self.entry_steps(base)?;
        let cards = self.card_steps(base)?;
        let mut file = Vec::with_capacity(base.bytes.len() + self.put.bytes.len());
        file.resize(CATALOG_HEADER_BYTES, 0);
        let names_len = self.write_records(&mut file, base, &entries);
        let count = (file.len() - CATALOG_HEADER_BYTES) / ENTRY_BYTES;
        self.write_index(&mut file, base, &entries)?;
        let cards_from = file.len();
        for step in &cards {
            match step {
                Step::Keep(range) => {
                    let start = base.terminal_start(range.start);
                    let octets = &base.bytes[start..base.terminal_start(range.end)];
                    file.extend_from_slice(octets);
                }
                Step::Drop => {}
                Step::Put(place) | Step::Replace(_, place) => {
                    file.extend_from_slice(self.put.terminal_record(*place));
                }
            }
        }
        let card_count = (file.len() - cards_from) / TERMINAL_BYTES;
        for step in &entries {
            match step {
                Step::Keep(range) => {
                    let octets = base.names.start + name_offset(base, range.start) as usize
                        ..base.names.start + name_offset(base, range.end) as usize;
                    let kept = base.bytes[..base.names.end].get(octets);
                    file.extend_from_slice(kept.ok_or(CatalogError::NamePlace(range.start))?);
                }
                Step::Drop => {}
                Step::Put(id) | Step::Replace(_, id) => {
                    file.extend_from_slice(self.put.name_bytes(*id));
                }
            }
        }
        file.extend_from_slice(&base.bytes[base.blobs.clone()]);
        file.extend_from_slice(&self.put.bytes[self.put.blobs.clone()]);
        let file_len = (file.len() + CHECKSUM_BYTES) as u64;
        let header = snapshot::header(
            self.put.generation(),
            file_len,
            (count, card_count),
            (names_len, base.blobs.len() + self.put.blobs.len()),
        );
        file[..CATALOG_HEADER_BYTES].copy_from_slice(&header);
        let checksum = blake3::hash(&file);
        file.extend_from_slice(checksum.as_bytes());
        Ok(file)
    }

    fn entry_steps(&self, base: &Snapshot) -> Result<Vec<Step<EntryId>>, CatalogError> {
        let removed = self.removed.iter().map(|name| (name.as_bytes(), None));
        let put = (0..self.put.entries).map(EntryId);
        let put = put.map(|id| (self.put.name_bytes(id), Some(id)));
        let edits: BTreeMap<&[u8], Option<EntryId>> = removed.chain(put).collect();
        let name = |place| entry_name(base, place);
        let places = edits.into_iter().map(|(edited, put)| {
            let place = first_place(base.entries, |place| name(place) < edited);
            let is_there = place < base.entries && name(place) == edited;
            (place, is_there, put)
        });
        steps(places, base.entries)
    }

    fn card_steps(&self, base: &Snapshot) -> Result<Vec<Step<u32>>, CatalogError> {
        let removed = self.removed_cards.iter().map(|card| (*card, None));
        let put = 0..self.put.terminals;
        let put = put.map(|place| (terminal::mac(self.put.terminal_record(place)), Some(place)));
        let edits: BTreeMap<Mac, Option<u32>> = removed.chain(put).collect();
        let card = |place| terminal::mac(base.terminal_record(place));
        let places = edits.into_iter().map(|(edited, put)| {
            let place = first_place(base.terminals, |place| card(place) < edited);
            let is_there = place < base.terminals && card(place) == edited;
            (place, is_there, put)
        });
        steps(places, base.terminals)
    }

    /// The records of the entries; gives how many octets the names have.
    fn write_records(&self, file: &mut Vec<u8>, base: &Snapshot, steps: &[Step<EntryId>]) -> usize {
        let mut names_len = 0_u32;
        for step in steps {
            match step {
                Step::Keep(range) => {
                    let (start, end) =
                        (name_offset(base, range.start), name_offset(base, range.end));
                    let from = file.len();
                    let records = base.record_start(range.start)..base.record_start(range.end);
                    file.extend_from_slice(&base.bytes[records]);
                    let shift = names_len.wrapping_sub(start);
                    if shift != 0 {
                        for record in file[from..].chunks_exact_mut(ENTRY_BYTES) {
                            let offset = u32_at(record, 0).wrapping_add(shift);
                            record[..4].copy_from_slice(&offset.to_le_bytes());
                        }
                    }
                    names_len = names_len.wrapping_add(end.wrapping_sub(start));
                }
                Step::Drop => {}
                Step::Put(id) | Step::Replace(_, id) => {
                    let from = file.len();
                    file.extend_from_slice(self.put.record(*id));
                    let record = &mut file[from..];
                    record[..4].copy_from_slice(&names_len.to_le_bytes());
                    if record[6] == KIND_INLINE {
                        let place = u64_at(record, 16) + base.blobs.len() as u64;
                        record[16..24].copy_from_slice(&place.to_le_bytes());
                    }
                    names_len = names_len.wrapping_add(u32::from(u16_at(record, 4)));
                }
            }
        }
        names_len as usize
    }

    /// The folded index: that of the base with other numbers, and what is new put between.
    fn write_index(
        &self,
        file: &mut Vec<u8>,
        base: &Snapshot,
        steps: &[Step<EntryId>],
    ) -> Result<(), CatalogError> {
        let index = base.record_start(base.entries)..base.terminal_start(0);
        let same = |step: &Step<_>| matches!(step, Step::Keep(_) | Step::Replace(..));
        if steps.iter().all(same) {
            file.extend_from_slice(&base.bytes[index]);
            return Ok(());
        }
        let mut numbers: Vec<Option<u32>> = vec![None; base.entries as usize];
        let mut new: Vec<(&[u8], u32)> = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Keep(range) => {
                    for place in range.clone() {
                        numbers[place as usize] = Some(next);
                        next += 1;
                    }
                    continue;
                }
                Step::Drop => continue,
                Step::Put(id) => new.push((self.put.name_bytes(*id), next)),
                Step::Replace(place, _) => numbers[*place as usize] = Some(next),
            }
            next += 1;
        }
        new.sort_unstable_by(|(a, _), (b, _)| cmp_index(a, b));
        let number_at = |place: u32| base.index_entry(place).0;
        let mut new = new.into_iter().map(|(name, number)| {
            let before = |place| cmp_index(entry_name(base, number_at(place)), name).is_lt();
            (first_place(base.entries, before), number)
        });
        let mut coming = new.next();
        for place in 0..base.entries {
            while let Some((_, number)) = coming.filter(|(at, _)| *at <= place) {
                file.extend_from_slice(&number.to_le_bytes());
                coming = new.next();
            }
            let number = numbers.get(number_at(place) as usize);
            if let Some(number) = number.ok_or(CatalogError::Index(place))? {
                file.extend_from_slice(&number.to_le_bytes());
            }
        }
        for (_, number) in coming.into_iter().chain(new) {
            file.extend_from_slice(&number.to_le_bytes());
        }
        debug_assert_eq!(index.len(), base.len() * INDEX_BYTES);
        Ok(())
    }
}

/// What becomes of `count` that are there, by places in increasing order: whether the edited one is there, and what is put.
fn steps<P>(
    edits: impl Iterator<Item = (u32, bool, Option<P>)>,
    count: u32,
) -> Result<Vec<Step<P>>, CatalogError> {
    let (mut steps, mut at) = (Vec::new(), 0);
    for (place, is_there, put) in edits {
        // Of a damaged base any place may be said.
        if place < at {
            return Err(CatalogError::Order(place));
        }
        if at < place {
            steps.push(Step::Keep(at..place));
        }
        at = place + u32::from(is_there);
        match put {
            Some(put) if is_there => steps.push(Step::Replace(place, put)),
            Some(put) => steps.push(Step::Put(put)),
            None if is_there => steps.push(Step::Drop),
            None => {}
        }
    }
    if at < count {
        steps.push(Step::Keep(at..count));
    }
    Ok(steps)
}

/// Where the name of an entry begins, or the names end.
fn name_offset(base: &Snapshot, place: u32) -> u32 {
    if place < base.entries {
        u32_at(base.record(EntryId(place)), 0)
    } else {
        u32::try_from(base.names.len()).unwrap_or(u32::MAX)
    }
}

/// The name of an entry; nothing, where a damaged base has none.
fn entry_name(base: &Snapshot, place: u32) -> &[u8] {
    if place >= base.entries {
        return &[];
    }
    let record = base.record(EntryId(place));
    let start = base.names.start + u32_at(record, 0) as usize;
    let octets = start..start + usize::from(u16_at(record, 4));
    base.bytes.get(octets).unwrap_or_default()
}

/// So many names, in strict octet order, and nothing after them.
fn parse_names(mut octets: &[u8], count: u32) -> Result<Vec<Name>, CatalogError> {
    let mut names: Vec<Name> = Vec::new();
    while let Some((len, rest)) = octets.split_first_chunk() {
        let number = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let len = usize::from(u16::from_le_bytes(*len));
        let (name, rest) = rest.split_at_checked(len).ok_or(CatalogError::Parts)?;
        let name = Name::parse(name).map_err(|why| CatalogError::Name(number, why))?;
        if names.last().is_some_and(|last| *last >= name) {
            return Err(CatalogError::Order(number));
        }
        names.push(name);
        octets = rest;
    }
    let is_all = octets.is_empty() && names.len() == count as usize;
    is_all.then_some(names).ok_or(CatalogError::Parts)
}
