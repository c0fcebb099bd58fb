//! The catalog format: what is built is found again, and what was changed is refused.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::layer::{CHECKSUM_BYTES, ENTRY_BYTES, HEADER_BYTES, INDEX_BYTES};
use super::terminal::TERMINAL_BYTES;
use super::*;
use crate::limits::{ENTRIES_MAX, INLINE_BYTES_MAX, TERMINALS_MAX};
use crate::{Generation, ImageHash, Mac, Name};

fn generation(number: u64) -> Generation {
    Generation::new(number).expect("in range")
}

fn small() -> Vec<u8> {
    let mut builder = SnapshotBuilder::new();
    let image = StoredContent::Image {
        hash: ImageHash::of(b"x"),
        len: 1,
    };
    builder.put(Name::parse("Boot").expect("name"), image.clone());
    builder.put(Name::parse("boot").expect("name"), image);
    builder.put(
        Name::parse("t/a").expect("name"),
        StoredContent::Inline((*b"{}").into()),
    );
    builder.set_terminals(BTreeMap::from([
        (mac(1), terminal("kiosk-1")),
        (mac(3), terminal("kiosk-3")),
    ]));
    builder.build(generation(7)).expect("build")
}

fn mac(last: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, last])
}

fn terminal(name: &str) -> StoredTerminal {
    StoredTerminal {
        id: format!("id-of-{name}").into(),
        name: name.into(),
        status_key: StatusKey([7; 32]),
        enabled: true,
        seated: false,
        standby: false,
    }
}

/// Makes the checksum right again after a change: what is left are the checks behind it.
fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let body = file.len() - CHECKSUM_BYTES;
    let checksum = blake3::hash(&file[..body]);
    file[body..].copy_from_slice(checksum.as_bytes());
    file
}

fn changed(at: usize, octets: &[u8]) -> Result<Snapshot, CatalogError> {
    let mut file = small();
    file[at..at + octets.len()].copy_from_slice(octets);
    Snapshot::parse(sealed(file))
}

#[test]
fn every_single_changed_octet_is_refused() {
    let file = small();
    for at in 0..file.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut file = file.clone();
            file[at] ^= flip;
            assert!(Snapshot::parse(file).is_err(), "octet {at} ^ {flip:#x}");
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let file = small();
    for len in 0..file.len() {
        assert!(matches!(
            Snapshot::parse(&file[..len]),
            Err(CatalogError::CutShort { .. })
        ));
    }
    let longer = [&file[..], &[0]].concat();
    assert_eq!(
        Snapshot::parse(longer).err(),
        Some(CatalogError::TrailingOctets(1))
    );
}

