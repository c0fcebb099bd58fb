//! Two real servers on this machine, each its administration and its engine: paired by a code, the same ever after.

use std::time::{Duration, Instant};

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::content::octets;
use daybreak_tests::pair::{PATIENCE, Server, pair, terminal};
use daybreak_tests::plant::Plant;
use daybreak_tests::raw::RawClient;
use daybreak_tests::terminals::Terminals;
use daybreak_tests::{poll, programs};
use serde_json::{Value, json};

#[test]
fn what_is_changed_on_one_is_on_the_other_and_served_by_its_engine() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    assert_eq!(a.status()["state"], "disabled");
    let one = a.api().create("/api/v1/terminals", &terminal("one", 1));
    let _ = pair(&a, &b);
    for server in [&a, &b] {
        server.wait_for_state("in-sync");
    }
    // What each had, both have.
    a.wait_until_served("only-on-b", b"b");
    b.wait_until_served("only-on-a", b"a");
    assert_eq!(b.terminal(&one).expect("it came")["name"], "one");
    let (ours, theirs) = (a.status(), b.status());
    assert_eq!(
        (&ours["role"], &theirs["role"]),
        (&json!("primary"), &json!("secondary"))
    );
    assert_eq!(ours["partner"]["name"], "b");
    assert_eq!(ours["software"], env!("CARGO_PKG_VERSION"));
    assert_eq!(ours["partner"]["software"], ours["software"]);
    assert_eq!(
        ours["protocol"],
        json!({"oldest": 1, "newest": 1, "spoken": 1})
    );
    assert_eq!(ours["partner"]["fingerprint"], theirs["fingerprint"]);

    // A change there, and a file here.
    let renamed = b.api().send(
        "PUT",
        &format!("/api/v1/terminals/{one}"),
        &terminal("uno", 1),
    );
    renamed.expect(200);
    poll::until("the new name on a", PATIENCE, || {
        a.terminal(&one).filter(|body| body["name"] == "uno")
    });
    let image: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    a.upload("firmware/linux/1/vmlinuz", &image);
    b.wait_until_served("firmware/linux/1/vmlinuz", &image);
    let file = "terminals/52:54:00:00:00:01.json";
    let rendered = Fetch::new(Client::Curl, a.tftp()).run(file);
    b.wait_until_served(file, &rendered.content.expect("rendered"));

    // A third is refused, on either side.
    let c = Server::new("c");
    let refused = a
        .api()
        .send("POST", "/api/v1/sync/pairing/code", &json!({}));
    assert_eq!(refused.expect(409).json()["code"], "paired");
    let code = c
        .api()
        .send("POST", "/api/v1/sync/pairing/code", &json!({}));
    let code = code.expect(201).json();
    let join = json!({"address": format!("127.0.0.1:{}", code["port"]), "code": code["code"]});
    let refused = b.api().send("POST", "/api/v1/sync/pairing", &join);
    assert_eq!(refused.expect(409).json()["code"], "paired");
    let metrics = a.api().get("/metrics").expect(200).body;
    assert!(
        metrics.contains("daybreak_admin_sync_state{state=\"in-sync\"} 1"),
        "{metrics}"
    );
}

