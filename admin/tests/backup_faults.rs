//! Every file operation of a backup and of a restore fails once, or is the last one, or meets a full disk; then the power
//! goes. Every row that a restore writes fails once. What there is is the state before or the state after, whole.

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use daybreak_admin::backup::{
    BackupError, Backups, Folder, Images, Order, Reason, Restoring, make, plan, restore,
};
use daybreak_admin::database::AuditFilter;
use daybreak_admin::kind::Kind;
use daybreak_admin::object::{Id, Object};
use daybreak_admin::publish::{Publisher, publish_whole};
use daybreak_store::disk::{Disk, Fault, Faulty, Model, PowerLoss};
use daybreak_store::{ImageHash, Name, Reserve, Retention, Store, StoredContent};
use daybreak_sync::{ObjectKey, Row};
use serde_json::json;
use support::{Site, actor, mac};

type Disks = Faulty<Model>;

/// No backup or restore here has so many operations: a loop that reaches it does not end.
const OPERATIONS_MAX: u64 = 400;

fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn store(disk: Disks) -> Store<Disks> {
    Store::on(disk)
        .expect("opens")
        .with_reserve(Reserve::Bytes(0))
}

fn put(store: &Store<Disks>, files: &[(&str, &[u8])], gone: &[&str]) {
    let mut draft = store.begin().expect("begun");
    for (name, content) in files {
        let staged = store
            .stage(&mut &content[..], None, &mut go_on)
            .expect("staged");
        draft
            .put_staged(Name::parse(name.as_bytes()).expect("a name"), staged)
            .expect("put");
    }
    for name in gone {
        draft.remove(name);
    }
    draft.publish().expect("published");
}

/// The stored files, each read and checked.
fn files<D: Disk>(store: &Store<D>) -> BTreeMap<String, Vec<u8>> {
    let draft = store.begin().expect("begun");
    let mut files = BTreeMap::new();
    for (name, content) in draft.entries() {
        let StoredContent::Image { hash, len } = content else {
            continue;
        };
        let file = store
            .disk()
            .open_file(&daybreak_store::layout::image(hash))
            .expect("its image is there");
        let mut octets = vec![0; usize::try_from(*len).expect("small")];
        store.disk().read_at(&file, 0, &mut octets).expect("read");
        assert_eq!(ImageHash::of(&octets), *hash, "{name} is whole");
        files.insert(name.to_string(), octets);
    }
    files
}

fn objects(site: &Site) -> Vec<Arc<Object>> {
    site.configuration.site().objects().cloned().collect()
}

fn order(site: &Site, id: &str, images: Images) -> Order {
    Order {
        id: Id::parse(id).expect("an identifier"),
        created_ms: 1,
        node: site.configuration.node(),
        reason: Reason::Manual,
        schedule: None,
        images,
    }
}

/// A site with a backup `b` of another state of it: objects and files were added, changed and removed since, and some
/// images of the backup are gone from the store.
struct Scene {
    site: Site,
    disk: Model,
    wanted: Vec<(Id, String)>,
    wanted_files: BTreeMap<String, Vec<u8>>,
}

fn named(site: &Site) -> Vec<(Id, String)> {
    let now = site.configuration.site();
    let terminals = now.table(Kind::Terminal).objects();
    terminals
        .map(|object| (object.id.clone(), object.body.stored().to_string()))
        .collect()
}

impl Scene {
    fn new() -> Self {
        let site = Site::new();
        let model = Model::new();
        let store = store(Faulty::new(model.clone(), Fault::None));
        let one = site.create(Kind::Terminal, &json!({"name": "one", "macs": [mac(1)]}));
        let two = site.create(Kind::Terminal, &json!({"name": "two", "macs": [mac(2)]}));
        put(
            &store,
            &[("a", b"a"), ("b", b"first"), ("c", b"gone meanwhile")],
            &[],
        );
        let order = order(&site, "b", Images::All);
        make(&store, objects(&site).iter(), order, &mut go_on).expect("made");
        let (wanted, wanted_files) = (named(&site), files(&store));
        site.delete(Kind::Terminal, &one, false).expect("deleted");
        site.try_replace(
            Kind::Terminal,
            &two,
            &json!({"name": "one", "macs": [mac(1)]}),
        )
        .expect("replaced");
        site.create(Kind::Terminal, &json!({"name": "two", "macs": [mac(3)]}));
        put(&store, &[("b", b"second"), ("d", b"new")], &["c"]);
        let image = daybreak_store::layout::image(&ImageHash::of(b"gone meanwhile"));
        model.unlink(&image).expect("unlinked");
        Scene {
            site,
            disk: model,
            wanted,
            wanted_files,
        }
    }

