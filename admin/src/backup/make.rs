//! Making a backup: what is configured now, the names of the files, and the images that were asked for.
//!
//! The published catalog is held until the end, so that no collection removes an image meanwhile. An image that is missing
//! or damaged is left out, and counted: the rest is worth having, most of all on the day when something is damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

use daybreak_store::disk::Disk;
use daybreak_store::{Content, ImageHash, Progress, Snapshot, Store, layout};

use super::archive::{
    Head, Reason, Writer, Written, archive_bytes, file_record_bytes, image_record_bytes,
    object_record_bytes,
};
use super::error::Stopped;
use super::folder::Folder;
use super::{ArchiveError, BackupError};
use crate::kind::Body;
use crate::limits::{BACKUP_CONFIGURATION_BYTES_MAX, COPY_BYTES};
use crate::object::{Id, NodeId, Object};
use crate::publish::linked_names;

/// Which images a backup has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// None.
    None,
    /// All that a file is made of.
    All,
    /// Those of these that a file is made of.
    Only(BTreeSet<ImageHash>),
}

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Order {
    /// What it is called.
    pub id: Id,
    /// When, in milliseconds since 1970.
    pub created_ms: u64,
    /// By which server.
    pub node: NodeId,
    /// Why.
    pub reason: Reason,
    /// The schedule, if one is the reason.
    pub schedule: Option<Id>,
    /// Which images.
    pub images: Images,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it is called.
    pub id: Id,
    /// What it says of itself.
    pub head: Head,
    /// Its length and its hash.
    pub written: Written,
    /// Images that were asked for and left out, since they are missing or damaged in the store.
    pub left_out: Vec<ImageHash>,
}

/// What a backup made at this time is called, to the second, in UTC.
pub(super) fn stamp(created_ms: u64) -> String {
    let time = i64::try_from(created_ms).ok();
    let time = time.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%d-%H%M%S")
        .to_string()
}

/// A name that sorts by time; what is random tells backups of one second apart.
pub fn name(created_ms: u64, random: [u8; 4]) -> Id {
    let text = format!("{}-{:08x}", stamp(created_ms), u32::from_be_bytes(random));
    Id::parse(&text).expect("digits and hyphens")
}

/// Whether an object is backed up: what belongs to one server alone is not.
pub(super) fn is_of_site(body: &Body) -> bool {
    !matches!(body, Body::Setting(setting) if setting.is_node_local())
}

/// The imported files of a catalog: their names, images and lengths, in order. Names that active versions have
/// are made of the configuration, as rendered files are.
pub(super) fn stored_files(snapshot: &Snapshot) -> impl Iterator<Item = (&str, ImageHash, u64)> {
    let linked = linked_names(snapshot);
    snapshot
        .entries()
        .filter_map(move |(_, view)| match view.content {
            Content::Image(hash) if !linked.contains(view.name) => {
                Some((view.name, hash, view.len))
            }
            _ => None,
        })
}

/// How many octets of images a backup would have to read twice: once to look whether they are whole.
pub fn image_bytes<D: Disk>(store: &Store<D>, images: &Images) -> Result<u64, BackupError> {
    let Some((snapshot, _pin)) = store.pinned()? else {
        return Ok(0);
    };
    Ok(wanted(&snapshot, images).values().sum())
}

fn wanted(snapshot: &Snapshot, images: &Images) -> BTreeMap<ImageHash, u64> {
    let files = stored_files(snapshot).map(|(_, hash, len)| (hash, len));
    files
        .filter(|(hash, _)| match images {
            Images::None => false,
            Images::All => true,
            Images::Only(only) => only.contains(hash),
        })
        .collect()
}

