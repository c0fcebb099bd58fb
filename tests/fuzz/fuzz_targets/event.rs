//! Any record of a journal: refused, or read as it was written.
#![no_main]

libfuzzer_sys::fuzz_target!(|record: &[u8]| daybreak_tests::properties::check_event(record));
