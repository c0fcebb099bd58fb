//! Images by their BLAKE3 hash, in pieces that each prove that they belong to it.
//!
//! A piece is a subtree of the hash. The source keeps the hashes of the tree ([`Tree`]) and sends each piece with the
//! hashes beside its way to the root ([`Tree::proof`]); whoever has the image's hash can check it alone
//! ([`ImageRef::holds`]). So fetching goes on after any interruption, and one wrong octet is found within its piece.

use alloc::vec::Vec;
use core::fmt;

use blake3::Hasher;
use blake3::hazmat::{
    self, ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::limits::{IMAGE_BYTES_MAX, PIECE_BYTES};

/// The BLAKE3 hash of an image's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageHash(pub [u8; 32]);

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

/// An image that an object needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    /// What its content hashes to.
    pub hash: ImageHash,
    /// Its octets.
    pub bytes: u64,
}

/// One step from a piece to the root: the hash of what is on the other side.
pub type Step = [u8; 32];

/// The hashes of an image's tree, as the source keeps them while it sends.
#[derive(Clone, Debug)]
pub struct Tree {
    image: ImageRef,
    /// Each subtree before its left one before its right one; a subtree of n pieces has 2n - 1.
    nodes: Vec<ChainingValue>,
}

/// A tree while its image is read: piece by piece, so that who reads does other things in between.
#[derive(Clone, Debug)]
pub struct Planting {
    image: ImageRef,
    leaves: Vec<ChainingValue>,
}

/// What was read is not the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image's content does not have its hash")]
pub struct Damaged;

impl ImageRef {
    /// How many pieces it has: an empty image has one.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        let pieces = self.bytes.min(IMAGE_BYTES_MAX).div_ceil(PIECE_BYTES as u64);
        u32::try_from(pieces.max(1)).expect("bounded by the largest image")
    }

    /// How many octets the piece at `index` has.
    #[must_use]
    pub fn piece_bytes(&self, index: u32) -> usize {
        let start = offset(index);
        let left = self.bytes.saturating_sub(start).min(PIECE_BYTES as u64);
        usize::try_from(left).expect("at most a piece")
    }

    /// Whether these octets are its piece at `index`, by these steps to its hash.
    #[must_use]
    pub fn holds(&self, index: u32, octets: &[u8], proof: &[Step]) -> bool {
        if index >= self.pieces() || octets.len() != self.piece_bytes(index) {
            return false;
        }
        if self.pieces() == 1 {
            return proof.is_empty() && *blake3::hash(octets).as_bytes() == self.hash.0;
        }
        let way = way(self.bytes, index);
        if way.len() != proof.len() {
            return false;
        }
        let mut value = leaf(index, octets);
        for (at, (step, turn)) in proof.iter().zip(way.iter().rev()).enumerate() {
            let (left, right) = match turn {
                Turn::Left => (&value, step),
                Turn::Right => (step, &value),
            };
            if at + 1 == proof.len() {
                return *merge_subtrees_root(left, right, Mode::Hash).as_bytes() == self.hash.0;
            }
            value = merge_subtrees_non_root(left, right, Mode::Hash);
        }
        false
    }
}

/// Which side of its parent a subtree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Left,
    Right,
}

fn offset(index: u32) -> u64 {
    u64::from(index) * PIECE_BYTES as u64
}

/// The turns from the root of an image of `bytes` to its piece at `index`.
fn way(bytes: u64, index: u32) -> Vec<Turn> {
    let (mut at, mut bytes) = (offset(index), bytes);
    let mut turns = Vec::new();
    while bytes > PIECE_BYTES as u64 {
        let left = hazmat::left_subtree_len(bytes);
        if at < left {
            turns.push(Turn::Left);
            bytes = left;
        } else {
            turns.push(Turn::Right);
            (at, bytes) = (at - left, bytes - left);
        }
    }
    turns
}

fn leaf(index: u32, octets: &[u8]) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset(index));
    hasher.update(octets);
    hasher.finalize_non_root()
}

impl Tree {
    /// Reads the image once, piece by piece in order, and keeps the hashes: if it is the image.
    ///
    /// # Errors
    /// [`Damaged`], or what `read` says.
    pub fn read<E: From<Damaged>>(
        image: ImageRef,
        mut read: impl FnMut(u32) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let mut planting = Planting::new(image);
        loop {
            if let Some(tree) = planting.push(&read(planting.next_piece())?)? {
                return Ok(tree);
            }
        }
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> ImageRef {
        self.image
    }

    /// The steps from the piece at `index` to the hash, if `octets` are that piece. What the disk gives is checked before it
    /// leaves: damage is not passed on.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn proof(&self, index: u32, octets: &[u8]) -> Result<Vec<Step>, Damaged> {
        let mut proof = Vec::new();
        if self.image.pieces() > 1 && index < self.image.pieces() {
            let (mut node, mut bytes) = (0, self.image.bytes);
            for turn in way(self.image.bytes, index) {
                let left_bytes = hazmat::left_subtree_len(bytes);
                let (left, right) = (node + 1, node + 1 + nodes_of(left_bytes));
                match turn {
                    Turn::Left => {
                        proof.push(self.nodes[right]);
                        (node, bytes) = (left, left_bytes);
                    }
                    Turn::Right => {
                        proof.push(self.nodes[left]);
                        (node, bytes) = (right, bytes - left_bytes);
                    }
                }
            }
            proof.reverse();
        }
        let whole = self.image.holds(index, octets, &proof);
        whole.then_some(proof).ok_or(Damaged)
    }
}

