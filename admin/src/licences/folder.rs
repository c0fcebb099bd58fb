//! Licence files on the disk: `keys/licences/<id>.licence`, and the vendors' keys in `keys/vendors`.
//!
//! A file is written beside its place, synced and renamed, so a crash leaves the old one or the new one. What lies in the folders is
//! read within bounds, and whatever else is there is left alone.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::licensing::{LicenceError, VendorKeys};
use crate::limits::{LICENCE_BYTES_MAX, LICENCES_MAX, VENDOR_KEYS_MAX};
use crate::object::Id;

const LICENCES: &str = "licences";
const VENDORS: &str = "vendors";
const LICENCE_ENDING: &str = "licence";
const REMOVED_ENDING: &str = "removed";
const KEY_ENDING: &str = "pub";
/// Of a key's file: what is longer is none.
const KEY_BYTES_MAX: usize = 256;

/// Keys that are built in, each as 64 hexadecimal digits, with commas between.
const BUILT_IN: Option<&str> = option_env!("DAYBREAK_VENDOR_KEYS");

/// A file: its name, and what is in it.
type Named = (String, Result<Vec<u8>, LicenceError>);

/// See the module.
#[derive(Debug)]
pub(super) struct Folder {
    keys: PathBuf,
}

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct FileError {
    path: String,
    /// Why.
    pub source: io::Error,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.display().to_string();
    move |source| FileError { path, source }
}

impl FileError {
    /// About this file.
    pub(super) fn of(path: &Path, source: io::Error) -> Self {
        failed(path)(source)
    }
}

impl Folder {
    /// The folders in `keys`, made if they are not there.
    pub(super) fn open(keys: PathBuf) -> Result<Self, FileError> {
        for name in [LICENCES, VENDORS] {
            let path = keys.join(name);
            let mut builder = fs::DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(&path);
            made.map_err(failed(&path))?;
        }
        Ok(Folder { keys })
    }

    /// Each licence file: its name, and as much of it as a licence may have and one octet.
    pub(super) fn licences(&self) -> Result<Vec<Named>, FileError> {
        let files = self.files(LICENCES, LICENCE_ENDING, LICENCES_MAX)?;
        let read = |path: PathBuf| {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (name, content(&path, LICENCE_BYTES_MAX + 1))
        };
        Ok(files.into_iter().map(read).collect())
    }

    /// The keys that are trusted: those built in, and those in the folder.
    pub(super) fn vendors(&self) -> Result<Vendors, FileError> {
        let mut vendors = Vendors::default();
        vendors.trust_built_in(BUILT_IN.unwrap_or_default());
        for path in self.files(VENDORS, KEY_ENDING, VENDOR_KEYS_MAX)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let text = content(&path, KEY_BYTES_MAX);
            vendors.trust(format!("{VENDORS}/{name}"), text);
        }
        Ok(vendors)
    }

    /// Writes the file of a licence. On return it is on the disk.
    pub(super) fn write_licence(&self, id: &Id, text: &str) -> Result<(), FileError> {
        self.write(&self.licence(id), text)
    }

    /// Writes a vendor's key.
    pub(super) fn write_vendor(&self, name: &str, text: &str) -> Result<(), FileError> {
        let path = self
            .keys
            .join(VENDORS)
            .join(name)
            .with_extension(KEY_ENDING);
        self.write(&path, text)
    }

    /// Removes the file of a licence; on return it is gone from the disk, if it was there.
    pub(super) fn remove_licence(&self, id: &Id) -> Result<(), FileError> {
        self.remove(&self.licence(id))
    }

    /// Remembers that somebody removed this activation of a licence here: the partner, which still has it, gives it again and again.
    pub(super) fn write_removed(&self, id: &Id, activation: u32) -> Result<(), FileError> {
        self.write(&self.removed(id), &activation.to_string())
    }

    /// The last activation that was removed here, if one was.
    pub(super) fn removed_activation(&self, id: &Id) -> Option<u32> {
        let text = bounded(&self.removed(id), 16).ok()?;
        core::str::from_utf8(&text).ok()?.parse().ok()
    }

    fn removed(&self, id: &Id) -> PathBuf {
        let name = format!("{id}.{REMOVED_ENDING}");
        self.keys.join(LICENCES).join(name)
    }

    fn licence(&self, id: &Id) -> PathBuf {
        let name = format!("{id}.{LICENCE_ENDING}");
        self.keys.join(LICENCES).join(name)
    }

    fn remove(&self, path: &Path) -> Result<(), FileError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(path)(error)),
            Ok(()) => synced(path.parent().unwrap_or(&self.keys)),
        }
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), FileError> {
        let next = path.with_extension("next");
        let written = || {
            let _ = fs::remove_file(&next);
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&next)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&next, path)
        };
        written().map_err(failed(path))?;
        synced(path.parent().unwrap_or(&self.keys))
    }

    /// The plain files of this ending, by name; no more than `max`.
    fn files(&self, folder: &str, ending: &str, max: usize) -> Result<Vec<PathBuf>, FileError> {
        let folder = self.keys.join(folder);
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed(&folder))? {
            let entry = entry.map_err(failed(&folder))?;
            let plain = entry.file_type().map_err(failed(&folder))?.is_file();
            let path = entry.path();
            if plain && path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
        found.sort_unstable();
        found.truncate(max);
        Ok(found)
    }
}