/// Makes a backup of `objects` and of what is published. It is complete and on the disk, or not there.
pub fn make<'o, D: Disk>(
    store: &Store<D>,
    objects: impl Iterator<Item = &'o Arc<Object>>,
    order: Order,
    progress: Progress<'_>,
) -> Result<Made, BackupError> {
    let pinned = store.pinned()?;
    let empty = Snapshot::empty();
    let snapshot = pinned.as_ref().map_or(&empty, |(snapshot, _pin)| snapshot);

    let mut records: Vec<(&str, &Id, String)> = objects
        .filter(|object| is_of_site(&object.body))
        .map(|object| {
            (
                object.kind().word(),
                &object.id,
                object.body.stored().to_string(),
            )
        })
        .collect();
    records
        .sort_unstable_by(|one, other| (one.0, one.1.as_str()).cmp(&(other.0, other.1.as_str())));
    let object_bytes = records
        .iter()
        .map(|(kind, id, body)| object_record_bytes(kind, id, body));
    let file_bytes = stored_files(snapshot).map(|(name, _, _)| file_record_bytes(name));
    let configuration_bytes = object_bytes.chain(file_bytes).sum();
    if configuration_bytes > BACKUP_CONFIGURATION_BYTES_MAX {
        return Err(ArchiveError::Length {
            what: "a configuration",
            len: configuration_bytes,
            max: BACKUP_CONFIGURATION_BYTES_MAX,
        }
        .into());
    }

    let (mut images, mut left_out) = (BTreeMap::new(), Vec::new());
    for (hash, len) in wanted(snapshot, &order.images) {
        if is_whole(store.disk(), &hash, len, progress)? {
            images.insert(hash, len);
        } else {
            tracing::warn!(%hash, "an image is missing or damaged, and left out of the backup");
            left_out.push(hash);
        }
    }
    let head = Head {
        created_ms: order.created_ms,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        node: order.node,
        reason: order.reason,
        schedule: order.schedule,
        with_images: order.images == Images::All,
        objects: records.len() as u64,
        files: stored_files(snapshot).count() as u64,
        images: images.len() as u64,
        image_bytes: images.values().sum(),
    };
    let image_bytes: u64 = images.values().map(|len| image_record_bytes(*len)).sum();
    store.check_room(archive_bytes(
        &head,
        configuration_bytes.saturating_add(image_bytes),
    ))?;

    let partial = Folder::of(store).create(order.id.clone())?;
    let written = partial.write(|out| {
        let mut writer = Writer::new(out, &head)?;
        for (kind, id, body) in &records {
            writer.object(kind, id, body.as_bytes())?;
        }
        for (name, hash, len) in stored_files(snapshot) {
            writer.file(name, &hash, len)?;
        }
        for (hash, len) in &images {
            let mut content = ImageReader::open(store.disk(), hash, *len, progress)?;
            writer.image(hash, *len, &mut content)?;
        }
        Ok(writer.finish()?.1)
    })?;
    Ok(Made {
        id: order.id,
        head,
        written,
        left_out,
    })
}

/// Whether an image is in the store and has its hash.
fn is_whole<D: Disk>(
    disk: &D,
    hash: &ImageHash,
    len: u64,
    progress: Progress<'_>,
) -> Result<bool, BackupError> {
    let Ok(mut content) = ImageReader::open(disk, hash, len, progress) else {
        return Ok(false);
    };
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![
        0;
        usize::try_from(len)
            .unwrap_or(COPY_BYTES)
            .clamp(1, COPY_BYTES)
    ];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => drop(hasher.update(&buffer[..count])),
            Err(error) => match error.downcast::<Stopped>() {
                Ok(Stopped) => return Err(BackupError::Interrupted),
                Err(_) => return Ok(false),
            },
        }
    }
    Ok(content.left == 0 && hasher.finalize().as_bytes() == hash.as_bytes())
}

/// Reads an image of the store, locked against collection.
struct ImageReader<'r, 'p, D: Disk> {
    disk: &'r D,
    file: D::File,
    offset: u64,
    left: u64,
    progress: &'r mut (dyn FnMut(u64) -> std::ops::ControlFlow<()> + 'p),
}

impl<'r, 'p, D: Disk> ImageReader<'r, 'p, D> {
    fn open(
        disk: &'r D,
        hash: &ImageHash,
        len: u64,
        progress: &'r mut (dyn FnMut(u64) -> std::ops::ControlFlow<()> + 'p),
    ) -> io::Result<Self> {
        let file = disk.open_file(&layout::image(hash))?;
        disk.lock_shared(&file)?;
        if disk.stat(&file)?.len != len {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(ImageReader {
            disk,
            file,
            offset: 0,
            left: len,
            progress,
        })
    }
}

impl<D: Disk> Read for ImageReader<'_, '_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left)
            .unwrap_or(buffer.len())
            .min(buffer.len());
        let count = self
            .disk
            .read_at(&self.file, self.offset, &mut buffer[..want])?;
        self.offset += count as u64;
        self.left -= count as u64;
        if (self.progress)(count as u64).is_break() {
            return Err(io::Error::other(Stopped));
        }
        Ok(count)
    }
}
