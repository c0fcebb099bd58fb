//! How a command ends: the exit codes that `--help` promises.

use daybreak_store::StoreError;

use crate::backup::BackupError;
use crate::import::ImportError;
use crate::remove::RemoveError;

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Done,
    /// 1.
    Failed,
    /// 3.
    Damaged,
    /// 4.
    Busy,
    /// 5.
    DiskFull,
    /// 130, as of a program that SIGINT ended.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Damaged => 3,
            Exit::Busy => 4,
            Exit::DiskFull => 5,
            Exit::Interrupted => 130,
        }
    }

    /// What an error of a command means for its exit code.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let import = error
            .downcast_ref::<ImportError>()
            .map(ImportError::store_error);
        let remove = error
            .downcast_ref::<RemoveError>()
            .and_then(|error| match error {
                RemoveError::Store(error) => Some(error),
                RemoveError::Unknown(_) => None,
            });
        let backup = error.downcast_ref::<BackupError>();
        match backup {
            Some(BackupError::Interrupted) => return Exit::Interrupted,
            Some(BackupError::Archive(_)) => return Exit::Damaged,
            Some(BackupError::Busy) => return Exit::Busy,
            Some(error) if error.is_disk_full() => return Exit::DiskFull,
            _ => {}
        }
        let backup = backup.and_then(|error| match error {
            BackupError::Store(error) => Some(error),
            _ => None,
        });
        match import
            .or(remove)
            .or(backup)
            .or_else(|| error.downcast_ref::<StoreError>())
        {
            Some(StoreError::Busy(_)) => Exit::Busy,
            Some(StoreError::Interrupted) => Exit::Interrupted,
            Some(error) if error.is_disk_full() => Exit::DiskFull,
            _ => Exit::Failed,
        }
    }
}
