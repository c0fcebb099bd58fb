//! Collection and verification on a real disk, with readers that hold what they read.

use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use daybreak_store::{
    Generation, ImageHash, Kept, Name, Reader, Reserve, Retention, Store, StoreError, VerifyReport,
    layout,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NONE: Retention = Retention {
    time: Duration::ZERO,
    catalogs: 1,
};

fn name(text: &str) -> Name {
    Name::parse(text).expect("canonical")
}

fn publish(store: &Store, put: &[(&str, &[u8])], remove: &[&str]) {
    let mut draft = store.begin().expect("begin");
    for (to, content) in put {
        let len = content.len() as u64;
        draft
            .import(name(to), &mut Cursor::new(content), len, &mut |_| {
                ControlFlow::Continue(())
            })
            .expect("import");
    }
    for gone in remove {
        assert!(draft.remove(gone));
    }
    draft.publish().expect("publish");
}

fn store_in(dir: &Path) -> Store {
    Store::open(dir)
        .expect("open")
        .with_reserve(Reserve::Bytes(0))
}

fn has(store: &Store, content: &[u8]) -> bool {
    store.has_image(&ImageHash::of(content), content.len() as u64)
}

fn verify(store: &Store) -> VerifyReport {
    store
        .verify(false, &mut |_| ControlFlow::Continue(()))
        .expect("verify")
}

fn path_of(dir: &Path, content: &[u8]) -> std::path::PathBuf {
    dir.join(layout::image(&ImageHash::of(content)))
}

#[test]
fn what_is_published_is_never_collected() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(&store, &[("a", b"kept"), ("b", b"gone")], &[]);
    publish(&store, &[], &["b"]);
    let report = store
        .collect(SystemTime::now() + 400 * DAY, NONE)
        .expect("collect");
    assert_eq!(
        (report.images, report.image_bytes, report.catalogs),
        (1, 4, 1)
    );
    assert!(has(&store, b"kept") && !has(&store, b"gone"));
    assert!(verify(&store).is_sound());
}

#[test]
fn an_image_stays_for_the_retention_time_after_its_name_is_gone() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(&store, &[("a", b"content")], &[]);
    // Old as a file, but its name goes only now.
    let old = SystemTime::now() - 100 * DAY;
    fs::File::open(path_of(dir.path(), b"content"))
        .expect("open")
        .set_modified(old)
        .expect("touch");
    publish(&store, &[], &["a"]);
    let retention = Retention {
        time: DAY,
        catalogs: 1,
    };
    let soon = store
        .collect(SystemTime::now() + DAY / 2, retention)
        .expect("collect");
    assert_eq!((soon.images, soon.retained), (0, 1));
    let late = store
        .collect(SystemTime::now() + 2 * DAY, retention)
        .expect("collect");
    assert_eq!(late.images, 1);
    assert!(!has(&store, b"content"));
}

#[test]
fn a_clock_that_went_back_collects_nothing() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(&store, &[("a", b"content")], &[]);
    publish(&store, &[], &["a"]);
    let retention = Retention {
        time: DAY,
        catalogs: 1,
    };
    let report = store
        .collect(SystemTime::UNIX_EPOCH, retention)
        .expect("collect");
    assert_eq!((report.images, report.catalogs), (0, 0));
}

#[test]
fn an_image_that_a_transfer_reads_is_not_collected() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(&store, &[("a", b"content")], &[]);
    let reader = Reader::open(dir.path()).expect("reader");
    let catalog = reader.load().expect("load");
    let image = catalog
        .open(catalog.lookup(b"a").expect("a"))
        .expect("open");
    publish(&store, &[], &["a"]);
    drop(catalog);
    let report = store
        .collect(SystemTime::now() + DAY, NONE)
        .expect("collect");
    assert_eq!((report.images, report.pinned), (0, 1));
    let mut content = [0; 7];
    image.read_at(0, &mut content).expect("read");
    assert_eq!(&content, b"content");
    drop(image);
    assert_eq!(
        store
            .collect(SystemTime::now() + DAY, NONE)
            .expect("collect")
            .images,
        1
    );
}

#[test]
fn a_loaded_catalog_keeps_images_that_nobody_opened_yet() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(&store, &[("a", b"content")], &[]);
    let reader = Reader::open(dir.path()).expect("reader");
    let catalog = reader.load().expect("load");
    publish(&store, &[], &["a"]);
    let report = store
        .collect(SystemTime::now() + DAY, NONE)
        .expect("collect");
    assert_eq!((report.images, report.catalogs, report.retained), (0, 0, 1));
    catalog
        .open(catalog.lookup(b"a").expect("a"))
        .expect("still there");

    // Nobody can tell what it names any more, but the reader can: nothing is removed on a guess.
    let file = dir.path().join(layout::catalog(catalog.generation()));
    damage(&file, 100);
    let report = store
        .collect(SystemTime::now() + DAY, NONE)
        .expect("collect");
    assert!(report.images_skipped && report.images == 0);
    drop(catalog);
    let report = store
        .collect(SystemTime::now() + DAY, NONE)
        .expect("collect");
    assert_eq!((report.images, report.catalogs), (1, 1));
}

