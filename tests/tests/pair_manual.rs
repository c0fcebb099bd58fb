//! Synchronization by hand, on the real programs: a plan that is looked at, a run that does it, in either direction, also with a server
//! that is not of the pair; and what is chosen by hand where both servers have changed something at once.

use daybreak_sync::limits::VALUES_MAX;
use daybreak_tests::content::octets;
use daybreak_tests::pair::{PATIENCE, Server, pair, terminal};
use daybreak_tests::poll;
use serde_json::{Value, json};

/// Restores a backup, as operators do: the differences first.
fn restore(server: &Server, backup: &str) {
    let planned = json!({"backup": backup});
    let begun = server.api().send("POST", "/api/v1/restores", &planned);
    let begun = begun.expect(202).json();
    let id = begun["id"].as_str().expect("an identifier");
    let path = format!("/api/v1/restores/{id}");
    let wait_until = |state: &str| {
        poll::until(&format!("a restore is {state}"), PATIENCE, || {
            let restore = server.api().get(&path).expect(200).json();
            assert_ne!(restore["state"], "failed", "{restore}");
            (restore["state"] == state).then_some(())
        });
    };
    wait_until("planned");
    server
        .api()
        .send("POST", &format!("{path}/start"), &json!({}))
        .expect(202);
    wait_until("done");
}

/// The identifiers of its licences.
fn licences(server: &Server) -> Vec<Value> {
    let listed = server.api().get("/api/v1/licences").expect(200).json();
    let listed = listed["items"].as_array().expect("items").iter();
    let ids: Vec<_> = listed.map(|licence| licence["id"].clone()).collect();
    assert!(!ids.is_empty());
    ids
}

/// What would change.
fn planned(server: &Server, wanted: &Value) -> Value {
    let plan = server.api().send("POST", "/api/v1/sync/plans", wanted);
    plan.expect(201).json()
}

/// Confirms it, and gives where it is to be looked at.
fn begun(server: &Server, plan: &Value) -> String {
    let wanted = json!({"plan": plan["id"]});
    let run = server.api().send("POST", "/api/v1/sync/runs", &wanted);
    let id = run.expect(202).json()["id"].clone();
    format!("/api/v1/sync/runs/{}", id.as_str().expect("an id"))
}

/// Confirms it, and gives how that ended.
fn run_of(server: &Server, plan: &Value) -> Value {
    let path = begun(server, plan);
    poll::until("the end of the run", PATIENCE, || {
        let run = server.api().get(&path).expect(200).json();
        (run["state"] != "running").then_some(run)
    })
}

