//! Backups of a running server: one is made or restored at a time, with progress, noted in the audit.
//!
//! Long work runs in threads of its own; who asked looks at how far it is. What is remembered of it ends with the process:
//! the files and the audit stay.

mod jobs;
mod retention;

pub use jobs::{Job, RestoreView, State};

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use daybreak_store::{ImageHash, Store};

use self::jobs::{Jobs, Progress};
use super::archive::Written;
use super::folder::FileReader;
use super::make::image_bytes;
use super::{
    BackupError, Folder, Found, Images, Made, Order, Reason, Restoring, check, make, name, plan,
    receive, restore, stamp,
};
use crate::configuration::{Actor, Configuration};
use crate::edge::random;
use crate::kind::{Keep, Kind};
use crate::object::Id;
use crate::publish::Publisher;

/// How long a restore waits until it is published, before it says that it is done.
const PUBLISHED_WAIT: Duration = Duration::from_secs(30);

/// Backups of a running server.
pub struct Backups {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A backup, as far as it is.
#[derive(Debug)]
pub struct Listed {
    /// Which.
    pub id: Id,
    /// The file, if it is complete.
    pub found: Option<Found>,
    /// How making it goes or went, if this process makes or made it.
    pub job: Option<Job>,
}

struct Shared {
    configuration: Arc<Configuration>,
    store: Store,
    publisher: Arc<Publisher>,
    // Ends the sessions of a user.
    log_out: Box<dyn Fn(&Id) + Send + Sync>,
    turn: Mutex<bool>,
    turn_free: Condvar,
    jobs: Mutex<Jobs>,
    // Hashes of whole files, once computed. A file under an identifier never changes.
    hashes: Mutex<BTreeMap<Id, Written>>,
    stop: AtomicBool,
}

/// The right to make or restore: one has it.
struct Turn(Arc<Shared>);

impl Drop for Turn {
    fn drop(&mut self) {
        *locked(&self.0.turn) = false;
        self.0.turn_free.notify_one();
    }
}

impl Backups {
    /// Of this data directory. Removes what a crash has left. `log_out` ends the sessions of a user whom a restore has
    /// changed.
    pub fn open(
        configuration: Arc<Configuration>,
        store: Store,
        publisher: Arc<Publisher>,
        log_out: Box<dyn Fn(&Id) + Send + Sync>,
    ) -> Result<Self, BackupError> {
        Folder::of(&store).clean()?;
        Ok(Backups {
            shared: Arc::new(Shared {
                configuration,
                store,
                publisher,
                log_out,
                turn: Mutex::new(false),
                turn_free: Condvar::new(),
                jobs: Mutex::default(),
                hashes: Mutex::default(),
                stop: AtomicBool::new(false),
            }),
            threads: Mutex::default(),
        })
    }

    /// All of them, oldest identifier first: what is complete, what is being made, and what failed lately.
    pub fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let found = Folder::of(&self.shared.store).list()?;
        let mut listed: BTreeMap<Id, Listed> = BTreeMap::new();
        for found in found {
            let id = found.id.clone();
            let complete = Listed {
                id: id.clone(),
                found: Some(found),
                job: None,
            };
            listed.insert(id, complete);
        }
        for (id, job) in locked(&self.shared.jobs).backups() {
            let entry = listed.entry(id.clone());
            entry
                .or_insert(Listed {
                    id,
                    found: None,
                    job: None,
                })
                .job = Some(job);
        }
        // Made and deleted again.
        listed.retain(|_, listed| {
            listed.found.is_some()
                || listed
                    .job
                    .as_ref()
                    .is_some_and(|job| job.state != State::Done)
        });
        Ok(listed.into_values().collect())
    }

    /// One of them.
    pub fn show(&self, id: &Id) -> Result<Listed, BackupError> {
        let job = locked(&self.shared.jobs).backup(id);
        let found = match Folder::of(&self.shared.store).find(id) {
            Err(BackupError::Unknown(_))
                if job.as_ref().is_some_and(|job| job.state != State::Done) =>
            {
                None
            }
            found => Some(found?),
        };
        Ok(Listed {
            id: id.clone(),
            found,
            job,
        })
    }