#[test]
fn every_rule_behind_the_checksum_has_its_name() {
    let index = HEADER_BYTES + 3 * ENTRY_BYTES;
    let terminals = index + 3 * INDEX_BYTES;
    let second = terminals + TERMINAL_BYTES;
    let names = terminals + 2 * TERMINAL_BYTES;
    let inline = HEADER_BYTES + 2 * ENTRY_BYTES;
    let refused = |at: usize, octets: &[u8]| changed(at, octets).expect_err("refused");
    assert_eq!(refused(0, b"D"), CatalogError::Magic);
    assert_eq!(refused(16, &[4]), CatalogError::Version(4));
    assert_eq!(refused(16, &[0]), CatalogError::Version(0));
    assert_eq!(refused(20, &[1]), CatalogError::Reserved);
    assert_eq!(refused(24, &[0]), CatalogError::Generation(0));
    assert_eq!(refused(24, &[0xff; 8]), CatalogError::Generation(u64::MAX));
    assert!(matches!(
        refused(32, &[0xff; 8]),
        CatalogError::CutShort { .. }
    ));
    assert!(matches!(
        refused(32, &[0; 8]),
        CatalogError::TrailingOctets(_)
    ));
    assert_eq!(refused(40, &[0xff; 4]), CatalogError::Entries(u32::MAX));
    assert_eq!(refused(40, &ENTRIES_MAX.to_le_bytes()), CatalogError::Parts);
    assert_eq!(refused(40, &[2]), CatalogError::Parts);
    assert_eq!(refused(44, &[1]), CatalogError::Parts);
    assert_eq!(refused(44, &[0xff; 4]), CatalogError::Terminals(u32::MAX));
    assert_eq!(
        refused(44, &TERMINALS_MAX.to_le_bytes()),
        CatalogError::Parts
    );
    // Version 1 had none.
    assert_eq!(refused(16, &[1]), CatalogError::Reserved);
    assert_eq!(refused(48, &[0xff; 8]), CatalogError::Parts);
    assert_eq!(refused(56, &[0xff; 8]), CatalogError::Parts);
    assert_eq!(refused(HEADER_BYTES, &[1]), CatalogError::NamePlace(0));
    assert_eq!(
        refused(HEADER_BYTES + 4, &[0xff, 0xff]),
        CatalogError::NamePlace(0)
    );
    assert_eq!(
        refused(HEADER_BYTES + 4, &[0]),
        CatalogError::Name(0, crate::NameError::Empty)
    );
    assert_eq!(refused(HEADER_BYTES + 6, &[9]), CatalogError::Kind(0));
    assert_eq!(refused(HEADER_BYTES + 7, &[1]), CatalogError::Reserved);
    assert_eq!(refused(inline + 16, &[1]), CatalogError::Blob(2));
    assert_eq!(refused(inline + 16, &[0xff; 8]), CatalogError::Blob(2));
    assert_eq!(refused(inline + 8, &[0xff; 8]), CatalogError::Blob(2));
    assert_eq!(refused(inline + 24, &[1]), CatalogError::Reserved);
    assert_eq!(refused(index, &[3]), CatalogError::Index(0));
    assert_eq!(refused(index + 4, &[0]), CatalogError::Index(1));
    for wrong in [
        (6, 8),  // an unknown flag
        (7, 0),  // no identifier
        (7, 65), // longer than there is room for
        (7, 1),  // shorter than it is
        (8, 0),  // no name
        (8, 17), // longer than there is room for
        (9, 1),  // reserved
        (48, 0), // not text
        (48, b' '),
        (48, 0xc3),
        (111, b'x'), // after the end of the identifier
        (112, b'\n'),
        (127, b'x'), // after the end of the name
    ] {
        assert_eq!(
            refused(second + wrong.0, &[wrong.1]),
            CatalogError::Terminal(1),
            "{wrong:?}"
        );
    }
    assert_eq!(refused(second + 5, &[1]), CatalogError::Terminal(1));
    assert_eq!(refused(second + 5, &[0]), CatalogError::Terminal(1));
    assert_eq!(refused(terminals + 5, &[3]), CatalogError::Terminal(1));
    assert_eq!(refused(names, b"c"), CatalogError::Order(1));
    assert_eq!(refused(names, b"b"), CatalogError::Order(1));
    assert_eq!(
        refused(names, b"/"),
        CatalogError::Name(0, crate::NameError::EmptySegment)
    );
}

#[test]
fn what_cannot_be_read_is_not_written() {
    let mut builder = SnapshotBuilder::new();
    assert_eq!(
        builder.build(Generation::ZERO),
        Err(CatalogError::Generation(0))
    );
    let large = vec![0; usize::try_from(INLINE_BYTES_MAX).expect("small") + 1];
    builder.put(
        Name::parse("a").expect("name"),
        StoredContent::Inline(large.into()),
    );
    assert_eq!(builder.build(generation(1)), Err(CatalogError::Blob(0)));
}

#[test]
fn a_terminal_that_cannot_be_read_is_not_written() {
    for (id, name) in [
        ("", "a"),
        ("a", ""),
        ("a b", "a"),
        ("a", "0123456789abcdefg"),
        ("\u{e4}", "a"),
    ] {
        let mut builder = SnapshotBuilder::new();
        let terminal = StoredTerminal {
            id: id.into(),
            name: name.into(),
            ..terminal("")
        };
        builder.set_terminals(BTreeMap::from([(mac(1), terminal)]));
        assert_eq!(
            builder.build(generation(1)),
            Err(CatalogError::Terminal(0)),
            "{id:?} {name:?}"
        );
    }
}

