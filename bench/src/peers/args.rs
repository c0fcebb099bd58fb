//! What was typed.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;

use super::scenario::{self, QUICK, Scenario};
use super::server::Server;

/// Compares Daybreak's engine with other TFTP servers, under one load and the same rules.
///
/// Needs root, for private network namespaces, and two cores: the servers run on core 0, the clients on core 1. Whatever
/// else runs on the machine spoils the figures. `make peers` installs and builds what it needs.
#[derive(Debug, Parser)]
#[command(name = "peers", version)]
pub struct Args {
    /// A short set: few loads, few servers, one round
    #[arg(long)]
    pub quick: bool,
    /// Only these loads: names, or else beginnings of names, as `--list` has them
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only these servers
    #[arg(long, value_enum, value_name = "SERVER,…", value_delimiter = ',')]
    pub servers: Vec<Server>,
    /// Rounds: each server once a round [default: 3, or 1 of the short set]
    #[arg(long)]
    pub rounds: Option<u32>,
    /// Writes the tables to a file: between its marks, if it has them (as docs/performance.md)
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Writes the raw results to a file, after every run
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measures nothing: reads raw results of earlier runs, and shows them as one
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    pub from: Vec<PathBuf>,
    /// Lists the loads
    #[arg(long)]
    pub list: bool,
}

impl Args {
    /// The loads that are meant.
    ///
    /// # Errors
    /// When a name is none's.
    pub fn scenarios(&self) -> Result<Vec<Scenario>> {
        let mut all = scenario::all();
        for name in &self.only {
            ensure!(
                all.iter().any(|scenario| is_meant(name, scenario)),
                "no load is called {name}: --list shows them"
            );
        }
        if !self.only.is_empty() {
            all.retain(|scenario| self.only.iter().any(|name| is_meant(name, scenario)));
        } else if self.quick {
            all.retain(|scenario| QUICK.contains(&scenario.name.as_str()));
        }
        Ok(all)
    }

    /// The servers that are meant.
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        match (self.servers.is_empty(), self.quick) {
            (false, _) => self.servers.clone(),
            (true, true) => Server::QUICK.to_vec(),
            (true, false) => Server::ALL.into_iter().chain(Server::TWO_WORKERS).collect(),
        }
    }

    /// The rounds that are meant.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }
}

/// Whether a name means a scenario: it is its own, or nobody's own and the beginning of it.
fn is_meant(name: &str, scenario: &Scenario) -> bool {
    let owned = scenario::all().iter().any(|other| other.name == name);
    match scenario.name.strip_prefix(name) {
        Some(rest) if owned => rest.is_empty(),
        Some(rest) => rest.starts_with('-') || name.ends_with('-') || name == "wire",
        None => false,
    }
}