    fn restore(&self, store: &Store<Disks>) -> Result<(), BackupError> {
        let configuration = &self.site.configuration;
        let backup = Id::parse("b").expect("an identifier");
        let plan = plan(
            store,
            &configuration.site(),
            &backup,
            Restoring::default(),
            &mut go_on,
        )?;
        restore(store, configuration, &plan, &actor(), &mut go_on)
    }

    /// Publishes as the publisher does.
    fn publish(&self, disk: &Model) -> BTreeMap<String, Vec<u8>> {
        let dir = tempfile::tempdir().expect("tempdir");
        let real = onto_disk(disk, dir.path());
        publish_whole(&real, &self.site.configuration).expect("published");
        files(&real)
    }
}

/// The same data directory on the real disk, since publishing knows no other.
fn onto_disk(disk: &Model, path: &std::path::Path) -> Store {
    let copy = |name: &str, from: &str| {
        let file = disk.open_file(from).expect("opens");
        let len = usize::try_from(disk.stat(&file).expect("known").len).expect("small");
        let mut octets = vec![0; len];
        disk.read_at(&file, 0, &mut octets).expect("read");
        std::fs::write(path.join(name), octets).expect("written");
    };
    drop(Store::open(path).expect("opens"));
    for name in disk.list("catalogs").expect("listed") {
        let name = format!("catalogs/{name}");
        copy(&name, &name);
    }
    for shard in disk
        .list("images")
        .expect("listed")
        .iter()
        .filter(|name| name.len() == 2)
    {
        std::fs::create_dir_all(path.join("images").join(shard)).expect("made");
        for name in disk.list(&format!("images/{shard}")).expect("listed") {
            let name = format!("images/{shard}/{name}");
            copy(&name, &name);
        }
    }
    Store::open(path)
        .expect("opens")
        .with_reserve(Reserve::Bytes(0))
}

fn for_each_fault(fault: fn(u64) -> Fault, mut check: impl FnMut(Fault) -> bool) {
    for number in 0..OPERATIONS_MAX {
        // Whether the fault was met at all: beyond the last operation there is none.
        if !check(fault(number)) {
            assert!(number > 10, "only {number} operations");
            return;
        }
    }
    panic!("it does not end");
}

fn restores_before_or_after(fault: fn(u64) -> Fault) {
    for_each_fault(fault, |fault| {
        let scene = Scene::new();
        let (before, change) = (named(&scene.site), scene.site.configuration.site().change());
        let disk = Faulty::new(scene.disk.clone(), Fault::None);
        let store = store(disk.clone());
        let files_before = files(&store);
        disk.plan(fault);
        let outcome = scene.restore(&store);
        let failed = disk.failed();
        disk.plan(Fault::None);
        drop(store);
        let after_cut = scene.disk.after_power_loss(PowerLoss::Everything);
        match outcome {
            Ok(()) => {
                assert_eq!(named(&scene.site), scene.wanted, "{fault:?}");
                assert_eq!(scene.publish(&after_cut), scene.wanted_files, "{fault:?}");
            }
            Err(error) => {
                assert_eq!(named(&scene.site), before, "{fault:?}: {error}");
                assert_eq!(
                    scene.site.configuration.site().change(),
                    change,
                    "{fault:?}: {error}"
                );
                assert_eq!(
                    scene.publish(&after_cut),
                    files_before,
                    "{fault:?}: {error}"
                );
                // And then it works.
                let again = Store::on(Faulty::new(scene.disk.clone(), Fault::None)).expect("opens");
                scene
                    .restore(&again.with_reserve(Reserve::Bytes(0)))
                    .expect("restored");
                assert_eq!(named(&scene.site), scene.wanted);
            }
        }
        failed > 0
    });
}

#[test]
fn a_restore_in_which_one_operation_fails_is_before_or_after() {
    restores_before_or_after(Fault::Once);
}

#[test]
fn a_restore_that_ends_at_any_operation_is_before_or_after() {
    restores_before_or_after(Fault::From);
}

#[test]
fn a_restore_that_meets_a_full_disk_is_before_or_after() {
    restores_before_or_after(Fault::FullFrom);
}

