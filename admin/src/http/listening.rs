//! Where an application listens, in what its requests travel, and what bounds it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};

use super::counters::Counters;
use super::hosts::Hosts;
use super::outer::{Outer, outer};
use super::tls::{self, TlsError};
use crate::limits::{CONNECTIONS_MAX, REQUEST_HEAD_WAIT, SHUTDOWN_SECONDS};

/// How an application is reached.
#[derive(Clone)]
pub struct Listening {
    /// Where; port 0: any free one.
    pub addresses: Vec<SocketAddr>,
    /// How.
    pub transport: Transport,
    /// Names that plain HTTP is answered to, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Threads that answer requests.
    pub workers: usize,
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
    /// TLS, with a certificate of our own making for these names, which is kept.
    Generated(Vec<String>),
}

/// Why it cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Passwords would travel where others can read them.
    #[error(
        "{0} is not a loopback address, and plain HTTP is served on loopback only; give --tls-certificate and --tls-key, \
         or --tls-generate"
    )]
    PlainBeyondLoopback(SocketAddr),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// An application that is reached.
pub(super) struct Reached {
    pub(super) server: Server,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Listening {
    /// Whether cookies may be sent over TLS only.
    pub(super) fn is_secure(&self) -> bool {
        self.transport != Transport::Plain
    }

    /// Refuses what must not be served.
    pub(super) fn check(&self) -> Result<(), ListenError> {
        let open = |address: &&SocketAddr| !address.ip().is_loopback() && !self.is_secure();
        match self.addresses.iter().find(open) {
            Some(open) => Err(ListenError::PlainBeyondLoopback(*open)),
            None => Ok(()),
        }
    }

    /// Binds, and answers with what `configure` registers once the server is awaited. A certificate of our own is kept in `keys`,
    /// which exists.
    pub(super) fn bind(
        &self,
        keys: &Path,
        body_bytes_max: usize,
        counters: Option<Arc<Counters>>,
        configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    ) -> Result<Reached, ListenError> {
        self.check()?;
        // With TLS the name was checked before: by the client, against the certificate.
        let hosts = if self.is_secure() {
            Hosts::Any
        } else {
            Hosts::only(&self.hosts)
        };
        let around = web::Data::new(Outer { hosts, counters });
        let mut http = HttpServer::new(move || {
            App::new()
                .app_data(around.clone())
                .app_data(web::PayloadConfig::new(body_bytes_max))
                .wrap(from_fn(outer))
                .configure(configure.clone())
        })
        .workers(self.workers)
        .max_connections(CONNECTIONS_MAX)
        .client_request_timeout(REQUEST_HEAD_WAIT)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
        let tls = match &self.transport {
            Transport::Plain => None,
            Transport::Certificate { chain, key } => Some(tls::from_files(chain, key)?),
            Transport::Generated(names) => Some(tls::generated(keys, names)?),
        };
        for address in &self.addresses {
            let failed = |source| ListenError::Listen {
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
        Ok(Reached {
            addresses: http.addrs(),
            server: http.run(),
        })
    }

    /// The address of the first listener, as a browser takes it.
    pub(super) fn url(&self, addresses: &[SocketAddr]) -> String {
        let scheme = if self.is_secure() { "https" } else { "http" };
        let first = addresses.first();
        first.map_or_else(String::new, |address| format!("{scheme}://{address}"))
    }
}
