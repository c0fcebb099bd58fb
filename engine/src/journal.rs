//! The journal's thread: notices in, events on the disk. What happens here never reaches a packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use daybreak_store::journal::{Cause, Event, JournalWriter, What};

use crate::clock::Clock;
use crate::limits::{JOURNAL_AGAIN_AFTER, JOURNAL_END_PATIENCE, NOTICES_AT_ONCE_MAX};
use crate::notice::{Notice, Notices};
use crate::published::Published;
use crate::recorder::Recorder;
use crate::tally::Tally;

/// How often the end is looked for while nothing happens.
const LOOK: Duration = Duration::from_millis(200);

/// The thread that writes.
#[derive(Debug)]
pub struct Journal {
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What the thread works with.
#[derive(Debug)]
pub struct Writing {
    /// Where events go.
    pub writer: JournalWriter,
    /// What is told.
    pub queue: Receiver<Notice>,
    /// The other end of it, which counts what it dropped.
    pub notices: Notices,
    /// Who is who.
    pub published: Arc<Published>,
    /// Of all workers.
    pub clock: Clock,
    /// What is counted.
    pub tally: Arc<Tally>,
}

impl Journal {
    /// Starts it. The first event says that the engine has started.
    ///
    /// # Errors
    /// No thread.
    pub fn start(writing: Writing) -> std::io::Result<Self> {
        let end = Arc::<AtomicBool>::default();
        let told = end.clone();
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || Thread::new(writing).run(&told))?;
        Ok(Journal { end, thread })
    }

    /// Writes what was told so far, and that the engine stops; waits for that, but not for a disk that hangs.
    pub fn stop(self) {
        self.end.store(true, Ordering::Release);
        let give_up = Instant::now() + JOURNAL_END_PATIENCE;
        while !self.thread.is_finished() && Instant::now() < give_up {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

struct Thread {
    writing: Writing,
    recorder: Recorder,
    events: Vec<Event>,
    /// Of what the queue dropped, how much was told.
    dropped_told: u64,
    /// Lost to the disk, not told yet.
    lost: u64,
    again_at: Option<Instant>,
}

impl Thread {
    fn new(writing: Writing) -> Self {
        Thread {
            writing,
            recorder: Recorder::default(),
            events: Vec::new(),
            dropped_told: 0,
            lost: 0,
            again_at: None,
        }
    }

    fn run(mut self, end: &AtomicBool) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.put(What::EngineStarted { version });
        self.write();
        loop {
            // Looked at first: what was told before is in the queue then.
            let ends = end.load(Ordering::Acquire);
            let wait = if ends { Duration::ZERO } else { LOOK };
            match self.writing.queue.recv_timeout(wait) {
                Ok(notice) => {
                    self.take(&notice);
                    let more = self.writing.queue.try_iter().take(NOTICES_AT_ONCE_MAX - 1);
                    for notice in more.collect::<Vec<_>>() {
                        self.take(&notice);
                    }
                }
                Err(RecvTimeoutError::Timeout) if !ends => {}
                Err(_) => {
                    self.again_at = None;
                    self.put(What::EngineStopped);
                    self.write();
                    let _ = self.writing.writer.close();
                    return;
                }
            }
            self.write();
        }
    }

    fn take(&mut self, notice: &Notice) {
        let ago = self.writing.clock.now().since(notice.now).as_millis();
        let time_ms = wall_ms().saturating_sub(u64::try_from(ago).unwrap_or(0));
        let catalog = self.writing.published.catalog();
        self.events
            .extend(self.recorder.event(notice, time_ms, &catalog));
    }

    fn put(&mut self, what: What) {
        let time_ms = wall_ms();
        self.events.push(Event { time_ms, what });
    }

    fn write(&mut self) {
        let dropped = self.writing.notices.dropped();
        if dropped > self.dropped_told {
            let events = dropped - self.dropped_told;
            self.dropped_told = dropped;
            Tally::add(&self.writing.tally.journal_events_lost_queue, events);
            self.put(What::Lost {
                events,
                cause: Cause::Queue,
            });
        }
        if self.events.is_empty() && self.lost == 0 {
            return;
        }
        if self.again_at.is_some_and(|again| Instant::now() < again) {
            self.lose();
            return;
        }
        let lost = self.lost;
        if lost > 0 {
            self.put(What::Lost {
                events: lost,
                cause: Cause::Disk,
            });
        }
        let before = self.writing.writer.counters();
        let outcome = self.writing.writer.append(&self.events);
        let after = self.writing.writer.counters();
        let tally = &self.writing.tally;
        Tally::add(&tally.journal_bytes, after.bytes - before.bytes);
        let removed = after.files_removed - before.files_removed;
        Tally::add(&tally.journal_files_removed, removed);
        match outcome {
            Ok(()) => {
                if self.again_at.take().is_some() {
                    tracing::info!(lost, "events are written again");
                }
                let written = self.events.len() as u64;
                Tally::add(&tally.journal_events, written);
                self.events.clear();
                self.lost = 0;
            }
            Err(why) => {
                // Once in a while, as often as it is tried.
                tracing::error!(
                    %why,
                    "events cannot be written, and are counted only; boots go on. Make room on the disk, and let the \
                     engine's user write to events/ in the data directory"
                );
                if lost > 0 {
                    self.events.pop();
                }
                self.lose();
                self.again_at = Some(Instant::now() + JOURNAL_AGAIN_AFTER);
            }
        }
    }

    fn lose(&mut self) {
        let lost = self.events.len() as u64;
        self.lost += lost;
        Tally::add(&self.writing.tally.journal_events_lost_disk, lost);
        self.events.clear();
    }
}

/// Milliseconds since 1970, for whoever reads the events.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
