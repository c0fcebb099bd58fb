//! Rows that belong to this server alone: how schedules ran.

use rusqlite::{OptionalExtension, params};

use super::{Database, DatabaseError};
use crate::object::Id;

/// How a schedule ran last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRun {
    /// The moment that it was for, in milliseconds since 1970.
    pub due_ms: u64,
    /// When it began.
    pub started_ms: u64,
    /// When it ended; not yet, or the process did.
    pub finished_ms: Option<u64>,
    /// The backup that it made.
    pub backup: Option<Id>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl Database {
    /// How a schedule ran last.
    pub fn schedule_run(&self, schedule: &Id) -> Result<Option<ScheduleRun>, DatabaseError> {
        let query = "SELECT due_ms, started_ms, finished_ms, backup, error FROM schedule_run WHERE schedule = ?1";
        let mut statement = self.connection.prepare_cached(query)?;
        let run = statement.query_row([schedule.as_str()], |row| {
            let backup: Option<String> = row.get(3)?;
            Ok(ScheduleRun {
                due_ms: row.get::<_, i64>(0)?.cast_unsigned(),
                started_ms: row.get::<_, i64>(1)?.cast_unsigned(),
                finished_ms: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
                backup: backup.and_then(|id| Id::parse(&id).ok()),
                error: row.get(4)?,
            })
        });
        Ok(run.optional()?)
    }

    /// Keeps how a schedule runs.
    pub fn put_schedule_run(&self, schedule: &Id, run: &ScheduleRun) -> Result<(), DatabaseError> {
        let insert = "INSERT OR REPLACE INTO schedule_run
            (schedule, due_ms, started_ms, finished_ms, backup, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.connection.prepare_cached(insert)?.execute(params![
            schedule.as_str(),
            run.due_ms.cast_signed(),
            run.started_ms.cast_signed(),
            run.finished_ms.map(u64::cast_signed),
            run.backup.as_ref().map(Id::as_str),
            run.error,
        ])?;
        Ok(())
    }
}
