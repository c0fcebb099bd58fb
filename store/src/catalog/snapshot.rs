//! What is published at one moment, in memory: a whole catalog, or one and what was put over it.
//!
//! A change of little is a small layer over the same base, which stays in memory: nothing of the base is copied, read or checked
//! again. A look-up asks the layer first, and then the base, of which the entries that the layer replaces or removes are hidden.

use core::cmp::Ordering;
use core::ops::Range;
use std::sync::Arc;

use super::layer::{CatalogError, EntryId, EntryView, Layer};
use super::terminal::TerminalView;
use crate::limits::{ENTRIES_MAX, TERMINALS_MAX};
use crate::{Generation, Mac};

/// A catalog in memory, checked.
#[derive(Clone)]
pub struct Snapshot {
    base: Arc<Layer>,
    over: Option<Arc<Over>>,
}

/// What is put over a base.
struct Over {
    layer: Arc<Layer>,
    checksum: [u8; 32],
    /// Entries of the base that are replaced or removed, in order.
    hidden: Box<[u32]>,
    /// Cards of the base that are replaced or removed, by their places, in order.
    hidden_cards: Box<[u32]>,
}

impl Snapshot {
    /// Checks `bytes` as a whole catalog file. Total: any octets give a snapshot or an error.
    pub fn parse(bytes: impl Into<Box<[u8]>>) -> Result<Self, CatalogError> {
        Layer::parse(bytes).map(Self::of_layer)
    }

    /// The catalog before anything was published: [`Generation::ZERO`], no entries. It is in no file.
    #[must_use]
    pub fn empty() -> Self {
        Self::of_layer(Layer::empty())
    }

    fn of_layer(layer: Layer) -> Self {
        Self::of_base(Arc::new(layer))
    }

    /// A whole catalog.
    pub(crate) fn of_base(base: Arc<Layer>) -> Self {
        Snapshot { base, over: None }
    }