#[test]
fn a_server_is_made_the_same_as_the_other_by_hand_and_a_stale_plan_is_refused() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let off = json!({"key": "synchronization", "value": {"enabled": false}});
    let setting = "/api/v1/settings/synchronization";
    a.api().send("PUT", setting, &off).expect(201);
    for server in [&a, &b] {
        server.wait_for_state("disabled");
    }
    let image: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    a.upload("new.bin", &image);
    b.upload("old.bin", b"only here");
    let one = a.api().create("/api/v1/terminals", &terminal("one", 1));
    let other = b.api().create("/api/v1/terminals", &terminal("other", 2));
    let plan = |server: &Server| planned(server, &json!({"source": "partner"}));
    let stale = plan(&b);
    assert_eq!(
        (&stale["source"], &stale["destination"]),
        (&json!("a"), &json!("b"))
    );
    let shown: Vec<_> = stale["differences"]
        .as_array()
        .expect("differences")
        .iter()
        .collect();
    let shown: Vec<_> = shown
        .iter()
        .map(|item| (&item["name"], &item["action"]))
        .collect();
    assert!(
        shown.contains(&(&json!("new.bin"), &json!("add"))),
        "{shown:?}"
    );
    assert!(shown.contains(&(&json!("one"), &json!("add"))), "{shown:?}");
    assert!(
        shown.contains(&(&json!("other"), &json!("delete"))),
        "{shown:?}"
    );

    // Somebody changes something before it is confirmed: nothing is done.
    let two = b.api().create("/api/v1/terminals", &terminal("two", 3));
    let run = |plan: &Value| run_of(&b, plan);
    let refused = run(&stale);
    assert_eq!(refused["state"], "failed");
    assert!(
        refused["error"]
            .as_str()
            .expect("why")
            .contains("has changed since"),
        "{refused}"
    );
    assert!(
        b.terminal(&other).is_some() && b.terminal(&two).is_some() && b.terminal(&one).is_none()
    );

    // Each has a licence of its own, and keeps it.
    let [of_a, of_b] = [&a, &b].map(licences);
    assert_ne!(of_a, of_b);
    let done = run(&plan(&b));
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!([of_a, of_b], [&a, &b].map(licences));
    assert_eq!(
        (&done["objects_done"], &done["bytes_done"]),
        (&done["objects"], &done["bytes"])
    );
    assert!(
        b.terminal(&one).is_some() && b.terminal(&other).is_none() && b.terminal(&two).is_none()
    );
    b.wait_until_served("new.bin", &image);
    assert_eq!(plan(&b)["total"], 0);

    // Automatic synchronization goes on from there, and brings nothing back.
    let on = json!({"key": "synchronization", "value": {"enabled": true}});
    for server in [&a, &b] {
        server.api().send("PUT", setting, &on).expect(200);
    }
    for server in [&a, &b] {
        server.wait_for_state("in-sync");
        assert!(server.terminal(&one).is_some() && server.terminal(&other).is_none());
    }

    // What was overwritten is in a backup like any other, with the images that nothing named afterwards.
    let gc = b.site().admin(&["gc", "--retention", "0s"]);
    assert!(gc.status.success(), "{gc:?}");
    let backup = done["backup"].as_str().expect("a backup");
    let listed = b.api().get("/api/v1/backups").expect(200).json();
    let listed = listed["items"].as_array().expect("backups").iter();
    let listed: Vec<_> = listed.filter(|item| item["id"] == backup).collect();
    assert_eq!(listed[0]["reason"], "before-synchronization");
    assert_eq!(
        (&listed[0]["state"], &listed[0]["images"]),
        (&json!("done"), &json!(1))
    );
    restore(&b, backup);
    b.wait_until_served("old.bin", b"only here");
    // Then automatic synchronization was off, and is again.
    for server in [&a, &b] {
        server.api().send("PUT", setting, &on).expect(200);
    }
    for server in [&a, &b] {
        server.wait_for_state("in-sync");
        poll::until("the state before, on both", PATIENCE, || {
            let back = [&other, &two].map(|id| server.terminal(id).is_some());
            (back == [true, true] && server.terminal(&one).is_none()).then_some(())
        });
    }
    a.wait_until_served("old.bin", b"only here");
}

