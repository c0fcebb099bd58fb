//! Crash points: every file operation of every change fails once, or is the last one, or meets a full disk;
//! then the power may go. Whatever happened, what is published is the state before or the state after, whole;
//! what was acknowledged lasts; and trying again succeeds.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::disk::{Directory, Disk, Fault, Faulty, Model, PowerLoss};
use crate::limits::{CHANGES_BASE_BYTES_MIN, SYNCED_ONE_BY_ONE_MAX};
use crate::{
    Content, Generation, ImageHash, Kept, Mac, Name, Reader, Reserve, Retention, StatusKey, Store,
    StoreError, StoredTerminal, layout, publish,
};

/// Everything published: names and contents, cards and whose they are.
type State = BTreeMap<String, Vec<u8>>;

const POWER_LOSSES: u64 = 12;
// No change has so many operations: a loop that reaches it does not end.
const OPERATIONS_MAX: u64 = 500;

fn name(text: &str) -> Name {
    Name::parse(text).expect("canonical")
}

fn open<D: Disk>(disk: D) -> Result<Store<D>, StoreError> {
    Ok(Store::on(disk)?.with_reserve(Reserve::Bytes(0)))
}

fn change<D: Disk>(
    disk: D,
    put: &[(&str, &[u8])],
    inline: &[(&str, &[u8])],
    remove: &[&str],
) -> Result<(), StoreError> {
    let store = open(disk)?;
    let mut draft = store.begin()?;
    for (to, content) in put {
        let len = content.len() as u64;
        let mut source = Cursor::new(*content);
        draft.import(name(to), &mut source, len, &mut |_| {
            ControlFlow::Continue(())
        })?;
    }
    for (to, content) in inline {
        draft.put_inline(name(to), *content);
    }
    for gone in remove {
        draft.remove(gone);
    }
    draft.publish().map(drop)
}

/// What a client could boot from this disk. Panics if anything published is not whole.
fn state(disk: &Model) -> (Generation, State) {
    let store = Store::on(disk.clone()).expect("opens");
    let published = store.published().expect("what is published is whole");
    let content_of = |content: Content<'_>, len: u64| match content {
        Content::Inline(bytes) => bytes.to_vec(),
        Content::Image(hash) => {
            let file = disk
                .open_file(&layout::image(&hash))
                .expect("the image is there");
            let mut bytes = vec![0; usize::try_from(len).expect("small") + 1];
            let read = disk.read_at(&file, 0, &mut bytes).expect("read");
            bytes.truncate(read);
            assert_eq!(ImageHash::of(&bytes), hash, "the image is whole");
            bytes
        }
    };
    let entries = published.entries();
    let files = entries.map(|(_, e)| (e.name.to_owned(), content_of(e.content, e.len)));
    let terminals = published
        .terminals()
        .map(|view| (view.mac.to_string(), view.name.into()));
    let state = files.chain(terminals).collect();
    (published.generation(), state)
}

/// Tries `operation` on `start` with every fault.
fn survives(start: &Model, operation: &dyn Fn(&Faulty<Model>) -> Result<(), StoreError>) {
    let before = state(&start.fork());
    let after = {
        let disk = start.fork();
        operation(&Faulty::new(disk.clone(), Fault::None)).expect("without a fault");
        state(&disk)
    };
    for fault in [Fault::Once, Fault::From, Fault::FullFrom] {
        let mut number = 0;
        while survives_one(start, operation, fault(number), &before, &after) {
            number += 1;
            assert!(number < OPERATIONS_MAX, "the operation has an end");
        }
        assert!(number > 3, "operations were counted");
    }
}

