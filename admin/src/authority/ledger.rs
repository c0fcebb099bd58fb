//! What was issued, to whom and when: `ledger.db`, SQLite. A row of an activation is never changed. The command line and the activation
//! site may have it open at once, so whatever follows from what is there is decided within the transaction that writes.

mod accounts;

pub use accounts::Account;
pub(super) use accounts::Added;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::database::{DatabaseError, bring_up_to_date, open_file};
use crate::kind::LoginName;
use crate::licensing::{InstallationId, KeyId, Product, ProductLicence, Redundancy};
use crate::limits::DATABASE_WAIT;
use crate::object::{Id, IdError};

/// Each entry brings the format to its number. Entries are never changed, only added.
const STEPS: [&str; 2] = [
    "
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
",
    "
    -- Who had it issued: `command-line`, or `staff` or `customer` with the name of the account.
    ALTER TABLE activation ADD COLUMN role TEXT NOT NULL DEFAULT 'command-line';
    ALTER TABLE activation ADD COLUMN account TEXT NOT NULL DEFAULT '';

    -- An early ledger has one that nothing ever used.
    DROP TABLE IF EXISTS account;

    -- Whom the activation site lets in. Without a customer it is staff; without a verifier nobody can log in.
    CREATE TABLE account (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        customer TEXT,
        verifier TEXT,
        invitation BLOB UNIQUE,
        invited_ms INTEGER
    ) STRICT, WITHOUT ROWID;
",
];

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

impl LedgerError {
    /// Whether another program is writing: to be tried again.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, LedgerError::Sqlite(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy))
    }
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

impl Master {
    /// For how many servers it is activated, with what is in it.
    #[must_use]
    pub fn servers(&self) -> core::ops::RangeInclusive<usize> {
        let servers = self.redundancy.servers();
        let for_two = |one: &ProductLicence| one.product == Product::RedundantTerminalConnection;
        if self.products.iter().any(for_two) {
            return 2..=2;
        }
        servers
    }
}

/// Who had a licence activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// Somebody at the vendor's command line.
    CommandLine,
    /// The vendor's staff, at the activation site.
    Staff(LoginName),
    /// The customer, at the activation site.
    Customer(LoginName),
}

impl Issuer {
    fn columns(&self) -> (&'static str, &str) {
        match self {
            Issuer::CommandLine => ("command-line", ""),
            Issuer::Staff(name) => ("staff", name.as_str()),
            Issuer::Customer(name) => ("customer", name.as_str()),
        }
    }

    fn of_columns(role: &str, account: &str) -> Option<Self> {
        let name = || LoginName::parse(account).ok();
        match role {
            "command-line" => Some(Issuer::CommandLine),
            "staff" => name().map(Issuer::Staff),
            "customer" => name().map(Issuer::Customer),
            _ => None,
        }
    }
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
    /// By whom.
    pub issuer: Issuer,
    /// The file.
    pub text: String,
}

impl Activation {
    /// Whether it is for these servers and no other, in whatever order.
    #[must_use]
    pub fn is_for(&self, installations: &[InstallationId]) -> bool {
        self.installations.len() == installations.len()
            && self
                .installations
                .iter()
                .all(|id| installations.contains(id))
    }

    /// Whether a server that `before` was for has no place in this one: it was replaced.
    #[must_use]
    pub fn replaces(&self, before: &Activation) -> bool {
        let gone = |id: &InstallationId| !self.installations.contains(id);
        before.installations.iter().any(gone)
    }
}

