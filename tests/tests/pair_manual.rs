//! Synchronization by hand, on the real programs: a plan that is looked at, a run that does it, in either direction, also with a server
//! that is not of the pair.

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
    let plan = |server: &Server| -> Value {
        let wanted = json!({"source": "partner"});
        let plan = server.api().send("POST", "/api/v1/sync/plans", &wanted);
        plan.expect(201).json()
    };
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
    let run = |plan: &Value| -> Value {
        let run = b
            .api()
            .send("POST", "/api/v1/sync/runs", &json!({"plan": plan["id"]}));
        let id = run.expect(202).json()["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        poll::until("the end of the run", PATIENCE, || {
            let run = b
                .api()
                .get(&format!("/api/v1/sync/runs/{id}"))
                .expect(200)
                .json();
            (run["state"] != "running").then_some(run)
        })
    };
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

    let done = run(&plan(&b));
    assert_eq!(done["state"], "done", "{done}");
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

    let plan = |server: &Server, wanted: Value| {
        let plan = server.api().send("POST", "/api/v1/sync/plans", &wanted);
        plan.expect(201).json()
    };
    let run = |server: &Server, plan: &Value| -> Value {
        let wanted = json!({"plan": plan["id"]});
        let run = server.api().send("POST", "/api/v1/sync/runs", &wanted);
        let id = run.expect(202).json()["id"].clone();
        let path = format!("/api/v1/sync/runs/{}", id.as_str().expect("an id"));
        poll::until("the end of the run", PATIENCE, || {
            let run = server.api().get(&path).expect(200).json();
            (run["state"] != "running").then_some(run)
        })
    };
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
