//! The design, as rules that the source tree must keep: which crate may know which, where the unsafe
//! code is, what a sans-io crate may not name, how long a file may be, which test proves which statement.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use daybreak_tests::programs;
use daybreak_tests::tree::{self, SourceFile};

/// What each crate may depend on, among ours (the table of docs/architecture.md). A crate that is not in
/// the table is a proof of the others, and may know any.
const ARROWS: [(&str, &[&str]); 6] = [
    ("daybreak-tftp", &[]),
    ("daybreak-store", &[]),
    ("daybreak-sync", &[]),
    ("daybreak-engine", &["daybreak-tftp", "daybreak-store"]),
    ("daybreak-admin", &["daybreak-store", "daybreak-sync"]),
    ("daybreak-loadtest", &["daybreak-tftp"]),
];

/// The crates that are proofs.
const PROOFS: [&str; 2] = ["daybreak-bench", "daybreak-tests"];

/// The crates that decide and never act: no clock, no socket, no file, no thread.
const SANS_IO: [&str; 2] = ["tftp", "sync"];

/// What those may be built on: libraries that compute, and open, time or start nothing by themselves.
const SANS_IO_LIBRARIES: [&str; 6] = [
    "blake3",
    "hashbrown",
    "rand_chacha",
    "serde",
    "siphasher",
    "thiserror",
];

/// Where unsafe code may be.
const UNSAFE_ALLOWED: [&str; 2] = ["engine/src/io/", "store/src/map.rs"];

/// Lines of a Rust file.
const FILE_LINES_MAX: usize = 600;

/// The statements of conformance that docs/protocol.md must have a row for.
const STATEMENTS: std::ops::RangeInclusive<u32> = 1..=89;

/// Words that make a reason.
const REASON_WORDS_MIN: usize = 3;

#[test]
fn crates_depend_on_each_other_only_along_the_arrows_of_the_design() {
    let metadata = MetadataCommand::new()
        .manifest_path(programs::repository().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut seen = BTreeSet::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        seen.insert(name);
        let Some(allowed) = allowed.get(name) else {
            assert!(
                PROOFS.contains(&name),
                "{name} is not in the design's table of crates"
            );
            continue;
        };
        for other in ours(package) {
            assert!(
                allowed.contains(&other),
                "{name} may not depend on {other}: no such arrow"
            );
        }
    }
    let expected = ARROWS.iter().map(|(name, _)| *name).chain(PROOFS).collect();
    assert_eq!(seen, expected, "the workspace's crates and the design's");
}

/// The crates of ours that a package depends on: to run, to build, or for its own tests.
fn ours(package: &Package) -> impl Iterator<Item = &str> {
    let names = package
        .dependencies
        .iter()
        .map(|dependency| dependency.name.as_str());
    names.filter(|name| name.starts_with("daybreak-"))
}

#[test]
fn sans_io_crates_name_no_clock_socket_file_or_thread() {
    let mut violations = Vec::new();
    for folder in SANS_IO {
        let files = tree::rust_below(&format!("{folder}/src"));
        let root = files
            .iter()
            .find(|file| file.path.ends_with("src/lib.rs"))
            .expect("a library");
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            assert!(
                root.text.contains(attribute),
                "{folder}/src/lib.rs must say {attribute}"
            );
        }
        for file in files.iter().filter(|file| !is_test(file)) {
            violations.extend(naming(
                file,
                &["std::", "extern crate std", "Instant::now", "SystemTime"],
            ));
        }
    }
    assert_none(&violations);
}

#[test]
fn sans_io_crates_are_built_on_what_only_computes() {
    let metadata = MetadataCommand::new()
        .manifest_path(programs::repository().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let mut violations = Vec::new();
    for folder in SANS_IO {
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == format!("daybreak-{folder}"));
        let dependencies = &package.expect("a crate of the workspace").dependencies;
        violations.extend(
            dependencies
                .iter()
                .filter(|dependency| dependency.kind != DependencyKind::Development)
                .filter(|dependency| !SANS_IO_LIBRARIES.contains(&dependency.name.as_str()))
                .map(|dependency| format!("{folder} may not be built on {}", dependency.name)),
        );
    }
    assert_none(&violations);
}

#[test]
fn unsafe_code_is_only_where_the_kernel_and_the_maps_are() {
    // Joined here, so that this file does not hold the words.
    let words = ["{", "fn", "impl", "extern"].map(|what| ["unsafe", what].join(" "));
    let words = words.each_ref().map(String::as_str);
    let outside = |file: &&SourceFile| {
        !UNSAFE_ALLOWED
            .iter()
            .any(|allowed| file.name().starts_with(allowed))
    };
    let files = tree::rust();
    let violations: Vec<String> = files
        .iter()
        .filter(outside)
        .flat_map(|file| naming(file, &words))
        .collect();
    assert_none(&violations);
}

