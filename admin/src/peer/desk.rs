//! Where the plan that was looked at last and the run that was begun last lie, for the API to show: one of each.
//!
//! A run is on here before its thread is, so that there are never two of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daybreak_sync::manual::{Plan, RunProgress};

use super::manual::Between;
use crate::object::Id;

/// A plan, as it is kept.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What would change.
    pub plan: Plan,
    /// Between whom.
    pub between: Between,
    /// Octets of the images that the destination is to have.
    pub bytes: u64,
}

/// How a run is.
#[derive(Clone, Debug)]
pub struct Running {
    /// Who has ordered it.
    pub actor: String,
    /// How far it is.
    pub progress: RunProgress,
    /// How it has ended; nothing, while it goes on.
    pub outcome: Option<Result<(), String>>,
    /// The backup that was made before.
    pub backup: Option<Id>,
}

/// The plan that was made last, and the run that was begun last.
#[derive(Debug, Default)]
pub struct Desk {
    plan: Mutex<Option<(u64, Arc<Planned>)>>,
    run: Mutex<Option<(u64, Running)>>,
    last: Mutex<u64>,
}

impl Desk {
    fn number(&self) -> u64 {
        let mut last = locked(&self.last);
        *last += 1;
        *last
    }

    /// Keeps a plan, in place of the one before.
    pub(super) fn put_plan(&self, plan: Planned) -> (u64, Arc<Planned>) {
        let kept = (self.number(), Arc::new(plan));
        *locked(&self.plan) = Some(kept.clone());
        kept
    }

    /// The plan of this number, if it is the last one.
    #[must_use]
    pub fn plan(&self, number: u64) -> Option<Arc<Planned>> {
        let plan = locked(&self.plan);
        let (kept, plan) = plan.as_ref()?;
        (*kept == number).then(|| Arc::clone(plan))
    }

    /// The run of this number, if it is the last one.
    #[must_use]
    pub fn run(&self, number: u64) -> Option<Running> {
        let run = locked(&self.run);
        let (kept, run) = run.as_ref()?;
        (*kept == number).then(|| run.clone())
    }

    /// Begins a run, unless one goes on.
    pub(super) fn begin(&self, actor: &str) -> Option<u64> {
        let mut run = locked(&self.run);
        if run.as_ref().is_some_and(|(_, run)| run.outcome.is_none()) {
            return None;
        }
        let number = self.number();
        let running = Running {
            actor: actor.to_owned(),
            progress: RunProgress {
                objects: (0, 0),
                bytes: (0, 0),
                rate: 0,
                left: None,
            },
            outcome: None,
            backup: None,
        };
        *run = Some((number, running));
        Some(number)
    }

    /// How far the run is.
    pub(super) fn show(&self, progress: RunProgress) {
        self.note(|run| run.progress = progress);
    }

    /// The run is over.
    pub(super) fn end(&self, outcome: Result<(), String>) {
        self.note(|run| run.outcome = Some(outcome));
    }

    /// What was there before is in this backup.
    pub(super) fn backed_up(&self, backup: Id) {
        self.note(|run| run.backup = Some(backup));
    }

    fn note(&self, change: impl FnOnce(&mut Running)) {
        if let Some((_, run)) = locked(&self.run).as_mut() {
            change(run);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
