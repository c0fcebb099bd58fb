//! `serve`: the administration as a process, until a signal ends it.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use super::exit::Exit;
use crate::edge::{Machine, machine_zone};
use crate::http::{Application, Settings, Transport};
use crate::licences::MACHINE_ID;

/// How the administration is served.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Where to listen; may be repeated. Plain HTTP is served on loopback addresses only.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8069")]
    pub listen: Vec<SocketAddr>,
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
    /// Serve TLS with a certificate of our own making for this name or address; may be repeated. It is kept in the
    /// data directory.
    #[arg(long, value_name = "NAME")]
    pub tls_generate: Vec<String>,
    /// A name that plain HTTP is answered to, beside addresses and localhost: the name that a reverse proxy passes on. May
    /// be repeated. Any other is refused, so that no page elsewhere can take this server for its own.
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// Where the engine tells its metrics, which /metrics passes on; a loopback address.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9169")]
    pub engine_metrics: SocketAddr,
    /// Where to listen for the other server of a pair, while there is one or a pairing code is shown.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8070")]
    pub peer_listen: SocketAddr,
    /// What this server is called, for the other one and for people; otherwise the name of the machine.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Threads that answer requests.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// What is logged to standard error: error, warn, info or debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: String,
}

impl ServeArgs {
    fn transport(&self) -> Transport {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(chain), Some(key)) => Transport::Certificate {
                chain: chain.clone(),
                key: key.clone(),
            },
            _ if self.tls_generate.is_empty() => Transport::Plain,
            _ => Transport::Generated(self.tls_generate.clone()),
        }
    }
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve(data: &Path, args: &ServeArgs) -> Result<Exit> {
    if !["error", "warn", "info", "debug"].contains(&args.log.as_str()) {
        bail!("--log is error, warn, info or debug");
    }
    // What the framework says below a warning is about its own parts.
    let filter = EnvFilter::new(format!("warn,daybreak_admin={}", args.log));
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(filter)
        .init();
    let settings = Settings {
        data: data.to_owned(),
        listen: args.listen.clone(),
        transport: args.transport(),
        hosts: args.host.clone(),
        engine: args.engine_metrics,
        peer: args.peer_listen,
        name: args.name.clone().unwrap_or_else(machine_name),
        machine_id: MACHINE_ID.into(),
        workers: args.workers.into(),
        zone: Arc::new(machine_zone),
    };
    actix_web::rt::System::new().block_on(async move {
        let application = Application::build(&settings, Arc::new(Machine), Arc::new(Machine))?;
        announce(&application)?;
        let follower = application.follower();
        let server = application.into_server();
        let handle = server.handle();
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot wait for signals")?;
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                follower.stop();
                // Told at once; the server itself is awaited below.
                drop(handle.stop(true));
            }
        });
        server.await.context("the server failed")?;
        Ok(Exit::Done)
    })
}

/// As the kernel says it.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "daybreak" } else { name }.to_owned()
}

fn announce(application: &Application) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "administration: {}", application.url())?;
    if let Some(link) = application.set_up_link() {
        writeln!(
            out,
            "no administrator yet; make the first one here, once: {link}"
        )?;
    }
    out.flush()?;
    Ok(())
}
