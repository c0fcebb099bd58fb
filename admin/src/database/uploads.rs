//! Rows of uploads that are not complete. They belong to this server alone; what arrived lies in the store.

use rusqlite::params;

use super::{Database, DatabaseError};
use crate::object::Id;

/// An upload that is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadRow {
    /// Which one.
    pub id: Id,
    /// The name that the file will have.
    pub name: String,
    /// How long it will be, in octets.
    pub bytes: u64,
    /// The hash that it must have, if the sender said one.
    pub blake3: Option<String>,
    /// When something of it last arrived, in milliseconds since 1970.
    pub seen_ms: u64,
}

impl Database {
    /// Every upload, the one that was used last first.
    pub fn uploads(&self) -> Result<Vec<UploadRow>, DatabaseError> {
        let query = "SELECT id, name, bytes, blake3, seen_ms FROM upload ORDER BY seen_ms DESC, id";
        let mut statement = self.connection.prepare_cached(query)?;
        let mut rows = statement.query([])?;
        let mut uploads = Vec::new();
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let damaged = |_| DatabaseError::Damaged("an upload has no identifier".into());
            uploads.push(UploadRow {
                id: Id::parse(&id).map_err(damaged)?,
                name: row.get(1)?,
                bytes: row.get::<_, i64>(2)?.cast_unsigned(),
                blake3: row.get(3)?,
                seen_ms: row.get::<_, i64>(4)?.cast_unsigned(),
            });
        }
        Ok(uploads)
    }

    /// Keeps an upload, or that something of it arrived.
    pub fn put_upload(&self, upload: &UploadRow) -> Result<(), DatabaseError> {
        let mut statement = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO upload (id, name, bytes, blake3, seen_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        statement.execute(params![
            upload.id.as_str(),
            upload.name,
            upload.bytes.cast_signed(),
            upload.blake3,
            upload.seen_ms.cast_signed()
        ])?;
        Ok(())
    }

    /// Forgets an upload.
    pub fn remove_upload(&self, id: &Id) -> Result<(), DatabaseError> {
        let mut statement = self
            .connection
            .prepare_cached("DELETE FROM upload WHERE id = ?1")?;
        statement.execute([id.as_str()])?;
        Ok(())
    }
}
