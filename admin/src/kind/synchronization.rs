//! How the two servers of a pair are kept the same: a setting of the site, so both mean the same.

use daybreak_sync::policy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::licensing::Redundancy;
use crate::limits::IMAGE_BYTES_PER_SECOND;

/// How the two servers of a pair are kept the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Synchronization {
    /// Whether changes go to the other server by themselves.
    #[serde(default = "on")]
    pub enabled: bool,
    /// The most that the two share of the work; the licences may allow less.
    #[serde(default)]
    pub mode: Mode,
    /// Octets of images per second between the two, each way; 0: no bound. Boots go before it.
    #[serde(default = "usual_rate")]
    pub image_bytes_per_second: u64,
}

/// How the two servers share the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The secondary is kept the same, and neither changed nor made for booting.
    None,
    /// The secondary boots terminals; only the primary is changed.
    Mirrored,
    /// Both boot terminals, and either may be changed at any time.
    #[default]
    Full,
}

impl Default for Synchronization {
    fn default() -> Self {
        Synchronization {
            enabled: true,
            mode: Mode::default(),
            image_bytes_per_second: IMAGE_BYTES_PER_SECOND,
        }
    }
}

fn on() -> bool {
    true
}

fn usual_rate() -> u64 {
    IMAGE_BYTES_PER_SECOND
}

impl Mode {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Mode::None => "none",
            Mode::Mirrored => "mirrored",
            Mode::Full => "full",
        }
    }
}

impl From<policy::Mode> for Mode {
    fn from(mode: policy::Mode) -> Self {
        match mode {
            policy::Mode::None => Mode::None,
            policy::Mode::Mirrored => Mode::Mirrored,
            policy::Mode::Full => Mode::Full,
        }
    }
}

impl From<Mode> for Redundancy {
    /// The most that this mode lets licences allow.
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::None => Redundancy::None,
            Mode::Mirrored => Redundancy::Mirrored,
            Mode::Full => Redundancy::Enterprise,
        }
    }
}