    /// Begins to make a backup.
    pub fn begin(&self, actor: Actor, images: bool) -> Result<Id, BackupError> {
        let turn = self.shared.try_turn()?;
        let order = self.shared.order(
            Reason::Manual,
            None,
            if images { Images::All } else { Images::None },
        );
        let id = order.id.clone();
        let progress = locked(&self.shared.jobs).begin_backup(id.clone());
        self.spawn("backup", move || {
            let shared = Arc::clone(&turn.0);
            let outcome = shared.make(&actor, order, &progress);
            drop(turn);
            shared.ended_backup(&progress, outcome.map(drop));
        })?;
        Ok(id)
    }

    /// Makes a backup before something overwrites the configuration, and returns when it is on the disk. Waits until
    /// what is configured now is published, since that is where its files are from, and while another one is being made.
    pub fn automatic(
        &self,
        actor: &Actor,
        reason: Reason,
        images: Images,
    ) -> Result<Made, BackupError> {
        let shared = &self.shared;
        shared.published(shared.configuration.site().change());
        let made = shared.unattended(actor, shared.order(reason, None, images))?;
        self.shared.retire(reason, None, Keep::default());
        Ok(made)
    }

    /// Makes a backup of a schedule, and removes those that it does not keep.
    pub fn scheduled(
        &self,
        schedule: &Id,
        name: &str,
        images: bool,
        keep: Keep,
    ) -> Result<Made, BackupError> {
        let images = if images { Images::All } else { Images::None };
        let order = self
            .shared
            .order(Reason::Schedule, Some(schedule.clone()), images);
        let actor = Actor::machine(&format!("schedule {name}"));
        let made = self.shared.unattended(&actor, order)?;
        self.shared.retire(Reason::Schedule, Some(schedule), keep);
        Ok(made)
    }

    /// Deletes a backup.
    pub fn delete(&self, actor: &Actor, id: &Id) -> Result<(), BackupError> {
        Folder::of(&self.shared.store).remove(id)?;
        locked(&self.shared.hashes).remove(id);
        self.shared.note(actor, "delete", id)
    }

    /// Opens a backup for a download: the file, its length and hash.
    pub fn download(&self, actor: &Actor, id: &Id) -> Result<(File, Written), BackupError> {
        let (file, len) = Folder::of(&self.shared.store).open(id)?;
        let known = locked(&self.shared.hashes).get(id).copied();
        let written = match known.filter(|written| written.len == len) {
            Some(written) => written,
            None => {
                let hash = self.shared.hash(&file)?;
                let written = Written { len, hash };
                locked(&self.shared.hashes).insert(id.clone(), written);
                written
            }
        };
        self.shared.note(actor, "download", id)?;
        Ok((file, written))
    }

    /// Takes a backup from elsewhere, and keeps it if it is whole. Takes no turn: it changes nothing but the folder.
    pub fn upload(
        &self,
        actor: &Actor,
        id: &Id,
        source: &mut dyn Read,
        len: Option<u64>,
        expected: Option<ImageHash>,
    ) -> Result<Written, BackupError> {
        let mut stop = |_| self.shared.go_on();
        let written = receive(&self.shared.store, id, source, (len, expected), &mut stop)?;
        locked(&self.shared.hashes).insert(id.clone(), written);
        self.shared.note(actor, "upload", id)?;
        Ok(written)
    }

    /// Begins to read a backup and to compare it with what is.
    pub fn plan(&self, backup: &Id, restoring: Restoring) -> Result<Id, BackupError> {
        let (_, len) = Folder::of(&self.shared.store).open(backup)?;
        let turn = self.shared.try_turn()?;
        let id = Id::from_random(random(self.shared.configuration.entropy()));
        let progress = locked(&self.shared.jobs).begin_plan(id.clone(), backup.clone(), restoring);
        progress.expect(len);
        let backup = backup.clone();
        self.spawn("restore-plan", move || {
            let shared = Arc::clone(&turn.0);
            let site = shared.configuration.site();
            let mut count = |count| progress.advance(count, &shared.stop);
            let planned = plan(&shared.store, &site, &backup, restoring, &mut count);
            drop(turn);
            locked(&shared.jobs).planned(&progress, planned);
        })?;
        Ok(id)
    }

