//! Every bound of this crate, and what happens at it.

use std::time::Duration;

/// Folders inside folders of an import. Beyond it: the folder is skipped, with a warning.
pub const FOLDER_DEPTH_MAX: usize = 64;

/// Files of one import: as many as a catalog has entries. Beyond it: the import is refused.
pub const FILES_MAX: usize = daybreak_store::limits::ENTRIES_MAX as usize;

/// A progress bar is shown when a command takes longer than this.
pub const PROGRESS_AFTER: Duration = Duration::from_millis(500);

/// Warnings of one kind that are printed one by one. Beyond it: only counted.
pub const WARNINGS_SHOWN_MAX: usize = 20;
