//! The link to the other server: a thread that owns the session, the connection and what is known of the pair.
//!
//! Everything that happens is one event after the other, in one place: a message, a change here, a time that has come, an order.
//! The calls into the database and the store block this thread and nothing else: requests of operators and boots never
//! wait for the other server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use daybreak_store::{Store, StoreError};
use daybreak_sync::session::{self, State};
use tokio::sync::{Notify, mpsc, oneshot};

use super::desk::{Desk, Planned};
use super::driver::{Driver, Tells};
pub use super::handshake::Tie;
use super::host::Server;
use super::key::{KeyError, NodeKey};
use super::manual::{ManualError, Overwritten, With};
use super::pair::{Pair, PairFile, Partner, Role};
use super::pairing::{Code, PairingError};
use crate::backup::Backups;
use crate::configuration::{Actor, Configuration};
use crate::database::DatabaseError;
use crate::events::EventRow;
use crate::licences::{Licences, Lookout};
use crate::licensing::Agreement;
use crate::limits::LINK_ORDERS_MAX;

/// What a start needs to know.
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// Where to listen for the other server, while there is one or a pairing code is shown.
    pub listen: SocketAddr,
    /// What this server is called.
    pub name: String,
    /// How long the other server may say nothing in a synchronization by hand.
    pub silence: Duration,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// What is in `keys/` cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The events cannot be read or written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The books cannot be read.
    #[error("{0}")]
    Host(#[from] daybreak_sync::host::HostError),
    /// No thread.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// What is counted since the start of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Connections that were made.
    pub connections: u64,
    /// Messages of the other server.
    pub messages_in: u64,
    /// Messages to it.
    pub messages_out: u64,
    /// Objects that were written as it said.
    pub objects: u64,
    /// Images that came.
    pub images: u64,
    /// Conflicts that arose.
    pub conflicts: u64,
    /// Values that were dropped because an object had too many.
    pub dropped: u64,
    /// Times that the newest changes of this server were lost by its disk.
    pub tails_lost: u64,
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// The fingerprint of this server's key.
    pub fingerprint: String,
    /// Its name.
    pub name: String,
    /// Its role, and the other server.
    pub pair: Pair,
    /// Where it listens for the other server, if it does.
    pub listening: Option<SocketAddr>,
    /// Until when the pairing code is shown, in milliseconds since 1970.
    pub code_until_ms: Option<u64>,
    /// What the session says; nothing, if there is no pair.
    pub session: Option<session::Status>,
    /// Whether both have the same licences.
    pub licences: Agreement,
    /// Why there is no connection, if that is known.
    pub trouble: Option<String>,
    /// What happened how often.
    pub counts: Counts,
}

/// A code, as it is shown.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The code.
    pub code: String,
    /// Until when it is valid, in milliseconds since 1970.
    pub until_ms: u64,
    /// Where the other server connects to.
    pub listening: SocketAddr,
}

/// What the thread is told to do, and whom it answers.
pub(super) enum Order {
    Show(Tie, oneshot::Sender<Result<Offered, PairingError>>),
    TakeAway(oneshot::Sender<()>),
    Join {
        address: String,
        code: (Code, Tie),
        done: oneshot::Sender<Result<Partner, PairingError>>,
    },
    Forget(
        String,
        oneshot::Sender<Result<Option<Partner>, PairingError>>,
    ),
    UnPair(oneshot::Sender<Result<Option<Partner>, PairingError>>),
    Plan(
        With,
        Overwritten,
        oneshot::Sender<Result<(u64, Arc<Planned>), ManualError>>,
    ),
    Run {
        plan: Arc<Planned>,
        actor: Actor,
        done: oneshot::Sender<Result<u64, ManualError>>,
    },
}

