//! Events over HTTP: what a journal says is listed, streamed, counted once, kept for a while, and turns lights.

mod support;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use daybreak_store::Mac;
use daybreak_store::journal::{
    Cause, Client as Who, Event, JournalWriter, Report, Source, Stage, Terminal, What, Why,
};
use serde_json::{Value, json};
use support::api::{Client, Server};
use support::{mac, until};

const NOW: u64 = 1_700_000_000_000;

struct Plant {
    server: Server,
    writer: RefCell<JournalWriter>,
    terminal: String,
}

impl Plant {
    fn new() -> Self {
        let server = Server::set_up();
        let admin = server.admin();
        let kiosk = json!({"name": "kiosk-1", "macs": [mac(1)]});
        let terminal = admin.create("/api/v1/terminals", &kiosk);
        let writer = JournalWriter::open(&server.dir.path().join("data")).expect("journal");
        Plant {
            server,
            writer: RefCell::new(writer),
            terminal,
        }
    }

    fn who(&self) -> Who {
        Who {
            address: Some(IpAddr::from([192, 0, 2, 1])),
            server: Some(IpAddr::from([192, 0, 2, 10])),
            mac: Mac::parse(mac(1).as_bytes()),
            source: Source::Name,
            terminal: Some(Terminal {
                id: self.terminal.clone(),
                name: "kiosk-1".into(),
            }),
        }
    }

    fn finished(&self, time_ms: u64) -> Event {
        let what = What::BootFinished {
            client: self.who(),
            file: format!("terminals/{}.json", mac(1)),
            octets: 700,
            duration_ms: 2,
            boot: Some((5_000_000, 9000)),
        };
        Event { time_ms, what }
    }

    fn reported(&self, time_ms: u64, stage: u8) -> Event {
        let what = What::Status {
            client: self.who(),
            report: Report {
                stage,
                sessions: 2,
                uptime_s: 50,
                interval_s: 30,
            },
        };
        Event { time_ms, what }
    }

    /// Journals, and waits until it is stored.
    fn tell(&self, events: &[Event]) {
        let admin = self.server.admin();
        let newest = |admin: &Client<'_>| {
            let page = admin.get("/api/v1/events?limit=1").expect(200).json();
            page["items"][0]["number"].as_i64().unwrap_or(0)
        };
        let before = newest(&admin);
        self.writer.borrow_mut().append(events).expect("appended");
        let wanted = before + i64::try_from(events.len()).expect("few");
        until("the events", || (newest(&admin) == wanted).then_some(()));
    }

    fn light(&self) -> Value {
        let path = format!("/api/v1/terminals/{}/status", self.terminal);
        self.server.admin().get(&path).expect(200).json()
    }

    fn shows(&self, now_ms: u64, light: &str, since_ms: u64) -> Value {
        self.server.clock.set(now_ms);
        let status = self.light();
        let shown = &status["lights"][0];
        assert_eq!(
            (shown["light"].as_str(), shown["since_ms"].as_u64()),
            (Some(light), Some(since_ms)),
            "{status}"
        );
        status
    }
}

