//! Licences on a server: installed, refused, lost, removed; and the seats that follow.

mod support;

#[path = "licences/files.rs"]
mod files;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use daybreak_admin::licensing::{InstallationId, VendorKeys, sign};
use serde_json::{Value, json};

use support::api::{Client, Server};
use support::vendor::{self, DAY_MS, key, licence_for};
use support::{mac, until};

fn keys(server: &Server) -> PathBuf {
    server.dir.path().join("data/keys")
}

fn trust(server: &Server) {
    let text = VendorKeys::key_text(&key(1).verifying_key());
    std::fs::write(keys(server).join("vendors/test.pub"), text).expect("written");
}

fn licensing(client: &Client<'_>) -> Value {
    client.get("/api/v1/licensing").expect(200).json()
}

fn this(client: &Client<'_>) -> InstallationId {
    let licensing = licensing(client);
    let text = licensing["servers"][0]["installation"]
        .as_str()
        .expect("an identifier");
    InstallationId::parse(text).expect("an identifier")
}

/// The file of a licence for this server alone.
fn file(client: &Client<'_>, activation: u32, products: &[(&str, u32)]) -> String {
    let mut licence = licence_for("none", vec![this(client)], products);
    licence.activation = activation;
    licence.issued_ms = 1_700_000_000_000;
    sign(&licence, &key(1)).expect("signed")
}

fn install(client: &Client<'_>, file: &str) -> support::api::Answer {
    client.send("POST", "/api/v1/licences", &json!({"licence": file}))
}

fn terminal(client: &Client<'_>, number: u32) -> String {
    let json = json!({"name": format!("t{number}"), "macs": [mac(number)]});
    client.create("/api/v1/terminals", &json)
}

fn seat(client: &Client<'_>, id: &str) -> String {
    let object = client
        .get(&format!("/api/v1/terminals/{id}"))
        .expect(200)
        .json();
    object["body"]["seat"]["state"]
        .as_str()
        .expect("a state")
        .to_owned()
}

fn wait_for_seat(client: &Client<'_>, id: &str, state: &str) {
    until(state, || (seat(client, id) == state).then_some(()));
}

fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).expect("there");
    metadata.permissions().mode() & 0o777
}

#[test]
fn the_eleventh_terminal_waits_and_gets_its_seat_with_a_licence() {
    let server = Server::set_up();
    let admin = server.admin();
    let ids: Vec<String> = (1..=12).map(|number| terminal(&admin, number)).collect();
    for id in &ids[..10] {
        assert_eq!(seat(&admin, id), "held");
    }
    assert_eq!(
        (seat(&admin, &ids[10]), seat(&admin, &ids[11])),
        ("waiting".into(), "waiting".into())
    );
    let found = licensing(&admin);
    assert_eq!(
        (&found["mode"], &found["licensed"], &found["waiting"]),
        (&json!("none"), &json!(false), &json!(2))
    );
    assert_eq!(
        found["counts"][0],
        json!({"product": "terminal", "entitled": 10, "used": 10, "excess": 0})
    );
    server.published(&admin);
    let metrics = String::from_utf8(admin.get("/metrics").expect(200).body).expect("text");
    for (state, seats) in [
        ("entitled", 10),
        ("held", 10),
        ("excess", 0),
        ("waiting", 2),
    ] {
        let line = format!("daybreak_admin_seats{{state=\"{state}\"}} {seats}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    let problems = until("the problems", || {
        let problems = admin.get("/api/v1/problems").expect(200).json();
        let items = problems["items"].as_array().expect("items").clone();
        (items
            .iter()
            .filter(|problem| problem["code"] == "no_seat")
            .count()
            == 2)
            .then_some(items)
    });
    assert!(problems.iter().any(|problem| problem["name"] == "t11"));

    trust(&server);
    let made = install(&admin, &file(&admin, 1, &[("terminal-connection", 11)]))
        .expect(201)
        .json();
    assert_eq!(
        (&made["state"], &made["customer"]),
        (&json!("active"), &json!("Example Plant"))
    );
    // Who waits for longest comes first; there is one seat for two.
    wait_for_seat(&admin, &ids[10], "held");
    assert_eq!(seat(&admin, &ids[11]), "waiting");
    // Nothing goes beyond the count, by hand either.
    let refused = admin
        .send(
            "PUT",
            &format!("/api/v1/terminals/{}/seat", ids[11]),
            &json!({}),
        )
        .expect(409);
    assert_eq!(refused.code(), "no_seat");

    // A seat that becomes free goes to who waits, and the one that was released does not take it back.
    admin
        .delete(&format!("/api/v1/terminals/{}/seat", ids[3]))
        .expect(200);
    wait_for_seat(&admin, &ids[11], "held");
    assert_eq!(seat(&admin, &ids[3]), "released");
    // Disabled, deleted: the same.
    let off = json!({"enabled": false});
    admin
        .send_if("PATCH", &format!("/api/v1/terminals/{}", ids[0]), "*", &off)
        .expect(200);
    assert_eq!(seat(&admin, &ids[0]), "waiting");
    admin
        .send(
            "PUT",
            &format!("/api/v1/terminals/{}/seat", ids[3]),
            &json!({}),
        )
        .expect(200);
    assert_eq!(seat(&admin, &ids[3]), "held");
    let late = terminal(&admin, 13);
    assert_eq!(seat(&admin, &late), "waiting");
    admin
        .delete(&format!("/api/v1/terminals/{}", ids[1]))
        .expect(204);
    wait_for_seat(&admin, &late, "held");
}

