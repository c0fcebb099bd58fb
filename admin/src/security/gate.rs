//! Who asks: log-in, sessions, API keys, and the set-up of a site that has no administrator yet.
//!
//! Everything is looked up in the newest state of the site at every request: a user who is disabled, a role that is
//! changed, a key that is deleted count from the next request on.

use std::sync::{Arc, Mutex};

use super::{
    Digest, Password, PasswordError, Secret, Session, Sessions, Tries, TryError, Verifier, locked,
};
use crate::configuration::{Actor, ChangeError, Configuration, Edit};
use crate::database::DatabaseError;
use crate::kind::{Body, Fault, Kind, User};
use crate::limits::{SESSION_IDLE_MS, SESSION_MS, USERS_OF_A_NAME_MAX};
use crate::object::Id;

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The password is not accepted.
    #[error(transparent)]
    Try(#[from] TryError),
    /// The set-up was done, or the link is of an earlier start.
    #[error("this set-up link is not valid")]
    SetUpDone,
    /// The new password is not good enough.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The user cannot be made or changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The session cannot be kept.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// As the audit knows them, and what they may do.
    pub actor: Actor,
    /// How they came.
    pub by: Credential,
}

/// What somebody proved their identity with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The session of a user.
    Session {
        /// The user.
        user: Id,
        /// The session.
        digest: Digest,
    },
    /// An API key.
    Key(Id),
}

/// The one place where identities are established.
pub struct Gate {
    configuration: Arc<Configuration>,
    sessions: Mutex<Sessions>,
    tries: Tries,
    // The digest of the set-up link, until it was used.
    set_up: Mutex<Option<Digest>>,
}

impl Gate {
    /// Opens it, with the sessions that are still valid. If the site has no administrator, gives the secret of the
    /// set-up link, too.
    pub fn open(
        configuration: Arc<Configuration>,
    ) -> Result<(Self, Option<Secret>), DatabaseError> {
        let now_ms = configuration.now_ms();
        let rows = configuration.with_database(|database| {
            database.sessions(
                now_ms.saturating_sub(SESSION_MS),
                now_ms.saturating_sub(SESSION_IDLE_MS),
            )
        })?;
        let entropy = configuration.entropy();
        let needs_set_up = configuration.site().administrators().next().is_none();
        let set_up = needs_set_up.then(|| Secret::new("setup", entropy));
        let gate = Gate {
            sessions: Mutex::new(Sessions::of(rows)),
            tries: Tries::new(entropy),
            set_up: Mutex::new(set_up.as_ref().map(Secret::digest)),
            configuration,
        };
        Ok((gate, set_up))
    }

    /// Logs in, and gives the session's secret. Slow (argon2id): the caller bounds how many run at once.
    pub fn log_in(&self, source: &str, name: &str, password: &str) -> Result<Secret, GateError> {
        let now_ms = self.configuration.now_ms();
        let site = self.configuration.site();
        // After a pair was made there may be several of one name, each with a password of its own.
        let found = site.table(Kind::User).named(name).take(USERS_OF_A_NAME_MAX);
        let users = found.filter_map(|id| Some((id, site.user(id)?)));
        let users = users.filter(|(_, user)| user.enabled);
        let known = users.filter_map(|(id, user)| Some((id, user.verifier.as_ref()?)));
        let id = self
            .tries
            .accepted((source, name), now_ms, password, known)?;
        self.begin_session(id.clone(), now_ms)
    }

    fn begin_session(&self, user: Id, now_ms: u64) -> Result<Secret, GateError> {
        let secret = Secret::new("session", self.configuration.entropy());
        let session = Session {
            digest: secret.digest(),
            user,
            created_ms: now_ms,
            seen_ms: now_ms,
        };
        let mut sessions = locked(&self.sessions);
        self.configuration.with_database(|database| {
            if let Some(surplus) = sessions.surplus(&session.user) {
                database.remove_session(&surplus)?;
            }
            database.put_session(&session)
        })?;
        sessions.begin(session);
        Ok(secret)
    }

    /// Ends a session.
    pub fn log_out(&self, digest: &Digest) -> Result<(), DatabaseError> {
        locked(&self.sessions).end(digest);
        self.configuration
            .with_database(|database| database.remove_session(digest))
    }

    /// Ends all sessions of a user.
    pub fn log_out_user(&self, user: &Id) -> Result<(), DatabaseError> {
        locked(&self.sessions).end_user(user);
        self.configuration
            .with_database(|database| database.remove_sessions_of(user))
    }

    /// The sessions of a user, the one that was used last first.
    #[must_use]
    pub fn sessions_of(&self, user: &Id) -> Vec<Session> {
        locked(&self.sessions).of_user(user, self.configuration.now_ms())
    }