/// See the module.
pub struct Link {
    // Gone when it ends: that is what the thread ends by.
    orders: Option<mpsc::Sender<Order>>,
    status: Arc<ArcSwap<LinkStatus>>,
    changed: Arc<Notify>,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Starts it. `backups` makes one before an operator has this server overwritten. `published` is called when something came that is to be published,
    /// `noticed` with what operators should see among the events.
    pub fn start(
        settings: Settings,
        configuration: Arc<Configuration>,
        (licences, lookout): (Arc<Licences>, Arc<Lookout>),
        backups: Arc<Backups>,
        published: impl Fn() + Send + Sync + 'static,
        noticed: impl Fn(EventRow) + Send + 'static,
    ) -> Result<Self, LinkError> {
        let keys = settings.data.join("keys");
        let key = NodeKey::open(&keys)?;
        let file = PairFile::of(&keys);
        let pair = file.read()?;
        lookout.place(pair.partner_key().as_deref())?;
        let host = Server::new(Arc::clone(&configuration), Store::open(&settings.data)?);
        let changed = Arc::new(Notify::new());
        let waker = Arc::clone(&changed);
        configuration.watch(move || waker.notify_one());
        let (orders, ordered) = mpsc::channel(LINK_ORDERS_MAX);
        let status = Arc::new(ArcSwap::from_pointee(LinkStatus {
            fingerprint: key.public().fingerprint(),
            name: settings.name.clone(),
            pair: pair.clone(),
            listening: None,
            code_until_ms: None,
            session: None,
            licences: licences.known().status.agreement.clone(),
            trouble: None,
            counts: Counts::default(),
        }));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let desk = Arc::<Desk>::default();
        let kept = Arc::clone(&desk);
        let tells = Tells {
            published: Arc::new(published),
            noticed: Box::new(noticed),
        };
        let shared = (Arc::clone(&status), Arc::clone(&changed));
        let thread = std::thread::Builder::new()
            .name("peer".into())
            .spawn(move || {
                runtime.block_on(async move {
                    let driver = Driver::new(
                        (settings, host),
                        (configuration, licences, lookout, backups),
                        (key, file, pair),
                        shared,
                        (tells, desk),
                    );
                    driver.run(ordered).await;
                });
                // Tasks that resolve names may still run: nobody waits for them.
                runtime.shutdown_timeout(Duration::ZERO);
            })?;
        Ok(Link {
            orders: Some(orders),
            status,
            changed,
            desk: kept,
            thread: Some(thread),
        })
    }

    /// How the pair stands.
    #[must_use]
    pub fn status(&self) -> Arc<LinkStatus> {
        self.status.load_full()
    }

    /// Says whether this is the secondary, and hears of the changes of its primary.
    pub fn hears_primary(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let status = Arc::clone(&self.status);
        move || {
            let status = status.load();
            let state = status.session.as_ref().map(|session| &session.state);
            let hears = matches!(
                state,
                Some(
                    State::Comparing
                        | State::Syncing { .. }
                        | State::InSync
                        | State::Conflict { .. }
                        | State::Behind
                        | State::Ahead
                )
            );
            hears && status.pair.role == Role::Secondary
        }
    }

    /// Says that something changed here.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// Shows a new code, with which another server can be paired with this one.
    pub async fn show_code(&self, tie: Tie) -> Result<Offered, PairingError> {
        self.order(|done| Order::Show(tie, done)).await?
    }

    /// The code is not valid any more.
    pub async fn take_code_away(&self) -> Result<(), PairingError> {
        self.order(Order::TakeAway).await
    }

    /// Pairs with the server at `address` that shows `code`, or has it listed.
    pub async fn join(&self, address: String, code: (Code, Tie)) -> Result<Partner, PairingError> {
        self.order(|done| Order::Join {
            address,
            code,
            done,
        })
        .await?
    }

    /// Ends the pair on this side. Gives who it was with.
    pub async fn un_pair(&self) -> Result<Option<Partner>, PairingError> {
        self.order(Order::UnPair).await?
    }

    /// Takes the listed server of this fingerprint off the list. Gives which it was.
    pub async fn forget(&self, fingerprint: String) -> Result<Option<Partner>, PairingError> {
        self.order(|done| Order::Forget(fingerprint, done)).await?
    }

    /// What would change if one of the two were made the same as the other.
    pub async fn plan(
        &self,
        with: With,
        overwritten: Overwritten,
    ) -> Result<(u64, Arc<Planned>), ManualError> {
        let planned = self
            .order(|done| Order::Plan(with, overwritten, done))
            .await;
        planned.map_err(|_| ManualError::Ending)?
    }

    /// Begins to do what the plan says. Gives the number of the run.
    pub async fn run(&self, plan: Arc<Planned>, actor: Actor) -> Result<u64, ManualError> {
        let begun = self.order(|done| Order::Run { plan, actor, done }).await;
        begun.map_err(|_| ManualError::Ending)?
    }

    /// The last plan and the last run.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, PairingError> {
        let (done, outcome) = oneshot::channel();
        let orders = self.orders.as_ref().ok_or(PairingError::Ending)?;
        let sent = orders.send(order(done)).await;
        sent.map_err(|_| PairingError::Ending)?;
        outcome.await.map_err(|_| PairingError::Ending)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // If it has panicked, it has said so.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
