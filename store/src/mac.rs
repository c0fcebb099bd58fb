//! The address of a network card, as names and catalogs have it.

use core::fmt;

/// Six octets. Which of them are one card's own is for the admin to say; here any are an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Octets of an address as text.
    pub const TEXT_BYTES: usize = 17;

    /// Six pairs of hexadecimal digits of either case, with `:` or `-` between, the same everywhere. Nothing is allocated.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let between = *text.get(2)?;
        if text.len() != Self::TEXT_BYTES || !matches!(between, b':' | b'-') {
            return None;
        }
        let digit = |octet: u8| char::from(octet).to_digit(16);
        let mut octets = [0; 6];
        for (octet, chars) in octets.iter_mut().zip(text.chunks(3)) {
            if chars.get(2).is_some_and(|&found| found != between) {
                return None;
            }
            let pair = digit(chars[0])? << 4 | digit(chars[1])?;
            *octet = u8::try_from(pair).expect("two digits");
        }
        Some(Mac(octets))
    }
}

impl fmt::Display for Mac {
    /// With `:` between, in lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_firmware_spells_it_and_nothing_else_is() {
        let mac = Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
        for text in [
            "52:54:00:ab:cd:ef",
            "52-54-00-AB-CD-EF",
            "52:54:00:aB:Cd:eF",
        ] {
            assert_eq!(Mac::parse(text.as_bytes()), Some(mac), "{text}");
        }
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:ef");
        for text in [
            "",
            "52",
            "525400abcdef",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:e",
            "52:54:00:ab:cd:eff",
            "52:54:00-ab:cd:ef",
            "52:54:00:ab:cd:eg",
            "5:254:00:ab:cd:ef",
            "52 54 00 ab cd ef",
            "+2:54:00:ab:cd:ef",
        ] {
            assert_eq!(Mac::parse(text.as_bytes()), None, "{text}");
        }
    }
}
