//! Socket addresses as the kernel lays them out, without an allocation.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for the address of either family, as the kernel reads and writes it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union RawAddress {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddress {
    /// Octets of room.
    pub(super) const BYTES: libc::socklen_t = size_of::<RawAddress>() as libc::socklen_t;

    /// No address yet.
    pub(super) fn empty() -> Self {
        // SAFETY: `sockaddr_in6` is plain numbers, for which all zeros is a value.
        let v6 = unsafe { std::mem::zeroed() };
        RawAddress { v6 }
    }

    /// Becomes `address`; how many octets of it count.
    pub(super) fn set(&mut self, address: SocketAddr) -> libc::socklen_t {
        *self = RawAddress::empty();
        match address {
            SocketAddr::V4(address) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(*address.ip()).to_be(),
                    },
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(address) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: address.ip().octets(),
                    },
                    sin6_scope_id: address.scope_id(),
                };
                size_of::<libc::sockaddr_in6>() as libc::socklen_t
            }
        }
    }

    /// What the kernel wrote, `len` octets of it; `None` for a family that is not ours.
    pub(super) fn get(&self, len: libc::socklen_t) -> Option<SocketAddr> {
        // SAFETY: both fields are plain numbers without padding between or after them, and all octets of the
        // larger one were written, by `empty` at least.
        let octets: &[u8; size_of::<RawAddress>()] = unsafe { &*std::ptr::from_ref(self).cast() };
        parse(octets.get(..usize::try_from(len).ok()?)?)
    }
}

/// An address of either family in the kernel's form; `None` for a family that is not ours.
pub(super) fn parse(octets: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = octets.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET if octets.len() >= size_of::<libc::sockaddr_in>() => {
            let ip: [u8; 4] = *rest.first_chunk()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 if octets.len() >= size_of::<libc::sockaddr_in6>() => {
            // The flow label of one datagram says nothing about who sent it.
            let (ip, rest) = rest.get(4..)?.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_way_through_the_kernel_s_form() {
        for text in [
            "127.0.0.1:69",
            "255.1.2.3:65535",
            "[::1]:4900",
            "[fe80::1%3]:1",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let mut raw = RawAddress::empty();
            let len = raw.set(address);
            assert_eq!(raw.get(len), Some(address));
            assert_eq!(raw.get(len - 1), None);
        }
        assert_eq!(RawAddress::empty().get(RawAddress::BYTES), None);
    }
}
