//! Any file that is said to be a backup: it is what a backup writes, or it is refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let _ = daybreak_tests::properties::check_archive(octets);
});
