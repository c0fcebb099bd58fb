//! A catalog of a data directory, whose entries open as images.

use core::fmt;
use std::fs::File;
use std::sync::{Arc, OnceLock};

use super::{Content, EntryId, EntryView, Snapshot, TerminalView};
use crate::image::{Image, ImageError, ImageFolder};
use crate::map::MappedFile;
use crate::{Generation, ImageHash, Mac};

/// A published catalog, in memory, with the images that were opened through it.
///
/// While it lives, its file is pinned: no collection, in any process, removes what it names.
/// An image stays mapped as long as the catalog or a clone of the [`Image`] lives, and is shared with the
/// catalogs before and after that name it too.
pub struct Catalog {
    snapshot: Snapshot,
    images: Option<Arc<ImageFolder>>,
    opened: Box<[OnceLock<Arc<MappedFile>>]>,
    _pin: Option<File>,
}

impl Catalog {
    pub(crate) fn new(snapshot: Snapshot, images: Arc<ImageFolder>, pin: Option<File>) -> Self {
        Catalog {
            opened: (0..snapshot.ids_end()).map(|_| OnceLock::new()).collect(),
            snapshot,
            images: Some(images),
            _pin: pin,
        }
    }

    /// A catalog without a data directory, for tests and benchmarks: only inline contents open.
    #[must_use]
    pub fn detached(snapshot: Snapshot) -> Self {
        Catalog {
            snapshot,
            images: None,
            opened: Box::default(),
            _pin: None,
        }
    }

    /// The generation.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.snapshot.generation()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.snapshot.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_empty()
    }

    /// See [`Snapshot::lookup`].
    #[must_use]
    pub fn lookup(&self, name: &[u8]) -> Option<EntryId> {
        self.snapshot.lookup(name)
    }

    /// See [`Snapshot::lookup_folded`].
    #[must_use]
    pub fn lookup_folded(&self, name: &[u8]) -> Option<EntryId> {
        self.snapshot.lookup_folded(name)
    }

    /// See [`Snapshot::entry`].
    #[must_use]
    pub fn entry(&self, id: EntryId) -> EntryView<'_> {
        self.snapshot.entry(id)
    }

    /// See [`Snapshot::entries`].
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (EntryId, EntryView<'_>)> {
        self.snapshot.entries()
    }

    /// See [`Snapshot::terminal`].
    #[must_use]
    pub fn terminal(&self, mac: Mac) -> Option<TerminalView<'_>> {
        self.snapshot.terminal(mac)
    }

    /// The catalog without its images.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The content of an entry. The first call for an image opens and maps its file (a few system calls,
    /// no reading); later ones take two atomic operations. An error is not remembered: a repaired image
    /// opens.
    pub fn open(&self, id: EntryId) -> Result<Image, ImageError> {
        let view = self.snapshot.entry(id);
        let hash = match view.content {
            Content::Image(hash) => hash,
            Content::Inline(_) => {
                let (file, place) = self.snapshot.inline(id).expect("it lies in a file");
                return Ok(Image::inline(Arc::clone(file), place));
            }
        };
        let images = self.images.as_ref().ok_or(ImageError::Missing(hash))?;
        let slot = &self.opened[id.index()];
        if let Some(mapped) = slot.get() {
            return Ok(Image::mapped(Arc::clone(mapped)));
        }
        let mapped = images.open(hash, view.len)?;
        Ok(Image::mapped(Arc::clone(slot.get_or_init(|| mapped))))
    }

    /// An image that was found damaged: whoever opens it in a later catalog gets the file that is there then.
    pub fn forget(&self, hash: ImageHash) {
        if let Some(images) = &self.images {
            images.forget(hash);
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.snapshot, f)
    }
}
