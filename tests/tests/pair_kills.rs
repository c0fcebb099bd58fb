//! Two real servers while their programs are killed at random, or the link between them is cut, in the middle of edits and uploads
//! on both: nothing that was acknowledged is lost, both end the same, and terminals boot all the while.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use daybreak_tests::administration::Api;
use daybreak_tests::clock::MovedClock;
use daybreak_tests::host::Host;
use daybreak_tests::pair::{Door, PATIENCE, Server, pair, terminal};
use daybreak_tests::plant::{Cut, Plant};
use daybreak_tests::terminals::Terminals;
use daybreak_tests::world::prng::Prng;
use daybreak_tests::{content, poll};
use serde_json::{Value, json};

/// What is there from the beginning, and booted by terminals all the while.
const FIRMWARE: &str = "firmware.bin";

/// Terminals that boot at once, and how long that may take while a server is being started again.
const BOOTS_AT_ONCE: u32 = 4;
const BOOT_PATIENCE_S: u32 = 20;

/// What operators rest between two edits: there is more to be seen than their load.
const EDIT_PAUSE: Duration = Duration::from_millis(20);
/// What an edit is, by its number: each of the two operators changes and deletes what they made themselves, so that nothing is changed on
/// both servers at once. Every file is fetched from both servers in the end.
const EDITS: [Act; 12] = {
    use Act::{Create, Delete, Rename, Replace, Upload};
    [
        Create, Create, Create, Rename, Upload, Create, Create, Delete, Create, Rename, Create,
        Replace,
    ]
};

/// What an operator does.
#[derive(Clone, Copy)]
enum Act {
    Create,
    Rename,
    Delete,
    Upload,
    Replace,
}

#[test]
fn c101_kills_at_any_point_lose_nothing_that_was_acknowledged_and_boots_go_on() {
    kill_rounds(1, 10);
}

#[test]
#[ignore = "long: make test-long"]
fn c101_a_hundred_kills_lose_nothing_that_was_acknowledged_and_boots_go_on() {
    kill_rounds(2, 100);
}

fn kill_rounds(seed: u64, rounds: u32) {
    let mut dice = Prng::new(seed, "kills");
    let mut servers = [Server::new("a"), Server::new("b")];
    let work = Work::of(&servers, None);
    work.go_on(|work| {
        for _ in 0..rounds {
            work.wait_for_edits(1 + dice.below(6) as u32);
            kill_one(&mut servers, &mut dice);
        }
        work.wait_for_boots(rounds / 2);
    });
    work.is_nowhere_lost(&servers, rounds, "in-sync");
}

/// Kills one program of the four, and starts it again.
fn kill_one(servers: &mut [Server; 2], dice: &mut Prng) {
    let at = dice.count(0, 1);
    if dice.chance(700) {
        servers[at].kill();
        servers[at].start();
    } else {
        servers[at].kill_engine();
        servers[at].start_engine();
    }
}

#[test]
fn c100_a_link_that_is_cut_both_ways_or_one_way_or_flaps_loses_nothing_and_no_boot_fails() {
    let plant = Plant::new();
    let mut servers = [plant.server(0), plant.server(1)];
    let work = Work::of(&servers, Some(plant.clients()));
    let doors = [servers[0].door(), servers[1].door()];
    work.go_on(|work| {
        for cut in [Cut::Silent, Cut::From(0), Cut::From(1), Cut::Unplugged] {
            plant.cut(cut);
            work.wait_for_edits(6);
            if cut == Cut::From(1) {
                servers[0].kill();
                servers[0].start();
            }
            plant.heal();
            work.reaches_the_other_side();
        }
        for _ in 0..5 {
            plant.cut(Cut::Silent);
            work.wait_for_edits(1);
            plant.heal();
            work.wait_for_edits(1);
        }
        work.reaches_the_other_side();
    });
    work.is_nowhere_lost(&servers, 1, "in-sync");
    changed_on_both_sides_of_a_cut(&plant, &servers, &doors);
}

