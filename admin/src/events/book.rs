//! `events.db`: events, what they say of each terminal, and how far the journal was read. SQLite, private to the administration.
//!
//! Apart from the configuration, so that a stream of boots never delays a change, and a backup need not carry it. WAL with
//! `synchronous=NORMAL`: a loss of power may undo the last commits, but the position with them, so they are read again.

use std::collections::BTreeMap;
use std::path::Path;

use daybreak_store::journal::{Event, Position, What};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::light::{Engine, Status};
use super::row::EventRow;
use crate::database::{self, DatabaseError};
use crate::limits::{DATABASE_WAIT, EVENTS_MAX, EVENTS_REMOVED_AT_ONCE};

/// Each entry brings the format to its number, counted from 1. Entries are never changed, only added.
const STEPS: [&str; 2] = [
    "
    -- How far each file of the journal was read.
    CREATE TABLE position (file INTEGER PRIMARY KEY, read_to INTEGER NOT NULL) STRICT;

    CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        terminal TEXT,
        name TEXT,
        mac TEXT,
        address TEXT,
        server TEXT,
        source TEXT,
        details TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_by_terminal ON event (terminal, number) WHERE terminal IS NOT NULL;
    CREATE INDEX event_by_kind ON event (kind, number);
    CREATE INDEX event_by_time ON event (time_ms);

    CREATE TABLE status (terminal TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;

    -- Of the engine of this server; `stopped`: the last thing that it said was that it ends.
    CREATE TABLE engine (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        time_ms INTEGER NOT NULL,
        stopped INTEGER NOT NULL
    ) STRICT;
",
    "
    -- Since when every event of the engine is known; 0: since the first terminal.
    CREATE TABLE known (only INTEGER PRIMARY KEY CHECK (only = 1), since_ms INTEGER NOT NULL) STRICT;

    -- When terminals were seen by other servers.
    CREATE TABLE sightings (only INTEGER PRIMARY KEY CHECK (only = 1), body TEXT NOT NULL) STRICT;
",
];

const COLUMNS: &str =
    "number, time_ms, kind, terminal, name, mac, address, server, source, details";

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this terminal.
    pub terminal: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// From this time, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Before this time.
    pub until_ms: Option<u64>,
    /// Numbers below this.
    pub before: Option<i64>,
    /// Numbers above this.
    pub after: Option<i64>,
}

/// The open database.
#[derive(Debug)]
pub struct Book {
    connection: Connection,
}

