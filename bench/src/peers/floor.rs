//! The bare sender (`peer-floor`): the least that sending costs here.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::network::Network;
use super::running::{self, Stop};

/// Octets that it sends: some seconds.
const BYTES: u64 = 2 << 30;
const DEADLINE: Duration = Duration::from_secs(60);

/// What one run of it found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Floor {
    /// Blocks of one send.
    pub blocks: usize,
    /// Whether its receiver waits for all its sockets at once, as the generator does.
    #[serde(default)]
    pub watched: bool,
    /// CPU seconds of the sender for each 10^9 octets.
    pub cpu_s_per_gb: f64,
}

impl Floor {
    /// Who receives, for people.
    #[must_use]
    pub fn reader(&self) -> &'static str {
        match self.watched {
            true => "reader waits for all sockets",
            false => "reader knows the next socket",
        }
    }
}

/// Runs it once.
///
/// # Errors
/// When it fails, is too slow, or somebody stops us.
pub fn measure(
    program: &Path,
    network: &Network,
    blocks: usize,
    watched: bool,
    stop: &Stop,
) -> Result<Floor> {
    let mut command = network.client(program, None);
    command.args(["--blocks", &blocks.to_string()]);
    command.args(["--bytes", &BYTES.to_string()]);
    if watched {
        command.arg("--watched");
    }
    let output = running::output(command, DEADLINE, stop, || {})?;
    serde_json::from_str(&output).with_context(|| format!("{} said: {output}", program.display()))
}
