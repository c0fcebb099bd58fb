//! What handlers share: the authority, who is logged in, and how much of a password is computed at once.

use std::sync::{Arc, Mutex};

use super::page::PageError;
use crate::authority::{Account, Authority};
use crate::edge::{Clock, Entropy};
use crate::http::state::Passwords;
use crate::kind::LoginName;
use crate::object::Id;
use crate::security::{Digest, Secret, Session, Sessions, Tries, TryError, locked};

/// What handlers share. Sessions are in memory: they end with the process.
pub(super) struct Site {
    pub(super) authority: Authority,
    sessions: Mutex<Sessions>,
    tries: Tries,
    passwords: Passwords,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Whether cookies may be sent over TLS only; plain HTTP is served on loopback.
    pub(super) secure: bool,
}

impl Site {
    pub(super) fn new(
        authority: Authority,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        secure: bool,
    ) -> Self {
        Site {
            authority,
            sessions: Mutex::default(),
            tries: Tries::new(&*entropy),
            passwords: Passwords::new(),
            clock,
            entropy,
            secure,
        }
    }

    /// Does `work` off the event loop.
    pub(super) async fn blocking<T, E>(
        self: &Arc<Site>,
        work: impl FnOnce(&Site) -> Result<T, E> + Send + 'static,
    ) -> Result<T, PageError>
    where
        T: Send + 'static,
        E: Into<PageError> + Send + 'static,
    {
        let site = Arc::clone(self);
        let outcome = actix_web::web::block(move || work(&site)).await;
        outcome
            .map_err(|error| PageError::internal(&error))?
            .map_err(Into::into)
    }

    /// The same for work that computes a password: only so many at once.
    pub(super) async fn with_password<T, E>(
        self: &Arc<Site>,
        work: impl FnOnce(&Site) -> Result<T, E> + Send + 'static,
    ) -> Result<T, PageError>
    where
        T: Send + 'static,
        E: Into<PageError> + Send + 'static,
    {
        let _turn = self.passwords.turn().await.map_err(PageError::from)?;
        self.blocking(work).await
    }

    /// The account of this name and password.
    pub(super) fn try_password(
        &self,
        source: &str,
        name: &LoginName,
        password: &str,
    ) -> Result<Result<Account, TryError>, PageError> {
        let found = self.authority.account_named(name)?;
        let known = found
            .as_ref()
            .and_then(|(account, verifier)| Some((account, verifier.as_ref()?)));
        let source = (source, name.as_str());
        let tried = self
            .tries
            .accepted(source, self.clock.now_ms(), password, known);
        Ok(tried.cloned())
    }

    /// Begins a session, and gives its secret.
    pub(super) fn begin_session(&self, account: &Id) -> Secret {
        let secret = Secret::new("session", &*self.entropy);
        let now_ms = self.clock.now_ms();
        locked(&self.sessions).begin(Session {
            digest: secret.digest(),
            user: account.clone(),
            created_ms: now_ms,
            seen_ms: now_ms,
        });
        secret
    }

    /// Whose session this is.
    pub(super) fn session(&self, digest: &Digest) -> Result<Option<Account>, PageError> {
        let used = locked(&self.sessions).used(digest, self.clock.now_ms());
        let Some((id, _)) = used else {
            return Ok(None);
        };
        // Removed or invited again, also by the command line: it counts from the next request on.
        let account = self.authority.account(&id)?;
        Ok(account.filter(|account| account.has_password))
    }

    pub(super) fn end_session(&self, digest: &Digest) {
        locked(&self.sessions).end(digest);
    }

    pub(super) fn end_sessions_of(&self, account: &Id) {
        locked(&self.sessions).end_user(account);
    }
}
