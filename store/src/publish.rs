//! What is published, on the disk: `catalogs/current` and the catalog that it names.
//!
//! `current` is one line: the generation in ten digits, the checksum of the file of that catalog in hexadecimal, and 16
//! hexadecimal digits of the BLAKE3 hash of those two, with a space between and a line feed after. So damage of
//! the line is told from damage of the catalog, and never names another catalog or uses up generations.
//!
//! Generation 0 with a checksum of zeros says that nothing was published yet. It is written with the layout, so
//! that a `current` that is missing later is known to be lost.
//!
//! Both sides read through here: the engine on the real disk, the admin on whichever.

use std::sync::Arc;

use crate::catalog::{CHANGES_HEADER_BYTES, Changes, Layer};
use crate::disk::{Disk, FileKind, Replace};
use crate::limits::{CATALOG_BYTES_MAX, COPY_BYTES, CURRENT_BYTES_MAX, LOAD_TRIES};
use crate::reader::LoadError;
use crate::{CatalogError, Generation, ImageHash, Snapshot, StoreError, layout};

/// What `current` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) generation: Generation,
    pub(crate) checksum: ImageHash,
}

impl Current {
    /// Nothing was published yet.
    pub(crate) const NOTHING: Current = Current {
        generation: Generation::ZERO,
        checksum: ImageHash::from_bytes([0; 32]),
    };

    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Current {
            generation: snapshot.generation(),
            checksum: ImageHash::from_bytes(snapshot.checksum()),
        }
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let (said, check) = text.rsplit_once(' ')?;
        if check != check_digits(said) {
            return None;
        }
        let (digits, checksum) = said.split_once(' ')?;
        let generation = layout::parse_generation(digits)?;
        Some(Current {
            generation,
            checksum: ImageHash::parse(checksum)?,
        })
    }

    fn emit(self) -> String {
        let said = format!("{:010} {}", self.generation.get(), self.checksum);
        format!("{said} {}\n", check_digits(&said))
    }
}

fn check_digits(said: &str) -> String {
    ImageHash::of(said.as_bytes()).to_string()[..16].to_owned()
}

/// What `current` says; `None` if nothing was ever published.
pub(crate) fn read_current<D: Disk>(disk: &D) -> Result<Option<Current>, LoadError> {
    let io = |source| LoadError::Io {
        path: layout::CURRENT.into(),
        source,
    };
    match read_line(disk)? {
        Some(current) => Ok(Some(current).filter(|named| named.generation > Generation::ZERO)),
        None if generations(disk).map_err(io)?.is_empty() => Ok(None),
        None => Err(LoadError::CurrentMissing),
    }
}

/// `None`: there is no `current`.
fn read_line<D: Disk>(disk: &D) -> Result<Option<Current>, LoadError> {
    let io = |source| LoadError::Io {
        path: layout::CURRENT.into(),
        source,
    };
    let file = match disk.open_file(layout::CURRENT) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io)?,
    };
    let mut line = [0; CURRENT_BYTES_MAX];
    let len = disk.read_at(&file, 0, &mut line).map_err(io)?;
    Current::parse(&line[..len])
        .map(Some)
        .ok_or(LoadError::CurrentDamaged)
}

/// Whether the layout was made and is known to be on the disk: then there is a `current`, or traces of one.
pub(crate) fn is_laid_out<D: Disk>(disk: &D) -> Result<bool, StoreError> {
    match read_line(disk) {
        Ok(Some(_)) | Err(LoadError::CurrentDamaged) => Ok(true),
        Ok(None) => {
            let found = generations(disk).map_err(StoreError::io("cannot list", layout::CATALOGS));
            found.map(|generations| !generations.is_empty())
        }
        Err(error) => Err(StoreError::Published(error)),
    }
}

