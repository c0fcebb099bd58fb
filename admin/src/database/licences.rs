//! What is remembered of licences: which are installed, for whom, and what tells the time beside the clock.

use rusqlite::{OptionalExtension, params};

use super::{Database, DatabaseError};
use crate::licensing::{InstallationId, Summary, Witnesses};
use crate::object::{Id, NodeId};

/// What is remembered beside the licences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LicensingRow {
    /// What this store is called: the node that it was when licences were first looked at. A new life of the node changes nothing.
    pub store: NodeId,
    /// The installation that licences were last installed for.
    pub installation: InstallationId,
    /// What tells the time beside the clock.
    pub witnesses: Witnesses,
}

impl Database {
    /// Licences that were installed and not removed.
    pub fn licences(&self) -> Result<Vec<Summary>, DatabaseError> {
        let connection = &self.connection;
        let mut statement = connection.prepare_cached("SELECT summary FROM licence ORDER BY id")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let damaged = |_| DatabaseError::Damaged("a licence cannot be read".into());
        let parsed = rows.map(|text| serde_json::from_str(&text?).map_err(damaged));
        parsed.collect()
    }

    /// Remembers one, in the place of another activation of it.
    pub fn put_licence(&self, licence: &Summary) -> Result<(), DatabaseError> {
        let summary = serde_json::to_string(licence).expect("text keys and plain values");
        let put = "INSERT OR REPLACE INTO licence (id, summary) VALUES (?1, ?2)";
        self.connection
            .execute(put, params![licence.id.as_str(), summary])?;
        Ok(())
    }

    /// Forgets one.
    pub fn remove_licence(&self, id: &Id) -> Result<(), DatabaseError> {
        let remove = "DELETE FROM licence WHERE id = ?1";
        self.connection.execute(remove, [id.as_str()])?;
        Ok(())
    }

    /// What is remembered beside them.
    pub fn licensing(&self) -> Result<Option<LicensingRow>, DatabaseError> {
        let query = "SELECT store, installation, latest_ms, issued_ms, ran_ms FROM licensing";
        let row = self.connection.query_row(query, [], |row| {
            let texts = (row.get::<_, String>(0)?, row.get::<_, String>(1)?);
            let time = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let witnesses = Witnesses {
                seen_ms: time(2)?,
                issued_ms: time(3)?,
                ran_ms: time(4)?,
            };
            Ok((texts, witnesses))
        });
        let Some(((store, installation), witnesses)) = row.optional()? else {
            return Ok(None);
        };
        let damaged = || DatabaseError::Damaged("the installation cannot be read".into());
        Ok(Some(LicensingRow {
            store: NodeId::parse(&store).ok_or_else(damaged)?,
            installation: InstallationId::parse(&installation).map_err(|_| damaged())?,
            witnesses,
        }))
    }

    /// Remembers that.
    pub fn put_licensing(&self, row: &LicensingRow) -> Result<(), DatabaseError> {
        let put = "INSERT OR REPLACE INTO licensing (only, store, installation, latest_ms, issued_ms, ran_ms) VALUES (1, ?1, ?2, ?3, ?4, ?5)";
        let (store, installation) = (row.store.to_string(), row.installation.to_string());
        let witnesses = row.witnesses;
        let times = [witnesses.seen_ms, witnesses.issued_ms, witnesses.ran_ms];
        let [seen, issued, ran] = times.map(u64::cast_signed);
        self.connection
            .execute(put, params![store, installation, seen, issued, ran])?;
        Ok(())
    }
}
