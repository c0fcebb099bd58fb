//! Read-only maps of image files. A map is an address for the kernel: nothing here reads through it, so
//! nothing here is `unsafe`.
//!
//! The file is open, locked (shared) against collection, and mapped as long as the value lives. Nothing
//! of ours truncates or rewrites it. Something else may: then the kernel answers a send from the map with
//! EFAULT, a [`MappedFile::read_at`] with fewer octets; only a read in user space would be a SIGBUS.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memmap2::{Advice, MmapOptions, MmapRaw};

pub(crate) struct MappedFile {
    file: File,
    // None: an empty file, which cannot be mapped.
    map: Option<MmapRaw>,
    len: usize,
}

impl MappedFile {
    /// Maps the first `len` octets of `file`, which must be all of it.
    pub(crate) fn new(file: File, len: usize) -> io::Result<Self> {
        let map = match len {
            0 => None,
            _ => Some(MmapOptions::new().len(len).map_raw_read_only(&file)?),
        };
        Ok(MappedFile { file, map, len })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first octet; for an empty file a pointer that is valid for no octet.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.map
            .as_ref()
            .map_or(core::ptr::NonNull::dangling().as_ptr(), MmapRaw::as_ptr)
    }

    /// Reads through the file, not the map. A file that was cut gives fewer octets, never a signal.
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        read_up_to(&self.file, offset, buf)
    }

    /// Asks the kernel to have the file in memory soon. Only a hint: an error changes nothing.
    pub(crate) fn prefetch(&self) {
        if let Some(map) = &self.map {
            let _ = map.advise(Advice::WillNeed);
        }
    }
}

fn read_up_to(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
