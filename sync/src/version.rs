//! Which edits an object has seen: a version vector.
//!
//! Each node numbers its changes, rising, whatever object they are of. A version holds, for each node, the number of
//! the last change by that node which this object has seen. So comparing two versions tells a successive edit
//! from a concurrent one.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// One edit: who made it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Who made it.
    pub node: NodeId,
    /// Its number there, from 1 on.
    pub number: u64,
}

/// For each node, its last change that an object has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

    /// Whether this edit was seen.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        dot.number <= self.change_of(dot.node)
    }

    /// What either has seen.
    #[must_use]
    pub fn joined(&self, other: &Version) -> Self {
        let mut joined = self.clone();
        for (node, change) in other.iter() {
            let entry = joined.0.entry(node).or_default();
            *entry = change.max(*entry);
        }
        joined
    }

    /// Forgets what `node` did after `change`.
    #[must_use]
    pub(crate) fn cut(mut self, node: NodeId, change: u64) -> Self {
        match change {
            0 => drop(self.0.remove(&node)),
            _ => {
                if let Some(entry) = self.0.get_mut(&node) {
                    *entry = change.min(*entry);
                }
            }
        }
        self
    }

    /// The nodes with their changes, in the order of the nodes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (NodeId, u64)> {
        self.0.iter().map(|(node, change)| (*node, *change))
    }

    /// How this stands to `other`.
    #[must_use]
    pub fn compare(&self, other: &Version) -> Causality {
        let behind =
            |a: &Version, b: &Version| a.iter().any(|(node, change)| change > b.change_of(node));
        match (behind(self, other), behind(other, self)) {
            (false, false) => Causality::Same,
            (false, true) => Causality::Before,
            (true, false) => Causality::After,
            (true, true) => Causality::Concurrent,
        }
    }
}

impl FromIterator<(NodeId, u64)> for Version {
    fn from_iter<I: IntoIterator<Item = (NodeId, u64)>>(entries: I) -> Self {
        Version(entries.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successive_edit_is_told_from_a_concurrent_one() {
        let (here, there) = (NodeId::from_random([1; 8]), NodeId::from_random([2; 8]));
        let first = Version::default().followed_by(here, 7);
        let ours = first.followed_by(here, 9);
        let theirs = first.followed_by(there, 1);
        assert_eq!(first.compare(&first.clone()), Causality::Same);
        assert_eq!(first.compare(&ours), Causality::Before);
        assert_eq!(theirs.compare(&first), Causality::After);
        assert_eq!(ours.compare(&theirs), Causality::Concurrent);
        // Whoever has seen both settles it.
        let settled = ours.joined(&theirs).followed_by(there, 2);
        assert_eq!(settled.compare(&theirs), Causality::After);
        assert_eq!(settled.compare(&ours), Causality::After);
    }
}
