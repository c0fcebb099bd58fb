//! Two real servers while their programs are killed at random, in the middle of edits and uploads on both: nothing that was
//! acknowledged is lost, both end the same, and terminals boot all the while.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use daybreak_tests::administration::Api;
use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::pair::{PATIENCE, Server, pair, terminal};
use daybreak_tests::world::prng::Prng;
use daybreak_tests::{content, poll};

/// What is there from the beginning, and booted by terminals all the while.
const FIRMWARE: &str = "firmware.bin";

/// How long a client may wait for a server that is being started again.
const BOOT_PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn c101_kills_at_any_point_lose_nothing_that_was_acknowledged_and_boots_go_on() {
    kill_rounds(1, 10);
}

#[test]
#[ignore = "long: make test-long"]
fn c101_a_hundred_kills_lose_nothing_that_was_acknowledged_and_boots_go_on() {
    kill_rounds(2, 100);
}

/// What was acknowledged: terminals by identifier, files by name.
#[derive(Default)]
struct Acknowledged {
    terminals: Mutex<BTreeMap<String, String>>,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

fn kill_rounds(seed: u64, rounds: u32) {
    let mut dice = Prng::new(seed, "kills");
    let mut servers = [Server::new("a"), Server::new("b")];
    let firmware = content::octets(seed, 300_000);
    servers[0].upload(FIRMWARE, &firmware);
    let _ = pair(&servers[0], &servers[1]);
    servers[1].wait_until_served(FIRMWARE, &firmware);
    let doors = [&servers[0], &servers[1]].map(Server::url_and_key);
    let tftp = [servers[0].tftp(), servers[1].tftp()];
    let acknowledged = Acknowledged::default();
    let (serial, ends, boots) = (AtomicU32::new(0), AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let (acknowledged, serial, ends, boots, firmware) =
            (&acknowledged, &serial, &ends, &boots, &firmware);
        for (url, key) in &doors {
            scope.spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    edit(&Api::at(url, key), serial, acknowledged);
                }
            });
        }
        // A client with both servers in its list: the first that answers.
        scope.spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                poll::until("a boot from either server", BOOT_PATIENCE, || {
                    let from = |server| Fetch::new(Client::Curl, server).run(FIRMWARE).content;
                    let image = from(tftp[0]).or_else(|| from(tftp[1]))?;
                    assert!(image == *firmware, "a boot got other octets");
                    Some(())
                });
                boots.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..rounds {
            let until = serial.load(Ordering::Relaxed) + 1 + dice.below(6) as u32;
            poll::until("some edits", PATIENCE, || {
                (serial.load(Ordering::Relaxed) >= until).then_some(())
            });
            let at = dice.count(0, 1);
            if dice.chance(700) {
                servers[at].kill();
                servers[at].start();
            } else {
                servers[at].kill_engine();
                servers[at].start_engine();
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    for server in &servers {
        server.wait_for_state("in-sync");
    }
    let [ours, theirs] = [&servers[0], &servers[1]].map(Server::status);
    assert_eq!(ours["head"], theirs["taken_in"]);
    assert_eq!(theirs["head"], ours["taken_in"]);
    let terminals = acknowledged.terminals.into_inner().expect("no panic");
    let files = acknowledged.files.into_inner().expect("no panic");
    assert!(terminals.len() as u32 > rounds && !files.is_empty());
    assert!(boots.into_inner() > rounds);
    for server in &servers {
        for (id, name) in &terminals {
            let body = server
                .terminal(id)
                .unwrap_or_else(|| panic!("{name} is lost"));
            assert_eq!(body["name"], **name);
        }
        for (name, content) in &files {
            server.wait_until_served(name, content);
        }
    }
}

/// One terminal, and sometimes a file. What is not answered may have happened, or not.
fn edit(api: &Api<'_>, serial: &AtomicU32, acknowledged: &Acknowledged) {
    let number = serial.fetch_add(1, Ordering::Relaxed);
    if number % 4 == 3 {
        let name = format!("file-{number}");
        let content = content::octets(u64::from(number) + 1000, 150_000);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("content");
        std::fs::write(&file, &content).expect("own folder");
        let file = file.to_str().expect("a plain path");
        let answer = api.curl(
            "PUT",
            &format!("/api/v1/files/{name}"),
            &["--upload-file", file],
        );
        if answer.status == 201 {
            let mut files = acknowledged.files.lock().expect("no panic");
            files.insert(name, content);
        }
        return;
    }
    let name = format!("t{number}");
    let answer = api.send("POST", "/api/v1/terminals", &terminal(&name, number));
    if answer.status == 201 {
        let id = answer.json()["id"]
            .as_str()
            .expect("an identifier")
            .to_owned();
        let mut terminals = acknowledged.terminals.lock().expect("no panic");
        terminals.insert(id, name);
    }
}
