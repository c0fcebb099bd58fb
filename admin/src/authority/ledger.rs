//! What was issued, to whom and when: `ledger.db`, SQLite. A row of an activation is never changed.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::database::{DatabaseError, bring_up_to_date, open_file};
use crate::licensing::{InstallationId, KeyId, ProductLicence, Redundancy};
use crate::limits::DATABASE_WAIT;
use crate::object::{Id, IdError};

/// Each entry brings the format to its number. Entries are never changed, only added.
const STEPS: [&str; 1] = ["
    -- The last row is the key that signs.
    CREATE TABLE key (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        since_ms INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE master (
        id TEXT PRIMARY KEY,
        customer TEXT NOT NULL,
        redundancy TEXT NOT NULL,
        valid_from_ms INTEGER NOT NULL,
        valid_until_ms INTEGER,
        products TEXT NOT NULL,
        changed_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE activation (
        master TEXT NOT NULL REFERENCES master (id),
        number INTEGER NOT NULL,
        installations TEXT NOT NULL,
        issued_ms INTEGER NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (master, number)
    ) STRICT, WITHOUT ROWID;
"];

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database.
    #[error("the ledger: {0}")]
    Database(#[from] DatabaseError),
    /// SQLite says no.
    #[error("the ledger cannot be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row is not what was written.
    #[error("the ledger is damaged")]
    Damaged,
    /// A name cannot be one.
    #[error(transparent)]
    Id(#[from] IdError),
}

/// A master licence, with the product licences in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Which one.
    pub id: Id,
    /// Whose it is.
    pub customer: String,
    /// What it allows two servers.
    pub redundancy: Redundancy,
    /// Since when it holds, in milliseconds since 1970.
    pub valid_from_ms: u64,
    /// Until when.
    pub valid_until_ms: Option<u64>,
    /// What is in it.
    pub products: Vec<ProductLicence>,
}

/// One issue of a master licence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Counted from 1 within its master licence.
    pub number: u32,
    /// For whom.
    pub installations: Vec<InstallationId>,
    /// When, in milliseconds since 1970.
    pub issued_ms: u64,
    /// The file.
    pub text: String,
}

/// The open ledger.
pub(super) struct Ledger(Mutex<Connection>);

impl Ledger {
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        let mut connection = open_file(path)?;
        connection.busy_timeout(DATABASE_WAIT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "trusted_schema", "off")?;
        bring_up_to_date(&mut connection, &STEPS, |_| Ok(()))?;
        Ok(Ledger(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic under the lock happened before a commit or after it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn use_key(&self, id: KeyId, now_ms: u64) -> Result<(), LedgerError> {
        let put = "INSERT INTO key (id, since_ms) VALUES (?1, ?2)";
        self.connection()
            .execute(put, params![id.to_string(), now_ms.cast_signed()])?;
        Ok(())
    }

    /// The key that signs.
    pub(super) fn key(&self) -> Result<Option<KeyId>, LedgerError> {
        let query = "SELECT id FROM key ORDER BY number DESC LIMIT 1";
        let id = self
            .connection()
            .query_row(query, [], |row| row.get::<_, String>(0))
            .optional()?;
        id.map(|id| KeyId::try_from(id).map_err(|_| LedgerError::Damaged))
            .transpose()
    }

    pub(super) fn put_master(&self, master: &Master, now_ms: u64) -> Result<(), LedgerError> {
        let put = "INSERT INTO master (id, customer, redundancy, valid_from_ms, valid_until_ms, products, changed_ms)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (id) DO UPDATE SET products = ?6, changed_ms = ?7";
        let products = serde_json::to_string(&master.products).map_err(|_| LedgerError::Damaged)?;
        self.connection().execute(
            put,
            params![
                master.id.as_str(),
                master.customer,
                master.redundancy.word(),
                master.valid_from_ms.cast_signed(),
                master.valid_until_ms.map(u64::cast_signed),
                products,
                now_ms.cast_signed(),
            ],
        )?;
        Ok(())
    }

    pub(super) fn masters(&self) -> Result<Vec<Master>, LedgerError> {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!("{MASTER} ORDER BY customer, id"))?;
        let mut rows = statement.query([])?;
        let mut masters = Vec::new();
        while let Some(row) = rows.next()? {
            masters.push(master(row)?);
        }
        Ok(masters)
    }

    pub(super) fn master(&self, id: &Id) -> Result<Option<Master>, LedgerError> {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!("{MASTER} WHERE id = ?1"))?;
        let mut rows = statement.query([id.as_str()])?;
        rows.next()?.map(master).transpose()
    }

    pub(super) fn activations(&self, id: &Id) -> Result<Vec<Activation>, LedgerError> {
        let connection = self.connection();
        let query = "SELECT number, installations, issued_ms, text FROM activation WHERE master = ?1 ORDER BY number DESC";
        let mut statement = connection.prepare(query)?;
        let mut rows = statement.query([id.as_str()])?;
        let mut activations = Vec::new();
        while let Some(row) = rows.next()? {
            let installations: String = row.get(1)?;
            activations.push(Activation {
                number: row.get(0)?,
                installations: serde_json::from_str(&installations)
                    .map_err(|_| LedgerError::Damaged)?,
                issued_ms: row.get::<_, i64>(2)?.cast_unsigned(),
                text: row.get(3)?,
            });
        }
        Ok(activations)
    }

    /// Writes the next activation, which `make` makes of its number; nothing, if that refuses.
    pub(super) fn issue<E>(
        &self,
        id: &Id,
        make: impl FnOnce(u32) -> Result<Activation, E>,
    ) -> Result<Result<Activation, E>, LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let last = "SELECT coalesce(max(number), 0) FROM activation WHERE master = ?1";
        let last: u32 = transaction.query_row(last, [id.as_str()], |row| row.get(0))?;
        let activation = match make(last + 1) {
            Ok(activation) => activation,
            Err(error) => return Ok(Err(error)),
        };
        let installations =
            serde_json::to_string(&activation.installations).map_err(|_| LedgerError::Damaged)?;
        let put = "INSERT INTO activation (master, number, installations, issued_ms, text) VALUES (?1, ?2, ?3, ?4, ?5)";
        let issued_ms = activation.issued_ms.cast_signed();
        transaction.execute(
            put,
            params![
                id.as_str(),
                activation.number,
                installations,
                issued_ms,
                activation.text
            ],
        )?;
        transaction.commit()?;
        Ok(Ok(activation))
    }
}

const MASTER: &str =
    "SELECT id, customer, redundancy, valid_from_ms, valid_until_ms, products FROM master";

fn master(row: &Row<'_>) -> Result<Master, LedgerError> {
    let redundancy: String = row.get(2)?;
    let products: String = row.get(5)?;
    Ok(Master {
        id: Id::parse(&row.get::<_, String>(0)?)?,
        customer: row.get(1)?,
        redundancy: Redundancy::of_word(&redundancy).ok_or(LedgerError::Damaged)?,
        valid_from_ms: row.get::<_, i64>(3)?.cast_unsigned(),
        valid_until_ms: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        products: serde_json::from_str(&products).map_err(|_| LedgerError::Damaged)?,
    })
}