/// `false`: there was no such operation any more.
fn survives_one(
    start: &Model,
    operation: &dyn Fn(&Faulty<Model>) -> Result<(), StoreError>,
    fault: Fault,
    before: &(Generation, State),
    after: &(Generation, State),
) -> bool {
    let disk = start.fork();
    let faulty = Faulty::new(disk.clone(), fault);
    let outcome = operation(&faulty);
    let failed = faulty.failed() > 0;
    if !failed {
        assert!(outcome.is_ok());
    }
    if let (Err(error), Fault::FullFrom(_)) = (&outcome, fault) {
        assert!(error.is_disk_full(), "{fault:?}: {error}");
    }
    let check = |disk: &Model, acknowledged: bool, when: &str| {
        let (generation, found) = state(&disk.fork());
        let is_after = found == after.1 && generation >= after.0;
        let is_before = found == before.1 && generation == before.0;
        assert!(
            is_after || (is_before && !acknowledged),
            "{fault:?}, {when}: {found:?}"
        );
    };
    let retry = |disk: &Model, when: &str| {
        let disk = disk.fork();
        operation(&Faulty::new(disk.clone(), Fault::None))
            .unwrap_or_else(|error| panic!("{fault:?}, again {when}: {error}"));
        check(&disk, true, when);
        let later = disk.after_power_loss(PowerLoss::Everything);
        check(
            &later,
            true,
            "acknowledged after the second try, then the power went",
        );
    };
    check(&disk, outcome.is_ok(), "in the running system");
    retry(&disk, "in the running system");
    let seeds = (0..POWER_LOSSES).map(PowerLoss::Some);
    for loss in seeds.chain([PowerLoss::Everything]) {
        let later = disk.after_power_loss(loss);
        check(&later, outcome.is_ok(), "after a loss of power");
        retry(&later, "after a loss of power");
    }
    failed
}

fn two_generations() -> Model {
    let disk = Model::new();
    change(disk.clone(), &[("a", b"first"), ("b", b"second")], &[], &[]).expect("publish");
    change(disk.clone(), &[("c", b"third")], &[("t", b"{}")], &["b"]).expect("publish");
    disk
}

#[test]
fn an_import_survives_every_crash_point() {
    survives(&two_generations(), &|disk| {
        let put: [(&str, &[u8]); 4] = [
            ("a", b"other"),
            ("d", b"new"),
            ("e", b"new"),
            ("c", b"third"),
        ];
        change(disk.clone(), &put, &[("t", b"{1}")], &[])
    });
}

#[test]
fn an_import_of_more_files_than_are_synced_one_by_one_survives_every_crash_point() {
    let contents: Vec<String> = (0..=SYNCED_ONE_BY_ONE_MAX)
        .map(|n| format!("new {n}"))
        .collect();
    let put: Vec<_> = contents
        .iter()
        .map(|c| (c.as_str(), c.as_bytes()))
        .collect();
    survives(&two_generations(), &|disk| {
        change(disk.clone(), &put, &[], &[])
    });
}

#[test]
fn the_first_import_survives_every_crash_point() {
    survives(&Model::new(), &|disk| {
        change(disk.clone(), &[("a", b"first")], &[], &[])
    });
}

#[test]
fn a_removal_survives_every_crash_point() {
    survives(&two_generations(), &|disk| {
        change(disk.clone(), &[], &[], &["a", "t"])
    });
}

#[test]
fn a_change_of_terminals_survives_every_crash_point() {
    let terminal = |name: &str| StoredTerminal {
        id: name.into(),
        name: name.into(),
        status_key: StatusKey([1; 32]),
        enabled: true,
        seated: true,
        standby: false,
    };
    let set = |disk: Faulty<Model>, names: &[&str]| {
        let store = open(disk)?;
        let mut draft = store.begin()?;
        let cards = (0..).map(|last| Mac([2, 0, 0, 0, 0, last]));
        draft.set_terminals(cards.zip(names.iter().map(|name| terminal(name))).collect());
        draft.publish()
    };
    let disk = two_generations();
    let sound = |disk: &Model| Faulty::new(disk.clone(), Fault::None);
    assert!(
        set(sound(&disk), &["kiosk-1", "kiosk-2"])
            .expect("publish")
            .changed
    );
    assert!(
        !set(sound(&disk), &["kiosk-1", "kiosk-2"])
            .expect("publish")
            .changed
    );
    survives(&disk, &|disk| {
        set(disk.clone(), &["kiosk-1", "kiosk-3", "kiosk-4"]).map(drop)
    });
}

#[test]
fn a_change_of_what_was_kept_survives_every_crash_point() {
    survives(&two_generations(), &|disk| {
        let sound = Faulty::new(disk.inner().clone(), Fault::None);
        let (_, kept) = open(sound)?.begin()?.publish_and_keep()?;
        let store = open(disk.clone())?;
        let mut draft = store.begin_with(Some(kept))?;
        draft.put_inline(name("t"), *b"{1}");
        draft.remove("a");
        draft.publish().map(drop)
    });
}

