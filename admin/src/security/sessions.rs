//! Who is logged in: sessions, known by the hash of their secret. No clock and no disk: the time is an argument, and whoever keeps
//! sessions over a restart writes what is given back.

use std::collections::HashMap;

use super::Digest;
use crate::limits::{SESSION_IDLE_MS, SESSION_MS, SESSION_NOTED_MS, SESSIONS_OF_A_USER_MAX};
use crate::object::Id;

/// Somebody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The hash of the session's secret.
    pub digest: Digest,
    /// Who.
    pub user: Id,
    /// When the session began, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it was last used, to the minute.
    pub seen_ms: u64,
}

impl Session {
    fn lives(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.created_ms) < SESSION_MS
            && now_ms.saturating_sub(self.seen_ms) < SESSION_IDLE_MS
    }
}

/// The sessions of one server.
#[derive(Debug, Default)]
pub struct Sessions(HashMap<Digest, Session>);

impl Sessions {
    /// Those that were kept.
    pub fn of(kept: Vec<Session>) -> Self {
        let kept = kept.into_iter().map(|session| (session.digest, session));
        Sessions(kept.collect())
    }

    /// The one that ends when this user logs in once more: of as many as one may have, the one that was not used for longest.
    #[must_use]
    pub fn surplus(&self, user: &Id) -> Option<Digest> {
        let of_user = || self.0.values().filter(|session| session.user == *user);
        let oldest = of_user().min_by_key(|session| session.seen_ms);
        oldest
            .filter(|_| of_user().count() >= SESSIONS_OF_A_USER_MAX)
            .map(|session| session.digest)
    }

    /// Begins a session, in the place of the surplus one.
    pub fn begin(&mut self, session: Session) {
        if let Some(surplus) = self.surplus(&session.user) {
            self.0.remove(&surplus);
        }
        self.0.insert(session.digest, session);
    }

    /// Whose session this is, if it still lives; and the session, if it is to be noted that it was used.
    pub fn used(&mut self, digest: &Digest, now_ms: u64) -> Option<(Id, Option<Session>)> {
        let session = self.0.get_mut(digest)?;
        if !session.lives(now_ms) {
            self.0.remove(digest);
            return None;
        }
        let noted = now_ms.saturating_sub(session.seen_ms) >= SESSION_NOTED_MS;
        if noted {
            session.seen_ms = now_ms;
        }
        Some((session.user.clone(), noted.then(|| session.clone())))
    }

    /// Ends a session.
    pub fn end(&mut self, digest: &Digest) {
        self.0.remove(digest);
    }

    /// Ends all sessions of a user.
    pub fn end_user(&mut self, user: &Id) {
        self.0.retain(|_, session| session.user != *user);
    }

    /// The sessions of a user, the one that was used last first.
    #[must_use]
    pub fn of_user(&self, user: &Id, now_ms: u64) -> Vec<Session> {
        let own = self.0.values();
        let own = own.filter(|session| session.user == *user && session.lives(now_ms));
        let mut own: Vec<Session> = own.cloned().collect();
        own.sort_by_key(|session| {
            (
                core::cmp::Reverse(session.seen_ms),
                *session.digest.as_bytes(),
            )
        });
        own
    }
}