#[test]
fn a_request_gives_no_seat_and_takes_none_away() {
    let server = Server::set_up();
    let admin = server.admin();
    let ids: Vec<String> = (1..=11).map(|number| terminal(&admin, number)).collect();
    let path = format!("/api/v1/terminals/{}", ids[10]);
    let object = admin.get(&path).expect(200).json();
    let mut body = object["body"].clone();
    body["seat"] = json!({"state": "held", "since_ms": 1});
    admin.send_if("PUT", &path, "*", &body).expect(200);
    assert_eq!(seat(&admin, &ids[10]), "waiting");
    let sly = json!({"name": "sly", "macs": [mac(99)], "seat": {"state": "held", "since_ms": 1}});
    let sly = admin.create("/api/v1/terminals", &sly);
    assert_eq!(seat(&admin, &sly), "waiting");
    let path = format!("/api/v1/terminals/{}", ids[0]);
    admin
        .send_if("PATCH", &path, "*", &json!({"seat": {"state": "released"}}))
        .expect(200);
    assert_eq!(seat(&admin, &ids[0]), "held");
}

#[test]
fn what_is_refused_is_named_and_changes_nothing() {
    let server = Server::set_up();
    let admin = server.admin();
    let fine = file(&admin, 1, &[("terminal-connection", 11)]);
    let refused = |text: &str, word: &str| {
        let refused = install(&admin, text).expect(422);
        assert_eq!(
            (refused.code(), refused.json()["field"].as_str()),
            ("licence_refused".into(), Some("licence"))
        );
        let message = refused.json()["message"].to_string();
        assert!(message.contains(&format!("({word})")), "{word}: {message}");
    };
    refused(&fine, "unknown_key");
    trust(&server);
    refused(&fine.replace("11", "12"), "changed");
    refused(&fine[..fine.len() - 1], "truncated");
    refused("hello", "not_a_licence");
    refused(&" ".repeat(20_000), "too_large");
    let other = licence_for("none", vec![vendor::id(9)], &[("terminal-connection", 11)]);
    refused(
        &sign(&other, &key(1)).expect("signed"),
        "other_installation",
    );
    // Longer than any request.
    let long = admin.raw(
        "POST",
        "/api/v1/licences",
        &[
            ("Content-Type", "application/json"),
            ("Content-Length", "1073741824"),
        ],
        b"",
    );
    assert_eq!(long.status, 413);
    let folder = std::fs::read_dir(keys(&server).join("licences")).expect("there");
    assert_eq!(folder.count(), 0);
    assert_eq!(licensing(&admin)["licensed"], false);

    install(&admin, &file(&admin, 2, &[("terminal-connection", 11)])).expect(201);
    // The earlier activation was given up; the same one again is as before.
    refused(&fine, "replaced");
    install(&admin, &file(&admin, 2, &[("terminal-connection", 11)])).expect(201);
    install(&admin, &file(&admin, 3, &[("terminal-connection", 15)])).expect(201);
    assert_eq!(licensing(&admin)["counts"][0]["entitled"], 15);
    let audit = admin.get("/api/v1/audit?kind=licence").expect(200).json();
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|row| row["action"].as_str())
        .collect();
    assert_eq!(actions, ["change", "create"]);
    // A removal is there, too, with what it was.
    admin.delete("/api/v1/licences/master-1").expect(204);
    let audit = admin.get("/api/v1/audit?kind=licence").expect(200).json();
    let row = &audit["items"][0];
    assert_eq!(
        (&row["action"], &row["id"], &row["actor"], &row["after"]),
        (
            &json!("delete"),
            &json!("master-1"),
            &json!("user admin"),
            &Value::Null
        )
    );
    assert_eq!(row["before"]["activation"], 3);
    assert_eq!(row["before"]["customer"], "Example Plant");
}