#[test]
fn each_is_changed_while_the_other_is_down_and_both_are_the_same_afterwards() {
    let (mut a, mut b) = (Server::new("a"), Server::new("b"));
    let one = a.api().create("/api/v1/terminals", &terminal("one", 1));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    assert!(b.terminal(&one).is_some());
    b.stop();
    a.wait_for_state("peer-unreachable");
    a.api()
        .send(
            "PUT",
            &format!("/api/v1/terminals/{one}"),
            &terminal("here", 1),
        )
        .expect(200);
    let two = a.api().create("/api/v1/terminals", &terminal("two", 2));
    a.stop();
    b.start();
    // The other one is away, and it is known since when.
    assert!(b.status()["last_in_sync_ms"].is_u64(), "{}", b.status());
    b.api()
        .send(
            "PUT",
            &format!("/api/v1/terminals/{one}"),
            &terminal("there", 1),
        )
        .expect(200);
    let three = b.api().create("/api/v1/terminals", &terminal("three", 3));
    a.start();
    for server in [&a, &b] {
        server.wait_for_state("conflict");
        assert_eq!(server.terminal(&one).expect("there")["name"], "there");
        assert!(server.terminal(&two).is_some() && server.terminal(&three).is_some());
    }
    // The one that lost is looked at, and chosen.
    let conflicts = a.api().get("/api/v1/sync/conflicts").expect(200).json();
    let [conflict] = &conflicts["items"].as_array().expect("items")[..] else {
        panic!("one conflict: {conflicts}");
    };
    assert_eq!(conflict["values"][0]["body"]["name"], "there");
    assert_eq!(conflict["values"][1]["body"]["name"], "here");
    assert_eq!(
        conflict["values"][1]["body"]["status_key"],
        Value::Null,
        "what is sealed is not shown"
    );
    let choice = json!({
        "kind": "terminal", "id": one, "revision": conflict["revision"], "choice": 1,
    });
    a.api()
        .send("POST", "/api/v1/sync/conflicts", &choice)
        .expect(204);
    let again = a.api().send("POST", "/api/v1/sync/conflicts", &choice);
    assert_eq!(again.expect(404).json()["code"], "not_found");
    for server in [&a, &b] {
        server.wait_for_state("in-sync");
        assert_eq!(server.terminal(&one).expect("there")["name"], "here");
    }
}

#[test]
fn a_pair_is_made_with_the_code_alone_ended_on_either_side_and_made_anew() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let code = a
        .api()
        .send("POST", "/api/v1/sync/pairing/code", &json!({}))
        .expect(201)
        .json();
    let address = format!("127.0.0.1:{}", code["port"]);
    let wrong = json!({"address": address, "code": "0000-0000-0000-0000"});
    let refused = b.api().send("POST", "/api/v1/sync/pairing", &wrong);
    assert_eq!(refused.expect(409).json()["code"], "not_paired");
    let itself = json!({"address": address, "code": code["code"]});
    a.api()
        .send("POST", "/api/v1/sync/pairing", &itself)
        .expect(422);
    b.api()
        .send("POST", "/api/v1/sync/pairing", &itself)
        .expect(201);
    b.wait_for_state("in-sync");
    // A code is valid once, and nobody shows one who is paired.
    assert_eq!(a.status()["code_until_ms"], Value::Null);
    assert_eq!(b.api().delete("/api/v1/sync/pairing").status, 204);
    a.wait_for_state("peer-unreachable");
    assert_eq!(b.status()["state"], "disabled");
    let one = b.api().create("/api/v1/terminals", &terminal("one", 1));
    assert_eq!(a.api().delete("/api/v1/sync/pairing").status, 204);
    let _ = pair(&b, &a);
    a.wait_for_state("in-sync");
    assert!(a.terminal(&one).is_some());
    assert_eq!(a.status()["role"], "primary", "whoever had a role keeps it");
    // What was tried, and by whom, is in the audit.
    let audit = b.api().get("/api/v1/audit?kind=pairing").expect(200).json();
    assert_eq!(audit["items"].as_array().expect("items").len(), 3);
}

