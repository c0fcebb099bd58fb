//! Collection: what nothing names any more goes, after a retention time, unless somebody still reads it.
//!
//! Since when an image is not named any more is not written down anywhere: the catalogs are the record. A
//! catalog protects its images while it is published, while a reader holds it, and for the retention time after
//! the next one was written. An image that no such catalog names goes when it is itself older than the retention
//! time. So nothing has to be updated when a name is removed, and no crash can lose track. Images that are named outside of
//! catalogs, by what an operator may still choose, are said by the caller. The whole catalog that one which stays is told from stays
//! with it, and protects nothing by that.
//!
//! A wrong clock makes this early or late, never unsafe: what is published or held stays at any time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::disk::{Disk, FileKind};
use crate::limits::{CATALOGS_KEPT, RETENTION, WHOLE_CATALOGS_KEPT};
use crate::publish::Kind;
use crate::{
    Content, Generation, ImageHash, LoadError, Snapshot, Store, StoreError, layout, publish,
};

/// What stays although it is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long catalogs protect their images after they were replaced, and how long partial files stay.
    pub time: Duration,
    /// The newest catalogs stay whatever their age (their images do not): a start falls back to them.
    pub catalogs: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            time: RETENTION,
            catalogs: CATALOGS_KEPT,
        }
    }
}

/// What a collection did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// Images removed.
    pub images: u64,
    /// Their octets.
    pub image_bytes: u64,
    /// Catalogs removed.
    pub catalogs: u64,
    /// Partial files removed.
    pub partials: u64,
    /// Images that nothing names, kept because a reader has them open.
    pub pinned: u64,
    /// Images that nothing published names, kept because the retention time is not over, or because something else names them.
    pub retained: u64,
    /// Files that cannot be opened, left alone: `verify` says what they are.
    pub unreadable: u64,
    /// Whether no image was removed because a reader holds a catalog that cannot be read: nobody knows what it
    /// names.
    pub images_skipped: bool,
}

/// One catalog file, judged.
struct Judged {
    generation: Generation,
    /// `None`: damaged.
    snapshot: Option<Snapshot>,
    /// What it is told from, if it is not whole.
    base: Option<Generation>,
    pinned: bool,
    /// Its images stay.
    protects: bool,
}

impl<D: Disk> Store<D> {
    /// Removes what may go, as of `now`. Holds the lock of the store, so no change runs meanwhile.
    pub fn collect(
        &self,
        now: SystemTime,
        retention: Retention,
    ) -> Result<CollectReport, StoreError> {
        self.collect_all_but(now, retention, &BTreeSet::new())
    }

    /// The same, and leaves alone the images that are `named` elsewhere than in catalogs.
    pub fn collect_all_but(
        &self,
        now: SystemTime,
        retention: Retention,
        named: &BTreeSet<ImageHash>,
    ) -> Result<CollectReport, StoreError> {
        let _lock = self.lock()?;
        let mut report = CollectReport::default();
        let current = publish::load_published(&self.disk).map_err(StoreError::CurrentDamaged)?;
        let current = current.map_or(Generation::ZERO, |(snapshot, _pin)| snapshot.generation());
        let judged = self.judge(current, now, retention.time)?;

        report.images_skipped = judged
            .iter()
            .any(|catalog| catalog.pinned && catalog.snapshot.is_none());
        let mut named = named.clone();
        for catalog in judged.iter().filter(|catalog| catalog.protects) {
            named.extend(catalog.snapshot.iter().flat_map(Snapshot::images));
        }
        let published: BTreeSet<ImageHash> = judged
            .iter()
            .filter(|catalog| catalog.generation == current)
            .flat_map(|catalog| catalog.snapshot.iter().flat_map(Snapshot::images))
            .collect();

        self.collect_catalogs(&judged, retention.catalogs, &mut report)?;
        if !report.images_skipped {
            self.collect_images(&named, &published, now, retention.time, &mut report)?;
        }
        self.collect_partials(now, retention.time, &mut report)?;
        Ok(report)
    }

