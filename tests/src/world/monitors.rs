//! Checks of what no datagram shows: the endpoint's own books, and the shape of a train.

use daybreak_tftp::endpoint::{Audit, Config, Train};
use daybreak_tftp::limits;

use super::failure::{Check, check};
use super::host::Lease;

/// T2, T7, T8, T9: the endpoint's books. `leases`: handles of images that anybody holds.
///
/// # Errors
/// The invariant that does not hold.
pub fn check_books(audit: &Audit, leases: usize, config: &Config) -> Check {
    check("T2", audit.beyond_window == 0, || {
        format!("{} transfers beyond their window", audit.beyond_window)
    })?;
    check("T7", audit.timers == audit.transfers, || {
        format!("{} timers, {} transfers", audit.timers, audit.transfers)
    })?;
    check(
        "T8",
        audit.files == audit.live && leases == audit.files,
        || {
            format!(
                "{} images held by {} live transfers, {leases} leased",
                audit.files, audit.live
            )
        },
    )?;
    check(
        "T9",
        audit.transfers <= config.transfers_max as usize,
        || {
            format!(
                "{} transfers, allowed are {}",
                audit.transfers, config.transfers_max
            )
        },
    )
}

/// T7, T8: nothing is left when nothing happens any more.
///
/// # Errors
/// The invariant that does not hold.
pub fn check_rest(audit: &Audit, leases: usize, timer: bool) -> Check {
    check("T8", leases == 0 && audit.files == 0, || {
        format!("{leases} leases and {} files at rest", audit.files)
    })?;
    let quiet = audit.transfers == 0 && audit.timers == 0 && !timer;
    check("T7", quiet, || format!("at rest: {audit:?}, timer {timer}"))
}

/// T11: what the kernel takes as one send.
///
/// # Errors
/// T11.
pub fn check_train(train: &Train<'_, Lease>) -> Check {
    let lens = (0..train.count).map(|position| {
        let span = train.block(position).1;
        span.end - span.start
    });
    let lens: Vec<u64> = lens.collect();
    let bytes = lens.iter().sum::<u64>() + 4 * lens.len() as u64;
    let fits = (1..=usize::from(limits::TRAIN_BLOCKS_MAX)).contains(&lens.len())
        && bytes <= limits::TRAIN_BYTES_MAX as u64;
    check("T11", fits, || {
        format!("a train of {} blocks and {bytes} octets", lens.len())
    })?;
    let blksize = u64::from(train.blksize);
    let even = lens
        .split_last()
        .is_none_or(|(last, others)| others.iter().all(|len| *len == blksize) && *last <= blksize);
    let named = train.wire_bytes() as u64 == bytes;
    check("T11", even && named, || {
        format!("blocks of {lens:?} octets")
    })
}
