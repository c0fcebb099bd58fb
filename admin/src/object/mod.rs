//! Objects: the one shape of everything that an operator configures.
//!
//! An [`Object`] is a typed body ([`Body`]) with an [`Id`], a [`Version`] and a [`Stamp`]. The version says which
//! edits it has seen, so that a successive edit is told from a concurrent one; the stamp only orders concurrent
//! ones. Everything else (audit, undo of lost updates, synchronization) needs no more than this shape.

mod id;

pub use daybreak_sync::{Causality, HybridClock, NodeId, Stamp, Version};
pub use id::{Id, IdError};

use crate::kind::{Body, Kind};

/// One configured thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Which one, among those of its kind.
    pub id: Id,
    /// What it says.
    pub body: Body,
    /// Which edits it has seen.
    pub version: Version,
    /// When it was last changed, for an order among concurrent edits.
    pub stamp: Stamp,
}

impl Object {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// Names this state of it: 32 hexadecimal digits, another for every version.
    #[must_use]
    pub fn revision(&self) -> String {
        let said = serde_json::to_vec(&self.version).expect("a map of numbers");
        blake3::hash(&said).to_hex()[..32].to_owned()
    }
}