/// A catalog of which changes are written by themselves, some of them, and what who published them kept.
fn told_from_a_whole_catalog(disk: &Model) -> Kept {
    let store = open(disk.clone()).expect("open");
    let mut kept = None;
    let large = vec![7; CHANGES_BASE_BYTES_MIN];
    for inline in [&large[..], b"{2}", b"{3}"] {
        let mut draft = store.begin_with(kept).expect("begin");
        let to = if inline.len() > 3 { "large" } else { "t" };
        draft.put_inline(name(to), inline);
        kept = Some(draft.publish_and_keep().expect("publish").1);
    }
    kept.expect("published")
}

#[test]
fn a_change_that_is_told_from_a_whole_catalog_survives_every_crash_point() {
    let disk = two_generations();
    let kept = told_from_a_whole_catalog(&disk);
    survives(&disk, &|disk| {
        let store = open(disk.clone())?;
        let mut draft = store.begin_with(Some(kept.twin()))?;
        draft.put_inline(name("t"), *b"{4}");
        draft.put_inline(name("u"), *b"{}");
        draft.remove("a");
        draft.publish().map(drop)
    });
}

#[test]
fn a_change_is_told_from_no_catalog_that_is_damaged_or_gone() {
    let disk = two_generations();
    let kept = told_from_a_whole_catalog(&disk);
    let newest = kept.generation();
    let found = publish::generations(&disk).expect("list");
    let whole = |disk: &Model, generation: &Generation| {
        publish::kind(disk, *generation) == Some(publish::Kind::Whole)
    };
    assert!(!whole(&disk, &newest), "it was told from another");
    let base = found.iter().rfind(|generation| whole(&disk, generation));
    let base = layout::catalog(*base.expect("a whole one"));
    let hurts: [&dyn Fn(&Model); 3] = [
        &|disk| disk.damage(&base, 100),
        &|disk| disk.damage(&base, CHANGES_BASE_BYTES_MIN),
        &|disk| disk.unlink(&base).expect("unlink"),
    ];
    for hurt in hurts {
        let disk = disk.fork();
        hurt(&disk);
        let store = open(disk.clone()).expect("open");
        store.published().expect_err("what was published is lost");
        let mut draft = store.begin_with(Some(kept.twin())).expect("begin");
        draft.put_inline(name("t"), *b"{4}");
        let (published, kept) = draft.publish_and_keep().expect("publish");
        assert!(whole(&disk, &published.generation));
        let (generation, state) = state(&disk);
        assert_eq!(
            (generation, &state["t"][..]),
            (published.generation, &b"{4}"[..])
        );
        assert_eq!(state["a"], b"first");
        // And the next one is told from that.
        let mut draft = store.begin_with(Some(kept)).expect("begin");
        draft.put_inline(name("t"), *b"{5}");
        let published = draft.publish().expect("publish");
        assert!(!whole(&disk, &published.generation));
        store.published().expect("whole");
    }
}

#[test]
fn an_import_of_what_an_unfinished_one_left_survives_every_crash_point() {
    // The image is in its place, but neither its name nor its folder was ever synced.
    let disk = two_generations();
    let faulty = Faulty::new(disk.clone(), Fault::None);
    let put: [(&str, &[u8]); 1] = [("n", b"left over")];
    let mut last = 0;
    for number in 0..OPERATIONS_MAX {
        let trial = Faulty::new(disk.fork(), Fault::From(number));
        let _ = change(trial.clone(), &put, &[], &[]);
        let placed = open(disk_of(&trial))
            .expect("open")
            .has_image(&ImageHash::of(b"left over"), 9);
        if placed {
            last = number;
            break;
        }
    }
    assert!(last > 0, "there is such a point");
    faulty.plan(Fault::From(last));
    change(faulty, &put, &[], &[]).expect_err("it crashes there");
    survives(&disk, &|disk| change(disk.clone(), &put, &[], &[]));
}

fn disk_of(faulty: &Faulty<Model>) -> Model {
    faulty.inner().clone()
}

