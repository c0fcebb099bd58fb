//! Anything that a peer server sends: read as what it is, or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| daybreak_tests::properties::check_peer_stream(octets));
