//! What an operator may set of an `Endpoint`.

use core::net::IpAddr;
use core::time::Duration;

use super::BlksizeCaps;
use crate::limits;
use crate::wire::Rollover;

/// Settings of an [`Endpoint`](super::Endpoint). Every default works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest block size granted, in octets. A request for more gets this.
    pub blksize_max: u16,
    /// The same for the clients of some networks; where both say something, the smaller holds.
    pub blksize_caps: BlksizeCaps,
    /// Largest window granted, in blocks. A request for more gets this.
    pub windowsize_max: u16,
    /// See [`limits::WINDOW_BYTES_MAX`].
    pub window_bytes_max: u32,
    /// What follows block 65535 where the client does not say.
    pub rollover: Rollover,
    /// How fast data leaves by one way out.
    pub rate: Rate,
    /// See [`limits::PATIENCE`].
    pub patience: Duration,
    /// See [`limits::LINGER`].
    pub linger: Duration,
    /// See [`limits::TRANSFERS_MAX`].
    pub transfers_max: u32,
    /// See [`limits::HALF_OPEN_PER_SOURCE_MAX`].
    pub half_open_per_source_max: u32,
}

/// How fast data leaves by one way out, in octets per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As fast as the way is found to be, and never faster than `max`.
    Learned {
        /// The ceiling.
        max: Option<u64>,
    },
    /// At this rate, whatever comes of it.
    Fixed(u64),
}

impl Config {
    /// Largest block size granted to a client.
    pub(super) fn blksize_max(&self, client: IpAddr) -> u16 {
        let cap = self.blksize_caps.of(client).unwrap_or(limits::BLKSIZE_MAX);
        self.blksize_max.min(cap).max(limits::BLKSIZE_MIN)
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            blksize_max: limits::BLKSIZE_MAX,
            blksize_caps: BlksizeCaps::default(),
            // Measured gains end at one train of 44 to 64 blocks; larger windows only cost more when
            // one is lost.
            windowsize_max: 64,
            window_bytes_max: limits::WINDOW_BYTES_MAX,
            rollover: Rollover::Zero,
            rate: Rate::Learned { max: None },
            patience: limits::PATIENCE,
            linger: limits::LINGER,
            transfers_max: limits::TRANSFERS_MAX,
            half_open_per_source_max: limits::HALF_OPEN_PER_SOURCE_MAX,
        }
    }
}
