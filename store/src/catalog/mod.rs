//! Catalogs: one immutable state of everything a booting client may be told.
//!
//! [`Layer`] is the format of a file (octets, lookups), which [`SnapshotBuilder`] writes; [`Changes`] are written instead of it when
//! little changed; [`Snapshot`] is what one or two files say; [`Catalog`] is a snapshot of a data directory whose entries open as images.

mod builder;
mod changes;
mod layer;
mod opened;
mod snapshot;
mod terminal;

pub use builder::{SnapshotBuilder, StoredContent};
pub use changes::Changes;
pub(crate) use changes::{CHANGES_HEADER_BYTES, Touched};
pub(crate) use layer::Layer;
pub use layer::{CatalogError, Content, EntryId, EntryView};
pub use opened::Catalog;
pub use snapshot::Snapshot;
pub use terminal::{StatusKey, StoredTerminal, TerminalView};

#[cfg(test)]
mod changes_tests;
#[cfg(test)]
mod tests;