#[test]
fn a_backup_in_which_any_operation_fails_is_whole_or_not_there() {
    for fault in [
        Fault::Once as fn(u64) -> Fault,
        Fault::From,
        Fault::FullFrom,
    ] {
        for_each_fault(fault, |fault| {
            let scene = Scene::new();
            let disk = Faulty::new(scene.disk.clone(), Fault::None);
            let store = store(disk.clone());
            disk.plan(fault);
            let order = order(&scene.site, "new", Images::All);
            let made = make(&store, objects(&scene.site).iter(), order, &mut go_on);
            let failed = disk.failed();
            disk.plan(Fault::None);
            drop(store);
            for loss in [
                None,
                Some(PowerLoss::Everything),
                Some(PowerLoss::Some(failed + 7)),
            ] {
                let disk = loss.map_or_else(
                    || scene.disk.fork(),
                    |loss| scene.disk.after_power_loss(loss),
                );
                let store = self::store(Faulty::new(disk, Fault::None));
                let folder = Folder::of(&store);
                folder.clean().expect("cleaned");
                let names = store.disk().list("backups").expect("listed");
                assert!(
                    names.iter().all(|name| !name.ends_with(".partial")),
                    "{fault:?} {loss:?}: {names:?}"
                );
                let there = names.contains(&"new.backup".to_owned());
                assert!(
                    there || made.is_err(),
                    "{fault:?} {loss:?}: it was acknowledged"
                );
                if there {
                    let id = Id::parse("new").expect("an identifier");
                    let site = scene.site.configuration.site();
                    let whole = plan(&store, &site, &id, Restoring::default(), &mut go_on);
                    assert!(
                        whole.is_ok_and(|plan| plan.differences.is_empty()),
                        "{fault:?} {loss:?}"
                    );
                }
            }
            failed > 0
        });
    }
}

#[test]
fn a_disk_without_room_is_refused_before_anything_is_written() {
    let scene = Scene::new();
    let disk = Faulty::new(scene.disk.clone(), Fault::None);
    let store = store(disk.clone());
    scene.disk.set_free(100);
    let before = store.disk().list("backups").expect("listed");
    let order = order(&scene.site, "new", Images::All);
    let refused =
        make(&store, objects(&scene.site).iter(), order, &mut go_on).expect_err("refused");
    assert!(
        refused.is_disk_full() && refused.to_string().contains("still served"),
        "{refused}"
    );
    scene.disk.set_free(3);
    let refused = scene.restore(&store).expect_err("refused");
    assert!(refused.is_disk_full(), "{refused}");
    assert_eq!(store.disk().list("backups").expect("listed"), before);
    assert_eq!(
        store.disk().list("images/partial").expect("listed"),
        Vec::<String>::new()
    );
}

#[test]
fn a_restore_whose_nth_row_cannot_be_written_changes_nothing() {
    let mut number = 1;
    loop {
        let scene = Scene::new();
        let store = store(Faulty::new(scene.disk.clone(), Fault::None));
        let (before, audit) = (named(&scene.site), audit_rows(&scene.site));
        // Counted in the database itself: the transaction of the restore fails at this row.
        let path = scene.site.dir.path().join("config.db");
        let other = rusqlite::Connection::open(&path).expect("opens");
        let mut sql =
            format!("CREATE TABLE fault (left INTEGER); INSERT INTO fault VALUES ({number});");
        for (table, event) in [
            ("object", "INSERT"),
            ("object", "UPDATE"),
            ("audit", "INSERT"),
            ("file", "INSERT"),
            ("book", "INSERT"),
        ] {
            sql.push_str(&format!(
                "CREATE TRIGGER fault_{table}_{event} AFTER {event} ON {table} BEGIN
                   UPDATE fault SET left = left - 1;
                   SELECT RAISE(ABORT, 'the disk fails') WHERE (SELECT left FROM fault) = 0;
                 END;"
            ));
        }
        other.execute_batch(&sql).expect("made");
        let outcome = scene.restore(&store);
        let left: i64 = other
            .query_row("SELECT left FROM fault", [], |row| row.get(0))
            .expect("a number");
        drop(other);
        if let Err(error) = &outcome {
            assert!(error.to_string().contains("the disk fails"), "{error}");
            assert_eq!(left, number, "rolled back");
        }
        // After a restart, too.
        let Scene {
            site, disk, wanted, ..
        } = scene;
        let site = site.restarted();
        if outcome.is_ok() {
            assert_eq!(named(&site), wanted);
            assert!(number > 10, "only {number} rows");
            return;
        }
        assert_eq!(
            (named(&site), audit_rows(&site)),
            (before, audit),
            "row {number}"
        );
        let left = disk.list("images/partial").expect("listed");
        assert!(left.is_empty(), "{left:?}");
        number += 1;
    }
}

