//! One change of the store: from what is published to the next generation.
//!
//! A draft holds the lock of the store. Dropped without [`Draft::publish`], it changes nothing, and the
//! images that it brought are gone again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use crate::catalog::{Changes, Layer, SnapshotBuilder, StoredContent, StoredTerminal, Touched};
use crate::disk::{Directory, Disk, Replace};
use crate::limits::SYNCED_ONE_BY_ONE_MAX;
use crate::publish::{self, Current, Unreadable};
use crate::stage::{self, Progress, Staged};
use crate::{Generation, ImageHash, LoadError, Mac, Name, Snapshot, Store, StoreError, layout};

/// What putting a name did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The name is new.
    Added,
    /// The name had another content.
    Replaced,
    /// The name had this content already.
    Unchanged,
}

/// What publishing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// What is published now.
    pub generation: Generation,
    /// Whether it is a new generation: without a change there is none.
    pub changed: bool,
}

/// The entries of a catalog, kept in memory by who published it: the next draft need not read them.
#[derive(Debug)]
pub struct Kept {
    current: Current,
    builder: SnapshotBuilder,
    whole: Option<Whole>,
    // Catalogs of before that name no image which a later one does not.
    redundant: Vec<Generation>,
}

/// The last catalog that was written whole, and what was touched since.
#[derive(Clone, Debug)]
struct Whole {
    catalog: Arc<Layer>,
    touched: Touched,
}

impl Kept {
    /// The catalog that they are of.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.current.generation
    }

    /// The same once more.
    #[cfg(test)]
    pub(crate) fn twin(&self) -> Self {
        Kept {
            current: self.current,
            builder: self.builder.clone(),
            whole: self.whole.clone(),
            redundant: self.redundant.clone(),
        }
    }
}

/// A change in preparation.
pub struct Draft<'s, D: Disk = Directory> {
    store: &'s Store<D>,
    _lock: D::File,
    base: Current,
    // The base was not read: whether it is whole on the disk is not known.
    unread: bool,
    warning: Option<LoadError>,
    builder: SnapshotBuilder,
    changed: bool,
    stored_bytes: u64,
    // Images that this draft brought, still partial files: path and length. The lock keeps collections away.
    pending: BTreeMap<ImageHash, (String, u64)>,
    // Images that this draft brought, in their place: removed again if it is dropped.
    placed: Vec<ImageHash>,
    // Folders whose names are not known to be on the disk yet.
    unsynced: BTreeSet<String>,
    // Of the base: what was published is on the disk, with its folder.
    base_images: BTreeSet<ImageHash>,
    // A name of the base has lost its image: the base is the record that it was named.
    lost: bool,
    // What the next catalog may be told from: none, where what is published was read or all of it is said anew.
    whole: Option<Whole>,
    redundant: Vec<Generation>,
}

impl<'s, D: Disk> Draft<'s, D> {
    pub(crate) fn begin(store: &'s Store<D>, kept: Option<Kept>) -> Result<Self, StoreError> {
        let lock = store.lock()?;
        let disk = &store.disk;
        let named = |kept: &Kept| {
            let current = publish::read_current(disk);
            current.is_ok_and(|current| current == Some(kept.current))
        };
        if let Some(kept) = kept.filter(named) {
            let mut draft = Self::of(store, lock, kept.current, kept.builder);
            draft.whole = kept.whole;
            draft.redundant = kept.redundant;
            draft.unread = true;
            return Ok(draft);
        }
        let (base, warning) = match publish::load_published(disk) {
            Ok(Some((snapshot, _pin))) => (snapshot, None),
            Ok(None) => (Snapshot::empty(), None),
            // Not known to be damaged: an older base would undo what was published since.
            Err(error) if error.may_pass() => return Err(StoreError::Published(error)),
            Err(error) => {
                let fallback = publish::load_fallback(disk, Unreadable::Stop)
                    .map_err(StoreError::Published)?;
                let base = fallback.map_or_else(Snapshot::empty, |(snapshot, _pin)| snapshot);
                (base, Some(error))
            }
        };
        let builder = SnapshotBuilder::from_snapshot(&base);
        let mut draft = Self::of(store, lock, Current::of(&base), builder);
        // What is in force is damaged: even the same entries must be published anew.
        draft.changed = warning.is_some();
        draft.warning = warning;
        Ok(draft)
    }

    fn of(store: &'s Store<D>, lock: D::File, base: Current, builder: SnapshotBuilder) -> Self {
        Draft {
            store,
            _lock: lock,
            base,
            unread: false,
            warning: None,
            changed: false,
            stored_bytes: 0,
            pending: BTreeMap::new(),
            placed: Vec::new(),
            unsynced: BTreeSet::new(),
            base_images: builder.entries().values().filter_map(image_of).collect(),
            builder,
            lost: false,
            whole: None,
            redundant: Vec::new(),
        }
    }

