//! The catalog in service: swapped by the watcher, read by the workers without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use daybreak_store::Catalog;

/// The catalog that new requests are answered from. A worker keeps its own handle, and only compares a
/// number to know whether it is still the one.
#[derive(Debug)]
pub struct Published {
    catalog: ArcSwap<Catalog>,
    swaps: AtomicU64,
}

impl Published {
    /// In service from the start.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Published {
            catalog: ArcSwap::new(catalog),
            swaps: AtomicU64::new(0),
        }
    }

    /// Puts another catalog in service.
    pub fn swap(&self, catalog: Arc<Catalog>) {
        self.catalog.store(catalog);
        self.swaps.fetch_add(1, Ordering::Release);
    }

    /// How often it was swapped.
    #[must_use]
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Acquire)
    }

    /// The catalog in service.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }
}