#[test]
fn the_newest_catalogs_stay_to_fall_back_to() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    for round in 0..10_u8 {
        publish(&store, &[("a", &[round])], &[]);
    }
    let retention = Retention {
        time: Duration::ZERO,
        catalogs: 3,
    };
    let report = store
        .collect(SystemTime::now() + DAY, retention)
        .expect("collect");
    assert_eq!((report.catalogs, report.images), (7, 9));
    let damaged = dir.path().join(layout::catalog(
        store.published().expect("read").generation(),
    ));
    damage(&damaged, 80);
    let loaded = Reader::open(dir.path())
        .expect("reader")
        .load_or_fallback()
        .expect("fallback");
    assert_eq!(loaded.catalog.generation().get(), 9);
}

#[test]
fn nothing_is_collected_while_the_published_catalog_is_damaged() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(&store, &[("a", b"content")], &[]);
    damage(
        &dir.path().join(layout::catalog(
            store.published().expect("read").generation(),
        )),
        80,
    );
    let outcome = store.collect(SystemTime::now() + DAY, NONE);
    assert!(matches!(outcome, Err(StoreError::CurrentDamaged(_))));
    assert!(has(&store, b"content"));
}

#[test]
fn an_abandoned_partial_is_collected_and_one_in_progress_is_not() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    fs::write(
        dir.path().join(layout::PARTIAL).join("import-1-1"),
        "left over",
    )
    .expect("write");
    let staged = store
        .stage(&mut Cursor::new(b"content"), Some(7), &mut |_| {
            ControlFlow::Continue(())
        })
        .expect("stage");
    let report = store
        .collect(SystemTime::now() + DAY, NONE)
        .expect("collect");
    assert_eq!(report.partials, 1);
    let mut draft = store.begin().expect("begin");
    draft.put_staged(name("a"), staged).expect("put");
    draft.publish().expect("publish");
    assert!(has(&store, b"content"));
}

#[test]
fn what_is_not_ours_is_reported_and_left_alone() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(&store, &[("a", b"content")], &[]);
    let images = dir.path().join(layout::IMAGES);
    let shard = dir.path().join(layout::shard(&ImageHash::of(b"content")));
    fs::write(images.join("notes.txt"), "x").expect("write");
    fs::write(shard.join("notes.txt"), "x").expect("write");
    fs::write(dir.path().join("catalogs/notes.txt"), "x").expect("write");
    // A link under the name of an image: not opened, not followed, not removed.
    let outside = dir.path().join("outside");
    fs::write(&outside, "x").expect("write");
    let link = shard.join(format!(
        "{}{}",
        &shard.to_string_lossy()[shard.as_os_str().len() - 2..],
        "0".repeat(62)
    ));
    symlink(&outside, &link).expect("symlink");
    let report = store
        .collect(SystemTime::now() + DAY, NONE)
        .expect("collect");
    assert_eq!((report.images, report.unreadable), (0, 1));
    assert!(outside.exists() && link.is_symlink());
    let report = verify(&store);
    assert_eq!(report.strangers.len(), 3);
    assert_eq!(report.damaged.len(), 1);
}

#[test]
fn verification_finds_what_is_missing_cut_or_changed() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(
        &store,
        &[
            ("gone", b"gone"),
            ("cut", b"cut"),
            ("changed", b"changed"),
            ("ok", b"ok"),
        ],
        &[],
    );
    publish(&store, &[("again", b"changed")], &[]);
    assert!(verify(&store).is_sound());
    fs::remove_file(path_of(dir.path(), b"gone")).expect("remove");
    let cut = path_of(dir.path(), b"cut");
    fs::set_permissions(&cut, fs::Permissions::from_mode(0o644)).expect("chmod");
    fs::write(&cut, b"cu").expect("write");
    damage(&path_of(dir.path(), b"changed"), 0);
    damage(&dir.path().join("catalogs/0000000001.catalog"), 80);

    let report = verify(&store);
    assert!(!report.is_sound());
    assert_eq!(report.images, 3);
    assert_eq!(
        report.missing,
        [(ImageHash::of(b"gone"), vec![name("gone")])]
    );
    let mut damaged: Vec<_> = report
        .damaged
        .iter()
        .map(|image| image.names.clone())
        .collect();
    damaged.sort();
    assert_eq!(
        damaged,
        [vec![name("again"), name("changed")], vec![name("cut")]]
    );
    assert_eq!(report.catalogs.len(), 1);
    assert!(report.damaged.iter().all(|image| !image.quarantined));

    // Put aside and imported again, everything is served as before.
    let report = store
        .verify(true, &mut |_| ControlFlow::Continue(()))
        .expect("verify");
    assert!(report.damaged.iter().all(|image| image.quarantined));
    publish(
        &store,
        &[("gone", b"gone"), ("cut", b"cut"), ("changed", b"changed")],
        &[],
    );
    let report = verify(&store);
    assert!(report.missing.is_empty() && report.damaged.is_empty() && report.current.is_none());
}