    /// How a restore goes.
    pub fn restore_state(&self, id: &Id) -> Result<RestoreView, BackupError> {
        let found = locked(&self.shared.jobs).restore(id);
        found.ok_or_else(|| BackupError::UnknownRestore(id.clone()))
    }

    /// Begins to restore what was planned. Refused if anything was changed since.
    pub fn restore(&self, actor: Actor, id: &Id) -> Result<(), BackupError> {
        let turn = self.shared.try_turn()?;
        let planned = self.restore_state(id)?;
        let plan = planned.plan.ok_or(BackupError::NotPlanned)?;
        if planned.job.state != State::Planned {
            return Err(BackupError::NotPlanned);
        }
        check(&self.shared.store, &self.shared.configuration.site(), &plan)?;
        let progress = locked(&self.shared.jobs).begin_restore(id);
        self.spawn("restore", move || {
            let shared = Arc::clone(&turn.0);
            let outcome = shared.restore(&actor, &plan, &progress);
            drop(turn);
            locked(&shared.jobs).ended(&progress, outcome);
        })
    }

    /// Gives up what is being made or restored, before it has changed anything, and begins nothing any more.
    pub fn stop(&self) {
        // Under the lock: whoever waits for a turn has looked before, or looks after.
        let _turn = locked(&self.shared.turn);
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.turn_free.notify_all();
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), BackupError> {
        let mut threads = locked(&self.threads);
        threads.retain(|thread| !thread.is_finished());
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work);
        threads.push(thread?);
        Ok(())
    }
}

