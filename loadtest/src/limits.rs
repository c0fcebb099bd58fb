//! Every bound of the generator, and what happens at it.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Clients in one run. Beyond it: refused at the start. Each one costs about half a kilobyte until it ends.
pub const CLIENTS_MAX: u32 = 10_000_000;

/// Clients at once. Beyond it: refused at the start. Each holds a port, and an address has 65,535.
pub const CONCURRENCY_MAX: u32 = 60_000;

/// Threads. Beyond it: refused at the start.
pub const THREADS_MAX: u16 = 256;

/// Files of one boot, and servers. Beyond it: refused at the start.
pub const LIST_MAX: usize = 256;

/// Fleets, servers and file sets of a scenario. Beyond it: refused at the start. A fleet has a megabyte of histograms a thread.
pub const FLEETS_MAX: usize = 64;

/// Processes that share a scenario. Beyond it: refused at the start.
pub const SHARES_MAX: u32 = 256;

/// How far ahead a start may be set. Beyond it: refused.
pub const START_WAIT_MAX: Duration = Duration::from_secs(3600);

/// Largest datagram that is read, in octets: the largest block and its header. Beyond it: cut by the kernel.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;

/// What a socket gets without asking, in octets, on any Linux: enough for a window of 40 blocks of 1428.
pub const RECEIVE_BUFFER_DEFAULT: usize = 212_992;

/// Clients started between two looks at the sockets: a few, so that the answers to the first requests
/// do not wait for the last request.
pub const STARTS_PER_TURN: usize = 64;

/// Datagrams read from one socket before the others get their turn.
pub const DATAGRAMS_PER_TURN: u32 = 128;

/// Sockets that one wait may report: no more than starts, so that a storm starts as one.
pub const EVENTS_PER_TURN: usize = 64;

/// Descriptors beside those of the clients: files, epoll, standard streams.
const DESCRIPTORS_OWN: u64 = 64;

/// Clients at once need more open files than this process may have.
#[derive(Debug, thiserror::Error)]
#[error(
    "{concurrency} clients at once need {needed} open files, and the limit of this process is {limit}: \
     raise it (`ulimit -n {needed}` as root, or LimitNOFILE= of the service), or use --concurrency {}",
    .limit.saturating_sub(DESCRIPTORS_OWN)
)]
pub struct TooFewDescriptors {
    concurrency: u32,
    needed: u64,
    limit: u64,
}

/// Raises the limit of open files as far as these clients need.
///
/// # Errors
/// When the system does not allow it.
pub fn raise_descriptors(concurrency: u32) -> Result<(), TooFewDescriptors> {
    let needed = u64::from(concurrency) + DESCRIPTORS_OWN;
    let now = getrlimit(Resource::Nofile);
    let within = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if within(now.current) {
        return Ok(());
    }
    // The hard limit too, where it is lower: only a privileged process may.
    let maximum = if within(now.maximum) {
        now.maximum
    } else {
        Some(needed)
    };
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(needed),
            maximum,
        },
    )
    .map_err(|_| TooFewDescriptors {
        concurrency,
        needed,
        limit: now.maximum.unwrap_or(u64::MAX),
    })
}

/// How long an engine may take to answer a status report. Beyond it: it is sent again.
pub const STATUS_PATIENCE: Duration = Duration::from_secs(1);

/// How often a status report is sent. Beyond it: the engine is said not to answer.
pub const STATUS_TRIES: u32 = 4;

/// Octets of a line of the client's menu. Beyond it: letters are not taken.
pub const MENU_LINE_BYTES_MAX: usize = 40;

/// Octets of the file in which a client keeps its settings. Beyond it: refused.
pub const SAVED_BYTES_MAX: u64 = 4096;

/// Octets of one file in the single client's memory. Beyond it: its boot fails.
pub const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Octets of a text that the single client shows. Beyond it: its length and hash alone.
pub const SHOWN_BYTES_MAX: usize = 4096;

/// How long a server may take to answer the single client that runs already. Beyond it: it is said to be silent.
pub const PROBE_PATIENCE: Duration = Duration::from_millis(700);
