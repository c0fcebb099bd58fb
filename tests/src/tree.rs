//! The source tree as the architecture tests see it: files and their lines.

use std::path::PathBuf;
use std::process::Command;

use crate::programs;

/// A text file of the tree.
#[derive(Debug)]
pub struct SourceFile {
    /// Its path from the root of the tree.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

impl SourceFile {
    /// Its path as text.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Whether its name ends with `.extension`.
    #[must_use]
    pub fn has_extension(&self, extension: &str) -> bool {
        self.path
            .extension()
            .is_some_and(|found| found == extension)
    }

    /// The numbers and texts of its lines of code: without comments, up to the module of its tests.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self
            .text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        code.lines()
            .enumerate()
            .map(|(index, line)| {
                (
                    index + 1,
                    line.split("//").next().unwrap_or_default().trim(),
                )
            })
            .filter(|(_, line)| !line.is_empty())
    }
}

/// Every text file that is part of the project: committed, or new and not ignored.
///
/// # Panics
/// If the tree is not a git work tree.
#[must_use]
pub fn files() -> Vec<SourceFile> {
    let root = programs::repository();
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&root)
        .output()
        .expect("git is installed");
    assert!(
        output.status.success(),
        "`git ls-files` failed in {}",
        root.display()
    );
    let names = String::from_utf8(output.stdout).expect("plain names");
    // What is not text is a corpus or a picture; what is gone was removed and not yet committed.
    let read = |name: &str| {
        let text = std::fs::read_to_string(root.join(name)).ok()?;
        Some(SourceFile {
            path: PathBuf::from(name),
            text,
        })
    };
    names.split_terminator('\0').filter_map(read).collect()
}

/// Every Rust file of the tree.
#[must_use]
pub fn rust() -> Vec<SourceFile> {
    let mut files = files();
    files.retain(|file| file.has_extension("rs"));
    files
}

/// The Rust files below a folder of the tree.
#[must_use]
pub fn rust_below(folder: &str) -> Vec<SourceFile> {
    let mut files = rust();
    files.retain(|file| file.path.starts_with(folder));
    files
}
