//! What is remembered of backups that are being made, and of restores: how far they are, and how they ended.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;
use utoipa::ToSchema;

use crate::backup::{BackupError, Plan, Restoring};
use crate::limits::BACKUP_JOBS_KEPT;
use crate::object::Id;

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is being done.
    Running,
    /// A restore: the differences are known, and it waits to be begun.
    Planned,
    /// It is done.
    Done,
    /// It failed; nothing was changed.
    Failed,
}

/// How something goes.
#[derive(Clone, Debug)]
pub struct Job {
    /// How far it is.
    pub state: State,
    /// Octets done.
    pub done_bytes: u64,
    /// Octets there are to do.
    pub total_bytes: u64,
    /// Why it failed.
    pub error: Option<Arc<BackupError>>,
}

/// A restore.
#[derive(Clone, Debug)]
pub struct RestoreView {
    /// Which.
    pub id: Id,
    /// Of which backup.
    pub backup: Id,
    /// What is restored.
    pub restoring: Restoring,
    /// What it does, once that is known.
    pub plan: Option<Arc<Plan>>,
    /// The backup that was made before it began.
    pub before: Option<Id>,
    /// How it goes.
    pub job: Job,
}

/// Told how far something is, by whoever does it.
#[derive(Clone)]
pub(super) struct Progress {
    id: Id,
    done: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Progress {
    fn new(id: Id) -> Self {
        Progress {
            id,
            done: Arc::default(),
            total: Arc::default(),
        }
    }

    /// There are so many octets to do.
    pub(super) fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// So many more are done; breaks if it is to stop.
    pub(super) fn advance(&self, count: u64, stop: &AtomicBool) -> ControlFlow<()> {
        self.done.fetch_add(count, Ordering::Relaxed);
        match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

struct Entry {
    progress: Progress,
    state: State,
    error: Option<Arc<BackupError>>,
    restore: Option<Restore>,
}

struct Restore {
    backup: Id,
    restoring: Restoring,
    plan: Option<Arc<Plan>>,
    before: Option<Id>,
}

/// What is remembered, oldest first.
#[derive(Default)]
pub(super) struct Jobs(VecDeque<Entry>);

impl Entry {
    fn job(&self) -> Job {
        let done = self.progress.done.load(Ordering::Relaxed);
        let total = self.progress.total.load(Ordering::Relaxed);
        Job {
            state: self.state,
            done_bytes: done.min(total),
            total_bytes: total,
            error: self.error.clone(),
        }
    }
}

impl Jobs {
    pub(super) fn backups(&self) -> Vec<(Id, Job)> {
        let backups = self.0.iter().filter(|entry| entry.restore.is_none());
        backups
            .map(|entry| (entry.progress.id.clone(), entry.job()))
            .collect()
    }

    pub(super) fn backup(&self, id: &Id) -> Option<Job> {
        let found = self
            .0
            .iter()
            .find(|entry| entry.progress.id == *id && entry.restore.is_none());
        found.map(Entry::job)
    }

    pub(super) fn restore(&self, id: &Id) -> Option<RestoreView> {
        let entry = self.0.iter().find(|entry| entry.progress.id == *id)?;
        let restore = entry.restore.as_ref()?;
        Some(RestoreView {
            id: id.clone(),
            backup: restore.backup.clone(),
            restoring: restore.restoring,
            plan: restore.plan.clone(),
            before: restore.before.clone(),
            job: entry.job(),
        })
    }

    pub(super) fn begin_backup(&mut self, id: Id) -> Progress {
        self.begin(id, None)
    }

    pub(super) fn begin_plan(&mut self, id: Id, backup: Id, restoring: Restoring) -> Progress {
        let restore = Restore {
            backup,
            restoring,
            plan: None,
            before: None,
        };
        self.begin(id, Some(restore))
    }

    pub(super) fn planned(&mut self, progress: &Progress, planned: Result<Plan, BackupError>) {
        match planned {
            Err(error) => self.ended(progress, Err(error)),
            Ok(plan) => self.change(&progress.id, |entry| {
                entry.state = State::Planned;
                if let Some(restore) = &mut entry.restore {
                    restore.plan = Some(Arc::new(plan));
                }
            }),
        }
    }

    pub(super) fn begin_restore(&mut self, id: &Id) -> Progress {
        let progress = Progress::new(id.clone());
        self.change(id, |entry| {
            entry.state = State::Running;
            entry.progress = progress.clone();
        });
        progress
    }

    pub(super) fn backed_up(&mut self, progress: &Progress, before: Id) {
        self.change(&progress.id, |entry| {
            if let Some(restore) = &mut entry.restore {
                restore.before = Some(before);
            }
        });
    }

    pub(super) fn ended(&mut self, progress: &Progress, outcome: Result<(), BackupError>) {
        self.change(&progress.id, |entry| match outcome {
            Ok(()) => entry.state = State::Done,
            Err(error) => {
                entry.state = State::Failed;
                entry.error = Some(Arc::new(error));
            }
        });
    }

    pub(super) fn forget(&mut self, progress: &Progress) {
        self.0.retain(|entry| entry.progress.id != progress.id);
    }

    fn begin(&mut self, id: Id, restore: Option<Restore>) -> Progress {
        if self.0.len() >= BACKUP_JOBS_KEPT {
            // What runs is one of the newest: one runs at a time.
            self.0.pop_front();
        }
        let progress = Progress::new(id);
        self.0.push_back(Entry {
            progress: progress.clone(),
            state: State::Running,
            error: None,
            restore,
        });
        progress
    }

    fn change(&mut self, id: &Id, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.progress.id == *id) {
            change(entry);
        }
    }
}