/// The catalogs there are, by their file names, in increasing order.
pub(crate) fn generations<D: Disk>(disk: &D) -> std::io::Result<Vec<Generation>> {
    let names = disk.list(layout::CATALOGS)?;
    let mut found: Vec<_> = names
        .iter()
        .filter_map(|n| layout::catalog_generation(n))
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// The catalog of `generation`, pinned as long as the file is held.
pub(crate) fn load_generation<D: Disk>(
    disk: &D,
    generation: Generation,
) -> Result<(Snapshot, D::File), LoadError> {
    load_with_kind(disk, generation, None).map(|(snapshot, _, pin)| (snapshot, pin))
}

/// The same, and what its file is. Where that is what changed since an earlier one, both are read, unless the `known` one is it. The
/// earlier one needs no pin, since it is not looked at again.
pub(crate) fn load_with_kind<D: Disk>(
    disk: &D,
    generation: Generation,
    known: Option<&Arc<Layer>>,
) -> Result<(Snapshot, Kind, D::File), LoadError> {
    let path = layout::catalog(generation);
    let (bytes, file) = read_catalog(disk, &path)?;
    let damaged = |path: &str| {
        let path = path.to_owned();
        |why| LoadError::Damaged { path, why }
    };
    let (snapshot, kind) = if Changes::is_one(&bytes) {
        let changes = Changes::parse(&bytes).map_err(damaged(&path))?;
        let made = if let Some(base) = known.filter(|known| changes.is_of(known)) {
            changes.make_of(base)
        } else {
            let base = layout::catalog(changes.base());
            let (bytes, _pin) = read_catalog(disk, &base)?;
            let base = Layer::parse(bytes).map_err(damaged(&base))?;
            changes.make_of(&Arc::new(base))
        };
        (
            made.map_err(damaged(&path))?,
            Kind::ChangesOf(changes.base()),
        )
    } else {
        let layer = Layer::parse(bytes).map_err(damaged(&path))?;
        (Snapshot::of_base(Arc::new(layer)), Kind::Whole)
    };
    if snapshot.generation() != generation {
        return Err(LoadError::OtherGeneration {
            path,
            generation: snapshot.generation(),
        });
    }
    Ok((snapshot, kind, file))
}

/// The octets of a file of catalogs, pinned as long as the file is held.
fn read_catalog<D: Disk>(disk: &D, path: &str) -> Result<(Vec<u8>, D::File), LoadError> {
    let io = |source| LoadError::Io {
        path: path.to_owned(),
        source,
    };
    let damaged = |why| LoadError::Damaged {
        path: path.to_owned(),
        why,
    };
    let file = match disk.open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let path = path.to_owned();
            return Err(LoadError::Missing { path });
        }
        Err(error) => return Err(io(error)),
    };
    if !disk.lock_shared(&file).map_err(io)? {
        let path = path.to_owned();
        return Err(LoadError::Collected { path });
    }
    let stat = disk.stat(&file).map_err(io)?;
    if stat.kind != FileKind::File {
        return Err(damaged(CatalogError::Magic));
    }
    let bytes = read_bounded(disk, &file, stat.len).map_err(|failure| match failure {
        ReadFailure::Io(error) => io(error),
        ReadFailure::TooLarge => damaged(CatalogError::TooLarge(stat.len)),
    })?;
    Ok((bytes, file))
}

/// What a file of catalogs is, by its first octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A catalog, as far as that shows.
    Whole,
    /// What changed since this one.
    ChangesOf(Generation),
}

/// What the catalog of `generation` is; none, if it is not to be read.
pub(crate) fn kind<D: Disk>(disk: &D, generation: Generation) -> Option<Kind> {
    let file = disk.open_file(&layout::catalog(generation)).ok()?;
    let mut header = [0; CHANGES_HEADER_BYTES];
    let len = disk.read_at(&file, 0, &mut header).ok()?;
    let base = Changes::base_of(&header[..len]);
    Some(base.map_or(Kind::Whole, Kind::ChangesOf))
}

/// Whether a whole catalog is on the disk as it was written.
pub(crate) fn is_there<D: Disk>(disk: &D, catalog: &Layer) -> bool {
    let Ok(file) = disk.open_file(&layout::catalog(catalog.generation())) else {
        return false;
    };
    let mut buffer = vec![0; COPY_BYTES];
    let mut left = catalog.as_bytes();
    let mut at = 0;
    loop {
        match disk.read_at(&file, at, &mut buffer) {
            Ok(0) => return left.is_empty(),
            Ok(count) => match left.strip_prefix(&buffer[..count]) {
                Some(rest) => (left, at) = (rest, at + count as u64),
                None => return false,
            },
            Err(_) => return false,
        }
    }
}

enum ReadFailure {
    Io(std::io::Error),
    TooLarge,
}

fn read_bounded<D: Disk>(disk: &D, file: &D::File, len: u64) -> Result<Vec<u8>, ReadFailure> {
    let size = usize::try_from(len).map_err(|_| ReadFailure::TooLarge)?;
    let mut bytes = Vec::<u8>::new();
    if len > CATALOG_BYTES_MAX || bytes.try_reserve_exact(size).is_err() {
        return Err(ReadFailure::TooLarge);
    }
    // Zeros as the system gives them: they need not be written first.
    drop(bytes);
    let mut bytes = vec![0; size];
    let read = disk.read_at(file, 0, &mut bytes).map_err(ReadFailure::Io)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// The published catalog; `None` if nothing was ever published.
pub(crate) fn load_published<D: Disk>(disk: &D) -> Result<Option<(Snapshot, D::File)>, LoadError> {
    load_published_with(disk, None)
}

/// The same for who knows a whole catalog that it may be told from.
pub(crate) fn load_published_with<D: Disk>(
    disk: &D,
    known: Option<&Arc<Layer>>,
) -> Result<Option<(Snapshot, D::File)>, LoadError> {
    let mut tries = LOAD_TRIES;
    loop {
        let Some(current) = read_current(disk)? else {
            return Ok(None);
        };
        let loaded = load_with_kind(disk, current.generation, known);
        let outcome = loaded.and_then(|(snapshot, _, pin)| {
            if Current::of(&snapshot) == current {
                Ok(Some((snapshot, pin)))
            } else {
                Err(LoadError::OtherCatalog {
                    path: layout::catalog(current.generation),
                })
            }
        });
        tries -= 1;
        // Replaced and collected between the two reads: the newer one is what was asked for.
        let overtaken = outcome.is_err()
            && read_current(disk).is_ok_and(|now| now.is_some_and(|now| now != current));
        if tries == 0 || !overtaken {
            return outcome;
        }
    }
}

/// What to do about a file that cannot be read at this moment, in a search for one that is whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Pass over it: to serve something older is better than to serve nothing.
    Skip,
    /// Give up: to change something older would undo what was published since.
    Stop,
}

