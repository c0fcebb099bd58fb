//! What terminals do is told: the engine's journal, the administration that follows it, and the lights, on the real programs.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use daybreak_tests::administration::Api;
use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::host::{Host, Private};
use daybreak_tests::metrics::Metrics;
use daybreak_tests::raw::RawClient;
use daybreak_tests::site::{Engine, Site};
use daybreak_tests::{content, poll, programs};
use daybreak_tftp::status::{Content, DATAGRAM_BYTES, PORT, Packet, Report, Repr, Stage, Verdict};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn mac(number: u32) -> String {
    let [_, b, c, d] = number.to_be_bytes();
    format!("52:54:00:{b:02x}:{c:02x}:{d:02x}")
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole"
)]
fn number(metrics: &Metrics, name: &str) -> u64 {
    metrics.sum(name) as u64
}

fn terminal(api: &Api<'_>, number: u32) -> String {
    let body = json!({"name": format!("kiosk-{number}"), "macs": [mac(number)]});
    api.create("/api/v1/terminals", &body)
}

/// Waits until the engine serves what is configured.
fn wait_until_served(api: &Api<'_>, engine: &Engine) {
    api.wait_until_published();
    let publication = api.get("/api/v1/publication").expect(200).json();
    let generation = publication["generation"].as_u64().expect("a generation");
    poll::until("the catalog in service", PATIENCE, || {
        (number(&engine.metrics(), "daybreak_engine_catalog_generation") >= generation)
            .then_some(())
    });
}

fn events(api: &Api<'_>, query: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut before = String::new();
    loop {
        let page = api.get(&format!("/api/v1/events?limit=500&{query}{before}"));
        let page = page.expect(200).json();
        found.extend(page["items"].as_array().expect("items").clone());
        match page["next"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => return found,
        }
    }
}

fn wait_for_events(api: &Api<'_>, query: &str, count: usize) -> Vec<Value> {
    poll::until("the events", PATIENCE, || {
        Some(events(api, query)).filter(|found| found.len() >= count)
    })
}

fn light(api: &Api<'_>, id: &str) -> (String, Value) {
    let status = api.get(&format!("/api/v1/terminals/{id}/status"));
    let status = status.expect(200).json();
    let light = status["lights"][0]["light"].as_str().expect("a light");
    (light.to_owned(), status)
}

fn wait_for_light(api: &Api<'_>, id: &str, wanted: &str) -> Value {
    poll::until(&format!("the light to be {wanted}"), PATIENCE, || {
        let (light, status) = light(api, id);
        (light == wanted).then_some(status)
    })
}

/// Boots without firmware: the script, then the configuration, as a terminal's loader and its software do.
fn boot(engine: SocketAddr, number: u32) {
    for name in [
        format!("boot/{}.ipxe", mac(number)),
        format!("terminals/{}.json", mac(number)),
    ] {
        let fetched = Fetch::new(Client::Curl, engine).run(&name).content;
        assert!(fetched.is_some(), "{name}");
    }
}