/// The vendors' keys.
#[derive(Debug, Default)]
pub(super) struct Vendors {
    /// Those that are trusted.
    pub(super) keys: VendorKeys,
    /// What stands among them and is none, by name, and why: the others are trusted all the same.
    pub(super) refused: Vec<(String, LicenceError)>,
}

impl Vendors {
    fn trust(&mut self, name: String, text: Result<Vec<u8>, LicenceError>) {
        let key = text.and_then(|text| {
            let text = core::str::from_utf8(&text).ok();
            text.and_then(VendorKeys::parse_key)
                .ok_or(LicenceError::NotAKey)
        });
        match key {
            Ok(key) => self.keys.trust(key),
            Err(why) => self.refused.push((name, why)),
        }
    }

    /// Keys as 64 hexadecimal digits, with commas between.
    fn trust_built_in(&mut self, keys: &str) {
        let keys = keys.split(',').map(str::trim).enumerate();
        for (place, digits) in keys.filter(|(_, digits)| !digits.is_empty()) {
            let name = format!("DAYBREAK_VENDOR_KEYS, number {}", place + 1);
            let text = format!("daybreak-vendor-key {digits}");
            self.trust(name, Ok(text.into_bytes()));
        }
    }
}

/// What is in a file, as far as `bounded` reads it: one that cannot be read keeps nobody from the others.
fn content(path: &Path, bytes_max: usize) -> Result<Vec<u8>, LicenceError> {
    bounded(path, bytes_max).map_err(|error| LicenceError::Unreadable(error.to_string()))
}

/// The beginning of a file.
fn bounded(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(bytes_max as u64)
        .read_to_end(&mut text)?;
    Ok(text)
}

fn synced(folder: &Path) -> Result<(), FileError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::licensing::KeyId;
    use ed25519_dalek::SigningKey;

    fn digits(seed: u8) -> String {
        let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
        crate::security::hex(key.as_bytes())
    }

    #[test]
    fn keys_that_are_built_in_are_trusted_and_a_bad_one_is_named() {
        let mut vendors = Vendors::default();
        vendors.trust_built_in("");
        assert_eq!((vendors.keys.ids().count(), vendors.refused.len()), (0, 0));
        let (one, other) = (digits(1), digits(2));
        // Cut short, no digits, and a point of small order, which would accept what nobody signed.
        let weak = format!("01{}", "0".repeat(62));
        vendors.trust_built_in(&format!("{one}, {},{weak},secret,{other},", &other[1..]));
        let mut trusted: Vec<KeyId> = vendors.keys.ids().collect();
        let mut expected =
            [1, 2].map(|seed| KeyId::of(&SigningKey::from_bytes(&[seed; 32]).verifying_key()));
        trusted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(trusted, expected);
        let refused = [2, 3, 4].map(|place| {
            let name = format!("DAYBREAK_VENDOR_KEYS, number {place}");
            (name, LicenceError::NotAKey)
        });
        assert_eq!(vendors.refused, refused);
    }
}