#[test]
fn a_light_is_green_when_the_configuration_has_come_and_red_when_a_file_has_not() {
    let plant = Plant::new();
    let nothing = plant.light();
    assert_eq!(nothing["lights"][0]["light"], "grey");
    assert_eq!(nothing["lights"][0]["since_ms"], Value::Null);
    let script = || format!("boot/{}.ipxe", mac(1));
    let started = What::BootStarted {
        client: plant.who(),
        file: script(),
    };
    plant.tell(&[Event {
        time_ms: NOW,
        what: started.clone(),
    }]);
    let booting = plant.shows(NOW, "grey", NOW);
    assert_eq!(booting["boot_started_ms"], NOW);
    plant.tell(&[plant.finished(NOW + 10)]);
    let green = plant.shows(NOW + 99_000_000, "green", NOW + 10);
    assert_eq!(
        green["last_boot"],
        json!({"finished_ms": NOW + 10, "duration_ms": 9000, "bytes": 5_000_000})
    );
    assert_eq!(green["boot_started_ms"], Value::Null);
    // The same again is no change of the light.
    plant.tell(&[plant.finished(NOW + 20)]);
    plant.shows(NOW + 20, "green", NOW + 10);
    let failed = |why| What::BootFailed {
        client: plant.who(),
        file: "firmware/linux/1/vmlinuz".into(),
        octets: 1,
        duration_ms: 30_000,
        why,
    };
    let (down, silent) = (failed(Why::ShutDown), failed(Why::TimedOut));
    let at = |time_ms, what| Event { time_ms, what };
    // An engine that goes down says nothing of the terminal, and a file that the terminal leaves by itself is none that
    // did not reach it.
    plant.tell(&[at(NOW + 25, down)]);
    plant.shows(NOW + 25, "green", NOW + 10);
    for (number, code) in (26..).zip([0, 8]) {
        plant.tell(&[at(NOW + number, failed(Why::Aborted(code)))]);
        plant.shows(NOW + number, "green", NOW + 10);
    }
    plant.tell(&[at(NOW + 30, silent)]);
    let red = plant.shows(NOW + 30, "red", NOW + 30);
    let why = red["lights"][0]["why"].as_str().expect("a reason");
    assert!(why.contains("vmlinuz") && why.contains("silent"), "{why}");
    let firmware = What::Progress {
        client: plant.who(),
        stage: Stage::Firmware,
        file: "firmware/linux/1/vmlinuz".into(),
        octets: 9,
        duration_ms: 9,
    };
    plant.tell(&[at(NOW + 40, started)]);
    let booting = plant.shows(NOW + 40, "grey", NOW + 40);
    assert_eq!(
        booting["lights"][0]["why"],
        Value::Null,
        "the old failure is over"
    );
    plant.tell(&[at(NOW + 41, failed(Why::Aborted(0)))]);
    let left = plant.shows(NOW + 41, "grey", NOW + 40);
    assert!(
        left["lights"][0]["why"]
            .as_str()
            .is_some_and(|why| why.contains("error 0")),
        "{left}"
    );
    plant.tell(&[at(NOW + 42, failed(Why::Aborted(3)))]);
    plant.shows(NOW + 42, "red", NOW + 42);
    plant.tell(&[at(NOW + 50, firmware)]);
    let again = plant.shows(NOW + 50, "green", NOW + 50);
    assert_eq!(again["stage"], "firmware");
}

#[test]
fn a_terminal_that_reports_is_red_when_it_falls_silent_and_grey_when_nobody_could_hear_it() {
    let plant = Plant::new();
    plant.tell(&[plant.reported(NOW, 4)]);
    let running = plant.shows(NOW + 10_000, "green", NOW);
    assert_eq!(running["sessions"], 2);
    assert_eq!(running["uptime_s"], 60);
    assert_eq!(running["stage"], "running");
    // Twice its interval, and ten seconds.
    plant.shows(NOW + 70_000, "green", NOW);
    let silent = plant.shows(NOW + 70_001, "red", NOW + 70_000);
    assert_eq!(silent["uptime_s"], Value::Null);
    plant.tell(&[plant.reported(NOW + 100_000, 6)]);
    plant.shows(NOW + 100_000, "red", NOW + 70_000);
    plant.tell(&[plant.reported(NOW + 101_000, 4)]);
    plant.shows(NOW + 101_000, "green", NOW + 101_000);
    let stopped = Event {
        time_ms: NOW + 110_000,
        what: What::EngineStopped,
    };
    plant.tell(&[stopped]);
    plant.shows(NOW + 200_000, "grey", NOW + 110_000);
    let started = Event {
        time_ms: NOW + 300_000,
        what: What::EngineStarted {
            version: "1".into(),
        },
    };
    // Since it listens again, the terminal has its time to report.
    plant.tell(&[started]);
    plant.shows(NOW + 330_000, "green", NOW + 101_000);
    plant.shows(NOW + 370_001, "red", NOW + 370_000);
}