    /// A base, and a layer over it, from a file with this checksum: what it has, and what is removed, in order.
    pub(super) fn of_layers<'n>(
        base: Arc<Layer>,
        (layer, checksum): (Arc<Layer>, [u8; 32]),
        removed: impl Iterator<Item = &'n [u8]>,
        removed_cards: impl Iterator<Item = Mac>,
    ) -> Result<Self, CatalogError> {
        let is_known = |number: usize, place: Option<u32>| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            place.ok_or(CatalogError::Removal(number))
        };
        let place = |name: &[u8]| base.lookup(name).map(|id| id.0);
        let gone = removed.map(place).enumerate();
        let gone: Result<Vec<u32>, _> = gone.map(|(number, at)| is_known(number, at)).collect();
        let put = (0..layer.len()).filter_map(|at| place(layer.name_at(at)));
        let hidden = sorted(gone?, put);
        let gone = removed_cards.map(|card| base.card(card)).enumerate();
        let gone: Result<Vec<u32>, _> = gone.map(|(number, at)| is_known(number, at)).collect();
        let put = (0..layer.terminals()).filter_map(|at| base.card(layer.card_at(at)));
        let hidden_cards = sorted(gone?, put);
        let snapshot = Snapshot {
            base,
            over: Some(Arc::new(Over {
                layer,
                checksum,
                hidden,
                hidden_cards,
            })),
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let entries = count(snapshot.len());
        if entries > ENTRIES_MAX {
            return Err(CatalogError::Entries(entries));
        }
        let terminals = count(snapshot.terminals().len());
        if terminals > TERMINALS_MAX {
            return Err(CatalogError::Terminals(terminals));
        }
        Ok(snapshot)
    }

    /// The whole catalog that it is, or is told from.
    pub(crate) fn base(&self) -> &Arc<Layer> {
        &self.base
    }

    /// The generation that this catalog is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.top().generation()
    }

    /// The checksum of the file that is this generation; `current` repeats it.
    #[must_use]
    pub fn checksum(&self) -> [u8; 32] {
        match &self.over {
            Some(over) => over.checksum,
            None => self.base.checksum(),
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let over = self.over.as_ref();
        let hidden = over.map_or(0, |over| over.hidden.len());
        self.ids_end() - hidden
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One above the highest [`EntryId::index`].
    pub(super) fn ids_end(&self) -> usize {
        let over = self.over.as_ref();
        self.base.len() as usize + over.map_or(0, |over| over.layer.len() as usize)
    }

    /// The entry with exactly this name.
    #[must_use]
    pub fn lookup(&self, name: &[u8]) -> Option<EntryId> {
        let over = self.over.as_ref();
        over.and_then(|over| over.layer.lookup(name))
            .map(|id| self.over_id(id))
            .or_else(|| self.base.lookup(name).filter(|id| !self.is_hidden(*id)))
    }

    /// The entry with this name, upper and lower case of ASCII being the same. If several differ only by
    /// case: the exact one, else the first in octet order.
    #[must_use]
    pub fn lookup_folded(&self, name: &[u8]) -> Option<EntryId> {
        if let Some(id) = self.lookup(name) {
            return Some(id);
        }
        let base = self.base.lookup_folded(name, |id| !self.is_hidden(id));
        let over = self.over.as_ref();
        let over = over.and_then(|over| over.layer.lookup_folded(name, |_| true));
        match (base, over.map(|id| self.over_id(id))) {
            (Some(base), Some(over)) if self.name(over) < self.name(base) => Some(over),
            (base, over) => base.or(over),
        }
    }

    /// An entry. `id` must come from this catalog; one of a larger catalog panics.
    #[must_use]
    pub fn entry(&self, id: EntryId) -> EntryView<'_> {
        let (layer, id) = self.place(id);
        layer.entry(id)
    }

    /// Every entry, in octet order of the names.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (EntryId, EntryView<'_>)> {
        let (base, over) = (self.base.len(), self.over_layer());
        let merged = Merged {
            base: (0..base).peekable(),
            over: (0..over.map_or(0, Layer::len)).peekable(),
            hidden: self.over.as_ref().map_or(&[], |over| &over.hidden),
            left: self.len(),
            before: move |put: u32, base: u32| {
                over.is_some_and(|over| over.name_at(put) < self.base.name_at(base))
            },
        };
        merged.map(move |which| {
            let id = match which {
                Which::Base(id) => EntryId(id),
                Which::Over(id) => EntryId(base + id),
            };
            (id, self.entry(id))
        })
    }

    /// Whose this network card is.
    #[must_use]
    pub fn terminal(&self, mac: Mac) -> Option<TerminalView<'_>> {
        let over = self.over_layer();
        let over = over.and_then(|over| Some(over.terminal_at(over.card(mac)?)));
        over.or_else(|| {
            let place = self.base.card(mac)?;
            let over = self.over.as_ref();
            let is_hidden =
                over.is_some_and(|over| over.hidden_cards.binary_search(&place).is_ok());
            (!is_hidden).then(|| self.base.terminal_at(place))
        })
    }

    /// Every network card that is somebody's, in order of the addresses.
    pub fn terminals(&self) -> impl ExactSizeIterator<Item = TerminalView<'_>> {
        let over = self.over_layer();
        let hidden = self
            .over
            .as_ref()
            .map_or(&[][..], |over| &over.hidden_cards);
        let put = over.map_or(0, Layer::terminals);
        let merged = Merged {
            base: (0..self.base.terminals()).peekable(),
            over: (0..put).peekable(),
            hidden,
            left: self.base.terminals() as usize + put as usize - hidden.len(),
            before: move |put: u32, base: u32| {
                over.is_some_and(|over| over.card_at(put) < self.base.card_at(base))
            },
        };
        merged.map(move |which| match (which, over) {
            (Which::Over(place), Some(over)) => over.terminal_at(place),
            (Which::Base(place) | Which::Over(place), _) => self.base.terminal_at(place),
        })
    }

    /// The file, and where in it the content of an entry lies, if it lies there.
    pub(super) fn inline(&self, id: EntryId) -> Option<(&Arc<Layer>, Range<usize>)> {
        let (layer, id) = self.place(id);
        Some((layer, layer.inline_place(id)?))
    }

    fn top(&self) -> &Layer {
        self.over_layer().unwrap_or(&self.base)
    }

    fn over_layer(&self) -> Option<&Layer> {
        self.over.as_ref().map(|over| &*over.layer)
    }

    fn name(&self, id: EntryId) -> &[u8] {
        let (layer, id) = self.place(id);
        layer.name_at(id.0)
    }

    /// The layer that has this entry, and which one it is there.
    fn place(&self, id: EntryId) -> (&Arc<Layer>, EntryId) {
        match (id.0.checked_sub(self.base.len()), &self.over) {
            (Some(id), Some(over)) => (&over.layer, EntryId(id)),
            _ => (&self.base, id),
        }
    }

    fn over_id(&self, id: EntryId) -> EntryId {
        EntryId(self.base.len() + id.0)
    }

    fn is_hidden(&self, id: EntryId) -> bool {
        let over = self.over.as_ref();
        over.is_some_and(|over| over.hidden.binary_search(&id.0).is_ok())
    }
}

impl core::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation())
            .field("entries", &self.len())
            .field("terminals", &self.terminals().len())
            .finish_non_exhaustive()
    }
}

fn sorted(gone: Vec<u32>, replaced: impl Iterator<Item = u32>) -> Box<[u32]> {
    let mut hidden = gone;
    hidden.extend(replaced);
    hidden.sort_unstable();
    hidden.dedup();
    hidden.into()
}

/// One of the base, or one of the layer over it.
enum Which {
    Base(u32),
    Over(u32),
}

/// Both, in their common order, without what is hidden.
struct Merged<'h, F> {
    base: std::iter::Peekable<Range<u32>>,
    over: std::iter::Peekable<Range<u32>>,
    hidden: &'h [u32],
    left: usize,
    /// Whether one of the layer comes before one of the base.
    before: F,
}

impl<F: Fn(u32, u32) -> bool> Iterator for Merged<'_, F> {
    type Item = Which;

    fn next(&mut self) -> Option<Which> {
        while let (Some(base), Some((hidden, rest))) = (self.base.peek(), self.hidden.split_first())
        {
            match hidden.cmp(base) {
                Ordering::Equal => drop(self.base.next()),
                Ordering::Less => {}
                Ordering::Greater => break,
            }
            self.hidden = rest;
        }
        let over_is_next = match (self.over.peek(), self.base.peek()) {
            (Some(over), Some(base)) => (self.before)(*over, *base),
            (over, _) => over.is_some(),
        };
        let next = if over_is_next {
            self.over.next().map(Which::Over)
        } else {
            self.base.next().map(Which::Base)
        };
        self.left = self.left.saturating_sub(1);
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<F: Fn(u32, u32) -> bool> ExactSizeIterator for Merged<'_, F> {}
