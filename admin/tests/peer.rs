//! Two servers' databases and stores, and the real sessions between them: what one holds the other holds, images first. No
//! socket: messages are handed over by this test, or lost.

#[path = "peer/deletes.rs"]
mod deletes;
mod support;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use daybreak_admin::configuration::ChangeError;
use daybreak_admin::file;
use daybreak_admin::kind::Kind;
use daybreak_admin::limits::IMAGE_READ_AT_ONCE_BYTES;
use daybreak_admin::object::Id;
use daybreak_admin::peer::host::Server;
use daybreak_admin::publish::Publisher;
use daybreak_store::{Name, Store};
use daybreak_sync::ObjectKey;
use daybreak_sync::host::Host;
use daybreak_sync::session::{Config, Now, Session, State};
use serde_json::{Value, json};
use support::{Site, actor, mac, until};

/// One server: everything but its sockets.
struct Side {
    site: Site,
    publisher: Publisher,
    host: Server,
    session: Session,
}

impl Side {
    fn new(name: &str) -> Self {
        Side::of(Site::new(), name)
    }

    fn of(site: Site, name: &str) -> Self {
        let data = site.dir.path().join("data");
        let store = || Store::open(&data).expect("a store");
        let publisher =
            Publisher::start(Arc::clone(&site.configuration), store()).expect("a thread");
        let mut host = Server::new(Arc::clone(&site.configuration), store());
        let config = Config {
            name: name.into(),
            ..Config::default()
        };
        let session = Session::new(config, &mut host).expect("books");
        Side {
            site,
            publisher,
            host,
            session,
        }
    }

    /// The same after a restart of the process.
    fn restarted(self, name: &str) -> Self {
        let Side {
            site,
            publisher,
            host,
            session,
        } = self;
        drop((publisher, host, session));
        Side::of(site.restarted(), name)
    }

    fn store(&self) -> Store {
        Store::open(&self.site.dir.path().join("data")).expect("a store")
    }

    /// Imports a file beside the running server, as the command line does, and waits until it is an object.
    fn import(&self, name: &str, content: &[u8]) {
        let store = self.store();
        let mut draft = store.begin().expect("a draft");
        let go_on = &mut |_| std::ops::ControlFlow::Continue(());
        let parsed = Name::parse(name).expect("a name");
        let mut source = std::io::Cursor::new(content);
        draft
            .import(parsed.clone(), &mut source, content.len() as u64, go_on)
            .expect("imported");
        draft.publish().expect("published");
        self.publisher.wake();
        let key = file::key(&parsed);
        let hash = *blake3::hash(content).as_bytes();
        until("the object of the file", || {
            let row = self
                .site
                .configuration
                .with_database(|database| database.row(&key))
                .expect("read")?;
            (row.body()?.images[0].hash.0 == hash).then_some(())
        });
    }

    fn remove(&self, name: &str) {
        let store = self.store();
        let mut draft = store.begin().expect("a draft");
        assert!(draft.remove(name));
        draft.publish().expect("published");
        self.publisher.wake();
        let id = Id::parse(file::key(&Name::parse(name).expect("a name")).id()).expect("an id");
        until("the object of the file to go", || {
            let gone = !self.site.configuration.site().files().contains_key(&id);
            gone.then_some(())
        });
    }

    /// What terminals receive under this name.
    fn served(&self, name: &str) -> Option<Vec<u8>> {
        let data = self.site.dir.path().join("data");
        let catalog = daybreak_store::Reader::open(&data)
            .expect("a reader")
            .load()
            .expect("a catalog");
        let image = catalog.open(catalog.lookup(name.as_bytes())?).ok()?;
        let mut content = vec![0; usize::try_from(image.len()).expect("small")];
        image.read_at(0, &mut content).expect("read");
        Some(content)
    }

    fn name_of(&self, id: &Id) -> Option<String> {
        let site = self.site.configuration.site();
        site.object(Kind::Terminal, id)
            .map(|object| object.body.name().to_owned())
    }
}

/// Two servers, and the time.
struct Pair {
    sides: [Side; 2],
    now: Duration,
}

