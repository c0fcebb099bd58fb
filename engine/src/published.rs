//! The catalog in service and what is known to be damaged in it: changed beside the serving, read by the workers without a lock.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use arc_swap::ArcSwap;
use daybreak_store::{Catalog, ImageHash};

/// The catalog that new requests are answered from. A worker keeps its own handle, and only compares a
/// number to know whether it is still the one.
#[derive(Debug)]
pub struct Published {
    catalog: ArcSwap<Catalog>,
    damaged: ArcSwap<BTreeSet<ImageHash>>,
    changes: AtomicU64,
    /// Catalogs that came into service: for who waits for the next one, never for a worker.
    arrivals: Mutex<u64>,
    arrived: Condvar,
}

impl Published {
    /// In service from the start.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Published {
            catalog: ArcSwap::new(catalog),
            damaged: ArcSwap::default(),
            changes: AtomicU64::new(0),
            arrivals: Mutex::new(0),
            arrived: Condvar::new(),
        }
    }

    /// Puts another catalog in service.
    pub fn swap(&self, catalog: Arc<Catalog>) {
        self.catalog.store(catalog);
        self.changes.fetch_add(1, Ordering::Release);
        *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.arrived.notify_all();
    }

    /// Says which images are not what their names say: they are refused from now on.
    pub fn condemn(&self, damaged: BTreeSet<ImageHash>) {
        self.damaged.store(Arc::new(damaged));
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often something was changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The catalog in service.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// The images that are refused.
    #[must_use]
    pub fn damaged(&self) -> Arc<BTreeSet<ImageHash>> {
        self.damaged.load_full()
    }

    /// Waits until more than `seen` catalogs have come into service; how many have.
    #[must_use]
    pub fn wait_for_more_than(&self, seen: u64) -> u64 {
        let arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let more = self
            .arrived
            .wait_while(arrivals, |arrivals| *arrivals <= seen);
        *more.unwrap_or_else(PoisonError::into_inner)
    }
}
