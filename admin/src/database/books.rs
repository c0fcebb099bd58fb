//! The books of the synchronization, written with every change: how far the log is, what was taken in of others, the sum of
//! all rows, the marks of positions, the clock.
//!
//! They are in memory, too: only this process writes. What is in memory is what was committed, but for what the other server has
//! confirmed, which goes along with the next commit.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use daybreak_sync::host::{Trace, Write};
use daybreak_sync::limits::MARKS_MAX;
use daybreak_sync::{Book, Digest, Head, Heads, HybridClock, Mark, NodeId, Stamp};

use super::rows::{latest_stamp, read_node, select, write};
use super::{AuditRow, Database, DatabaseError, FileRow, audit, files};

/// What one transaction writes: all of it, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'c> {
    /// The books as they are then.
    pub book: &'c Book,
    /// The clock as it is then.
    pub clock: HybridClock,
    /// Rows, in their order.
    pub writes: &'c [Write],
    /// Who changed what.
    pub audit: &'c [AuditRow],
    /// Files of which the catalog and the rows agree from now on.
    pub files: &'c [FileRow],
    /// The wall clock.
    pub now_ms: u64,
}

impl Database {
    /// The books.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The clock that goes on from the last stamp.
    #[must_use]
    pub fn clock(&self) -> HybridClock {
        self.clock
    }

    /// What is known of this position of the log.
    pub fn trace(&self, position: u64) -> Result<Trace, DatabaseError> {
        let mark = "SELECT mark FROM mark WHERE position = ?1";
        let mut statement = self.connection.prepare_cached(mark)?;
        let mark = statement.query_row([position.cast_signed()], |row| row.get(0));
        if let Some(mark) = mark.optional()? {
            return Ok(Trace::Mark(Mark(mark)));
        }
        let oldest = "SELECT min(position) FROM mark";
        let mut statement = self.connection.prepare_cached(oldest)?;
        let oldest: Option<i64> = statement.query_row([], |row| row.get(0))?;
        let is_older = oldest.is_some_and(|oldest| position < oldest.cast_unsigned());
        Ok(if is_older {
            Trace::TooOld
        } else {
            Trace::Never
        })
    }

    /// Writes all of it, or nothing. On return it is on the disk.
    pub fn commit(&mut self, commit: &Commit<'_>) -> Result<(), DatabaseError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for change in commit.writes {
            write(&transaction, change, commit.now_ms)?;
            if let Write::Put { head, .. } = change {
                put_mark(&transaction, *head)?;
            }
        }
        for row in commit.audit {
            audit::note(&transaction, row)?;
        }
        for row in commit.files {
            files::put(&transaction, row)?;
        }
        put_book(&transaction, commit.book, commit.clock)?;
        transaction.commit()?;
        self.book = commit.book.clone();
        self.clock = commit.clock;
        Ok(())
    }

    /// The other server holds this much of the log. It is written with the next commit.
    pub fn confirm(&mut self, head: Head) {
        self.book.confirm(head);
    }

    /// Forgets objects that were deleted until then, as far as they may be, and marks that nobody asks for any more. Says how
    /// many objects.
    pub fn forget_deleted(&mut self, until_ms: u64, now_ms: u64) -> Result<usize, DatabaseError> {
        let mut book = self.book.clone();
        let mut writes = Vec::new();
        for (row, position) in self.deleted_until(until_ms)? {
            if book.may_forget(&row) {
                book.forget_delete(position);
                writes.push(Write::Forget(row.key));
            }
        }
        if !writes.is_empty() {
            self.commit(&Commit {
                book: &book,
                clock: self.clock,
                writes: &writes,
                audit: &[],
                files: &[],
                now_ms,
            })?;
        }
        Ok(writes.len())
    }
}

