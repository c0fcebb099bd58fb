//! Any datagram: it is parsed or refused, and what the parser promises holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| daybreak_tests::properties::check_datagram(datagram));
