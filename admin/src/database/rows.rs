//! Rows of objects, as both servers keep them: what is in force, and what lost against it.
//!
//! Each row has the position of its last write in the log of this server, its digest, and who sent it. A kind or a body that
//! this version does not know is kept as it is: it may be a newer server's.

use std::collections::BTreeSet;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use daybreak_sync::host::{Changes, Write};
use daybreak_sync::{
    Body, Digest, Dot, ImageHash, ImageRef, NodeId, ObjectKey, Row, Stamp, Value, Version,
};

use super::{Database, DatabaseError};

const COLUMNS: &str = "kind, id, version, losers, change_node, change, stamp_ms, stamp_counter, stamp_node, late, body, \
     images";

/// Octets of an image as a row names it: its hash, then its length.
const IMAGE_BYTES: usize = 40;

impl Database {
    /// Every row, deleted ones left out.
    pub fn rows(&self) -> Result<Vec<Row>, DatabaseError> {
        self.select("WHERE body IS NOT NULL OR losers > 0", [], usize::MAX)
    }

    /// Every row, deleted ones too.
    pub fn all_rows(&self) -> Result<Vec<Row>, DatabaseError> {
        self.select("", [], usize::MAX)
    }

    /// One row, deleted or not.
    pub fn row(&self, key: &ObjectKey) -> Result<Option<Row>, DatabaseError> {
        let rows = self.select(
            "WHERE kind = ?1 AND id = ?2",
            params![key.kind(), key.id()],
            1,
        )?;
        Ok(rows.into_iter().next())
    }

    /// Rows of which some values lost and say something else, by their keys after this one.
    pub fn conflicts(
        &self,
        after: Option<&ObjectKey>,
        count: usize,
    ) -> Result<Vec<Row>, DatabaseError> {
        let (kind, id) = after.map_or(("", ""), |key| (key.kind(), key.id()));
        let which = "WHERE conflict = 1 AND (kind, id) > (?1, ?2) ORDER BY kind, id";
        self.select(which, params![kind, id], count)
    }

