//! What this machine calls itself: `/etc/machine-id`, made once when a system is installed.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::edge::{Entropy, random};
use crate::security::hex;

/// Octets that are read of it.
const BYTES_MAX: usize = 256;

/// Where a system that has no identity of its own gets one: in the data directory, so that it stays the same.
const OWN: &str = "machine-id";

/// The identity of the machine in the file `system`; where it has none, one that is made in `keys`.
pub(super) fn identity(system: &Path, keys: &Path, entropy: &dyn Entropy) -> io::Result<String> {
    for path in [system, &keys.join(OWN)] {
        match fs::read_to_string(path) {
            Ok(text) if text.len() <= BYTES_MAX && !text.trim().is_empty() => {
                return Ok(text.trim().to_owned());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let made = hex(&random::<16>(entropy));
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(keys.join(OWN))?;
    file.write_all(made.as_bytes())?;
    file.sync_all()?;
    fs::File::open(keys)?.sync_all()?;
    Ok(made)
}
