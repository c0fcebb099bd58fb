//! The shared on-disk store: what a boot server serves, and nothing about how.
//!
//! - [`Store`] is the writing side, of the admin: [`Store::begin`] gives a [`Draft`], and
//!   [`Draft::publish`] makes it the next [`Generation`]. Blobs first, then the catalog, then `current`.
//! - [`Reader`] is the reading side, of the engine: it loads the published [`Catalog`], whose entries
//!   open as [`Image`]s. It never creates, writes or removes anything.
//! - [`Snapshot`] is a catalog by itself: octets in, lookups out. It is one whole file, or [`Changes`] over one.
//!
//! - [`journal`] is what the engine tells: events that it appends, and the admin follows.
//!
//! No network, no SQL, no clock: the time is an argument where it matters ([`Store::collect`]).
//!
//! What holds at every moment, also after a crash or a loss of power:
//! - `catalogs/current` names a complete catalog whose images are all complete; the old one or the new one;
//! - a file that a catalog names is never written, truncated or replaced, only unlinked when nothing
//!   names or pins it any more;
//! - generations only increase.
#![forbid(unsafe_code)]

mod catalog;
mod collect;
#[cfg(test)]
mod crash_tests;
pub mod disk;
mod draft;
mod error;
mod generation;
mod hash;
mod image;
pub mod journal;
pub mod layout;
pub mod limits;
mod mac;
mod map;
mod name;
mod partial;
mod publish;
mod reader;
mod stage;
mod store;
mod verify;

pub use catalog::{
    Catalog, CatalogError, Changes, Content, EntryId, EntryView, Snapshot, SnapshotBuilder,
    StatusKey, StoredContent, StoredTerminal, TerminalView,
};
pub use collect::{CollectReport, Retention};
pub use draft::{Change, Draft, Kept, Published};
pub use error::StoreError;
pub use generation::Generation;
pub use hash::ImageHash;
pub use image::{Image, ImageError};
pub use mac::Mac;
pub use name::{Name, NameError};
pub use partial::Partial;
pub use reader::{LoadError, Loaded, Reader};
pub use stage::{Progress, Staged};
pub use store::{Reserve, Store};
pub use verify::{DamagedImage, VerifyReport};
