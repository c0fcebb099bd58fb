//! What an `Endpoint` tells its driver about transfers, and what it counts.

use core::time::Duration;

use super::{Path, TransferId};
use crate::wire::ErrorCode;

/// Something an operator may want to know. Bounded by [`crate::limits::EVENTS_MAX`].
#[derive(Clone, Debug)]
pub enum Event<F> {
    /// A transfer was acknowledged for the first time: the client is there.
    Started {
        /// Which.
        transfer: TransferId,
        /// Whose.
        path: Path,
        /// The file.
        file: F,
    },
    /// A transfer ended. It may never have started.
    Ended(Ended<F>),
}

/// The end of a transfer.
#[derive(Clone, Debug)]
pub struct Ended<F> {
    /// Which.
    pub transfer: TransferId,
    /// Whose.
    pub path: Path,
    /// The file.
    pub file: F,
    /// How it ended.
    pub outcome: Outcome,
    /// Octets of the file that the client acknowledged.
    pub bytes_acknowledged: u64,
    /// Blocks that were sent more than once.
    pub blocks_resent: u64,
    /// From the request to the end.
    pub duration: Duration,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The last block was acknowledged.
    Completed,
    /// The client asked for the size and went away with an ERROR right after the OACK (EDK2, PXE ROMs).
    Probe,
    /// The client sent an ERROR.
    Aborted(ErrorCode),
    /// The client was silent for longer than our patience.
    TimedOut,
    /// It was silent so long after all had been sent to it, and it had acknowledged all but the last window: it is
    /// likely to have everything, and to have begun to run it.
    Unconfirmed,
    /// The same client port asked for another file, or for the same one again after a silence.
    Replaced,
    /// The driver could not send (the image is damaged, the disk fails).
    SendFailed,
    /// The server is going down.
    ShutDown,
}

/// What happened since the start, by cause. Only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the names are the metric names, documented in docs/operations.md"
)]
pub struct Counters {
    pub requests: u64,
    pub requests_duplicate: u64,
    pub requests_refused: u64,
    pub requests_write: u64,
    pub requests_over_limit: u64,
    pub requests_while_draining: u64,
    pub packets_malformed: u64,
    pub packets_unknown_tid: u64,
    pub packets_ignored: u64,
    pub acks: u64,
    pub acks_stale: u64,
    pub blocks_sent: u64,
    pub blocks_resent: u64,
    pub bytes_sent: u64,
    pub trains_sent: u64,
    pub rewinds: u64,
    pub timeouts: u64,
    pub replies_dropped: u64,
    pub events_dropped: u64,
    pub transfers_started: u64,
    pub transfers_completed: u64,
    pub transfers_probe: u64,
    pub transfers_aborted: u64,
    pub transfers_timed_out: u64,
    pub transfers_unconfirmed: u64,
    pub transfers_replaced: u64,
    pub transfers_failed: u64,
}
