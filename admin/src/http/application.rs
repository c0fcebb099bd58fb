//! The application: opened, bound, run.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use daybreak_store::{Store, StoreError};

use super::counters::Counters;
use super::hosts::Hosts;
use super::outer::{nothing, outer};
use super::state::{AtOnce, State};
use super::table::configure;
use super::tls::{self, TlsError};
use crate::backup::{BackupError, Backups};
use crate::configuration::{Actor, ChangeError, Configuration};
use crate::database::DatabaseError;
use crate::edge::{Clock, Entropy};
use crate::events::Follower;
use crate::licences::{InstallError, Licences, Steward};
use crate::limits::{CONNECTIONS_MAX, REQUEST_BYTES_MAX, REQUEST_HEAD_WAIT, SHUTDOWN_SECONDS};
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
    /// Where to listen; port 0: any free one.
    pub listen: Vec<SocketAddr>,
    /// How.
    pub transport: Transport,
    /// Names that plain HTTP is answered to, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Where the engine tells its metrics; on loopback.
    pub engine: SocketAddr,
    /// Where to listen for the other server of the pair, while there is one or a pairing code is shown.
    pub peer: SocketAddr,
    /// What this server is called.
    pub name: String,
    /// The file in which this machine says who it is.
    pub machine_id: PathBuf,
    /// Threads that answer requests.
    pub workers: usize,
    /// The time zone of schedules.
    pub zone: Zone,
}

/// What requests travel in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Nothing: on loopback only.
    Plain,
    /// TLS, with the certificate chain and the key in these PEM files.
    Certificate {
        /// The chain, the server's own certificate first.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// TLS, with a certificate of our own making for these names, kept in the data directory.
    Generated(Vec<String>),
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Passwords would travel where others can read them.
    #[error(
        "{0} is not a loopback address, and plain HTTP is served on loopback only; give --tls-certificate and --tls-key, \
         or --tls-generate"
    )]
    PlainBeyondLoopback(SocketAddr),
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
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The folder of backups cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
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
    secure: bool,
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
        let secure = settings.transport != Transport::Plain;
        if let Some(open) = settings
            .listen
            .iter()
            .find(|address| !address.ip().is_loopback())
            && !secure
        {
            return Err(StartError::PlainBeyondLoopback(*open));
        }
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
        let link = Link::start(
            link::Settings {
                data: settings.data.clone(),
                listen: settings.peer,
                name: settings.name.clone(),
            },
            Arc::clone(&configuration),
            Arc::clone(&licences),
            Arc::clone(&backups),
            publisher.waker(),
            follower.notice(),
        )?;
        configuration.give_missing_keys(&Actor::machine("start"))?;
        let follower = Arc::new(follower);
        let steward = Steward::start(
            Arc::clone(&configuration),
            Arc::clone(&licences),
            Arc::clone(&follower),
            link.hears_primary(),
            publisher.waker(),
        )?;
        // With TLS the name was checked before: by the client, against the certificate.
        let hosts = if secure {
            Hosts::Any
        } else {
            Hosts::only(&settings.hosts)
        };
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
            counters: Counters::new(),
            hosts,
            secure,
            engine: settings.engine,
            at_once: AtOnce::new(),
        };
        let state = web::Data::new(state);
        let mut http = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .app_data(web::PayloadConfig::new(REQUEST_BYTES_MAX))
                .wrap(from_fn(outer))
                .configure(configure)
                .default_service(web::to(nothing))
        })
        .workers(settings.workers)
        .max_connections(CONNECTIONS_MAX)
        .client_request_timeout(REQUEST_HEAD_WAIT)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
        let tls = match &settings.transport {
            Transport::Plain => None,
            Transport::Certificate { chain, key } => Some(tls::from_files(chain, key)?),
            Transport::Generated(names) => {
                Some(tls::generated(&settings.data.join("keys"), names)?)
            }
        };
        for address in &settings.listen {
            let failed = |source| StartError::Listen {
                address: *address,
                source,
            };
            let listener = TcpListener::bind(address).map_err(failed)?;
            http = match &tls {
                None => http.listen(listener).map_err(failed)?,
                Some(tls) => http
                    .listen_rustls_0_23(listener, tls.clone())
                    .map_err(failed)?,
            };
        }
        Ok(Application {
            addresses: http.addrs(),
            server: http.run(),
            set_up,
            secure,
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
        let scheme = if self.secure { "https" } else { "http" };
        self.addresses
            .first()
            .map_or_else(String::new, |address| format!("{scheme}://{address}"))
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