#[test]
fn a_terminal_that_reports_rarely_is_not_replaced_while_its_light_is_green() {
    let plant = Plant::new();
    let mut rarely = plant.reported(NOW, 4);
    if let What::Status { report, .. } = &mut rarely.what {
        report.interval_s = 600;
    }
    plant.tell(&[rarely]);
    let replace = || {
        let place = format!("/api/v1/terminals/{}/replacement", plant.terminal);
        let unit = json!({"macs": [mac(2)]});
        plant.server.admin().send("POST", &place, &unit)
    };
    // Longer silent than a terminal that does not report may be.
    for silent_ms in [130_000, 1_210_000] {
        plant.shows(NOW + silent_ms, "green", NOW);
        assert_eq!(replace().expect(409).code(), "online");
    }
    plant.shows(NOW + 1_210_001, "red", NOW + 1_210_000);
    replace().expect(200);
}

#[test]
fn events_are_filtered_and_paged_and_every_kind_is_shown() {
    let plant = Plant::new();
    let who = plant.who();
    let stranger = Who {
        terminal: None,
        mac: Some(Mac([2, 0, 0, 0, 0, 9])),
        ..who.clone()
    };
    let whats = vec![
        What::EngineStarted {
            version: "0.1.0".into(),
        },
        What::BootStarted {
            client: who,
            file: "boot/x".into(),
        },
        What::UnknownTerminal {
            client: stranger,
            file: "boot/y".into(),
        },
        What::Lost {
            events: 7,
            cause: Cause::Queue,
        },
        What::EngineStopped,
    ];
    let events: Vec<Event> = (0..)
        .zip(whats)
        .map(|(second, what)| Event {
            time_ms: NOW + second * 1000,
            what,
        })
        .collect();
    plant.tell(&events);
    let admin = plant.server.admin();
    let kinds = |query: &str| -> Vec<String> {
        let page = admin
            .get(&format!("/api/v1/events{query}"))
            .expect(200)
            .json();
        let items = page["items"].as_array().expect("items").clone();
        let kind = |item: &Value| item["kind"].as_str().expect("a kind").to_owned();
        items.iter().map(kind).collect()
    };
    let all = [
        "engine-stopped",
        "lost",
        "unknown-terminal",
        "boot-started",
        "engine-started",
    ];
    assert_eq!(kinds(""), all);
    assert_eq!(
        kinds(&format!("?terminal={}", plant.terminal)),
        ["boot-started"]
    );
    assert_eq!(kinds("?kind=lost"), ["lost"]);
    let (from, to) = (NOW + 1000, NOW + 3000);
    assert_eq!(
        kinds(&format!("?since_ms={from}&until_ms={to}")),
        ["unknown-terminal", "boot-started"]
    );
    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = admin
            .get(&format!("/api/v1/events{query}"))
            .expect(200)
            .json();
        paged.extend(page["items"].as_array().expect("items").clone());
        let Some(next) = page["next"].as_i64() else {
            break;
        };
        query = format!("?limit=2&before={next}");
    }
    assert_eq!(paged.len(), 5);
    let started = &paged[3];
    assert_eq!(started["name"], "kiosk-1");
    assert_eq!(started["mac"], mac(1));
    assert_eq!(started["address"], "192.0.2.1");
    assert_eq!(started["server"], "192.0.2.10");
    assert_eq!(started["source"], "name");
    assert_eq!(started["details"], json!({"file": "boot/x"}));
    assert_eq!(paged[2]["terminal"], Value::Null);
    assert_eq!(paged[2]["mac"], "02:00:00:00:00:09");
    for wrong in [
        "?kind=nonsense",
        "?terminal=A%20B",
        "?since_ms=x",
        "?until_ms=18446744073709551615",
        "?limit=501",
        "?before=x",
        "?colour=red",
        "?kind=lost%27%20OR%201=1",
    ] {
        let answer = admin.get(&format!("/api/v1/events{wrong}")).expect(400);
        assert_eq!(answer.code(), "invalid_query", "{wrong}");
    }
    admin.get("/api/v1/terminals/none/status").expect(404);
}

