//! The corpora of the parsers, replayed: what a fuzzer found once must hold for ever.

use daybreak_store::{Changes, Snapshot};
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

#[test]
fn every_catalog_of_the_corpus_answers_for_what_is_in_it_or_is_refused() {
    let catalogs = corpus::seeds("catalog");
    assert!(catalogs.len() >= 5, "seeds are there");
    for (name, file) in catalogs {
        println!("{name}");
        for end in 0..=file.len() {
            properties::check_catalog(&file[..end]);
        }
        for at in 0..file.len() {
            let mut file = file.clone();
            file[at] ^= 0x41;
            properties::check_catalog(&file);
        }
    }
}

#[test]
fn all_changes_of_the_corpus_make_a_catalog_that_answers_for_what_is_in_it_or_are_refused() {
    let base = Snapshot::parse(properties::changes_base()).expect("a catalog");
    let seeds = corpus::seeds("changes");
    assert!(seeds.len() >= 5, "seeds are there");
    for (name, file) in seeds {
        println!("{name}");
        let made = Changes::parse(&file).and_then(|changes| changes.make(&base));
        assert!(made.is_ok(), "{name}: {made:?}");
        for end in (0..=file.len()).step_by(3) {
            properties::check_changes(&file[..end]);
        }
        for at in 0..file.len() {
            let mut file = file.clone();
            file[at] ^= 0x41;
            properties::check_changes(&file);
        }
    }
}

#[test]
fn every_message_of_the_corpus_is_read_as_what_it_is_or_refused() {
    let messages = corpus::seeds("message");
    assert!(messages.len() >= 25, "seeds are there");
    for (name, message) in messages {
        println!("{name}");
        for end in 0..=message.len() {
            properties::check_peer_stream(&message[..end]);
        }
        for at in 0..message.len() {
            for bits in [0x01, 0x41, 0x80] {
                let mut message = message.clone();
                message[at] ^= bits;
                properties::check_peer_stream(&message);
            }
        }
    }
}

#[test]
fn every_licence_of_the_corpus_is_what_was_signed_or_refused_by_name() {
    let licences = corpus::seeds("licence");
    assert!(licences.len() >= 5, "seeds are there");
    for (name, text) in licences {
        println!("{name}");
        for end in (0..=text.len()).rev().step_by(7) {
            properties::check_licence(&text[..end]);
        }
        for at in (0..text.len()).step_by(3) {
            let mut text = text.clone();
            text[at] ^= 0x41;
            properties::check_licence(&text);
        }
    }
}

#[test]
fn every_status_datagram_and_every_event_of_the_corpus_is_read_as_it_was_written_or_refused() {
    for (target, check) in [
        ("status", properties::check_status as fn(&[u8])),
        ("event", properties::check_event),
    ] {
        let seeds = corpus::seeds(target);
        assert!(seeds.len() >= 5, "seeds of {target} are there");
        for (name, seed) in seeds {
            println!("{target} {name}");
            for end in 0..=seed.len() {
                check(&seed[..end]);
            }
            for at in 0..seed.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut seed = seed.clone();
                    seed[at] ^= flip;
                    check(&seed);
                }
            }
        }
    }
}

#[test]
fn every_archive_of_the_corpus_is_what_a_backup_writes_or_is_refused() {
    let archives = corpus::seeds("archive");
    assert!(
        archives.len() >= 70,
        "the corpus has only {} files",
        archives.len()
    );
    for (name, octets) in archives {
        println!("{name}");
        let outcome = properties::check_archive(&octets);
        assert_eq!(
            outcome.is_ok(),
            name.starts_with("whole"),
            "{name}: {outcome:?}"
        );
    }
}

#[test]
fn every_archive_of_the_corpus_is_refused_when_cut_at_any_octet() {
    let archives = corpus::seeds("archive");
    for (name, octets) in &archives {
        println!("{name}");
        for end in (0..octets.len()).take(4096) {
            let cut = &octets[..end];
            // What has something behind its end is whole without it.
            let whole = archives
                .iter()
                .any(|(name, whole)| name.starts_with("whole") && cut == whole);
            assert_eq!(
                properties::check_archive(cut).is_ok(),
                whole,
                "cut at {end}"
            );
        }
    }
}
