//! Destinations that refuse segmentation offload: a device without it, or a datagram larger than the path's MTU.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Once;

use crate::limits;

/// Remembers, for each destination, the smallest datagram whose train was refused.
#[derive(Debug, Default)]
pub(super) struct Offload {
    refused: HashMap<IpAddr, u16>,
}

/// Once for all workers.
static SAID: Once = Once::new();

impl Offload {
    /// Whether a train of datagrams of `segment` octets may go to `remote` in one send.
    pub(super) fn allows(&self, remote: IpAddr, segment: u16) -> bool {
        self.refused.is_empty()
            || self
                .refused
                .get(&remote)
                .is_none_or(|&refused| segment < refused)
    }

    /// Whether this error of a train may mean a refusal. EIO: the device computes no checksums. EMSGSIZE and
    /// EINVAL: one datagram is larger than the MTU.
    pub(super) fn is_refusal(errno: i32) -> bool {
        matches!(errno, libc::EIO | libc::EMSGSIZE | libc::EINVAL)
    }

    /// A train was refused, and its blocks went when sent one by one.
    pub(super) fn refuse(&mut self, remote: IpAddr, segment: u16, errno: i32) {
        if self.refused.len() >= limits::OFFLOAD_REFUSALS_MAX {
            self.refused.clear();
        }
        let smallest = self.refused.entry(remote).or_insert(segment);
        *smallest = segment.min(*smallest);
        SAID.call_once(|| {
            tracing::warn!(
                client = %remote,
                datagram_bytes = segment,
                error = %io::Error::from_raw_os_error(errno),
                "segmentation offload refused: sending to this client block by block, which costs about \
                 four times the CPU. If blksize is larger than the path's MTU, lower blksize_max; \
                 further clients are counted, not logged"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_for_its_destination_and_for_datagrams_as_large() {
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut offload = Offload::default();
        assert!(offload.allows(one, 1472));
        offload.refuse(one, 8196, libc::EINVAL);
        offload.refuse(one, 9000, libc::EINVAL);
        assert!(!offload.allows(one, 8196) && !offload.allows(one, 9000));
        assert!(offload.allows(one, 1472) && offload.allows(other, 8196));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut offload = Offload::default();
        for n in 0..u32::try_from(limits::OFFLOAD_REFUSALS_MAX).unwrap() + 10 {
            offload.refuse(IpAddr::from(n.to_be_bytes()), 1472, libc::EIO);
            assert!(offload.refused.len() <= limits::OFFLOAD_REFUSALS_MAX);
        }
    }
}
