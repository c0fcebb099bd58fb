//! Who makes changes.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// One life of a server's database: 64 random bits, 16 hexadecimal digits. A server that lost its newest changes begins
/// a new life, so that no number is given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct NodeId(u64);

impl NodeId {
    /// A new node.
    #[must_use]
    pub const fn from_random(random: [u8; 8]) -> Self {
        NodeId(u64::from_be_bytes(random))
    }

    /// The octets that [`from_random`](Self::from_random) takes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Reads exactly 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(digit) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(NodeId)
    }
}

impl TryFrom<String> for NodeId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        NodeId::parse(&text).ok_or("a node is 16 lower-case hexadecimal digits")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_node_has_one_spelling() {
        let node = NodeId::from_random([0, 0, 0, 0, 0, 0, 0xab, 0xcd]);
        assert_eq!(node.to_string(), "000000000000abcd");
        assert_eq!(NodeId::parse("000000000000abcd"), Some(node));
        for bad in ["", "abcd", "000000000000ABCD", "+00000000000abcd"] {
            assert_eq!(NodeId::parse(bad), None);
        }
    }
}
