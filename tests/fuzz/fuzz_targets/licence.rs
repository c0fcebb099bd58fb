//! Any licence file: refused by name, or what was signed.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| daybreak_tests::properties::check_licence(text));