/// Which master licences are listed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listed<'c> {
    /// Those of this customer; otherwise all of them.
    pub customer: Option<&'c str>,
    /// Without so many of the first ones.
    pub after: usize,
    /// So many at most; otherwise all of them.
    pub most: Option<usize>,
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

    pub(super) fn add_master(&self, master: &Master, now_ms: u64) -> Result<(), LedgerError> {
        let put = "INSERT INTO master (id, customer, redundancy, valid_from_ms, valid_until_ms, products, changed_ms)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
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

    /// Changes the products of a master licence, as `change` says of what it is; nothing, if that refuses. None: there is no such.
    pub(super) fn change_products<E>(
        &self,
        id: &Id,
        now_ms: u64,
        change: impl FnOnce(&mut Master) -> Result<(), E>,
    ) -> Result<Option<Result<Master, E>>, LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Some(mut master) = read_master(&transaction, id)? else {
            return Ok(None);
        };
        if let Err(error) = change(&mut master) {
            return Ok(Some(Err(error)));
        }
        let products = serde_json::to_string(&master.products).map_err(|_| LedgerError::Damaged)?;
        let put = "UPDATE master SET products = ?2, changed_ms = ?3 WHERE id = ?1";
        transaction.execute(put, params![id.as_str(), products, now_ms.cast_signed()])?;
        transaction.commit()?;
        Ok(Some(Ok(master)))
    }

    pub(super) fn masters(&self, listed: Listed<'_>) -> Result<Vec<Master>, LedgerError> {
        let connection = self.connection();
        let query = format!(
            "{MASTER} WHERE ?1 IS NULL OR customer = ?1 ORDER BY customer, id LIMIT ?2 OFFSET ?3"
        );
        let mut statement = connection.prepare(&query)?;
        // SQLite takes a negative limit for none.
        let most = listed
            .most
            .map_or(-1, |most| i64::try_from(most).unwrap_or(-1));
        let after = i64::try_from(listed.after).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![listed.customer, most, after])?;
        let mut masters = Vec::new();
        while let Some(row) = rows.next()? {
            masters.push(master(row)?);
        }
        Ok(masters)
    }

    pub(super) fn master(&self, id: &Id) -> Result<Option<Master>, LedgerError> {
        read_master(&self.connection(), id)
    }

    /// The latest first.
    pub(super) fn activations(&self, id: &Id) -> Result<Vec<Activation>, LedgerError> {
        read_activations(&self.connection(), id)
    }

    /// Writes the activation that `make` makes of the master licence and of what was issued of it, the latest first; nothing, if that
    /// refuses or gives one that is there. None: there is no such master licence.
    pub(super) fn issue<E>(
        &self,
        id: &Id,
        make: impl FnOnce(&Master, &[Activation]) -> Result<Activation, E>,
    ) -> Result<Option<Result<Activation, E>>, LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let Some(master) = read_master(&transaction, id)? else {
            return Ok(None);
        };
        let before = read_activations(&transaction, id)?;
        let activation = match make(&master, &before) {
            Ok(activation) => activation,
            Err(error) => return Ok(Some(Err(error))),
        };
        if before.contains(&activation) {
            return Ok(Some(Ok(activation)));
        }
        let installations =
            serde_json::to_string(&activation.installations).map_err(|_| LedgerError::Damaged)?;
        let put =
            "INSERT INTO activation (master, number, installations, issued_ms, text, role, account)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let issued_ms = activation.issued_ms.cast_signed();
        let (role, account) = activation.issuer.columns();
        transaction.execute(
            put,
            params![
                id.as_str(),
                activation.number,
                installations,
                issued_ms,
                activation.text,
                role,
                account,
            ],
        )?;
        transaction.commit()?;
        Ok(Some(Ok(activation)))
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

fn read_master(connection: &Connection, id: &Id) -> Result<Option<Master>, LedgerError> {
    let mut statement = connection.prepare(&format!("{MASTER} WHERE id = ?1"))?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(master).transpose()
}

fn read_activations(connection: &Connection, id: &Id) -> Result<Vec<Activation>, LedgerError> {
    let query = "SELECT number, installations, issued_ms, text, role, account FROM activation
        WHERE master = ?1 ORDER BY number DESC";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([id.as_str()])?;
    let mut activations = Vec::new();
    while let Some(row) = rows.next()? {
        let installations: String = row.get(1)?;
        let (role, account): (String, String) = (row.get(4)?, row.get(5)?);
        activations.push(Activation {
            number: row.get(0)?,
            installations: serde_json::from_str(&installations)
                .map_err(|_| LedgerError::Damaged)?,
            issued_ms: row.get::<_, i64>(2)?.cast_unsigned(),
            issuer: Issuer::of_columns(&role, &account).ok_or(LedgerError::Damaged)?,
            text: row.get(3)?,
        });
    }
    Ok(activations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_of_before_the_site_loses_nothing_and_its_activations_are_the_command_lines() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ledger.db");
        let mut connection = open_file(&path).expect("made");
        bring_up_to_date(&mut connection, &STEPS[..1], |_| Ok(())).expect("an old format");
        let rows = "INSERT INTO master VALUES ('lic-1', 'Plant', 'none', 1000, NULL, '[]', 1000);
            INSERT INTO activation VALUES ('lic-1', 1, '[]', 2000, 'a licence');
            CREATE TABLE account (name TEXT PRIMARY KEY) STRICT;";
        connection.execute_batch(rows).expect("written");
        drop(connection);
        let ledger = Ledger::open(&path).expect("brought up to date");
        let id = Id::parse("lic-1").expect("an identifier");
        let master = ledger.master(&id).expect("read").expect("there");
        assert_eq!(master.customer, "Plant");
        let expected = Activation {
            number: 1,
            installations: Vec::new(),
            issued_ms: 2000,
            issuer: Issuer::CommandLine,
            text: "a licence".into(),
        };
        assert_eq!(ledger.activations(&id).expect("read"), [expected]);
        assert!(ledger.accounts().expect("read").is_empty());
    }
}
