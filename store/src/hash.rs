//! What names an image: the BLAKE3 hash of its content.

use core::fmt;

/// The BLAKE3 hash of an image's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageHash([u8; 32]);

impl ImageHash {
    /// A hash from its octets.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        ImageHash(bytes)
    }

    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash of some content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        ImageHash(*blake3::hash(content).as_bytes())
    }

    /// Reads exactly 64 lower-case hexadecimal digits: one spelling, so one file name.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(ImageHash(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for ImageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ImageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_spelling() {
        let hash = ImageHash::of(b"boot");
        let hex = hash.to_string();
        assert_eq!(ImageHash::parse(&hex), Some(hash));
        assert_eq!(ImageHash::parse(&hex.to_uppercase()), None);
        assert_eq!(ImageHash::parse(&hex[1..]), None);
        assert_eq!(ImageHash::parse(&format!("{hex}0")), None);
        assert_eq!(ImageHash::parse(&"é".repeat(32)), None);
    }
}
