//! `kill -9` of the real server in the middle of a backup and of a restore: the state before or the state after.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daybreak_admin::backup::{Folder, Images, Order, Reason, Restoring, make, plan};
use daybreak_admin::configuration::{Configuration, Edit, Expected};
use daybreak_admin::edge::Machine;
use daybreak_admin::kind::{Body, Kind};
use daybreak_admin::object::Id;
use daybreak_admin::security::Gate;
use daybreak_store::{Content, Name, Store};
use serde_json::{Value, json};
use support::{actor, mac, until};

const TERMINALS: u32 = 400;
const ROUNDS: u64 = 6;
const ROUNDS_LONG: u64 = 200;

/// A data directory with two backups, `a` and `b`, of different states, and an API key.
struct Plant {
    dir: tempfile::TempDir,
    key: String,
    states: [State; 2],
}

/// What is configured and what is stored.
type State = (Vec<String>, BTreeMap<String, u64>);

impl Plant {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        let data = dir.path().join("data");
        let store = Store::open(&data).expect("opens");
        let configuration = Arc::new(open(&data));
        let (gate, _) = Gate::open(Arc::clone(&configuration)).expect("opens");
        let rights = [
            "backups.restore",
            "backups.create",
            "backups.read",
            "publication.read",
        ];
        let key = Body::parse_request(Kind::ApiKey, &json!({"name": "test", "rights": rights}));
        let (_, secret) = gate
            .issue_key(&actor(), key.expect("valid"))
            .expect("issued");
        let terminal = |name: String, number: u32| {
            Body::parse_request(
                Kind::Terminal,
                &json!({"name": name, "macs": [mac(number)]}),
            )
            .expect("valid")
        };
        let all = (0..TERMINALS).map(|number| Edit::Create(terminal(format!("a{number}"), number)));
        let made = configuration.apply(&actor(), all.collect()).expect("made");
        put(&store, "file", 3_000_000, 1);
        put(&store, "only-a", 2_000_000, 2);
        let a = back_up(&store, &configuration, "a");
        let others = made.into_iter().flatten().zip(0..);
        let edits = others.map(|(object, number)| Edit::Replace {
            id: object.id.clone(),
            body: terminal(format!("b{number}"), number + TERMINALS / 2),
            expected: Expected::Any,
        });
        // Cards move from one to another: in the end each has one, so the later ones are changed first.
        let edits: Vec<Edit> = edits.collect();
        configuration
            .apply(&actor(), edits.into_iter().rev().collect())
            .expect("changed");
        put(&store, "file", 3_000_001, 3);
        put(&store, "only-b", 2_000_000, 4);
        store
            .begin()
            .and_then(|mut draft| {
                draft.remove("only-a");
                draft.publish()
            })
            .expect("published");
        let b = back_up(&store, &configuration, "b");
        let before = configuration.site().change();
        drop((gate, configuration));
        let plant = Plant {
            key: secret.reveal().to_owned(),
            states: [a, b],
            dir,
        };
        // Seats are given when the server starts: a change, which would outdate a plan.
        let serving = plant.serve();
        until("seats", || {
            let view = serving.send("GET", "/api/v1/publication", "");
            (view["published_change"].as_u64() > Some(before)).then_some(())
        });
        drop(serving);
        plant
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What is configured and stored, once all of it is published.
    fn state(&self) -> State {
        let serving = self.serve();
        until("publication", || {
            let view = serving.send("GET", "/api/v1/publication", "");
            (view["published_change"] == view["change"]).then_some(())
        });
        drop(serving);
        let store = Store::open(&self.data()).expect("opens");
        let site = open(&self.data()).site();
        state(&store, &site)
    }

    fn serve(&self) -> Serving {
        let mut child = Command::new(env!("CARGO_BIN_EXE_daybreak-admin"))
            .arg("--data")
            .arg(self.data())
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "error"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        // Kept open: it says more than the address.
        let mut told = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        told.read_line(&mut first).expect("a line");
        let first = first.trim_end();
        let address = first
            .split_once("http://")
            .expect("an address")
            .1
            .to_owned();
        Serving {
            child,
            _told: told,
            address,
            key: self.key.clone(),
        }
    }
}

