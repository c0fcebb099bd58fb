//! Listing: what is published, for people and for programs.

use daybreak_store::{Content, LoadError, Reader};
use serde::Serialize;

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The generation; 0 if nothing was ever published.
    pub generation: u64,
    /// In octet order of the names.
    pub entries: Vec<Listed>,
}

/// One published name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The name that clients ask for.
    pub name: String,
    /// Length in octets.
    pub bytes: u64,
    /// BLAKE3 of the content, in hexadecimal; `null` if the content is in the catalog itself.
    pub image: Option<String>,
}

/// What is published now. Needs no right to change anything.
pub fn list(reader: &Reader) -> Result<Listing, LoadError> {
    let published = reader.load()?;
    let listed = published.entries().map(|(_, view)| Listed {
        name: view.name.to_owned(),
        bytes: view.len,
        image: match view.content {
            Content::Image(hash) => Some(hash.to_string()),
            Content::Inline(_) => None,
        },
    });
    Ok(Listing {
        generation: published.generation().get(),
        entries: listed.collect(),
    })
}
