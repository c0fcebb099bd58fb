//! `serve`: the administration as a process, until a signal ends it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;

use super::confine::start_no_programs;
use super::exit::Exit;
use super::listen::{ListenArgs, until_signal};
use crate::edge::{Machine, machine_zone};
use crate::http::{Application, Settings};
use crate::licences::MACHINE_ID;

/// How the administration is served.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Where to listen; may be repeated. Plain HTTP is served on loopback addresses only.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8069")]
    pub listen: Vec<SocketAddr>,
    /// How it is reached, and what it logs.
    #[command(flatten)]
    pub reached: ListenArgs,
    /// Where the engine tells its metrics, which /metrics passes on; a loopback address.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9169")]
    pub engine_metrics: SocketAddr,
    /// Where to listen for the other server of a pair, while there is one or a pairing code is shown.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8070")]
    pub peer_listen: SocketAddr,
    /// What this server is called, for the other one and for people; otherwise the name of the machine.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve(data: &Path, args: &ServeArgs) -> Result<Exit> {
    args.reached.begin_log()?;
    start_no_programs();
    let settings = Settings {
        data: data.to_owned(),
        listening: args.reached.listening(&args.listen),
        engine: args.engine_metrics,
        peer: args.peer_listen,
        name: args.name.clone().unwrap_or_else(machine_name),
        machine_id: MACHINE_ID.into(),
        zone: Arc::new(machine_zone),
    };
    actix_web::rt::System::new().block_on(async move {
        let application = Application::build(&settings, Arc::new(Machine), Arc::new(Machine))?;
        announce(&application)?;
        let follower = application.follower();
        let server = application.into_server();
        until_signal(server, move || follower.stop()).await?;
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
