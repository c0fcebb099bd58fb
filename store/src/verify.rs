//! Verification: every image is read and hashed, every catalog parsed. It takes no lock of the store, so it may run as
//! long as it takes; only putting damage aside does.

use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::{Disk, FileKind, Replace};
use crate::limits::COPY_BYTES;
use crate::stage::Progress;
use crate::{
    Content, Generation, ImageHash, LoadError, Name, Snapshot, Store, StoreError, layout, publish,
};

/// An image that is not what its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedImage {
    /// Which one.
    pub hash: ImageHash,
    /// The published names that lead to it.
    pub names: Vec<Name>,
    /// What was found.
    pub why: String,
    /// Whether it was put aside, so that an import or a peer can bring it again.
    pub quarantined: bool,
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// What is published.
    pub generation: Generation,
    /// Images read.
    pub images: u64,
    /// Octets read.
    pub bytes: u64,
    /// Images that are published but not there, with the names that lead to them.
    pub missing: Vec<(ImageHash, Vec<Name>)>,
    /// Images that are not what they should be.
    pub damaged: Vec<DamagedImage>,
    /// What is wrong with `current` or the catalog that it names.
    pub current: Option<LoadError>,
    /// Other catalogs that cannot be read.
    pub catalogs: Vec<LoadError>,
    /// Files in the folders of images and catalogs that are not ours.
    pub strangers: Vec<String>,
}

impl VerifyReport {
    /// Whether everything published can be served.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.missing.is_empty()
            && self.damaged.is_empty()
            && self.current.is_none()
            && self.catalogs.is_empty()
    }
}

