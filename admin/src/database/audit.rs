//! Who changed what: one row per change, written with it.

use rusqlite::{Connection, params};

use super::{Database, DatabaseError};

/// Who changed what.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// The order of all changes on this server.
    pub number: i64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Who.
    pub actor: String,
    /// `create`, `change`, `delete`; `secret`: what is sealed was set, a password.
    pub action: String,
    /// What kind of object.
    pub kind: String,
    /// Which one.
    pub id: String,
    /// What it said before, sealed fields left out.
    pub before: Option<String>,
    /// What it says since, sealed fields left out.
    pub after: Option<String>,
}

/// Which audit rows are asked for; what is absent lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The kind of what was changed.
    pub kind: Option<String>,
    /// What was changed.
    pub id: Option<String>,
    /// Who changed it.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// Milliseconds since 1970, this one included.
    pub since_ms: Option<u64>,
    /// Milliseconds since 1970, this one left out.
    pub until_ms: Option<u64>,
    /// Only rows with smaller numbers.
    pub before: Option<i64>,
}

impl Database {
    /// Audit rows that `filter` lets through, newest first.
    pub fn audit(&self, filter: &AuditFilter, count: u32) -> Result<Vec<AuditRow>, DatabaseError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT number, time_ms, actor, action, kind, id, before, after FROM audit
             WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR id = ?2) AND (?3 IS NULL OR number < ?3)
               AND (?4 IS NULL OR actor = ?4) AND (?5 IS NULL OR action = ?5)
               AND (?6 IS NULL OR time_ms >= ?6) AND (?7 IS NULL OR time_ms < ?7)
             ORDER BY number DESC LIMIT ?8",
        )?;
        let parameters = params![
            filter.kind,
            filter.id,
            filter.before,
            filter.actor,
            filter.action,
            filter.since_ms.map(u64::cast_signed),
            filter.until_ms.map(u64::cast_signed),
            count
        ];
        let rows = statement.query_map(parameters, |row| {
            Ok(AuditRow {
                number: row.get(0)?,
                time_ms: row.get::<_, i64>(1)?.cast_unsigned(),
                actor: row.get(2)?,
                action: row.get(3)?,
                kind: row.get(4)?,
                id: row.get(5)?,
                before: row.get(6)?,
                after: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes an audit row of something that is no object.
    pub fn note(&self, audit: &AuditRow) -> Result<(), DatabaseError> {
        Ok(note(&self.connection, audit)?)
    }
}

pub(super) fn note(connection: &Connection, audit: &AuditRow) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO audit (time_ms, actor, action, kind, id, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    statement.execute(params![
        audit.time_ms.cast_signed(),
        audit.actor,
        audit.action,
        audit.kind,
        audit.id,
        audit.before,
        audit.after,
    ])?;
    Ok(())
}
