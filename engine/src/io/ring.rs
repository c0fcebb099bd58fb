//! The ring itself: making it, and saying what is in the way when the kernel refuses.

use std::io;

use crate::limits;

/// Why there is no ring, in words for an operator.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel has no io_uring, or a seccomp filter pretends so.
    #[error(
        "io_uring is not available (io_uring_setup: ENOSYS): the kernel is older than 5.1 or was built without it, \
         or a seccomp filter hides it (containers: allow io_uring_setup, io_uring_enter and io_uring_register in the \
         seccomp profile). Or serve with --io portable"
    )]
    Missing,
    /// The sysctl forbids it.
    #[error(
        "io_uring is forbidden: sysctl kernel.io_uring_disabled = {0}. Set it to 0 (sysctl -w kernel.io_uring_disabled=0), \
         or with 1 add the engine's group to kernel.io_uring_group. Or serve with --io portable"
    )]
    Disabled(u32),
    /// A filter forbids it.
    #[error(
        "io_uring is forbidden (io_uring_setup: {0}) although sysctl kernel.io_uring_disabled allows it: a seccomp filter or a \
         security module is in the way (containers: allow io_uring_setup, io_uring_enter and io_uring_register in the \
         seccomp profile). Or serve with --io portable"
    )]
    Filtered(io::Error),
    /// Its memory may not be locked.
    #[error(
        "no memory for the io_uring of a worker: the limit of locked memory is too small (RLIMIT_MEMLOCK, `ulimit -l`). \
         Raise it to 64 MiB or more (systemd: LimitMEMLOCK=64M; shell: ulimit -l 65536), or use fewer --workers, \
         or serve with --io portable"
    )]
    Memory,
    /// Anything else.
    #[error("io_uring cannot be set up: {0}. Serve with --io portable")]
    Other(io::Error),
}

impl RingError {
    /// What an error of making a ring means.
    #[must_use]
    pub fn of(error: io::Error) -> Self {
        let disabled = || {
            let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
            text.trim().parse().ok().filter(|&value: &u32| value > 0)
        };
        Self::classify(error, disabled)
    }

    fn classify(error: io::Error, disabled: impl FnOnce() -> Option<u32>) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSYS) => RingError::Missing,
            Some(libc::EPERM | libc::EACCES) => {
                disabled().map_or(RingError::Filtered(error), RingError::Disabled)
            }
            Some(libc::ENOMEM) => RingError::Memory,
            _ => RingError::Other(error),
        }
    }
}

/// Whether a ring can be made here and now.
///
/// # Errors
/// What is in the way.
pub fn probe() -> Result<(), RingError> {
    runtime().map(drop)
}

/// Runs a future to its end on a ring of this thread.
///
/// # Errors
/// The ring could not be made; then the future was not.
pub fn start<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, RingError> {
    Ok(runtime()?.block_on(make()))
}

fn runtime() -> Result<tokio_uring::Runtime, RingError> {
    let entries = u32::try_from(limits::SENDS_MAX * 2).expect("a small number");
    let build = |ring: &io_uring::Builder| {
        let mut builder = tokio_uring::builder();
        builder.entries(entries).uring_builder(ring);
        tokio_uring::Runtime::new(&builder)
    };
    let mut plain = tokio_uring::uring_builder();
    plain.setup_cqsize(entries * 4);
    let mut quick = plain.clone();
    // Completions need not interrupt us: we enter the kernel often. (Linux 5.19 and 6.0.)
    quick.setup_coop_taskrun().setup_single_issuer();
    build(&quick)
        .or_else(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => build(&plain),
            _ => Err(error),
        })
        .map_err(RingError::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_is_in_the_way_and_what_to_do() {
        let text = |errno, sysctl: Option<u32>| {
            RingError::classify(io::Error::from_raw_os_error(errno), || sysctl).to_string()
        };
        for (text, words) in [
            (text(libc::ENOSYS, None), ["ENOSYS", "seccomp"]),
            (
                text(libc::EPERM, Some(2)),
                ["kernel.io_uring_disabled = 2", "sysctl -w"],
            ),
            (
                text(libc::EPERM, None),
                ["seccomp filter", "io_uring_setup"],
            ),
            (text(libc::ENOMEM, None), ["RLIMIT_MEMLOCK", "LimitMEMLOCK"]),
            (
                text(libc::EMFILE, None),
                ["cannot be set up", "--io portable"],
            ),
        ] {
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
            assert!(text.contains("--io portable"), "{text}");
        }
    }
}
