//! Addresses: of network cards, of hosts, of a terminal without DHCP.

use core::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::text::{Broken, checked_text};

/// The address of a network card. Read as six pairs of hexadecimal digits with `:`, `-` or nothing between;
/// written with `:` in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, example = "52:54:00:12:34:56")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// The only constructor: one card's own address, not a group's and not zero.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let octets = octets(text)
            .and_then(|octets| <[u8; 6]>::try_from(octets).ok())
            .ok_or(Broken(
                "a MAC address is six pairs of hexadecimal digits, as in 52:54:00:12:34:56",
            ))?;
        if octets[0] & 1 != 0 || octets == [0; 6] {
            return Err(Broken(
                "this is not the MAC address of a network card, but a group's or none",
            ));
        }
        Ok(MacAddress(octets))
    }

    /// With `-` between, as PXELINUX and GRUB ask.
    #[must_use]
    pub fn hyphenated(self) -> String {
        self.joined('-')
    }

    /// Whether it begins like this, spelled with colons and in lower case.
    #[must_use]
    pub fn starts_with(self, start: &str) -> bool {
        // Spelled in place: a list asks thousands.
        let mut text = [b':'; 17];
        for (octet, digits) in self.0.iter().zip(text.chunks_mut(3)) {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
            digits[..2].copy_from_slice(&[digit(octet >> 4), digit(octet & 15)]);
        }
        text.starts_with(start.as_bytes())
    }

    /// The six octets.
    #[must_use]
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    fn joined(self, between: char) -> String {
        use core::fmt::Write;
        let mut text = String::with_capacity(17);
        for (index, octet) in self.0.iter().enumerate() {
            if index > 0 {
                text.push(between);
            }
            let _ = write!(text, "{octet:02x}");
        }
        text
    }
}

/// Pairs of digits, all with the same character between, or none.
fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<&str> = match text.as_bytes().get(2) {
        Some(b':') => text.split(':').collect(),
        Some(b'-') => text.split('-').collect(),
        _ if text.is_ascii() => {
            let pairs = text.as_bytes().chunks(2);
            pairs
                .filter_map(|pair| core::str::from_utf8(pair).ok())
                .collect()
        }
        _ => return None,
    };
    let pair = |pair: &str| {
        let is_pair = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_pair.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
    };
    digits.into_iter().map(pair).collect()
}

impl TryFrom<String> for MacAddress {
    type Error = Broken;

    fn try_from(text: String) -> Result<Self, Broken> {
        MacAddress::parse(&text)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(':'))
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MacAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

checked_text!(
    /// The first three octets of a manufacturer's MAC addresses, as `52:54:00`.
    MacPrefix,
    "^[0-9a-f]{2}(:[0-9a-f]{2}){2}$",
    "a MAC prefix is three pairs of lower-case hexadecimal digits, as in 52:54:00",
    |text| {
        let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        text.split(':').count() == 3 && text.split(':').all(pair)
    }
);

checked_text!(
    /// The vendor and the device of a PCI card, as `10ec:8139`.
    PciId,
    "^[0-9a-f]{4}:[0-9a-f]{4}$",
    "a PCI identifier is vendor and device, four lower-case hexadecimal digits each, as in 10ec:8139",
    |text| {
        let four = |part: &str| part.len() == 4 && part.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        text.split(':').count() == 2 && text.split(':').all(four)
    }
);

checked_text!(
    /// A host: an IP address or a DNS name.
    Host,
    "^[A-Za-z0-9.:-]{1,253}$",
    "a host is an IP address or a DNS name",
    |text| text.parse::<IpAddr>().is_ok() || is_dns_name(text)
);

impl Host {
    /// As it stands in a URL: IPv6 in brackets.
    #[must_use]
    pub fn in_url(&self) -> String {
        match self.as_str().parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.as_str().to_owned(),
        }
    }
}

/// RFC 1123: labels of letters, digits and inner hyphens. The last is not all digits, or it would be an address.
fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The address data of a terminal that does not use DHCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticAddress {
    /// Its address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Leading bits that name its network.
    pub prefix_bits: u8,
    /// Where everything beyond its network goes.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub gateway: Option<IpAddr>,
    /// Name servers, first choice first; at most 3.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub name_servers: Vec<IpAddr>,
}

impl StaticAddress {
    /// The field that is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        if self.address.is_unspecified() || self.address.is_multicast() {
            return Err(("address", "a terminal needs an address of its own"));
        }
        if !(1..=bits).contains(&self.prefix_bits) {
            return Err((
                "prefix_bits",
                "an IPv4 network has 1 to 32 prefix bits, an IPv6 network 1 to 128",
            ));
        }
        let other_family = |other: &IpAddr| other.is_ipv4() != self.address.is_ipv4();
        if self.gateway.as_ref().is_some_and(other_family) {
            return Err((
                "gateway",
                "the gateway must be of the same family as the address",
            ));
        }
        if self.name_servers.len() > 3 {
            return Err(("name_servers", "at most 3 name servers"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_has_three_spellings_and_one_form() {
        for spelling in ["52:54:00:AB:cd:01", "52-54-00-ab-cd-01", "525400ABCD01"] {
            let mac = MacAddress::parse(spelling).expect(spelling);
            assert_eq!(mac.to_string(), "52:54:00:ab:cd:01");
            assert_eq!(mac.hyphenated(), "52-54-00-ab-cd-01");
            for end in 0..=17 {
                assert!(mac.starts_with(&mac.to_string()[..end]));
            }
            for other in ["2", "52:54:1", "52:54:00:ab:cd:02", "52:54:00:ab:cd:01:"] {
                assert!(!mac.starts_with(other), "{other}");
            }
        }
        for bad in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:01:02",
            "52:54-00:ab:cd:01",
            "+2:54:00:ab:cd:01",
            "52:54:00:ab:cd:1",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "5254:00abcd01",
            "ü2:54:00:ab:cd:01",
        ] {
            assert!(MacAddress::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_host_is_an_address_or_a_name_and_nothing_to_run() {
        for good in ["192.0.2.1", "2001:db8::1", "ts1", "ts-1.plant.example"] {
            assert!(Host::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "192.0.2",
            "1.2.3.4.5",
            "-a",
            "a-.b",
            "a..b",
            "http://a",
            "\\\\a\\b",
            "a/b",
            "a;b",
            "fe80::1%eth0",
        ] {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            Host::parse("2001:db8::1").expect("IPv6").in_url(),
            "[2001:db8::1]"
        );
    }
}
