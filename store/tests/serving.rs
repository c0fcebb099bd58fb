//! The store on a real disk, from both sides: what the admin publishes is what the engine reads.

use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daybreak_store::{
    Change, Content, Draft, Generation, ImageError, ImageHash, LoadError, Name, Published, Reader,
    Reserve, Store, StoreError, layout,
};

fn name(text: &str) -> Name {
    Name::parse(text).expect("canonical")
}

fn put(draft: &mut Draft<'_>, to: &str, content: &[u8]) -> Change {
    let len = content.len() as u64;
    draft
        .import(name(to), &mut Cursor::new(content), len, &mut |_| {
            ControlFlow::Continue(())
        })
        .expect("import")
}

fn publish_one(store: &Store, to: &str, content: &[u8]) -> Published {
    let mut draft = store.begin().expect("begin");
    put(&mut draft, to, content);
    draft.publish().expect("publish")
}

fn store_in(dir: &Path) -> Store {
    Store::open(dir)
        .expect("open")
        .with_reserve(Reserve::Bytes(0))
}

fn read_all(image: &daybreak_store::Image) -> Vec<u8> {
    let mut content = vec![0; usize::try_from(image.len()).expect("small")];
    assert_eq!(image.read_at(0, &mut content).expect("read"), content.len());
    content
}

#[test]
fn what_is_published_is_read_and_mapped() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    let mut draft = store.begin().expect("begin");
    assert_eq!(
        put(&mut draft, "boot/undionly.kpxe", b"image"),
        Change::Added
    );
    assert_eq!(put(&mut draft, "empty", b""), Change::Added);
    assert_eq!(
        draft.put_inline(name("terminals/aa.json"), *b"{\"a\":1}"),
        Change::Added
    );
    let published = draft.publish().expect("publish");
    assert_eq!(
        published,
        Published {
            generation: Generation::new(1).expect("1"),
            changed: true
        }
    );

    let reader = Reader::open(dir.path()).expect("reader");
    assert_eq!(reader.published().expect("current"), published.generation);
    let catalog = reader.load().expect("load");
    for (asked, content) in [
        ("boot/undionly.kpxe", &b"image"[..]),
        ("empty", b""),
        ("terminals/aa.json", b"{\"a\":1}"),
    ] {
        let id = catalog.lookup(asked.as_bytes()).expect(asked);
        assert_eq!(catalog.entry(id).name, asked);
        assert_eq!(catalog.entry(id).len, content.len() as u64);
        let image = catalog.open(id).expect("open");
        assert_eq!(read_all(&image), content);
        assert!(!image.as_ptr().is_null());
        let mut tail = [0; 16];
        assert_eq!(
            image
                .read_at(image.len() + 5, &mut tail)
                .expect("beyond the end"),
            0
        );
    }
    assert_eq!(catalog.lookup(b"boot/UNDIONLY.kpxe"), None);
    assert_eq!(
        catalog.lookup_folded(b"BOOT/undionly.KPXE"),
        catalog.lookup(b"boot/undionly.kpxe")
    );
}

#[test]
fn a_new_store_serves_nothing_and_a_missing_one_is_an_error() {
    let dir = tempfile::tempdir().expect("tempdir");
    assert!(matches!(
        Reader::open(&dir.path().join("none")),
        Err(LoadError::Open { .. })
    ));
    assert!(matches!(
        Reader::open(dir.path()),
        Err(LoadError::Open { .. })
    ));
    store_in(dir.path());
    let catalog = Reader::open(dir.path())
        .expect("reader")
        .load()
        .expect("load");
    assert_eq!((catalog.generation(), catalog.len()), (Generation::ZERO, 0));
    assert_eq!(catalog.lookup(b"x"), None);
    assert_eq!(catalog.lookup_folded(b"x"), None);
}