#[test]
fn by_hand_either_direction_is_chosen_and_a_third_server_may_be_listed() {
    let (a, b, mut c) = (Server::new("a"), Server::new("b"), Server::new("c"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    // A pair is two; the third one is known for synchronization by hand alone, and takes part in nothing else.
    let code = a
        .api()
        .send("POST", "/api/v1/sync/servers/code", &json!({}));
    let code = code.expect(201).json();
    let join = json!({"address": format!("127.0.0.1:{}", code["port"]), "code": code["code"]});
    let wrong = c.api().send("POST", "/api/v1/sync/pairing", &join);
    assert_eq!(wrong.expect(409).json()["code"], "not_paired");
    c.api()
        .send("POST", "/api/v1/sync/servers", &join)
        .expect(201);
    let listed = |server: &Server| -> String {
        let servers = server.api().get("/api/v1/sync/servers").expect(200).json();
        let [one] = &servers["items"].as_array().expect("items")[..] else {
            panic!("one: {servers}");
        };
        one["fingerprint"].as_str().expect("a text").to_owned()
    };
    let (of_c, of_a) = (listed(&a), listed(&c));
    assert_eq!(c.status()["state"], "disabled");
    let image: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    a.upload("new.bin", &image);
    let one = a.api().create("/api/v1/terminals", &terminal("one", 1));
    let other = c.api().create("/api/v1/terminals", &terminal("other", 2));

    let plan = |server: &Server, wanted: Value| planned(server, &wanted);
    let run = run_of;
    let to_c = json!({"source": "this", "destination": of_c});
    let stale = plan(&a, to_c.clone());
    assert_eq!(
        (&stale["source"], &stale["destination"]),
        (&json!("a"), &json!("c"))
    );
    let two = c.api().create("/api/v1/terminals", &terminal("two", 3));
    let refused = run(&a, &stale);
    let why = refused["error"].as_str().expect("why");
    assert!(why.contains("destination has changed since"), "{refused}");
    assert!(c.terminal(&other).is_some() && c.terminal(&one).is_none());
    let done = run(&a, &plan(&a, to_c));
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(
        (&done["objects_done"], &done["bytes_done"]),
        (&done["objects"], &done["bytes"])
    );
    // Its accounts are those of a from now on.
    c.take_key_of(&a);
    assert!(c.terminal(&one).is_some() && c.terminal(&other).is_none());
    assert!(c.terminal(&two).is_none());
    c.wait_until_served("new.bin", &image);
    let audit = c.api().get("/api/v1/audit?limit=500").expect(200).body;
    assert!(audit.contains(" on a\""), "who has ordered it: {audit}");
    // Edits of one do not come to the other, in neither direction, until somebody says so.
    let three = c.api().create("/api/v1/terminals", &terminal("three", 4));
    let pulled = run(&a, &plan(&a, json!({"source": of_c})));
    assert_eq!(pulled["state"], "done", "{pulled}");
    for server in [&a, &b] {
        poll::until("what was taken from c", PATIENCE, || {
            server.terminal(&three)
        });
    }
    // Within the pair, too; and what would be nonsense is refused.
    let nothing = plan(&b, json!({"source": "this", "destination": "partner"}));
    assert_eq!(nothing["destination"], "a");
    for (wanted, status) in [
        (json!({"source": "this"}), 422),
        (json!({"source": "partner", "destination": of_c}), 422),
        (json!({"source": of_a}), 404),
    ] {
        let refused = a.api().send("POST", "/api/v1/sync/plans", &wanted);
        assert_eq!(refused.status, status, "{wanted}");
    }
    // Off the list on one side, it is refused by that one.
    let path = format!("/api/v1/sync/servers/{of_a}");
    assert_eq!(c.api().delete(&path).status, 204);
    let unknown = json!({"source": of_c});
    let refused = a.api().send("POST", "/api/v1/sync/plans", &unknown);
    assert_eq!(refused.expect(409).json()["code"], "not_paired");
}

#[test]
fn conflicts_of_a_pair_are_settled_by_hand_and_automatic_synchronization_goes_on_from_that() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let one = a.api().create("/api/v1/terminals", &terminal("one", 1));
    let two = a.api().create("/api/v1/terminals", &terminal("two", 2));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let path = |id: &str| format!("/api/v1/terminals/{id}");
    let change = |server: &Server, id: &str, name: &str, number| {
        let changed = terminal(name, number);
        let changed = server.api().send("PUT", &path(id), &changed);
        changed.expect(200);
    };
    a.switch_synchronization(&b, false);
    change(&a, &one, "uno", 1);
    change(&b, &one, "eins", 1);
    change(&b, &two, "zwei", 2);
    a.api().delete(&path(&two)).expect(204);
    a.switch_synchronization(&b, true);
    for server in [&a, &b] {
        server.wait_for_state("conflict");
    }

    // Both hold the same, and what somebody has to look at is what differs.
    let plan = planned(&b, &json!({"source": "partner"}));
    let shown = |of: &str| -> Vec<Value> {
        let items = plan["differences"].as_array().expect("differences");
        let shown = items.iter().filter(|item| item["conflict"] == true);
        shown.map(|item| item[of].clone()).collect()
    };
    assert_eq!(plan["total"], 2, "{plan}");
    let mut actions = shown("action");
    actions.sort_by_key(Value::to_string);
    assert_eq!(actions, [json!("change"), json!("delete")], "{plan}");
    assert!(shown("name").contains(&json!("zwei")), "{plan}");
    let done = run_of(&b, &plan);
    assert_eq!(done["state"], "done", "{done}");
    let three = a.api().create("/api/v1/terminals", &terminal("three", 3));
    for server in [&a, &b] {
        poll::until("what is made afterwards", PATIENCE, || {
            server.terminal(&three)
        });
        server.wait_for_state("in-sync");
        let conflicts = server.api().get("/api/v1/sync/conflicts").expect(200);
        assert_eq!(conflicts.json()["total"], 0);
        assert_eq!(server.terminal(&one).expect("there")["name"], "eins");
        assert!(server.terminal(&two).is_none());
    }
    assert_eq!(planned(&b, &json!({"source": "partner"}))["total"], 0);
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_run_is_as_it_was_before_or_as_it_is_to_be() {
    const PARTS: u64 = 2;
    let (a, mut b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    a.switch_synchronization(&b, false);
    // About a second for each run, so that there is a middle.
    slow_down(&b, 10_000_000);
    let image = octets(1, 10_000_000);
    a.upload("large", &image);
    for number in 1..10 {
        let name = format!("t{number}");
        let _ = a
            .api()
            .create("/api/v1/terminals", &terminal(&name, number));
    }
    let _ = b.api().create("/api/v1/terminals", &terminal("here", 99));
    let names = |server: &Server| -> Vec<String> {
        let terminals = server.api().get("/api/v1/terminals?limit=500").expect(200);
        let terminals = terminals.json();
        let items = terminals["items"].as_array().expect("items").iter();
        let mut names: Vec<_> = items.map(|item| item["body"]["name"].to_string()).collect();
        names.sort();
        names
    };
    let (before, after) = (names(&b), names(&a));
    let from_a = json!({"source": "partner"});
    for part in 0..=PARTS {
        let path = begun(&b, &planned(&b, &from_a));
        poll::until("a part of the run", PATIENCE, || {
            let run = b.api().get(&path).expect(200).json();
            let [done, all] = ["bytes_done", "bytes"].map(|of| run[of].as_u64().expect("octets"));
            let is_far = done * PARTS >= all * part;
            (is_far || run["state"] != "running").then_some(())
        });
        b.kill();
        b.start();
        let now = names(&b);
        assert!(now == before || now == after, "{now:?}");
    }
    let done = run_of(&b, &planned(&b, &from_a));
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(names(&b), after);
    b.wait_until_served("large", &image);
}

/// Has this server fetch images at no more than this, while synchronization is off.
fn slow_down(server: &Server, bytes_per_second: u32) {
    let value = json!({"enabled": false, "image_bytes_per_second": bytes_per_second});
    let setting = json!({"key": "synchronization", "value": value});
    let path = "/api/v1/settings/synchronization";
    server.api().send("PUT", path, &setting).expect(200);
}

#[test]
#[ignore = "long: make test-long"]
fn a_destination_that_is_stopped_in_the_middle_of_a_run_fails_it_within_a_minute_and_the_next_one_succeeds()
 {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    a.switch_synchronization(&b, false);
    slow_down(&b, 1_000_000);
    let image = octets(1, 5_000_000);
    a.upload("large", &image);
    let to_b = json!({"source": "this", "destination": "partner"});
    let path = begun(&a, &planned(&a, &to_b));
    let run = || a.api().get(&path).expect(200).json();
    poll::until("a part of the run", PATIENCE, || {
        (run()["bytes_done"].as_u64() > Some(0)).then_some(())
    });
    b.administration().process().pause();
    let ended = poll::until("the end of the run", 2 * PATIENCE, || {
        Some(run()).filter(|run| run["state"] != "running")
    });
    assert_eq!(ended["state"], "failed", "{ended}");
    let why = ended["error"].as_str().expect("why");
    assert!(why.contains("it says nothing any more"), "{why}");
    b.administration().process().go_on();
    // It finds the connection closed, and has done nothing.
    let done = poll::until("the next run", PATIENCE, || {
        Some(run_of(&a, &planned(&a, &to_b))).filter(|run| run["state"] == "done")
    });
    assert_eq!(done["bytes_done"], done["bytes"], "{done}");
    b.wait_until_served("large", &image);
}

#[test]
fn c100_a_file_that_lost_a_conflict_is_served_when_it_is_chosen_also_after_a_collection() {
    let (mut a, mut b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    a.switch_synchronization(&b, false);
    a.upload("kernel", b"of a, and first");
    b.upload("kernel", b"of b, and later");
    a.switch_synchronization(&b, true);
    for server in [&mut a, &mut b] {
        server.wait_for_state("conflict");
        server.wait_until_served("kernel", b"of b, and later");
        // It may hold what it served before.
        server.kill_engine();
        server.start_engine();
        let gc = server.site().admin(&["gc", "--retention", "0s"]);
        let said = String::from_utf8(gc.stdout).expect("text");
        assert!(said.starts_with("0 images (0 octets), "), "{said}");
    }
    let conflicts = a.api().get("/api/v1/sync/conflicts").expect(200).json();
    let conflict = &conflicts["items"][0];
    assert_eq!(conflict["values"][1]["body"]["bytes"], 15, "{conflicts}");
    let choice = json!({
        "kind": conflict["kind"], "id": conflict["id"], "revision": conflict["revision"], "choice": 1,
    });
    let chosen = a.api().send("POST", "/api/v1/sync/conflicts", &choice);
    chosen.expect(204);
    for server in [&a, &b] {
        server.wait_until_served("kernel", b"of a, and first");
        server.wait_for_state("in-sync");
    }
}

#[test]
fn what_does_not_fit_into_an_object_any_more_is_told_among_the_events() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let one = a.api().create("/api/v1/terminals", &terminal("one", 1));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let path = format!("/api/v1/terminals/{one}");
    // Each round leaves one more that lost, and nobody ever chooses.
    for round in 1..=VALUES_MAX {
        a.switch_synchronization(&b, false);
        for (server, name) in [(&a, "of-a"), (&b, "of-b")] {
            let name = format!("{name}-{round}");
            let changed = server.api().send("PUT", &path, &terminal(&name, 1));
            changed.expect(200);
        }
        a.switch_synchronization(&b, true);
        for server in [&a, &b] {
            server.wait_for_state("conflict");
        }
    }
    let told = poll::until("it is told", PATIENCE, || {
        let events = [&a, &b].map(|server| {
            let events = server.api().get("/api/v1/events?kind=pair").expect(200);
            events.json()["items"].as_array().expect("items").clone()
        });
        let mut events = events.into_iter().flatten();
        events.find(|event| event["details"]["what"] == "values-dropped")
    });
    assert_eq!(told["details"]["id"], one.as_str(), "{told}");
    assert_eq!(told["details"]["values"], 1, "{told}");
    for server in [&a, &b] {
        let conflicts = server.api().get("/api/v1/sync/conflicts").expect(200);
        let conflicts = conflicts.json();
        let values = conflicts["items"][0]["values"].as_array().expect("values");
        assert_eq!(values.len(), VALUES_MAX, "{conflicts}");
    }
}
