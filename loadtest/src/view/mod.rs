//! The picture of a storm on a terminal: boots done over time, the rate, a histogram of boot times, servers, fleets,
//! failures.
//!
//! [`State`] is what has been seen so far, [`draw()`] a pure function from it to a picture, and [`Screen`] the terminal: the
//! only part that touches one.

mod draw;
mod screen;

use std::time::Duration;

use crate::plan::Plan;
use crate::progress::Snapshot;

pub use draw::draw;
pub use screen::Screen;

/// Points of the curves that are kept; beyond it every second one is dropped, and half as many are taken from then on.
const POINTS_MAX: usize = 600;

/// What has been seen of a run.
#[derive(Clone, Debug)]
pub struct State {
    /// What the scenario calls itself.
    pub title: String,
    /// Clients that this process drives.
    pub clients: u32,
    /// Name, address.
    pub servers: Vec<(String, String)>,
    /// Name, profile, clients.
    pub fleets: Vec<(String, String, u32)>,
    /// How long it runs.
    pub elapsed: Duration,
    /// How far it is.
    pub now: Snapshot,
    /// Boots done, by seconds after the start.
    pub booted: Vec<(f64, f64)>,
    /// Failures, by seconds after the start.
    pub failed: Vec<(f64, f64)>,
    /// Boots a second, lately.
    pub boots_per_s: f64,
    /// The most boots a second at any time.
    pub boots_per_s_max: f64,
    /// Every how many looks a point is kept.
    stride: usize,
    looks: usize,
    /// Looks of the last second.
    lately: Vec<(f64, u32)>,
}

impl State {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(plan: &Plan) -> State {
        State {
            title: plan.title.clone(),
            clients: plan.all_clients_here(),
            servers: (plan.servers.iter())
                .map(|server| (server.name.clone(), server.address.to_string()))
                .collect(),
            fleets: (plan.fleets.iter())
                .map(|fleet| {
                    let profile = fleet.profile.name.to_owned();
                    (fleet.name.clone(), profile, plan.clients_here(fleet))
                })
                .collect(),
            elapsed: Duration::ZERO,
            now: Snapshot {
                fleets: vec![(0, 0); plan.fleets.len()],
                served: vec![0; plan.servers.len()],
                ..Snapshot::default()
            },
            booted: Vec::new(),
            failed: Vec::new(),
            boots_per_s: 0.0,
            boots_per_s_max: 0.0,
            stride: 1,
            looks: 0,
            lately: Vec::new(),
        }
    }

    /// Takes in how far the run is.
    pub fn see(&mut self, elapsed: Duration, snapshot: &Snapshot) {
        let at = elapsed.as_secs_f64();
        let (booted, failed) = (snapshot.booted(), snapshot.failed());
        if self.looks.is_multiple_of(self.stride) {
            self.booted.push((at, f64::from(booted)));
            self.failed.push((at, f64::from(failed)));
            if self.booted.len() > POINTS_MAX {
                self.stride *= 2;
                for curve in [&mut self.booted, &mut self.failed] {
                    let mut index = 0;
                    curve.retain(|_| {
                        index += 1;
                        index % 2 == 1
                    });
                }
            }
        }
        self.looks += 1;
        self.lately.push((at, booted));
        // One look that is a second old stays, to count from.
        while self.lately.len() > 2 && self.lately[1].0 <= at - 1.0 {
            self.lately.remove(0);
        }
        let (from, before) = self.lately[0];
        if at > from {
            self.boots_per_s = f64::from(booted.saturating_sub(before)) / (at - from);
            self.boots_per_s_max = self.boots_per_s_max.max(self.boots_per_s);
        }
        self.elapsed = elapsed;
        self.now = snapshot.clone();
    }
}