#[test]
fn the_same_content_is_stored_once_and_mapped_once_across_generations() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    let mut draft = store.begin().expect("begin");
    put(&mut draft, "a", b"same");
    put(&mut draft, "b", b"same");
    assert_eq!(draft.stored_bytes(), 4);
    draft.publish().expect("publish");
    let reader = Reader::open(dir.path()).expect("reader");
    let first = reader.load().expect("load");
    let map = |catalog: &daybreak_store::Catalog, of: &str| {
        catalog
            .open(catalog.lookup(of.as_bytes()).expect(of))
            .expect("open")
            .as_ptr()
    };
    assert_eq!(map(&first, "a"), map(&first, "b"));
    publish_one(&store, "c", b"other");
    let second = reader.load().expect("load");
    assert_eq!(map(&first, "a"), map(&second, "a"));
    assert_ne!(map(&second, "a"), map(&second, "c"));
}

#[test]
fn nothing_changed_is_no_new_generation() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish_one(&store, "a", b"1");
    let again = publish_one(&store, "a", b"1");
    assert_eq!(
        again,
        Published {
            generation: Generation::new(1).expect("1"),
            changed: false
        }
    );
    assert!(publish_one(&store, "a", b"2").changed);
    let mut draft = store.begin().expect("begin");
    assert_eq!(put(&mut draft, "a", b"3"), Change::Replaced);
    assert!(!draft.remove("b"));
    assert!(draft.remove("a"));
}

#[test]
fn a_dropped_draft_leaves_nothing() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish_one(&store, "a", b"kept");
    let mut draft = store.begin().expect("begin");
    put(&mut draft, "b", b"dropped");
    put(&mut draft, "c", b"kept");
    drop(draft);
    assert!(store.has_image(&ImageHash::of(b"kept"), 4));
    assert!(!store.has_image(&ImageHash::of(b"dropped"), 7));
    assert_eq!(store.published().expect("published").len(), 1);
}

#[test]
fn an_interrupted_copy_leaves_no_partial() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    let outcome = store.stage(&mut Cursor::new(b"content"), Some(7), &mut |_| {
        ControlFlow::Break(())
    });
    assert!(matches!(outcome, Err(StoreError::Interrupted)));
    let partials = fs::read_dir(dir.path().join(layout::PARTIAL))
        .expect("partial")
        .count();
    assert_eq!(partials, 0);
}

#[test]
fn two_changes_never_interleave_and_the_second_waits_a_bounded_time() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path()).with_lock_wait(Duration::from_millis(1));
    let first = store.begin().expect("begin");
    assert!(matches!(store.begin(), Err(StoreError::Busy(_))));
    let patient = store_in(dir.path()).with_lock_wait(Duration::from_secs(30));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| patient.begin().map(drop));
        drop(first);
        waiting
            .join()
            .expect("join")
            .expect("the lock was released");
    });
}

#[test]
fn a_damaged_catalog_is_refused_by_name_and_an_older_one_serves() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish_one(&store, "a", b"1");
    let second = publish_one(&store, "a", b"2").generation;
    let path = dir.path().join(layout::catalog(second));
    flip(&path, 70);

    let reader = Reader::open(dir.path()).expect("reader");
    let error = reader.load().expect_err("damaged");
    assert!(
        error.to_string().contains("catalogs/0000000002.catalog"),
        "{error}"
    );
    let loaded = reader.load_or_fallback().expect("fallback");
    assert_eq!(loaded.catalog.generation().get(), 1);
    assert!(matches!(loaded.warning, Some(LoadError::Damaged { .. })));

    // The way out, as the message says: any change publishes anew, above everything there ever was.
    let draft = store.begin().expect("begin");
    assert!(draft.warning().is_some());
    assert_eq!(draft.publish().expect("publish").generation.get(), 3);
    assert_eq!(reader.load().expect("load").generation().get(), 3);
}

