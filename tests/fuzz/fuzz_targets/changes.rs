//! Any file: changes that make a catalog which answers for everything in it, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| daybreak_tests::properties::check_changes(file));
