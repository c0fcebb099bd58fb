//! Peer synchronization, sans-io: what two boot servers say to each other to stay the same.
//!
//! - Objects are `{kind, id, body, version, stamp}`. A [`Version`] is one counter per node: it tells a
//!   successive edit from a concurrent one. A [`Stamp`] is a hybrid logical clock: it only orders concurrent ones.
//! - Successive edits replace; concurrent edits of one object keep the later stamp and record the other as
//!   a conflict. Nothing is lost silently, and a wrong clock cannot win against a successive edit.
//! - Images travel first, by content hash, verified; then the objects that name them; then the publish.
//! - Messages carry content hashes and object keys: no paths, nothing executable, every length bounded.
//! - No socket, no disk, no clock: bytes and time come in, bytes and decisions go out.
//!
//! [`session::Session`] is one server's side of the pair; [`host::Host`] is what it needs from the server; [`wire`] is what the
//! two say; [`Row`] and [`Book`] are what they keep; [`manual`] is the synchronization by hand. `docs/sync.md` tells it as a story.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod book;
pub mod host;
mod image;
mod key;
pub mod limits;
pub mod manual;
mod node;
mod pace;
pub mod pieces;
pub mod policy;
mod row;
pub mod session;
mod stamp;
mod version;
pub mod wire;

pub use book::{Book, Completion, Digest, Head, Heads, Mark};
pub use image::{Damaged, ImageHash, ImageRef, Planting, Step, Tree};
pub use key::ObjectKey;
pub use node::NodeId;
pub use row::{Body, Merged, Row, Value};
pub use stamp::{HybridClock, Stamp};
pub use version::{Causality, Dot, Version};