/// Begins the books of a database that has none: a new one, or one of a time when there was no synchronization.
pub(super) fn begin_if_none(connection: &mut Connection) -> Result<(), DatabaseError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let there: bool =
        transaction.query_row("SELECT EXISTS (SELECT 1 FROM book)", [], |row| row.get(0))?;
    if there {
        return Ok(());
    }
    let (node, change): (NodeId, i64) =
        transaction.query_row("SELECT id, change FROM node", [], |row| {
            Ok((read_node(row, 0)?, row.get(1)?))
        })?;
    let mut book = Book::new(node);
    // Nobody has been told of an older position.
    let start = Head {
        position: change.cast_unsigned(),
        ..book.head()
    };
    book.heads.advance(node, start);
    for row in select(&transaction, "", [], usize::MAX)? {
        book.digest = book.digest.with(Digest::of(&row));
        let mut statement = transaction
            .prepare_cached("UPDATE object SET digest = ?3 WHERE kind = ?1 AND id = ?2")?;
        let digest = Digest::whole(&row).to_bytes();
        statement.execute(params![row.key.kind(), row.key.id(), digest])?;
    }
    let (time_ms, counter) = latest_stamp(&transaction)?;
    let clock = HybridClock::after(Stamp {
        time_ms,
        counter,
        node,
    });
    put_book(&transaction, &book, clock)?;
    // From now on the head of its own log says it.
    transaction.execute_batch("ALTER TABLE node DROP COLUMN change")?;
    transaction.commit()?;
    Ok(())
}