    /// Who presents this session's secret.
    #[must_use]
    pub fn by_session(&self, presented: &str) -> Option<Identity> {
        let digest = Digest::of(presented);
        let now_ms = self.configuration.now_ms();
        let (id, noted) = locked(&self.sessions).used(&digest, now_ms)?;
        if let Some(session) = noted {
            // If it cannot be noted, the session ends somewhat sooner after a restart.
            let _ = self
                .configuration
                .with_database(|database| database.put_session(&session));
        }
        let site = self.configuration.site();
        let user = site
            .user(&id)
            .filter(|user| user.enabled && user.verifier.is_some())?;
        Some(Identity {
            actor: Actor {
                name: format!("user {}", user.name.as_str()),
                rights: site.rights_of_user(user),
            },
            by: Credential::Session { user: id, digest },
        })
    }

    /// Who presents this API key.
    #[must_use]
    pub fn by_key(&self, presented: &str) -> Option<Identity> {
        let site = self.configuration.site();
        let object = site.key_of(&Digest::of(presented))?;
        let Body::ApiKey(key) = &object.body else {
            return None;
        };
        let expired = key
            .expires_ms
            .is_some_and(|expires_ms| self.configuration.now_ms() >= expires_ms);
        if !key.enabled || expired {
            return None;
        }
        Some(Identity {
            actor: Actor {
                name: format!("key {}", key.name.as_str()),
                rights: key.rights.clone(),
            },
            by: Credential::Key(object.id.clone()),
        })
    }

    /// Makes the first administrator, if `presented` is the secret of the set-up link, and uses the link up.
    pub fn set_up(&self, presented: &str, name: &str, password: String) -> Result<Id, GateError> {
        let mut pending = locked(&self.set_up);
        if *pending != Some(Digest::of(presented))
            || self.configuration.site().administrators().next().is_some()
        {
            return Err(GateError::SetUpDone);
        }
        let password = Password::parse(password)?;
        let json = serde_json::json!({"name": name, "roles": ["administrator"]});
        let mut body = Body::parse_request(Kind::User, &json).map_err(ChangeError::from)?;
        if let Body::User(user) = &mut body {
            user.verifier = Some(Verifier::of(&password, self.configuration.entropy()));
        }
        let made = self
            .configuration
            .apply(&Actor::machine("set-up"), vec![Edit::Create(body)])?;
        *pending = None;
        let id = made
            .into_iter()
            .flatten()
            .next()
            .map(|object| object.id.clone());
        Ok(id.expect("one edit gives one object"))
    }

    /// Whether this is the secret of the set-up link, and there is no administrator yet.
    #[must_use]
    pub fn may_set_up(&self, presented: &str) -> bool {
        *locked(&self.set_up) == Some(Digest::of(presented))
            && self.configuration.site().administrators().next().is_none()
    }

    /// Gives a user another password, and ends the user's sessions. Slow, as a log-in is.
    pub fn set_password(&self, actor: &Actor, id: &Id, password: String) -> Result<(), GateError> {
        let password = Password::parse(password)?;
        let site = self.configuration.site();
        let user = site.user(id).ok_or_else(|| ChangeError::Unknown {
            kind: Kind::User,
            id: id.clone(),
        })?;
        let body = Body::User(User {
            verifier: Some(Verifier::of(&password, self.configuration.entropy())),
            ..user.clone()
        });
        let expected = site.object(Kind::User, id).map(|object| object.revision());
        self.configuration.apply(
            actor,
            vec![Edit::Seal {
                id: id.clone(),
                body,
                expected,
            }],
        )?;
        Ok(self.log_out_user(id)?)
    }

    /// Gives a user another password who knows the one that holds now. Twice as slow as a log-in.
    pub fn change_own_password(
        &self,
        source: &str,
        actor: &Actor,
        id: &Id,
        current: &str,
        password: String,
    ) -> Result<(), GateError> {
        let now_ms = self.configuration.now_ms();
        let site = self.configuration.site();
        let verifier = site.user(id).and_then(|user| user.verifier.as_ref());
        let known = verifier.map(|verifier| ((), verifier));
        self.tries
            .accepted((source, id.as_str()), now_ms, current, known)?;
        self.set_password(actor, id, password)
    }

    /// Makes an API key, and gives its secret, which is not kept.
    pub fn issue_key(&self, actor: &Actor, mut body: Body) -> Result<(Id, Secret), ChangeError> {
        let secret = Secret::new("key", self.configuration.entropy());
        let Body::ApiKey(key) = &mut body else {
            return Err(Fault::new("", "this is not an API key").into());
        };
        key.digest = Some(secret.digest());
        let made = self.configuration.apply(actor, vec![Edit::Create(body)])?;
        let id = made
            .into_iter()
            .flatten()
            .next()
            .map(|object| object.id.clone());
        Ok((id.expect("one edit gives one object"), secret))
    }
}
