//! Reading: from where one was, as far as there are whole records.

use std::io;
use std::path::Path;

use super::frame::{self, FRAMED_BYTES_MAX, HEADER_BYTES};
use super::{Event, EventError, write};
use crate::disk::{Directory, Disk};
use crate::layout;
use crate::limits::JOURNAL_READ_BYTES;

/// A place in a journal: between two records of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The number of the file.
    pub file: u64,
    /// The octet, from its beginning.
    pub offset: u64,
}

impl Position {
    /// The beginning of a file.
    #[must_use]
    pub const fn start_of(file: u64) -> Self {
        Position { file, offset: 0 }
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The events, in order.
    pub events: Vec<Event>,
    /// Records that are whole, of a kind that this version does not know.
    pub unknown: u64,
    /// Where to go on.
    pub next: Position,
    /// Whether there may be more at once.
    pub more: bool,
    /// Whether there are octets at the end that are no whole record: being written, or torn.
    pub torn: bool,
}

/// The reading side.
#[derive(Debug)]
pub struct Journal<D: Disk = Directory> {
    disk: D,
}

impl Journal {
    /// The journal of the data directory at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Journal::on(Directory::open(path)?))
    }
}

impl<D: Disk> Journal<D> {
    /// The journal on `disk`.
    pub fn on(disk: D) -> Self {
        Journal { disk }
    }

    /// The numbers of the files there are, in order. A number that was there and is not any more is of a file that was removed.
    pub fn files(&self) -> io::Result<Vec<u64>> {
        write::numbers(&self.disk)
    }

    /// Reads on from `position`, a bounded piece. A file that is gone meanwhile has nothing more.
    pub fn read(&self, position: Position) -> io::Result<Batch> {
        let mut batch = Batch {
            events: Vec::new(),
            unknown: 0,
            next: position,
            more: false,
            torn: false,
        };
        let file = match self.disk.open_file(&layout::journal(position.file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(batch),
            file => file?,
        };
        let left = self.disk.stat(&file)?.len.saturating_sub(position.offset);
        let want = usize::try_from(left).unwrap_or(usize::MAX);
        let mut octets = vec![0; want.min(JOURNAL_READ_BYTES)];
        let count = self.disk.read_at(&file, position.offset, &mut octets)?;
        let full = count == JOURNAL_READ_BYTES;
        octets.truncate(count);
        let mut rest = &octets[..];
        if position.offset == 0 {
            let Some(after) = rest.strip_prefix(&frame::header(position.file)) else {
                batch.torn = !rest.is_empty();
                return Ok(batch);
            };
            rest = after;
            batch.next.offset = HEADER_BYTES as u64;
        }
        while let Some((content, len)) = frame::parse(rest, batch.next.file, batch.next.offset) {
            match Event::parse(content) {
                Ok(event) => batch.events.push(event),
                // Whole, but written by a newer version.
                Err(EventError::Kind(_) | EventError::Malformed) => batch.unknown += 1,
            }
            rest = &rest[len..];
            batch.next.offset += len as u64;
        }
        // Where a whole record would fit and none is, there never will be one.
        batch.more = full && rest.len() < FRAMED_BYTES_MAX;
        batch.torn = !rest.is_empty() && !batch.more;
        Ok(batch)
    }
}
