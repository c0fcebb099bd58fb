//! The seeds of the fuzzers, as files of the tree.

use crate::programs;

/// Every datagram of `tests/corpus/packet`, with its name, in the order of the names.
#[must_use]
pub fn packets() -> Vec<(String, Vec<u8>)> {
    seeds("packet")
}

/// Every seed of the fuzz target `target`, with its name, in the order of the names.
///
/// # Panics
/// If its folder cannot be read.
#[must_use]
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = programs::repository().join("tests/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("a folder of tests/corpus");
    let mut seeds: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "md"))
        .map(|path| {
            let name = path
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            (name, std::fs::read(&path).expect("a readable file"))
        })
        .collect();
    seeds.sort();
    seeds
}
