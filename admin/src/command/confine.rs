//! A process that serves starts no programs, whatever is done to it: the kernel refuses them. It never needs one.
//!
//! This is no sandbox like the engine's: what it may open and whom it may ask is for the user that it runs as.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// What starting a program fails with.
const REFUSED: SeccompAction = SeccompAction::Errno(libc::EPERM as u32);

/// From now on no thread of this process can become another program, nor can what it starts. Where the kernel has no filters,
/// that is said, and it serves all the same.
pub(super) fn start_no_programs() {
    if let Err(error) = refuse_programs() {
        tracing::warn!(%error, "the kernel does not keep this process from starting programs");
    }
}

fn refuse_programs() -> Result<(), seccompiler::Error> {
    apply_filter_all_threads(&filter()?)
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let refused = [libc::SYS_execve, libc::SYS_execveat].map(|call| (call, Vec::new()));
    let filter = SeccompFilter::new(
        BTreeMap::from(refused),
        SeccompAction::Allow,
        REFUSED,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::process::Command;

    use seccompiler::apply_filter;

    use super::filter;

    #[test]
    fn under_the_filter_no_program_is_started() {
        // A thread of its own: the other tests go on as they are.
        let tried = std::thread::spawn(|| {
            let mut program = Command::new("/bin/true");
            assert!(program.status().expect("started").success());
            apply_filter(&filter().expect("a filter")).expect("in force");
            let refused = program.status().expect_err("refused");
            assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        });
        tried.join().expect("as it must be");
    }
}
