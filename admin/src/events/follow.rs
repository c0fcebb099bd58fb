//! Following the journal, on a thread of its own.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use daybreak_store::journal::{Event, Journal, Position, What};
use tokio::sync::watch;

use super::book::Book;
use super::row::EventRow;
use crate::configuration::Configuration;
use crate::database::DatabaseError;
use crate::kind::{Kind, MacAddress};
use crate::limits::{EVENTS_LOOK, EVENTS_NOTED_MAX, EVENTS_RETAIN_EVERY};
use crate::object::Id;
use crate::unknown::{Sighting, seen_unknown};

/// What following has done.
#[derive(Debug, Default)]
pub struct FollowerCounts {
    /// Events stored.
    pub events: AtomicU64,
    /// Records that this version does not know.
    pub unknown: AtomicU64,
    /// Journal files that were removed before they were read.
    pub files_lost: AtomicU64,
    /// Events removed because they were too old or too many.
    pub removed: AtomicU64,
    /// 1 while it fails.
    pub failing: AtomicU64,
}

/// The thread, and what others see of it.
pub struct Follower {
    reader: Mutex<Book>,
    newest: watch::Receiver<i64>,
    noted: Noted,
    counts: Arc<FollowerCounts>,
    read_at: ReadAt,
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// Events that do not come from the journal, until they are stored.
type Noted = Arc<Mutex<VecDeque<EventRow>>>;

/// The running time at which a look began that has read everything there was.
type ReadAt = Arc<Mutex<Option<u64>>>;

struct Following {
    book: Book,
    noted: Noted,
    journal: Journal,
    configuration: Arc<Configuration>,
    publish: Box<dyn Fn() + Send>,
    newest: watch::Sender<i64>,
    counts: Arc<FollowerCounts>,
    read_at: ReadAt,
    retained: Option<Instant>,
}

/// Why following fails for now.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("the journal of events cannot be read: {0}")]
    Journal(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Follower {
    /// Opens `events.db` in the data directory, and goes on where it was. `publish` is called when what was read changed the
    /// configuration.
    pub fn start(
        data: &Path,
        configuration: Arc<Configuration>,
        publish: Box<dyn Fn() + Send>,
    ) -> Result<Self, DatabaseError> {
        let path = data.join("events.db");
        let mut book = Book::open(&path)?;
        let has_terminals = configuration
            .site()
            .table(Kind::Terminal)
            .objects()
            .next()
            .is_some();
        // Before the first terminal, none can have been seen.
        book.begin_to_know(if has_terminals {
            configuration.now_ms()
        } else {
            0
        })?;
        let reader = Mutex::new(Book::open(&path)?);
        let failed = |source| DatabaseError::Open {
            path: data.display().to_string(),
            source,
        };
        let journal = Journal::open(data).map_err(failed)?;
        let (newest, seen) = watch::channel(book.last()?);
        let counts = Arc::<FollowerCounts>::default();
        let stop = Arc::<(Mutex<bool>, Condvar)>::default();
        let noted = Noted::default();
        let read_at = ReadAt::default();
        let mut following = Following {
            book,
            noted: Arc::clone(&noted),
            journal,
            configuration,
            publish,
            newest,
            counts: Arc::clone(&counts),
            read_at: Arc::clone(&read_at),
            retained: None,
        };
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("events".into())
            .spawn(move || following.run(&told))
            .map_err(failed)?;
        Ok(Follower {
            reader,
            newest: seen,
            noted,
            counts,
            read_at,
            stop,
            thread: Some(thread),
        })
    }

    /// The number of the newest event, and a notice of each newer one. Closed when following ends.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<i64> {
        self.newest.clone()
    }

    /// Takes an event that does not come from the journal: it is stored soon. Of too many at once the oldest are left out.
    pub fn notice(&self) -> impl Fn(EventRow) + Send + 'static {
        let noted = Arc::clone(&self.noted);
        move |row| {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.len() >= EVENTS_NOTED_MAX {
                noted.pop_front();
            }
            noted.push_back(row);
        }
    }

    /// What it has done.
    #[must_use]
    pub fn counts(&self) -> &FollowerCounts {
        &self.counts
    }

    /// How long ago it has read everything that the engine had written; none: not yet.
    #[must_use]
    pub fn read_ago_ms(&self, running_ms: u64) -> Option<u64> {
        let read_at = self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        read_at.map(|read_at| running_ms.saturating_sub(read_at))
    }

    /// What is stored, to be read. Others wait meanwhile.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it after what it is at; whoever waits for newer events is told that there will be none.
    pub fn stop(&self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, it has said so.
            let _ = thread.join();
        }
    }
}

