//! The thread that looks what is due, has it made, and keeps how that went.
//!
//! That a run has begun is on the disk before it begins. A run in which the process ended is tried again once; if the
//! process ends in it again, it counts as failed, so that a backup that brings the server down does not keep it down.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use jiff::tz::TimeZone;

use super::due::{self, Known};
use crate::backup::Backups;
use crate::configuration::Configuration;
use crate::database::{DatabaseError, ScheduleRun};
use crate::kind::{Body, Kind, Schedule};
use crate::limits::SCHEDULES_LOOKED_AT_EVERY;
use crate::object::{Id, Object};

const AGAIN: &str = "the process ended in the middle of it; it is tried again";

/// Says which time zone the machine is in now.
pub type Zone = Arc<dyn Fn() -> TimeZone + Send + Sync>;

/// Runs schedules.
pub struct Scheduler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// How a schedule stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// When it is due next, in milliseconds since 1970; never, or it is disabled.
    pub next_ms: Option<u64>,
    /// The same as the clocks of the server show it.
    pub next_local: Option<String>,
    /// The time zone of the server.
    pub time_zone: String,
    /// How it ran last.
    pub last: Option<ScheduleRun>,
}

struct Shared {
    configuration: Arc<Configuration>,
    backups: Arc<Backups>,
    zone: Zone,
    stop: Mutex<bool>,
    wake: Condvar,
}

impl Scheduler {
    /// Starts to look.
    pub fn start(
        configuration: Arc<Configuration>,
        backups: Arc<Backups>,
        zone: Zone,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            configuration,
            backups,
            zone,
            stop: Mutex::new(false),
            wake: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("scheduler".into())
            .spawn(move || worker.run())?;
        Ok(Scheduler {
            shared,
            thread: Some(thread),
        })
    }

    /// How a schedule stands.
    pub fn status(&self, id: &Id, schedule: &Schedule) -> Result<Status, DatabaseError> {
        let zone = (self.shared.zone)();
        let now_ms = self.shared.configuration.now_ms();
        let next_ms = due::next(&schedule.when, &zone, now_ms).filter(|_| schedule.enabled);
        let local = |ms: u64| {
            let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
            Some(
                zone.to_datetime(time)
                    .strftime("%Y-%m-%d %H:%M")
                    .to_string(),
            )
        };
        Ok(Status {
            next_ms,
            next_local: next_ms.and_then(local),
            time_zone: zone.iana_name().unwrap_or("of the machine").to_owned(),
            last: self.shared.last(id)?,
        })
    }
}

impl Drop for Scheduler {
    /// Ends it, and gives up the backup that it is making.
    fn drop(&mut self) {
        *locked(&self.shared.stop) = true;
        self.shared.wake.notify_all();
        self.shared.backups.stop();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, it has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        // What is on the disk, so that nothing is asked of it every second.
        let mut runs: BTreeMap<Id, Option<ScheduleRun>> = BTreeMap::new();
        loop {
            if let Err(error) = self.look(&mut runs) {
                tracing::error!(%error, "schedules cannot be run");
                runs.clear();
            }
            let stop = locked(&self.stop);
            let waited = self
                .wake
                .wait_timeout_while(stop, SCHEDULES_LOOKED_AT_EVERY, |stop| !*stop);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
        }
    }

    fn look(&self, runs: &mut BTreeMap<Id, Option<ScheduleRun>>) -> Result<(), DatabaseError> {
        let site = self.configuration.site();
        let table = site.table(Kind::Schedule);
        runs.retain(|id, _| table.object(id).is_some());
        for object in table.objects() {
            let Body::Schedule(schedule) = &object.body else {
                continue;
            };
            if !schedule.enabled {
                continue;
            }
            let last = match runs.get(&object.id) {
                Some(last) => last.clone(),
                None => self.last(&object.id)?,
            };
            let ran = self.run_if_due(object, schedule, last)?;
            runs.insert(object.id.clone(), ran);
            if *locked(&self.stop) {
                break;
            }
        }
        Ok(())
    }

    /// Runs a schedule if it is due; how it ran last.
    fn run_if_due(
        &self,
        object: &Object,
        schedule: &Schedule,
        last: Option<ScheduleRun>,
    ) -> Result<Option<ScheduleRun>, DatabaseError> {
        let started_ms = self.configuration.now_ms();
        let broken = last
            .as_ref()
            .filter(|run| run.finished_ms.is_none() && run.error.is_none());
        let again = broken.map(|run| run.due_ms);
        let known = Known {
            done_ms: last.as_ref().map(|run| run.due_ms),
            changed_ms: object.stamp.time_ms,
        };
        let moment = due::due(&schedule.when, &(self.zone)(), known, started_ms);
        let Some(due_ms) = moment.or(again) else {
            return Ok(last);
        };
        let mut run = ScheduleRun {
            due_ms,
            started_ms,
            finished_ms: None,
            backup: None,
            error: (moment.is_none()).then(|| AGAIN.to_owned()),
        };
        self.keep(&object.id, &run)?;
        let name = schedule.name.as_str();
        let made = self
            .backups
            .scheduled(&object.id, name, schedule.images, schedule.keep);
        if *locked(&self.stop) && made.is_err() {
            // Not a failure of the backup: it is tried again after the start.
            return Ok(Some(run));
        }
        run.finished_ms = Some(self.configuration.now_ms());
        match made {
            Ok(made) => (run.backup, run.error) = (Some(made.id), None),
            Err(error) => {
                tracing::error!(schedule = name, %error, "a scheduled backup failed");
                run.error = Some(error.to_string());
            }
        }
        self.keep(&object.id, &run)?;
        Ok(Some(run))
    }

    fn last(&self, id: &Id) -> Result<Option<ScheduleRun>, DatabaseError> {
        self.configuration
            .with_database(|database| database.schedule_run(id))
    }

    fn keep(&self, id: &Id, run: &ScheduleRun) -> Result<(), DatabaseError> {
        self.configuration
            .with_database(|database| database.put_schedule_run(id, run))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