#[test]
fn a_collection_survives_every_crash_point() {
    let disk = two_generations();
    for round in 0..12_u8 {
        change(disk.clone(), &[("round", &[round])], &[], &[]).expect("publish");
    }
    disk.create_file("images/partial/import-1-1", 0o600)
        .expect("a partial");
    disk.pass(Duration::from_secs(3600));
    let retention = Retention {
        time: Duration::from_secs(60),
        catalogs: 2,
    };
    survives(&disk, &|faulty| {
        open(faulty.clone())?
            .collect(faulty.inner().now(), retention)
            .map(drop)
    });
    let store = open(disk.clone()).expect("open");
    let report = store.collect(disk.now(), retention).expect("collect");
    assert_eq!(
        (report.images, report.catalogs, report.partials),
        (12, 12, 1)
    );
    assert_eq!(
        disk.list(layout::PARTIAL).expect("list"),
        Vec::<String>::new()
    );
}

#[test]
fn a_quarantine_survives_every_crash_point() {
    let disk = two_generations();
    let hash = ImageHash::of(b"first");
    disk.damage(&layout::image(&hash), 0);
    for fault in [Fault::Once, Fault::From] {
        for number in 0..OPERATIONS_MAX {
            let disk = disk.fork();
            let faulty = Faulty::new(disk.clone(), fault(number));
            let verify = |store: Store<Faulty<Model>>| {
                store.verify(true, &mut |_| ControlFlow::Continue(()))
            };
            let _ = open(faulty.clone()).and_then(verify);
            let done = faulty.failed() == 0;
            faulty.plan(Fault::None);
            change(faulty.clone(), &[("a", b"first")], &[], &[]).expect("import");
            let report = open(faulty.clone()).and_then(verify).expect("verify");
            // Damage of the same length under an unchanged name is found by the verification alone.
            if !report.is_sound() {
                assert!(report.damaged.iter().all(|image| image.quarantined));
                change(faulty.clone(), &[("a", b"first")], &[], &[]).expect("import");
            }
            assert_eq!(state(&disk).1["a"], b"first");
            if done {
                break;
            }
        }
    }
}

#[test]
fn the_model_forgets_what_was_not_synced() {
    let disk = Model::new();
    let mut file = disk.create_file("f", 0o600).expect("create");
    disk.write(&mut file, b"content").expect("write");
    let names = |disk: &Model| disk.list("").expect("list");
    assert!(names(&disk.after_power_loss(PowerLoss::Everything)).is_empty());
    disk.sync_folder("").expect("sync");
    let cut = disk.after_power_loss(PowerLoss::Everything);
    assert_eq!(
        cut.stat(&cut.open_file("f").expect("open"))
            .expect("stat")
            .len,
        0
    );
    disk.sync_file(&file).expect("sync");
    let kept = disk.after_power_loss(PowerLoss::Everything);
    assert_eq!(
        kept.stat(&kept.open_file("f").expect("open"))
            .expect("stat")
            .len,
        7
    );
}

#[test]
fn on_a_real_disk_every_crash_point_leaves_the_old_state_or_the_new_one() {
    for fault in [Fault::Once, Fault::From, Fault::FullFrom] {
        for number in 0..OPERATIONS_MAX {
            let dir = tempfile::tempdir().expect("tempdir");
            let disk = Directory::open(dir.path()).expect("open");
            change(disk.clone(), &[("a", b"old")], &[], &[]).expect("publish");
            let reader = Reader::open(dir.path()).expect("reader");
            let served = || {
                let catalog = reader.load().expect("whole");
                let image = catalog
                    .open(catalog.lookup(b"a").expect("a"))
                    .expect("open");
                let mut content = [0; 3];
                assert_eq!(image.read_at(0, &mut content).expect("read"), 3);
                (image.len(), content)
            };
            let faulty = Faulty::new(disk.clone(), fault(number));
            let outcome = change(faulty.clone(), &[("a", b"new")], &[], &[]);
            let found = served();
            assert!(found == (3, *b"new") || (found == (3, *b"old") && outcome.is_err()));
            change(disk, &[("a", b"new")], &[], &[]).expect("again");
            assert_eq!(served(), (3, *b"new"));
            if faulty.failed() == 0 {
                assert!(number > 10);
                break;
            }
        }
    }
}
