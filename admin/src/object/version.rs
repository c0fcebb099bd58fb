//! Which edits an object has seen: a version vector.
//!
//! Each node numbers its own changes 1, 2, 3, … without a gap, whatever object they are of. A version holds, for each
//! node, the number of that node's last change of this object. So comparing two versions tells a successive edit
//! from a concurrent one, and the highest number that a node gave is the head that a peer asks from.

use core::fmt;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

/// One server of a site, for as long as its data directory lives: 64 random bits, 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct NodeId(u64);

impl NodeId {
    /// A new node.
    #[must_use]
    pub fn from_random(random: [u8; 8]) -> Self {
        NodeId(u64::from_be_bytes(random))
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

/// For each node, its last change of this object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(BTreeMap<NodeId, u64>);

/// How one version stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Causality {
    /// The same edits.
    Same,
    /// The other has seen all of these, and more.
    Before,
    /// This has seen all of the other's, and more.
    After,
    /// Each has seen an edit that the other has not: a conflict.
    Concurrent,
}

impl Version {
    /// The version of a successive edit: the `change`th that `node` made.
    #[must_use]
    pub fn followed_by(&self, node: NodeId, change: u64) -> Self {
        let mut next = self.clone();
        next.0.insert(node, change);
        next
    }

    /// The last change that `node` made of this object; zero if none.
    #[must_use]
    pub fn change_of(&self, node: NodeId) -> u64 {
        self.0.get(&node).copied().unwrap_or(0)
    }

    /// How this stands to `other`.
    #[must_use]
    pub fn compare(&self, other: &Version) -> Causality {
        let behind = |a: &Version, b: &Version| {
            a.0.iter()
                .any(|(node, change)| *change > b.change_of(*node))
        };
        match (behind(self, other), behind(other, self)) {
            (false, false) => Causality::Same,
            (false, true) => Causality::Before,
            (true, false) => Causality::After,
            (true, true) => Causality::Concurrent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successive_edit_is_told_from_a_concurrent_one() {
        let (here, there) = (NodeId(1), NodeId(2));
        let first = Version::default().followed_by(here, 7);
        let ours = first.followed_by(here, 9);
        let theirs = first.followed_by(there, 1);
        assert_eq!(first.compare(&first.clone()), Causality::Same);
        assert_eq!(first.compare(&ours), Causality::Before);
        assert_eq!(theirs.compare(&first), Causality::After);
        assert_eq!(ours.compare(&theirs), Causality::Concurrent);
        // Whoever has seen both settles it.
        let settled = ours.followed_by(there, 2);
        assert_eq!(settled.compare(&theirs), Causality::After);
        assert_eq!(settled.compare(&ours), Causality::After);
    }

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
