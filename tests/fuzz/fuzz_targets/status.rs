//! Any datagram on the status port: refused, or read as it was written.
#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| daybreak_tests::properties::check_status(datagram));
