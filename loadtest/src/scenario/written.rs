//! What stands in a scenario file, and where. Nothing is judged here but the shape.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::plan::Role;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    pub(super) title: Option<String>,
    pub(super) seed: Option<u64>,
    pub(super) deadline_s: Option<Spanned<f64>>,
    pub(super) threads: Option<Spanned<u16>>,
    pub(super) concurrency: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) server: Vec<Server>,
    #[serde(default)]
    pub(super) file_set: Vec<FileSet>,
    #[serde(default)]
    pub(super) fleet: Vec<Fleet>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) name: Spanned<String>,
    pub(super) address: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSet {
    pub(super) name: Spanned<String>,
    pub(super) boot: Spanned<Vec<File>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) role: Role,
    pub(super) expect: Option<Spanned<PathBuf>>,
    pub(super) blake3: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) optional: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fleet {
    pub(super) name: Spanned<String>,
    pub(super) clients: Spanned<u32>,
    pub(super) profile: Spanned<String>,
    pub(super) files: Spanned<String>,
    pub(super) servers: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) rounds: Option<Spanned<u16>>,
    pub(super) arrival: Option<Spanned<Arrival>>,
    pub(super) loss: Option<Spanned<f64>>,
    pub(super) blksize: Option<Spanned<u16>>,
    pub(super) windowsize: Option<Spanned<u16>>,
    pub(super) timeout_s: Option<Spanned<f64>>,
    pub(super) tries: Option<Spanned<u16>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arrival {
    pub(super) start_s: Option<Spanned<f64>>,
    pub(super) ramp_s: Option<Spanned<f64>>,
    pub(super) rack_clients: Option<Spanned<u32>>,
    pub(super) every_s: Option<Spanned<f64>>,
}
