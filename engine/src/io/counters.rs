//! What a driver counts.

use std::io;

/// Why a send failed, as far as anybody must act differently on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The content could not be read: its file was truncated, or the disk failed.
    Fault,
    /// The datagram is larger than the path carries, and must not be fragmented.
    TooBig,
    /// No room in a buffer or a queue. As good as a loss.
    NoBuffers,
    /// No way to the client at the moment. As good as a loss.
    Unreachable,
    /// A firewall of ours forbids it. As good as a loss.
    Forbidden,
    /// Anything else. As good as a loss.
    Other,
}

impl SendError {
    /// All of them, in the order of [`Counters::send_errors`].
    pub const ALL: [SendError; 6] = [
        SendError::Fault,
        SendError::TooBig,
        SendError::NoBuffers,
        SendError::Unreachable,
        SendError::Forbidden,
        SendError::Other,
    ];

    /// The class of an errno.
    #[must_use]
    pub fn of(errno: i32) -> Self {
        match errno {
            libc::EFAULT => SendError::Fault,
            libc::EMSGSIZE => SendError::TooBig,
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => SendError::NoBuffers,
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ECONNREFUSED
            | libc::EADDRNOTAVAIL => SendError::Unreachable,
            libc::EPERM | libc::EACCES => SendError::Forbidden,
            _ => SendError::Other,
        }
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SendError::Fault => "content_unreadable",
            SendError::TooBig => "too_big",
            SendError::NoBuffers => "no_buffers",
            SendError::Unreachable => "unreachable",
            SendError::Forbidden => "forbidden",
            SendError::Other => "other",
        }
    }

    /// What an operator does about it; nothing where time does.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            SendError::Fault => {
                "`daybreak-admin verify` names damaged images; the kernel's log names a failing disk"
            }
            SendError::TooBig => {
                "lower blksize_max, or that of the client's [[subnet]]; or leave dont_fragment out"
            }
            _ => "",
        }
    }

    /// Whether trying again cannot help.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, SendError::Fault | SendError::TooBig)
    }
}

/// What happened in one driver since its start. Only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Turns that were taken.
    pub turns: u64,
    /// Datagrams delivered.
    pub datagrams_received: u64,
    /// Datagrams not delivered: sent to a broadcast or multicast address, or without a usable sender.
    pub datagrams_ignored: u64,
    /// Receives that failed.
    pub receive_errors: u64,
    /// Sends handed to the kernel: a train is one.
    pub sends: u64,
    /// Sends dropped because the driver had no room.
    pub sends_dropped: u64,
    /// Trains that were refused as one send and went block by block.
    pub trains_refused: u64,
    /// Trains that went block by block because their destination had refused one.
    pub trains_singly: u64,
    /// Sends without a copy: each leases its memory.
    pub zero_copy_sends: u64,
    /// Leases that the kernel has given back.
    pub zero_copy_released: u64,
    /// Leases that came back with the word that the kernel had copied after all.
    pub zero_copy_copied: u64,
    /// Sends without a copy that were refused, and left with one.
    pub zero_copy_refused: u64,
    /// Failed sends by class, in the order of [`SendError::ALL`].
    pub send_errors: [u64; SendError::ALL.len()],
}

impl Counters {
    pub(super) fn count_send_error(&mut self, error: SendError) {
        self.send_errors[error as usize] += 1;
    }
}

/// Whether a receive error may pass; one that cannot ends the driver instead of spinning on it.
pub(super) fn receive_error_passes(errno: i32) -> io::Result<()> {
    match errno {
        libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL | libc::EOPNOTSUPP => {
            Err(io::Error::from_raw_os_error(errno))
        }
        _ => Ok(()),
    }
}
