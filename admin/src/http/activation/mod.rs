//! The activation site: the authority as web pages, for the vendor's staff, and for customers, who see their own licences only.
//!
//! Pages are made here and need no script; what they say is escaped by the templates. Whoever may see a page is in the table [`PLACES`];
//! every form that changes something carries a token of its session, and none is taken that another site has sent. Passwords, sessions,
//! bounds and TLS are those of the administration.

mod accounts;
mod form;
mod guard;
mod licences;
mod log_in;
mod page;
mod places;
mod site;

pub use places::{Access, PLACES};

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::web;

use self::site::Site;
use super::listening::{ListenError, Listening, Reached};
use crate::authority::{Authority, AuthorityError};
use crate::edge::{Clock, Entropy};
use crate::limits::FORM_BYTES_MAX;

/// What a start needs to know.
#[derive(Clone)]
pub struct Settings {
    /// The folder of the authority; made, if it is not there.
    pub folder: PathBuf,
    /// How the site is reached.
    pub listening: Listening,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// It cannot be reached.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The authority cannot be opened.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The folder of its certificate cannot be made.
    #[error("{path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The site, listening.
pub struct ActivationSite {
    server: Server,
    addresses: Vec<SocketAddr>,
    url: String,
}

impl ActivationSite {
    /// Opens the authority, binds, and begins to answer once it is awaited. Within a runtime of actix.
    pub fn build(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SiteError> {
        settings.listening.check()?;
        let authority =
            Authority::open(&settings.folder, Arc::clone(&clock), Arc::clone(&entropy))?;
        // Beside the signing keys, not among them.
        let certificate = settings.folder.join("site");
        if !certificate.is_dir() {
            let made = DirBuilder::new().mode(0o700).create(&certificate);
            made.or_else(|error| fs::read_dir(&certificate).map(drop).map_err(|_| error))
                .map_err(|source| SiteError::Folder {
                    path: certificate.clone(),
                    source,
                })?;
        }
        let secure = settings.listening.is_secure();
        let site = web::Data::new(Site::new(authority, clock, entropy, secure));
        let register = move |config: &mut web::ServiceConfig| {
            config.app_data(site.clone());
            places::configure(config);
        };
        let Reached { server, addresses } =
            settings
                .listening
                .bind(&certificate, FORM_BYTES_MAX, None, register)?;
        Ok(ActivationSite {
            url: settings.listening.url(&addresses),
            server,
            addresses,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the first listener, as a browser takes it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server: to be awaited, and stopped by its handle.
    pub fn into_server(self) -> Server {
        self.server
    }
}