impl Pair {
    fn new() -> Self {
        Pair::of([Side::new("a"), Side::new("b")])
    }

    fn of(sides: [Side; 2]) -> Self {
        let mut pair = Pair {
            sides,
            now: Duration::from_secs(1),
        };
        pair.connect();
        pair
    }

    fn now(&self) -> Now {
        Now {
            time: self.now,
            wall_ms: 1_000_000,
        }
    }

    fn connect(&mut self) {
        let now = self.now();
        for side in &mut self.sides {
            side.session.connected(now, &mut side.host);
        }
    }

    fn cut(&mut self) {
        let now = self.now();
        for side in &mut self.sides {
            side.session.disconnected(now);
        }
    }

    /// Hands messages over until nobody has anything to say.
    fn settle(&mut self) {
        for side in &mut self.sides {
            let now = Now {
                time: self.now,
                wall_ms: 1_000_000,
            };
            side.session.changed(now, &mut side.host);
        }
        let mut wires: [VecDeque<Vec<u8>>; 2] = Default::default();
        loop {
            let mut quiet = true;
            for at in 0..2 {
                let now = self.now();
                let side = &mut self.sides[at];
                let due = |time: Option<Duration>| time.is_some_and(|time| time <= now.time);
                quiet &= !due(side.session.speaks_at());
                if due(side.session.poll_timeout()) {
                    quiet = false;
                    side.session.handle_timeout(now, &mut side.host);
                }
                while let Some(message) = side.session.poll_transmit(now, &mut side.host) {
                    quiet = false;
                    wires[1 - at].push_back(message);
                }
                while let Some(message) = wires[at].pop_front() {
                    quiet = false;
                    side.session.handle(now, &message, &mut side.host);
                }
            }
            if quiet {
                break;
            }
        }
        for side in &self.sides {
            side.publisher.wake();
            let configuration = &side.site.configuration;
            until("the publication", || {
                let change = side.publisher.publication().change;
                (change == configuration.site().change()).then_some(())
            });
        }
    }

    fn assert_equal(&mut self) {
        let [a, b] = &mut self.sides;
        let (ours, theirs) = (
            a.host.book().expect("a book"),
            b.host.book().expect("a book"),
        );
        assert_eq!(ours.heads, theirs.heads);
        assert_eq!(ours.digest, theirs.digest);
        let rows = |side: &Side| {
            let configuration = &side.site.configuration;
            configuration
                .with_database(daybreak_admin::database::Database::all_rows)
                .expect("rows")
        };
        assert_eq!(rows(a), rows(b));
        let objects = |side: &Side| {
            let site = side.site.configuration.site();
            site.objects()
                .map(|object| (**object).clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(objects(a), objects(b), "and in memory");
        assert_eq!(
            a.site.configuration.site().files(),
            b.site.configuration.site().files()
        );
    }
}

fn terminal(name: &str, number: u32) -> Value {
    json!({"name": name, "macs": [mac(number)]})
}

#[test]
fn what_is_changed_on_one_is_on_the_other_and_served_there() {
    let mut pair = Pair::new();
    let image: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    pair.sides[0].import("firmware/linux/1/vmlinuz", &image);
    let id = pair.sides[0]
        .site
        .create(Kind::Terminal, &terminal("one", 1));
    let other = pair.sides[1]
        .site
        .create(Kind::Terminal, &terminal("two", 2));
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.sides[0].name_of(&other).as_deref(), Some("two"));
    assert_eq!(pair.sides[1].name_of(&id).as_deref(), Some("one"));
    let file = format!("terminals/{}.json", mac(1));
    let served = pair.sides[1].served(&file).expect("rendered there");
    assert_eq!(
        pair.sides[0].served(&file),
        Some(served),
        "C97: the same octets"
    );
    assert_eq!(
        pair.sides[1].served("firmware/linux/1/vmlinuz"),
        Some(image)
    );
    for side in &pair.sides {
        assert_eq!(side.session.state(), State::InSync);
    }
    // What came is changed on, and removed, on the other one.
    pair.sides[1]
        .site
        .try_replace(Kind::Terminal, &id, &terminal("uno", 1))
        .expect("replaced");
    pair.sides[1].remove("firmware/linux/1/vmlinuz");
    pair.sides[1]
        .site
        .delete(Kind::Terminal, &other, false)
        .expect("deleted");
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.sides[0].name_of(&id).as_deref(), Some("uno"));
    assert_eq!(pair.sides[0].name_of(&other), None);
    assert_eq!(pair.sides[0].served("firmware/linux/1/vmlinuz"), None);
}