    /// Removes those of `redundant` that are not among the newest catalogs: who publishes often would fill the disk. What
    /// a catalog that stays is told from stays too, and so do the newest whole ones; `base` is what the newest is told from. What cannot be
    /// removed now is left to a collection.
    pub(crate) fn thin(&self, redundant: &mut Vec<Generation>, base: Option<Generation>) {
        let Ok(found) = publish::generations(&self.disk) else {
            return;
        };
        let old = &found[..found.len().saturating_sub(CATALOGS_KEPT)];
        let mut may_go: BTreeSet<Generation> = redundant.iter().copied().collect();
        may_go.retain(|generation| old.contains(generation));
        if may_go.is_empty() {
            return;
        }
        let kinds = found.iter().rev();
        let kinds = kinds.filter_map(|generation| {
            let kind = publish::kind(&self.disk, *generation)?;
            Some((*generation, kind))
        });
        // Newest first: what others are told from is older than they are.
        let mut needed: BTreeSet<Generation> = base.into_iter().collect();
        let mut whole = 0;
        for (generation, kind) in kinds {
            let is_new_whole = kind == Kind::Whole && whole < WHOLE_CATALOGS_KEPT;
            whole += usize::from(kind == Kind::Whole);
            let stays = is_new_whole || needed.contains(&generation);
            if may_go.contains(&generation) && !stays {
                let path = layout::catalog(generation);
                redundant.retain(|redundant| *redundant != generation);
                if matches!(self.unlink_unpinned(&path), Ok(Some(_))) {
                    continue;
                }
            }
            if let Kind::ChangesOf(base) = kind {
                needed.insert(base);
            }
        }
    }

    /// Newest first.
    fn judge(
        &self,
        current: Generation,
        now: SystemTime,
        retention: Duration,
    ) -> Result<Vec<Judged>, StoreError> {
        let found = publish::generations(&self.disk)
            .map_err(StoreError::io("cannot list", layout::CATALOGS))?;
        let mut judged: Vec<Judged> = Vec::with_capacity(found.len());
        // When the next higher one was written; of the highest, when it was written itself.
        let mut replaced: Option<SystemTime> = None;
        let mut known = None;
        for generation in found.into_iter().rev() {
            let path = layout::catalog(generation);
            let file = self
                .disk
                .open_file(&path)
                .map_err(StoreError::io("cannot open", &path))?;
            let stat = self
                .disk
                .stat(&file)
                .map_err(StoreError::io("cannot read", &path))?;
            let pinned = !self
                .disk
                .lock_exclusive(&file)
                .map_err(StoreError::io("cannot lock", &path))?;
            // Closed first: it would stand in the way of the shared lock of loading.
            drop(file);
            let loaded = publish::load_with_kind(&self.disk, generation, known.as_ref());
            let (snapshot, kind) = match loaded {
                Ok((snapshot, kind, _pin)) => {
                    known = Some(Arc::clone(snapshot.base()));
                    (Some(snapshot), Some(kind))
                }
                // It was whole a moment ago.
                Err(error) if generation == current => {
                    return Err(StoreError::CurrentDamaged(error));
                }
                // Not to be told from one that names images: better to stop than to guess.
                Err(LoadError::Io { path, source }) => {
                    return Err(StoreError::io("cannot read", &path)(source));
                }
                Err(_) => (None, publish::kind(&self.disk, generation)),
            };
            let base = match kind {
                Some(Kind::ChangesOf(base)) => Some(base),
                Some(Kind::Whole) | None => None,
            };
            let fresh = age(now, replaced.unwrap_or(stat.modified)) < retention;
            let protects = generation == current || pinned || fresh;
            judged.push(Judged {
                generation,
                snapshot,
                base,
                pinned,
                protects,
            });
            replaced = Some(stat.modified);
        }
        Ok(judged)
    }