#[test]
fn a_boot_shows_in_the_events_and_turns_the_light_green() {
    let site = Site::new();
    let administration = site.administration(&[]);
    let engine = site.engine(&[]);
    let api = administration.set_up();
    let kernel = content::octets(1, 300_000);
    site.import("firmware/linux/1/vmlinuz", &kernel);
    let id = terminal(&api, 1);
    wait_until_served(&api, &engine);
    assert_eq!(light(&api, &id).0, "grey");

    // Each file by another of the real clients.
    let at = engine.address();
    let script = format!("boot/{}.ipxe", mac(1));
    let configuration = format!("terminals/{}.json", mac(1));
    assert!(
        Fetch::new(Client::TftpHpa, at)
            .run(&script)
            .content
            .is_some()
    );
    Fetch::new(Client::Atftp, at).expect("firmware/linux/1/vmlinuz", &kernel);
    wait_for_light(&api, &id, "green");
    assert!(
        Fetch::new(Client::Curl, at)
            .run(&configuration)
            .content
            .is_some()
    );
    let told = wait_for_events(&api, &format!("terminal={id}"), 4);
    let kinds: Vec<_> = told
        .iter()
        .rev()
        .map(|event| event["kind"].clone())
        .collect();
    assert_eq!(
        kinds,
        ["boot-started", "progress", "progress", "boot-finished"]
    );
    let [finished, firmware, script_done, _] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(script_done["details"]["stage"], "script");
    assert_eq!(firmware["details"]["bytes"], 300_000);
    assert_eq!(
        (&firmware["source"], &finished["source"]),
        (&json!("address"), &json!("name"))
    );
    for event in [firmware, finished] {
        assert_eq!(event["name"], "kiosk-1");
        assert_eq!(event["mac"], mac(1));
        assert_eq!(event["address"], "127.0.0.1");
        assert_eq!(event["server"], "127.0.0.1");
    }
    assert!(finished["details"]["boot"]["bytes"].as_u64() > Some(300_000));
    let status = wait_for_light(&api, &id, "green");
    assert_eq!(status["last_boot"]["finished_ms"], finished["time_ms"]);

    // A card that is nobody's is told of once, however often it asks.
    for _ in 0..5 {
        let name = format!("pxelinux.cfg/01-{}", mac(9).replace(':', "-"));
        assert_eq!(Fetch::new(Client::Curl, at).run(&name).content, None);
    }
    let strangers = wait_for_events(&api, "kind=unknown-terminal", 1);
    assert_eq!(strangers.len(), 1);
    assert_eq!(strangers[0]["mac"], mac(9));

    // A disabled terminal is told so, where a machine reads it and where a person does.
    let off = json!({"enabled": false});
    api.send("PATCH", &format!("/api/v1/terminals/{id}"), &off)
        .expect(200);
    wait_until_served(&api, &engine);
    assert_eq!(
        Fetch::new(Client::Curl, at).run(&configuration).content,
        None
    );
    let script = Fetch::new(Client::Curl, at)
        .run(&script)
        .content
        .expect("served");
    assert!(String::from_utf8_lossy(&script).contains("disabled"));
    let refused = RawClient::new(at);
    refused.send(&[b"\0\x01", configuration.as_bytes(), b"\0octet\0"].concat());
    let (error, _) = refused.receive().expect("an answer");
    assert_eq!(error[..4], [0, 5, 0, 2]);
    assert!(
        String::from_utf8_lossy(&error).contains("disabled"),
        "{error:?}"
    );
}

#[test]
fn where_a_stand_in_is_published_an_unknown_card_gets_it_and_is_told_of() {
    let site = Site::new();
    site.import("boot/unknown.ipxe", b"#!ipxe\nshell\n");
    let engine = site.engine(&[]);
    let name = format!("boot/{}.ipxe", mac(9));
    Fetch::new(Client::Curl, engine.address()).expect(&name, b"#!ipxe\nshell\n");
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let strangers = wait_for_events(&api, "kind=unknown-terminal", 1);
    assert_eq!(strangers[0]["details"]["file"], name);
}

#[test]
fn an_administration_that_is_killed_again_and_again_counts_every_boot_once() {
    const TERMINALS: u32 = 10;
    let site = Site::new();
    let administration = site.administration(&[]);
    let engine = site.engine(&[]);
    let api = administration.set_up();
    for number in 0..TERMINALS {
        let _ = terminal(&api, number);
    }
    wait_until_served(&api, &engine);
    let key = api.key().expect("a key").to_owned();
    let (stop, boots) = (AtomicBool::new(false), AtomicU64::new(0));
    let at = engine.address();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                boot(at, number % TERMINALS);
                boots.fetch_add(1, Ordering::Relaxed);
                number += 1;
            }
        });
        let mut administration = administration;
        for _ in 0..5 {
            let before = boots.load(Ordering::Relaxed);
            poll::until("some boots", PATIENCE, || {
                (boots.load(Ordering::Relaxed) > before + 7).then_some(())
            });
            administration.kill();
            administration = site.administration(&[]);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let administration = site.administration(&[]);
    let api = administration.with_key(&key);
    let boots = boots.load(Ordering::Relaxed);
    poll::until("all boots", PATIENCE, || {
        (events(&api, "kind=boot-finished").len() as u64 >= boots).then_some(())
    });
    // What comes after the last boot has been read, too: there is no more to come.
    engine.terminate(PATIENCE);
    let restarted = site.engine(&[]);
    wait_for_events(&api, "kind=engine-started", 2);
    assert_eq!(events(&api, "kind=boot-finished").len() as u64, boots);
    assert_eq!(events(&api, "kind=boot-started").len() as u64, boots);
    drop(restarted);
}

