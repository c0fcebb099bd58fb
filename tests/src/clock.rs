//! A wall clock that a test moves, for one real program: libfaketime, preloaded. What tells how much time went by stays as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// See the module.
#[derive(Debug)]
pub struct MovedClock {
    dir: TempDir,
    library: PathBuf,
}

impl MovedClock {
    /// A clock that is so many days ahead of the machine's.
    ///
    /// # Panics
    /// If libfaketime is not installed.
    #[must_use]
    pub fn ahead(days: i32) -> Self {
        let clock = MovedClock {
            dir: tempfile::tempdir().expect("a folder"),
            library: library().expect(
                "`libfaketime` is not installed: run scripts/setup-test (`make test` does)",
            ),
        };
        clock.set(days);
        clock
    }

    /// From now on it is so many days ahead, at once; behind, if that is negative.
    ///
    /// # Panics
    /// If its file cannot be replaced.
    pub fn set(&self, days: i32) {
        // Whoever reads it reads a whole one.
        let next = self.dir.path().join("next");
        std::fs::write(&next, format!("{days:+}d\n")).expect("own folder");
        std::fs::rename(next, self.file()).expect("own folder");
    }

    /// Has this program go by it.
    pub fn rule(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.file())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }
}

/// Debian keeps it below the folder of the architecture.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir(Path::new("/usr/lib")).ok()?;
    let library = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    folders
        .flatten()
        .map(library)
        .find(|library| library.is_file())
}
