//! The format of a backup: one file, read and written from front to back.
//!
//! ```text
//! "daybreak backup\n"          16 octets
//! version                      4 octets, 1
//! records                      each: tag (1 octet), length of what follows (8 octets), payload
//!   H  head                    JSON: [`Head`]; first, once
//!   O  object                  length of the kind's word (1), the word, length of the identifier (1), it, the body as JSON
//!   F  file                    hash of its image (32), its length (8), the name that terminals ask for
//!   I  image                   hash (32), content
//!   E  end                     BLAKE3 hash of every octet before it (32); last, once
//! ```
//!
//! Numbers are little-endian. Records come in the order of this list; objects, files and images each in rising octet
//! order of what names them, so that nothing is there twice. Nothing is compressed, and no path can be said: an archive
//! has object keys and hashes, and a file's name is a key of the catalog, not a place on a disk.
//!
//! [`Reader`] accepts what [`Writer`] writes and nothing else: what was read, written again, gives the same octets.

mod error;
mod read;
mod write;

pub use error::ArchiveError;
pub use read::{Reader, Record};
pub use write::{Writer, Written};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::object::{Id, NodeId};

const MAGIC: [u8; 16] = *b"daybreak backup\n";

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// Octets of a record before its payload.
const RECORD_HEAD_BYTES: usize = 9;
/// Octets of a hash.
const HASH_BYTES: usize = 32;
/// Octets of a file's record before its name.
const FILE_HEAD_BYTES: usize = HASH_BYTES + 8;

/// Octets of everything around the payloads: the beginning, and the end's record.
const FRAME_BYTES: u64 = 16 + 4 + (RECORD_HEAD_BYTES + HASH_BYTES) as u64;

/// Why a backup was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Somebody asked for it.
    Manual,
    /// A schedule said so.
    Schedule,
    /// A restore was about to begin.
    BeforeRestore,
    /// A synchronization was about to overwrite this server.
    BeforeSynchronization,
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// The version of the software that made it.
    pub software: String,
    /// The server that made it.
    pub node: NodeId,
    /// Why.
    pub reason: Reason,
    /// The schedule, if one was the reason.
    pub schedule: Option<Id>,
    /// Whether images were asked for.
    pub with_images: bool,
    /// Objects in it.
    pub objects: u64,
    /// Names of files in it.
    pub files: u64,
    /// Images in it.
    pub images: u64,
    /// Octets of these images together.
    pub image_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Head,
    Object,
    File,
    Image,
    End,
}

impl Tag {
    const ALL: [Tag; 5] = [Tag::Head, Tag::Object, Tag::File, Tag::Image, Tag::End];

    const fn octet(self) -> u8 {
        match self {
            Tag::Head => b'H',
            Tag::Object => b'O',
            Tag::File => b'F',
            Tag::Image => b'I',
            Tag::End => b'E',
        }
    }

    fn of(octet: u8) -> Option<Self> {
        Tag::ALL.into_iter().find(|tag| tag.octet() == octet)
    }
}

/// Octets of a record of an object.
#[must_use]
pub fn object_record_bytes(kind: &str, id: &Id, body: &str) -> u64 {
    (RECORD_HEAD_BYTES + 2 + kind.len() + id.as_str().len() + body.len()) as u64
}

/// Octets of a record of a file.
#[must_use]
pub fn file_record_bytes(name: &str) -> u64 {
    (RECORD_HEAD_BYTES + FILE_HEAD_BYTES + name.len()) as u64
}

/// Octets of a record of an image.
#[must_use]
pub fn image_record_bytes(len: u64) -> u64 {
    ((RECORD_HEAD_BYTES + HASH_BYTES) as u64).saturating_add(len)
}

/// Octets of an archive whose records of objects, files and images have `records` octets.
#[must_use]
pub fn archive_bytes(head: &Head, records: u64) -> u64 {
    let head = write::head_json(head).len() + RECORD_HEAD_BYTES;
    FRAME_BYTES
        .saturating_add(head as u64)
        .saturating_add(records)
}

#[cfg(test)]
mod tests;