impl<D: Disk> Store<D> {
    /// Octets in all images: what `progress` of [`Store::verify`] will add up to.
    pub fn image_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for (_, path) in self.image_files(&mut Vec::new())? {
            let stat = self
                .disk
                .open_file(&path)
                .and_then(|file| self.disk.stat(&file));
            bytes += stat.map_or(0, |stat| stat.len);
        }
        Ok(bytes)
    }

    /// Reads everything. With `quarantine`, damaged images are moved to `images/partial`, where a collection
    /// finds them.
    pub fn verify(
        &self,
        quarantine: bool,
        progress: Progress<'_>,
    ) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        let published = match publish::load_published(&self.disk) {
            Ok(loaded) => loaded.map_or_else(Snapshot::empty, |(snapshot, _pin)| snapshot),
            Err(error) => {
                report.current = Some(error);
                Snapshot::empty()
            }
        };
        report.generation = published.generation();
        self.verify_catalogs(&mut report)?;

        let named = names_of(&published);
        let mut present = BTreeMap::new();
        for (hash, path) in self.image_files(&mut report.strangers)? {
            present.insert(hash, ());
            let recorded = named.get(&hash).map(|(len, _)| *len);
            let why = match self.check_image(hash, &path, recorded, &mut report.bytes, progress)? {
                Checked::Gone => continue,
                Checked::Sound => None,
                Checked::Damaged(why) => Some(why),
            };
            report.images += 1;
            if let Some(why) = why {
                let names = named
                    .get(&hash)
                    .map(|(_, names)| names.clone())
                    .unwrap_or_default();
                report.damaged.push(DamagedImage {
                    hash,
                    names,
                    why,
                    quarantined: false,
                });
            }
        }
        if named.keys().any(|hash| !present.contains_key(hash)) {
            // Unless a change and a collection took them away meanwhile.
            let now = self
                .published()
                .map_or_else(|_| named.clone(), |now| names_of(&now));
            let missing = now.into_iter().filter(|(hash, (len, _))| {
                !present.contains_key(hash) && !self.has_image(hash, *len)
            });
            report.missing = missing.map(|(hash, (_, names))| (hash, names)).collect();
        }
        if quarantine && !report.damaged.is_empty() {
            self.quarantine(&mut report.damaged)?;
        }
        Ok(report)
    }

    /// Puts this image aside, if it is damaged, so that an import or a peer can bring it again. Says whether it was.
    pub fn put_aside(&self, hash: ImageHash) -> Result<bool, StoreError> {
        let mut images = [DamagedImage {
            hash,
            names: Vec::new(),
            why: String::new(),
            quarantined: false,
        }];
        self.quarantine(&mut images)?;
        Ok(images[0].quarantined)
    }

    /// The octets of an image from `offset` on, as the disk gives them: fewer at its end, and none if it is not there.
    pub fn read_image(
        &self,
        hash: &ImageHash,
        offset: u64,
        octets: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let path = layout::image(hash);
        let file = match self.disk.open_file(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("cannot open", &path)(error)),
        };
        let mut buf = vec![0; octets];
        let mut filled = 0;
        while filled < octets {
            let at = offset + filled as u64;
            let read = self.disk.read_at(&file, at, &mut buf[filled..]);
            match read.map_err(StoreError::io("cannot read", &path))? {
                0 => break,
                count => filled += count,
            }
        }
        buf.truncate(filled);
        Ok(Some(buf))
    }

    fn verify_catalogs(&self, report: &mut VerifyReport) -> Result<(), StoreError> {
        let names = self
            .disk
            .list(layout::CATALOGS)
            .map_err(StoreError::io("cannot list", layout::CATALOGS))?;
        // Each whole one is read for itself, too.
        let mut known = None;
        for file_name in names {
            let own = format!("{}/{file_name}", layout::CATALOGS);
            if let Some(generation) = layout::catalog_generation(&file_name) {
                match publish::load_with_kind(&self.disk, generation, known.as_ref()) {
                    Ok((snapshot, ..)) => known = Some(Arc::clone(snapshot.base())),
                    // Collected meanwhile; not so, if it is what this one is told from that is not there.
                    Err(LoadError::Missing { path } | LoadError::Collected { path })
                        if path == own => {}
                    Err(error) if generation == report.generation => report.current = Some(error),
                    Err(error) => report.catalogs.push(error),
                }
            } else if ![layout::CURRENT, layout::CURRENT_NEXT, layout::CATALOG_NEXT]
                .contains(&own.as_str())
            {
                report.strangers.push(own);
            }
        }
        Ok(())
    }

    /// Every image by its file name; everything else goes to `strangers`.
    fn image_files(
        &self,
        strangers: &mut Vec<String>,
    ) -> Result<Vec<(ImageHash, String)>, StoreError> {
        let mut found = Vec::new();
        let list = |path: &str| {
            self.disk
                .list(path)
                .map_err(StoreError::io("cannot list", path))
        };
        for shard in list(layout::IMAGES)? {
            let folder = format!("{}/{shard}", layout::IMAGES);
            if folder == layout::PARTIAL {
                continue;
            }
            if !layout::is_shard(&shard) {
                strangers.push(folder);
                continue;
            }
            for file_name in list(&folder)? {
                let path = format!("{folder}/{file_name}");
                match ImageHash::parse(&file_name).filter(|hash| layout::image(hash) == path) {
                    Some(hash) => found.push((hash, path)),
                    None => strangers.push(path),
                }
            }
        }
        Ok(found)
    }

    fn check_image(
        &self,
        hash: ImageHash,
        path: &str,
        recorded: Option<u64>,
        bytes: &mut u64,
        progress: Progress<'_>,
    ) -> Result<Checked, StoreError> {
        let file = match self.disk.open_file(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Checked::Gone),
            Err(error) => return Ok(Checked::Damaged(format!("it cannot be opened: {error}"))),
        };
        match self.disk.stat(&file) {
            Err(error) => return Ok(Checked::Damaged(format!("it cannot be read: {error}"))),
            Ok(stat) if stat.kind != FileKind::File => {
                return Ok(Checked::Damaged("it is not a regular file".into()));
            }
            Ok(stat) => {
                if let Some(len) = recorded.filter(|len| *len != stat.len) {
                    let why = format!("it has {} octets instead of {len}", stat.len);
                    return Ok(Checked::Damaged(why));
                }
            }
        }
        let mut hasher = blake3::Hasher::new();
        let mut buf = vec![0; COPY_BYTES];
        let mut offset = 0;
        loop {
            let count = match self.disk.read_at(&file, offset, &mut buf) {
                Ok(0) => break,
                Ok(count) => count,
                // A bad sector is damage of this image, and the others are still to be looked at.
                Err(error) => {
                    return Ok(Checked::Damaged(format!("it cannot be read: {error}")));
                }
            };
            hasher.update(&buf[..count]);
            offset += count as u64;
            *bytes += count as u64;
            if progress(count as u64) == ControlFlow::Break(()) {
                return Err(StoreError::Interrupted);
            }
        }
        if hasher.finalize().as_bytes() == hash.as_bytes() {
            return Ok(Checked::Sound);
        }
        Ok(Checked::Damaged(
            "its content is not what was stored".into(),
        ))
    }

    fn quarantine(&self, damaged: &mut [DamagedImage]) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        for image in damaged {
            let from = layout::image(&image.hash);
            // An import may have repaired it since it was read.
            let again = self.check_image(image.hash, &from, None, &mut 0, &mut |_| {
                ControlFlow::Continue(())
            })?;
            if !matches!(again, Checked::Damaged(_)) {
                continue;
            }
            let to = format!("{}/{}.damaged", layout::PARTIAL, image.hash);
            match self.disk.rename(&from, &to, Replace::Yes) {
                Ok(()) => image.quarantined = true,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("cannot move", &from)(error)),
            }
            publish::sync_folder(&self.disk, &layout::shard(&image.hash))?;
        }
        publish::sync_folder(&self.disk, layout::PARTIAL)
    }
}

enum Checked {
    Sound,
    Gone,
    Damaged(String),
}

type Named = BTreeMap<ImageHash, (u64, Vec<Name>)>;

fn names_of(snapshot: &Snapshot) -> Named {
    let mut named = Named::new();
    for (_, view) in snapshot.entries() {
        if let Content::Image(hash) = view.content {
            let name = Name::parse(view.name).expect("checked when parsed");
            named
                .entry(hash)
                .or_insert((view.len, Vec::new()))
                .1
                .push(name);
        }
    }
    named
}