impl Following {
    fn run(&mut self, stop: &(Mutex<bool>, Condvar)) {
        loop {
            let began = self.configuration.running_ms();
            match self.follow() {
                Ok(()) => {
                    *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
                    if self.counts.failing.swap(0, Ordering::Relaxed) == 1 {
                        tracing::info!("events are followed again");
                    }
                }
                Err(error) => {
                    if self.counts.failing.swap(1, Ordering::Relaxed) == 0 {
                        tracing::error!(%error, "events are not followed for now; nothing of the journal is passed over");
                    }
                }
            }
            let stopped = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = stop
                .1
                .wait_timeout_while(stopped, EVENTS_LOOK, |stop| !*stop);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
        }
    }

    /// Stores what others have noted. What cannot be stored waits.
    fn store_noted(&mut self) -> Result<(), FollowError> {
        let rows: Vec<EventRow> = {
            let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.iter().cloned().collect()
        };
        if rows.is_empty() {
            return Ok(());
        }
        self.book.store_rows(&rows)?;
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let left = noted.len().saturating_sub(rows.len());
        while noted.len() > left {
            noted.pop_front();
        }
        drop(noted);
        let count = rows.len() as u64;
        self.counts.events.fetch_add(count, Ordering::Relaxed);
        self.tell()
    }

    /// Reads what is new in every file.
    fn follow(&mut self) -> Result<(), FollowError> {
        self.store_noted()?;
        let files = self.journal.files()?;
        let mut positions = self.book.positions()?;
        let read_last = positions.last_key_value().map(|(file, _)| *file);
        let unread = files.iter().find(|file| Some(**file) > read_last);
        if let (Some(&first), Some(last)) = (unread, read_last)
            && first > last + 1
        {
            let missed = first - last - 1;
            self.counts.files_lost.fetch_add(missed, Ordering::Relaxed);
            let row = EventRow::files_lost(self.configuration.now_ms(), missed);
            self.book.store_gap(&row, Position::start_of(first))?;
            positions.insert(first, 0);
            self.tell()?;
        }
        for &file in &files {
            let mut position = Position {
                file,
                offset: positions.get(&file).copied().unwrap_or(0),
            };
            loop {
                let batch = self.journal.read(position)?;
                if batch.next == position {
                    break;
                }
                self.book.store(&batch.events, batch.next)?;
                self.note_strangers(&batch.events);
                position = batch.next;
                let count = batch.events.len() as u64;
                self.counts.events.fetch_add(count, Ordering::Relaxed);
                self.counts
                    .unknown
                    .fetch_add(batch.unknown, Ordering::Relaxed);
                if count > 0 {
                    self.tell()?;
                }
                if !batch.more {
                    break;
                }
            }
        }
        self.retain(&files)
    }

    /// Does what the policy says with units that are no terminal's. One that is passed over asks again.
    fn note_strangers(&self, events: &[Event]) {
        let sighting = |event: &Event| match &event.what {
            What::UnknownTerminal { client, .. } => Some(Sighting {
                mac: MacAddress::parse(&client.mac?.to_string()).ok()?,
                address: client.address?,
                time_ms: event.time_ms,
            }),
            _ => None,
        };
        let sightings: Vec<Sighting> = events.iter().filter_map(sighting).collect();
        if sightings.is_empty() {
            return;
        }
        match seen_unknown(&self.configuration, &sightings) {
            Ok(seen) if !seen.created.is_empty() => (self.publish)(),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "units that are no terminal's are not noted"),
        }
    }

    fn tell(&self) -> Result<(), FollowError> {
        let last = self.book.last()?;
        self.newest.send_if_modified(|newest| {
            let modified = *newest != last;
            *newest = last;
            modified
        });
        Ok(())
    }

    /// Now and then removes what need not be kept any more.
    fn retain(&mut self, files: &[u64]) -> Result<(), FollowError> {
        if self
            .retained
            .is_some_and(|at| at.elapsed() < EVENTS_RETAIN_EVERY)
        {
            return Ok(());
        }
        let site = self.configuration.site();
        let kept_ms = u64::from(site.event_days()) * 24 * 60 * 60 * 1000;
        let before_ms = self.configuration.now_ms().saturating_sub(kept_ms);
        let removed = self.book.retain(before_ms)?;
        self.counts
            .removed
            .fetch_add(removed as u64, Ordering::Relaxed);
        if removed > 0 {
            // There may be more: at the next look.
            return Ok(());
        }
        self.book.forget_positions(files)?;
        self.book.retain_terminals(|terminal| {
            Id::parse(terminal).is_ok_and(|id| site.object(Kind::Terminal, &id).is_some())
        })?;
        self.retained = Some(Instant::now());
        Ok(())
    }
}