    /// How many of these there are.
    pub fn conflict_count(&self) -> Result<usize, DatabaseError> {
        let query = "SELECT count(*) FROM object WHERE conflict = 1";
        let mut statement = self.connection.prepare_cached(query)?;
        let count: i64 = statement.query_row([], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// The log after this position, until these octets are full; without what `skip` sent.
    pub fn changes(
        &self,
        after: u64,
        bytes: usize,
        skip: NodeId,
    ) -> Result<Changes, DatabaseError> {
        let query = format!(
            "SELECT {COLUMNS}, position FROM object
             WHERE position > ?1 AND (origin IS NULL OR origin <> ?2) ORDER BY position"
        );
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut found = statement.query(params![after.cast_signed(), skip.to_string()])?;
        let (mut rows, mut to, mut used) = (Vec::new(), self.book.head().position, 0);
        while let Some(found) = found.next()? {
            let row = read_row(&self.connection, found)?;
            let position = found.get::<_, i64>(12)?.cast_unsigned();
            used += octets_of(&row);
            if !rows.is_empty() && used > bytes {
                to = position - 1;
                break;
            }
            rows.push(row);
        }
        let book = self.book.clone();
        Ok(Changes { book, rows, to })
    }

    /// The digests of rows in the order of their keys.
    pub fn digests(
        &self,
        after: Option<&ObjectKey>,
        count: usize,
    ) -> Result<Vec<(ObjectKey, Digest)>, DatabaseError> {
        let (kind, id) = after.map_or(("", ""), |key| (key.kind(), key.id()));
        let mut statement = self.connection.prepare_cached(
            "SELECT kind, id, digest FROM object WHERE (kind, id) > (?1, ?2) ORDER BY kind, id LIMIT ?3",
        )?;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![kind, id, count])?;
        let mut digests = Vec::new();
        while let Some(row) = rows.next()? {
            digests.push((read_key(row)?, Digest::from_bytes(row.get(2)?)));
        }
        Ok(digests)
    }

    /// Whether a row names this image, in force or not.
    pub fn names_image(&self, image: ImageRef) -> Result<bool, DatabaseError> {
        let query = "SELECT 1 FROM image_of WHERE hash = ?1 AND bytes = ?2 LIMIT 1";
        let mut statement = self.connection.prepare_cached(query)?;
        Ok(statement.exists(params![image.hash.0, image.bytes.cast_signed()])?)
    }

    /// Every image that a row names.
    pub fn images(&self) -> Result<Vec<ImageRef>, DatabaseError> {
        let query = "SELECT DISTINCT hash, bytes FROM image_of";
        let mut statement = self.connection.prepare_cached(query)?;
        let images = statement.query_map([], |row| {
            Ok(ImageRef {
                hash: ImageHash(row.get(0)?),
                bytes: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        })?;
        Ok(images.collect::<Result<_, _>>()?)
    }

    /// Every image that a row with a conflict names: whichever of its values is chosen, it can be served.
    pub fn contested_images(&self) -> Result<BTreeSet<ImageHash>, DatabaseError> {
        let query =
            "SELECT DISTINCT hash FROM image_of JOIN object USING (kind, id) WHERE conflict = 1";
        let mut statement = self.connection.prepare_cached(query)?;
        let images = statement.query_map([], |row| Ok(ImageHash(row.get(0)?)))?;
        Ok(images.collect::<Result<_, _>>()?)
    }

    /// Deleted objects whose last write is not later than this, with its position.
    pub(super) fn deleted_until(&self, until_ms: u64) -> Result<Vec<(Row, u64)>, DatabaseError> {
        let query = format!(
            "SELECT {COLUMNS}, position FROM object WHERE body IS NULL AND written_ms <= ?1"
        );
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut found = statement.query([until_ms.cast_signed()])?;
        let mut rows = Vec::new();
        while let Some(found) = found.next()? {
            let position = found.get::<_, i64>(12)?.cast_unsigned();
            rows.push((read_row(&self.connection, found)?, position));
        }
        Ok(rows)
    }

    fn select(
        &self,
        which: &str,
        parameters: impl rusqlite::Params,
        count: usize,
    ) -> Result<Vec<Row>, DatabaseError> {
        select(&self.connection, which, parameters, count)
    }
}

/// Rows of a connection that may not be a whole database yet.
pub(super) fn select(
    connection: &Connection,
    which: &str,
    parameters: impl rusqlite::Params,
    count: usize,
) -> Result<Vec<Row>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM object {which}");
    let mut statement = connection.prepare_cached(&query)?;
    let mut found = statement.query(parameters)?;
    let mut rows = Vec::new();
    while rows.len() < count
        && let Some(found) = found.next()?
    {
        rows.push(read_row(connection, found)?);
    }
    Ok(rows)
}

/// What a row takes in a message, about.
fn octets_of(row: &Row) -> usize {
    let of_value = |value: &Value| {
        let body = value.body.as_ref();
        body.map_or(64, |body| {
            body.octets.len() + IMAGE_BYTES * body.images.len() + 64
        })
    };
    row.version.iter().len() * 16 + row.values().iter().map(of_value).sum::<usize>()
}

/// Stores one write of a row, made at `now_ms`.
pub(super) fn write(
    transaction: &Transaction<'_>,
    write: &Write,
    now_ms: u64,
) -> Result<(), DatabaseError> {
    let (row, head, origin) = match write {
        Write::Put { row, head, origin } => (row, head, origin),
        Write::Forget(key) => {
            forget_values(transaction, key)?;
            let delete = "DELETE FROM object WHERE kind = ?1 AND id = ?2";
            let mut statement = transaction.prepare_cached(delete)?;
            statement.execute(params![key.kind(), key.id()])?;
            return Ok(());
        }
    };
    forget_values(transaction, &row.key)?;
    let (first, losers) = row.values().split_first().expect("a row has a value");
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO object
         (kind, id, version, losers, change_node, change, stamp_ms, stamp_counter, stamp_node, late, body, images,
          position, origin, written_ms, conflict, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    let (body, images) = stored(first)?;
    statement.execute(params![
        row.key.kind(),
        row.key.id(),
        serde_json::to_string(&row.version).expect("a map of numbers"),
        losers.len().cast_signed() as i64,
        first.dot.node.to_string(),
        first.dot.number.cast_signed(),
        first.stamp.time_ms.cast_signed(),
        first.stamp.counter,
        first.stamp.node.to_string(),
        first.late,
        body,
        images,
        head.position.cast_signed(),
        origin.map(|origin| origin.to_string()),
        now_ms.cast_signed(),
        row.conflicts().next().is_some(),
        Digest::whole(row).to_bytes(),
    ])?;
    for (rank, value) in losers.iter().enumerate() {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO loser
             (kind, id, rank, change_node, change, stamp_ms, stamp_counter, stamp_node, late, body, images)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        let (body, images) = stored(value)?;
        statement.execute(params![
            row.key.kind(),
            row.key.id(),
            rank.cast_signed() as i64,
            value.dot.node.to_string(),
            value.dot.number.cast_signed(),
            value.stamp.time_ms.cast_signed(),
            value.stamp.counter,
            value.stamp.node.to_string(),
            value.late,
            body,
            images,
        ])?;
    }
    let bodies = row.values().iter().filter_map(|value| value.body.as_ref());
    for image in bodies.flat_map(|body| body.images.iter()) {
        let mut statement = transaction.prepare_cached(
            "INSERT OR IGNORE INTO image_of (hash, bytes, kind, id) VALUES (?1, ?2, ?3, ?4)",
        )?;
        let bytes = image.bytes.cast_signed();
        statement.execute(params![image.hash.0, bytes, row.key.kind(), row.key.id()])?;
    }
    Ok(())
}

/// The values beyond the first, and which images there are.
fn forget_values(transaction: &Transaction<'_>, key: &ObjectKey) -> Result<(), DatabaseError> {
    for delete in [
        "DELETE FROM loser WHERE kind = ?1 AND id = ?2",
        "DELETE FROM image_of WHERE kind = ?1 AND id = ?2",
    ] {
        let mut statement = transaction.prepare_cached(delete)?;
        statement.execute(params![key.kind(), key.id()])?;
    }
    Ok(())
}

type Stored<'v> = (Option<&'v str>, Vec<u8>);

fn stored(value: &Value) -> Result<Stored<'_>, DatabaseError> {
    let Some(body) = &value.body else {
        return Ok((None, Vec::new()));
    };
    let text = std::str::from_utf8(&body.octets)
        .map_err(|_| DatabaseError::Refused("a body that is no text".into()))?;
    let mut images = Vec::with_capacity(body.images.len() * IMAGE_BYTES);
    for image in &*body.images {
        images.extend_from_slice(&image.hash.0);
        images.extend_from_slice(&image.bytes.to_be_bytes());
    }
    Ok((Some(text), images))
}

fn read_row(connection: &Connection, row: &rusqlite::Row<'_>) -> Result<Row, DatabaseError> {
    let key = read_key(row)?;
    let damaged =
        |what: &str| DatabaseError::Damaged(format!("the {what} of {key} cannot be read"));
    let version: Version =
        serde_json::from_str(&row.get::<_, String>(2)?).map_err(|_| damaged("version"))?;
    let mut values = vec![read_value(row, 4)?];
    if row.get::<_, i64>(3)? > 0 {
        let mut statement = connection.prepare_cached(
            "SELECT change_node, change, stamp_ms, stamp_counter, stamp_node, late, body, images FROM loser
             WHERE kind = ?1 AND id = ?2 ORDER BY rank",
        )?;
        let mut losers = statement.query(params![key.kind(), key.id()])?;
        while let Some(loser) = losers.next()? {
            values.push(read_value(loser, 0)?);
        }
    }
    Row::new(key.clone(), version, values).ok_or_else(|| damaged("values"))
}

fn read_key(row: &rusqlite::Row<'_>) -> Result<ObjectKey, DatabaseError> {
    let (kind, id): (String, String) = (row.get(0)?, row.get(1)?);
    ObjectKey::parse(&kind, &id)
        .ok_or_else(|| DatabaseError::Damaged(format!("{kind} {id} is no name of an object")))
}

fn read_value(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Value> {
    let octets: Option<String> = row.get(at + 6)?;
    let images: Vec<u8> = row.get(at + 7)?;
    let (images, _) = images.as_chunks::<IMAGE_BYTES>();
    let image = |octets: &[u8; IMAGE_BYTES]| {
        let (hash, bytes) = octets.split_at(32);
        ImageRef {
            hash: ImageHash(hash.try_into().expect("32 octets")),
            bytes: u64::from_be_bytes(bytes.try_into().expect("8 octets")),
        }
    };
    Ok(Value {
        dot: Dot {
            node: read_node(row, at)?,
            number: row.get::<_, i64>(at + 1)?.cast_unsigned(),
        },
        stamp: Stamp {
            time_ms: row.get::<_, i64>(at + 2)?.cast_unsigned(),
            counter: row.get(at + 3)?,
            node: read_node(row, at + 4)?,
        },
        late: row.get(at + 5)?,
        body: octets.map(|octets| Body {
            octets: octets.into_bytes().into(),
            images: images.iter().map(image).collect(),
        }),
    })
}

/// A column that holds a node.
pub(super) fn read_node(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<NodeId> {
    let node: String = row.get(at)?;
    NodeId::parse(&node).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(at, Type::Text, "not a node".into())
    })
}

/// The greatest stamp of a database that does not keep its clock yet.
pub(super) fn latest_stamp(connection: &Connection) -> Result<(u64, u32), DatabaseError> {
    let latest = "SELECT stamp_ms, stamp_counter FROM object ORDER BY stamp_ms DESC, stamp_counter DESC LIMIT 1";
    let found = connection.query_row(latest, [], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
    });
    Ok(found.optional()?.unwrap_or_default())
}
