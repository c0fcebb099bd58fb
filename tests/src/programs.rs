//! Where the programs are: ours in cargo's target folder, the others in the system's path.
//!
//! An integration test of this package is `target/PROFILE/deps/NAME-HASH`, so our programs lie one folder
//! up. They are built by `make test`, not by the test: a test that builds waits on cargo's lock.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Our own program of a name, such as `daybreak-engine`.
///
/// # Panics
/// If it is not built; the message says how to build it.
#[must_use]
pub fn ours(name: &str) -> PathBuf {
    let program = profile_dir().join(name);
    assert!(
        program.is_file(),
        "{} is not built: run `cargo build --workspace --bins` (`make test` does)",
        program.display()
    );
    program
}

/// Cargo's folder of the profile that this test was built with, such as `target/debug`.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder
            .parent()
            .expect("deps lies in the profile's folder")
            .to_path_buf()
    } else {
        folder.to_path_buf()
    }
}

/// A program of the system, which must be installed.
///
/// # Panics
/// If it is not; the message says how to install it.
#[must_use]
pub fn system(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| {
        panic!("`{name}` is not installed: run scripts/setup-test (`make test` does)")
    })
}

/// A program of the system, if it is installed. The administrator's folders are searched too: a plain
/// user's path on Debian lacks them.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A command that dies with the test that starts it, even when the test is killed.
///
/// The kernel ties it to the thread that starts it: start what a test needs on the test's own thread.
pub fn dying_with_test(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(system("setpriv"));
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The root of the source tree.
#[must_use]
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("this package lies in the workspace")
        .to_path_buf()
}