#[test]
fn c100_what_both_change_while_they_are_cut_is_a_conflict_and_nothing_is_lost() {
    let mut pair = Pair::new();
    let id = pair.sides[0]
        .site
        .create(Kind::Terminal, &terminal("one", 1));
    pair.sides[0].import("kernel", b"first");
    pair.settle();
    pair.cut();
    let [a, b] = &pair.sides;
    a.site
        .try_replace(Kind::Terminal, &id, &terminal("here", 1))
        .expect("replaced");
    b.site.clock.set(1_000_500);
    b.site
        .try_replace(Kind::Terminal, &id, &terminal("there", 1))
        .expect("replaced");
    a.import("kernel", b"from a");
    b.import("kernel", b"from b");
    let other = b.site.create(Kind::Terminal, &terminal("two", 2));
    pair.connect();
    pair.settle();
    pair.assert_equal();
    for side in &mut pair.sides {
        assert_eq!(side.name_of(&id).as_deref(), Some("there"), "the later one");
        assert_eq!(side.name_of(&other).as_deref(), Some("two"));
        assert_eq!(side.session.state(), State::Conflict { objects: 2 });
        assert_eq!(side.served("kernel").as_deref(), Some(&b"from b"[..]));
    }
    // Each is answered on one of them: the loser is taken here, the winner there.
    let row = |side: &Side, key: &ObjectKey| {
        let configuration = &side.site.configuration;
        let row = configuration.with_database(|database| database.row(key));
        row.expect("read").expect("there")
    };
    let key = ObjectKey::parse("terminal", id.as_str()).expect("a key");
    let seen = row(&pair.sides[0], &key);
    assert_eq!(seen.conflicts().count(), 1);
    pair.sides[0]
        .site
        .configuration
        .resolve(&actor(), &seen, 1)
        .expect("resolved");
    let again = pair.sides[0].site.configuration.resolve(&actor(), &seen, 0);
    assert!(matches!(again, Err(ChangeError::Stale)));
    let kernel = file::key(&Name::parse("kernel").expect("a name"));
    let seen = row(&pair.sides[1], &kernel);
    pair.sides[1]
        .site
        .configuration
        .resolve(&actor(), &seen, 1)
        .expect("resolved");
    pair.settle();
    pair.assert_equal();
    for side in &mut pair.sides {
        assert_eq!(side.session.state(), State::InSync);
        assert_eq!(side.name_of(&id).as_deref(), Some("here"));
        assert_eq!(side.served("kernel").as_deref(), Some(&b"from a"[..]));
    }
}

#[test]
fn s14_two_that_speak_no_common_version_say_so_and_both_go_on_serving() {
    let mut pair = Pair::new();
    pair.cut();
    let now = pair.now();
    let later = Config {
        versions: 2..=2,
        ..Config::default()
    };
    pair.sides[1].session.configure(now, later);
    pair.connect();
    for (side, content) in pair.sides.iter().zip([b"of a", b"of b"]) {
        side.import("kernel", content);
    }
    pair.settle();
    for (side, content) in pair.sides.iter().zip([b"of a", b"of b"]) {
        assert_eq!(side.session.state(), State::IncompatibleVersion);
        assert_eq!(side.served("kernel").as_deref(), Some(&content[..]));
    }
}

