//! Inspects what is served: every image is read and hashed once by each process, beside the serving.
//!
//! A power cut is when disks lie, and a terminal cannot tell damaged firmware from its own fault. An image that is not what its
//! name says is refused by name from then on; everything else, and what transfers hold already, goes on. What was damaged
//! is looked at again with every new catalog, because an import may have brought it anew.
//!
//! Serving comes first: this thread has the lowest priority, and rests after each piece as long as the piece took. So a file may be served
//! before its turn has come; the smallest have it first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use daybreak_store::{Catalog, Content, EntryId, ImageHash};

use crate::clock::Clock;
use crate::published::Published;

/// The lowest priority that a thread can have.
const NICE: i32 = 19;

/// See the module.
#[derive(Debug)]
pub struct Inspector {
    published: Arc<Published>,
    clock: Clock,
    sound: BTreeSet<ImageHash>,
    damaged: BTreeSet<ImageHash>,
}

impl Inspector {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(published: Arc<Published>, clock: Clock) -> Self {
        Inspector {
            published,
            clock,
            sound: BTreeSet::new(),
            damaged: BTreeSet::new(),
        }
    }

    /// Inspects until the process ends.
    pub fn run(mut self) {
        // Where it is refused, resting is enough.
        let _ = rustix::process::nice(NICE);
        let mut seen = 0;
        loop {
            self.look(&self.published.catalog());
            seen = self.published.wait_for_more_than(seen);
        }
    }

    /// Inspects the images of a catalog that are not known to be sound.
    fn look(&mut self, catalog: &Arc<Catalog>) {
        let mut images: Vec<(u64, ImageHash, EntryId)> = catalog
            .entries()
            .filter_map(|(id, entry)| match entry.content {
                Content::Image(hash) => Some((entry.len, hash, id)),
                Content::Inline(_) => None,
            })
            .collect();
        images.sort_unstable();
        images.dedup_by_key(|(_, hash, _)| *hash);
        let named: BTreeSet<ImageHash> = images.iter().map(|(_, hash, _)| *hash).collect();
        self.sound.retain(|hash| named.contains(hash));
        self.damaged.retain(|hash| named.contains(hash));
        for (_, hash, id) in images {
            if !self.sound.contains(&hash) {
                self.inspect(catalog, hash, id);
            }
        }
    }

    fn inspect(&mut self, catalog: &Arc<Catalog>, hash: ImageHash, id: EntryId) {
        // One that cannot be opened is refused when it is asked for.
        let Ok(image) = catalog.open(id) else {
            return;
        };
        let clock = self.clock;
        let mut began = clock.now();
        let mut rest = || {
            thread::park_timeout(clock.now().since(began));
            began = clock.now();
        };
        let found = image.matches(hash, &mut rest);
        let name = catalog.entry(id).name;
        match found {
            Ok(true) => {
                self.sound.insert(hash);
                if self.damaged.remove(&hash) {
                    self.published.condemn(self.damaged.clone());
                    tracing::info!(name, "damaged file is whole again");
                }
            }
            Ok(false) => {
                catalog.forget(hash);
                if self.damaged.insert(hash) {
                    // First done, then said.
                    self.published.condemn(self.damaged.clone());
                    tracing::error!(
                        name,
                        image = %hash,
                        "damaged file: refused from now on. `daybreak-admin verify --quarantine` puts it aside, then import it again"
                    );
                }
            }
            Err(why) => tracing::error!(name, %why, "file cannot be read"),
        }
    }
}
