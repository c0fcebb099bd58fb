//! Changes of a catalog: who asks what they make is told as by a catalog that was built, and damage of them is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::layer::CHECKSUM_BYTES;
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

/// A base, and the file of changes.
fn example() -> (Snapshot, Vec<u8>) {
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
    let changes = Changes::between(base.base(), &now, &touched, generation(9));
    (base, changes.expect("fits").expect("little changed"))
}

fn sealed(mut file: Vec<u8>) -> Vec<u8> {
    let body = file.len() - CHECKSUM_BYTES;
    let checksum = blake3::hash(&file[..body]);
    file[body..].copy_from_slice(checksum.as_bytes());
    file
}

#[test]
fn changes_are_put_over_their_base() {
    let (base, file) = example();
    assert!(file.len() < 2048, "{} octets", file.len());
    let changes = Changes::parse(&file).expect("parse");
    assert_eq!(changes.base(), generation(7));
    assert_eq!(Changes::base_of(&file), Some(generation(7)));
    assert_eq!(Changes::base_of(base.base().as_bytes()), None);
    let made = changes.make(&base).expect("made");
    assert_eq!(made.generation(), generation(9));
    assert_eq!(made.checksum()[..], file[file.len() - CHECKSUM_BYTES..]);
    assert!(Arc::ptr_eq(made.base(), base.base()), "nothing is copied");
    let names: Vec<&str> = made.entries().map(|(_, view)| view.name).collect();
    assert_eq!(names, ["b", "boot", "c", "much"]);
    let cards: Vec<&str> = made.terminals().map(|view| view.name).collect();
    assert_eq!(cards, ["t1", "t4", "t5"]);
    // What is hidden is not found, by no case.
    let found = |asked: &str| {
        let id = made.lookup_folded(asked.as_bytes());
        id.map(|id| made.entry(id).name)
    };
    assert_eq!((found("Boot"), found("BOOT")), (Some("boot"), Some("boot")));
    assert_eq!(
        (found("B"), found("C"), found("d")),
        (Some("b"), Some("c"), None)
    );
    let content = |asked: &str| {
        made.entry(made.lookup(asked.as_bytes()).expect("found"))
            .content
    };
    assert_eq!(content("c"), Content::Inline(b"other"));
    assert_eq!(content("boot"), Content::Inline(b"two"));
    assert_eq!(made.terminal(Mac([2, 0, 0, 0, 0, 3])), None);
}

#[test]
fn changes_of_another_catalog_make_nothing() {
    let (base, file) = example();
    let changes = Changes::parse(&file).expect("parse");
    let (mut entries, cards) = small();
    entries.insert(name("c"), inline(b"THREE"));
    for other in [whole(&entries, &cards), Snapshot::empty()] {
        let refused = changes.make(&other).expect_err("refused");
        assert_eq!(refused, CatalogError::OtherBase);
    }
    // What it says to remove must be there.
    let removal = file.windows(6).position(|octets| octets == b"\x04\0Boot");
    let mut wrong = file.clone();
    wrong[removal.expect("it is removed") + 2] = b'C';
    let wrong = Changes::parse(&sealed(wrong)).expect("parse");
    let refused = wrong.make(&base).expect_err("refused");
    assert_eq!(refused, CatalogError::Removal(0));
}

#[test]
fn every_changed_octet_and_every_cut_of_changes_is_refused() {
    let (_, file) = example();
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
fn much_is_written_whole() {
    let (entries, cards) = small();
    let base = whole(&entries, &cards);
    let mut next = entries.clone();
    let large = vec![1; CHANGES_BASE_BYTES_MIN / CHANGES_PART_MAX + 1000];
    next.insert(name("large"), inline(&large));
    let every = touched((&entries, &cards), (&next, &cards));
    let changes = Changes::between(base.base(), &builder(&next, &cards), &every, generation(8));
    assert!(changes.expect("fits").is_none());
    // And so is everything while all of it is little.
    let mut little = SnapshotBuilder::new();
    little.put(name("a"), inline(b"x"));
    let base = Snapshot::parse(little.build(generation(7)).expect("build")).expect("parse");
    let changes = Changes::between(base.base(), &little, &Touched::default(), generation(8));
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
        let changes = Changes::between(base.base(), &now, &touched, generation(8));
        let file = changes.expect("fits").expect("little changed");
        let made = Changes::parse(&file).expect("parse").make(&base).expect("made");
        let built = now.build(generation(8)).expect("build");
        let again = SnapshotBuilder::from_snapshot(&made).build(generation(8));
        prop_assert_eq!(again.expect("build"), built.clone());
        let built = Snapshot::parse(built).expect("parse");
        let views = |snapshot: &Snapshot| -> Vec<String> {
            let entries = snapshot.entries().map(|(_, view)| format!("{view:?}"));
            let terminals = snapshot.terminals().map(|view| format!("{view:?}"));
            entries.chain(terminals).collect()
        };
        prop_assert_eq!(views(&made), views(&built));
        prop_assert_eq!(made.entries().len(), built.len());
        prop_assert_eq!(made.terminals().len(), built.terminals().len());
        for asked in before.0.keys().chain(after.0.keys()).chain([&asked]) {
            let find = |snapshot: &Snapshot| {
                let exact = snapshot.lookup(asked.as_bytes());
                let folded = snapshot.lookup_folded(asked.as_bytes());
                [exact, folded].map(|id| id.map(|id| format!("{:?}", snapshot.entry(id))))
            };
            prop_assert_eq!(find(&made), find(&built));
        }
        for card in before.1.keys().chain(after.1.keys()) {
            prop_assert_eq!(made.terminal(*card), built.terminal(*card));
        }
    }

    /// Behind the checksum: whatever parses makes a catalog of the base, or is refused.
    #[test]
    fn changed_and_resealed_changes_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (base, mut file) = example();
        for (at, octet) in flips {
            let at = at.index(file.len() - CHECKSUM_BYTES);
            file[at] = octet;
        }
        if let Ok(changes) = Changes::parse(&sealed(file))
            && let Ok(made) = changes.make(&base)
        {
            for (id, view) in made.entries() {
                prop_assert_eq!(made.lookup(view.name.as_bytes()), Some(id));
            }
            for view in made.terminals() {
                prop_assert_eq!(made.terminal(view.mac), Some(view));
            }
        }
    }
}