/// The same object is changed on both sides: the later change is in force and the other one kept, the same on both.
fn changed_on_both_sides_of_a_cut(plant: &Plant, servers: &[Server; 2], doors: &[Door; 2]) {
    let id = doors[0]
        .api()
        .create("/api/v1/terminals", &terminal("first", 0xff_0000));
    poll::until("the terminal on b", PATIENCE, || servers[1].terminal(&id));
    plant.cut(Cut::Silent);
    for (door, name) in doors.iter().zip(["on-a", "on-b"]) {
        let path = format!("/api/v1/terminals/{id}");
        let changed = door.api().send("PUT", &path, &terminal(name, 0xff_0000));
        changed.expect(200);
    }
    plant.heal();
    for server in servers {
        server.wait_for_state("conflict");
        let conflicts = server.api().get("/api/v1/sync/conflicts").expect(200);
        let conflicts = conflicts.json();
        let values = &conflicts["items"][0]["values"];
        let names = [0, 1].map(|value| values[value]["body"]["name"].clone());
        assert_eq!(names, [json!("on-b"), json!("on-a")], "{conflicts}");
        assert_eq!(server.terminal(&id).expect("it is there")["name"], "on-b");
    }
}

#[test]
#[ignore = "long: make test-long"]
fn c100_a_link_that_is_cut_at_random_while_programs_are_killed_loses_nothing_and_no_boot_fails() {
    const ROUNDS: u32 = 40;
    let mut dice = Prng::new(3, "cuts");
    let plant = Plant::new();
    let mut servers = [plant.server(0), plant.server(1)];
    let work = Work::of(&servers, Some(plant.clients()));
    let cuts = [Cut::Silent, Cut::From(0), Cut::From(1), Cut::Unplugged];
    work.go_on(|work| {
        // Until both have given the other up, in the middle of an image: then one of them has more to say than it can send.
        for (number, cut) in (0..).zip(cuts) {
            let image = content::octets(number, 60_000_000);
            servers[0].upload(&format!("large-{number}"), &image);
            plant.cut(cut);
            for server in &servers {
                server.wait_for_state("peer-unreachable");
            }
            plant.heal();
            work.reaches_the_other_side();
        }
        for _ in 0..ROUNDS {
            plant.cut(dice.one_of(&cuts));
            work.wait_for_edits(1 + dice.below(60) as u32);
            if dice.chance(300) {
                kill_one(&mut servers, &mut dice);
                work.wait_for_edits(dice.below(20) as u32);
            }
            plant.heal();
            work.wait_for_edits(dice.below(40) as u32);
        }
        work.wait_for_boots(ROUNDS / 2);
    });
    work.is_nowhere_lost(&servers, ROUNDS, "in-sync");
}

