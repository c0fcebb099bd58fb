//! The application: opened, bound, run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::web;
use daybreak_store::{Store, StoreError};

use super::counters::Counters;
use super::listening::{ListenError, Listening, Reached};
use super::outer::nothing;
use super::state::{AtOnce, State};
use super::table::configure;
use crate::backup::{BackupError, Backups};
use crate::configuration::{Actor, ChangeError, Configuration};
use crate::database::DatabaseError;
use crate::edge::{Clock, Entropy};
use crate::events::Follower;
use crate::licences::{InstallError, Licences, Lookout, Steward};
use crate::limits::{MANUAL_SILENCE_MAX, REQUEST_BYTES_MAX};
use crate::object::Id;
use crate::peer::link::{self, LinkError};
use crate::peer::{self, Link};
use crate::publish::Publisher;
use crate::schedule::{Scheduler, Zone};
use crate::security::{Gate, Secret};

/// What a start needs to know.
#[derive(Clone)]
pub struct Settings {
    /// The data directory; made, if it is not there.
    pub data: PathBuf,
    /// How it is reached.
    pub listening: Listening,
    /// Where the engine tells its metrics; on loopback.
    pub engine: SocketAddr,
    /// Where to listen for the other server of the pair, while there is one or a pairing code is shown.
    pub peer: SocketAddr,
    /// What this server is called.
    pub name: String,
    /// The file in which this machine says who it is.
    pub machine_id: PathBuf,
    /// The time zone of schedules.
    pub zone: Zone,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Metrics are read from this machine only.
    #[error("{0} is not a loopback address: the engine tells its metrics on this machine only")]
    EngineElsewhere(SocketAddr),
    /// The data directory cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration cannot be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The licences cannot be looked at.
    #[error(transparent)]
    Licences(#[from] InstallError),
    /// The configuration cannot be brought up to date.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// It cannot be reached.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The folder of backups cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The other server cannot be spoken to.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No thread, or no event loop.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// How a restore ends the sessions of a user.
fn log_out(gate: &Arc<Gate>) -> Box<dyn Fn(&Id) + Send + Sync> {
    let gate = Arc::clone(gate);
    Box::new(move |user| {
        if let Err(error) = gate.log_out_user(user) {
            tracing::error!(%user, %error, "the sessions of a restored user could not be ended");
        }
    })
}

/// The application, listening.
pub struct Application {
    server: Server,
    addresses: Vec<SocketAddr>,
    set_up: Option<Secret>,
    url: String,
    configuration: Arc<Configuration>,
    follower: Arc<Follower>,
    licences: Arc<Licences>,
}

impl Application {
    /// Opens what is in the data directory, binds, and begins to answer once it is awaited. Within a runtime of actix.
    pub fn build(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StartError> {
        settings.listening.check()?;
        if !settings.engine.ip().is_loopback() {
            return Err(StartError::EngineElsewhere(settings.engine));
        }
        let store = Store::open(&settings.data)?;
        let configuration = Arc::new(Configuration::open(
            &settings.data.join("config.db"),
            clock,
            entropy,
        )?);
        let licences = Licences::open(
            &settings.data,
            &settings.machine_id,
            Arc::clone(&configuration),
        )?;
        let licences = Arc::new(licences);
        peer::recall(&settings.data, &configuration, &licences).map_err(LinkError::from)?;
        let (gate, set_up) = Gate::open(Arc::clone(&configuration))?;
        let gate = Arc::new(gate);
        let publisher = Arc::new(Publisher::start(
            Arc::clone(&configuration),
            Store::open(&settings.data)?,
        )?);
        let backups = Arc::new(Backups::open(
            Arc::clone(&configuration),
            Store::open(&settings.data)?,
            Arc::clone(&publisher),
            log_out(&gate),
        )?);
        let scheduler = Scheduler::start(
            Arc::clone(&configuration),
            Arc::clone(&backups),
            Arc::clone(&settings.zone),
        )?;
        let follower = Follower::start(
            &settings.data,
            Arc::clone(&configuration),
            publisher.waker(),
        )?;
        let follower = Arc::new(follower);
        let lookout = Arc::new(Lookout::open(
            Arc::clone(&configuration),
            Arc::clone(&licences),
            Arc::clone(&follower),
        )?);
        let link = Link::start(
            link::Settings {
                data: settings.data.clone(),
                listen: settings.peer,
                name: settings.name.clone(),
                silence: MANUAL_SILENCE_MAX,
            },
            Arc::clone(&configuration),
            (Arc::clone(&licences), Arc::clone(&lookout)),
            Arc::clone(&backups),
            publisher.waker(),
            follower.notice(),
        )?;
        configuration.give_missing_keys(&Actor::machine("start"))?;
        let steward = Steward::start(
            Arc::clone(&configuration),
            Arc::clone(&licences),
            lookout,
            link.hears_primary(),
            publisher.waker(),
        )?;
        let counters = Arc::new(Counters::new());
        let state = State {
            configuration: Arc::clone(&configuration),
            store,
            publisher,
            link,
            gate,
            backups,
            scheduler,
            follower: Arc::clone(&follower),
            licences: Arc::clone(&licences),
            steward,
            counters: Arc::clone(&counters),
            secure: settings.listening.is_secure(),
            engine: settings.engine,
            at_once: AtOnce::new(),
        };
        let state = web::Data::new(state);
        let register = move |config: &mut web::ServiceConfig| {
            config.app_data(state.clone());
            configure(config);
            config.default_service(web::to(nothing));
        };
        let keys = settings.data.join("keys");
        let Reached { server, addresses } =
            settings
                .listening
                .bind(&keys, REQUEST_BYTES_MAX, Some(counters), register)?;
        Ok(Application {
            url: settings.listening.url(&addresses),
            addresses,
            server,
            set_up,
            configuration,
            follower,
            licences,
        })
    }

    /// What it changes, for those who see what happens beside requests.
    #[must_use]
    pub fn configuration(&self) -> Arc<Configuration> {
        Arc::clone(&self.configuration)
    }

    /// The licences, for the link to a partner.
    #[must_use]
    pub fn licences(&self) -> Arc<Licences> {
        Arc::clone(&self.licences)
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the first listener, as a browser takes it.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The link with which the first administrator is made; none, if there is one.
    #[must_use]
    pub fn set_up_link(&self) -> Option<String> {
        let secret = self.set_up.as_ref()?;
        Some(format!("{}/setup#{}", self.url(), secret.reveal()))
    }

    /// Events: streams of them end when following is stopped, which is to be done before the server is.
    #[must_use]
    pub fn follower(&self) -> Arc<Follower> {
        Arc::clone(&self.follower)
    }

    /// The server: to be awaited, and stopped by its handle.
    pub fn into_server(self) -> Server {
        self.server
    }
}
