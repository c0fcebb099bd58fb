//! Why a change is refused.

use crate::database::DatabaseError;
use crate::kind::{Fault, Kind};
use crate::object::Id;
use crate::security::Right;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Fault),
    /// Another object has this name, card or key.
    #[error("{field}: {by} has it already")]
    Taken {
        /// Path of the field.
        field: String,
        /// Who has it.
        by: Id,
    },
    /// A field names an object that is not there.
    #[error("{field}: there is no {} {id}", kind.word())]
    Dangling {
        /// Path of the field.
        field: String,
        /// What it should be.
        kind: Kind,
        /// Which one.
        id: Id,
    },
    /// A field names an object by a name that none has.
    #[error("{field}: there is no {} named {name:?}", kind.word())]
    NotNamed {
        /// Path of the field.
        field: String,
        /// What it should be.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// Two rows are about one terminal.
    #[error("row {row} is about the same terminal")]
    Twice {
        /// The other one.
        row: usize,
    },
    /// Groups would be in each other, or too deep.
    #[error("{field}: {why}")]
    Nesting {
        /// Path of the field.
        field: String,
        /// What is wrong.
        why: &'static str,
    },
    /// There is no such object.
    #[error("there is no {} {id}", kind.word())]
    Unknown {
        /// What it should be.
        kind: Kind,
        /// Which one.
        id: Id,
    },
    /// Somebody changed it since it was read.
    #[error("it was changed since you read it")]
    Stale,
    /// Others refer to it.
    #[error("{} {name} refers to it", kind.word())]
    InUse {
        /// What refers to it.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Somebody would give what they do not have.
    #[error("you cannot give or change the right {}, since you do not have it", .0.word())]
    Beyond(Right),
    /// There is no seat to be given.
    #[error("no seat is free: the licences allow no more here")]
    NoSeat,
    /// Nobody could administer the site any more.
    #[error("this would leave no user who may log in and administer the site")]
    LastAdministrator,
    /// As many objects as a site may have.
    #[error(
        "the site has {} objects, and no more are allowed",
        crate::limits::OBJECTS_MAX
    )]
    TooMany,
    /// The body is too large.
    #[error("an object has at most {} octets", crate::limits::BODY_BYTES_MAX)]
    TooLarge,
    /// This server is not the one on which changes are made.
    #[error(
        "this server is the secondary of its pair: changes are made on the primary, {0}. Here are allowed: to look, to log in \
         and out, and what is at /api/v1/sync and /api/v1/licences"
    )]
    Secondary(String),
    /// The database refuses or fails.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl ChangeError {
    /// The field that stands in the way, if it is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            ChangeError::Invalid(fault) => Some(&fault.field),
            ChangeError::Taken { field, .. }
            | ChangeError::Dangling { field, .. }
            | ChangeError::NotNamed { field, .. }
            | ChangeError::Nesting { field, .. } => Some(field),
            _ => None,
        }
    }
}