#[test]
fn a_clock_that_is_a_day_ahead_is_shown_on_both_servers_and_loses_no_edit() {
    const DAY_MS: i64 = 86_400_000;
    let (a, mut b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    b.stop();
    let clock = MovedClock::ahead(1);
    b.start_by(&clock);
    for (server, ahead_ms) in [(&a, DAY_MS), (&b, -DAY_MS)] {
        server.wait_for_state("in-sync");
        let skew_ms = poll::until("the skew", PATIENCE, || {
            server.status()["partner"]["skew_ms"].as_i64()
        });
        assert!((skew_ms - ahead_ms).abs() < 60_000, "{skew_ms} ms");
        let metrics = server.api().get("/metrics").expect(200).body;
        let gauge = metrics.lines().find_map(|line| {
            let value = line.strip_prefix("daybreak_admin_sync_clock_skew_ms ")?;
            value.parse::<i64>().ok()
        });
        assert!((gauge.expect("a gauge") - ahead_ms).abs() < 60_000);
        poll::until("it is told", PATIENCE, || {
            let events = server.api().get("/api/v1/events?kind=pair").expect(200);
            events.body.contains("clock-skew").then_some(())
        });
    }
    // An edit that has seen the other wins over it, whatever the clocks say.
    let id = b.api().create("/api/v1/terminals", &terminal("ahead", 1));
    poll::until("the terminal on a", PATIENCE, || a.terminal(&id));
    let path = format!("/api/v1/terminals/{id}");
    let changed = a.api().send("PUT", &path, &terminal("seen", 1));
    changed.expect(200);
    for server in [&a, &b] {
        poll::until("the later edit", PATIENCE, || {
            (server.terminal(&id)?["name"] == "seen").then_some(())
        });
        server.wait_for_state("in-sync");
    }
}

/// Operators who edit and upload on two servers, and terminals that boot from both, whatever happens meanwhile.
struct Work<'a> {
    doors: [Door; 2],
    tftp: [SocketAddr; 2],
    firmware: Vec<u8>,
    /// Where the terminals stand.
    clients: Option<&'a Host>,
    serial: AtomicU32,
    boots: AtomicU32,
    acknowledged: Acknowledged,
}

/// What was acknowledged: terminals by identifier, files by name.
#[derive(Default)]
struct Acknowledged {
    terminals: Mutex<BTreeMap<String, Expected<Terminal>>>,
    files: Mutex<BTreeMap<String, Expected<Vec<u8>>>>,
}

/// The card of a terminal, and its name; none, if it was deleted.
type Terminal = (u32, Option<String>);

/// What something is in the end: what was acknowledged last, or one of those that were not answered since.
struct Expected<T> {
    /// Which of the two operators has made it.
    of: usize,
    one_of: Vec<T>,
}

impl<T> Expected<T> {
    /// Something new is tried.
    fn tried(&mut self, next: T) {
        self.one_of.push(next);
    }

    /// What was tried last is done.
    fn done(&mut self) {
        self.one_of.drain(..self.one_of.len() - 1);
    }
}

/// One of those that this operator has made and `is_there` says of all that it may be, if there is any: `next` is tried.
fn own<T>(
    all: &Mutex<BTreeMap<String, Expected<T>>>,
    (of, number): (usize, u32),
    is_there: impl Fn(&T) -> bool,
    next: impl FnOnce(&T) -> T,
) -> Option<String> {
    let mut all = all.lock().expect("no panic");
    let own = all.iter().filter(|(_, expected)| expected.of == of);
    let own = own.filter(|(_, expected)| expected.one_of.iter().all(&is_there));
    let own: Vec<String> = own.map(|(id, _)| id.clone()).collect();
    let id = own.get(number as usize % own.len().max(1))?;
    let expected = all.get_mut(id).expect("it was listed");
    let next = next(&expected.one_of[0]);
    expected.tried(next);
    Some(id.clone())
}

fn done<T>(all: &Mutex<BTreeMap<String, Expected<T>>>, id: &str) {
    let mut all = all.lock().expect("no panic");
    all.get_mut(id).expect("it was tried").done();
}

impl<'a> Work<'a> {
    /// Of two servers, which are paired for that. Terminals stand inside `clients`.
    fn of(servers: &[Server; 2], clients: Option<&'a Host>) -> Self {
        let firmware = content::octets(1, 300_000);
        servers[0].upload(FIRMWARE, &firmware);
        let _ = pair(&servers[0], &servers[1]);
        servers[1].wait_until_served(FIRMWARE, &firmware);
        Work {
            doors: [servers[0].door(), servers[1].door()],
            tftp: [servers[0].tftp(), servers[1].tftp()],
            firmware,
            clients,
            serial: AtomicU32::new(0),
            boots: AtomicU32::new(0),
            acknowledged: Acknowledged::default(),
        }
    }

