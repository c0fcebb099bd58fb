//! Control messages (cmsg(3)), written and read as octets: which of our addresses a datagram came to or leaves
//! from, and the segment size of a train. Safe code: only lengths and numbers, no pointers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const WORD: usize = size_of::<usize>();
/// A `cmsghdr`: a length of one word, then level and type.
const HEADER: usize = WORD + 8;

/// Room for the control messages of one datagram.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; Control::BYTES]);

/// Where a datagram was sent to, in the kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The destination address that the datagram carried.
    pub(super) destination: IpAddr,
    /// Our own address for it: another one where the destination was a broadcast or multicast address.
    pub(super) local: IpAddr,
}

impl Arrival {
    /// Whether it came to us alone: RFC 1123 §4.2.3.4 forbids to answer a broadcast.
    pub(super) fn is_unicast(&self) -> bool {
        self.destination == self.local && !self.destination.is_multicast()
    }
}

impl Control {
    /// Octets of room: the largest address message and a segment size take 64; the kernel may add some.
    pub(super) const BYTES: usize = 128;

    pub(super) const fn empty() -> Self {
        Control([0; Control::BYTES])
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    /// The first `len` octets: what was put.
    pub(super) fn written(&self, len: usize) -> &[u8] {
        &self.0[..len]
    }

    /// Writes "leave from `source`" at `at`; where the next message goes.
    pub(super) fn put_source(&mut self, at: usize, source: IpAddr) -> usize {
        match source {
            IpAddr::V4(source) => {
                // in_pktinfo: interface (any), source, destination (ignored).
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&source.octets());
                self.put(at, libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
            }
            IpAddr::V6(source) => {
                // in6_pktinfo: source, interface (that of the destination's scope).
                let mut info = [0; 20];
                info[..16].copy_from_slice(&source.octets());
                self.put(at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
            }
        }
    }

    /// Writes "cut into datagrams of `bytes` octets" at `at`; where the next message goes.
    pub(super) fn put_segment(&mut self, at: usize, bytes: u16) -> usize {
        self.put(at, libc::SOL_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes())
    }

    fn put(&mut self, at: usize, level: i32, kind: i32, value: &[u8]) -> usize {
        let end = at + HEADER + value.len();
        let room = &mut self.0[at..];
        room[..WORD].copy_from_slice(&(HEADER + value.len()).to_ne_bytes());
        room[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        room[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..HEADER + value.len()].copy_from_slice(value);
        end.next_multiple_of(WORD)
    }

    /// Where a received datagram was sent to; `len` octets were written by the kernel.
    pub(super) fn arrival(&self, len: usize) -> Option<Arrival> {
        arrival(self.0.get(..len)?)
    }
}

/// Where a received datagram was sent to, by its control messages.
pub(super) fn arrival(mut rest: &[u8]) -> Option<Arrival> {
    loop {
        let length = usize::from_ne_bytes(rest.get(..WORD)?.try_into().ok()?);
        let number = |at: usize| Some(i32::from_ne_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        let (level, kind) = (number(WORD)?, number(WORD + 4)?);
        let value = rest.get(HEADER..length)?;
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let local: [u8; 4] = value.get(4..8)?.try_into().ok()?;
                let destination: [u8; 4] = value.get(8..12)?.try_into().ok()?;
                return Some(Arrival {
                    destination: Ipv4Addr::from(destination).into(),
                    local: Ipv4Addr::from(local).into(),
                });
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let destination: [u8; 16] = value.get(..16)?.try_into().ok()?;
                let destination = Ipv6Addr::from(destination).into();
                return Some(Arrival {
                    destination,
                    local: destination,
                });
            }
            _ => rest = rest.get(length.next_multiple_of(WORD)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_the_kernel_reads_them() {
        let mut control = Control::empty();
        let at = control.put_source(0, "127.0.0.2".parse().unwrap());
        assert_eq!(at, HEADER + 16);
        let end = control.put_segment(at, 1432);
        assert_eq!(end, at + HEADER + WORD);
        assert_eq!(control.0[..WORD], (HEADER + 12).to_ne_bytes());
        let at = control.put_source(0, "::1".parse().unwrap());
        assert_eq!(at, HEADER + 24);
    }

    #[test]
    fn the_destination_is_found_behind_other_messages_and_in_no_damaged_one() {
        let mut control = Control::empty();
        let at = control.put(0, libc::SOL_SOCKET, 99, &[1, 2, 3]);
        let end = control.put(
            at,
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            &[0, 0, 0, 1, 10, 0, 0, 1, 10, 0, 0, 255],
        );
        let arrival = control.arrival(end).unwrap();
        assert_eq!(arrival.local, IpAddr::from([10, 0, 0, 1]));
        assert!(!arrival.is_unicast());
        for len in 0..end - 4 {
            assert_eq!(control.arrival(len), None, "{len}");
        }
        // A length that lies, small or large, is not followed.
        for lie in [0, 1, HEADER - 1, usize::MAX, usize::MAX - 7] {
            control.0[..WORD].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(control.arrival(end), None, "{lie}");
        }
    }
}
