//! Images: contents as the engine serves them.
//!
//! An [`Image`] is a cheap handle on octets that do not change: the map of an image file, or a part of a
//! catalog. The engine hands `as_ptr()` and `len()` to the kernel and never reads them itself.

use core::ops::Range;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::catalog::Layer;
use crate::disk::{Directory, Disk, FileKind};
use crate::limits::COPY_BYTES;
use crate::map::MappedFile;
use crate::{ImageHash, layout};

/// Why an image cannot be served. The catalog and all other images are not affected.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Its file is gone.
    #[error("image {0} is missing; import its file again, or fetch it from the peer")]
    Missing(ImageHash),
    /// Its file is not what was stored.
    #[error(
        "image {hash} is damaged ({why}); run `daybreak-admin verify --quarantine`, then import its file again"
    )]
    Damaged {
        /// Which image.
        hash: ImageHash,
        /// What is wrong.
        why: &'static str,
    },
    /// It is being collected at this moment; so the catalog that names it is not current any more.
    #[error("image {0} is being collected; load the current catalog")]
    Collected(ImageHash),
    /// The file cannot be opened or mapped (descriptors, permission, memory, I/O).
    #[error("image {hash} cannot be opened: {source}")]
    Io {
        /// Which image.
        hash: ImageHash,
        /// Why.
        source: io::Error,
    },
}

/// The content of one entry. A clone is one atomic operation; the octets live as long as any clone.
#[derive(Clone)]
pub struct Image {
    backing: Backing,
}

#[derive(Clone)]
enum Backing {
    Mapped(Arc<MappedFile>),
    Inline(Arc<Layer>, Range<usize>),
}

impl Image {
    pub(crate) fn mapped(file: Arc<MappedFile>) -> Self {
        Image {
            backing: Backing::Mapped(file),
        }
    }

    pub(crate) fn inline(file: Arc<Layer>, place: Range<usize>) -> Self {
        Image {
            backing: Backing::Inline(file, place),
        }
    }

    /// Length in octets.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.backing {
            Backing::Mapped(file) => file.len() as u64,
            Backing::Inline(_, place) => place.len() as u64,
        }
    }

    /// Whether it has no octet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first octet, for the kernel: `len()` octets may be named to a system call as long as a clone
    /// of this image lives. Not for reading in user space: beyond an external truncation that is SIGBUS, where
    /// the kernel gives EFAULT. To read, [`Image::read_at`]. For an empty image, valid for no octet.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        match &self.backing {
            Backing::Mapped(file) => file.as_ptr(),
            Backing::Inline(file, place) => file.as_bytes()[place.clone()].as_ptr(),
        }
    }

    /// Copies octets from `offset` into `buf` and says how many: fewer than `buf` holds at the end, or
    /// if the file was cut from outside. This reads through the file, so it cannot end in SIGBUS; it is the way
    /// for everything that needs the octets in user space (netascii, the portable driver).
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match &self.backing {
            Backing::Mapped(file) => {
                let left = (file.len() as u64).saturating_sub(offset);
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
                file.read_at(offset, &mut buf[..count])
            }
            Backing::Inline(file, place) => {
                let content = &file.as_bytes()[place.clone()];
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(content.len());
                let count = (content.len() - start).min(buf.len());
                buf[..count].copy_from_slice(&content[start..start + count]);
                Ok(count)
            }
        }
    }

    /// Whether the octets are those that `hash` names. Reads all of them through the file, a bounded piece at a time, and calls
    /// `between` after each piece.
    ///
    /// # Errors
    /// The disk could not give them.
    pub fn matches(&self, hash: ImageHash, between: &mut dyn FnMut()) -> io::Result<bool> {
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; COPY_BYTES];
        let mut offset = 0;
        loop {
            let count = self.read_at(offset, &mut piece)?;
            if count == 0 {
                return Ok(hasher.finalize().as_bytes() == hash.as_bytes());
            }
            hasher.update(&piece[..count]);
            offset += count as u64;
            between();
        }
    }

    /// Asks the kernel to have the image in memory soon; returns at once.
    pub fn prefetch(&self) {
        if let Backing::Mapped(file) = &self.backing {
            file.prefetch();
        }
    }
}

impl core::fmt::Debug for Image {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Image")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Opens images of one data directory; the same image is mapped once, whichever catalog names it.
pub(crate) struct ImageFolder {
    disk: Directory,
    open: Mutex<HashMap<ImageHash, Weak<MappedFile>>>,
}

impl ImageFolder {
    pub(crate) fn new(disk: Directory) -> Self {
        ImageFolder {
            disk,
            open: Mutex::default(),
        }
    }

    pub(crate) fn open(&self, hash: ImageHash, len: u64) -> Result<Arc<MappedFile>, ImageError> {
        // A panic elsewhere leaves the table whole: every step on it is one call.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mapped) = open.get(&hash).and_then(Weak::upgrade) {
            return if mapped.len() as u64 == len {
                Ok(mapped)
            } else {
                Err(ImageError::Damaged {
                    hash,
                    why: "its length is not the recorded one",
                })
            };
        }
        let mapped = Arc::new(self.map(hash, len)?);
        // Dead entries go when the table would grow, so it stays within twice what is open.
        if open.len() == open.capacity() {
            open.retain(|_, mapped| mapped.strong_count() > 0);
        }
        open.insert(hash, Arc::downgrade(&mapped));
        Ok(mapped)
    }

    /// Maps the file anew for whoever opens it next.
    pub(crate) fn forget(&self, hash: ImageHash) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&hash);
    }

    fn map(&self, hash: ImageHash, len: u64) -> Result<MappedFile, ImageError> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ImageError::Missing(hash),
            _ => ImageError::Io { hash, source },
        };
        let file = self.disk.open_file(&layout::image(&hash)).map_err(io)?;
        if !self.disk.lock_shared(&file).map_err(io)? {
            return Err(ImageError::Collected(hash));
        }
        let stat = self.disk.stat(&file).map_err(io)?;
        if stat.kind != FileKind::File {
            return Err(ImageError::Damaged {
                hash,
                why: "it is not a regular file",
            });
        }
        if stat.len != len {
            return Err(ImageError::Damaged {
                hash,
                why: "its length is not the recorded one",
            });
        }
        let len = usize::try_from(len).map_err(|_| ImageError::Damaged {
            hash,
            why: "it is larger than memory can address",
        })?;
        MappedFile::new(file, len).map_err(io)
    }
}
