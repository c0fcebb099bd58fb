//! Licence files: read as they were signed, or refused by name.

use daybreak_admin::licensing::{KeyId, LicenceError, sign};
use daybreak_admin::limits::LICENCE_BYTES_MAX;

use crate::support::vendor::{id, key, licence, vendors};

fn file() -> Vec<u8> {
    let licence = licence("full", &[1, 2], &[("redundant-terminal-connection", 50)]);
    sign(&licence, &key(1)).expect("signed").into_bytes()
}

fn refused(text: &[u8]) -> &'static str {
    vendors(&[1])
        .read_for(text, id(1))
        .expect_err("refused")
        .word()
}

#[test]
fn a_licence_is_read_as_it_was_signed_by_either_of_its_servers_and_by_nobody_else() {
    let vendors = vendors(&[1]);
    let (first, second) = (
        vendors.read_for(&file(), id(1)),
        vendors.read_for(&file(), id(2)),
    );
    assert_eq!(first, second);
    let expected = licence("full", &[1, 2], &[("redundant-terminal-connection", 50)]);
    assert_eq!(first, Ok(expected));
    let other = vendors.read_for(&file(), id(3)).expect_err("refused");
    assert_eq!(other.word(), "other_installation");
    for said in [id(1), id(2), id(3)] {
        assert!(other.to_string().contains(&said.to_string()), "{other}");
    }
}

#[test]
fn every_changed_octet_is_found() {
    let file = file();
    let vendors = vendors(&[1]);
    for at in 0..file.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut other = file.clone();
            other[at] ^= flip;
            assert!(vendors.read(&other).is_err(), "octet {at}, {flip:#x}");
        }
    }
    let at = file
        .windows(2)
        .position(|two| two == b"50")
        .expect("the count");
    let mut other = file.clone();
    other[at] = b'9';
    assert_eq!(refused(&other), "changed");
}

#[test]
fn a_licence_that_is_cut_off_anywhere_is_refused() {
    let file = file();
    for end in 0..file.len() {
        let word = refused(&file[..end]);
        assert!(
            matches!(word, "truncated" | "not_a_licence"),
            "{end}: {word}"
        );
    }
    let head = file
        .windows(2)
        .position(|two| two == b"\n\n")
        .expect("an end")
        + 2;
    assert_eq!(refused(&file[..head]), "truncated");
    assert_eq!(refused(&[&file[..], b"\n"].concat()), "malformed");
}

#[test]
fn an_unknown_key_is_named_and_each_of_several_vendors_is_believed() {
    let licence = licence("none", &[1], &[("terminal-connection", 12)]);
    let of = |number| sign(&licence, &key(number)).expect("signed").into_bytes();
    let trusted = vendors(&[1, 2]);
    assert!(trusted.read(&of(1)).is_ok() && trusted.read(&of(2)).is_ok());
    let unknown = KeyId::of(&key(3).verifying_key());
    assert_eq!(trusted.read(&of(3)), Err(LicenceError::UnknownKey(unknown)));
    // The key of one vendor under the name of another.
    let text = String::from_utf8(of(3)).expect("text");
    let named = text.replace(
        &unknown.to_string(),
        &KeyId::of(&key(1).verifying_key()).to_string(),
    );
    assert_eq!(trusted.read(named.as_bytes()), Err(LicenceError::Signature));
}

#[test]
fn another_version_is_told_from_damage() {
    let text = String::from_utf8(file()).expect("text");
    let envelope = text.replacen("daybreak-licence 1", "daybreak-licence 2", 1);
    assert_eq!(refused(envelope.as_bytes()), "wrong_version");
    let mut later = licence("none", &[1], &[("terminal-connection", 12)]);
    later.schema_version = 2;
    let later = sign(&later, &key(1)).expect("signed");
    assert_eq!(refused(later.as_bytes()), "wrong_version");
    assert_eq!(refused(b"-----BEGIN CERTIFICATE-----\n"), "not_a_licence");
    assert_eq!(refused(text.replace('\n', "\r\n").as_bytes()), "malformed");
    assert_eq!(refused(text.to_uppercase().as_bytes()), "not_a_licence");
}

#[test]
fn what_is_longer_than_any_licence_is_refused_before_it_is_looked_at() {
    let mut long = file();
    long.resize(LICENCE_BYTES_MAX + 1, b' ');
    assert_eq!(refused(&long), "too_large");
}

#[test]
fn a_signed_payload_that_makes_no_sense_is_refused() {
    let fine = || licence("full", &[1, 2], &[("redundant-terminal-connection", 50)]);
    let wrong: [(&str, &dyn Fn() -> daybreak_admin::licensing::Licence); 8] = [
        ("no customer", &|| {
            let mut licence = fine();
            licence.customer.clear();
            licence
        }),
        ("a name that breaks lines", &|| {
            let mut licence = fine();
            licence.customer = "plant\n1".into();
            licence
        }),
        ("activation 0", &|| {
            let mut licence = fine();
            licence.activation = 0;
            licence
        }),
        ("no count", &|| {
            let mut licence = fine();
            licence.products[0].count = 0;
            licence
        }),
        ("one product licence twice", &|| {
            let mut licence = fine();
            licence.products.push(licence.products[0].clone());
            licence
        }),
        ("an end before its beginning", &|| {
            let mut licence = fine();
            licence.valid_until_ms = Some(licence.valid_from_ms);
            licence
        }),
        ("one server twice", &|| licence("mirrored", &[1, 1], &[])),
        ("redundancy on one server", &|| {
            licence("full", &[1], &[("redundant-terminal-connection", 5)])
        }),
    ];
    for (what, licence) in wrong {
        assert!(licence().check().is_err(), "{what}");
        let signed = sign(&licence(), &key(1));
        assert_eq!(signed.expect_err(what).word(), "unusable");
    }
}

/// The seeds of the fuzzer. `DAYBREAK_WRITE_DOCUMENTS=1` writes them anew.
#[test]
fn the_seeds_of_the_fuzzer_are_what_is_written_today() {
    let mut ending = licence("none", &[1], &[("terminal-connection", 12)]);
    ending.valid_until_ms = Some(1_900_000_000_000);
    let both = licence("mirrored", &[1, 2], &[("mirrored-terminal-connection", 9)]);
    let whole = |licence| sign(&licence, &key(1)).expect("signed");
    let seeds = [
        ("none", whole(ending)),
        ("mirrored", whole(both)),
        ("full", String::from_utf8(file()).expect("text")),
        (
            "enterprise",
            whole(licence(
                "enterprise",
                &[1, 2],
                &[("instant-failover", 1_000_000)],
            )),
        ),
        (
            "payload-alone",
            serde_json::to_string(&licence("none", &[1], &[])).expect("JSON"),
        ),
        (
            "unknown-field",
            r#"{"schema_version":1,"id":"a","more":[[[[]]]]}"#.into(),
        ),
        ("later-version", r#"{"schema_version":4294967295}"#.into()),
    ];
    for (name, text) in seeds {
        let path = [env!("CARGO_MANIFEST_DIR"), "../tests/corpus/licence", name];
        let path: std::path::PathBuf = path.iter().collect();
        if std::env::var_os("DAYBREAK_WRITE_DOCUMENTS").is_some() {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(&path, &text).expect("written");
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap_or_default(),
            text,
            "{name}"
        );
    }
}
