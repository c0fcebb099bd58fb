//! Why an archive is refused, each reason with a name of its own.

use daybreak_store::ImageHash;

use super::VERSION;
use crate::kind::Kind;
use crate::object::Id;

/// Why an archive is refused. Nothing was changed by it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It begins like no backup.
    #[error("this is not a backup of Daybreak")]
    NotABackup,
    /// Another version of the software wrote it.
    #[error(
        "the backup has format {0}, and this version reads {VERSION}; use the version that made it, or a newer one"
    )]
    UnknownVersion(u32),
    /// It ends before its end.
    #[error("the backup is cut off after {0} octets; take another copy of it")]
    Truncated(u64),
    /// There is more after its end.
    #[error("there is something after the end of the backup; take another copy of it")]
    Trailing,
    /// It is not what was written.
    #[error("the backup is damaged: its checksum is another; take another copy of it")]
    Checksum,
    /// A record that this format does not have.
    #[error("the backup has a record of the unknown type {0}")]
    UnknownRecord(u8),
    /// A record stands where it must not.
    #[error("the backup has its records in the wrong order")]
    Order,
    /// Something is there twice, or out of order.
    #[error("the backup names {0} twice, or in the wrong order")]
    Repeated(String),
    /// A record says a length that it cannot have.
    #[error("the backup has {what} of {len} octets, and at most {max} are allowed")]
    Length {
        /// What it is.
        what: &'static str,
        /// What it says.
        len: u64,
        /// What is allowed.
        max: u64,
    },
    /// Its description of itself cannot be read.
    #[error("the backup's description of itself is not one: {0}")]
    Head(String),
    /// It has not what it says of itself.
    #[error("the backup says that it has {said} {what}, and it has {found}")]
    Count {
        /// Of what.
        what: &'static str,
        /// What it says.
        said: u64,
        /// What it has.
        found: u64,
    },
    /// A kind of object that this version does not know.
    #[error(
        "the backup has an object of the unknown kind {0:?}; use the version that made it, or a newer one"
    )]
    UnknownKind(String),
    /// An object that cannot be one.
    #[error("the backup's {} {id} is not valid: {why}", kind.word())]
    Object {
        /// What it is.
        kind: Kind,
        /// Which one.
        id: Id,
        /// What is wrong.
        why: String,
    },
    /// Something that names an object or a file cannot be a name.
    #[error("the backup has {0} that is not one")]
    Name(&'static str),
    /// An image that no file of it has.
    #[error("the backup has the image {0}, which none of its files names with this length")]
    Stray(ImageHash),
    /// An image that is not what its hash says.
    #[error("the backup's image {0} is damaged; take another copy of the backup")]
    Image(ImageHash),
    /// It cannot be read.
    #[error("the backup cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

impl ArchiveError {
    /// Whether it may be whole, and this version is the wrong one for it.
    #[must_use]
    pub fn is_incompatible(&self) -> bool {
        matches!(
            self,
            ArchiveError::UnknownVersion(_) | ArchiveError::UnknownKind(_)
        )
    }
}