#[test]
fn a_change_starts_from_what_was_kept_unless_somebody_else_published() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    let mut draft = store.begin().expect("begin");
    put(&mut draft, "a", b"1");
    draft.put_inline(name("t"), *b"{}");
    let (_, kept) = draft.publish_and_keep().expect("publish");

    // Damage that nobody reads does not stop a change, and is gone with it.
    flip(&dir.path().join(layout::catalog(kept.generation())), 70);
    let mut draft = store.begin_with(Some(kept)).expect("begin");
    assert_eq!(draft.entries().len(), 2);
    draft.put_inline(name("t"), *b"{1}");
    let (published, kept) = draft.publish_and_keep().expect("publish");
    assert_eq!(published.generation.get(), 2);
    let reader = Reader::open(dir.path()).expect("reader");
    assert_eq!(reader.load().expect("whole").len(), 2);

    // Where nothing changes, it is found all the same.
    let draft = store.begin_with(Some(kept)).expect("begin");
    let (published, kept) = draft.publish_and_keep().expect("publish");
    assert!(!published.changed);
    flip(&dir.path().join(layout::catalog(kept.generation())), 70);
    let draft = store.begin_with(Some(kept)).expect("begin");
    let (published, kept) = draft.publish_and_keep().expect("publish");
    assert!(published.changed);
    assert_eq!(reader.load().expect("whole").len(), 2);

    publish_one(&store, "b", b"of somebody else");
    let mut draft = store.begin_with(Some(kept)).expect("begin");
    put(&mut draft, "c", b"2");
    draft.publish().expect("publish");
    let names: Vec<String> = (reader.load().expect("whole").entries())
        .map(|(_, view)| view.name.to_owned())
        .collect();
    assert_eq!(names, ["a", "b", "c", "t"]);
}

#[test]
fn generations_only_increase_whatever_happened_to_current() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish_one(&store, "a", b"1");
    publish_one(&store, "a", b"2");
    let current = dir.path().join(layout::CURRENT);
    fs::remove_file(&current).expect("remove");
    let reader = Reader::open(dir.path()).expect("reader");
    assert!(matches!(reader.load(), Err(LoadError::CurrentMissing)));
    assert_eq!(publish_one(&store, "a", b"3").generation.get(), 3);
    flip(&current, 3);
    assert!(matches!(reader.load(), Err(LoadError::CurrentDamaged)));
    assert_eq!(publish_one(&store, "a", b"4").generation.get(), 4);
    let stray = Generation::new(1000).expect("in range");
    fs::write(dir.path().join(layout::catalog(stray)), "never published").expect("write");
    assert_eq!(publish_one(&store, "a", b"5").generation.get(), 1001);
}

#[test]
fn a_damaged_image_is_refused_and_the_others_serve() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    let contents: [&[u8]; 5] = [b"cut", b"gone", b"link", b"folder", b"whole"];
    for content in contents {
        publish_one(
            &store,
            std::str::from_utf8(content).expect("ascii"),
            content,
        );
    }
    let path = |content: &[u8]| dir.path().join(layout::image(&ImageHash::of(content)));
    let outside = dir.path().join("outside");
    fs::write(&outside, b"link").expect("write");
    for content in &contents[..4] {
        fs::remove_file(path(content)).expect("remove");
    }
    fs::write(path(b"cut"), b"cu").expect("write");
    symlink(&outside, path(b"link")).expect("symlink");
    fs::create_dir(path(b"folder")).expect("mkdir");

    let catalog = Reader::open(dir.path())
        .expect("reader")
        .load()
        .expect("load");
    let open = |of: &str| catalog.open(catalog.lookup(of.as_bytes()).expect(of));
    assert!(matches!(open("cut"), Err(ImageError::Damaged { .. })));
    assert!(matches!(open("gone"), Err(ImageError::Missing(_))));
    assert!(matches!(open("link"), Err(ImageError::Io { .. })));
    assert!(matches!(open("folder"), Err(ImageError::Damaged { .. })));
    assert_eq!(read_all(&open("whole").expect("open")), b"whole");

    // Importing again repairs, and what was refused opens, also in the catalog that is loaded.
    publish_one(&store, "cut", b"cut");
    publish_one(&store, "gone", b"gone");
    assert_eq!(read_all(&open("cut").expect("repaired")), b"cut");
    assert_eq!(read_all(&open("gone").expect("repaired")), b"gone");
}