impl Book {
    /// Opens `events.db` at `path`, making it (mode 0600) and bringing it to the current format.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        let mut connection = database::open_file(path)?;
        connection.busy_timeout(DATABASE_WAIT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "trusted_schema", "off")?;
        database::bring_up_to_date(&mut connection, &STEPS, |_| Ok(()))?;
        Ok(Book { connection })
    }

    /// How far each file of the journal was read.
    pub fn positions(&self) -> Result<BTreeMap<u64, u64>, DatabaseError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT file, read_to FROM position")?;
        let mut rows = statement.query([])?;
        let mut positions = BTreeMap::new();
        while let Some(row) = rows.next()? {
            positions.insert(unsigned(row, 0)?, unsigned(row, 1)?);
        }
        Ok(positions)
    }

    /// Stores events of the journal and what they lead to, and that it was read up to `position`: all of it, or nothing.
    pub fn store(&mut self, events: &[Event], position: Position) -> Result<(), DatabaseError> {
        let transaction = self.begin()?;
        let mut statuses = BTreeMap::<String, Status>::new();
        for event in events {
            insert(&transaction, &EventRow::of(event))?;
            let stopped = match event.what {
                What::EngineStarted { .. } => Some(false),
                What::EngineStopped => Some(true),
                _ => None,
            };
            if matches!(event.what, What::Lost { .. }) {
                miss(&transaction, event.time_ms)?;
            }
            if let Some(stopped) = stopped {
                let replace =
                    "INSERT OR REPLACE INTO engine (only, time_ms, stopped) VALUES (1, ?1, ?2)";
                transaction.execute(replace, params![event.time_ms.cast_signed(), stopped])?;
            }
            let terminal = event
                .what
                .client()
                .and_then(|client| client.terminal.as_ref());
            let Some(terminal) = terminal else {
                continue;
            };
            if !statuses.contains_key(&terminal.id) {
                let known = status(&transaction, &terminal.id)?.unwrap_or_default();
                statuses.insert(terminal.id.clone(), known);
            }
            if let Some(status) = statuses.get_mut(&terminal.id) {
                status.take(event);
            }
        }
        for (terminal, status) in statuses {
            let body = serde_json::to_string(&status).expect("text keys and plain values");
            let replace = "INSERT OR REPLACE INTO status (terminal, body) VALUES (?1, ?2)";
            transaction
                .prepare_cached(replace)?
                .execute(params![terminal, body])?;
        }
        note_position(&transaction, position)?;
        transaction.commit()?;
        Ok(())
    }

    /// Stores that whole files of the journal were removed before they were read, and where reading begins now.
    pub fn store_gap(&mut self, lost: &EventRow, position: Position) -> Result<(), DatabaseError> {
        let transaction = self.begin()?;
        insert(&transaction, lost)?;
        miss(&transaction, lost.time_ms)?;
        note_position(&transaction, position)?;
        transaction.commit()?;
        Ok(())
    }

    /// Begins to know every event of the engine, if it did not before: since `since_ms`.
    pub fn begin_to_know(&mut self, since_ms: u64) -> Result<(), DatabaseError> {
        let insert = "INSERT OR IGNORE INTO known (only, since_ms) VALUES (1, ?1)";
        self.connection.execute(insert, [since_ms.cast_signed()])?;
        Ok(())
    }

    /// Since when no event of the engine is missing.
    pub fn known_since_ms(&self) -> Result<Option<u64>, DatabaseError> {
        let select = "SELECT since_ms FROM known";
        let since = self
            .connection
            .query_row(select, [], |row| unsigned(row, 0));
        Ok(since.optional()?)
    }

    /// When each terminal was last seen.
    pub fn seen(&self) -> Result<Vec<(String, u64)>, DatabaseError> {
        let select = "SELECT terminal, json_extract(body, '$.seen_ms') FROM status";
        let mut statement = self.connection.prepare_cached(select)?;
        let rows =
            statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))?;
        let seen = rows.filter_map(|row| match row {
            Ok((terminal, seen_ms)) => Some(Ok((terminal, seen_ms?.cast_unsigned()))),
            Err(error) => Some(Err(error)),
        });
        Ok(seen.collect::<Result<_, _>>()?)
    }

    /// What was kept of when other servers saw terminals.
    pub fn sightings(&self) -> Result<Option<String>, DatabaseError> {
        let select = "SELECT body FROM sightings";
        let body = self.connection.query_row(select, [], |row| row.get(0));
        Ok(body.optional()?)
    }

    /// Keeps it.
    pub fn put_sightings(&self, body: &str) -> Result<(), DatabaseError> {
        let replace = "INSERT OR REPLACE INTO sightings (only, body) VALUES (1, ?1)";
        self.connection.execute(replace, [body])?;
        Ok(())
    }

    /// Stores what did not come from the journal: all of it, or nothing.
    pub fn store_rows(&mut self, rows: &[EventRow]) -> Result<(), DatabaseError> {
        let transaction = self.begin()?;
        for row in rows {
            insert(&transaction, row)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Forgets positions of files that are gone, but not the last: it tells what was read.
    pub fn forget_positions(&mut self, there: &[u64]) -> Result<(), DatabaseError> {
        let Some(first) = there.first() else {
            return Ok(());
        };
        let delete =
            "DELETE FROM position WHERE file < ?1 AND file < (SELECT max(file) FROM position)";
        self.connection.execute(delete, [first.cast_signed()])?;
        Ok(())
    }

    /// Removes what is older than `before_ms`, and the oldest above [`EVENTS_MAX`]; a bounded number at a time. Says how many.
    pub fn retain(&mut self, before_ms: u64) -> Result<usize, DatabaseError> {
        let old = "DELETE FROM event WHERE number IN (SELECT number FROM event WHERE time_ms < ?1 LIMIT ?2)";
        let at_once = EVENTS_REMOVED_AT_ONCE;
        let removed = self
            .connection
            .execute(old, params![before_ms.cast_signed(), at_once])?;
        let many = "DELETE FROM event WHERE number IN \
                    (SELECT number FROM event WHERE number <= (SELECT max(number) FROM event) - ?1 LIMIT ?2)";
        Ok(removed
            + self
                .connection
                .execute(many, params![EVENTS_MAX, at_once])?)
    }

    /// Forgets the status of terminals that are gone.
    pub fn retain_terminals(&mut self, there: impl Fn(&str) -> bool) -> Result<(), DatabaseError> {
        let transaction = self.begin()?;
        let gone: Vec<String> = {
            let mut statement = transaction.prepare_cached("SELECT terminal FROM status")?;
            let terminals = statement.query_map([], |row| row.get::<_, String>(0))?;
            let gone = terminals.filter(|terminal| !matches!(terminal, Ok(id) if there(id)));
            gone.collect::<Result<_, _>>()?
        };
        for terminal in gone {
            transaction.execute("DELETE FROM status WHERE terminal = ?1", [terminal])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The number of the last event; 0: there was none.
    pub fn last(&self) -> Result<i64, DatabaseError> {
        let last = "SELECT seq FROM sqlite_sequence WHERE name = 'event'";
        let last = self.connection.query_row(last, [], |row| row.get(0));
        Ok(last.optional()?.unwrap_or(0))
    }

    /// Up to `count` events: the newest first, or, with `after`, the oldest first.
    pub fn events(&self, filter: &Filter, count: u32) -> Result<Vec<EventRow>, DatabaseError> {
        let mut sql = format!("SELECT {COLUMNS} FROM event WHERE 1");
        let mut values = Vec::<SqlValue>::new();
        let text = |text: &Option<String>| text.clone().map(SqlValue::from);
        let time = |time: Option<u64>| time.map(|time| SqlValue::from(time.cast_signed()));
        for (column, value) in [
            ("terminal =", text(&filter.terminal)),
            ("kind =", text(&filter.kind)),
            ("time_ms >=", time(filter.since_ms)),
            ("time_ms <", time(filter.until_ms)),
            ("number <", filter.before.map(SqlValue::from)),
            ("number >", filter.after.map(SqlValue::from)),
        ] {
            if let Some(value) = value {
                values.push(value);
                // Fixed texts; what somebody asked for is bound.
                sql.push_str(&format!(" AND {column} ?{}", values.len()));
            }
        }
        let order = if filter.after.is_some() {
            "ASC"
        } else {
            "DESC"
        };
        sql.push_str(&format!(" ORDER BY number {order} LIMIT {count}"));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(rusqlite::params_from_iter(values), event_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What is known of a terminal.
    pub fn status(&self, terminal: &str) -> Result<Option<Status>, DatabaseError> {
        status(&self.connection, terminal)
    }

    /// What the engine said last of itself.
    pub fn engine(&self) -> Result<Option<Engine>, DatabaseError> {
        let row = self
            .connection
            .query_row("SELECT time_ms, stopped FROM engine", [], |row| {
                Ok((
                    row.get::<_, i64>(0)?.cast_unsigned(),
                    row.get::<_, bool>(1)?,
                ))
            });
        Ok(row.optional()?.map(|(time_ms, stopped)| match stopped {
            true => Engine::Stopped(time_ms),
            false => Engine::Started(time_ms),
        }))
    }

    fn begin(&mut self) -> Result<Transaction<'_>, DatabaseError> {
        Ok(self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

fn insert(connection: &Connection, row: &EventRow) -> Result<(), DatabaseError> {
    let insert = "INSERT INTO event (time_ms, kind, terminal, name, mac, address, server, source, details) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.prepare_cached(insert)?.execute(params![
        row.time_ms.cast_signed(),
        row.kind,
        row.terminal,
        row.name,
        row.mac,
        row.address,
        row.server,
        row.source,
        row.details.to_string(),
    ])?;
    Ok(())
}

/// Events are missing before this time, and nobody knows which.
fn miss(connection: &Connection, until_ms: u64) -> Result<(), DatabaseError> {
    let later = "UPDATE known SET since_ms = max(since_ms, ?1)";
    connection.execute(later, [until_ms.cast_signed()])?;
    Ok(())
}

fn note_position(connection: &Connection, position: Position) -> Result<(), DatabaseError> {
    let replace = "INSERT OR REPLACE INTO position (file, read_to) VALUES (?1, ?2)";
    connection.prepare_cached(replace)?.execute(params![
        position.file.cast_signed(),
        position.offset.cast_signed()
    ])?;
    Ok(())
}

fn status(connection: &Connection, terminal: &str) -> Result<Option<Status>, DatabaseError> {
    let select = "SELECT body FROM status WHERE terminal = ?1";
    let mut statement = connection.prepare_cached(select)?;
    let body: Option<String> = statement
        .query_row([terminal], |row| row.get(0))
        .optional()?;
    // What another version wrote and this one does not understand is learned anew.
    Ok(body.and_then(|body| serde_json::from_str(&body).ok()))
}

fn event_row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    let details: String = row.get(9)?;
    Ok(EventRow {
        number: row.get(0)?,
        time_ms: row.get::<_, i64>(1)?.cast_unsigned(),
        kind: row.get(2)?,
        terminal: row.get(3)?,
        name: row.get(4)?,
        mac: row.get(5)?,
        address: row.get(6)?,
        server: row.get(7)?,
        source: row.get(8)?,
        details: serde_json::from_str(&details).unwrap_or_default(),
    })
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use daybreak_store::journal::Cause;

    use super::*;

    #[test]
    fn events_that_were_lost_are_known_to_be_missing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events.db");
        let mut book = Book::open(&path).expect("made");
        let since = |book: &Book| book.known_since_ms().expect("read");
        assert_eq!(since(&book), None);
        book.begin_to_know(0).expect("written");
        // Once.
        book.begin_to_know(7).expect("written");
        assert_eq!(since(&book), Some(0));
        let at = |time_ms, what| Event { time_ms, what };
        let lost = What::Lost {
            events: 3,
            cause: Cause::Disk,
        };
        let events = [
            at(10, What::EngineStopped),
            at(20, lost.clone()),
            at(30, What::EngineStopped),
        ];
        book.store(&events, Position::start_of(1)).expect("stored");
        assert_eq!(since(&book), Some(20));
        let gap = EventRow::files_lost(50, 2);
        book.store_gap(&gap, Position::start_of(4)).expect("stored");
        drop(book);
        // A clock that was set back makes it no longer ago.
        let mut book = Book::open(&path).expect("opened");
        book.store(&[at(40, lost)], Position::start_of(5))
            .expect("stored");
        assert_eq!(since(&book), Some(50));
    }
}
