//! Catalogs: one immutable state of everything a booting client may be told.
//!
//! [`Snapshot`] is the format (octets, lookups); [`SnapshotBuilder`] writes it; [`Changes`] are written instead of it when little
//! changed; [`Catalog`] is a snapshot of a data directory whose entries open as images.

mod builder;
mod changes;
mod opened;
mod snapshot;
mod terminal;

pub use builder::{SnapshotBuilder, StoredContent};
pub(crate) use changes::{CHANGES_HEADER_BYTES, Changes, Touched};
pub use opened::Catalog;
pub use snapshot::{CatalogError, Content, EntryId, EntryView, Snapshot};
pub use terminal::{StatusKey, StoredTerminal, TerminalView};

#[cfg(test)]
mod changes_tests;
#[cfg(test)]
mod tests;