#[test]
fn a_licence_is_kept_across_a_restart_and_only_its_owner_reads_it() {
    let server = Server::set_up();
    let admin = server.admin();
    trust(&server);
    install(&admin, &file(&admin, 1, &[("terminal-connection", 11)])).expect(201);
    let before = this(&admin);
    assert_eq!(mode(&keys(&server).join("licences")), 0o700);
    assert_eq!(
        mode(&keys(&server).join("licences/master-1.licence")),
        0o600
    );
    let server = server.restarted();
    let admin = server.admin();
    assert_eq!(this(&admin), before);
    assert_eq!(licensing(&admin)["counts"][0]["entitled"], 11);
    let listed = admin.get("/api/v1/licences").expect(200).json();
    assert_eq!(listed["items"][0]["id"], "master-1");
    assert_eq!(listed["refused"], json!([]));
    let metrics = String::from_utf8(admin.get("/metrics").expect(200).body).expect("text");
    assert!(
        metrics.contains(r#"daybreak_admin_seats{state="entitled"} 11"#),
        "{metrics}"
    );
    assert!(metrics.contains("daybreak_admin_licences_active 1"));

    admin.delete("/api/v1/licences/master-1").expect(204);
    assert_eq!(
        admin.delete("/api/v1/licences/master-1").expect(404).code(),
        "not_found"
    );
    assert_eq!(licensing(&admin)["counts"][0]["entitled"], 10);
}

#[test]
fn a_lost_file_and_an_expiry_take_no_seat_away_and_are_warned_of() {
    let server = Server::set_up();
    let admin = server.admin();
    trust(&server);
    let mut ending = licence_for("none", vec![this(&admin)], &[("terminal-connection", 12)]);
    let now_ms = 1_700_000_000_000;
    (ending.issued_ms, ending.valid_until_ms) = (now_ms, Some(now_ms + 40 * DAY_MS));
    install(&admin, &sign(&ending, &key(1)).expect("signed")).expect(201);
    // In seconds; none, once nothing holds that ends.
    let ends = |client: &Client<'_>, seconds: u64| {
        let line = format!("daybreak_admin_licence_end_seconds {seconds}\n");
        let metrics = String::from_utf8(client.get("/metrics").expect(200).body).expect("text");
        assert!(metrics.contains(&line), "{line}{metrics}");
    };
    ends(&admin, (now_ms + 40 * DAY_MS) / 1000);
    let ids: Vec<String> = (1..=12).map(|number| terminal(&admin, number)).collect();
    assert_eq!(seat(&admin, &ids[11]), "held");
    let warned = |server: &Server, part: &str| {
        let warnings = licensing(&server.admin())["warnings"].to_string();
        assert!(warnings.contains(part), "{warnings}");
    };

    server.clock.set(now_ms + 41 * DAY_MS);
    let server = server.restarted();
    let admin = server.admin();
    warned(&server, "has expired");
    ends(&admin, 0);
    assert_eq!(
        licensing(&admin)["counts"][0],
        json!({"product": "terminal", "entitled": 10, "used": 12, "excess": 2})
    );
    let new = terminal(&admin, 13);
    assert_eq!(
        (seat(&admin, &new), seat(&admin, &ids[11])),
        ("waiting".into(), "held".into())
    );
    // A clock that ran wild and is put right has done no harm.
    warned(&server, "41 days ahead");
    server.clock.set(now_ms);
    install(&admin, &sign(&ending, &key(1)).expect("signed")).expect(201);
    let found = licensing(&admin);
    assert_eq!(
        (&found["counts"][0]["entitled"], &found["warnings"]),
        (&json!(12), &json!([]))
    );
    // One that stands for a day is believed, and turning it back does not help any more.
    server.clock.set(now_ms + 41 * DAY_MS);
    let again = || {
        let licence = sign(&ending, &key(1)).expect("signed");
        install(&server.admin(), &licence).expect(201);
    };
    again();
    server.clock.pass(DAY_MS);
    again();
    server.clock.set(now_ms);
    let server = server.restarted();
    let admin = server.admin();
    warned(&server, "42 days behind");
    assert_eq!(licensing(&admin)["counts"][0]["entitled"], 10);
    // A new activation tells the right time.
    (ending.activation, ending.issued_ms, ending.valid_until_ms) =
        (2, now_ms + DAY_MS, Some(now_ms + 400 * DAY_MS));
    server.clock.set(now_ms + DAY_MS);
    let admin = server.admin();
    install(&admin, &sign(&ending, &key(1)).expect("signed")).expect(201);
    let found = licensing(&admin);
    assert_eq!(
        (&found["counts"][0]["entitled"], &found["warnings"]),
        (&json!(12), &json!([]))
    );

    let server = server.restarted_after(|dir| {
        std::fs::remove_file(dir.join("data/keys/licences/master-1.licence")).expect("removed");
    });
    let admin = server.admin();
    warned(&server, "file of licence master-1 is gone");
    assert_eq!(
        licensing(&admin)["counts"][0],
        json!({"product": "terminal", "entitled": 10, "used": 12, "excess": 2})
    );
    assert_eq!(seat(&admin, &ids[11]), "held");
    // Until somebody removes it.
    admin.delete("/api/v1/licences/master-1").expect(204);
    assert_eq!(licensing(&admin)["warnings"], json!([]));
}