#[test]
fn books_and_rows_go_on_after_a_restart() {
    let mut pair = Pair::new();
    let id = pair.sides[0]
        .site
        .create(Kind::Terminal, &terminal("one", 1));
    pair.sides[1]
        .site
        .create(Kind::Terminal, &terminal("two", 2));
    pair.settle();
    let before = pair.sides[0].host.book().expect("a book");
    let Pair { sides: [a, b], .. } = pair;
    let mut a = a.restarted("a");
    assert_eq!(a.host.book().expect("a book").heads, before.heads);
    assert_eq!(a.host.book().expect("a book").digest, before.digest);
    a.site
        .try_replace(Kind::Terminal, &id, &terminal("uno", 1))
        .expect("replaced");
    let mut pair = Pair::of([a, b.restarted("b")]);
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.sides[1].name_of(&id).as_deref(), Some("uno"));
}

#[test]
fn a_new_server_is_filled_and_an_image_goes_on_where_it_was_cut() {
    let mut pair = Pair::new();
    let image: Vec<u8> = (0..800_000_u32)
        .flat_map(|at| (at * 7).to_le_bytes())
        .collect();
    pair.sides[0].import("image", &image);
    for number in 1..50 {
        let name = format!("t{number}");
        pair.sides[0]
            .site
            .create(Kind::Terminal, &terminal(&name, number));
    }
    // A part of the messages, then a cut: what is here stays.
    let mut handed = 0;
    while handed < 40 {
        for at in 0..2 {
            let now = pair.now();
            let [a, b] = &mut pair.sides;
            let (from, to) = if at == 0 { (a, b) } else { (b, a) };
            while let Some(message) = from.session.poll_transmit(now, &mut from.host) {
                handed += 1;
                to.session.handle(now, &message, &mut to.host);
            }
        }
    }
    pair.cut();
    let number = file::image(daybreak_store::ImageHash::of(&image), image.len() as u64);
    let kept = pair.sides[1].host.pieces(number).expect("read");
    assert!((1..number.pieces()).contains(&kept), "{kept}");
    pair.connect();
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.sides[1].served("image"), Some(image));
}

#[test]
fn a_large_image_is_read_a_part_at_a_time_where_it_is_and_where_it_has_come() {
    const PARTS: u64 = 3;
    let mut pair = Pair::new();
    let words = u32::try_from(PARTS * IMAGE_READ_AT_ONCE_BYTES / 4).expect("small");
    let image: Vec<u8> = (0..words).flat_map(u32::to_le_bytes).collect();
    pair.sides[0].import("image", &image);
    let wanted = file::image(daybreak_store::ImageHash::of(&image), image.len() as u64);
    // Where it is: before the first piece.
    let host = &mut pair.sides[0].host;
    let mut pieces = (0..wanted.pieces()).map(|index| {
        let mut parts = 1;
        loop {
            match host.piece(wanted, index).expect("looked at") {
                Poll::Pending => parts += 1,
                Poll::Ready(piece) => return (parts, piece.expect("it is there")),
            }
        }
    });
    let first = pieces.next().expect("one");
    let rest: Vec<_> = pieces.collect();
    assert_eq!(first.0, PARTS);
    assert!(rest.iter().all(|(parts, _)| *parts == 1));
    // Where it has come: another process got the beginning of it.
    for (index, (_, piece)) in (0..).zip([first].iter().chain(&rest)) {
        if index == 1 {
            let configuration = Arc::clone(&pair.sides[1].site.configuration);
            pair.sides[1].host = Server::new(configuration, pair.sides[1].store());
        }
        let host = &mut pair.sides[1].host;
        assert!(wanted.holds(index, &piece.octets, &piece.proof));
        host.put_piece(wanted, index, &piece.octets).expect("kept");
    }
    let host = &mut pair.sides[1].host;
    let mut parts = 1;
    while host.finish_image(wanted).expect("it is whole").is_pending() {
        parts += 1;
    }
    // Where the end is, is seen once more.
    assert_eq!(parts, PARTS + 1);
    assert!(host.has_image(wanted).expect("looked at"));
    pair.settle();
    pair.assert_equal();
    assert_eq!(pair.sides[1].served("image"), Some(image));
}

