//! `daybreak-licence serve`: the activation site as a process, until a signal ends it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;

use super::confine::start_no_programs;
use super::listen::{ListenArgs, until_signal};
use crate::edge::Machine;
use crate::http::activation::{ActivationSite, Settings};

/// How the activation site is served.
#[derive(Clone, Debug, Args)]
pub struct SiteArgs {
    /// Where to listen; may be repeated. Plain HTTP is served on loopback addresses only.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8071")]
    pub listen: Vec<SocketAddr>,
    /// How it is reached, and what it logs.
    #[command(flatten)]
    pub reached: ListenArgs,
}

/// Serves the authority in `folder` until SIGTERM or SIGINT.
pub fn serve_site(folder: &Path, args: &SiteArgs) -> Result<()> {
    args.reached.begin_log()?;
    start_no_programs();
    let settings = Settings {
        folder: folder.to_owned(),
        listening: args.reached.listening(&args.listen),
    };
    actix_web::rt::System::new().block_on(async move {
        let site = ActivationSite::build(&settings, Arc::new(Machine), Arc::new(Machine))?;
        let mut out = io::stdout().lock();
        writeln!(out, "activation site: {}", site.url())?;
        out.flush()?;
        drop(out);
        until_signal(site.into_server(), || ()).await
    })
}
