//! What this server knows of its pair, in `keys/pair.json`: its role, and the other server with the key that it must have.
//!
//! It belongs to this server alone: it is in no backup of the configuration and is never synchronized.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use daybreak_sync::policy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::key::{KeyError, PublicKey, write_atomically};
use crate::limits::PARTED_MAX;

/// Which of the two a server is. It matters where the two share the work unevenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ServerRole)]
pub enum Role {
    /// The master.
    Primary,
    /// The slave.
    Secondary,
}

impl Role {
    /// The other one's.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Role::Primary => Role::Secondary,
            Role::Secondary => Role::Primary,
        }
    }
}

impl From<Role> for policy::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Primary => policy::Role::Primary,
            Role::Secondary => policy::Role::Secondary,
        }
    }
}

/// The other server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// As it calls itself.
    pub name: String,
    /// Where it listens for this one: `address:port`.
    pub address: String,
    /// What it is known by.
    pub key: PublicKey,
    /// Whether this server makes the connections.
    pub dials: bool,
    /// When the two were paired, in milliseconds since 1970.
    pub since_ms: u64,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Which of the two this server is; primary, before it was ever paired.
    pub role: Role,
    /// The other server.
    pub partner: Option<Partner>,
    /// The key of the one that was the other server last: a pair with another one makes it a replaced one.
    pub former: Option<PublicKey>,
    /// Those that were the other server once, the latest last. While there is another server, they are replaced.
    #[serde(default)]
    pub parted: Vec<Partner>,
    /// Servers that only manual synchronization is done with.
    #[serde(default)]
    pub listed: Vec<Partner>,
}

impl Pair {
    /// What the other server is known by, as text.
    #[must_use]
    pub fn partner_key(&self) -> Option<String> {
        let partner = self.partner.as_ref();
        partner.map(|partner| partner.key.fingerprint())
    }

    /// The one that has this key and was replaced.
    #[must_use]
    pub fn replaced(&self, key: &PublicKey) -> Option<&Partner> {
        let mut parted = self.parted.iter().filter(|_| self.partner.is_some());
        parted.find(|parted| parted.key == *key)
    }

    /// The one that has this key and that manual synchronization is done with: the other server, or one of those that are listed.
    #[must_use]
    pub fn manual(&self, key: &PublicKey) -> Option<&Partner> {
        let mut all = self.partner.iter().chain(&self.listed);
        all.find(|partner| partner.key == *key)
    }

    /// The same, with this one as the other server.
    #[must_use]
    pub fn with(mut self, partner: Partner, role: Role) -> Self {
        self.parted.retain(|parted| parted.key != partner.key);
        self.former = Some(partner.key.clone());
        (self.partner, self.role) = (Some(partner), role);
        self
    }

    /// The same, without another server.
    #[must_use]
    pub fn without_partner(mut self) -> Self {
        self.parted.extend(self.partner.take());
        let excess = self.parted.len().saturating_sub(PARTED_MAX);
        self.parted.drain(..excess);
        self
    }
}

impl Default for Pair {
    fn default() -> Self {
        Pair {
            role: Role::Primary,
            partner: None,
            former: None,
            parted: Vec::new(),
            listed: Vec::new(),
        }
    }
}

/// The file of it.
#[derive(Clone, Debug)]
pub struct PairFile(PathBuf);

impl PairFile {
    /// In this folder.
    #[must_use]
    pub fn of(keys: &Path) -> Self {
        PairFile(keys.join("pair.json"))
    }

    /// What is known.
    pub fn read(&self) -> Result<Pair, KeyError> {
        let failed = |why: String| KeyError::File {
            path: self.0.display().to_string(),
            why,
        };
        match fs::read(&self.0) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| failed(error.to_string())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Pair::default()),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Writes it; on return it is on the disk.
    pub fn write(&self, pair: &Pair) -> Result<(), KeyError> {
        let json = serde_json::to_vec_pretty(pair).expect("plain values");
        write_atomically(&self.0, &json).map_err(|error| KeyError::File {
            path: self.0.display().to_string(),
            why: error.to_string(),
        })
    }
}