#[test]
fn a_data_directory_on_another_machine_is_another_installation_and_says_so() {
    let server = Server::set_up();
    let admin = server.admin();
    trust(&server);
    install(&admin, &file(&admin, 1, &[("terminal-connection", 11)])).expect(201);
    let before = this(&admin);
    let server = server.restarted_after(|dir| {
        // On this machine, which is yet another one, the command line says so, too.
        let mut command = Command::new(env!("CARGO_BIN_EXE_daybreak-admin"));
        let command = command.arg("--data").arg(dir.join("data"));
        let output = command.args(["licence", "status"]).output().expect("runs");
        let told = String::from_utf8(output.stdout).expect("text");
        let moved =
            format!("warning: this data directory was installation {before} on another machine");
        assert!(told.contains(&moved), "{told}");
        std::fs::write(dir.join("machine-id"), "another machine\n").expect("written");
    });
    let admin = server.admin();
    let found = licensing(&admin);
    assert_ne!(this(&admin), before);
    assert_eq!(found["moved_from"], before.to_string());
    assert_eq!(
        (&found["licensed"], &found["counts"][0]["entitled"]),
        (&json!(false), &json!(10))
    );
    let listed = admin.get("/api/v1/licences").expect(200).json();
    assert_eq!(listed["refused"][0]["code"], "other_installation");
    // A new activation for the new machine puts it right.
    install(&admin, &file(&admin, 2, &[("terminal-connection", 11)])).expect(201);
    let found = licensing(&admin);
    assert_eq!(
        (&found["moved_from"], &found["licensed"]),
        (&Value::Null, &json!(true))
    );
}