fn open(data: &Path) -> Configuration {
    Configuration::open(
        &data.join("config.db"),
        Arc::new(Machine),
        Arc::new(Machine),
    )
    .expect("opens")
}

fn put(store: &Store, name: &str, bytes: usize, seed: u8) {
    let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8 ^ seed).collect();
    let mut go_on = |_| std::ops::ControlFlow::Continue(());
    let staged = store
        .stage(&mut &content[..], None, &mut go_on)
        .expect("staged");
    let mut draft = store.begin().expect("begun");
    draft
        .put_staged(Name::parse(name.as_bytes()).expect("a name"), staged)
        .expect("put");
    draft.publish().expect("published");
}

fn back_up(store: &Store, configuration: &Configuration, id: &str) -> State {
    let site = configuration.site();
    let order = Order {
        id: Id::parse(id).expect("an identifier"),
        created_ms: 1,
        node: configuration.node(),
        reason: Reason::Manual,
        schedule: None,
        images: Images::All,
    };
    let mut go_on = |_| std::ops::ControlFlow::Continue(());
    make(store, site.objects(), order, &mut go_on).expect("made");
    state(store, &site)
}

fn state(store: &Store, site: &daybreak_admin::site::Site) -> State {
    let terminals = site.table(Kind::Terminal).objects();
    let bodies = terminals.map(|object| {
        let mut body = object.body.stored();
        // A seat is given here and now, and is in no backup's state.
        body["seat"].take();
        format!("{} {body}", object.id)
    });
    let published = store.published().expect("whole");
    let files = published
        .entries()
        .filter_map(|(_, view)| match view.content {
            Content::Image(hash) => {
                assert!(store.has_image(&hash, view.len), "{} is there", view.name);
                Some((view.name.to_owned(), view.len))
            }
            Content::Inline(_) => None,
        });
    (bodies.collect(), files.collect())
}

struct Serving {
    child: Child,
    _told: BufReader<ChildStdout>,
    address: String,
    key: String,
}

impl Serving {
    fn send(&self, method: &str, path: &str, json: &str) -> Value {
        let mut stream = TcpStream::connect(&self.address).expect("connect");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            self.key,
            json.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        // How it is closed is not the point.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        let body = answer.split_once("\r\n\r\n").expect("an answer").1;
        serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {answer}"))
    }