fn audit_rows(site: &Site) -> usize {
    let rows = site
        .configuration
        .with_database(|database| database.audit(&AuditFilter::default(), 1000));
    rows.expect("read").len()
}

#[test]
fn what_was_deleted_and_comes_back_has_seen_its_deletion() {
    let scene = Scene::new();
    let store = store(Faulty::new(scene.disk.clone(), Fault::None));
    let (one, _) = scene
        .wanted
        .iter()
        .find(|(_, body)| body.contains("\"one\""))
        .expect("there")
        .clone();
    let row = |id: &Id| {
        let key = ObjectKey::parse(Kind::Terminal.word(), id.as_str()).expect("a key");
        scene
            .site
            .configuration
            .with_database(|database| database.row(&key))
            .expect("read")
            .expect("a row")
    };
    let tombstone = row(&one);
    assert_eq!(tombstone.body(), None);
    let added = named(&scene.site)
        .into_iter()
        .find(|(_, body)| body.contains("\"two\""))
        .expect("there")
        .0;
    let stamp_of = |row: &Row| row.values()[0].stamp;
    let stamp = stamp_of(&row(&added));
    scene.restore(&store).expect("restored");
    use daybreak_admin::object::Causality;
    let back = row(&one);
    assert_eq!(tombstone.version.compare(&back.version), Causality::Before);
    assert!(stamp_of(&back) > stamp_of(&tombstone) && stamp_of(&back) > stamp);
    let gone = row(&added);
    assert_eq!(
        (gone.body(), stamp_of(&gone) > stamp),
        (None, true),
        "it has a tombstone"
    );
}

#[test]
fn a_collection_in_the_middle_of_a_backup_takes_nothing_from_it() {
    let site = Site::new();
    let store = store(Faulty::new(Model::new(), Fault::None));
    put(&store, &[("a", b"a"), ("b", b"b"), ("c", b"c")], &[]);
    store.disk().inner().pass(Duration::from_secs(1_000_000));
    let all = Retention {
        time: Duration::ZERO,
        catalogs: 0,
    };
    let mut collected = None;
    let mut collect = |_| {
        // The names go and everything that may be is collected, while the first image is read.
        if collected.is_none() {
            put(&store, &[], &["a", "b", "c"]);
            let later = store.disk().inner().now() + Duration::from_secs(1_000_000);
            collected = Some(store.collect(later, all).expect("collected"));
        }
        ControlFlow::Continue(())
    };
    let made = make(
        &store,
        objects(&site).iter(),
        order(&site, "pinned", Images::All),
        &mut collect,
    );
    let made = made.expect("made");
    assert_eq!(
        (made.head.images, made.left_out.len()),
        (3, 0),
        "{collected:?}"
    );
    let later = store.disk().inner().now() + Duration::from_secs(1_000_000);
    assert_eq!(
        store.collect(later, all).expect("collected").images,
        3,
        "it lets go of them"
    );
}

#[test]
fn an_automatic_backup_says_why_and_only_the_newest_ten_stay() {
    let site = Site::new();
    let data = site.dir.path().join("data");
    let open = || Store::open(&data).expect("opens");
    let publisher = Publisher::start(Arc::clone(&site.configuration), open()).expect("started");
    let (configuration, publisher) = (Arc::clone(&site.configuration), Arc::new(publisher));
    let backups = Backups::open(configuration, open(), publisher, Box::new(|_| ())).expect("opens");
    let mut made = Vec::new();
    for number in 0..12 {
        site.clock.set(1_700_000_000_000 + number * 1000);
        let one = backups
            .automatic(&actor(), Reason::BeforeSynchronization, Images::All)
            .expect("made");
        assert_eq!(one.head.reason, Reason::BeforeSynchronization);
        made.push(one.id);
    }
    let left: Vec<Id> = backups
        .list()
        .expect("listed")
        .into_iter()
        .map(|listed| listed.id)
        .collect();
    assert_eq!(left, made[2..]);
}
