//! Changes of a catalog: what they make is what would have been built, and damage of either file is found.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::snapshot::CHECKSUM_BYTES;
use super::*;
use crate::limits::{CHANGES_BASE_BYTES_MIN, CHANGES_PART_MAX};
use crate::{Generation, ImageHash, Mac, Name};

type Entries = BTreeMap<Name, StoredContent>;
type Cards = BTreeMap<Mac, StoredTerminal>;

fn generation(number: u64) -> Generation {
    Generation::new(number).expect("in range")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("canonical")
}

fn inline(octets: &[u8]) -> StoredContent {
    StoredContent::Inline(octets.into())
}

fn terminal(number: u8) -> StoredTerminal {
    StoredTerminal {
        id: format!("id-{number}").into(),
        name: format!("t{number}").into(),
        status_key: StatusKey([number; 32]),
        enabled: true,
        seated: number.is_multiple_of(2),
        standby: false,
    }
}

/// As they are, and so much beside them that changes are worth writing.
fn builder(entries: &Entries, cards: &Cards) -> SnapshotBuilder {
    let mut builder = SnapshotBuilder::new();
    builder.put(name("much"), inline(&vec![7; CHANGES_BASE_BYTES_MIN]));
    for (name, content) in entries {
        builder.put(name.clone(), content.clone());
    }
    builder.set_terminals(cards.clone());
    builder
}

fn whole(entries: &Entries, cards: &Cards) -> Snapshot {
    let file = builder(entries, cards).build(generation(7));
    Snapshot::parse(file.expect("build")).expect("parse")
}

/// Everything that there was or is: what was not changed may be touched.
fn touched(before: (&Entries, &Cards), after: (&Entries, &Cards)) -> Touched {
    Touched {
        names: before.0.keys().chain(after.0.keys()).cloned().collect(),
        cards: before.1.keys().chain(after.1.keys()).copied().collect(),
    }
}

fn small() -> (Entries, Cards) {
    let entries = [("Boot", "one"), ("boot", "two"), ("c", "three")];
    let entries = entries.map(|(to, content)| (name(to), inline(content.as_bytes())));
    let cards = [1, 3, 5].map(|last| (Mac([2, 0, 0, 0, 0, last]), terminal(last)));
    (entries.into(), cards.into())
}

/// A base, the file of changes, and what they make.
fn example() -> (Snapshot, Vec<u8>, Snapshot) {
    let (entries, cards) = small();
    let (mut next, mut next_cards) = (entries.clone(), cards.clone());
    next.remove(&name("Boot"));
    next.insert(name("b"), inline(b"new"));
    next.insert(name("c"), inline(b"other"));
    next_cards.remove(&Mac([2, 0, 0, 0, 0, 3]));
    next_cards.insert(Mac([2, 0, 0, 0, 0, 4]), terminal(4));
    let base = whole(&entries, &cards);
    let touched = Touched {
        names: ["Boot", "b", "c", "never there"].map(name).into(),
        cards: [3, 4, 9].map(|last| Mac([2, 0, 0, 0, 0, last])).into(),
    };
    let now = builder(&next, &next_cards);
    let changes = Changes::between(&base, &now, &touched, generation(9)).expect("fits");
    let (file, made) = changes.expect("little changed");
    (base, file, made)
}

fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let body = file.len() - CHECKSUM_BYTES;
    let checksum = blake3::hash(&file[..body]);
    file[body..].copy_from_slice(checksum.as_bytes());
    file
}

#[test]
fn changes_make_the_same_catalog_for_who_reads_them() {
    let (base, file, made) = example();
    assert!(file.len() < 2048, "{} octets", file.len());
    let changes = Changes::parse(&file).expect("parse");
    assert_eq!(changes.base(), generation(7));
    assert_eq!(Changes::base_of(&file), Some(generation(7)));
    assert_eq!(Changes::base_of(base.as_bytes()), None);
    let read = changes.make(base.as_bytes().to_vec()).expect("made");
    assert_eq!(read.as_bytes(), made.as_bytes());
    assert_eq!(read.generation(), generation(9));
    let names: Vec<&str> = read.entries().map(|(_, view)| view.name).collect();
    assert_eq!(names, ["b", "boot", "c", "much"]);
    let cards: Vec<&str> = read.terminals().map(|view| view.name).collect();
    assert_eq!(cards, ["t1", "t4", "t5"]);
}

#[test]
fn every_changed_octet_and_every_cut_of_changes_is_refused() {
    let (_, file, _) = example();
    for at in 0..file.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut file = file.clone();
            file[at] ^= flip;
            assert!(Changes::parse(&file).is_err(), "octet {at} ^ {flip:#x}");
        }
        assert!(Changes::parse(&file[..at]).is_err(), "{at} octets");
    }
    assert!(Changes::parse(&[&file[..], &[0]].concat()).is_err());
    let mut newer = file;
    newer[16] = 2;
    let refused = Changes::parse(&sealed(newer)).expect_err("refused");
    assert_eq!(refused, CatalogError::ChangesVersion(2));
}

