//! What this machine calls itself: `/etc/machine-id`, made once when a system is installed.
//!
//! An image of a system that was not started yet, and many a container, have none: then one is made in the data directory. It stays as long as
//! the data does, so a copy of the data on another such machine cannot be told from this one, which is warned of.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::edge::{Entropy, random};
use crate::security::hex;

/// Octets that are read of it.
const BYTES_MAX: usize = 256;

/// What stands there until the first start of a system (machine-id(5)): the same on every machine of one image.
const UNINITIALIZED: &str = "uninitialized";

/// Where a system that has no identity of its own gets one: in the data directory, so that it stays the same.
const OWN: &str = "machine-id";

/// The identity of the machine in the file `system`; where it has none, one that is made in `keys`.
pub(super) fn identity(system: &Path, keys: &Path, entropy: &dyn Entropy) -> io::Result<String> {
    if let Some(identity) = read(system)? {
        return Ok(identity);
    }
    let own = keys.join(OWN);
    tracing::warn!(
        system = %system.display(), own = %own.display(),
        "this machine has no identity: the one in the data directory stands in, also in a copy of that. Run systemd-machine-id-setup before \
         licences are activated"
    );
    if let Some(identity) = read(&own)? {
        return Ok(identity);
    }
    let made = hex(&random::<16>(entropy));
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(own)?;
    file.write_all(made.as_bytes())?;
    file.sync_all()?;
    fs::File::open(keys)?.sync_all()?;
    Ok(made)
}

/// The identity in a file, if there is one.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let identity = text.trim();
            let is_one = text.len() <= BYTES_MAX && !matches!(identity, "" | UNINITIALIZED);
            Ok(is_one.then(|| identity.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
