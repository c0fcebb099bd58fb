//! Rows of accounts: whom the activation site lets in.

use rusqlite::{Error, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};

use super::{Ledger, LedgerError};
use crate::authority::day;
use crate::kind::LoginName;
use crate::object::Id;
use crate::security::{Digest, Verifier};

/// Somebody whom the activation site knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Which one.
    pub id: Id,
    /// The name to log in with.
    pub name: LoginName,
    /// The customer whose licences are shown; none: the vendor's staff, who see all of them.
    pub customer: Option<String>,
    /// Whether a password was chosen. Without it nobody can log in.
    pub has_password: bool,
    /// When a link to choose one was made that was not used, in milliseconds since 1970.
    pub invited_ms: Option<u64>,
}

impl Account {
    /// Whether somebody can log in with it, for people.
    #[must_use]
    pub fn state(&self) -> String {
        match (self.has_password, self.invited_ms) {
            (true, _) => "can log in".into(),
            (false, Some(invited_ms)) => format!("got a link on {}", day(invited_ms)),
            (false, None) => "needs a new link".into(),
        }
    }
}

const ACCOUNT: &str =
    "SELECT id, name, customer, verifier IS NOT NULL, invited_ms, verifier FROM account";

impl Ledger {
    /// Adds an account with an invitation; not if there is one of that name, or as many as there may be.
    pub(in crate::authority) fn add_account(
        &self,
        account: &Account,
        invitation: &Digest,
        max: usize,
    ) -> Result<Added, LedgerError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let count = "SELECT count(*) FROM account";
        let count: i64 = transaction.query_row(count, [], |row| row.get(0))?;
        if usize::try_from(count).unwrap_or(usize::MAX) >= max {
            return Ok(Added::TooMany);
        }
        let put = "INSERT INTO account (id, name, customer, invitation, invited_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
        let row = params![
            account.id.as_str(),
            account.name.as_str(),
            account.customer,
            invitation.as_bytes(),
            account.invited_ms.map(u64::cast_signed),
        ];
        match transaction.execute(put, row) {
            Err(Error::SqliteFailure(why, _)) if why.code == ErrorCode::ConstraintViolation => {
                return Ok(Added::Taken);
            }
            done => done?,
        };
        transaction.commit()?;
        Ok(Added::Done)
    }

    /// Takes the password of an account away, and gives it an invitation in the place of any other.
    pub(in crate::authority) fn invite(
        &self,
        id: &Id,
        invitation: &Digest,
        now_ms: u64,
    ) -> Result<(), LedgerError> {
        let put =
            "UPDATE account SET verifier = NULL, invitation = ?2, invited_ms = ?3 WHERE id = ?1";
        let row = params![id.as_str(), invitation.as_bytes(), now_ms.cast_signed()];
        self.connection().execute(put, row)?;
        Ok(())
    }

    /// Whose invitation this is, if it was made since `since_ms`.
    pub(in crate::authority) fn invited(
        &self,
        invitation: &Digest,
        since_ms: u64,
    ) -> Result<Option<Account>, LedgerError> {
        let query = format!("{ACCOUNT} WHERE invitation = ?1 AND invited_ms >= ?2");
        let key = params![invitation.as_bytes(), since_ms.cast_signed()];
        let found = self.connection().query_row(&query, key, read).optional()?;
        found.map(|(account, _)| account).transpose()
    }

    /// Sets the password of whoever was invited, once.
    pub(in crate::authority) fn accept(
        &self,
        invitation: &Digest,
        since_ms: u64,
        verifier: &Verifier,
    ) -> Result<bool, LedgerError> {
        let put = "UPDATE account SET verifier = ?3, invitation = NULL, invited_ms = NULL
            WHERE invitation = ?1 AND invited_ms >= ?2";
        let verifier = serde_json::to_string(verifier).map_err(|_| LedgerError::Damaged)?;
        let row = params![invitation.as_bytes(), since_ms.cast_signed(), verifier];
        Ok(self.connection().execute(put, row)? == 1)
    }

    /// Sets the password of an account that has one.
    pub(in crate::authority) fn set_verifier(
        &self,
        id: &Id,
        verifier: &Verifier,
    ) -> Result<bool, LedgerError> {
        let put = "UPDATE account SET verifier = ?2 WHERE id = ?1 AND verifier IS NOT NULL";
        let verifier = serde_json::to_string(verifier).map_err(|_| LedgerError::Damaged)?;
        Ok(self
            .connection()
            .execute(put, params![id.as_str(), verifier])?
            == 1)
    }

    pub(in crate::authority) fn account(&self, id: &Id) -> Result<Option<Account>, LedgerError> {
        let query = format!("{ACCOUNT} WHERE id = ?1");
        let found = self
            .connection()
            .query_row(&query, [id.as_str()], read)
            .optional()?;
        found.map(|(account, _)| account).transpose()
    }

    /// The account of a name, and what its password is checked with.
    pub(in crate::authority) fn account_named(
        &self,
        name: &LoginName,
    ) -> Result<Option<(Account, Option<Verifier>)>, LedgerError> {
        let query = format!("{ACCOUNT} WHERE name = ?1");
        let found = self
            .connection()
            .query_row(&query, [name.as_str()], read)
            .optional()?;
        let Some((account, verifier)) = found else {
            return Ok(None);
        };
        let verifier = verifier.map(|text| serde_json::from_str(&text));
        let verifier = verifier.transpose().map_err(|_| LedgerError::Damaged)?;
        Ok(Some((account?, verifier)))
    }

    pub(in crate::authority) fn accounts(&self) -> Result<Vec<Account>, LedgerError> {
        let connection = self.connection();
        let mut statement = connection.prepare(&format!("{ACCOUNT} ORDER BY name"))?;
        let rows = statement.query_map([], read)?;
        rows.map(|row| row?.0).collect()
    }

    pub(in crate::authority) fn remove_account(&self, id: &Id) -> Result<bool, LedgerError> {
        let remove = "DELETE FROM account WHERE id = ?1";
        Ok(self.connection().execute(remove, [id.as_str()])? == 1)
    }
}

/// What became of an account that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::authority) enum Added {
    /// It is there.
    Done,
    /// The name is another's.
    Taken,
    /// There are as many as there may be.
    TooMany,
}

/// An account, or that its row is damaged; and its verifier as it is written.
type Read = (Result<Account, LedgerError>, Option<String>);

fn read(row: &Row<'_>) -> rusqlite::Result<Read> {
    let (id, name): (String, String) = (row.get(0)?, row.get(1)?);
    let (customer, has_password) = (row.get(2)?, row.get(3)?);
    let invited_ms = row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned);
    let account = || {
        Ok(Account {
            id: Id::parse(&id)?,
            name: LoginName::parse(&name).map_err(|_| LedgerError::Damaged)?,
            customer,
            has_password,
            invited_ms,
        })
    };
    Ok((account(), row.get(5)?))
}
