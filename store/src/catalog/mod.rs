//! Catalogs: one immutable state of everything a booting client may be told.
//!
//! [`Snapshot`] is the format (octets, lookups); [`SnapshotBuilder`] writes it; [`Catalog`] is a snapshot
//! of a data directory whose entries open as images.

mod builder;
mod opened;
mod snapshot;
mod terminal;

pub use builder::{SnapshotBuilder, StoredContent};
pub use opened::Catalog;
pub use snapshot::{CatalogError, Content, EntryId, EntryView, Snapshot};
pub use terminal::{StatusKey, StoredTerminal, TerminalView};

#[cfg(test)]
mod tests;
