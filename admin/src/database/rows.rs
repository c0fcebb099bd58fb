//! Rows of objects and of the audit, written together.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{Database, DatabaseError, Key, Progress};
use crate::kind::{Body, Kind};
use crate::object::{Id, NodeId, Object, Stamp, Version};

/// A row of an object; without a body, it is deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub id: Id,
    /// What it says; nothing, if it is deleted.
    pub body: Option<Body>,
    /// Which edits it has seen.
    pub version: Version,
    /// When it was last changed.
    pub stamp: Stamp,
    /// Who made the last change of it, and its number there.
    pub change: (NodeId, u64),
}

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

const COLUMNS: &str =
    "kind, id, body, version, stamp_ms, stamp_counter, stamp_node, change_node, change";

pub(super) fn node(connection: &Connection) -> Result<NodeId, DatabaseError> {
    let id: String = connection.query_row("SELECT id FROM node", [], |row| row.get(0))?;
    NodeId::parse(&id).ok_or_else(|| DatabaseError::Damaged("the node has no identifier".into()))
}

impl Database {
    /// Every object that is not deleted.
    pub fn objects(&self) -> Result<Vec<Object>, DatabaseError> {
        let query = format!("SELECT {COLUMNS} FROM object WHERE body IS NOT NULL");
        let mut statement = self.connection.prepare(&query)?;
        let mut rows = statement.query([])?;
        let mut objects = Vec::new();
        while let Some(row) = rows.next()? {
            let row = read_row(row)?;
            if let Some(body) = row.body {
                objects.push(Object {
                    id: row.id,
                    body,
                    version: row.version,
                    stamp: row.stamp,
                });
            }
        }
        Ok(objects)
    }

    /// One row, deleted or not.
    pub fn row(&self, (kind, id): &Key) -> Result<Option<Row>, DatabaseError> {
        let query = format!("SELECT {COLUMNS} FROM object WHERE kind = ?1 AND id = ?2");
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut rows = statement.query(params![kind.word(), id.as_str()])?;
        rows.next()?.map(read_row).transpose()
    }

    /// Where numbering and clock go on.
    pub fn progress(&self) -> Result<Progress, DatabaseError> {
        let change: i64 = self
            .connection
            .query_row("SELECT change FROM node", [], |row| row.get(0))?;
        let latest = "SELECT stamp_ms, stamp_counter, stamp_node FROM object
            ORDER BY stamp_ms DESC, stamp_counter DESC LIMIT 1";
        let stamp = self
            .connection
            .query_row(latest, [], |row| read_stamp(row, 0))
            .optional()?;
        Ok(Progress {
            change: change.cast_unsigned(),
            stamp,
        })
    }

    /// Writes all of `rows`, each with its audit row, and the number of the last change: all of it, or nothing.
    pub fn commit(&mut self, rows: &[(Row, AuditRow)], change: u64) -> Result<(), DatabaseError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (row, audit) in rows {
            put(&transaction, row)?;
            note(&transaction, audit)?;
        }
        transaction.execute("UPDATE node SET change = ?1", [change.cast_signed()])?;
        transaction.commit()?;
        Ok(())
    }

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
}

impl Database {
    /// Writes an audit row of something that is no object.
    pub fn note(&self, audit: &AuditRow) -> Result<(), DatabaseError> {
        Ok(note(&self.connection, audit)?)
    }
}

fn put(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO object
         (kind, id, body, version, stamp_ms, stamp_counter, stamp_node, change_node, change)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let body = row.body.as_ref().map(|body| body.stored().to_string());
    let version = serde_json::to_string(&row.version).expect("a map of numbers");
    statement.execute(params![
        row.kind.word(),
        row.id.as_str(),
        body,
        version,
        row.stamp.time_ms.cast_signed(),
        row.stamp.counter,
        row.stamp.node.to_string(),
        row.change.0.to_string(),
        row.change.1.cast_signed(),
    ])?;
    Ok(())
}

fn note(transaction: &Connection, audit: &AuditRow) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
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

fn read_row(row: &rusqlite::Row<'_>) -> Result<Row, DatabaseError> {
    let (word, id): (String, String) = (row.get(0)?, row.get(1)?);
    let damaged =
        |what: &str| DatabaseError::Damaged(format!("the {what} of {word} {id} cannot be read"));
    let kind = Kind::of_word(&word).ok_or_else(|| damaged("kind"))?;
    let body = row.get::<_, Option<String>>(2)?.map(|text| {
        let json = serde_json::from_str(&text).map_err(|_| damaged("body"))?;
        Body::parse_stored(kind, &json).map_err(|fault| damaged(&format!("body ({fault})")))
    });
    let version =
        serde_json::from_str(&row.get::<_, String>(3)?).map_err(|_| damaged("version"))?;
    let change_node = NodeId::parse(&row.get::<_, String>(7)?).ok_or_else(|| damaged("node"))?;
    Ok(Row {
        kind,
        id: Id::parse(&id).map_err(|_| damaged("identifier"))?,
        body: body.transpose()?,
        version,
        stamp: read_stamp(row, 4)?,
        change: (change_node, row.get::<_, i64>(8)?.cast_unsigned()),
    })
}

fn read_stamp(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Stamp> {
    let node: String = row.get(at + 2)?;
    let node = NodeId::parse(&node).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(at + 2, Type::Text, "not a node".into())
    })?;
    Ok(Stamp {
        time_ms: row.get::<_, i64>(at)?.cast_unsigned(),
        counter: row.get(at + 1)?,
        node,
    })
}
