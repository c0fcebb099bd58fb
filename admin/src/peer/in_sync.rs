//! When this server and the other one last held the same, in `keys/in-sync.json`: to be shown while the other one is away, also after a
//! restart. It is written when the connection ends and now and then, so after a crash it may be a little older than it was.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::key::{PublicKey, write_atomically};
use super::pair::Pair;
use crate::limits::IN_SYNC_NOTED_MS;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    partner: PublicKey,
    at_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct InSync {
    path: PathBuf,
    /// What is in the file.
    noted_ms: Option<u64>,
}

impl InSync {
    pub(super) fn of(keys: &Path) -> Self {
        InSync {
            path: keys.join("in-sync.json"),
            noted_ms: None,
        }
    }

    /// When it was with this partner. A file that cannot be read is as good as none.
    pub(super) fn read(&mut self, pair: &Pair) -> Option<u64> {
        let noted = fs::read(&self.path).ok()?;
        let noted: Noted = serde_json::from_slice(&noted).ok()?;
        let partner = pair.partner.as_ref()?;
        self.noted_ms = (noted.partner == partner.key).then_some(noted.at_ms);
        self.noted_ms
    }

    /// They did at this time. It is written if what is written is much older, or `soon`.
    pub(super) fn note(&mut self, pair: &Pair, at_ms: u64, soon: bool) {
        let Some(partner) = &pair.partner else { return };
        let old = |noted_ms: u64| at_ms.abs_diff(noted_ms) >= IN_SYNC_NOTED_MS;
        let due = self.noted_ms.is_none_or(old) || (soon && self.noted_ms != Some(at_ms));
        if !due {
            return;
        }
        let noted = Noted {
            partner: partner.key.clone(),
            at_ms,
        };
        let json = serde_json::to_vec_pretty(&noted).expect("plain values");
        if let Err(error) = write_atomically(&self.path, &json) {
            tracing::warn!(%error, "when both servers last held the same cannot be kept");
        }
        // If it cannot be written, it is not tried without end.
        self.noted_ms = Some(at_ms);
    }
}
