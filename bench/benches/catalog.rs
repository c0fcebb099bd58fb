//! Look-ups in a catalog of 100,000 names, and the check of the whole when it is loaded.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use daybreak_store::{
    Generation, Mac, Name, Snapshot, SnapshotBuilder, StatusKey, StoredContent, StoredTerminal,
};

const NAMES: usize = 100_000;
const TERMINALS: usize = 10_000;

fn mac(number: usize) -> Mac {
    let [.., c, d, e, f] = number.to_be_bytes();
    Mac([0x52, 0x54, c, d, e, f])
}

fn name(number: usize) -> String {
    let number = number.wrapping_mul(0x9e37_79b9);
    format!(
        "terminals/{:02x}-{:08x}.json",
        number % 251,
        number % 0xffff_ffff
    )
}

fn catalog(criterion: &mut Criterion) {
    let mut builder = SnapshotBuilder::new();
    for number in 0..NAMES {
        let name = Name::parse(name(number)).expect("a good name");
        builder.put(name, StoredContent::Inline(vec![7; 64].into()));
    }
    let terminal = |number: usize| {
        let stored = StoredTerminal {
            id: format!("{number:032x}").into(),
            name: format!("t{number}").into(),
            status_key: StatusKey([7; 32]),
            enabled: true,
            seated: !number.is_multiple_of(10),
            standby: false,
        };
        (mac(number), stored)
    };
    builder.set_terminals((0..TERMINALS).map(terminal).collect());
    let bytes = builder
        .build(Generation::new(1).expect("a generation"))
        .expect("it fits");
    let snapshot = Snapshot::parse(bytes.clone()).expect("what we wrote");
    let names: Vec<String> = (0..NAMES).map(name).collect();
    let upper: Vec<String> = names.iter().map(|name| name.to_ascii_uppercase()).collect();
    let mut at = 0;
    criterion.bench_function("catalog/look up an exact name", |b| {
        b.iter(|| {
            at = (at + 7919) % NAMES;
            snapshot
                .lookup(black_box(names[at].as_bytes()))
                .expect("it is there")
        });
    });
    criterion.bench_function("catalog/look up a name in another case", |b| {
        b.iter(|| {
            at = (at + 7919) % NAMES;
            snapshot
                .lookup_folded(black_box(upper[at].as_bytes()))
                .expect("it is there")
        });
    });
    criterion.bench_function("catalog/look up a name that is not there", |b| {
        b.iter(|| snapshot.lookup(black_box(b"pxelinux.cfg/C0A80102")));
    });
    criterion.bench_function(
        "catalog/the boot gate: whether a card of 10,000 has a seat",
        |b| {
            b.iter(|| {
                at = (at + 7919) % TERMINALS;
                let found = snapshot.terminal(black_box(mac(at)));
                found.is_some_and(|terminal| terminal.enabled && terminal.seated)
            });
        },
    );
    criterion.bench_function("catalog/check and load 100,000 names", |b| {
        b.iter(|| Snapshot::parse(bytes.clone()).map(|snapshot| snapshot.len()));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = catalog
}
criterion_main!(benches);
