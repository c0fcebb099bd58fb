//! Files as the catalog and the rows last agreed on them. They belong to this server alone: whichever of the two differs from
//! this was changed since.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};

use daybreak_sync::{ImageHash, ImageRef};

use super::{Database, DatabaseError};

/// A name, and the image that it stands for; none, if there is none any more.
pub type FileRow = (String, Option<ImageRef>);

impl Database {
    /// Every name that both know.
    pub fn files(&self) -> Result<BTreeMap<String, ImageRef>, DatabaseError> {
        let query = "SELECT name, hash, bytes FROM file";
        let mut statement = self.connection.prepare_cached(query)?;
        let files = statement.query_map([], |row| {
            let image = ImageRef {
                hash: ImageHash(row.get(1)?),
                bytes: row.get::<_, i64>(2)?.cast_unsigned(),
            };
            Ok((row.get(0)?, image))
        })?;
        Ok(files.collect::<Result<_, _>>()?)
    }
}

pub(super) fn put(
    transaction: &Transaction<'_>,
    (name, image): &FileRow,
) -> Result<(), DatabaseError> {
    match image {
        Some(image) => {
            let mut statement = transaction.prepare_cached(
                "INSERT OR REPLACE INTO file (name, hash, bytes) VALUES (?1, ?2, ?3)",
            )?;
            statement.execute(params![name, image.hash.0, image.bytes.cast_signed()])?;
        }
        None => {
            let mut statement = transaction.prepare_cached("DELETE FROM file WHERE name = ?1")?;
            statement.execute([name])?;
        }
    }
    Ok(())
}
