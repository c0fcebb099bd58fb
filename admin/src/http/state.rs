//! What handlers share.

use std::sync::Arc;

use daybreak_store::Store;
use tokio::sync::Semaphore;

use std::net::SocketAddr;

use super::counters::Counters;
use super::error::{ApiError, Code};
use super::hosts::Hosts;
use crate::configuration::{Actor, Configuration, Edit};
use crate::events::Follower;
use crate::licences::{Licences, Steward};
use crate::limits::{PASSWORDS_AT_ONCE_MAX, PASSWORDS_WAITING_MAX, STREAMS_MAX};
use crate::object::{Id, Object};
use crate::peer::Link;
use crate::publish::Publisher;
use crate::security::Gate;

/// What runs beside requests.
pub(super) struct Threads {
    pub(super) publisher: Publisher,
    pub(super) follower: Arc<Follower>,
    pub(super) steward: Steward,
}

/// What handlers share.
pub(super) struct State {
    pub(super) configuration: Arc<Configuration>,
    pub(super) store: Store,
    pub(super) publisher: Publisher,
    pub(super) link: Link,
    pub(super) gate: Gate,
    pub(super) follower: Arc<Follower>,
    pub(super) licences: Arc<Licences>,
    pub(super) steward: Steward,
    pub(super) streams: Arc<Semaphore>,
    pub(super) counters: Counters,
    // Whether cookies may be sent over plain HTTP: on loopback only.
    pub(super) secure: bool,
    // One import at a time: each may take much memory.
    pub(super) imports: Arc<Semaphore>,
    pub(super) hosts: Hosts,
    /// Where the engine tells its metrics.
    pub(super) engine: SocketAddr,
    passwords: Semaphore,
    passwords_waiting: Semaphore,
}

impl State {
    pub(super) fn new(
        configuration: Arc<Configuration>,
        (store, link): (Store, Link),
        gate: Gate,
        threads: Threads,
        licences: Arc<Licences>,
        hosts: Hosts,
        engine: SocketAddr,
    ) -> Self {
        let Threads {
            publisher,
            follower,
            steward,
        } = threads;
        State {
            configuration,
            store,
            publisher,
            link,
            gate,
            follower,
            licences,
            steward,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            counters: Counters::new(),
            // Over TLS every name is answered, and only there.
            secure: hosts == Hosts::Any,
            imports: Arc::new(Semaphore::new(1)),
            hosts,
            engine,
            passwords: Semaphore::new(PASSWORDS_AT_ONCE_MAX),
            passwords_waiting: Semaphore::new(PASSWORDS_WAITING_MAX),
        }
    }

    /// When this terminal last showed that it lives, in milliseconds since 1970, as far as that is known here.
    pub(super) fn last_seen_ms(&self, terminal: &Id) -> Option<u64> {
        let status = self.follower.book().status(terminal.as_str());
        status.ok().flatten()?.seen_ms()
    }

    /// Makes `edits` off the event loop, and has them published.
    pub(super) async fn apply(
        self: &Arc<State>,
        actor: Actor,
        edits: Vec<Edit>,
    ) -> Result<Vec<Option<Arc<Object>>>, ApiError> {
        self.blocking(move |state| state.configuration.apply(&actor, edits))
            .await
    }

    /// Does `work` off the event loop; if it changed anything, that is published.
    pub(super) async fn blocking<T, E>(
        self: &Arc<State>,
        work: impl FnOnce(&State) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        let state = Arc::clone(self);
        let outcome = actix_web::web::block(move || {
            let before = state.configuration.site().change();
            let outcome = work(&state);
            if state.configuration.site().change() != before {
                state.publisher.wake();
                // A seat may have become free.
                state.steward.wake();
            }
            outcome
        });
        outcome.await?.map_err(Into::into)
    }

    /// The same for work that computes a password: only so many at once.
    pub(super) async fn with_password<T, E>(
        self: &Arc<State>,
        work: impl FnOnce(&State) -> Result<T, E> + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        E: Into<ApiError> + Send + 'static,
    {
        let Ok(_waiting) = self.passwords_waiting.try_acquire() else {
            return Err(ApiError::new(Code::Busy, "too many log-ins at once"));
        };
        let permit = self.passwords.acquire().await;
        let _permit = permit.map_err(|error| ApiError::internal(&error))?;
        self.blocking(work).await
    }
}