#[test]
fn no_rust_file_is_longer_than_a_reader_can_hold() {
    let length = |file: &SourceFile| (file.name(), file.text.lines().count());
    let long: Vec<String> = tree::rust()
        .iter()
        .map(length)
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(name, lines)| format!("{name} has {lines} lines: make it two files"))
        .collect();
    assert_none(&long);
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    // Joined here, so that this file does not name them either.
    let folders = ["home", "root", "Users", "work"].map(|folder| format!("/{folder}/"));
    let mut violations = Vec::new();
    for file in tree::files() {
        for (index, line) in file.text.lines().enumerate() {
            if folders.iter().any(|folder| starts_a_path(line, folder)) {
                violations.push(format!("{}:{} names such a path", file.name(), index + 1));
            }
        }
    }
    assert_none(&violations);
}

/// Whether `folder` stands in the line as the start of a path, not within one.
fn starts_a_path(line: &str, folder: &str) -> bool {
    let within = |before: char| before.is_alphanumeric() || "._-*~})]>".contains(before);
    line.match_indices(folder)
        .any(|(at, _)| !line[..at].ends_with(within))
}

#[test]
fn every_statement_of_the_protocol_names_its_test_or_its_reason() {
    let files = tree::files();
    let document = files
        .iter()
        .find(|file| file.path.ends_with("docs/protocol.md"));
    let document = document.expect("docs/protocol.md");
    let tests: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.has_extension("rs"))
        .flat_map(|file| tests_of(&file.text))
        .collect();

    let mut violations = Vec::new();
    let (mut seen, mut cited) = (BTreeSet::new(), BTreeSet::new());
    for (number, proof) in document.text.lines().filter_map(statement) {
        seen.insert(number);
        let named: Vec<&str> = citations(proof).collect();
        if named.is_empty() && proof.split_whitespace().count() < REASON_WORDS_MIN {
            violations.push(format!(
                "statement {number} has neither a test nor a reason"
            ));
        }
        for test in named {
            if !tests.contains(test) {
                violations.push(format!("statement {number}: no test `{test}`"));
            }
            if !numbers_of(test).any(|named| named == number) {
                violations.push(format!("statement {number} names `{test}`"));
            }
            cited.insert(test);
        }
    }
    let numbered = tests
        .iter()
        .filter(|test| numbers_of(test).any(|number| STATEMENTS.contains(&number)));
    let uncited = numbered.filter(|test| !cited.contains(*test));
    violations.extend(uncited.map(|test| format!("no row names `{test}`")));
    let absent = STATEMENTS.filter(|number| !seen.contains(number));
    violations.extend(absent.map(|number| format!("statement {number} has no row")));
    assert_none(&violations);
}

/// A row `| 26 | … | test or reason |` of the tables: the number, and the last cell. Tables of two columns are of other things.
fn statement(line: &str) -> Option<(u32, &str)> {
    let mut cells = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|');
    let number = cells.next()?.trim().parse().ok()?;
    let _what = cells.next()?;
    Some((number, cells.next_back()?.trim()))
}

/// The tests that a cell names: words in backquotes such as `c26_a_duplicate_ack_…`.
fn citations(cell: &str) -> impl Iterator<Item = &str> {
    let words = cell.split('`').skip(1).step_by(2);
    words.filter(|word| numbers_of(word).next().is_some())
}

/// The statements that a test is of, by its name: `c14_c28_…` is of two.
fn numbers_of(test: &str) -> impl Iterator<Item = u32> {
    let words = test.split('_');
    words.map_while(|word| word.strip_prefix('c')?.parse().ok())
}

/// The names of the tests in a Rust file: functions right after `#[test]`, or after attributes that follow it.
fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    let mut after_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line == "#[test]" {
            after_test = true;
            return None;
        }
        let name = line
            .strip_prefix("fn ")
            .and_then(|line| line.split_once('('));
        let found = name.filter(|_| after_test);
        after_test &= line.starts_with("#[");
        Some(found?.0)
    })
}

/// Whether a file holds only tests: they may use what the code that they test may not.
fn is_test(file: &SourceFile) -> bool {
    let is = |name: &str| matches!(name.trim_end_matches(".rs"), "test" | "tests");
    file.path.iter().filter_map(|part| part.to_str()).any(is)
}

/// The lines of code, outside the tests of the file, that hold one of `words`.
fn naming(file: &SourceFile, words: &[&str]) -> Vec<String> {
    let named = file
        .code_lines()
        .filter(|(_, line)| words.iter().any(|word| line.contains(word)));
    named
        .map(|(number, line)| format!("{}:{number} says `{line}`", file.name()))
        .collect()
}

/// Fails with all violations at once: a reader repairs them in one go.
fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
