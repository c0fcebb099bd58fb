//! Any file: a catalog that answers for everything in it, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| daybreak_tests::properties::check_catalog(file));
