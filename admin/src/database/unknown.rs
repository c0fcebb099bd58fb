//! Rows of units that asked for something and are no terminal's. They belong to this server alone.

use rusqlite::{Row, params};

use super::{Database, DatabaseError};
use crate::kind::MacAddress;

/// A unit that asked for something and is no terminal's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRow {
    /// Its network card.
    pub mac: MacAddress,
    /// Where it asked from last.
    pub address: String,
    /// When it asked first, in milliseconds since 1970.
    pub first_ms: u64,
    /// When it asked last, to the minute.
    pub last_ms: u64,
}

impl Database {
    /// All of them, by network card.
    pub fn unknown(&self) -> Result<Vec<UnknownRow>, DatabaseError> {
        let query = "SELECT mac, address, first_ms, last_ms FROM unknown_terminal";
        let mut statement = self.connection.prepare_cached(query)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Keeps these, and forgets those that did not ask since `since_ms`: all of it, or nothing.
    pub fn put_unknown(&self, rows: &[UnknownRow], since_ms: u64) -> Result<(), DatabaseError> {
        let transaction = self.connection.unchecked_transaction()?;
        transaction.execute(
            "DELETE FROM unknown_terminal WHERE last_ms < ?1",
            [since_ms.cast_signed()],
        )?;
        for row in rows {
            let mut statement = transaction.prepare_cached(
                "INSERT OR REPLACE INTO unknown_terminal (mac, address, first_ms, last_ms) VALUES (?1, ?2, ?3, ?4)",
            )?;
            statement.execute(params![
                row.mac.to_string(),
                row.address,
                row.first_ms.cast_signed(),
                row.last_ms.cast_signed()
            ])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Forgets one.
    pub fn remove_unknown(&self, mac: MacAddress) -> Result<(), DatabaseError> {
        let delete = "DELETE FROM unknown_terminal WHERE mac = ?1";
        self.connection.execute(delete, [mac.to_string()])?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> Result<UnknownRow, DatabaseError> {
    let mac: String = row.get(0)?;
    let damaged = |_| DatabaseError::Damaged("an unknown unit has no network card".into());
    Ok(UnknownRow {
        mac: MacAddress::parse(&mac).map_err(damaged)?,
        address: row.get(1)?,
        first_ms: row.get::<_, i64>(2)?.cast_unsigned(),
        last_ms: row.get::<_, i64>(3)?.cast_unsigned(),
    })
}