/// The books and the clock, as they were committed.
pub(super) fn read_book(connection: &Connection) -> Result<(Book, HybridClock), DatabaseError> {
    let node = connection.query_row("SELECT id FROM node", [], |row| read_node(row, 0))?;
    let heads: Heads = connection
        .prepare("SELECT node, position, mark FROM head")?
        .query_map([], |row| Ok((read_node(row, 0)?, read_head(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    let query = "SELECT epoch, digest, confirmed, confirmed_mark, heard_node, heard, heard_mark, floor, clock_ms,
         clock_counter FROM book";
    connection
        .query_row(query, [], |row| {
            let heard_node: Option<String> = row.get(4)?;
            let heard_node = heard_node.map(|_| read_node(row, 4)).transpose()?;
            let heard = read_head(row, 5)?;
            let book = Book {
                node,
                epoch: row.get::<_, i64>(0)?.cast_unsigned(),
                heads,
                digest: Digest::from_bytes(row.get(1)?),
                confirmed: read_head(row, 2)?,
                heard: heard_node.map(|node| (node, heard)),
                floor: row.get::<_, i64>(7)?.cast_unsigned(),
            };
            let clock = HybridClock::after(Stamp {
                time_ms: row.get::<_, i64>(8)?.cast_unsigned(),
                counter: row.get(9)?,
                node,
            });
            Ok((book, clock))
        })
        .map_err(DatabaseError::from)
}

fn read_head(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Head> {
    Ok(Head {
        position: row.get::<_, i64>(at)?.cast_unsigned(),
        mark: Mark(row.get(at + 1)?),
    })
}

fn put_book(
    transaction: &Transaction<'_>,
    book: &Book,
    clock: HybridClock,
) -> Result<(), DatabaseError> {
    let mut statement = transaction.prepare_cached("UPDATE node SET id = ?1 WHERE id <> ?1")?;
    statement.execute([book.node.to_string()])?;
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO book
         (only, epoch, digest, confirmed, confirmed_mark, heard_node, heard, heard_mark, floor, clock_ms, clock_counter)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let heard = book.heard.map(|(_, head)| head).unwrap_or_default();
    statement.execute(params![
        book.epoch.cast_signed(),
        book.digest.to_bytes(),
        book.confirmed.position.cast_signed(),
        book.confirmed.mark.0,
        book.heard.map(|(node, _)| node.to_string()),
        heard.position.cast_signed(),
        heard.mark.0,
        book.floor.cast_signed(),
        clock.last().time_ms.cast_signed(),
        clock.last().counter,
    ])?;
    let mut statement = transaction
        .prepare_cached("INSERT OR REPLACE INTO head (node, position, mark) VALUES (?1, ?2, ?3)")?;
    for (node, head) in book.heads.iter() {
        statement.execute(params![
            node.to_string(),
            head.position.cast_signed(),
            head.mark.0
        ])?;
    }
    put_mark(transaction, book.head())?;
    // What is older was checked when it was told, or is of a server that was away for too long.
    let kept = book.head().position.saturating_sub(MARKS_MAX as u64);
    let oldest = book.confirmed.position.max(kept);
    let mut statement = transaction.prepare_cached("DELETE FROM mark WHERE position < ?1")?;
    statement.execute([oldest.cast_signed()])?;
    Ok(())
}

fn put_mark(transaction: &Transaction<'_>, head: Head) -> Result<(), DatabaseError> {
    let mut statement = transaction
        .prepare_cached("INSERT OR REPLACE INTO mark (position, mark) VALUES (?1, ?2)")?;
    statement.execute(params![head.position.cast_signed(), head.mark.0])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use daybreak_sync::host::{Batch, take_in};
    use daybreak_sync::{Body, Dot, ObjectKey, Row, Value, Version};

    use super::*;
    use crate::edge::Machine;

    /// Rows as another server sends them.
    fn theirs(count: u64) -> Vec<Row> {
        let node = NodeId::from_random([9; 8]);
        let row = |number| {
            let value = Value {
                dot: Dot { node, number },
                stamp: Stamp {
                    time_ms: number,
                    counter: 0,
                    node,
                },
                late: false,
                body: Some(Body {
                    octets: vec![b'x'; 1000].into(),
                    images: [].into(),
                }),
            };
            let key = ObjectKey::parse("terminal", &format!("{number:04}")).expect("a key");
            let version = Version::default().followed_by(node, number);
            Row::new(key, version, vec![value]).expect("a row")
        };
        (1..=count).map(row).collect()
    }

    fn taken_in(database: &mut Database, rows: &[Row]) -> Result<(), DatabaseError> {
        let mut book = database.book().clone();
        let batch = Batch {
            from: NodeId::from_random([9; 8]),
            late: false,
            keep: false,
            rows,
            gone: &[],
            seen: &Heads::default(),
            heard: None,
            end: None,
        };
        let taken = take_in(&mut book, &batch, |key| database.row(key))?;
        database.commit(&Commit {
            book: &book,
            clock: database.clock(),
            writes: &taken.writes,
            audit: &[],
            files: &[],
            now_ms: 1,
        })
    }

    #[test]
    fn s7_s8_a_commit_that_finds_no_room_anywhere_on_its_way_has_changed_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("config.db");
        let mut database = Database::open(&path, &Machine).expect("made");
        let rows = theirs(60);
        taken_in(&mut database, &rows[..5]).expect("room");
        let (book, held) = (database.book().clone(), database.all_rows().expect("rows"));
        let pages: i64 = database
            .connection
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .expect("read");
        let mut refused = 0;
        for more in 0.. {
            database
                .connection
                .pragma_update(None, "max_page_count", pages + more)
                .expect("set");
            match taken_in(&mut database, &rows) {
                Ok(()) => break,
                Err(error) => assert!(error.is_disk_full(), "{error}"),
            }
            refused += 1;
            assert_eq!(*database.book(), book);
            assert_eq!(database.all_rows().expect("rows"), held);
            let (on_disk, _) = read_book(&database.connection).expect("read");
            assert_eq!(on_disk, book);
        }
        assert!(refused > 10, "{refused}");
        assert_eq!(database.all_rows().expect("rows"), rows);
        assert_eq!(database.book().head().position, 60);
        drop(database);
        let database = Database::open(&path, &Machine).expect("opened again");
        assert_eq!(database.all_rows().expect("rows"), rows);
        let sum = rows
            .iter()
            .map(Digest::of)
            .fold(Digest::default(), Digest::with);
        assert_eq!(database.book().digest, sum);
    }

    #[test]
    fn positions_have_marks_until_they_are_confirmed_and_none_is_made_up() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut database = Database::open(&dir.path().join("config.db"), &Machine).expect("made");
        let rows = theirs(4);
        taken_in(&mut database, &rows[..2]).expect("room");
        let told = database.book().head();
        taken_in(&mut database, &rows[2..3]).expect("room");
        assert_eq!(database.trace(2).expect("read"), Trace::Mark(told.mark));
        assert_eq!(database.trace(4).expect("read"), Trace::Never);
        database.confirm(told);
        taken_in(&mut database, &rows[3..]).expect("room");
        assert_eq!(database.trace(1).expect("read"), Trace::TooOld);
        assert_eq!(database.trace(2).expect("read"), Trace::Mark(told.mark));
        assert_eq!(database.book().confirmed, told);
    }
}