#[test]
fn an_image_that_is_damaged_on_one_is_not_sent_and_comes_back_from_the_other() {
    let mut pair = Pair::new();
    let image: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    pair.sides[0].import("image", &image);
    pair.settle();
    let hash = daybreak_store::ImageHash::of(&image);
    let data = pair.sides[0].site.dir.path().join("data");
    let path = data.join(daybreak_store::layout::image(&hash));
    std::fs::remove_file(&path).expect("removed");
    let mut damaged = image.clone();
    damaged[70_000] ^= 1;
    std::fs::write(&path, damaged).expect("written");
    let wanted = file::image(hash, image.len() as u64);
    let side = &mut pair.sides[0];
    let piece = side.host.piece(wanted, 1).expect("looked at");
    assert!(
        matches!(piece, Poll::Ready(None)),
        "the second piece is the damaged one"
    );
    assert!(side.host.has_lost() && !path.exists());
    let now = Now {
        time: pair.now,
        wall_ms: 1_000_000,
    };
    for image in side.host.missing().expect("read") {
        side.session.want_image(now, image, &mut side.host);
    }
    pair.settle();
    assert_eq!(std::fs::read(&path).expect("it is back"), image);
}

#[test]
fn c98_a_version_is_active_on_the_other_server_when_all_of_its_files_are_there() {
    let mut pair = Pair::new();
    let kernel: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    pair.sides[0].import("firmware/linux/1/vmlinuz", b"the first");
    pair.sides[0].import("firmware/linux/2/vmlinuz", &kernel);
    let boot = json!([{"architecture": "x86-64-uefi", "kernel": "vmlinuz"}]);
    let package = |active: &str| {
        json!({"name": "linux", "active": active, "versions": [
            {"version": "1", "boot": boot}, {"version": "2", "boot": boot},
        ]})
    };
    let id = pair.sides[0]
        .site
        .create(Kind::FirmwarePackage, &package("1"));
    pair.settle();
    let served = "firmware/linux/vmlinuz";
    assert_eq!(
        pair.sides[1].served(served).as_deref(),
        Some(&b"the first"[..])
    );

    // A file of the next version comes with its activation.
    let initrd: Vec<u8> = (0..300_000_u32)
        .flat_map(|at| (at * 3).to_le_bytes())
        .collect();
    pair.sides[0].import("firmware/linux/2/initrd", &initrd);
    let replaced = pair.sides[0]
        .site
        .try_replace(Kind::FirmwarePackage, &id, &package("2"));
    replaced.expect("replaced");
    let active = |side: &Side| {
        let site = side.site.configuration.site();
        site.object(Kind::FirmwarePackage, &id)
            .expect("there")
            .body
            .stored()["active"]
            .clone()
    };
    for side in &mut pair.sides {
        let now = Now {
            time: pair.now,
            wall_ms: 1_000_000,
        };
        side.session.changed(now, &mut side.host);
    }
    let mut handed = 0;
    while handed < 16 {
        for at in 0..2 {
            let now = pair.now();
            let [a, b] = &mut pair.sides;
            let (from, to) = if at == 0 { (a, b) } else { (b, a) };
            while let Some(message) = from.session.poll_transmit(now, &mut from.host) {
                handed += 1;
                to.session.handle(now, &message, &mut to.host);
                assert!(handed < 1000, "nothing was asked for");
                if handed >= 16 {
                    break;
                }
            }
        }
    }
    assert_eq!(active(&pair.sides[1]), "1", "its files are on their way");
    pair.cut();
    assert_eq!(
        pair.sides[1].served(served).as_deref(),
        Some(&b"the first"[..])
    );
    pair.connect();
    pair.settle();
    pair.assert_equal();
    assert_eq!(active(&pair.sides[1]), "2");
    assert_eq!(pair.sides[1].served(served), Some(kernel));

    // A file that goes is not asked for any more.
    pair.sides[0].remove("firmware/linux/2/initrd");
    pair.settle();
    pair.assert_equal();
    let key = ObjectKey::parse("firmware-package", id.as_str()).expect("a key");
    let configuration = &pair.sides[1].site.configuration;
    let row = configuration.with_database(|database| database.row(&key));
    let row = row.expect("read").expect("there");
    assert_eq!(row.body().expect("a body").images.len(), 1);
}
