//! What handlers share.

use std::net::SocketAddr;
use std::sync::Arc;

use daybreak_store::Store;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::counters::Counters;
use super::error::{ApiError, Code};
use crate::backup::Backups;
use crate::configuration::{Actor, Configuration, Edit};
use crate::database::DatabaseError;
use crate::events::Follower;
use crate::licences::{Licences, Steward};
use crate::limits::{
    ARRIVING_MAX, BACKUP_DOWNLOADS_MAX, PASSWORDS_AT_ONCE_MAX, PASSWORDS_WAITING_MAX, STREAMS_MAX,
};
use crate::object::{Id, Object};
use crate::peer::Link;
use crate::publish::Publisher;
use crate::replacement::OldUnit;
use crate::schedule::Scheduler;
use crate::security::Gate;

/// What handlers share.
pub(super) struct State {
    pub(super) configuration: Arc<Configuration>,
    pub(super) store: Store,
    pub(super) publisher: Arc<Publisher>,
    pub(super) link: Link,
    pub(super) gate: Arc<Gate>,
    pub(super) backups: Arc<Backups>,
    pub(super) scheduler: Scheduler,
    pub(super) follower: Arc<Follower>,
    pub(super) licences: Arc<Licences>,
    pub(super) steward: Steward,
    pub(super) counters: Arc<Counters>,
    /// Whether cookies may be sent over TLS only; plain HTTP is served on loopback.
    pub(super) secure: bool,
    /// Where the engine tells its metrics.
    pub(super) engine: SocketAddr,
    pub(super) at_once: AtOnce,
}

/// How many of each may go on at once.
pub(super) struct AtOnce {
    /// Streams of events.
    pub(super) streams: Arc<Semaphore>,
    /// Downloads of backups.
    pub(super) downloads: Arc<Semaphore>,
    /// Imports: each may take much memory.
    pub(super) imports: Arc<Semaphore>,
    /// Files that arrive.
    pub(super) arriving: Semaphore,
    passwords: Passwords,
}

/// Computing passwords: only so many at once, and only so many that wait.
pub(super) struct Passwords {
    running: Semaphore,
    waiting: Semaphore,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Passwords {
            running: Semaphore::new(PASSWORDS_AT_ONCE_MAX),
            waiting: Semaphore::new(PASSWORDS_WAITING_MAX),
        }
    }

    /// Waits until it is one's turn, which lasts as long as what is given back.
    pub(super) async fn turn(&self) -> Result<[SemaphorePermit<'_>; 2], ApiError> {
        let Ok(waiting) = self.waiting.try_acquire() else {
            return Err(ApiError::new(Code::Busy, "too many log-ins at once"));
        };
        let running = self.running.acquire().await;
        Ok([
            waiting,
            running.map_err(|error| ApiError::internal(&error))?,
        ])
    }
}

impl AtOnce {
    pub(super) fn new() -> Self {
        AtOnce {
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            downloads: Arc::new(Semaphore::new(BACKUP_DOWNLOADS_MAX)),
            imports: Arc::new(Semaphore::new(1)),
            arriving: Semaphore::new(ARRIVING_MAX),
            passwords: Passwords::new(),
        }
    }
}

impl State {
    /// What is known here of the life of this terminal's unit. What cannot be read is not dead: an error.
    pub(super) fn old_unit(&self, terminal: &Id) -> Result<OldUnit, DatabaseError> {
        let book = self.follower.book();
        let Some(status) = book.status(terminal.as_str())? else {
            return Ok(OldUnit::default());
        };
        Ok(OldUnit {
            seen_ms: status.seen_ms(),
            works_until_ms: status.works_until_ms(book.engine()?),
        })
    }

    /// Makes an edit off the event loop, and has it published. Gives the object as it is then; none for a deleted one.
    pub(super) async fn apply(
        self: &Arc<State>,
        actor: Actor,
        edit: Edit,
    ) -> Result<Option<Arc<Object>>, ApiError> {
        let work = move |state: &State| state.configuration.apply(&actor, vec![edit]);
        Ok(self.blocking(work).await?.pop().flatten())
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
        let _turn = self.at_once.passwords.turn().await?;
        self.blocking(work).await
    }
}
