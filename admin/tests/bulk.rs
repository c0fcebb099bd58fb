//! Many terminals at once, as files.

mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use daybreak_admin::configuration::Configuration;
use daybreak_admin::edge::Machine;
use daybreak_store::Reader;
use serde_json::{Value, json};
use support::api::{Answer, Client, Server};
use support::mac;

const IMPORT: &str = "/api/v1/terminals/import";

fn send(client: &Client<'_>, path: &str, kind: &str, file: &str) -> Answer {
    client.raw("POST", path, &[("Content-Type", kind)], file.as_bytes())
}

/// A site with something of every kind that a terminal can refer to.
fn site(admin: &Client<'_>) {
    let group = admin.create("/api/v1/terminal-groups", &json!({"name": "hall; 7"}));
    let boot = json!([{"architecture": "x86-64-uefi", "kernel": "k"}]);
    let package =
        json!({"name": "linux", "active": "1", "versions": [{"version": "1", "boot": boot}]});
    admin.create("/api/v1/firmware-packages", &package);
    admin.create(
        "/api/v1/term-caps",
        &json!({"name": "=model", "architecture": "x86-64-uefi"}),
    );
    for name in ["ts;1", "ts2"] {
        let server = json!({"name": name, "address": "ts.example", "protocol": "rdp"});
        admin.create("/api/v1/terminal-servers", &server);
    }
    let module = json!({"name": "sound", "parameters": [{"name": "volume", "default": "5"}]});
    admin.create("/api/v1/modules", &module);
    admin.create(
        "/api/v1/terminals",
        &json!({"name": "plain", "macs": [mac(9)], "group": group}),
    );
}

fn terminals(admin: &Client<'_>) -> Vec<Value> {
    let page = admin.get("/api/v1/terminals?limit=500").expect(200).json();
    let items = page["items"].as_array().expect("items").iter();
    items.map(|item| item["body"].clone()).collect()
}

#[test]
fn every_field_of_a_terminal_survives_export_and_import_in_both_formats() {
    let server = Server::set_up();
    let admin = server.admin();
    site(&admin);
    let full = json!([{
        "name": "-full", "macs": [mac(1), mac(2)], "model": "=model", "group": "hall; 7", "enabled": false,
        "replaceable": false, "remark": "+two\nlines, \"quoted\"",
        "address": {"address": "192.0.2.9", "prefix_bits": 24, "gateway": "192.0.2.1", "name_servers": ["192.0.2.2", "192.0.2.3"]},
        "settings": {
            "firmware": {"package": "linux", "version": "1"},
            "modules": [{"module": "sound", "parameters": {"volume": "=7"}}],
            "terminal_servers": ["ts;1", "ts2"], "instant_failover": true, "windows_client": true, "shared_keyboard_mouse": false,
            "display": {"width_px": 1920, "height_px": 1080, "refresh_hz": 60, "screens": 2},
            "allow_shadowing": false, "status_monitors": ["a.example", "192.0.2.4"],
            "enforce_boot_priority": true, "replace_same_model": true,
        },
    }, {"name": "bare", "macs": [mac(3)], "settings": {"terminal_servers": [], "modules": []}}]);
    send(&admin, IMPORT, "application/json", &full.to_string()).expect(200);
    let before = terminals(&admin);
    assert_eq!(before.len(), 3);
    let stored = before
        .iter()
        .find(|body| body["name"] == "-full")
        .expect("there");
    // Whatever is added to a terminal must be in the sample above, and so in both formats.
    let schema = admin.get("/api/v1/openapi.json").json();
    for (of, body) in [("Terminal", stored), ("Settings", &stored["settings"])] {
        let fields = schema["components"]["schemas"][of]["properties"]
            .as_object()
            .expect("fields");
        for field in fields.keys() {
            assert!(
                !body[field].is_null(),
                "{of} has a field that this test does not set: {field}"
            );
        }
    }
    for format in ["csv", "json"] {
        let kind = if format == "csv" {
            "text/csv"
        } else {
            "application/json"
        };
        let file = admin
            .get(&format!("/api/v1/terminals/export?format={format}"))
            .expect(200);
        let file = String::from_utf8(file.body).expect("UTF-8");
        assert!(
            file.contains("hall; 7") && !file.contains("status_key"),
            "{file}"
        );
        let again = send(&admin, IMPORT, kind, &file).expect(200).json();
        assert_eq!(again["unchanged"], 3, "{format}: {again}");
        // The same where there is none of them.
        for item in admin.get("/api/v1/terminals").json()["items"]
            .as_array()
            .expect("items")
        {
            admin
                .delete(&format!(
                    "/api/v1/terminals/{}",
                    item["id"].as_str().expect("id")
                ))
                .expect(204);
        }
        let made = send(&admin, IMPORT, kind, &file).expect(200).json();
        assert_eq!(
            (&made["created"], &made["committed"]),
            (&json!(3), &json!(true))
        );
        assert_eq!(terminals(&admin), before, "{format}");
    }
}