/// The newest catalog that is whole, below what `current` names if it still says so.
pub(crate) fn load_fallback<D: Disk>(
    disk: &D,
    unreadable: Unreadable,
) -> Result<Option<(Snapshot, D::File)>, LoadError> {
    let named = match read_current(disk) {
        Err(error) if unreadable == Unreadable::Stop && error.may_pass() => return Err(error),
        named => named.ok().flatten().map(|current| current.generation),
    };
    let io = |source| LoadError::Io {
        path: layout::CATALOGS.into(),
        source,
    };
    for generation in generations(disk).map_err(io)?.into_iter().rev() {
        // A catalog above `current` was never published: it is no state that ever was.
        if named.is_some_and(|named| generation >= named) {
            continue;
        }
        match load_generation(disk, generation) {
            Ok(loaded) => return Ok(Some(loaded)),
            Err(error) if unreadable == Unreadable::Stop && error.may_pass() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// Makes `file` the catalog of `generation`, durably. Nobody is told yet.
pub(crate) fn write_catalog<D: Disk>(
    disk: &D,
    generation: Generation,
    file: &[u8],
) -> Result<(), StoreError> {
    write_next(disk, layout::CATALOG_NEXT, file)?;
    let path = layout::catalog(generation);
    disk.rename(layout::CATALOG_NEXT, &path, Replace::No)
        .map_err(StoreError::io("cannot rename to", &path))?;
    sync_folder(disk, layout::CATALOGS)
}

/// Makes `current` name a catalog: from the rename on, readers see it; on return, it lasts.
pub(crate) fn switch_current<D: Disk>(disk: &D, current: Current) -> Result<(), StoreError> {
    write_next(disk, layout::CURRENT_NEXT, current.emit().as_bytes())?;
    disk.rename(layout::CURRENT_NEXT, layout::CURRENT, Replace::Yes)
        .map_err(StoreError::io("cannot rename to", layout::CURRENT))?;
    sync_folder(disk, layout::CATALOGS)
}

pub(crate) fn sync_folder<D: Disk>(disk: &D, path: &str) -> Result<(), StoreError> {
    disk.sync_folder(path)
        .map_err(StoreError::io("cannot sync", path))
}

/// Writes a file that is to be renamed. One that a crash left under the same name goes first.
fn write_next<D: Disk>(disk: &D, path: &str, content: &[u8]) -> Result<(), StoreError> {
    let create = || disk.create_file(path, layout::PARTIAL_MODE);
    let mut file = create()
        .or_else(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => disk.unlink(path).and_then(|()| create()),
            _ => Err(error),
        })
        .map_err(StoreError::io("cannot create", path))?;
    let written = disk
        .write(&mut file, content)
        .and_then(|()| disk.set_mode(&file, layout::PUBLISHED_MODE))
        .and_then(|()| disk.sync_file(&file));
    written.map_err(|error| {
        // On a full disk its room is needed more than its content.
        let _ = disk.unlink(path);
        StoreError::io("cannot write", path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_is_read_as_written_and_any_changed_octet_is_refused() {
        let current = Current {
            generation: Generation::new(42).expect("in range"),
            checksum: ImageHash::of(b"catalog"),
        };
        let nothing = Current::NOTHING.emit();
        assert_eq!(Current::parse(nothing.as_bytes()), Some(Current::NOTHING));
        let line = current.emit().into_bytes();
        assert_eq!(Current::parse(&line), Some(current));
        assert!(line.len() <= CURRENT_BYTES_MAX);
        for at in 0..line.len() {
            for flip in 1..=255_u8 {
                let mut changed = line.clone();
                changed[at] ^= flip;
                assert_eq!(Current::parse(&changed), None);
            }
            assert_eq!(Current::parse(&line[..at]), None);
        }
    }
}