    /// What this draft started from. [`Generation::ZERO`]: nothing.
    #[must_use]
    pub fn base(&self) -> Generation {
        self.base.generation
    }

    /// Why it did not start from what `current` names, but from the newest older catalog that is whole (or
    /// from nothing, if [`Draft::base`] is zero). The operator must be told.
    #[must_use]
    pub fn warning(&self) -> Option<&LoadError> {
        self.warning.as_ref()
    }

    /// The entries as they would be published.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<Name, StoredContent> {
        self.builder.entries()
    }

    /// Octets of new images so far.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Puts what `source` holds under `name`. If the name has a content of the same length already, the
    /// source is first only read: an unchanged file is not written again.
    pub fn import<S: Read + std::io::Seek>(
        &mut self,
        name: Name,
        source: &mut S,
        len: u64,
        progress: Progress<'_>,
    ) -> Result<Change, StoreError> {
        if let Some(&StoredContent::Image { hash, len: old_len }) = self.entries().get(&name)
            && old_len == len
        {
            // Told when it is known which way it goes, so that nothing counts twice.
            let mut told = 0;
            let mut quiet = |count: u64| {
                told += count;
                progress(0)
            };
            let found = stage::hash_source(source, len, &mut quiet)?;
            if found == (hash, len) && self.store.has_image(&hash, len) {
                let _ = progress(told);
                return self.put_stored(name, hash, len);
            }
            source.rewind().map_err(StoreError::Source)?;
        }
        let staged = self.store.stage_unsynced(source, Some(len), progress)?;
        self.put_staged(name, staged)
    }

    /// Puts a staged image under `name`.
    pub fn put_staged(&mut self, name: Name, staged: Staged<'_, D>) -> Result<Change, StoreError> {
        let (hash, len) = (staged.hash(), staged.len());
        if !self.has_image(&hash, len) {
            self.stored_bytes += len;
            self.pending.insert(hash, (staged.into_path(), len));
        }
        self.put_stored(name, hash, len)
    }

    /// Brings a staged image into the store under no name: a later change names it. What is published already and had lost
    /// this image is published anew, so that who serves it looks again.
    pub fn keep(mut self, staged: Staged<'_, D>) -> Result<Published, StoreError> {
        let (hash, len) = (staged.hash(), staged.len());
        if !self.has_image(&hash, len) {
            self.pending.insert(hash, (staged.into_path(), len));
        }
        self.unsynced.insert(layout::IMAGES.into());
        self.unsynced.insert(layout::shard(&hash));
        if self.base_images.contains(&hash) {
            return self.publish();
        }
        self.place_pending()?;
        self.sync_folders()?;
        self.placed.clear();
        Ok(Published {
            generation: self.base.generation,
            changed: false,
        })
    }

    /// Puts an image that is in the store under `name`.
    pub fn put_stored(
        &mut self,
        name: Name,
        hash: ImageHash,
        len: u64,
    ) -> Result<Change, StoreError> {
        if !self.has_image(&hash, len) {
            return Err(StoreError::NotStored { name, hash });
        }
        // It may lie there from a change that crashed before its folder was synced.
        if !self.base_images.contains(&hash) {
            self.unsynced.insert(layout::IMAGES.into());
            self.unsynced.insert(layout::shard(&hash));
        }
        Ok(self.put(name, StoredContent::Image { hash, len }))
    }

    /// Puts a small content into the catalog itself.
    pub fn put_inline(&mut self, name: Name, content: impl Into<Arc<[u8]>>) -> Change {
        self.put(name, StoredContent::Inline(content.into()))
    }

    /// Removes a name; `false` if there is none.
    pub fn remove(&mut self, name: &str) -> bool {
        if let Some(whole) = &mut self.whole {
            let known = self.builder.entries().get_key_value(name);
            whole
                .touched
                .names
                .extend(known.map(|(name, _)| name.clone()));
        }
        let removed = self.builder.remove(name);
        self.changed |= removed.is_some();
        self.lost |= removed.as_ref().and_then(image_of).is_some();
        removed.is_some()
    }

    /// Removes every name in a folder (`folder` without a trailing slash); says how many.
    pub fn remove_folder(&mut self, folder: &str) -> usize {
        let prefix = format!("{folder}/");
        let inside = self
            .entries()
            .keys()
            .filter(|name| name.as_str().starts_with(&prefix));
        let names: Vec<Name> = inside.cloned().collect();
        names
            .iter()
            .filter(|name| self.remove(name.as_str()))
            .count()
    }

    /// Says whose every network card is; what was said before is gone.
    pub fn set_terminals(&mut self, terminals: BTreeMap<Mac, StoredTerminal>) {
        if *self.builder.terminals() != terminals {
            self.changed = true;
            self.whole = None;
            self.builder.set_terminals(terminals);
        }
    }

    /// Says whose one network card is; `None`: nobody's.
    pub fn set_terminal(&mut self, mac: Mac, terminal: Option<StoredTerminal>) {
        if self.builder.terminals().get(&mac) != terminal.as_ref() {
            self.changed = true;
            if let Some(whole) = &mut self.whole {
                whole.touched.cards.insert(mac);
            }
            self.builder.set_terminal(mac, terminal);
        }
    }

    /// Has the same entries published anew: an image is back, and who serves them must look again.
    pub fn renew(&mut self) {
        self.changed = true;
    }

    /// Moves the new images to their places, lasting, before anything names them. Dropped after this, the draft still
    /// takes them away again.
    pub fn place_images(&mut self) -> Result<(), StoreError> {
        self.place_pending()?;
        self.sync_folders()?;
        self.unsynced.clear();
        Ok(())
    }

    /// Ends the draft without publishing: what was [placed](Self::place_images) stays, for the retention time at least, for
    /// a later draft that names it.
    pub fn leave(mut self) {
        self.placed.clear();
    }

    /// Makes this the next generation. On return it is visible to readers and lasts. After an error the old
    /// generation is in force, or (if the very last step failed) this one.
    pub fn publish(self) -> Result<Published, StoreError> {
        self.publish_and_keep().map(|(published, _)| published)
    }

    /// The same; and gives back what the next draft may start from ([`Store::begin_with`]).
    pub fn publish_and_keep(mut self) -> Result<(Published, Kept), StoreError> {
        self.place_images()?;
        let disk = &self.store.disk;
        if self.unread && !self.changed && self.placed.is_empty() {
            // Nothing is written that would replace a damaged one: so it is looked at, as by every other draft.
            match publish::load_published(disk) {
                Err(error) if error.may_pass() => return Err(StoreError::Published(error)),
                found => self.changed = found.is_err(),
            }
        }
        // An image that was gone is back: who serves the same entries must look again.
        if !self.changed && self.placed.is_empty() {
            // The one before us may have failed in its last step.
            publish::sync_folder(disk, layout::CATALOGS)?;
            self.placed.clear();
            let published = Published {
                generation: self.base.generation,
                changed: false,
            };
            return Ok((published, self.kept(self.base)));
        }
        let current = match self.write_changes()? {
            Some(current) => current,
            None => self.write_whole()?,
        };
        publish::switch_current(disk, current)?;
        if self.base.generation > Generation::ZERO && !self.lost {
            self.redundant.push(self.base.generation);
        }
        let whole = self.whole.as_ref();
        let base = whole.map(|whole| whole.catalog.generation());
        self.store.thin(&mut self.redundant, base);
        let published = Published {
            generation: current.generation,
            changed: true,
        };
        Ok((published, self.kept(current)))
    }

    /// Writes the next catalog as what changed since the last whole one. None: that is too much, or there is none on the disk as it
    /// was written, and so nothing that a reader could start from.
    fn write_changes(&mut self) -> Result<Option<Current>, StoreError> {
        let Some(whole) = self.whole.take() else {
            return Ok(None);
        };
        let disk = &self.store.disk;
        let generation = self.next_generation()?;
        let Whole { catalog, touched } = &whole;
        let file = Changes::between(catalog, &self.builder, touched, generation)?;
        let Some(file) = file.filter(|_| publish::is_there(disk, catalog)) else {
            return Ok(None);
        };
        self.store.check_room(file.len() as u64)?;
        // As a reader will see it.
        let snapshot = Changes::parse(&file)?.make_of(catalog)?;
        self.placed.clear();
        publish::write_catalog(disk, generation, &file)?;
        self.whole = Some(whole);
        Ok(Some(Current::of(&snapshot)))
    }

    /// Writes the next catalog whole.
    fn write_whole(&mut self) -> Result<Current, StoreError> {
        let disk = &self.store.disk;
        let generation = self.next_generation()?;
        let file = self.builder.build(generation)?;
        self.store.check_room(file.len() as u64)?;
        let catalog = Layer::of_built(file)?;
        // From here on a catalog may name them, whatever the outcome.
        self.placed.clear();
        // It is checked while the disk writes. Nobody knows of it before both are done.
        std::thread::scope(|scope| -> Result<(), StoreError> {
            let checked = scope.spawn(|| catalog.check());
            publish::write_catalog(disk, generation, catalog.as_bytes())?;
            let checked = checked.join();
            Ok(checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
        })?;
        let catalog = Arc::new(catalog);
        let current = Current::of(&Snapshot::of_base(Arc::clone(&catalog)));
        self.whole = Some(Whole {
            catalog,
            touched: Touched::default(),
        });
        Ok(current)
    }

    fn kept(&mut self, current: Current) -> Kept {
        Kept {
            current,
            builder: std::mem::take(&mut self.builder),
            whole: self.whole.take(),
            redundant: std::mem::take(&mut self.redundant),
        }
    }

    /// Above everything that was ever published, as far as any trace of it is left.
    fn next_generation(&self) -> Result<Generation, StoreError> {
        let disk = &self.store.disk;
        let files =
            publish::generations(disk).map_err(StoreError::io("cannot list", layout::CATALOGS))?;
        let named = publish::read_current(disk).ok().flatten();
        let highest = files
            .last()
            .copied()
            .max(named.map(|current| current.generation))
            .unwrap_or_default()
            .max(self.base.generation);
        highest
            .next()
            .ok_or(StoreError::GenerationsExhausted(highest))
    }

    fn put(&mut self, name: Name, content: StoredContent) -> Change {
        let change = match self.entries().get(&name) {
            None => Change::Added,
            Some(old) if *old == content => Change::Unchanged,
            Some(_) => Change::Replaced,
        };
        if change != Change::Unchanged {
            self.changed = true;
            if let Some(whole) = &mut self.whole {
                whole.touched.names.insert(name.clone());
            }
            let before = self.builder.put(name, content);
            self.lost |= before.as_ref().and_then(image_of).is_some();
        }
        change
    }

    fn has_image(&self, hash: &ImageHash, len: u64) -> bool {
        self.pending.contains_key(hash) || self.store.has_image(hash, len)
    }

    /// Moves the new images to where their hashes say, when their contents are on the disk and not before: what
    /// is found under a hash after a loss of power is whole.
    fn place_pending(&mut self) -> Result<(), StoreError> {
        let disk = &self.store.disk;
        if self.pending.len() > SYNCED_ONE_BY_ONE_MAX {
            disk.sync_all()
                .map_err(StoreError::io("cannot sync", "the disk"))?;
        } else {
            for (path, _) in self.pending.values() {
                disk.open_file(path)
                    .and_then(|file| disk.sync_file(&file))
                    .map_err(StoreError::io("cannot sync", path))?;
            }
        }
        while let Some((hash, (partial, _))) = self.pending.first_key_value() {
            let hash = *hash;
            self.place(partial, &hash)?;
            self.pending.remove(&hash);
            self.placed.push(hash);
            // Also when the base names it: this may be the repair of a damaged one.
            self.unsynced.insert(layout::IMAGES.into());
            self.unsynced.insert(layout::shard(&hash));
        }
        Ok(())
    }

    fn place(&self, partial: &str, hash: &ImageHash) -> Result<(), StoreError> {
        let disk = &self.store.disk;
        let shard = layout::shard(hash);
        disk.create_folder(&shard, layout::SHARD_MODE)
            .map_err(StoreError::io("cannot create", &shard))?;
        let path = layout::image(hash);
        let moved = disk.rename(partial, &path, Replace::No).or_else(|error| {
            match error.kind() {
                // There is something, and `has_image` said that it is not the image: damage. It gives way as a
                // name; whoever has it mapped keeps the old octets.
                std::io::ErrorKind::AlreadyExists => disk.rename(partial, &path, Replace::Yes),
                _ => Err(error),
            }
        });
        moved.map_err(StoreError::io("cannot rename to", &path))
    }

    fn sync_folders(&self) -> Result<(), StoreError> {
        let disk = &self.store.disk;
        if self.unsynced.len() > SYNCED_ONE_BY_ONE_MAX {
            return disk
                .sync_all()
                .map_err(StoreError::io("cannot sync", "the disk"));
        }
        self.unsynced
            .iter()
            .try_for_each(|folder| publish::sync_folder(disk, folder))
    }
}

fn image_of(content: &StoredContent) -> Option<ImageHash> {
    match content {
        StoredContent::Image { hash, .. } => Some(*hash),
        StoredContent::Inline(_) => None,
    }
}

impl<D: Disk> Drop for Draft<'_, D> {
    fn drop(&mut self) {
        for (path, _) in self.pending.values() {
            let _ = self.store.disk.unlink(path);
        }
        for hash in &self.placed {
            // What the base names was repaired by this draft, and stays. What cannot be removed is collected.
            if !self.base_images.contains(hash) {
                let _ = self.store.disk.unlink(&layout::image(hash));
            }
        }
    }
}
