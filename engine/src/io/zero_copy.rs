//! Kernel zero-copy (`SENDMSG_ZC`): which trains are tried without a copy, how they are cut for it, and what becomes
//! of a refusal.
//!
//! Such a send leases its slot, with the headers in it and the map of the image: the network card reads both after the
//! system call is over, and the kernel says when nothing refers to them any more. A refused train leaves at once with
//! a copy, and nobody waits for another try: destinations that refused are remembered, a lack of memory is let pass,
//! and what the kernel does not know is not tried again.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::sync::Once;

use daybreak_tftp::endpoint::Train;

use super::Content;
use crate::limits;

/// The smallest page of any kernel: on larger ones a train is cut earlier than it must be.
const PAGE_BYTES: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ZeroCopy {
    on: bool,
    /// Trains that are copied before the next try.
    pause: u32,
    refused: HashSet<IpAddr>,
}

/// Once for all workers.
static SAID: Once = Once::new();

impl ZeroCopy {
    pub(super) fn new(on: bool) -> Self {
        ZeroCopy {
            on,
            ..Self::default()
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// Whether a train of so many octets should leave without a copy.
    pub(super) fn takes(&mut self, remote: IpAddr, bytes: usize) -> bool {
        if !self.on || bytes < limits::ZERO_COPY_BYTES_MIN {
            return false;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        self.refused.is_empty() || !self.refused.contains(&remote)
    }

    /// Whether this error of a send without a copy may be none with one.
    pub(super) fn is_refusal(errno: i32) -> bool {
        matches!(
            errno,
            libc::ENOMEM
                | libc::ENOBUFS
                | libc::EMSGSIZE
                | libc::EOPNOTSUPP
                | libc::EINVAL
                | libc::EIO
        )
    }

    /// A train was refused without a copy, and went with one.
    pub(super) fn refuse(&mut self, remote: IpAddr, errno: i32) {
        let consequence = match errno {
            libc::ENOMEM | libc::ENOBUFS => {
                self.pause = limits::ZERO_COPY_PAUSE_TRAINS;
                "copying for a while. Raise the limit of locked memory (systemd: LimitMEMLOCK=; shell: ulimit -l)"
            }
            libc::EMSGSIZE | libc::EIO => {
                if self.refused.len() >= limits::OFFLOAD_REFUSALS_MAX {
                    self.refused.clear();
                }
                self.refused.insert(remote);
                "copying for this client"
            }
            _ => {
                self.on = false;
                "copying from now on: this kernel cannot do without"
            }
        };
        SAID.call_once(|| {
            let error = io::Error::from_raw_os_error(errno);
            tracing::warn!(
                client = %remote,
                %error,
                consequence,
                "a send without a copy was refused; it left with one, and further refusals are counted, not logged"
            );
        });
    }
}

/// How many blocks from the first one of a train fit into one send without a copy: each header and each page of the
/// payload is one segment. 0: not even one of them does.
pub(super) fn fitting(train: &Train<'_, Content>) -> u16 {
    let first = train.file.as_ptr() as usize;
    let mut segments = 0;
    for position in 0..train.count {
        let (_, range) = train.block(position);
        let offset = |octet: u64| usize::try_from(octet).unwrap_or(usize::MAX);
        let start = first.wrapping_add(offset(range.start)) % PAGE_BYTES;
        let len = offset(range.end - range.start);
        segments += 1 + (start + len).div_ceil(PAGE_BYTES);
        if segments > limits::ZERO_COPY_SEGMENTS_MAX {
            return position;
        }
    }
    train.count
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const BYTES: usize = limits::ZERO_COPY_BYTES_MIN;

    #[test]
    fn a_refusal_has_the_reach_of_its_cause() {
        let mut kernel = ZeroCopy::new(true);
        assert!(kernel.takes(ONE, BYTES) && !kernel.takes(ONE, BYTES - 1));
        kernel.refuse(ONE, libc::EIO);
        assert!(!kernel.takes(ONE, BYTES) && kernel.takes(OTHER, BYTES));
        kernel.refuse(OTHER, libc::ENOMEM);
        let copied = (0..).take_while(|_| !kernel.takes(OTHER, BYTES)).count();
        assert_eq!(copied, limits::ZERO_COPY_PAUSE_TRAINS as usize);
        kernel.refuse(OTHER, libc::EOPNOTSUPP);
        assert!(!kernel.takes(OTHER, BYTES) && !kernel.is_on());
        assert!(!ZeroCopy::new(false).takes(ONE, BYTES));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut kernel = ZeroCopy::new(true);
        for n in 0..u32::try_from(limits::OFFLOAD_REFUSALS_MAX).unwrap() + 10 {
            kernel.refuse(IpAddr::from(n.to_be_bytes()), libc::EMSGSIZE);
            assert!(kernel.refused.len() <= limits::OFFLOAD_REFUSALS_MAX);
        }
    }
}