impl Drop for Backups {
    /// What is being made is given up: it is gone again.
    fn drop(&mut self) {
        self.stop();
        let threads = std::mem::take(&mut *locked(&self.threads));
        for thread in threads {
            // If it has panicked, it has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn try_turn(self: &Arc<Self>) -> Result<Turn, BackupError> {
        let mut taken = locked(&self.turn);
        if std::mem::replace(&mut *taken, true) {
            return Err(BackupError::Busy);
        }
        Ok(Turn(Arc::clone(self)))
    }

    fn wait_for_turn(self: &Arc<Self>) -> Result<Turn, BackupError> {
        let stop = || self.stop.load(Ordering::Relaxed);
        let taken = locked(&self.turn);
        let waited = self.turn_free.wait_while(taken, |taken| *taken && !stop());
        let mut taken = waited.unwrap_or_else(PoisonError::into_inner);
        if *taken || stop() {
            return Err(BackupError::Interrupted);
        }
        *taken = true;
        Ok(Turn(Arc::clone(self)))
    }

    fn go_on(&self) -> ControlFlow<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn order(&self, reason: Reason, schedule: Option<Id>, images: Images) -> Order {
        let created_ms = self.configuration.now_ms();
        Order {
            id: name(created_ms, random(self.configuration.entropy())),
            created_ms,
            node: self.configuration.node(),
            reason,
            schedule,
            images,
        }
    }

    /// Makes a backup that nobody looks at, when it is its turn.
    fn unattended(self: &Arc<Self>, actor: &Actor, order: Order) -> Result<Made, BackupError> {
        let turn = self.wait_for_turn()?;
        let progress = locked(&self.jobs).begin_backup(order.id.clone());
        let outcome = self.make(actor, order, &progress);
        drop(turn);
        if outcome.is_ok() {
            self.ended_backup(&progress, Ok(()));
        } else {
            // Whoever wanted it hears why.
            locked(&self.jobs).forget(&progress);
        }
        outcome
    }

    fn make(&self, actor: &Actor, order: Order, progress: &Progress) -> Result<Made, BackupError> {
        // Once to look whether they are whole, once to copy them.
        progress.expect(image_bytes(&self.store, &order.images)?.saturating_mul(2));
        let site = self.configuration.site();
        let mut count = |count| progress.advance(count, &self.stop);
        let made = make(&self.store, site.objects(), order, &mut count)?;
        locked(&self.hashes).insert(made.id.clone(), made.written);
        self.note(actor, "create", &made.id)?;
        tracing::info!(id = %made.id, bytes = made.written.len, left_out = made.left_out.len(), "a backup was made");
        Ok(made)
    }

    fn ended_backup(&self, progress: &Progress, outcome: Result<(), BackupError>) {
        if let Err(error) = &outcome {
            tracing::error!(%error, "a backup failed");
        }
        locked(&self.jobs).ended(progress, outcome);
    }

    fn restore(
        &self,
        actor: &Actor,
        plan: &super::Plan,
        progress: &Progress,
    ) -> Result<(), BackupError> {
        let leaving = Images::Only(plan.leaving.clone());
        let (_, len) = Folder::of(&self.store).open(&plan.backup)?;
        let twice = image_bytes(&self.store, &leaving)?.saturating_mul(2);
        progress.expect(len.saturating_add(twice));
        let mut count = |count| progress.advance(count, &self.stop);

        let before = self.order(Reason::BeforeRestore, None, leaving);
        let site = self.configuration.site();
        let made = make(&self.store, site.objects(), before, &mut count)?;
        self.note(actor, "create", &made.id)?;
        locked(&self.jobs).backed_up(progress, made.id.clone());

        restore(&self.store, &self.configuration, plan, actor, &mut count)?;
        tracing::info!(backup = %plan.backup, before = %made.id, actor = actor.name, "a backup was restored");
        let restored = self.configuration.site();
        for user in site.table(Kind::User).objects() {
            let now = restored.object(Kind::User, &user.id);
            if now.is_none_or(|now| now.body != user.body) {
                (self.log_out)(&user.id);
            }
        }
        self.published(restored.change());
        self.retire(Reason::BeforeRestore, None, Keep::default());
        Ok(())
    }

    /// Waits until what is configured is published. If that fails, it is tried again, and shown where publishing is.
    fn published(&self, change: u64) {
        self.publisher.wake();
        let deadline = Instant::now() + PUBLISHED_WAIT;
        loop {
            let publication = self.publisher.publication();
            let done = publication.ran && publication.change >= change;
            let over = publication.error.is_some() || Instant::now() >= deadline;
            if done || over || self.go_on().is_break() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Removes backups that are not kept any more. The one that was made before is there: that this fails is no reason
    /// to say that it is not.
    fn retire(&self, reason: Reason, schedule: Option<&Id>, keep: Keep) {
        let folder = Folder::of(&self.store);
        let node = self.configuration.node();
        let outcome = folder.list().and_then(|found| {
            let ours = found
                .into_iter()
                .filter_map(|found| Some((found.id, found.head.ok()?)));
            let ours = ours.filter(|(id, head)| {
                head.node == node
                    && head.reason == reason
                    && head.schedule.as_ref() == schedule
                    // Made here, not brought back by hand to be restored.
                    && id.as_str().starts_with(&stamp(head.created_ms))
            });
            let made = ours.map(|(id, head)| (head.created_ms, id)).collect();
            let gone = retention::superfluous(made, reason, keep, self.configuration.now_ms());
            gone.iter().try_for_each(|id| {
                tracing::info!(%id, "a backup is not kept any longer");
                locked(&self.hashes).remove(id);
                folder.remove(id)?;
                self.note(&Actor::machine("retention"), "delete", id)
            })
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "backups that are not kept any longer could not be removed");
        }
    }

    fn hash(&self, file: &File) -> Result<ImageHash, BackupError> {
        let mut stop = |_| self.go_on();
        let mut reader = FileReader::new(self.store.disk(), file, &mut stop);
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut reader, &mut hasher)
            .map_err(|error| BackupError::from(error).unwrapped())?;
        Ok(ImageHash::from_bytes(*hasher.finalize().as_bytes()))
    }

    fn note(&self, actor: &Actor, action: &str, backup: &Id) -> Result<(), BackupError> {
        let what = ("backup", backup.as_str());
        Ok(self.configuration.note(actor, action, what, None, None)?)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every step on what is guarded is whole by itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
