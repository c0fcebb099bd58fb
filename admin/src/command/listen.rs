//! What both programs that serve HTTP have in common: how they are reached, what they log, and that a signal ends them.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;

use actix_web::dev::Server;
use anyhow::{Context, Result, bail};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use crate::http::{Listening, Transport};

/// How it is reached, beside the address, and what it logs.
#[derive(Clone, Debug, Args)]
pub struct ListenArgs {
    /// Serve TLS with the certificate chain in this PEM file.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "tls_generate"
    )]
    pub tls_certificate: Option<PathBuf>,
    /// The key of that certificate, a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Serve TLS with a certificate of our own making for this name or address; may be repeated. It is kept.
    #[arg(long, value_name = "NAME")]
    pub tls_generate: Vec<String>,
    /// A name that plain HTTP is answered to, beside addresses and localhost: the name that a reverse proxy passes on. May
    /// be repeated. Any other is refused, so that no page elsewhere can take this server for its own.
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// Threads that answer requests.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// What is logged to standard error: error, warn, info or debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: String,
}

impl ListenArgs {
    /// The same, as a server takes it.
    pub(super) fn listening(&self, addresses: &[SocketAddr]) -> Listening {
        let transport = match (&self.tls_certificate, &self.tls_key) {
            (Some(chain), Some(key)) => Transport::Certificate {
                chain: chain.clone(),
                key: key.clone(),
            },
            _ if self.tls_generate.is_empty() => Transport::Plain,
            _ => Transport::Generated(self.tls_generate.clone()),
        };
        Listening {
            addresses: addresses.to_vec(),
            transport,
            hosts: self.host.clone(),
            workers: self.workers.into(),
        }
    }

    /// Logs to standard error from now on.
    pub(super) fn begin_log(&self) -> Result<()> {
        if !["error", "warn", "info", "debug"].contains(&self.log.as_str()) {
            bail!("--log is error, warn, info or debug");
        }
        // What the framework says below a warning is about its own parts.
        let filter = EnvFilter::new(format!("warn,daybreak_admin={}", self.log));
        tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_env_filter(filter)
            .init();
        Ok(())
    }
}

/// Serves until SIGTERM or SIGINT; then `first` is done, and what runs is finished.
pub(super) async fn until_signal(
    server: Server,
    first: impl FnOnce() + Send + 'static,
) -> Result<()> {
    let handle = server.handle();
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot wait for signals")?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            first();
            // Told at once; the server itself is awaited below.
            drop(handle.stop(true));
        }
    });
    server.await.context("the server failed")
}
