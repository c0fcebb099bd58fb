//! Block sizes by where a client is: the path to some networks carries smaller packets than that to others.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A network, such as `10.1.0.0/16` or `2001:db8:7::/48`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    address: IpAddr,
    prefix_bits: u8,
}

/// A text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// It has another form.
    #[error("a network is written as ADDRESS/BITS, such as 10.1.0.0/16 or 2001:db8:7::/48")]
    Form,
    /// More bits than the address has.
    #[error("the address has {0} bits only")]
    Bits(u8),
    /// The address is one within the network.
    #[error("the network of that address is {0}")]
    Within(Subnet),
}

impl Subnet {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && first_bits(address, self.prefix_bits) == self.address
    }
}

/// The address with all bits behind the first `bits` cleared.
fn first_bits(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let (address, bits) = text.split_once('/').ok_or(SubnetError::Form)?;
        let address: IpAddr = address.parse().map_err(|_| SubnetError::Form)?;
        let prefix_bits: u8 = bits.parse().map_err(|_| SubnetError::Form)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix_bits > bits {
            return Err(SubnetError::Bits(bits));
        }
        let network = Subnet {
            address: first_bits(address, prefix_bits),
            prefix_bits,
        };
        if network.address == address {
            Ok(network)
        } else {
            Err(SubnetError::Within(network))
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// The largest block size of each network. Looked at once for each request: a search from the longest prefix on.
#[derive(Clone, Debug, Default)]
pub struct BlksizeCaps(Vec<(Subnet, u16)>);

impl BlksizeCaps {
    /// The largest block size granted to an address: that of the smallest network it lies in.
    #[must_use]
    pub fn of(&self, client: IpAddr) -> Option<u16> {
        let mut found = self.0.iter().filter(|(net, _)| net.contains(client));
        found.next().map(|&(_, blksize_max)| blksize_max)
    }
}

impl FromIterator<(Subnet, u16)> for BlksizeCaps {
    fn from_iter<I: IntoIterator<Item = (Subnet, u16)>>(caps: I) -> Self {
        let mut caps: Vec<_> = caps.into_iter().collect();
        caps.sort_by_key(|(net, _)| core::cmp::Reverse(net.prefix_bits));
        BlksizeCaps(caps)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn net(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn caps(caps: &[(&str, u16)]) -> BlksizeCaps {
        caps.iter().map(|&(text, cap)| (net(text), cap)).collect()
    }

    #[test]
    fn the_longest_prefix_wins_in_any_order_and_either_family() {
        let caps = caps(&[
            ("0.0.0.0/0", 1468),
            ("10.1.2.3/32", 512),
            ("10.0.0.0/8", 1428),
            ("10.1.0.0/16", 1024),
            ("2001:db8::/32", 1408),
            ("2001:db8:7::/48", 1232),
        ]);
        for (client, cap) in [
            ("192.0.2.1", Some(1468)),
            ("10.200.0.1", Some(1428)),
            ("10.1.255.255", Some(1024)),
            ("10.1.2.3", Some(512)),
            ("2001:db8:7:1::5", Some(1232)),
            ("2001:db8:8::5", Some(1408)),
            ("2001:db9::5", None),
            // The IPv4 networks hold no IPv6 address, `0.0.0.0/0` included.
            ("::1", None),
            ("::ffff:10.1.2.3", None),
        ] {
            assert_eq!(caps.of(client.parse().unwrap()), cap, "{client}");
        }
        assert_eq!(BlksizeCaps::default().of([10, 0, 0, 1].into()), None);
    }

    #[test]
    fn what_names_no_network_is_refused_and_the_right_one_is_named() {
        for text in ["10.1.0.0/16", "0.0.0.0/0", "::/0", "::1/128", "10.0.0.1/32"] {
            assert_eq!(net(text).to_string(), text);
        }
        for text in [
            "",
            "10.1.0.0",
            "10.1/16",
            "/16",
            "10.1.0.0/",
            "10.1.0.0/-1",
            "a/b",
        ] {
            assert_eq!(text.parse::<Subnet>(), Err(SubnetError::Form), "{text}");
        }
        assert_eq!("10.0.0.0/33".parse::<Subnet>(), Err(SubnetError::Bits(32)));
        assert_eq!("::/129".parse::<Subnet>(), Err(SubnetError::Bits(128)));
        let error = "10.1.2.3/16".parse::<Subnet>().unwrap_err();
        assert_eq!(error, SubnetError::Within(net("10.1.0.0/16")));
        assert!(error.to_string().contains("10.1.0.0/16"));
    }
}
