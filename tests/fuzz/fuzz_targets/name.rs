//! Any name: its key cannot climb out of the catalog.
#![no_main]

libfuzzer_sys::fuzz_target!(|raw: &[u8]| daybreak_tests::properties::check_name(raw));
