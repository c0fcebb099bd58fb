//! Rows of sessions: who is logged in. They belong to this server alone.

use rusqlite::params;

use super::{Database, DatabaseError};
use crate::object::Id;
use crate::security::{Digest, Session};

impl Database {
    /// Every session that was used since `seen_ms` and began since `created_ms`; the others are removed.
    pub fn sessions(&self, created_ms: u64, seen_ms: u64) -> Result<Vec<Session>, DatabaseError> {
        let expired = "DELETE FROM session WHERE created_ms < ?1 OR seen_ms < ?2";
        self.connection.execute(
            expired,
            params![created_ms.cast_signed(), seen_ms.cast_signed()],
        )?;
        let mut statement = self
            .connection
            .prepare("SELECT digest, user, created_ms, seen_ms FROM session")?;
        let mut rows = statement.query([])?;
        let mut sessions = Vec::new();
        while let Some(row) = rows.next()? {
            let user: String = row.get(1)?;
            let damaged = || DatabaseError::Damaged("a session names no user".into());
            sessions.push(Session {
                digest: Digest::from_bytes(row.get(0)?),
                user: Id::parse(&user).map_err(|_| damaged())?,
                created_ms: row.get::<_, i64>(2)?.cast_unsigned(),
                seen_ms: row.get::<_, i64>(3)?.cast_unsigned(),
            });
        }
        Ok(sessions)
    }

    /// Keeps a session, or that it was used.
    pub fn put_session(&self, session: &Session) -> Result<(), DatabaseError> {
        let mut statement = self
            .connection
            .prepare_cached("INSERT OR REPLACE INTO session (digest, user, created_ms, seen_ms) VALUES (?1, ?2, ?3, ?4)")?;
        statement.execute(params![
            session.digest.as_bytes(),
            session.user.as_str(),
            session.created_ms.cast_signed(),
            session.seen_ms.cast_signed()
        ])?;
        Ok(())
    }

    /// Ends a session.
    pub fn remove_session(&self, digest: &Digest) -> Result<(), DatabaseError> {
        self.connection
            .execute("DELETE FROM session WHERE digest = ?1", [digest.as_bytes()])?;
        Ok(())
    }

    /// Ends all sessions of a user.
    pub fn remove_sessions_of(&self, user: &Id) -> Result<(), DatabaseError> {
        self.connection
            .execute("DELETE FROM session WHERE user = ?1", [user.as_str()])?;
        Ok(())
    }
}