#[test]
fn c99_a_mirrored_secondary_refuses_changes_with_a_clear_message_and_still_boots() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let mirrored = json!({"key": "synchronization", "value": {"mode": "mirrored"}});
    a.api()
        .send("PUT", "/api/v1/settings/synchronization", &mirrored)
        .expect(201);
    poll::until("b is told", PATIENCE, || {
        (b.status()["editable"] == false).then_some(())
    });
    let refused = b
        .api()
        .send("POST", "/api/v1/terminals", &terminal("one", 1))
        .expect(409)
        .json();
    assert_eq!(refused["code"], "mirrored_secondary");
    let message = refused["message"].as_str().expect("a message");
    assert!(message.contains("primary, a (127.0.0.1:"), "{message}");
    let file = b.site().source("text", b"text");
    let file = file.to_str().expect("a plain path");
    b.api()
        .curl("PUT", "/api/v1/files/text", &["--upload-file", file])
        .expect(409);
    // The command line says the same.
    let import = ["import", file, "--name", "text"];
    let said = |args: &[&str]| {
        let output = b.site().admin(args);
        let said = String::from_utf8(output.stderr).expect("text");
        (output.status.success(), said)
    };
    poll::until("the command line knows", PATIENCE, || {
        let (_, why) = said(&["remove", "no-such-name"]);
        why.contains(message).then_some(())
    });
    for args in [&import[..], &["remove", "only-on-b"]] {
        let (done, why) = said(args);
        assert!(!done && why.contains(message), "{why}");
    }
    b.wait_until_served("only-on-b", b"b");
    for path in [
        "/api/v1/terminals",
        "/api/v1/sync/status",
        "/healthz",
        "/readyz",
        "/api/v1/session",
    ] {
        assert_eq!(b.api().get(path).status, 200, "{path}");
    }
    assert!(refused_of_all_changes(&b) > 40);
    let one = a.api().create("/api/v1/terminals", &terminal("one", 1));
    poll::until("the change of the primary", PATIENCE, || b.terminal(&one));
    b.wait_until_served("only-on-a", b"a");
    // The primary is lost for good: un-paired, this server is changed again.
    assert_eq!(b.api().delete("/api/v1/sync/pairing").status, 204);
    b.api()
        .send("POST", "/api/v1/terminals", &terminal("two", 2))
        .expect(201);
    let (done, why) = said(&import);
    assert!(done, "{why}");
}

/// Every change that the API knows is refused in the same way, but for those that `docs/api.md` lists. Gives how many were refused.
fn refused_of_all_changes(secondary: &Server) -> usize {
    let page = programs::repository().join("docs/api.md");
    let page = std::fs::read_to_string(page).expect("docs/api.md");
    let (_, listed) = page
        .split_once("<!-- changes anywhere -->")
        .expect("a table");
    let (listed, _) = listed.split_once("<!-- end of").expect("its end");
    let document = secondary.api().get("/api/v1/openapi.json").expect(200);
    let document = document.json();
    let mut refused = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_uppercase();
            let known = path.replace("{name}", "{name:.*}");
            if method == "GET" || listed.contains(&format!("`{method} {known}`")) {
                continue;
            }
            let path = ["{id}", "{name}", "{mac}", "{key}"]
                .iter()
                .fold(path.clone(), |path, part| path.replace(part, "1"));
            let answer = secondary.api().send(&method, &path, &json!({}));
            assert_eq!(answer.status, 409, "{method} {path}: {answer:?}");
            let code = &answer.json()["code"];
            assert_eq!(code, "mirrored_secondary", "{method} {path}");
            refused += 1;
        }
    }
    refused
}