#[test]
fn verification_names_a_damaged_current_catalog() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(&store, &[("a", b"content")], &[]);
    damage(&dir.path().join(layout::CURRENT), 0);
    let report = verify(&store);
    assert!(
        report
            .current
            .is_some_and(|error| error.to_string().contains("catalogs/current"))
    );
}

/// Changes one octet behind the back of everything.
fn damage(path: &Path, at: u64) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("chmod");
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("open");
    let mut octet = [0];
    file.read_exact_at(&mut octet, at).expect("read");
    file.write_all_at(&[octet[0] ^ 1], at).expect("write");
}

/// How many catalogs there are.
fn catalogs(dir: &Path) -> usize {
    let names = fs::read_dir(dir.join(layout::CATALOGS)).expect("list");
    let names = names.map(|entry| entry.expect("entry").file_name());
    names
        .filter(|name| layout::catalog_generation(&name.to_string_lossy()).is_some())
        .count()
}

#[test]
fn who_publishes_often_leaves_the_newest_catalogs_and_those_that_protect_an_image() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish(&store, &[("a", b"replaced"), ("b", b"stays")], &[]);
    let reader = Reader::open(dir.path()).expect("reader");
    let (mut kept, mut held) = (None, None);
    for number in 0..40_u8 {
        let mut draft = store.begin_with(kept.take()).expect("begin");
        draft.put_inline(name("t"), [number]);
        match number {
            10 => held = Some(reader.load().expect("load")),
            20 => {
                let content: &[u8] = b"new";
                draft
                    .import(name("a"), &mut Cursor::new(content), 3, &mut |_| {
                        ControlFlow::Continue(())
                    })
                    .expect("import");
            }
            _ => {}
        }
        kept = Some(draft.publish_and_keep().expect("publish").1);
    }
    // The eight newest, the one that a reader holds, and the last one that names what was replaced.
    assert_eq!(catalogs(dir.path()), 8 + 1 + 1);
    let day = Retention {
        time: DAY,
        catalogs: 1,
    };
    let report = store.collect(SystemTime::now(), day).expect("collect");
    assert_eq!((report.images, report.retained), (0, 1));
    assert!(has(&store, b"replaced") && has(&store, b"stays") && has(&store, b"new"));
    drop(held);
    store.collect(SystemTime::now(), NONE).expect("collect");
    assert!(!has(&store, b"replaced") && has(&store, b"stays"));
    assert_eq!(catalogs(dir.path()), 1);
}

/// Publishes a terminal's file, as a process that publishes often does.
fn say(store: &Store, kept: Option<Kept>, content: &[u8]) -> Kept {
    let mut draft = store.begin_with(kept).expect("begin");
    draft.put_inline(name("t"), content);
    draft.publish_and_keep().expect("publish").1
}

fn served(reader: &Reader) -> Vec<u8> {
    let catalog = reader.load_or_fallback().expect("something whole").catalog;
    let image = catalog.open(catalog.lookup(b"t").expect("t"));
    let image = image.expect("open");
    let mut content = vec![0; usize::try_from(image.len()).expect("small")];
    image.read_at(0, &mut content).expect("read");
    content
}