    /// Everybody works as long as `meanwhile` takes.
    fn go_on(&self, meanwhile: impl FnOnce(&Self)) {
        let ends = AtomicBool::new(false);
        let until_the_end = &|act: &dyn Fn()| {
            while !ends.load(Ordering::Relaxed) {
                act();
            }
        };
        std::thread::scope(|scope| {
            // Also when it fails, so that everybody goes home.
            let _end = EndsWith(&ends);
            for at in 0..2 {
                scope.spawn(move || until_the_end(&|| self.edit(at)));
            }
            scope.spawn(move || until_the_end(&|| self.boot()));
            meanwhile(self);
        });
    }

    fn wait_for_edits(&self, edits: u32) {
        let until = self.serial.load(Ordering::Relaxed) + edits;
        poll::until("some edits", PATIENCE, || {
            (self.serial.load(Ordering::Relaxed) >= until).then_some(())
        });
    }

    /// Waits until terminals have booted so many times, and once more: on a busy machine a boot takes longer than an edit.
    fn wait_for_boots(&self, boots: u32) {
        poll::until("some boots", PATIENCE, || {
            (self.boots.load(Ordering::Relaxed) > boots).then_some(())
        });
    }

    /// Waits until what is made now on either is on the other.
    fn reaches_the_other_side(&self) {
        for (here, there) in [(0, 1), (1, 0)] {
            let number = self.serial.fetch_add(1, Ordering::Relaxed);
            let new = terminal(&format!("t{number}"), number);
            let id = self.doors[here].api().create("/api/v1/terminals", &new);
            let path = format!("/api/v1/terminals/{id}");
            poll::until("a change over the healed link", PATIENCE, || {
                (self.doors[there].api().get(&path).status == 200).then_some(())
            });
        }
    }

    /// One edit of the operator at this door. What is not answered may have happened, or not.
    fn edit(&self, at: usize) {
        let number = self.serial.fetch_add(1, Ordering::Relaxed);
        let (api, all) = (self.doors[at].api(), &self.acknowledged);
        let is_there = |(_, name): &Terminal| name.is_some();
        match EDITS[number as usize % EDITS.len()] {
            Act::Create => {
                let name = format!("t{number}");
                let answer = api.send("POST", "/api/v1/terminals", &terminal(&name, number));
                if answer.status == 201 {
                    let made = answer.json();
                    let id = made["id"].as_str().expect("an identifier").to_owned();
                    let one_of = vec![(number, Some(name))];
                    let mut terminals = all.terminals.lock().expect("no panic");
                    terminals.insert(id, Expected { of: at, one_of });
                }
            }
            Act::Rename => {
                let name = format!("t{number}");
                let mut card = 0;
                let id = own(&all.terminals, (at, number), is_there, |(number, _)| {
                    card = *number;
                    (card, Some(name.clone()))
                });
                let Some(id) = id else { return };
                let path = format!("/api/v1/terminals/{id}");
                let answer = api.send("PUT", &path, &terminal(&name, card));
                if answer.status == 200 {
                    done(&all.terminals, &id);
                }
            }
            Act::Delete => {
                let id = own(&all.terminals, (at, number), is_there, |(card, _)| {
                    (*card, None)
                });
                let Some(id) = id else { return };
                let answer = api.delete(&format!("/api/v1/terminals/{id}"));
                if answer.status == 204 {
                    done(&all.terminals, &id);
                }
            }
            Act::Upload => {
                let content = content_of(number);
                let name = format!("file-{number}");
                if upload(&api, &name, &content) {
                    let one_of = vec![content];
                    let mut files = all.files.lock().expect("no panic");
                    files.insert(name, Expected { of: at, one_of });
                }
            }
            Act::Replace => {
                let content = content_of(number);
                let name = own(&all.files, (at, number), |_| true, |_| content.clone());
                let Some(name) = name else { return };
                if upload(&api, &name, &content) {
                    done(&all.files, &name);
                }
            }
        }
        poll::try_until(EDIT_PAUSE, || None::<()>);
    }