    fn collect_catalogs(
        &self,
        judged: &[Judged],
        kept: usize,
        report: &mut CollectReport,
    ) -> Result<(), StoreError> {
        // What those that stay are told from. These are older, and so come later.
        let mut bases = BTreeSet::new();
        let mut whole = 0;
        for (number, catalog) in judged.iter().enumerate() {
            let is_whole = catalog.snapshot.is_some() && catalog.base.is_none();
            whole += usize::from(is_whole);
            // Also one above `current`, never published: its number must not come back. At least one stays.
            let stays = number < kept.max(1)
                || (is_whole && whole <= WHOLE_CATALOGS_KEPT.min(kept))
                || catalog.protects
                || bases.contains(&catalog.generation);
            let path = layout::catalog(catalog.generation);
            if !stays && self.unlink_unpinned(&path)?.is_some() {
                report.catalogs += 1;
            } else {
                bases.extend(catalog.base);
            }
        }
        Ok(())
    }

    fn collect_images(
        &self,
        named: &BTreeSet<ImageHash>,
        published: &BTreeSet<ImageHash>,
        now: SystemTime,
        retention: Duration,
        report: &mut CollectReport,
    ) -> Result<(), StoreError> {
        for shard in self
            .list(layout::IMAGES)?
            .iter()
            .filter(|name| layout::is_shard(name))
        {
            let folder = format!("{}/{shard}", layout::IMAGES);
            for file_name in self.list(&folder)? {
                // What is not ours is left alone; `verify` shows it.
                let Some(hash) = ImageHash::parse(&file_name) else {
                    continue;
                };
                if published.contains(&hash) {
                    continue;
                }
                let path = format!("{folder}/{file_name}");
                if named.contains(&hash) || !self.is_older(&path, now, retention, report)? {
                    report.retained += 1;
                } else if let Some(len) = self.unlink_unpinned(&path)? {
                    report.images += 1;
                    report.image_bytes += len;
                } else {
                    report.pinned += 1;
                }
            }
        }
        Ok(())
    }

    fn collect_partials(
        &self,
        now: SystemTime,
        retention: Duration,
        report: &mut CollectReport,
    ) -> Result<(), StoreError> {
        for file_name in self.list(layout::PARTIAL)? {
            let path = format!("{}/{file_name}", layout::PARTIAL);
            if self.is_older(&path, now, retention, report)?
                && self.unlink_unpinned(&path)?.is_some()
            {
                report.partials += 1;
            }
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, StoreError> {
        self.disk
            .list(path)
            .map_err(StoreError::io("cannot list", path))
    }

    /// Whether a regular file was last written at least `retention` ago.
    fn is_older(
        &self,
        path: &str,
        now: SystemTime,
        retention: Duration,
        report: &mut CollectReport,
    ) -> Result<bool, StoreError> {
        let Ok(file) = self.disk.open_file(path) else {
            // Gone meanwhile (an upload that finished), or a link, or not for us to read.
            report.unreadable += 1;
            return Ok(false);
        };
        let stat = self
            .disk
            .stat(&file)
            .map_err(StoreError::io("cannot read", path))?;
        Ok(stat.kind == FileKind::File && age(now, stat.modified) >= retention)
    }

    /// Unlinks a file that nobody has locked; its length, or `None` if somebody has. Not synced: what comes back
    /// after a loss of power is collected again.
    fn unlink_unpinned(&self, path: &str) -> Result<Option<u64>, StoreError> {
        let file = match self.disk.open_file(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("cannot open", path))?,
        };
        let stat = self
            .disk
            .stat(&file)
            .map_err(StoreError::io("cannot read", path))?;
        if !self
            .disk
            .lock_exclusive(&file)
            .map_err(StoreError::io("cannot lock", path))?
        {
            return Ok(None);
        }
        // Locked until it is gone: a reader that opened it in between is told so by its own lock.
        self.disk
            .unlink(path)
            .map_err(StoreError::io("cannot remove", path))?;
        Ok(Some(stat.len))
    }
}

impl Snapshot {
    /// The images that it names.
    pub(crate) fn images(&self) -> impl Iterator<Item = ImageHash> {
        self.entries().filter_map(|(_, view)| match view.content {
            Content::Image(hash) => Some(hash),
            Content::Inline(_) => None,
        })
    }
}

/// Zero for what comes from the future: a clock was wrong, and waiting is the safe side.
fn age(now: SystemTime, then: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or_default()
}
