//! Puts a system call filter in force, in the two ways that the library for its rules cannot: so that the kernel's
//! log names what was refused, and so that older kernels do not slow the processor down for it.

use std::io;

use seccompiler::sock_filter;

/// Whether the kernel's log names what a filter refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    /// It does.
    Logged,
    /// It does not.
    Silent,
}

/// Puts a filter in force for this thread and all that it starts.
///
/// # Errors
/// Those of seccomp(2).
pub fn install_filter(program: &[sock_filter], refusals: Refusals) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        // The kernel copies the program, and our type and that of libc are the same four numbers.
        filter: program.as_ptr().cast_mut().cast(),
    };
    // Before Linux 5.16 a filter turns off what a processor guesses ahead, unless told otherwise: that is for programs
    // that run others' code, and costs packets.
    let mut flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if refusals == Refusals::Logged {
        flags |= libc::SECCOMP_FILTER_FLAG_LOG;
    }
    // SAFETY: the program is as long as its length says, lives through the call, and is only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
