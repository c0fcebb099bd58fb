//! The configuration on the disk: `config.db`, SQLite, private to the administration.
//!
//! One row per object, one audit row per change in the same transaction. WAL with `synchronous=FULL`: what was
//! acknowledged is on the disk. No rule of the domain is here: uniqueness and references are checked before, since
//! a merge of two servers must be storable whatever it brings together.

mod accounts;
mod audit;
mod books;
mod files;
mod licences;
mod local;
mod rows;
mod schema;
mod unknown;
mod uploads;

pub use audit::{AuditFilter, AuditRow};
pub use books::Commit;
pub use files::FileRow;
pub use licences::LicensingRow;
pub use local::ScheduleRun;
pub(crate) use schema::bring_up_to_date;
pub use unknown::UnknownRow;
pub use uploads::UploadRow;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use daybreak_sync::{Book, HybridClock};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::edge::{Entropy, random};
use crate::limits::{CONFIGURATION_WAIT, DATABASE_WAIT};
use crate::object::NodeId;

/// Why the database refuses or fails. What was acknowledged before is still there.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file cannot be made or opened.
    #[error("{path} cannot be opened: {source}")]
    Open {
        /// As it was given.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("another daybreak-admin has the configuration in {0}")]
    InUse(String),
    /// A newer version of this software wrote it.
    #[error(
        "the configuration has format {found}, and this version reads up to {known}; install the newer version again"
    )]
    Newer {
        /// What it has.
        found: i64,
        /// What this version knows.
        known: i64,
    },
    /// A row is not what was written.
    #[error("the configuration is damaged: {0}; restore a backup")]
    Damaged(String),
    /// What was to be written cannot be stored.
    #[error("{0} cannot be stored")]
    Refused(String),
    /// SQLite says no.
    #[error("the configuration cannot be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

impl DatabaseError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.code() == Some(rusqlite::ErrorCode::DiskFull)
    }

    /// Whether another process holds it; trying again may help.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(
            self.code(),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
        )
    }

    fn code(&self) -> Option<rusqlite::ErrorCode> {
        match self {
            DatabaseError::Sqlite(rusqlite::Error::SqliteFailure(error, _)) => Some(error.code),
            _ => None,
        }
    }
}

/// The open database.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    book: Book,
    clock: HybridClock,
    // Held as long as it is open: numbering goes on in memory, so only one process may write.
    // Whoever only reads has none.
    _lock: Option<File>,
}

impl Database {
    /// Opens `config.db` at `path`, making it (mode 0600) and bringing it to the current format.
    pub fn open(path: &Path, entropy: &dyn Entropy) -> Result<Self, DatabaseError> {
        let lock = locked(path)?;
        let mut connection = open_file(path)?;
        connection.busy_timeout(DATABASE_WAIT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        // Rows hold texts of operators, never SQL: whatever a damaged schema says is not run.
        connection.pragma_update(None, "trusted_schema", "off")?;
        let fresh = NodeId::from_random(random(entropy));
        schema::migrate(&mut connection, fresh)?;
        books::begin_if_none(&mut connection)?;
        let (book, clock) = books::read_book(&connection)?;
        Ok(Database {
            connection,
            book,
            clock,
            _lock: Some(lock),
        })
    }

    /// Opens what is there for reading, also while another process has it. Nothing, if there is none.
    pub fn beside(path: &Path) -> Result<Option<Self>, DatabaseError> {
        if !path.exists() {
            return Ok(None);
        }
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(DATABASE_WAIT)?;
        connection.pragma_update(None, "trusted_schema", "off")?;
        schema::check(&connection)?;
        let (book, clock) = books::read_book(&connection)?;
        Ok(Some(Database {
            connection,
            book,
            clock,
            _lock: None,
        }))
    }

    /// The server that this database belongs to.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.book.node
    }
}

/// The lock of the database at `path`, a file beside it: SQLite has its own locks on the database itself.
fn locked(path: &Path) -> Result<File, DatabaseError> {
    let beside = path.with_extension("lock");
    let failed = |source| DatabaseError::Open {
        path: beside.display().to_string(),
        source,
    };
    let mut create = OpenOptions::new();
    create.write(true).create(true).truncate(false).mode(0o600);
    let file = create.open(&beside).map_err(failed)?;
    let deadline = Instant::now() + CONFIGURATION_WAIT;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                std::thread::park_timeout(Duration::from_millis(20));
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                return Err(DatabaseError::InUse(path.display().to_string()));
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Opens the database at `path`, making it (mode 0600).
pub(crate) fn open_file(path: &Path) -> Result<Connection, DatabaseError> {
    let failed = |source| DatabaseError::Open {
        path: path.display().to_string(),
        source,
    };
    // Made by us, so that it never has another mode; SQLite gives its WAL the mode of the file.
    let mut create = OpenOptions::new();
    create
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    create.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    let file = create.open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    drop(file);
    Ok(Connection::open(path)?)
}