#[test]
fn after_a_restart_every_event_is_there_once_and_following_goes_on() {
    let plant = Plant::new();
    let first: Vec<Event> = (0..300)
        .map(|number| plant.finished(NOW + number))
        .collect();
    plant.tell(&first);
    let Plant {
        server,
        writer,
        terminal,
    } = plant;
    let mut writer = writer.into_inner();
    // While nobody follows, another engine writes another file, too.
    let server = server.restarted_after(|dir| {
        let lost = |events| Event {
            time_ms: NOW,
            what: What::Lost {
                events,
                cause: Cause::Disk,
            },
        };
        writer.append(&[lost(1)]).expect("appended");
        let mut other = JournalWriter::open(&dir.join("data")).expect("journal");
        other.append(&[lost(2)]).expect("appended");
    });
    let admin = server.admin();
    until("what was journaled meanwhile", || {
        let page = admin.get("/api/v1/events?kind=lost").expect(200).json();
        (page["items"].as_array().expect("items").len() == 2).then_some(())
    });
    let mut numbers = Vec::new();
    let mut query = format!("?terminal={terminal}&limit=100");
    loop {
        let page = admin
            .get(&format!("/api/v1/events{query}"))
            .expect(200)
            .json();
        for item in page["items"].as_array().expect("items") {
            numbers.push(item["time_ms"].as_u64().expect("a time") - NOW);
        }
        let Some(next) = page["next"].as_i64() else {
            break;
        };
        query = format!("?terminal={terminal}&limit=100&before={next}");
    }
    assert_eq!(numbers, (0..300).rev().collect::<Vec<u64>>());
}

#[test]
fn journal_files_that_were_removed_unread_are_told() {
    let plant = Plant::new();
    plant.tell(&[plant.finished(NOW)]);
    let finished = plant.finished(NOW + 1);
    let server = plant.server.restarted_after(|dir| {
        let data = dir.join("data");
        for _ in 0..4 {
            let mut engine = JournalWriter::open(&data).expect("journal");
            engine
                .append(std::slice::from_ref(&finished))
                .expect("appended");
        }
        for file in [2, 3] {
            let name = format!("events/engine-{file:010}.journal");
            std::fs::remove_file(data.join(name)).expect("removed");
        }
    });
    let admin = server.admin();
    // Two boots of files 4 and 5, after that of file 1, and the loss between.
    until("what is there", || {
        let page = admin.get("/api/v1/events").expect(200).json();
        (page["items"].as_array().expect("items").len() == 4).then_some(())
    });
    let server = server.restarted_after(|dir| {
        for entry in std::fs::read_dir(dir.join("data/events")).expect("a folder") {
            std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
        }
        let header = |number: u64| {
            let mut header = b"daybreak-journal\x01\0\0\0\0\0\0\0".to_vec();
            header.extend_from_slice(&number.to_le_bytes());
            header
        };
        let name = dir.join("data/events/engine-0000000009.journal");
        std::fs::write(name, header(9)).expect("written");
    });
    let admin = server.admin();
    let lost = until("the loss", || {
        let page = admin.get("/api/v1/events?kind=lost").expect(200).json();
        page["items"].get(0).cloned()
    });
    assert_eq!(lost["details"], json!({"files": 3, "cause": "journal"}));
    let metrics = String::from_utf8(admin.get("/metrics").expect(200).body).expect("text");
    assert!(
        metrics.contains("daybreak_admin_journal_files_lost_total 3"),
        "{metrics}"
    );
    assert!(
        metrics.contains("daybreak_admin_events_failing 0"),
        "{metrics}"
    );
}

#[test]
fn events_are_kept_for_as_long_as_the_setting_says() {
    let plant = Plant::new();
    let day = 24 * 60 * 60 * 1000;
    plant.server.clock.set(NOW + 40 * day);
    let old = plant.finished(NOW);
    let new = plant.finished(NOW + 39 * day);
    plant.tell(&[old, new]);
    let admin = plant.server.admin();
    let refused = admin.send(
        "POST",
        "/api/v1/settings",
        &json!({"key": "event-days", "value": 0}),
    );
    assert_eq!(refused.expect(422).json()["field"], "value");
    let keep = json!({"key": "event-days", "value": 30});
    admin.send("POST", "/api/v1/settings", &keep).expect(201);
    // Looked for once a minute, and at the start.
    let server = plant.server.restarted_after(|_| {});
    let admin = server.admin();
    until("the old one to go", || {
        let page = admin.get("/api/v1/events").expect(200).json();
        (page["items"].as_array().expect("items").len() == 1).then_some(())
    });
}