    /// Some terminals, with both servers in their list: none of them fails.
    fn boot(&self) {
        let first = self.boots.fetch_add(1, Ordering::Relaxed) as usize % 2;
        let terminals = Terminals {
            host: self.clients,
            clients: BOOTS_AT_ONCE,
            file: FIRMWARE,
            content: &self.firmware,
            deadline_s: BOOT_PATIENCE_S,
        };
        let _ = terminals.boot(&[self.tftp[first], self.tftp[1 - first]]);
    }

    /// Both servers are the same, and have all that was acknowledged by either.
    fn is_nowhere_lost(&self, servers: &[Server; 2], least: u32, state: &str) {
        wait_until_equal(servers, state);
        let terminals = self.acknowledged.terminals.lock().expect("no panic");
        let files = self.acknowledged.files.lock().expect("no panic");
        let boots = self.boots.load(Ordering::Relaxed);
        println!(
            "acknowledged: {} terminals, {} files; {} boots",
            terminals.len(),
            files.len(),
            boots * BOOTS_AT_ONCE
        );
        assert!(terminals.len() as u32 > least && !files.is_empty());
        assert!(boots > least / 2);
        let has_all = |server: &Server| {
            let there = names_of_terminals(&server.api());
            for (id, expected) in &*terminals {
                let name = there.get(id);
                let mut one_of = expected.one_of.iter();
                let is_it = one_of.any(|(_, expected)| expected.as_ref() == name);
                assert!(is_it, "{id}: {name:?}, and not {:?}", expected.one_of);
            }
            for (name, expected) in &*files {
                server.wait_until_served_one_of(name, &expected.one_of);
            }
        };
        std::thread::scope(|scope| {
            for server in servers {
                scope.spawn(|| has_all(server));
            }
        });
    }
}

/// Waits until both hold the same and are in this state: as long as anything comes, because large images take their time on a busy machine.
fn wait_until_equal(servers: &[Server; 2], state: &str) {
    let mut to_go = [Value::Null, Value::Null];
    loop {
        let stand = || [&servers[0], &servers[1]].map(Server::status);
        let moved = poll::try_until(PATIENCE, || {
            let [ours, theirs] = stand();
            let quiet = ours["state"] == state && theirs["state"] == state;
            let equal = ours["head"] == theirs["taken_in"] && theirs["head"] == ours["taken_in"];
            if quiet && equal {
                return Some(false);
            }
            let now = [&ours, &theirs].map(|status| status["to_go"].clone());
            let before = std::mem::replace(&mut to_go, now);
            (before != to_go).then_some(true)
        });
        match moved {
            Some(true) => {}
            Some(false) => return,
            None => panic!("they are not the same, and nothing moves: {:#?}", stand()),
        }
    }
}

fn content_of(number: u32) -> Vec<u8> {
    content::octets(u64::from(number) + 1000, 150_000)
}

/// Whether it was acknowledged.
fn upload(api: &Api<'_>, name: &str, content: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("content");
    std::fs::write(&file, content).expect("own folder");
    let file = file.to_str().expect("a plain path");
    let path = format!("/api/v1/files/{name}");
    let answer = api.curl("PUT", &path, &["--upload-file", file]);
    matches!(answer.status, 200 | 201)
}

/// Every terminal that a server knows.
fn names_of_terminals(api: &Api<'_>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let mut path = "/api/v1/terminals?limit=500".to_owned();
    loop {
        let page = api.get(&path).expect(200).json();
        for item in page["items"].as_array().expect("items") {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            names.insert(text(&item["id"]), text(&item["body"]["name"]));
        }
        let Some(next) = page["next"].as_str() else {
            return names;
        };
        path = format!("/api/v1/terminals?limit=500&after={next}");
    }
}

/// Says that it is over, when it is gone.
struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