impl Planting {
    /// Nothing of it was read yet.
    #[must_use]
    pub fn new(image: ImageRef) -> Self {
        let leaves = Vec::new();
        Planting { image, leaves }
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> ImageRef {
        self.image
    }

    /// Which piece is to be read next.
    #[must_use]
    pub fn next_piece(&self) -> u32 {
        u32::try_from(self.leaves.len()).expect("bounded by the largest image")
    }

    /// These are the octets of the next piece. After the last one, the tree: if it was the image.
    ///
    /// # Errors
    /// [`Damaged`]: it was not.
    pub fn push(&mut self, octets: &[u8]) -> Result<Option<Tree>, Damaged> {
        let (image, index) = (self.image, self.next_piece());
        if octets.len() != image.piece_bytes(index) {
            return Err(Damaged);
        }
        if image.pieces() == 1 {
            let nodes = Vec::new();
            let whole = image.holds(0, octets, &[]);
            return whole.then_some(Some(Tree { image, nodes })).ok_or(Damaged);
        }
        self.leaves.push(leaf(index, octets));
        if self.next_piece() < image.pieces() {
            return Ok(None);
        }
        let mut nodes = Vec::with_capacity(2 * self.leaves.len());
        let root = plant(&mut nodes, &self.leaves, image.bytes);
        // The first node stands for the root, which is the hash and nobody's sibling.
        let whole = root.is_some_and(|hash| hash == image.hash.0);
        whole.then_some(Some(Tree { image, nodes })).ok_or(Damaged)
    }
}

/// Nodes of a subtree of so many octets.
fn nodes_of(bytes: u64) -> usize {
    let pieces = bytes.div_ceil(PIECE_BYTES as u64).max(1);
    usize::try_from(2 * pieces - 1).expect("bounded by the largest image")
}

/// Appends the nodes of the subtree over `leaves`; of the whole tree, gives the root.
fn plant(nodes: &mut Vec<ChainingValue>, leaves: &[ChainingValue], bytes: u64) -> Option<[u8; 32]> {
    let whole = nodes.is_empty();
    let [first, _, ..] = leaves else {
        nodes.extend(leaves.first());
        return None;
    };
    let at = nodes.len();
    nodes.push(*first);
    let left_bytes = hazmat::left_subtree_len(bytes);
    let pieces = usize::try_from(left_bytes / PIECE_BYTES as u64).expect("fewer than all");
    let (left_leaves, right_leaves) = leaves.split_at(pieces);
    plant(nodes, left_leaves, left_bytes);
    let right = nodes.len();
    plant(nodes, right_leaves, bytes - left_bytes);
    let (left, right) = (nodes[at + 1], nodes[right]);
    if whole {
        return Some(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes());
    }
    nodes[at] = merge_subtrees_non_root(&left, &right, Mode::Hash);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn image_of(content: &[u8]) -> ImageRef {
        ImageRef {
            hash: ImageHash(*blake3::hash(content).as_bytes()),
            bytes: content.len() as u64,
        }
    }

    fn pieces(content: &[u8]) -> Vec<Vec<u8>> {
        match content {
            [] => vec![Vec::new()],
            _ => content.chunks(PIECE_BYTES).map(Vec::from).collect(),
        }
    }

    #[test]
    fn s6_every_piece_proves_itself_and_no_other() {
        for bytes in [
            0,
            1,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            3 * PIECE_BYTES,
            7 * PIECE_BYTES + 5,
            16 * PIECE_BYTES,
        ] {
            let content: Vec<u8> = (0..bytes).map(|at| (at / 7 % 251) as u8).collect();
            let image = image_of(&content);
            let pieces = pieces(&content);
            assert_eq!(pieces.len(), image.pieces() as usize);
            let tree = Tree::read::<Damaged>(image, |index| Ok(pieces[index as usize].clone()))
                .expect("whole");
            for (index, piece) in (0..).zip(&pieces) {
                let proof = tree.proof(index, piece).expect("whole");
                assert!(image.holds(index, piece, &proof), "{bytes} {index}");
                assert!(!image.holds(index + 1, piece, &proof));
                if !piece.is_empty() {
                    let mut wrong = piece.clone();
                    wrong[piece.len() / 2] ^= 1;
                    assert!(!image.holds(index, &wrong, &proof));
                    assert_eq!(tree.proof(index, &wrong), Err(Damaged));
                    assert!(!image.holds(index, &piece[1..], &proof));
                }
                let mut longer = proof.clone();
                longer.push([0; 32]);
                assert!(!image.holds(index, piece, &longer));
            }
            let other = ImageRef {
                hash: ImageHash([7; 32]),
                ..image
            };
            let read = |index: u32| Ok::<_, Damaged>(pieces[index as usize].clone());
            assert!(Tree::read(other, read).is_err());
        }
    }
}