/// A stream as a browser reads it.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(server: &Server, client: &Client<'_>, query: &str, headers: &str) -> Self {
        let mut connection = TcpStream::connect(server.address).expect("connected");
        let patience = Some(Duration::from_secs(20));
        connection.set_read_timeout(patience).expect("a timeout");
        let own: String = client
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!(
            "GET /api/v1/events/stream{query} HTTP/1.1\r\nHost: localhost\r\n{own}{headers}\r\n"
        );
        connection.write_all(request.as_bytes()).expect("sent");
        Stream(BufReader::new(connection))
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.0.read_line(&mut line).expect("a line in time");
        (count > 0).then(|| line.trim_end().to_owned())
    }

    fn status(&mut self) -> u16 {
        let line = self.line().expect("an answer");
        let status = line.split(' ').nth(1).expect("a status");
        status.parse().expect("a number")
    }

    /// The next event: number, kind, document.
    fn event(&mut self) -> (i64, String, Value) {
        let (mut id, mut kind) = (0, String::new());
        loop {
            let line = self.line().expect("the stream goes on");
            if let Some(number) = line.strip_prefix("id: ") {
                id = number.parse().expect("a number");
            } else if let Some(word) = line.strip_prefix("event: ") {
                kind = word.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (id, kind, serde_json::from_str(data).expect("JSON"));
            }
        }
    }
}

#[test]
fn a_stream_tells_what_comes_and_goes_on_after_the_last_event_that_its_client_has() {
    let plant = Plant::new();
    plant.tell(&[plant.finished(NOW)]);
    let admin = plant.server.admin();
    let mut stream = Stream::open(&plant.server, &admin, "", "");
    assert_eq!(stream.status(), 200);
    // Connected: what comes from now on is told.
    while stream.line().expect("a head") != "retry: 2000" {}
    plant.tell(&[plant.finished(NOW + 1), plant.reported(NOW + 2, 4)]);
    let (first, kind, data) = stream.event();
    assert_eq!(
        (kind.as_str(), data["time_ms"].as_u64()),
        ("boot-finished", Some(NOW + 1))
    );
    assert_eq!(data["number"], first);
    assert_eq!(stream.event().1, "status");
    drop(stream);
    plant.tell(&[plant.finished(NOW + 3)]);
    // It was away, and says what it has.
    let last = format!("Last-Event-ID: {first}\r\n");
    let mut stream = Stream::open(&plant.server, &admin, "?after=0", &last);
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.event().2["time_ms"], NOW + 2);
    assert_eq!(stream.event().2["time_ms"], NOW + 3);
    let mut stream = Stream::open(&plant.server, &admin, "?after=0&kind=status", "");
    assert_eq!(stream.event().2["time_ms"], NOW + 2);
    for (query, headers) in [
        ("?after=-1", ""),
        ("?after=x", ""),
        ("?kind=x", ""),
        ("?limit=1", ""),
        ("", "Last-Event-ID: x\r\n"),
    ] {
        let mut refused = Stream::open(&plant.server, &admin, query, headers);
        assert_eq!(refused.status(), 400, "{query} {headers}");
    }
    let nobody = plant.server.anybody();
    assert_eq!(Stream::open(&plant.server, &nobody, "", "").status(), 401);
}

#[test]
fn streams_are_bounded_and_what_ends_makes_room() {
    let plant = Plant::new();
    let admin = plant.server.admin();
    let open = || {
        let mut stream = Stream::open(&plant.server, &admin, "", "");
        let status = stream.status();
        (stream, status)
    };
    let streams: Vec<_> = (0..daybreak_admin::limits::STREAMS_MAX)
        .map(|_| open())
        .collect();
    assert!(streams.iter().all(|(_, status)| *status == 200));
    assert_eq!(open().1, 503);
    // Everything else goes on.
    admin.get("/api/v1/events").expect(200);
    drop(streams);
    until("room for another", || (open().1 == 200).then_some(()));
}