    /// Lets it live so long, and kills it: the pause is the fault, not a wait for a state.
    fn killed_after(mut self, life: Duration) {
        let until = Instant::now() + life;
        while Instant::now() < until {
            std::thread::park_timeout(until - Instant::now());
        }
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn kill_restores(rounds: u64) {
    let plant = Plant::new();
    let mut seed = 5;
    // As long as a restore takes here, measured once: kills fall into all of it.
    let mut whole_us = 0;
    let mut now = 1;
    let (mut kept, mut done) = (0, 0);
    for round in 0..=rounds {
        let target = 1 - now;
        let serving = plant.serve();
        let backup = ["a", "b"][target];
        let planned = serving.send(
            "POST",
            "/api/v1/restores",
            &json!({"backup": backup}).to_string(),
        );
        let place = format!(
            "/api/v1/restores/{}",
            planned["id"].as_str().expect("an identifier")
        );
        let state_of = |wanted: &str| {
            until("the restore", || {
                let view = serving.send("GET", &place, "");
                assert_ne!(view["state"], "failed", "{view}");
                (view["state"] == wanted).then_some(())
            });
        };
        state_of("planned");
        let started = Instant::now();
        serving.send("POST", &format!("{place}/start"), "");
        if round == 0 {
            state_of("done");
            whole_us = u64::try_from(started.elapsed().as_micros()).expect("short");
            serving.killed_after(Duration::ZERO);
        } else {
            serving.killed_after(Duration::from_micros(
                random(&mut seed) % (whole_us * 5 / 4),
            ));
        }
        let state = plant.state();
        let found = plant.states.iter().position(|known| *known == state);
        let found = found
            .unwrap_or_else(|| panic!("round {round}: neither the state before nor the one after"));
        if found == now {
            kept += 1;
        } else {
            done += 1;
        }
        now = found;
    }
    println!("{kept} kept the state before, {done} have the state after, of {whole_us} us each");
    let data = plant.data();
    assert_eq!(
        std::fs::read_dir(data.join("backups"))
            .expect("a folder")
            .filter(|entry| {
                entry.as_ref().is_ok_and(|entry| {
                    entry
                        .path()
                        .extension()
                        .is_some_and(|ending| ending == "partial")
                })
            })
            .count(),
        0,
        "a start cleans up"
    );
}

#[test]
fn a_server_killed_in_a_restore_has_the_state_before_or_after() {
    kill_restores(ROUNDS);
}

#[test]
#[ignore = "long: make test-long"]
fn a_server_killed_in_many_restores_has_the_state_before_or_after() {
    kill_restores(ROUNDS_LONG);
}

#[test]
fn a_server_killed_in_a_backup_has_it_whole_or_not_at_all() {
    let plant = Plant::new();
    let mut seed = 11;
    let mut whole_us = 0;
    for round in 0..=ROUNDS {
        let serving = plant.serve();
        let started = Instant::now();
        let begun = serving.send("POST", "/api/v1/backups", r#"{"images": true}"#);
        if round == 0 {
            // As long as it takes here: kills fall into all of it.
            let id = begun["id"].as_str().expect("an identifier");
            until("the backup", || {
                let view = serving.send("GET", &format!("/api/v1/backups/{id}"), "");
                (view["state"] == "done").then_some(())
            });
            whole_us = u64::try_from(started.elapsed().as_micros()).expect("short");
        } else {
            let life_us = random(&mut seed) % (whole_us * 5 / 4);
            serving.killed_after(Duration::from_micros(life_us));
        }
    }
    drop(plant.serve());
    let store = Store::open(&plant.data()).expect("opens");
    let site = open(&plant.data()).site();
    let names = std::fs::read_dir(plant.data().join("backups")).expect("a folder");
    let names: Vec<String> = names
        .map(|entry| {
            entry
                .expect("a name")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert!(
        names.iter().all(|name| name.ends_with(".backup")),
        "{names:?}"
    );
    let ids = Folder::of(&store).ids().expect("listed");
    println!(
        "{} of {ROUNDS} were whole, of {whole_us} us each",
        ids.len() - 3
    );
    for id in ids {
        let mut go_on = |_| std::ops::ControlFlow::Continue(());
        let whole = plan(&store, &site, &id, Restoring::default(), &mut go_on);
        assert!(whole.is_ok(), "{id}: {whole:?}");
    }
}

#[test]
fn the_command_line_backs_up_beside_the_server_and_restores_without_it() {
    let plant = Plant::new();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daybreak-admin"));
        let output = command
            .arg("--data")
            .arg(plant.data())
            .args(args)
            .output()
            .expect("runs");
        let told = [&output.stdout[..], &output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&told).into_owned(),
        )
    };
    let file = plant.dir.path().join("copy.backup");
    let copy = file.to_str().expect("UTF-8");
    let serving = plant.serve();
    let (code, told) = run(&["backup", "--images", "--output", copy]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = run(&["restore", "a", "--yes"]);
    assert!(
        code == Some(1) && told.contains("another daybreak-admin has the configuration"),
        "{told}"
    );
    drop(serving);

    let (code, told) = run(&["restore", "a"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("terminal: 0 added, 400 changed, 0 removed") && told.contains("  - only-b"),
        "{told}"
    );
    assert_eq!(
        plant.state(),
        plant.states[1],
        "it only showed what it would do"
    );
    let (code, told) = run(&["restore", "a", "--yes"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(plant.state(), plant.states[0]);

    // From the copy, on a machine that has nothing.
    let fresh = plant.dir.path().join("fresh");
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybreak-admin"));
    let output = command
        .arg("--data")
        .arg(&fresh)
        .args(["restore", copy, "--yes"])
        .output()
        .expect("runs");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let store = Store::open(&fresh).expect("opens");
    assert_eq!(state(&store, &open(&fresh).site()), plant.states[1]);

    let mut octets = std::fs::read(&file).expect("read");
    octets.truncate(octets.len() - 1);
    std::fs::write(&file, octets).expect("written");
    let moved = plant.dir.path().join("cut.backup");
    std::fs::rename(&file, &moved).expect("renamed");
    let (code, told) = run(&["restore", moved.to_str().expect("UTF-8"), "--yes"]);
    assert!(code == Some(3) && told.contains("cut off"), "{told}");
}
