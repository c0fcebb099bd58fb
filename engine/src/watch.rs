//! Brings every published catalog into service: told by inotify, loaded off the packet path, swapped.
//!
//! A catalog that cannot be loaded is named once, and what was served is served on.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use daybreak_store::{Catalog, LoadError, Reader};
use inotify::{Inotify, WatchMask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::io::Doorbell;
use crate::limits;
use crate::published::Published;

/// See the module.
#[derive(Debug)]
pub struct Watcher {
    reader: Reader,
    published: Arc<Published>,
    doorbells: Vec<Doorbell>,
    inotify: Inotify,
    /// Catalogs that were replaced and may still be in use. Kept so that the last handle is dropped here, with
    /// all the maps it closes, and not between two packets.
    retired: Vec<Arc<Catalog>>,
    /// What was said about the catalog that cannot be loaded.
    complaint: Option<String>,
}

impl Watcher {
    /// A watcher that has not looked yet.
    ///
    /// # Errors
    /// The folder of catalogs cannot be watched.
    pub fn new(
        reader: Reader,
        published: Arc<Published>,
        doorbells: Vec<Doorbell>,
    ) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        // `current` is replaced by a rename into the folder.
        let mask = WatchMask::MOVED_TO | WatchMask::CLOSE_WRITE | WatchMask::ONLYDIR;
        inotify.watches().add(reader.catalogs_dir(), mask)?;
        Ok(Watcher {
            reader,
            published,
            doorbells,
            inotify,
            retired: Vec::new(),
            complaint: None,
        })
    }

    /// Watches until the process ends.
    pub fn run(mut self) {
        loop {
            self.look();
            self.wait();
        }
    }

    /// Brings the published catalog into service, if it is not.
    pub fn look(&mut self) {
        self.retired
            .retain(|catalog| Arc::strong_count(catalog) > 1);
        let before = self.published.catalog();
        let in_service = before.generation();
        let loaded = match self.reader.published() {
            Ok(published) if published == in_service => Ok(None),
            Ok(_) => self.reader.load().map(Some),
            Err(error) => Err(error),
        };
        match loaded {
            Ok(None) => self.complaint = None,
            Ok(Some(catalog)) => {
                self.complaint = None;
                let (generation, files) = (catalog.generation().get(), catalog.len());
                if catalog.generation() < in_service {
                    tracing::warn!(
                        generation,
                        served = in_service.get(),
                        "the published catalog is an older one"
                    );
                }
                self.retired.push(before);
                self.published.swap(catalog);
                self.doorbells.iter().for_each(Doorbell::ring);
                tracing::info!(generation, files, "catalog in service");
            }
            // A newer one is on its way: the next look finds it.
            Err(LoadError::Collected { .. }) => {}
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::error!(
                        why = %complaint,
                        served = in_service.get(),
                        "the published catalog cannot be served; the last good one stays in service"
                    );
                    self.complaint = Some(complaint);
                }
            }
        }
    }

    /// Waits for a notice, or for the time to look without one.
    fn wait(&mut self) {
        let recheck = Timespec {
            tv_sec: i64::try_from(limits::CATALOG_RECHECK.as_secs()).expect("a few seconds"),
            tv_nsec: 0,
        };
        let fd = self.inotify.as_fd();
        let _ = poll(
            &mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)],
            Some(&recheck),
        );
        // What the notices say does not matter: whatever happened, `current` says what to serve.
        let mut notices = [0; 4096];
        while self
            .inotify
            .read_events(&mut notices)
            .is_ok_and(|mut events| events.next().is_some())
        {}
    }
}
