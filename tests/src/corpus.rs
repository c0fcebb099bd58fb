//! The seeds of the fuzzer, as files of the tree.

use crate::programs;

/// Every datagram of `tests/corpus/packet`, with its name, in the order of the names.
///
/// # Panics
/// If the folder cannot be read.
#[must_use]
pub fn packets() -> Vec<(String, Vec<u8>)> {
    let folder = programs::repository().join("tests/corpus/packet");
    let entries = std::fs::read_dir(&folder).expect("tests/corpus/packet");
    let mut packets: Vec<(String, Vec<u8>)> = entries
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
    packets.sort();
    packets
}