#[test]
fn a_card_is_found_and_its_neighbours_are_not() {
    let snapshot = Snapshot::parse(small()).expect("parse");
    for last in 0..=5 {
        let found = snapshot.terminal(mac(last)).map(|found| found.name);
        let wanted = match last {
            1 => Some("kiosk-1"),
            3 => Some("kiosk-3"),
            _ => None,
        };
        assert_eq!(found, wanted, "{last}");
    }
    assert_eq!(Snapshot::empty().terminal(mac(1)), None);
}

/// The file that this software wrote before there were terminals.
#[test]
fn a_catalog_of_version_1_is_read_as_one_without_terminals() {
    let mut builder = SnapshotBuilder::new();
    builder.put(
        Name::parse("a").expect("name"),
        StoredContent::Inline((*b"x").into()),
    );
    let mut file = builder.build(generation(1)).expect("build");
    file[16] = 1;
    let old = Snapshot::parse(sealed(file)).expect("parse");
    assert!(old.lookup(b"a").is_some());
    assert_eq!(old.terminals().len(), 0);
    // What follows it is of the version of now, and can have some.
    let mut builder = SnapshotBuilder::from_snapshot(&old);
    builder.set_terminals(BTreeMap::from([(mac(1), terminal("kiosk-1"))]));
    let new = Snapshot::parse(builder.build(generation(2)).expect("build")).expect("parse");
    assert_eq!((new.len(), new.terminals().len()), (1, 1));
}

/// The file that this software wrote before it told a server that boots nobody from terminals without a seat.
#[test]
fn a_catalog_of_version_2_is_read_and_has_no_flag_of_version_3() {
    let mut file = small();
    file[16] = 2;
    let old = Snapshot::parse(sealed(file.clone())).expect("parse");
    assert!(old.terminals().all(|terminal| !terminal.standby));
    let first = HEADER_BYTES + 3 * (ENTRY_BYTES + INDEX_BYTES);
    file[first + 6] |= 4;
    let refused = Snapshot::parse(sealed(file.clone())).expect_err("refused");
    assert_eq!(refused, CatalogError::Terminal(0));
    file[16] = 3;
    let new = Snapshot::parse(sealed(file)).expect("parse");
    assert!(
        new.terminal(mac(1))
            .is_some_and(|terminal| terminal.standby)
    );
}

#[test]
fn names_that_differ_by_case_only_are_found_by_the_rule() {
    let snapshot = Snapshot::parse(small()).expect("parse");
    let found = |name: &str| {
        snapshot
            .lookup_folded(name.as_bytes())
            .map(|id| snapshot.entry(id).name)
    };
    // The exact one first; else the first in octet order.
    assert_eq!(found("boot"), Some("boot"));
    assert_eq!(found("Boot"), Some("Boot"));
    assert_eq!(found("BOOT"), Some("Boot"));
    assert_eq!(found("T/A"), Some("t/a"));
    for missing in ["", "boo", "boots", "t", "t/", "\u{212a}"] {
        assert_eq!(found(missing), None, "{missing}");
    }
}

#[test]
fn the_same_inline_content_is_kept_once() {
    let content: StoredContent = StoredContent::Inline(vec![7; 1000].into());
    let mut builder = SnapshotBuilder::new();
    for number in 0..100 {
        builder.put(
            Name::parse(format!("t/{number}")).expect("name"),
            content.clone(),
        );
    }
    assert!(builder.build(generation(1)).expect("build").len() < 100 * 100);
}

/// Names from a small alphabet, so that some differ by case only.
fn names() -> impl Strategy<Value = Name> {
    "[abAB]{1,3}(/[aA.ü]{1,2}x)?".prop_map(|text| Name::parse(text).expect("canonical"))
}

fn contents() -> impl Strategy<Value = StoredContent> {
    prop_oneof![
        (any::<[u8; 32]>(), any::<u64>()).prop_map(|(hash, len)| StoredContent::Image {
            hash: ImageHash::from_bytes(hash),
            len
        }),
        prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| StoredContent::Inline(bytes.into())),
    ]
}

