//! Backups: everything that is configured, and on request the images, in one file; and the way back.
//!
//! - [`archive`]: the format of the file.
//! - [`Folder`]: where the files lie, complete or not there.
//! - [`make()`]: writing one. [`Source`], [`plan()`], [`restore()`]: reading one, the differences to what is now, making
//!   it what is now.
//! - [`Backups`]: all of it for a running server: one at a time, with progress, noted in the audit, published.
//!
//! What holds at every moment, also after a crash: a backup that is listed is whole as it was written; and what is
//! configured is the state before a restore or the one after it. A restore changes the configuration in one transaction,
//! in which it also writes down what becomes of the files; these change with the next publication, all at once with what
//! is rendered.
//!
//! A backup has no settings of one server alone, no licences, no keys, no sessions, no journal: a restore leaves them as
//! they are. Users, roles and API keys are in it, and are restored only if that is asked for.

pub mod archive;
mod backups;
mod difference;
mod error;
mod folder;
mod make;
mod restore;
mod source;

pub use archive::{ArchiveError, Head, Reason};
pub use backups::{Backups, Job, Listed, RestoreView, State};
pub use difference::{Difference, Differences, Restoring, differences};
pub use error::BackupError;
pub use folder::{Folder, Found, receive};
use make::stamp;
pub use make::{Images, Made, Order, image_bytes, make, name};
pub use restore::{Plan, check, plan, restore};
pub use source::{Source, Target};
