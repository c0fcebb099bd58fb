//! Why a backup or a restore is refused or fails.

use daybreak_store::{ImageHash, LoadError, StoreError};

use super::ArchiveError;
use crate::configuration::ChangeError;
use crate::database::DatabaseError;
use crate::object::Id;

/// Why. What is configured and what is served are as they were.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The archive is refused.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The store refuses or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is published cannot be read.
    #[error(transparent)]
    Published(#[from] LoadError),
    /// The configuration cannot be changed so.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// There is no such backup.
    #[error("there is no backup {0}")]
    Unknown(Id),
    /// There is no such restore; they are forgotten when the process ends.
    #[error("there is no restore {0}; plan it again")]
    UnknownRestore(Id),
    /// There is one already.
    #[error("there is a backup {0} already")]
    Taken(Id),
    /// It is still being made, or being read.
    #[error("another backup or restore is running")]
    Busy,
    /// Something was changed since the differences were shown.
    #[error(
        "the configuration, the files or the backup were changed since the differences were shown"
    )]
    Outdated,
    /// The restore is not one that can begin.
    #[error("this restore is not waiting to be begun")]
    NotPlanned,
    /// Images that nothing has any more.
    #[error(
        "{0} files would be missing, since their images are neither in the backup nor in the store; restore a backup \
         with images, or leave these files out"
    )]
    ImagesMissing(usize),
    /// As many as there may be.
    #[error(
        "there are {} backups, and no more are allowed; delete some",
        crate::limits::BACKUPS_MAX
    )]
    TooMany,
    /// What arrived is not what was announced.
    #[error("what arrived has the hash {found}, not {expected}; nothing was kept")]
    HashMismatch {
        /// What it has.
        found: ImageHash,
        /// What it should have.
        expected: ImageHash,
    },
    /// The caller's progress function said to stop.
    #[error("interrupted; nothing was changed")]
    Interrupted,
}

impl From<DatabaseError> for BackupError {
    fn from(error: DatabaseError) -> Self {
        BackupError::Change(error.into())
    }
}

impl From<std::io::Error> for BackupError {
    fn from(error: std::io::Error) -> Self {
        BackupError::Archive(error.into()).unwrapped()
    }
}

/// Said by a reader or a writer in the middle of an archive, where only an I/O error can be said.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub(super) struct Stopped;

impl BackupError {
    /// What is behind an I/O error that only carried it.
    pub(super) fn unwrapped(self) -> Self {
        let source = match self {
            BackupError::Archive(ArchiveError::Io(source)) => source,
            BackupError::Store(StoreError::Source(source)) => source,
            BackupError::Store(StoreError::Interrupted) => return BackupError::Interrupted,
            other => return other,
        };
        let source = match source.downcast::<Stopped>() {
            Ok(Stopped) => return BackupError::Interrupted,
            Err(source) => source,
        };
        let source = match source.downcast::<StoreError>() {
            Ok(error) => return BackupError::Store(error),
            Err(source) => source,
        };
        match source.downcast::<ArchiveError>() {
            Ok(error) => BackupError::Archive(error).unwrapped(),
            Err(source) => BackupError::Archive(source.into()),
        }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            BackupError::Store(error) => error.is_disk_full(),
            BackupError::Change(ChangeError::Database(error)) => error.is_disk_full(),
            _ => false,
        }
    }
}