#[test]
fn a_row_is_about_the_terminal_of_its_name_or_else_of_its_card() {
    let server = Server::set_up();
    let admin = server.admin();
    site(&admin);
    let table = format!(
        "name,macs,enabled\nPLAIN,{},false\nnew,{},\n",
        mac(9),
        mac(10)
    );
    let report = send(&admin, IMPORT, "text/csv", &table).expect(200).json();
    let outcomes: Vec<_> = report["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| (&row["row"], &row["outcome"]))
        .collect();
    assert_eq!(
        outcomes,
        [
            (&json!(2), &json!("updated")),
            (&json!(3), &json!("created"))
        ]
    );
    let plain = terminals(&admin)
        .into_iter()
        .find(|body| body["name"] == "PLAIN")
        .expect("renamed");
    assert_eq!(plain["enabled"], false);
    assert!(
        plain["group"].is_string(),
        "a column that is not there changes nothing"
    );
    // By its card, it gets another name; an emptied cell is what is inherited or the default.
    let table = format!("name,macs,enabled,group\nrenamed,{},,\n", mac(9));
    send(&admin, IMPORT, "text/csv", &table).expect(200);
    let renamed = terminals(&admin)
        .into_iter()
        .find(|body| body["name"] == "renamed")
        .expect("renamed");
    assert_eq!(
        (&renamed["enabled"], &renamed["group"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(terminals(&admin).len(), 2);
}

#[test]
fn one_refused_row_refuses_all_and_each_names_its_field_unless_the_valid_ones_are_wanted() {
    let server = Server::set_up();
    let admin = server.admin();
    site(&admin);
    let before = terminals(&admin);
    let rows = json!([
        {"name": "good", "macs": [mac(20)]},
        {"name": "bad name", "macs": [mac(21)]},
        {"name": "a", "macs": ["x"]},
        {"name": "b", "macs": [mac(20)]},
        {"name": "c", "macs": [mac(22)], "group": "nowhere"},
        {"name": "d", "macs": [mac(23)], "settings": {"terminal_servers": ["ts2", "ts3"]}},
        {"name": "GOOD", "macs": [mac(24)]},
        {"name": "e", "macs": [mac(25)], "settings": {"display": {"width_px": 1, "height_px": 600}}},
        {"name": "f", "macs": [mac(26)], "status_key": "0"},
        7,
        {"name": "fine", "macs": [mac(27)]},
    ]);
    let refused = send(&admin, IMPORT, "application/json", &rows.to_string()).expect(422);
    assert_eq!(refused.code(), "rows_refused");
    let report = &refused.json()["report"];
    let told = |row: usize| {
        (
            report["rows"][row - 1]["code"].clone(),
            report["rows"][row - 1]["field"].clone(),
        )
    };
    for (row, code, field) in [
        (2, "invalid", "name"),
        (3, "invalid", "macs[0]"),
        (5, "dangling_reference", "group"),
        (6, "dangling_reference", "settings.terminal_servers[1]"),
        (8, "invalid", "settings.display.width_px"),
        (9, "invalid", "status_key"),
    ] {
        assert_eq!(told(row), (json!(code), json!(field)), "row {row}");
    }
    for row in [4, 7] {
        assert_eq!(
            told(row).0,
            "taken",
            "the first row is about the same terminal"
        );
    }
    assert_eq!(
        (&report["refused"], &report["created"], &report["committed"]),
        (&json!(9), &json!(2), &json!(false))
    );
    assert_eq!(terminals(&admin), before);
    let tried = send(
        &admin,
        &format!("{IMPORT}?dry_run=true&valid_only=true"),
        "application/json",
        &rows.to_string(),
    );
    assert_eq!(tried.expect(200).json()["committed"], false);
    assert_eq!(terminals(&admin), before);
    let valid = send(
        &admin,
        &format!("{IMPORT}?valid_only=true"),
        "application/json",
        &rows.to_string(),
    )
    .expect(200)
    .json();
    assert_eq!(
        (&valid["refused"], &valid["created"]),
        (&json!(9), &json!(2))
    );
    assert_eq!(terminals(&admin).len(), before.len() + 2);
}

#[test]
fn a_row_with_several_faults_tells_each_of_them() {
    let server = Server::set_up();
    let admin = server.admin();
    site(&admin);
    let rows = json!([{
        "name": "bad name", "macs": ["x"], "group": "nowhere", "enabled": 7,
        "settings": {"display": {"width_px": 1, "height_px": 600}, "terminal_servers": ["ts3"], "nonsense": 1},
    }, {"name": "good", "macs": [mac(7)]}]);
    let path = format!("{IMPORT}?dry_run=true");
    let report = send(&admin, &path, "application/json", &rows.to_string()).expect(200);
    let row = &report.json()["rows"][0];
    let more = row["more"].as_array().expect("more faults");
    let mut fields: Vec<_> = more.iter().map(|fault| fault["field"].as_str()).collect();
    fields.push(row["field"].as_str());
    fields.sort_unstable();
    let expected = [
        "enabled",
        "group",
        "macs[0]",
        "name",
        "settings.display.width_px",
        "settings.nonsense",
        "settings.terminal_servers[0]",
    ];
    assert_eq!(fields, expected.map(Some), "{row}");
    assert!(
        more.iter()
            .all(|fault| fault["code"].is_string() && fault["message"].is_string())
    );
    assert_eq!(report.json()["rows"][1].get("more"), None);
}

#[test]
fn terminals_may_exchange_their_cards_in_one_import() {
    let server = Server::set_up();
    let admin = server.admin();
    let names = ["a", "b", "c", "d"];
    for (name, card) in names.into_iter().zip(1..) {
        admin.create(
            "/api/v1/terminals",
            &json!({"name": name, "macs": [mac(card)]}),
        );
    }
    let import = |args: &str, cards: [u32; 4]| {
        let rows = names
            .into_iter()
            .zip(cards)
            .map(|(name, card)| format!("{name},{}\n", mac(card)));
        let table = format!("name,macs\n{}", rows.collect::<String>());
        send(&admin, &format!("{IMPORT}{args}"), "text/csv", &table)
    };
    let cards = || {
        let mut all = terminals(&admin);
        all.sort_unstable_by_key(|body| body["name"].to_string());
        all.iter()
            .map(|body| body["macs"][0].clone())
            .collect::<Vec<_>>()
    };
    // Two exchange theirs; one takes over from the next, which gets a new one.
    let report = import("", [2, 1, 4, 5]).expect(200).json();
    assert_eq!(
        (&report["updated"], &report["refused"]),
        (&json!(4), &json!(0)),
        "{report}"
    );
    assert_eq!(cards(), [mac(2), mac(1), mac(4), mac(5)]);
    // Two want the same, and a third waits for one of them: the rest is made.
    let report = import("?valid_only=true", [1, 2, 1, 6]).expect(200).json();
    assert_eq!(
        (&report["updated"], &report["refused"]),
        (&json!(1), &json!(3)),
        "{report}"
    );
    assert_eq!(report["rows"][0]["field"], "macs[0]");
    assert_eq!(cards(), [mac(2), mac(1), mac(4), mac(6)]);
}

#[test]
fn ten_thousand_rows_are_one_change_and_tell_their_progress() {
    let server = Server::set_up();
    let admin = server.admin();
    let mut table = String::from("name;macs;settings.instant_failover\n");
    for number in 0..10_000 {
        table.push_str(&format!("t{number};{};true\n", mac(number)));
    }
    let headers = [
        ("Content-Type", "text/csv"),
        ("Accept", "application/x-ndjson"),
    ];
    let answer = admin
        .raw("POST", IMPORT, &headers, table.as_bytes())
        .expect(200);
    let lines: Vec<Value> = answer
        .chunks()
        .split(|octet| *octet == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect();
    assert!(lines.len() > 10, "{}", lines.len());
    assert_eq!(lines[1]["progress"], json!({"rows": 500, "of": 10_000}));
    let report = &lines.last().expect("a report")["report"];
    assert_eq!(
        (&report["created"], &report["committed"]),
        (&json!(10_000), &json!(true))
    );
    let export = admin.get("/api/v1/terminals/export?name=t12").expect(200);
    let rows = String::from_utf8(export.body)
        .expect("UTF-8")
        .lines()
        .count();
    assert_eq!(rows, 1 + 1 + 10 + 100, "the filters of a list choose");
}

#[test]
fn what_cannot_be_read_is_refused_as_a_whole() {
    let server = Server::set_up();
    let admin = server.admin();
    for (kind, file, status, code) in [
        ("text/csv", "name,nmae\n", 400, "unreadable_file"),
        ("application/json", "{}", 400, "unreadable_file"),
        ("text/plain", "name\n", 415, "unknown_format"),
    ] {
        let refused = send(&admin, IMPORT, kind, file).expect(status);
        assert_eq!(refused.code(), code, "{file}");
    }
    let rows = "\n\"\"".repeat(10) + &"\nx".repeat(50_001);
    assert_eq!(
        send(&admin, IMPORT, "text/csv", &format!("name{rows}"))
            .expect(413)
            .code(),
        "too_large"
    );
    let long = "x".repeat((32 << 20) + 1);
    assert_eq!(
        send(&admin, IMPORT, "text/csv", &long).expect(413).code(),
        "too_large"
    );
    assert_eq!(
        send(&admin, &format!("{IMPORT}?dry=true"), "text/csv", "name\n")
            .expect(400)
            .code(),
        "invalid_query"
    );
    assert_eq!(
        admin
            .get("/api/v1/terminals/export?format=xls")
            .expect(400)
            .code(),
        "invalid_query"
    );
    assert_eq!(
        admin
            .get("/api/v1/terminals/export?limit=1")
            .expect(400)
            .code(),
        "invalid_query"
    );
}

fn run(data: &Path, key: Option<&str>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybreak-admin"));
    command.env_remove("DAYBREAK_API_KEY");
    if let Some(key) = key {
        command.env("DAYBREAK_API_KEY", key);
    }
    command.arg("--data").arg(data).arg("terminals").args(args);
    command.output().expect("runs")
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}

#[test]
fn the_command_line_imports_and_exports_with_and_without_a_running_administration() {
    let server = Server::set_up();
    let admin = server.admin();
    let key = json!({"name": "k", "rights": ["terminals.read", "terminals.write"]});
    let key = admin
        .send("POST", "/api/v1/api-keys", &key)
        .expect(201)
        .json();
    let key = key["secret"].as_str().expect("a secret");
    let (data, other) = (
        server.dir.path().join("data"),
        server.dir.path().join("other"),
    );
    let path = |name: &str| server.dir.path().join(name).display().to_string();
    std::fs::write(
        path("good.csv"),
        format!("name,macs\na,{}\nb,{}\n", mac(1), mac(2)),
    )
    .expect("written");
    std::fs::write(
        path("bad.csv"),
        format!("name,macs\nc,{}\nd d,{}\n", mac(3), mac(4)),
    )
    .expect("written");
    let url = format!("http://{}", server.address);

    let beside = run(&data, None, &["import", &path("good.csv")]);
    assert_eq!(beside.status.code(), Some(1));
    assert!(
        said(&beside).contains("--server") && said(&beside).contains("another daybreak-admin"),
        "{}",
        said(&beside)
    );
    let remote = ["--server", &url];
    let keyless = run(
        &data,
        None,
        &[&["import", &path("good.csv")], &remote[..]].concat(),
    );
    assert!(
        said(&keyless).contains("DAYBREAK_API_KEY"),
        "{}",
        said(&keyless)
    );
    let wrong = run(
        &data,
        Some("key-wrong"),
        &[&["import", &path("good.csv")], &remote[..]].concat(),
    );
    assert!(
        said(&wrong).contains("this API key is not valid"),
        "{}",
        said(&wrong)
    );
    let dry = run(
        &data,
        Some(key),
        &[&["import", &path("good.csv"), "--dry-run"], &remote[..]].concat(),
    );
    assert_eq!(
        said(&dry),
        "2 created, 0 updated, 0 unchanged, 0 refused: a dry run: nothing was changed\n"
    );
    let done = run(
        &data,
        Some(key),
        &[&["import", &path("good.csv")], &remote[..]].concat(),
    );
    assert_eq!(
        said(&done),
        "2 created, 0 updated, 0 unchanged, 0 refused: done\n"
    );
    let refused = run(
        &data,
        Some(key),
        &[&["import", &path("bad.csv")], &remote[..]].concat(),
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("row 3, d d: name: a terminal's name has"),
        "{}",
        said(&refused)
    );
    assert_eq!(terminals(&admin).len(), 2);
    let valid = run(
        &data,
        Some(key),
        &[&["import", &path("bad.csv"), "--valid-only"], &remote[..]].concat(),
    );
    assert_eq!(valid.status.code(), Some(0), "{}", said(&valid));
    let json = run(
        &data,
        Some(key),
        &[&["export", &path("all.json")], &remote[..]].concat(),
    );
    assert_eq!(json.status.code(), Some(0), "{}", said(&json));

    // Another machine, where none runs.
    let nothing = run(&other, None, &["import", &path("all.json")]);
    assert!(
        said(&nothing).contains("has no configuration"),
        "{}",
        said(&nothing)
    );
    std::fs::create_dir(&other).expect("made");
    drop(
        Configuration::open(
            &other.join("config.db"),
            Arc::new(Machine),
            Arc::new(Machine),
        )
        .expect("opened"),
    );
    let direct = run(&other, None, &["import", &path("all.json")]);
    assert_eq!(
        said(&direct),
        "3 created, 0 updated, 0 unchanged, 0 refused: done\n"
    );
    let served = Reader::open(&other)
        .expect("a store")
        .load()
        .expect("a catalog");
    assert!(
        served
            .lookup(format!("terminals/{}.json", mac(3)).as_bytes())
            .is_some(),
        "published, too"
    );
    let table = run(&other, None, &["export", "-"]);
    assert!(
        said(&table).contains(&format!("\na,{}", mac(1))),
        "{}",
        said(&table)
    );
}
