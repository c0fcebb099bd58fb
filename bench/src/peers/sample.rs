//! What one server did under one load, once: the raw results.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::floor::Floor;
use super::server::Server;

/// All that was measured: what `--json` writes and `--from` reads.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Raw {
    /// Release of the kernel.
    pub kernel: String,
    /// Cores of the machine.
    pub cores: usize,
    /// Every run.
    pub samples: Vec<Sample>,
    /// Every run of the bare sender.
    pub floors: Vec<Floor>,
    /// Servers that know no window (RFC 7440): they were not asked for one.
    pub without_window: Vec<Server>,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the load.
    pub scenario: String,
    /// The server.
    pub server: Server,
    /// From 1.
    pub round: u32,
    /// CPU seconds of the server and its children.
    pub server_cpu_s: f64,
    /// Most of its own memory at a time, in octets: what is mapped of files is not in it.
    pub memory_own: u64,
    /// The same with what is mapped of files.
    pub memory_resident: u64,
    /// Datagrams that the kernel dropped at the server's sockets for want of receive buffer.
    pub server_drops: u64,
    /// Packets that left by the slow wire, and that its queue dropped.
    pub wire: Option<super::network::Queue>,
    /// Why the server had ended before the load had, if it had.
    pub died: Option<String>,
    /// What the generator reports.
    pub report: Report,
}

/// Of the report of `daybreak-loadtest --json`, what is used here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// How the clients fared.
    pub clients: Clients,
    /// From power-on to the first block.
    pub time_to_first_data_ms: Distribution,
    /// From power-on to the last block, of those who got it.
    pub completion_ms: Distribution,
    /// From the first power-on to the last end.
    pub elapsed_s: f64,
    /// Octets of whole files.
    pub bytes: u64,
    /// Packets, as the clients saw them.
    pub packets: Packets,
    /// What it used itself.
    pub generator: Generator,
}

/// How the clients fared.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Clients {
    /// Got the file, whole and right.
    pub completed: u32,
    /// Did not.
    pub failed: u32,
    /// Those by cause.
    pub failures: BTreeMap<String, u32>,
}

/// Quantiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub struct Distribution {
    pub count: u64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// Packets, as the clients saw them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Packets {
    /// Taken in.
    pub received: u64,
    /// Handed out.
    pub sent: u64,
}

/// What the generator used.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Generator {
    /// CPU seconds.
    pub cpu_s: f64,
}

impl Sample {
    /// Whether every client got its file.
    #[must_use]
    pub fn all_finished(&self) -> bool {
        self.report.clients.failed == 0 && self.report.clients.completed > 0
    }

    /// Whether the server acknowledged a window: a client that gets windows acknowledges few packets.
    #[must_use]
    pub fn had_windows(&self) -> bool {
        let Packets { received, sent } = self.report.packets;
        sent * 2 < received
    }
}
