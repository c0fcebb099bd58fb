//! The format of the database, and the way from each older one to it.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::DatabaseError;
use crate::object::NodeId;

/// Each entry brings the format to its number, counted from 1. Entries are never changed, only added.
const STEPS: [&str; 3] = [
    "
    CREATE TABLE node (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        id TEXT NOT NULL,
        -- The number of this node's last change: given without a gap, never again.
        change INTEGER NOT NULL
    ) STRICT;

    -- A deleted object keeps its row without a body, so that its version is known.
    CREATE TABLE object (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        body TEXT,
        version TEXT NOT NULL,
        stamp_ms INTEGER NOT NULL,
        stamp_counter INTEGER NOT NULL,
        stamp_node TEXT NOT NULL,
        -- The last change of it, for those who ask what came after a number.
        change_node TEXT NOT NULL,
        change INTEGER NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX object_by_change ON object (change_node, change);

    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ms INTEGER NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        before TEXT,
        after TEXT
    ) STRICT;

    CREATE INDEX audit_by_object ON audit (kind, id, number);

    -- Node-local, like everything outside of object.
    CREATE TABLE session (
        digest BLOB PRIMARY KEY,
        user TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        seen_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE unknown_terminal (
        mac TEXT PRIMARY KEY,
        address TEXT NOT NULL,
        first_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE upload (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        blake3 TEXT,
        seen_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
];

/// Brings the database to the current format, in one transaction.
pub(super) fn migrate(connection: &mut Connection, fresh: NodeId) -> Result<(), DatabaseError> {
    bring_up_to_date(connection, &STEPS, |transaction| {
        let insert = "INSERT INTO node (only, id, change) VALUES (1, ?1, 0)";
        transaction.execute(insert, [fresh.to_string()])?;
        Ok(())
    })
}

/// Brings a database to the format that the last of `steps` makes, in one transaction; a new one gets its first rows by `begin`.
pub(crate) fn bring_up_to_date(
    connection: &mut Connection,
    steps: &[&str],
    begin: impl FnOnce(&Transaction<'_>) -> Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    let known = steps.len().cast_signed() as i64;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(DatabaseError::Newer { found, known });
    }
    let done = usize::try_from(found)
        .map_err(|_| DatabaseError::Damaged(format!("it has format {found}")))?;
    for step in &steps[done..] {
        transaction.execute_batch(step)?;
    }
    if done == 0 {
        begin(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}
