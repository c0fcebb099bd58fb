//! The corpus of the packet parser, replayed: what a fuzzer found once must hold for ever.

use daybreak_tests::{corpus, properties};

#[test]
fn every_datagram_of_the_corpus_is_parsed_or_refused_by_name() {
    let packets = corpus::packets();
    assert!(
        packets.len() >= 90,
        "the corpus has only {} files",
        packets.len()
    );
    for (name, datagram) in packets {
        println!("{name}");
        properties::check_datagram(&datagram);
        properties::check_name(&datagram);
    }
}

#[test]
fn every_datagram_of_the_corpus_is_parsed_or_refused_when_cut_at_any_octet() {
    for (name, datagram) in corpus::packets() {
        println!("{name}");
        for end in 0..datagram.len() {
            properties::check_datagram(&datagram[..end]);
        }
    }
}
