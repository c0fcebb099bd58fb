//! A file that terminals can ask for, as an object that both servers keep: its name, and the image that it stands for.
//!
//! It is no kind that operators edit: uploading and importing change the catalog, and what changed there is written as such
//! objects. Its identifier is the hash of its name, so that both servers mean the same one.

use daybreak_store::Name;
use daybreak_sync::{Body, ImageHash, ImageRef, ObjectKey};
use serde::{Deserialize, Serialize};

/// The kind of such objects.
pub const KIND: &str = "file";

/// A name, and its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What terminals ask for.
    pub name: Name,
    /// What they get.
    pub image: ImageRef,
}

#[derive(Serialize, Deserialize)]
struct Said {
    name: String,
}

impl File {
    /// What an object says, if it is a file.
    #[must_use]
    pub fn of(body: &Body) -> Option<Self> {
        let said: Said = serde_json::from_slice(&body.octets).ok()?;
        Some(File {
            name: Name::parse(said.name).ok()?,
            image: *body.images.first()?,
        })
    }

    /// The object.
    #[must_use]
    pub fn body(&self) -> Body {
        let said = Said {
            name: self.name.to_string(),
        };
        Body {
            octets: serde_json::to_vec(&said).expect("a text").into(),
            images: [self.image].into(),
        }
    }
}

/// The object of this name.
#[must_use]
pub fn key(name: &Name) -> ObjectKey {
    let id = blake3::hash(name.as_bytes()).to_hex();
    ObjectKey::parse(KIND, &id).expect("64 hexadecimal digits")
}

/// An image, as the synchronization names it.
#[must_use]
pub fn image(hash: daybreak_store::ImageHash, bytes: u64) -> ImageRef {
    ImageRef {
        hash: ImageHash(*hash.as_bytes()),
        bytes,
    }
}

/// Its hash, as the store names it.
#[must_use]
pub fn stored_hash(image: ImageRef) -> daybreak_store::ImageHash {
    daybreak_store::ImageHash::from_bytes(image.hash.0)
}
