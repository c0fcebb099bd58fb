//! Where things are in the data directory, and with which modes. All paths are relative to it.
//!
//! Nothing that a client, a peer or an operator names ever becomes a part of one of these paths: they
//! are made of hashes and generations alone.

use crate::{Generation, ImageHash};

/// Images by hash.
pub const IMAGES: &str = "images";
/// Images that are being written. Only the owner looks in.
pub const PARTIAL: &str = "images/partial";
/// Catalogs, and `current`.
pub const CATALOGS: &str = "catalogs";
/// Names the published generation.
pub const CURRENT: &str = "catalogs/current";
/// The next `current` while it is written.
pub const CURRENT_NEXT: &str = "catalogs/current.next";
/// The next catalog while it is written.
pub const CATALOG_NEXT: &str = "catalogs/catalog.next";
/// What the engine tells.
pub const EVENTS: &str = "events";
/// Held by the one command that changes the store.
pub const LOCK: &str = "lock";

/// Every folder that opening the store for writing makes, with its mode.
pub const FOLDERS: [(&str, u32); 6] = [
    (IMAGES, 0o755),
    (PARTIAL, 0o700),
    (CATALOGS, 0o755),
    (EVENTS, EVENTS_MODE),
    ("keys", 0o700),
    ("backups", 0o700),
];
/// Mode of the folder of events.
pub const EVENTS_MODE: u32 = 0o755;
/// Mode of a journal: nothing in it is secret, and its reader may be another user.
pub const JOURNAL_MODE: u32 = 0o644;
/// Mode of a folder of images.
pub const SHARD_MODE: u32 = 0o755;
/// Mode of everything that is published: nobody writes to it any more.
pub const PUBLISHED_MODE: u32 = 0o444;
/// Mode of what is being written.
pub const PARTIAL_MODE: u32 = 0o600;

/// The folder of an image: `images/ab`.
#[must_use]
pub fn shard(hash: &ImageHash) -> String {
    format!("{IMAGES}/{:02x}", hash.as_bytes()[0])
}

/// An image: `images/ab/abcdef…`.
#[must_use]
pub fn image(hash: &ImageHash) -> String {
    format!("{}/{hash}", shard(hash))
}

/// A catalog: `catalogs/0000000042.catalog`.
#[must_use]
pub fn catalog(generation: Generation) -> String {
    format!("{CATALOGS}/{:010}.catalog", generation.get())
}

/// An image that arrives in pieces: `images/partial/upload-…`.
#[must_use]
pub fn partial(number: u128) -> String {
    format!("{PARTIAL}/upload-{number:032x}")
}

/// The generation of a catalog's file name; `None` for any other file.
#[must_use]
pub fn catalog_generation(file_name: &str) -> Option<Generation> {
    let digits = file_name.strip_suffix(".catalog")?;
    parse_generation(digits).filter(|generation| *generation > Generation::ZERO)
}

/// Ten digits, zero included.
pub(crate) fn parse_generation(digits: &str) -> Option<Generation> {
    if digits.len() != 10 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Generation::new(digits.parse().ok()?)
}

/// A journal: `events/engine-0000000042.journal`.
#[must_use]
pub fn journal(number: u64) -> String {
    format!("{EVENTS}/engine-{number:010}.journal")
}

/// The number of a journal's file name; `None` for any other file.
#[must_use]
pub fn journal_number(file_name: &str) -> Option<u64> {
    let digits = file_name
        .strip_prefix("engine-")?
        .strip_suffix(".journal")?;
    parse_generation(digits)
        .map(Generation::get)
        .filter(|number| *number > 0)
}

/// Whether a folder name below `images` is a shard (two hexadecimal digits).
#[must_use]
pub fn is_shard(file_name: &str) -> bool {
    file_name.len() == 2
        && file_name
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_file_name_is_read_back_and_nothing_else_is() {
        let generation = Generation::new(42).expect("in range");
        assert_eq!(catalog(generation), "catalogs/0000000042.catalog");
        assert_eq!(catalog_generation("0000000042.catalog"), Some(generation));
        for other in [
            "42.catalog",
            "0000000000.catalog",
            "+000000042.catalog",
            "current",
            "x.catalog",
        ] {
            assert_eq!(catalog_generation(other), None, "{other}");
        }
    }
}