#[test]
fn a_machine_without_an_identity_is_the_same_installation_at_every_start_until_it_has_one() {
    let server = Server::set_up();
    let before = this(&server.admin());
    // As an image of a system has it before its first start, which every machine of that image has.
    let start = |server: Server, machine: Option<&str>| {
        server.restarted_after(|dir| {
            let file = dir.join("machine-id");
            let _ = std::fs::remove_file(&file);
            if let Some(machine) = machine {
                std::fs::write(&file, machine).expect("written");
            }
        })
    };
    let mut server = start(server, None);
    let own = this(&server.admin());
    for machine in [Some("uninitialized\n"), Some(""), Some("\n"), None] {
        server = start(server, machine);
        assert_eq!(this(&server.admin()), own, "{machine:?}");
    }
    let kept = std::fs::read_to_string(keys(&server).join("machine-id")).expect("kept");
    assert!(kept.len() == 32 && kept.bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert_eq!(mode(&keys(&server).join("machine-id")), 0o600);
    assert!(before == own || licensing(&server.admin())["moved_from"] != Value::Null);
    // Once it has one, that counts.
    let server = start(server, Some("0123456789abcdef0123456789abcdef\n"));
    assert_ne!(this(&server.admin()), own);
    assert_ne!(licensing(&server.admin())["moved_from"], Value::Null);
}

#[test]
fn what_is_counted_is_left_out_beyond_its_count_and_listed() {
    let server = Server::set_up();
    let admin = server.admin();
    trust(&server);
    let products = [
        ("terminal-connection", 20),
        ("instant-failover", 2),
        ("windows-client", 20),
    ];
    install(&admin, &file(&admin, 1, &products)).expect(201);
    let settings =
        json!({"instant_failover": true, "windows_client": true, "shared_keyboard_mouse": true});
    let group = json!({"name": "all", "settings": settings});
    let group = admin.create("/api/v1/terminal-groups", &group);
    for number in 1..=3 {
        server.clock.set(1_700_000_000_000 + u64::from(number));
        let json = json!({"name": format!("t{number}"), "macs": [mac(number)], "group": group});
        let _ = admin.create("/api/v1/terminals", &json);
    }
    server.published(&admin);
    let problems = admin.get("/api/v1/problems").expect(200).json();
    let mut listed: Vec<(&str, &str)> = Vec::new();
    for problem in problems["items"].as_array().expect("items") {
        if problem["code"] == "over_licensed" {
            listed.push((
                problem["name"].as_str().expect("a name"),
                problem["field"].as_str().expect("a field"),
            ));
        }
    }
    listed.sort_unstable();
    // The third one came last; of the third product there is none.
    let shared = "settings.shared_keyboard_mouse";
    let expected = [
        ("t1", shared),
        ("t2", shared),
        ("t3", "settings.instant_failover"),
        ("t3", shared),
    ];
    assert_eq!(listed, expected);
    let counts = licensing(&admin)["counts"].clone();
    assert_eq!(
        counts[1],
        json!({"product": "instant-failover", "entitled": 2, "used": 3, "excess": 1})
    );
    assert_eq!(
        counts[3],
        json!({"product": "shared-keyboard-mouse", "entitled": 0, "used": 3, "excess": 3})
    );
    let file = |number| {
        let reader = daybreak_store::Reader::open(&server.dir.path().join("data")).expect("reader");
        let catalog = reader.load().expect("catalog");
        let name = format!("terminals/{}.json", mac(number));
        let image = catalog
            .open(catalog.lookup(name.as_bytes()).expect("there"))
            .expect("open");
        let mut content = vec![0; usize::try_from(image.len()).expect("small")];
        image.read_at(0, &mut content).expect("read");
        serde_json::from_slice::<Value>(&content).expect("JSON")
    };
    assert_eq!(
        (&file(2)["instant_failover"], &file(3)["instant_failover"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        (
            &file(3)["windows_client"],
            &file(3)["shared_keyboard_mouse"]
        ),
        (&json!(true), &json!(false))
    );
}

#[test]
fn licences_need_their_rights() {
    let server = Server::set_up();
    let admin = server.admin();
    let json = json!({"name": "op", "roles": ["operator"]});
    let id = admin.create("/api/v1/users", &json);
    let password = json!({"password": support::api::PASSWORD});
    admin
        .send("PUT", &format!("/api/v1/users/{id}/password"), &password)
        .expect(204);
    let operator = server.logged_in("op", support::api::PASSWORD);
    operator.get("/api/v1/licences").expect(200);
    assert_eq!(install(&operator, "x").expect(403).code(), "forbidden");
    operator.delete("/api/v1/licences/x").expect(403);
}
