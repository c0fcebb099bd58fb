//! The file in which a terminal keeps what was set in its menu.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::menu::Addresses;
use crate::limits::SAVED_BYTES_MAX;

/// What was kept; a terminal that was never set up has none.
///
/// # Errors
/// When the file cannot be read or understood.
pub fn read(path: &Path) -> Result<Addresses> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Addresses::default()),
        Err(error) => return Err(error).context(format!("reading {}", path.display())),
    };
    let mut text = String::new();
    let read = file.take(SAVED_BYTES_MAX + 1).read_to_string(&mut text);
    read.with_context(|| format!("reading {}", path.display()))?;
    if text.len() as u64 > SAVED_BYTES_MAX {
        bail!(
            "{} is no file of a terminal: it is too large",
            path.display()
        );
    }
    toml::from_str(&text).with_context(|| {
        format!(
            "{} is no file of a terminal: remove it to begin anew",
            path.display()
        )
    })
}

/// Keeps what was set: the old file or the new one is there, whatever happens.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, addresses: &Addresses) -> Result<()> {
    let text = toml::to_string(addresses).context("the settings as text")?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut name = path
        .file_name()
        .context("want the name of a file")?
        .to_owned();
    name.push(".new");
    let new = folder.join(name);
    let written = || -> std::io::Result<()> {
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        fs::File::open(folder)?.sync_all()
    };
    written().with_context(|| format!("keeping the settings in {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_what_is_no_such_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("terminal.toml");
        assert_eq!(read(&path).expect("none yet"), Addresses::default());
        let addresses = Addresses {
            terminal: Ipv4Addr::new(192, 0, 2, 50),
            primary: Ipv4Addr::new(192, 0, 2, 1),
            secondary: Ipv4Addr::UNSPECIFIED,
        };
        write(&path, &addresses).expect("written");
        assert_eq!(read(&path).expect("kept"), addresses);
        for bad in ["terminal = 1", "nonsense", &"x".repeat(100_000)] {
            fs::write(&path, bad).expect("written");
            assert!(read(&path).is_err());
        }
    }
}
