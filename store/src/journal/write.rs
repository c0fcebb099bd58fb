//! Writing: one file at a time, bounded, the oldest removed.

use std::io;
use std::path::Path;

use super::Event;
use super::frame::{self, HEADER_BYTES};
use crate::disk::{Directory, Disk};
use crate::layout;
use crate::limits::{JOURNAL_BYTES_MAX, JOURNAL_FILE_BYTES_MAX};

/// What happened to the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalCounters {
    /// Octets written.
    pub bytes: u64,
    /// Files removed because all together were too large.
    pub files_removed: u64,
    /// Writes that failed.
    pub errors: u64,
}

/// The writing side.
#[derive(Debug)]
pub struct JournalWriter<D: Disk = Directory> {
    disk: D,
    file_bytes_max: u64,
    bytes_max: u64,
    open: Option<Open<D::File>>,
    buffer: Vec<u8>,
    counters: JournalCounters,
}

#[derive(Debug)]
struct Open<F> {
    number: u64,
    file: F,
    len: u64,
}

impl JournalWriter {
    /// The journal of the data directory at `path`. Nothing is written yet.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(JournalWriter::on(Directory::open(path)?))
    }
}

impl<D: Disk> JournalWriter<D> {
    /// The journal on `disk`.
    pub fn on(disk: D) -> Self {
        JournalWriter {
            disk,
            file_bytes_max: JOURNAL_FILE_BYTES_MAX,
            bytes_max: JOURNAL_BYTES_MAX,
            open: None,
            buffer: Vec::new(),
            counters: JournalCounters::default(),
        }
    }

    /// With other bounds, for tests.
    #[must_use]
    pub fn with_bounds(self, file_bytes_max: u64, bytes_max: u64) -> Self {
        JournalWriter {
            file_bytes_max,
            bytes_max,
            ..self
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> JournalCounters {
        self.counters
    }

    /// Appends events, with one write. They are in the kernel's hands then, not on the disk.
    ///
    /// After an error some of them may stand in the journal, and none of them is to be written again. The next call begins a new
    /// file, so that nothing is ever behind a torn record.
    pub fn append(&mut self, events: &[Event]) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let outcome = self.try_append(events);
        if outcome.is_err() {
            self.open = None;
            self.counters.errors += 1;
        }
        outcome
    }

    /// Syncs and closes the file; what follows begins a new one.
    pub fn close(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some(open) => self.disk.sync_file(&open.file),
            None => Ok(()),
        }
    }

    fn try_append(&mut self, events: &[Event]) -> io::Result<()> {
        let full = |open: &Open<D::File>| open.len >= self.file_bytes_max;
        if self.open.as_ref().is_some_and(full) {
            self.close()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        self.buffer.clear();
        for event in events {
            let offset = open.len + self.buffer.len() as u64;
            frame::emit(&mut self.buffer, open.number, offset, |to| event.emit(to));
        }
        self.disk.write(&mut open.file, &self.buffer)?;
        open.len += self.buffer.len() as u64;
        self.counters.bytes += self.buffer.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// Begins the file after all that are there, and makes room for it.
    fn begin(&mut self) -> io::Result<Open<D::File>> {
        let files = numbers(&self.disk)?;
        self.make_room(&files);
        let mut number = files.last().map_or(1, |last| last.saturating_add(1));
        let (number, mut file) = loop {
            let path = layout::journal(number);
            match self.disk.create_file(&path, layout::JOURNAL_MODE) {
                // Another engine on the same data directory was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                // Made with the data directory, unless that is older than events are.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let made = self
                        .disk
                        .create_folder(layout::EVENTS, layout::EVENTS_MODE)?;
                    if !made {
                        return Err(error);
                    }
                }
                result => break (number, result?),
            }
        };
        if let Err(error) = self.disk.write(&mut file, &frame::header(number)) {
            // A file for each try would be left on a full disk.
            let _ = self.disk.unlink(&layout::journal(number));
            return Err(error);
        }
        Ok(Open {
            number,
            file,
            len: HEADER_BYTES as u64,
        })
    }

    /// Removes the oldest, so that with another file of full length all are within their bound.
    fn make_room(&mut self, files: &[u64]) {
        let len = |number: &u64| {
            let file = self.disk.open_file(&layout::journal(*number));
            let stat = file.and_then(|file| self.disk.stat(&file));
            stat.map_or(0, |stat| stat.len)
        };
        let lens: Vec<u64> = files.iter().map(len).collect();
        let mut total = lens.iter().sum::<u64>() + self.file_bytes_max;
        for (number, len) in files.iter().zip(lens) {
            if total <= self.bytes_max {
                break;
            }
            // What cannot be removed is tried again with the next file.
            if self.disk.unlink(&layout::journal(*number)).is_ok() {
                total -= len;
                self.counters.files_removed += 1;
            }
        }
    }
}

/// The numbers of the journal files there are, in order.
pub(super) fn numbers<D: Disk>(disk: &D) -> io::Result<Vec<u64>> {
    let names = match disk.list(layout::EVENTS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| layout::journal_number(name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}