#[test]
fn an_engine_that_is_killed_leaves_a_journal_that_is_read_up_to_its_torn_end() {
    let site = Site::new();
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let id = terminal(&api, 1);
    let engine = site.engine(&[]);
    wait_until_served(&api, &engine);
    boot(engine.address(), 1);
    wait_for_events(&api, "kind=boot-finished", 1);
    engine.kill();
    // As if it had been killed in the middle of a write.
    let journal = site.data().join("events/engine-0000000001.journal");
    let mut journal = std::fs::OpenOptions::new()
        .append(true)
        .open(journal)
        .expect("there");
    journal
        .write_all(&[90, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        .expect("written");
    let engine = site.engine(&[]);
    boot(engine.address(), 1);
    wait_for_events(&api, "kind=boot-finished", 2);
    engine.terminate(PATIENCE);
    wait_for_events(&api, "kind=engine-stopped", 1);
    let kinds: Vec<_> = events(&api, "")
        .iter()
        .rev()
        .map(|event| event["kind"].clone())
        .collect();
    let boot = ["boot-started", "progress", "boot-finished"];
    let wanted = [
        &["engine-started"][..],
        &boot,
        &["engine-started"],
        &boot,
        &["engine-stopped"],
    ];
    assert_eq!(kinds, wanted.concat());
    assert_eq!(light(&api, &id).0, "green");
}

#[test]
fn on_a_full_disk_boots_go_on_and_what_was_not_written_is_counted() {
    let host = Arc::new(Host::new(Private::Mounts));
    let site = Site::inside(&host);
    site.import("image", &content::octets(3, 100_000));
    let events = site.data().join("events");
    let events = events.to_str().expect("a plain path");
    host.run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", events]);
    let engine = site.engine(&[]);
    let fill = format!("{events}/other");
    host.run("sh", &["-c", &format!("cat /dev/zero > {fill} || true")]);
    let lost = || {
        number(
            &engine.metrics(),
            "daybreak_engine_journal_events_lost_disk_total",
        )
    };
    // Many at a time: what a full disk has left in the journal's last page takes some dozens of events.
    let server = engine.address().to_string();
    poll::until("losses", PATIENCE, || {
        let booted = host
            .command(programs::ours("daybreak-loadtest"))
            .args(["--server", &server, "--file", "image", "--clients", "100"])
            .output()
            .expect("a program of ours");
        assert!(booted.status.success(), "{booted:?}");
        (lost() > 0).then_some(())
    });
    host.run("rm", &[&fill]);
    let written = || number(&engine.metrics(), "daybreak_engine_journal_events_total");
    let before = written();
    poll::until("events to be written again", PATIENCE, || {
        Fetch::new(Client::Curl, engine.address())
            .inside(&host)
            .expect("image", &content::octets(3, 100_000));
        (written() > before).then_some(())
    });
}

/// A terminal's side of the status datagram, and an engine to talk to.
struct Reporting {
    socket: UdpSocket,
    key: [u8; 32],
    mac: [u8; 6],
}

impl Reporting {
    fn new(engine: &Engine, file: &Value) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(engine.status()).expect("connected");
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        let key = file["status"]["key"].as_str().expect("a key");
        let octet = |at: usize| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).expect("digits");
        Reporting {
            socket,
            key: std::array::from_fn(octet),
            mac: [0x52, 0x54, 0, 0, 0, 1],
        }
    }

    fn datagram(&self, counter: u64, stage: Stage) -> [u8; DATAGRAM_BYTES] {
        let repr = Repr {
            mac: self.mac,
            counter,
            content: Content::Report(Report {
                stage,
                sessions: 1,
                uptime_s: 5,
                interval_s: 60,
            }),
        };
        repr.emit(|signed| {
            *blake3::keyed_hash(&self.key, signed)
                .as_bytes()
                .first_chunk()
                .expect("32")
        })
    }

    fn send(&self, datagram: &[u8]) -> Option<(Verdict, u64)> {
        self.socket.send(datagram).expect("sent");
        let mut answer = [0; 100];
        let len = self.socket.recv(&mut answer).ok()?;
        let packet = Packet::parse(&answer[..len]).expect("an answer");
        match Repr::parse(&packet).expect("an answer") {
            Repr {
                counter,
                content: Content::Answer(verdict),
                ..
            } => Some((verdict, counter)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_terminal_reports_and_what_is_forged_replayed_or_oversize_changes_nothing() {
    let site = Site::new();
    let administration = site.administration(&[]);
    let engine = site.engine(&[]);
    let api = administration.set_up();
    let id = terminal(&api, 1);
    wait_until_served(&api, &engine);
    let configuration = Fetch::new(Client::Curl, engine.address())
        .run(&format!("terminals/{}.json", mac(1)))
        .content
        .expect("served");
    let file: Value = serde_json::from_slice(&configuration).expect("JSON");
    assert_eq!(file["status"]["port"], PORT);

    // The program that operators have, with the file that the terminal has.
    let path = site.source("configuration.json", &configuration);
    let report = |stage: &str| {
        let mut command = programs::dying_with_test(programs::ours("daybreak-loadtest"));
        let to = engine.status().to_string();
        command.args([
            "status",
            "--server",
            &to,
            "--sessions",
            "3",
            "--stage",
            stage,
        ]);
        command
            .arg("--configuration")
            .arg(&path)
            .output()
            .expect("the program is built")
    };
    assert!(report("running").status.success());
    let status = poll::until("the report", PATIENCE, || {
        let status = light(&api, &id).1;
        (status["sessions"] == 3).then_some(status)
    });
    assert_eq!(
        (&status["stage"], &status["lights"][0]["light"]),
        (&json!("running"), &json!("green"))
    );
    assert!(report("failed").status.success());
    let red = wait_for_light(&api, &id, "red");
    assert!(
        red["lights"][0]["why"]
            .as_str()
            .expect("a reason")
            .contains("failed")
    );
    assert!(report("running").status.success());
    wait_for_light(&api, &id, "green");

    let reporting = Reporting::new(&engine, &file);
    let stale = reporting.send(&reporting.datagram(1, Stage::Failed));
    let Some((Verdict::Stale, highest)) = stale else {
        panic!("{stale:?}");
    };
    let good = reporting.datagram(highest + 1, Stage::Running);
    assert_eq!(reporting.send(&good), Some((Verdict::Taken, highest + 1)));
    assert_eq!(
        reporting.send(&good),
        Some((Verdict::Stale, highest + 1)),
        "a replay"
    );
    // Not one of these is believed, nor answered.
    let mut forged = reporting.datagram(highest + 9, Stage::Failed);
    forged[24] = Stage::Failed as u8;
    forged[DATAGRAM_BYTES - 1] ^= 1;
    let mut stranger = good;
    stranger[15] = 99;
    let oversize = [&good[..], &[0; 60_000]].concat();
    let quiet = Some(Duration::from_millis(100));
    reporting.socket.set_read_timeout(quiet).expect("a timeout");
    for datagram in [
        &forged[..],
        &stranger,
        &oversize,
        &good[..20],
        b"",
        &[0xff; DATAGRAM_BYTES],
    ] {
        assert_eq!(reporting.send(datagram), None);
    }
    let metrics = engine.metrics();
    assert_eq!(number(&metrics, "daybreak_engine_status_forged_total"), 1);
    assert_eq!(number(&metrics, "daybreak_engine_status_stale_total"), 2);
    assert_eq!(number(&metrics, "daybreak_engine_status_unknown_total"), 1);
    assert!(number(&metrics, "daybreak_engine_status_malformed_total") >= 4);
    assert_eq!(light(&api, &id).0, "green");
    // An engine that has forgotten everything does not believe what was recorded before it.
    engine.kill();
    let engine = site.engine(&[]);
    let reporting = Reporting::new(&engine, &file);
    assert!(matches!(reporting.send(&good), Some((Verdict::Stale, _))));
    // In order, it says that it ends; then nobody can hear the terminal.
    engine.terminate(PATIENCE);
    let grey = wait_for_light(&api, &id, "grey");
    assert!(
        grey["lights"][0]["why"]
            .as_str()
            .expect("a reason")
            .contains("engine")
    );
}

#[test]
fn a_flood_of_reports_is_bounded_and_boots_go_on() {
    let site = Site::new();
    let image = content::octets(4, 200_000);
    site.import("image", &image);
    let engine = site.engine(&[]);
    let stop = AtomicBool::new(false);
    let before = engine.memory();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            let mut datagram = [0; DATAGRAM_BYTES];
            datagram[..9].copy_from_slice(b"dbstatus\x01");
            for number in 0_u64.. {
                datagram[10..16].copy_from_slice(&number.to_be_bytes()[2..]);
                let _ = socket.send_to(&datagram, engine.status());
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..10 {
            Fetch::new(Client::Curl, engine.address()).expect("image", &image);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let metrics = engine.metrics();
    assert!(number(&metrics, "daybreak_engine_status_over_limit_total") > 0);
    assert_eq!(number(&metrics, "daybreak_engine_status_taken_total"), 0);
    assert!(engine.memory() < before + (32 << 20), "nothing piles up");
}