#[test]
fn damage_of_the_base_is_found_or_is_where_nothing_is_taken_from() {
    let (base, file, made) = example();
    let changes = Changes::parse(&file).expect("parse");
    let whole = base.as_bytes();
    let blobs = whole.len() - CHANGES_BASE_BYTES_MIN;
    let mut passed = 0;
    // Of the one large content, one octet in a hundred.
    for at in (0..blobs).chain((blobs..whole.len()).step_by(101)) {
        for flip in [0x01, 0xff] {
            let mut damaged = whole.to_vec();
            damaged[at] ^= flip;
            // What is removed or replaced is not in what is made, nor is the version.
            if let Ok(read) = changes.make(damaged) {
                assert_eq!(read.as_bytes(), made.as_bytes(), "octet {at} ^ {flip:#x}");
                passed += 1;
            }
        }
    }
    assert!(passed < blobs, "{passed} of {}", 2 * blobs);
    for len in (0..whole.len()).step_by(97) {
        assert!(changes.make(whole[..len].to_vec()).is_err());
    }
    let (mut entries, cards) = small();
    entries.insert(name("c"), inline(b"THREE"));
    let other = builder(&entries, &cards).build(generation(7));
    assert!(changes.make(other.expect("build")).is_err());
    assert!(changes.make(file.clone()).is_err(), "changes are no base");
}

#[test]
fn much_is_written_whole() {
    let (entries, cards) = small();
    let base = whole(&entries, &cards);
    let mut next = entries.clone();
    let large = vec![1; CHANGES_BASE_BYTES_MIN / CHANGES_PART_MAX + 1000];
    next.insert(name("large"), inline(&large));
    let every = touched((&entries, &cards), (&next, &cards));
    let changes = Changes::between(&base, &builder(&next, &cards), &every, generation(8));
    assert!(changes.expect("fits").is_none());
    // And so is everything while all of it is little.
    let mut little = SnapshotBuilder::new();
    little.put(name("a"), inline(b"x"));
    let base = Snapshot::parse(little.build(generation(7)).expect("build")).expect("parse");
    let changes = Changes::between(&base, &little, &Touched::default(), generation(8));
    assert!(changes.expect("fits").is_none());
}

/// Names from a small alphabet, so that some differ by case only.
fn names() -> impl Strategy<Value = Name> {
    "[abAB]{1,3}(/[aA.ü]{1,2}x)?".prop_map(|text| Name::parse(text).expect("canonical"))
}

fn entries() -> impl Strategy<Value = Entries> {
    let content = prop_oneof![
        (any::<[u8; 32]>(), any::<u64>()).prop_map(|(hash, len)| StoredContent::Image {
            hash: ImageHash::from_bytes(hash),
            len
        }),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|octets| inline(&octets)),
    ];
    prop::collection::btree_map(names(), content, 0..20)
}

fn cards() -> impl Strategy<Value = Cards> {
    let card = prop::array::uniform6(0..2_u8).prop_map(Mac);
    prop::collection::btree_map(card, any::<u8>().prop_map(terminal), 0..12)
}

proptest! {
    /// Whatever was there and whatever is there now: it is found as in a catalog that was built of it.
    #[test]
    fn what_changes_make_is_what_is_built(
        before in (entries(), cards()),
        after in (entries(), cards()),
        asked in names(),
    ) {
        let base = whole(&before.0, &before.1);
        let now = builder(&after.0, &after.1);
        let touched = touched((&before.0, &before.1), (&after.0, &after.1));
        let changes = Changes::between(&base, &now, &touched, generation(8)).expect("fits");
        let (file, made) = changes.expect("little changed");
        let read = Changes::parse(&file).expect("parse").make(base.as_bytes().to_vec());
        let read = read.expect("made");
        prop_assert_eq!(read.as_bytes(), made.as_bytes());
        prop_assert!(Snapshot::parse(read.as_bytes()).is_ok());
        let built = now.build(generation(8)).expect("build");
        let again = SnapshotBuilder::from_snapshot(&read).build(generation(8));
        prop_assert_eq!(again.expect("build"), built.clone());
        let built = Snapshot::parse(built).expect("parse");
        for asked in after.0.keys().chain([&asked]) {
            let find = |snapshot: &Snapshot| {
                let id = snapshot.lookup_folded(asked.as_bytes());
                id.map(|id| snapshot.entry(id).name.to_owned())
            };
            prop_assert_eq!(find(&read), find(&built));
        }
    }

    /// Behind the checksum: whatever parses makes a catalog of the base, or is refused.
    #[test]
    fn changed_and_resealed_changes_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (base, mut file, _) = example();
        for (at, octet) in flips {
            let at = at.index(file.len() - CHECKSUM_BYTES);
            file[at] = octet;
        }
        if let Ok(changes) = Changes::parse(&sealed(file)) {
            let _ = changes.make(base.as_bytes().to_vec());
        }
    }
}