#[test]
fn little_changes_write_little_and_leave_the_whole_catalogs_that_they_are_told_from() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    let reader = Reader::open(dir.path()).expect("reader");
    // What the second whole catalog has more is too much for changes of the first.
    let mut draft = store.begin().expect("begin");
    draft.put_inline(name("large"), vec![1; 100_000]);
    let mut kept = draft.publish_and_keep().expect("publish").1;
    for number in 0..20 {
        kept = say(&store, Some(kept), &[number]);
    }
    let mut draft = store.begin_with(Some(kept)).expect("begin");
    draft.put_inline(name("larger"), vec![2; 100_000]);
    kept = draft.publish_and_keep().expect("publish").1;
    for number in 20..60 {
        kept = say(&store, Some(kept), &[number]);
        assert_eq!(served(&reader), [number]);
    }
    let len = |generation: u64| {
        let generation = Generation::new(generation).expect("in range");
        let path = dir.path().join(layout::catalog(generation));
        fs::metadata(path).map(|metadata| metadata.len()).ok()
    };
    let newest = kept.generation().get();
    assert_eq!(newest, 62);
    // The eight newest, what they are told from, and the whole one before that.
    assert_eq!(catalogs(dir.path()), 8 + 2);
    assert!(
        (54..63)
            .all(|generation| generation == 54 || len(generation).is_some_and(|len| len < 1000))
    );
    assert!(len(22).is_some_and(|len| len > 200_000) && len(1).is_some_and(|len| len > 100_000));

    // A collection that keeps eight keeps two whole ones, too; one that keeps one, the one that it is told from.
    let collect = |catalogs| {
        let time = Duration::ZERO;
        let report = store.collect(SystemTime::now() + DAY, Retention { time, catalogs });
        report.expect("collect");
    };
    collect(8);
    assert_eq!(catalogs(dir.path()), 8 + 2);
    assert!(verify(&store).is_sound());
    collect(1);
    assert_eq!((catalogs(dir.path()), served(&reader)), (2, vec![59]));

    // Who starts anew writes a whole one; damage of the one before that is nobody's concern then.
    let kept = say(&store, None, &[60]);
    assert!(len(63).is_some_and(|len| len > 200_000));
    let kept = say(&store, Some(kept), &[61]);
    damage(
        &dir.path()
            .join(layout::catalog(Generation::new(22).expect("in range"))),
        150_000,
    );
    assert_eq!(served(&reader), [61]);
    // Damage of that one is nothing to who has it in memory. A start is told, and the next change is whole again.
    damage(
        &dir.path()
            .join(layout::catalog(Generation::new(63).expect("in range"))),
        150_000,
    );
    assert_eq!(served(&reader), [61]);
    let started = Reader::open(dir.path()).expect("reader");
    let told = started.load().expect_err("damaged").to_string();
    assert!(told.contains("catalogs/0000000063.catalog"), "{told}");
    let report = verify(&store);
    assert!(report.current.is_some() && !report.catalogs.is_empty());
    say(&store, Some(kept), &[62]);
    assert_eq!((served(&reader), served(&started)), (vec![62], vec![62]));
    assert!(len(65).is_some_and(|len| len > 200_000));
}

#[test]
fn a_start_falls_back_to_a_whole_catalog_when_the_one_that_all_newer_ones_are_told_from_is_damaged()
{
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    let mut draft = store.begin().expect("begin");
    draft.put_inline(name("large"), vec![1; 100_000]);
    let mut kept = say(
        &store,
        Some(draft.publish_and_keep().expect("publish").1),
        &[0],
    );
    for number in 1..20 {
        // Now and then somebody else publishes, and so the next one is whole.
        if number == 8 {
            kept = say(&store, None, &[number]);
        } else {
            kept = say(&store, Some(kept), &[number]);
        }
    }
    assert_eq!(kept.generation().get(), 21);
    damage(
        &dir.path()
            .join(layout::catalog(Generation::new(10).expect("in range"))),
        50_000,
    );
    let falls_back_to = || {
        let reader = Reader::open(dir.path()).expect("reader");
        let loaded = reader.load_or_fallback().expect("fallback");
        assert!(loaded.warning.is_some());
        loaded.catalog.generation().get()
    };
    // The newest that is told from the first.
    assert_eq!(falls_back_to(), 8);
    // Gone is worse than damaged, and told as well: also by those that are not published.
    let path = dir
        .path()
        .join(layout::catalog(Generation::new(10).expect("in range")));
    fs::remove_file(path).expect("removed");
    let report = verify(&store);
    assert!(
        report.current.is_some() && report.catalogs.len() >= 7,
        "{report:?}"
    );
    assert_eq!(falls_back_to(), 8);
}

#[test]
fn a_start_falls_back_after_a_collection_too() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    let mut draft = store.begin().expect("begin");
    draft.put_inline(name("large"), vec![1; 100_000]);
    draft.put_inline(name("t"), *b"first");
    draft.publish().expect("publish");
    // Another process, which begins with a whole one.
    let mut kept = None;
    for number in 0..12 {
        kept = Some(say(&store, kept, &[number]));
    }
    let time = Duration::ZERO;
    let retention = Retention {
        time,
        ..Retention::default()
    };
    store
        .collect(SystemTime::now() + DAY, retention)
        .expect("collect");
    assert_eq!(catalogs(dir.path()), 8 + 2);
    damage(
        &dir.path()
            .join(layout::catalog(Generation::new(2).expect("in range"))),
        50_000,
    );
    let reader = Reader::open(dir.path()).expect("reader");
    assert_eq!(served(&reader), b"first");
}