#[test]
fn a_link_in_the_place_of_a_folder_is_never_followed() {
    let dir = tempfile::tempdir().expect("tempdir");
    let elsewhere = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish_one(&store, "a", b"secret");
    let shard = layout::shard(&ImageHash::of(b"secret"));
    let moved = elsewhere.path().join("shard");
    fs::rename(dir.path().join(&shard), &moved).expect("rename");
    symlink(&moved, dir.path().join(&shard)).expect("symlink");
    let catalog = Reader::open(dir.path())
        .expect("reader")
        .load()
        .expect("load");
    assert!(catalog.open(catalog.lookup(b"a").expect("a")).is_err());

    let catalogs = dir.path().join(layout::CATALOGS);
    fs::rename(&catalogs, elsewhere.path().join("catalogs")).expect("rename");
    symlink(elsewhere.path().join("catalogs"), &catalogs).expect("symlink");
    assert!(Reader::open(dir.path()).is_err());
    assert!(Store::open(dir.path()).is_err());
}

#[test]
fn a_file_cut_while_mapped_fails_the_read_and_nothing_else() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    let content = vec![7; 3 << 20];
    publish_one(&store, "big", &content);
    let catalog = Reader::open(dir.path())
        .expect("reader")
        .load()
        .expect("load");
    let image = catalog
        .open(catalog.lookup(b"big").expect("big"))
        .expect("open");
    let path = dir.path().join(layout::image(&ImageHash::of(&content)));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open")
        .set_len(1 << 20)
        .expect("cut");
    let mut buf = vec![0; 1 << 20];
    assert_eq!(image.read_at(2 << 20, &mut buf).expect("no signal"), 0);
    assert_eq!(image.read_at(0, &mut buf).expect("what is left"), buf.len());
}

#[test]
fn modes_are_as_the_layout_says_whatever_the_umask() {
    let dir = tempfile::tempdir().expect("tempdir");
    let data = dir.path().join("data");
    let store = store_in(&data);
    let published = publish_one(&store, "a", b"content");
    let mode = |path: &str| {
        fs::metadata(data.join(path))
            .expect(path)
            .permissions()
            .mode()
            & 0o7777
    };
    for (folder, wanted) in layout::FOLDERS {
        assert_eq!(mode(folder), wanted, "{folder}");
    }
    let hash = ImageHash::of(b"content");
    assert_eq!(mode(""), 0o755);
    assert_eq!(mode(&layout::shard(&hash)), 0o755);
    assert_eq!(mode(&layout::image(&hash)), 0o444);
    assert_eq!(mode(&layout::catalog(published.generation)), 0o444);
    assert_eq!(mode(layout::CURRENT), 0o444);
    assert_eq!(mode(layout::LOCK), 0o600);
}

#[test]
fn an_import_that_leaves_less_than_the_reserve_is_refused_before_it_starts() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish_one(&store, "a", b"served");
    let store = store.with_reserve(Reserve::Bytes(u64::MAX / 2));
    let mut draft = store.begin().expect("begin");
    let mut source = Cursor::new(b"more");
    let outcome = draft.import(name("b"), &mut source, 4, &mut |_| {
        panic!("nothing is copied")
    });
    let error = outcome.expect_err("full");
    assert!(
        error.is_disk_full() && error.to_string().contains("gc"),
        "{error}"
    );
    drop(draft);
    let catalog = Reader::open(dir.path())
        .expect("reader")
        .load()
        .expect("load");
    let content = catalog.entry(catalog.lookup(b"a").expect("a")).content;
    assert_eq!(content, Content::Image(ImageHash::of(b"served")));
}

#[test]
fn a_reader_on_another_thread_sees_every_generation_whole() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = store_in(dir.path());
    publish_one(&store, "n", b"0");
    let reader = Arc::new(Reader::open(dir.path()).expect("reader"));
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            for round in 1..40_u32 {
                publish_one(&store, "n", round.to_string().as_bytes());
            }
        });
        let mut last = Generation::ZERO;
        while !publishing.is_finished() {
            let catalog = reader.load().expect("always whole");
            assert!(catalog.generation() >= last);
            last = catalog.generation();
            let image = catalog
                .open(catalog.lookup(b"n").expect("n"))
                .expect("open");
            let round = String::from_utf8(read_all(&image)).expect("digits");
            assert_eq!(round, (last.get() - 1).to_string());
        }
    });
}

/// Changes one octet of a file as damage does: behind the back of everything.
fn flip(path: &Path, at: u64) {
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
