//! Looking something up in a catalog allocates nothing: it is done for every request of a storm.

use std::alloc::System;
use std::collections::BTreeMap;
use std::hint::black_box;

use daybreak_store::{Mac, Name, Reader, StatusKey, Store, StoredTerminal, layout};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_lookup_allocates_nothing() {
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let mut draft = store.begin().unwrap();
    for number in 0..100 {
        let name = Name::parse(format!("boot/File-{number}")).unwrap();
        draft.put_inline(name, number.to_string().into_bytes());
    }
    let terminal = StoredTerminal {
        id: "one".into(),
        name: "t1".into(),
        status_key: StatusKey::NONE,
        enabled: true,
        seated: true,
        standby: false,
    };
    draft.set_terminals(BTreeMap::from([(MAC, terminal)]));
    draft.put_inline(Name::parse("large").unwrap(), vec![0; 100_000]);
    let (_, kept) = draft.publish_and_keep().unwrap();
    // Told from the one before, as most catalogs of a running site are.
    let mut draft = store.begin_with(Some(kept)).unwrap();
    draft.put_inline(Name::parse("boot/file-8").unwrap(), *b"8");
    let newest = draft.publish().unwrap().generation;
    let file = data.path().join(layout::catalog(newest));
    assert!(std::fs::metadata(file).unwrap().len() < 1000);
    let catalog = Reader::open(data.path()).unwrap().load().unwrap();
    let before = ALLOCATOR.stats();
    for _ in 0..100 {
        assert!(catalog.lookup(black_box(b"boot/File-7")).is_some());
        assert!(catalog.lookup_folded(black_box(b"BOOT/file-7")).is_some());
        assert!(catalog.lookup(black_box(b"boot/file-8")).is_some());
        assert!(catalog.lookup_folded(black_box(b"BOOT/FILE-8")).is_some());
        assert!(catalog.lookup(black_box(b"boot/nothing")).is_none());
        let found = catalog.lookup(b"boot/File-7").map(|id| catalog.entry(id));
        assert!(found.is_some_and(|view| view.len == 1));
        assert!(
            catalog
                .terminal(black_box(MAC))
                .is_some_and(|terminal| terminal.seated)
        );
    }
    let after = ALLOCATOR.stats();
    let count = after.allocations + after.reallocations;
    assert_eq!(count, before.allocations + before.reallocations);
}
