//! The books of one server's database: how far its log is, what it has seen of others, and what all of it adds up to.
//!
//! Every write of an object, by an operator or by a merge, takes the next position of the log, in the same transaction.
//! An edit's [`Dot`] is its position. Each position has a mark that depends on all writes before it: a server
//! that lost its newest writes and made others has other marks at the same positions, and is found out.

use alloc::collections::BTreeMap;
use core::fmt;

use crate::limits::NODES_MAX;
use crate::wire::encode_row;
use crate::{Dot, NodeId, Row, Version};

/// Tells histories of one length apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark(pub [u8; 16]);

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A position of a log, and its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Head {
    /// How many writes.
    pub position: u64,
    /// Which ones.
    pub mark: Mark,
}

/// For each node, how much of its log was taken in completely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads(BTreeMap<NodeId, Head>);

impl Heads {
    /// How much of this node's log.
    #[must_use]
    pub fn of(&self, node: NodeId) -> Option<Head> {
        self.0.get(&node).copied()
    }

    /// Whether this edit was seen.
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.of(dot.node)
            .is_some_and(|head| dot.number <= head.position)
    }

    /// The positions alone.
    #[must_use]
    pub fn version(&self) -> Version {
        self.iter()
            .filter(|(_, head)| head.position > 0)
            .map(|(node, head)| (node, head.position))
            .collect()
    }

    /// The nodes with their heads, in the order of the nodes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (NodeId, Head)> {
        self.0.iter().map(|(node, head)| (*node, *head))
    }

    /// Has taken in this much of this node's log.
    pub fn advance(&mut self, node: NodeId, head: Head) {
        let entry = self.0.entry(node).or_default();
        *entry = head.max(*entry);
    }

    fn set(&mut self, node: NodeId, head: Head) {
        self.0.insert(node, head);
    }
}

impl FromIterator<(NodeId, Head)> for Heads {
    fn from_iter<I: IntoIterator<Item = (NodeId, Head)>>(heads: I) -> Self {
        Heads(heads.into_iter().collect())
    }
}

/// The digest of one row, or the sum of those of all rows: two databases with the same sum hold the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest([u64; 4]);

impl Digest {
    /// Of a row. One that was deleted counts nothing: it may be forgotten at any time.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        if row.is_tombstone() {
            return Digest::default();
        }
        Digest::whole(row)
    }

    /// Of a row, deleted or not.
    #[must_use]
    pub fn whole(row: &Row) -> Self {
        let hash = blake3::hash(&encode_row(row));
        Digest::from_bytes(*hash.as_bytes())
    }

    /// From its octets.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut lanes = [0; 4];
        for (lane, octets) in lanes.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *lane = u64::from_be_bytes(*octets);
        }
        Digest(lanes)
    }

    /// The octets.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (octets, lane) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *octets = lane.to_be_bytes();
        }
        bytes
    }

    /// With a row more.
    #[must_use]
    pub fn with(self, row: Digest) -> Self {
        Digest(core::array::from_fn(|at| {
            self.0[at].wrapping_add(row.0[at])
        }))
    }

    /// With a row less.
    #[must_use]
    pub fn without(self, row: Digest) -> Self {
        Digest(core::array::from_fn(|at| {
            self.0[at].wrapping_sub(row.0[at])
        }))
    }
}

/// See the module. It is stored with the rows, in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// This life of this server.
    pub node: NodeId,
    /// How often a server of the pair was replaced. What a server of an older pair says is refused.
    pub epoch: u64,
    /// What was taken in, its own log included.
    pub heads: Heads,
    /// The sum of all rows.
    pub digest: Digest,
    /// How much of its own log the peer has said to hold on its disk.
    pub confirmed: Head,
    /// The last head that the peer has told of, when something of it was written here. If its disk loses that, it is told.
    pub heard: Option<(NodeId, Head)>,
    /// The position of the last delete that was forgotten. Whoever has not read so far compares everything.
    pub floor: u64,
}

/// What was taken in completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Whose log.
    pub node: NodeId,
    /// Up to where.
    pub head: Head,
    /// What that server had taken in itself by then.
    pub heads: Heads,
}

impl Book {
    /// The books of an empty database.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        let start = Head {
            position: 0,
            mark: Mark(first_16(blake3::hash(&node.to_bytes()))),
        };
        Book {
            node,
            epoch: 0,
            heads: [(node, start)].into_iter().collect(),
            digest: Digest::default(),
            confirmed: Head::default(),
            heard: None,
            floor: 0,
        }
    }

    /// The peer has told of this.
    pub fn hear(&mut self, node: NodeId, head: Head) {
        self.heard = crate::session::later(self.heard, node, head);
    }

    /// How far its own log is.
    #[must_use]
    pub fn head(&self) -> Head {
        self.heads.of(self.node).unwrap_or_default()
    }

    /// Takes the next position.
    #[must_use]
    pub fn advance(&mut self) -> Dot {
        let mut head = self.head();
        head.position += 1;
        self.heads.set(self.node, head);
        Dot {
            node: self.node,
            number: head.position,
        }
    }

    /// A row was written at the position that [`advance`](Self::advance) gave last. Gives the head from now on, whose mark is
    /// kept until the peer confirms a later one.
    pub fn write(&mut self, before: Option<&Row>, after: &Row) -> Head {
        self.forget(before);
        self.digest = self.digest.with(Digest::of(after));
        let mut head = self.head();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head.mark.0);
        hasher.update(&head.position.to_be_bytes());
        hasher.update(&Digest::whole(after).to_bytes());
        head.mark = Mark(first_16(hasher.finalize()));
        self.heads.set(self.node, head);
        head
    }

    /// A row is gone without a trace: the peer has none either.
    pub fn forget(&mut self, row: Option<&Row>) {
        if let Some(row) = row {
            self.digest = self.digest.without(Digest::of(row));
        }
    }

    /// Whether a deleted object may be forgotten, after its time: who asks for everything must be able to tell from the heads
    /// alone that it was seen.
    #[must_use]
    pub fn may_forget(&self, row: &Row) -> bool {
        let seen = |(node, number)| self.heads.covers(Dot { node, number });
        row.is_tombstone() && row.version.iter().all(seen)
    }

    /// A delete that was written at this position is forgotten.
    pub fn forget_delete(&mut self, position: u64) {
        self.floor = self.floor.max(position);
    }

    /// Has taken in all of that.
    pub fn complete(&mut self, completion: &Completion) {
        for (node, head) in completion.heads.iter() {
            if node != self.node && self.heads.0.len() < NODES_MAX {
                self.heads.advance(node, head);
            }
        }
        self.heads.set(completion.node, completion.head);
    }

    /// The peer holds this much of the log on its disk.
    pub fn confirm(&mut self, head: Head) {
        self.confirmed = head.max(self.confirmed);
    }

    /// Begins a new life. What the old one did after it was last confirmed is in doubt, and to be made anew
    /// ([`Row::renewed`]); positions go on.
    pub fn renew(&mut self, node: NodeId) -> NodeId {
        let old = core::mem::replace(&mut self.node, node);
        let position = self.heads.of(old).unwrap_or_default().position;
        let confirmed = core::mem::take(&mut self.confirmed);
        self.heads.set(old, confirmed);
        let mark = Mark(first_16(blake3::hash(&node.to_bytes())));
        self.heads.set(node, Head { position, mark });
        old
    }
}

fn first_16(hash: blake3::Hash) -> [u8; 16] {
    *hash.as_bytes().first_chunk().expect("a hash has 32 octets")
}
