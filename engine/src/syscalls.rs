//! The system calls of serving, and the filter that refuses all others.
//!
//! The list has what the three drivers, the metrics, the catalogs, the journal, the log and the end need, and what
//! glibc and musl call beneath them: memory, threads, clocks, and the older and newer forms of one call. What is not
//! in it fails with ENOSYS, so that a library that tries a newer call falls back to the older one, and the
//! kernel's log names it (`type=1326 … syscall=N`); a boot server that is killed for a call that nobody foresaw
//! would be the greater harm.
//!
//! Not in it, on purpose: starting programs, new sockets, memory that is written and then executed.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

use crate::io::{Refusals, install_filter};

/// Allowed whatever their arguments are.
const ALLOWED: &[c_long] = &[
    // Packets: the rings, epoll, datagrams.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendto,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // The inspector makes itself the least of all threads.
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    // The metrics' connections.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_ppoll,
    // Catalogs, images, the journal. Which files is for Landlock.
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_ftruncate,
    libc::SYS_fchmod,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_membarrier,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Clocks and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Who and where we are.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_prlimit64,
];

/// The older forms, which some architectures never had.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_dup2,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_unlink,
    libc::SYS_getrlimit,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[c_long] = &[];

/// What of a call with a mode is needed of it.
const PRCTL_NAME: u64 = libc::PR_SET_NAME as u64;
#[allow(
    clippy::unnecessary_cast,
    reason = "the libcs give these numbers different types"
)]
const IOCTLS: [u64; 4] = [
    libc::FIONBIO as u64,
    libc::FIOCLEX as u64,
    libc::FIONREAD as u64,
    // Whether the log goes to a terminal.
    libc::TCGETS as u64,
];

/// What a call gets that is not allowed.
const REFUSED: SeccompAction = SeccompAction::Errno(libc::ENOSYS as u32);

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The architecture has no filters, or none that we can write.
    #[error("no filter can be made for this architecture: {0}")]
    Architecture(#[from] BackendError),
    /// The kernel refuses it.
    #[error("seccomp(2): {0}")]
    Refused(#[from] io::Error),
}

/// From now on this thread, and all that it starts, can make no other calls. Needs `no_new_privs`.
///
/// # Errors
/// The filter is not in force.
pub fn restrict() -> Result<(), FilterError> {
    let (expected, others) = (expected()?, others()?);
    install_filter(&expected, Refusals::Silent)?;
    Ok(install_filter(&others, Refusals::Logged)?)
}

/// Refuses what libc is known to try, without a line in the kernel's log. The flags of clone3 lie in memory, where no
/// filter sees whether they make a thread or a process; without it, libc takes clone.
fn expected() -> Result<BpfProgram, BackendError> {
    let filter = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        REFUSED,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

fn others() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = ALLOWED
        .iter()
        .chain(ALLOWED_OLD)
        .map(|&call| (call, Vec::new()))
        .collect();
    let executable = u64::from(libc::PROT_EXEC.cast_unsigned());
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    rules.extend([
        (libc::SYS_mmap, vec![masked(2, executable, 0)?]),
        (libc::SYS_mprotect, vec![masked(2, executable, 0)?]),
        // A thread, and no process. For clone3, see `expected`.
        (libc::SYS_clone3, Vec::new()),
        (libc::SYS_clone, vec![masked(0, thread, thread)?]),
        (libc::SYS_prctl, vec![equal(0, PRCTL_NAME)?]),
        (libc::SYS_tgkill, vec![equal(0, std::process::id().into())?]),
        (
            libc::SYS_ioctl,
            IOCTLS
                .into_iter()
                .map(|request| equal(1, request))
                .collect::<Result<_, _>>()?,
        ),
    ]);
    let filter = SeccompFilter::new(
        rules,
        REFUSED,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, BackendError> {
    rule(argument, SeccompCmpOp::MaskedEq(mask), value)
}

fn equal(argument: u8, value: u64) -> Result<SeccompRule, BackendError> {
    rule(argument, SeccompCmpOp::Eq, value)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    SeccompRule::new(vec![condition])
}
