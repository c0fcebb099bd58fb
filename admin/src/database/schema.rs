//! The format of the database, and the way from each older one to it.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::DatabaseError;
use crate::object::NodeId;

/// Each entry brings the format to its number, counted from 1. Entries are never changed, only added.
const STEPS: [&str; 7] = [
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
    "
    -- A row as both servers keep it: the value in force is in object itself, those that lost against it are in loser.
    ALTER TABLE object ADD COLUMN late INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE object ADD COLUMN images BLOB NOT NULL DEFAULT x'';
    -- Where its last write is in the log of this server, whoever made the edit.
    ALTER TABLE object ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
    -- Who sent exactly this, and need not be told.
    ALTER TABLE object ADD COLUMN origin TEXT;
    ALTER TABLE object ADD COLUMN written_ms INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE object ADD COLUMN losers INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE object ADD COLUMN conflict INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE object ADD COLUMN digest BLOB NOT NULL DEFAULT x'';
    UPDATE object SET position = change, written_ms = stamp_ms;
    DROP INDEX object_by_change;
    CREATE INDEX object_by_position ON object (position);
    CREATE INDEX object_in_conflict ON object (conflict) WHERE conflict = 1;
    CREATE INDEX object_deleted ON object (written_ms) WHERE body IS NULL;

    CREATE TABLE loser (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        rank INTEGER NOT NULL,
        change_node TEXT NOT NULL,
        change INTEGER NOT NULL,
        stamp_ms INTEGER NOT NULL,
        stamp_counter INTEGER NOT NULL,
        stamp_node TEXT NOT NULL,
        late INTEGER NOT NULL,
        body TEXT,
        images BLOB NOT NULL,
        PRIMARY KEY (kind, id, rank)
    ) STRICT, WITHOUT ROWID;

    -- The images that rows name, in force or not.
    CREATE TABLE image_of (
        hash BLOB NOT NULL,
        bytes INTEGER NOT NULL,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (hash, bytes, kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_by_object ON image_of (kind, id);

    CREATE TABLE book (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        epoch INTEGER NOT NULL,
        digest BLOB NOT NULL,
        confirmed INTEGER NOT NULL,
        confirmed_mark BLOB NOT NULL,
        heard_node TEXT,
        heard INTEGER NOT NULL,
        heard_mark BLOB NOT NULL,
        floor INTEGER NOT NULL,
        clock_ms INTEGER NOT NULL,
        clock_counter INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE head (
        node TEXT PRIMARY KEY,
        position INTEGER NOT NULL,
        mark BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE mark (
        position INTEGER PRIMARY KEY,
        mark BLOB NOT NULL
    ) STRICT;

    -- Files as the catalog and the rows last agreed on them. Node-local.
    CREATE TABLE file (
        name TEXT PRIMARY KEY,
        hash BLOB NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Licences that are installed, so that a file that gets lost is missed.
    CREATE TABLE licence (
        id TEXT PRIMARY KEY,
        summary TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE licensing (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        -- What this store is called since it was made, whatever becomes of the node.
        store TEXT NOT NULL,
        installation TEXT NOT NULL,
        -- The latest time that was seen, and that of the newest activation.
        latest_ms INTEGER NOT NULL,
        issued_ms INTEGER NOT NULL
    ) STRICT;
",
    "
    -- How each schedule ran last on this server.
    CREATE TABLE schedule_run (
        schedule TEXT PRIMARY KEY,
        due_ms INTEGER NOT NULL,
        started_ms INTEGER NOT NULL,
        finished_ms INTEGER,
        backup TEXT,
        error TEXT
    ) STRICT, WITHOUT ROWID;
",
    "
    -- How long this server has run since the newest activation.
    ALTER TABLE licensing ADD COLUMN ran_ms INTEGER NOT NULL DEFAULT 0;
",
];

/// Refuses a database that this version cannot read.
pub(super) fn check(connection: &Connection) -> Result<(), DatabaseError> {
    let known = STEPS.len().cast_signed() as i64;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        0 => Err(DatabaseError::Damaged("it has no format".into())),
        found if found > known => Err(DatabaseError::Newer { found, known }),
        _ => Ok(()),
    }
}

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

#[cfg(test)]
mod tests {
    use daybreak_sync::ObjectKey;

    use super::*;
    use crate::database::{Database, open_file};
    use crate::edge::Machine;

    /// The number of steps before there was a synchronization.
    const ALONE: usize = 3;

    #[test]
    fn a_database_of_before_the_pair_loses_nothing_and_gets_books() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config.db");
        let node = NodeId::from_random([7; 8]);
        let mut connection = open_file(&path).expect("made");
        bring_up_to_date(&mut connection, &STEPS[..ALONE], |transaction| {
            let insert = "INSERT INTO node (only, id, change) VALUES (1, ?1, 3)";
            transaction.execute(insert, [node.to_string()])?;
            Ok(())
        })
        .expect("an old format");
        for (id, body, change) in [
            ("one", Some(r#"{"key":"event-days","value":7}"#), 3),
            ("gone", None, 2),
        ] {
            let row = "INSERT INTO object VALUES ('setting', ?1, ?2, ?3, 1000, 0, ?4, ?4, ?5)";
            let version = format!(r#"{{"{node}":{change}}}"#);
            let node = node.to_string();
            let inserted =
                connection.execute(row, rusqlite::params![id, body, version, node, change]);
            inserted.expect("inserted");
        }
        drop(connection);

        let book = {
            let database = Database::open(&path, &Machine).expect("brought up to date");
            assert_eq!(database.node(), node);
            assert_eq!(database.book().head().position, 3);
            assert_eq!(database.rows().expect("rows").len(), 1);
            assert_eq!(database.all_rows().expect("rows").len(), 2);
            let key = ObjectKey::parse("setting", "one").expect("a key");
            let row = database.row(&key).expect("read").expect("there");
            assert_eq!(
                (row.values()[0].dot.node, row.values()[0].dot.number),
                (node, 3)
            );
            let digests = database.digests(None, 10).expect("digests");
            assert_eq!(digests[1].1, daybreak_sync::Digest::whole(&row));
            assert_eq!(database.clock().last().time_ms, 1000);
            let all = database
                .changes(0, usize::MAX, NodeId::from_random([8; 8]))
                .expect("the log");
            assert_eq!((all.rows.len(), all.to), (2, 3));
            database.book().clone()
        };
        let again = Database::open(&path, &Machine).expect("opened again");
        assert_eq!(*again.book(), book);
    }
}