#[test]
fn a_server_that_was_away_when_synchronization_was_switched_off_is_told_so_and_why() {
    let (mut a, mut b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let switch = |server: &Server, enabled: bool| {
        let value = json!({"key": "synchronization", "value": {"enabled": enabled}});
        let answer = server
            .api()
            .send("PUT", "/api/v1/settings/synchronization", &value);
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        if !enabled {
            server.wait_for_state("disabled");
        }
    };
    let told = |server: &Server| {
        server.wait_for_state("disabled");
        let message = server.status()["message"].clone();
        let message = message.as_str().expect("a message");
        assert!(message.contains("off on the other server"), "{message}");
    };
    // Whichever of the two makes the connections.
    b.stop();
    switch(&a, false);
    let one = a.api().create("/api/v1/terminals", &terminal("one", 1));
    b.start();
    told(&b);
    assert!(b.terminal(&one).is_none());
    switch(&a, true);
    b.wait_for_state("in-sync");
    assert!(b.terminal(&one).is_some());
    a.stop();
    switch(&b, false);
    a.start();
    told(&a);
    switch(&b, true);
    a.wait_for_state("in-sync");
}

#[test]
fn s10_a_replaced_server_that_returns_is_told_so_and_its_late_edits_are_conflicts_on_the_new_pair()
{
    // Whichever of the two had made the connections.
    for dialled_by_the_replaced in [true, false] {
        let (mut a, mut b, c) = (Server::new("a"), Server::new("b"), Server::new("c"));
        let one = a.api().create("/api/v1/terminals", &terminal("agreed", 1));
        let _ = match dialled_by_the_replaced {
            true => pair(&a, &b),
            false => pair(&b, &a),
        };
        b.wait_for_state("in-sync");
        assert!(b.terminal(&one).is_some());
        let change = |server: &Server, name: &str| {
            let path = format!("/api/v1/terminals/{one}");
            server
                .api()
                .send("PUT", &path, &terminal(name, 1))
                .expect(200);
        };
        // What nobody else hears of before it is dead.
        a.stop();
        change(&b, "late");
        let two = b.api().create("/api/v1/terminals", &terminal("two", 2));
        b.kill();
        a.start();
        change(&a, "newer");
        assert_eq!(a.api().delete("/api/v1/sync/pairing").status, 204);
        let _ = pair(&a, &c);
        c.wait_for_state("in-sync");
        // Also what the dead one had brought.
        c.wait_until_served("only-on-a", b"a");
        c.wait_until_served("only-on-b", b"b");
        let three = c.api().create("/api/v1/terminals", &terminal("three", 3));

        b.start();
        b.wait_for_state("refused");
        assert!(b.status()["last_in_sync_ms"].is_u64(), "{}", b.status());
        let message = b.status()["message"].clone();
        let message = message.as_str().expect("a message");
        assert!(message.contains("Un-pair"), "{message}");
        for server in [&a, &c] {
            server.wait_for_state("conflict");
            let is = |id: &str| server.terminal(id).map(|body| body["name"].clone());
            assert_eq!(is(&one), Some(json!("newer")));
            assert_eq!(is(&two), None);
            let conflicts = server.api().get("/api/v1/sync/conflicts").expect(200);
            let conflicts = conflicts.json();
            let late = conflicts["items"].as_array().expect("items").iter();
            let late = late.flat_map(|item| item["values"].as_array().expect("values"));
            let late: Vec<_> = late.map(|value| &value["body"]["name"]).collect();
            for name in ["late", "two"] {
                assert!(late.contains(&&json!(name)), "{conflicts}");
            }
        }
        assert!(b.terminal(&three).is_none(), "it is told nothing");
        assert_eq!(b.terminal(&one).expect("there")["name"], "late");
        assert_eq!(b.api().delete("/api/v1/sync/pairing").status, 204);
        assert_eq!(b.status()["state"], "disabled");
    }
}

#[test]
fn with_automatic_synchronization_every_terminal_reports_to_both_servers_and_without_to_its_own_list()
 {
    let (a, b) = (Server::new("a"), Server::new("b"));
    for (name, address) in [("a", "192.0.2.10"), ("b", "192.0.2.11")] {
        let server = json!({"name": name, "address": address});
        let _ = a.api().create("/api/v1/boot-servers", &server);
    }
    let mut own = terminal("own-list", 1);
    own["settings"] = json!({"status_monitors": ["192.0.2.11", "192.0.2.99"]});
    let _ = a.api().create("/api/v1/terminals", &own);
    let _ = a.api().create("/api/v1/terminals", &terminal("no-list", 2));
    let wait_until_told = |server: &Server, number: u32, expected: &[&str]| {
        let name = format!("terminals/52:54:00:00:00:{number:02x}.json");
        let what = format!("{expected:?} in {name}");
        poll::until(&what, PATIENCE, || {
            let file = Fetch::new(Client::Curl, server.tftp()).run(&name).content?;
            let file: Value = serde_json::from_slice(&file).expect("JSON");
            (file["status_monitors"] == json!(expected)).then_some(())
        });
    };
    let both = ["192.0.2.10", "192.0.2.11"];
    wait_until_told(&a, 1, &["192.0.2.11", "192.0.2.99"]);
    let _ = pair(&a, &b);
    for server in [&a, &b] {
        wait_until_told(server, 1, &["192.0.2.10", "192.0.2.11", "192.0.2.99"]);
        wait_until_told(server, 2, &both);
    }
    let off = json!({"key": "synchronization", "value": {"enabled": false}});
    let setting = "/api/v1/settings/synchronization";
    a.api().send("PUT", setting, &off).expect(201);
    for server in [&a, &b] {
        wait_until_told(server, 1, &["192.0.2.11", "192.0.2.99"]);
        wait_until_told(server, 2, &both);
    }
}

#[test]
fn what_happens_between_the_two_is_among_the_events_and_a_name_leads_to_an_address() {
    let (a, mut b) = (Server::new("a"), Server::new("b"));
    let discover = |name: &str| {
        let named = json!({"name": name});
        let path = "/api/v1/boot-servers/discover";
        a.api().send("POST", path, &named)
    };
    let found = discover("localhost").expect(200).json();
    let addresses = found["addresses"].as_array().expect("addresses");
    assert!(
        addresses.contains(&json!("127.0.0.1")) || addresses.contains(&json!("::1")),
        "{found}"
    );
    let nowhere = discover("no-such-host.invalid").expect(200).json();
    assert_eq!(nowhere["addresses"], json!([]));
    for bad in ["", "http://host", "a b", "host/x"] {
        assert_eq!(discover(bad).expect(422).json()["field"], "name", "{bad}");
    }

    let told = |server: &Server, expected: &[&str]| {
        poll::until(&format!("{expected:?}"), PATIENCE, || {
            let events = server.api().get("/api/v1/events?kind=pair").expect(200);
            let events = events.json();
            let events = events["items"].as_array().expect("items").iter();
            let what = events.map(|event| &event["details"]["what"]);
            let mut rest = expected.iter().peekable();
            // The newest comes first; in-sync may come and go more than once.
            for what in what.collect::<Vec<_>>().into_iter().rev() {
                rest.next_if(|next| what == **next);
            }
            rest.peek().is_none().then_some(())
        });
    };
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    b.kill();
    a.wait_for_state("peer-unreachable");
    b.start();
    a.wait_for_state("in-sync");
    // That of b comes when it has heard the last of a.
    b.wait_for_state("in-sync");
    assert_eq!(a.api().delete("/api/v1/sync/pairing").status, 204);
    told(
        &a,
        &["paired", "in-sync", "disconnected", "in-sync", "un-paired"],
    );
}

/// Terminals and images in turn, and either way in turn. Prints how long it takes until the other server's engine serves them:
/// `cargo test --release -p daybreak-tests --test pair c98_ -- --ignored --nocapture`
#[test]
#[ignore = "long: make test-long"]
fn c98_of_a_thousand_changes_99_in_100_are_served_by_the_other_server_within_a_second() {
    const CHANGES: u32 = 1000;
    const IMAGE_BYTES: usize = 100_000;
    let (a, b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let mut took: [Vec<Duration>; 2] = Default::default();
    for number in 1..=CHANGES {
        let (from, to) = match number % 4 {
            0 | 1 => (&a, &b),
            _ => (&b, &a),
        };
        let (file, expected) = match number % 2 {
            0 => {
                let (file, image) = (
                    format!("image-{number}"),
                    octets(number.into(), IMAGE_BYTES),
                );
                from.upload(&file, &image);
                (file, image)
            }
            _ => {
                let terminal = terminal(&format!("t{number}"), number);
                let _ = from.api().create("/api/v1/terminals", &terminal);
                let file = format!(
                    "terminals/{}.json",
                    terminal["macs"][0].as_str().expect("a card")
                );
                (file, terminal["name"].to_string().into_bytes())
            }
        };
        let done = Instant::now();
        poll::until(&file, PATIENCE, || {
            let transfer = RawClient::new(to.tftp()).try_hold(&file).ok()?;
            let served = transfer.finish();
            let is_it = |part: &[u8]| part == expected;
            served.windows(expected.len()).any(is_it).then_some(())
        });
        took[(number % 2) as usize].push(done.elapsed());
    }
    let all = took.concat();
    for (what, mut took) in [
        ("images", took[0].clone()),
        ("terminals", took[1].clone()),
        ("all", all),
    ] {
        took.sort_unstable();
        let at = |share: usize| took[took.len() * share / 100 - 1];
        let (median, p99, most) = (at(50), at(99), at(100));
        println!(
            "{what}: from acknowledged on one to served by the other: median {median:?}, p99 {p99:?}, most {most:?}"
        );
        assert!(p99 < Duration::from_secs(1), "{what}: {p99:?}");
    }
}

#[test]
#[ignore = "long: make test-long"]
fn an_image_on_its_way_to_the_other_server_does_not_starve_the_boots_at_the_pace_that_was_set() {
    // A quarter of the wire.
    boots_beside_an_image(Some(1_250_000));
}

#[test]
#[ignore = "long: make test-long"]
fn an_image_on_its_way_to_the_other_server_does_not_starve_the_boots_if_nothing_was_set() {
    boots_beside_an_image(None);
}

/// Terminals boot from a server whose only wire is slow, and again while it sends the other server a large image over that wire;
/// both twice, because a busy machine is slow at times. Prints how long they take:
/// `cargo test --release -p daybreak-tests --test pair starve -- --ignored --nocapture --test-threads 1`
fn boots_beside_an_image(bytes_per_second: Option<u32>) {
    let queue = ["tbf", "rate", "40mbit", "burst", "16kb", "limit", "64kb"];
    let plant = Plant::on_one_wire(&queue);
    let (a, b) = (plant.server(0), plant.server(1));
    let firmware = octets(1, 300_000);
    a.upload("firmware", &firmware);
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    if let Some(rate) = bytes_per_second {
        let pace = json!({"image_bytes_per_second": rate});
        let pace = json!({"key": "synchronization", "value": pace});
        let setting = "/api/v1/settings/synchronization";
        a.api().send("PUT", setting, &pace).expect(201);
        poll::until("the pace on b", PATIENCE, || {
            let there = b.api().get(setting);
            (there.status == 200).then_some(())
        });
    }
    let terminals = Terminals {
        host: Some(plant.clients()),
        clients: 20,
        file: "firmware",
        content: &firmware,
        deadline_s: 60,
    };
    let boots = || {
        let report = terminals.boot(&[a.tftp()]);
        report["completion_ms"]["max"].as_f64().expect("a time")
    };
    let to_go = || {
        b.status()["to_go"]["image_bytes_left"]
            .as_u64()
            .expect("octets")
    };
    let alone = boots().min(boots());
    a.upload("large", &octets(2, 40_000_000));
    let before = poll::until("the image to be on its way", PATIENCE, || {
        Some(to_go()).filter(|octets| (1..39_900_000).contains(octets))
    });
    let beside = boots().min(boots());
    let after = to_go();
    println!(
        "{alone} ms alone, {beside} ms beside {} octets of an image",
        before - after
    );
    assert!(0 < after && after < before, "the image goes on meanwhile");
    assert!(
        beside < 2.0 * alone,
        "{alone} ms alone, {beside} ms beside an image"
    );
}
