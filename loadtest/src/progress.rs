//! How far a run is: what the threads count for whoever watches, and how he ends it.
//!
//! It is touched once a client, not once a packet. The numbers that are reported come from the tallies.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::client::Booted;
use crate::plan::Plan;
use crate::tally::Failure;

/// Ends of the bins of the histogram of boots, in milliseconds; the last bin has no end.
pub const BIN_ENDS_MS: [u64; 16] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000,
];

/// What all threads have done so far.
#[derive(Debug)]
pub struct Progress {
    /// Set by whoever wants the run to end now.
    pub stop: AtomicBool,
    /// Clients powered on.
    pub started: AtomicU32,
    /// Clients that booted after they had gone on to another server.
    pub moved: AtomicU32,
    /// Boots by server.
    served: Vec<AtomicU32>,
    fleets: Vec<FleetProgress>,
    boot_times: [AtomicU32; BIN_ENDS_MS.len() + 1],
    causes: Mutex<BTreeMap<String, u32>>,
}

#[derive(Debug, Default)]
struct FleetProgress {
    booted: AtomicU32,
    failed: AtomicU32,
}

/// All of it, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Clients powered on.
    pub started: u32,
    /// Clients that booted after they had gone on to another server.
    pub moved: u32,
    /// Booted and failed, by fleet.
    pub fleets: Vec<(u32, u32)>,
    /// Booted, by server.
    pub served: Vec<u32>,
    /// Boots by the bin of their time ([`BIN_ENDS_MS`]).
    pub boot_times: Vec<u32>,
    /// Failures by cause.
    pub causes: BTreeMap<String, u32>,
}

impl Progress {
    /// Nothing yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Progress {
        Progress {
            stop: AtomicBool::new(false),
            started: AtomicU32::new(0),
            moved: AtomicU32::new(0),
            served: plan.servers.iter().map(|_| AtomicU32::new(0)).collect(),
            fleets: (plan.fleets.iter())
                .map(|_| FleetProgress::default())
                .collect(),
            boot_times: Default::default(),
            causes: Mutex::default(),
        }
    }

    /// A client has booted, so many microseconds after its power-on.
    pub(crate) fn booted(&self, fleet: usize, booted: Booted, micros: u64) {
        self.fleets[fleet].booted.fetch_add(1, Ordering::Relaxed);
        self.served[booted.server].fetch_add(1, Ordering::Relaxed);
        if booted.moved.is_some() {
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
        let bin = BIN_ENDS_MS.partition_point(|end| end * 1000 <= micros);
        self.boot_times[bin].fetch_add(1, Ordering::Relaxed);
    }

    /// A client has failed.
    pub(crate) fn failed(&self, fleet: usize, failure: Failure) {
        self.fleets[fleet].failed.fetch_add(1, Ordering::Relaxed);
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        *causes.entry(failure.to_string()).or_default() += 1;
    }

    /// How far all are.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let load = |count: &AtomicU32| count.load(Ordering::Relaxed);
        Snapshot {
            started: load(&self.started),
            moved: load(&self.moved),
            fleets: (self.fleets.iter())
                .map(|fleet| (load(&fleet.booted), load(&fleet.failed)))
                .collect(),
            served: self.served.iter().map(load).collect(),
            boot_times: self.boot_times.iter().map(load).collect(),
            causes: (self.causes.lock())
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}

impl Snapshot {
    /// Clients that got every file.
    #[must_use]
    pub fn booted(&self) -> u32 {
        self.fleets.iter().map(|(booted, _)| booted).sum()
    }

    /// Clients that failed.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.fleets.iter().map(|(_, failed)| failed).sum()
    }

    /// Clients powered on that have not ended.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.started.saturating_sub(self.booted() + self.failed())
    }
}
