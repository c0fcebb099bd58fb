//! Puts a system call filter in force, in the one way that the library for its rules cannot: so that the kernel's
//! log names what was refused.

use std::io;

use seccompiler::sock_filter;

/// Puts a filter in force for this thread and all that it starts.
///
/// # Errors
/// Those of seccomp(2).
pub fn install_filter(program: &[sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        // The kernel copies the program, and our type and that of libc are the same four numbers.
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the program is as long as its length says, lives through the call, and is only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_LOG,
            &raw const program,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