fn terminals() -> impl Strategy<Value = BTreeMap<Mac, StoredTerminal>> {
    let card = prop::array::uniform6(0..3_u8).prop_map(Mac);
    let terminal = (
        "[!-~]{1,64}",
        "[!-~]{1,16}",
        any::<([u8; 32], bool, bool, bool)>(),
    );
    let terminal =
        terminal.prop_map(
            |(id, name, (key, enabled, seated, standby))| StoredTerminal {
                id: id.into(),
                name: name.into(),
                status_key: StatusKey(key),
                enabled,
                seated,
                standby,
            },
        );
    prop::collection::btree_map(card, terminal, 0..20)
}

proptest! {
    #[test]
    fn what_is_built_is_found(
        entries in prop::collection::btree_map(names(), contents(), 0..40),
        asked in names(),
        terminals in terminals(),
        asked_mac in prop::array::uniform6(0..3_u8).prop_map(Mac),
        number in 1..1_000_000_u64,
    ) {
        let mut builder = SnapshotBuilder::new();
        for (name, content) in &entries {
            builder.put(name.clone(), content.clone());
        }
        builder.set_terminals(terminals.clone());
        let file = builder.build(generation(number)).expect("build");
        let snapshot = Snapshot::parse(file.clone()).expect("parse");
        prop_assert_eq!(snapshot.generation(), generation(number));
        prop_assert_eq!(snapshot.len(), entries.len());
        for (name, content) in &entries {
            let id = snapshot.lookup(name.as_bytes()).expect("found");
            prop_assert_eq!(snapshot.lookup_folded(name.as_bytes()), Some(id));
            let view = snapshot.entry(id);
            prop_assert_eq!((view.name, view.len), (name.as_str(), content.len()));
            match (view.content, content) {
                (Content::Image(found), StoredContent::Image { hash, .. }) => prop_assert_eq!(found, *hash),
                (Content::Inline(found), StoredContent::Inline(bytes)) => prop_assert_eq!(found, &bytes[..]),
                _ => prop_assert!(false, "another kind of content"),
            }
        }
        prop_assert_eq!(snapshot.lookup(asked.as_bytes()).is_some(), entries.contains_key(&asked));
        let folded = snapshot.lookup_folded(asked.as_bytes()).map(|id| snapshot.entry(id).name.to_owned());
        prop_assert_eq!(folded, folded_by_hand(&entries, &asked));
        prop_assert!(snapshot.terminals().map(|view| (view.mac, view.into())).eq(terminals.clone()));
        for (mac, terminal) in &terminals {
            let found = snapshot.terminal(*mac).map(StoredTerminal::from);
            prop_assert_eq!(found.as_ref(), Some(terminal));
        }
        prop_assert_eq!(snapshot.terminal(asked_mac).is_some(), terminals.contains_key(&asked_mac));
        // The same contents give the same octets, also by way of a catalog.
        let again = SnapshotBuilder::from_snapshot(&snapshot);
        prop_assert_eq!(again.build(generation(number)).expect("build"), file);
    }

    /// Behind the checksum: whatever parses can be asked anything.
    #[test]
    fn a_changed_and_resealed_catalog_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        asked in names(),
    ) {
        let mut file = small();
        for (at, octet) in changes {
            let at = at.index(file.len() - CHECKSUM_BYTES);
            file[at] = octet;
        }
        if let Ok(snapshot) = Snapshot::parse(sealed(file)) {
            for (id, view) in snapshot.entries() {
                prop_assert_eq!(snapshot.lookup(view.name.as_bytes()), Some(id));
            }
            let _ = snapshot.lookup_folded(asked.as_bytes());
            for view in snapshot.terminals() {
                prop_assert_eq!(snapshot.terminal(view.mac), Some(view));
            }
        }
    }

    #[test]
    fn arbitrary_octets_never_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Snapshot::parse(octets).is_err());
    }
}

fn folded_by_hand(entries: &BTreeMap<Name, StoredContent>, asked: &Name) -> Option<String> {
    let exact = entries.contains_key(asked).then(|| asked.to_string());
    let fold = |name: &Name| name.as_str().eq_ignore_ascii_case(asked.as_str());
    exact.or_else(|| {
        entries
            .keys()
            .find(|name| fold(name))
            .map(ToString::to_string)
    })
}
