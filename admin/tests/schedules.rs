//! Schedules on the real server: they run when they are due, once after they were missed, and keep what they should.

mod support;

use serde_json::{Value, json};
use support::api::{Client, Server};
use support::until;

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Sessions end with the time that these tests let pass; keys do not.
fn key(server: &Server) -> String {
    let rights = [
        "schedules.read",
        "schedules.write",
        "backups.read",
        "backups.create",
        "audit.read",
    ];
    let key = json!({"name": "test", "rights": rights});
    let made = server
        .admin()
        .send("POST", "/api/v1/api-keys", &key)
        .expect(201);
    made.json()["secret"].as_str().expect("a secret").to_owned()
}

fn status(client: &Client<'_>, id: &str) -> Value {
    client
        .get(&format!("/api/v1/schedules/{id}/status"))
        .expect(200)
        .json()
}

fn backups(client: &Client<'_>) -> Vec<Value> {
    let listed = client.get("/api/v1/backups").expect(200).json();
    listed["items"].as_array().expect("items").clone()
}

fn finished(client: &Client<'_>, id: &str, due_ms: u64) -> Value {
    until("the run", || {
        let status = status(client, id);
        let last = &status["last"];
        (last["due_ms"] == due_ms && last["finished_ms"].is_u64()).then(|| last.clone())
    })
}

#[test]
fn a_schedule_runs_when_it_is_due_and_once_after_it_was_missed() {
    let server = Server::set_up();
    let secret = key(&server);
    let admin = server.with_key(&secret);
    let daily =
        json!({"name": "nightly", "when": {"every": "day", "time": "23:00"}, "keep": {"count": 2}});
    let id = admin.create("/api/v1/schedules", &daily);
    // The clock of the tests begins at 22:13:20 of that day.
    let first = 1_700_002_800_000;
    let stands = status(&admin, &id);
    assert_eq!(
        (&stands["next_ms"], &stands["last"]),
        (&json!(first), &Value::Null)
    );
    assert_eq!(stands["next_local"], "2023-11-14 23:00");
    assert!(backups(&admin).is_empty());

    server.clock.set(first);
    let last = finished(&admin, &id, first);
    assert_eq!(last["error"], Value::Null, "{last}");
    let made = backups(&admin);
    assert_eq!(made.len(), 1);
    assert_eq!(
        (&made[0]["id"], &made[0]["reason"], &made[0]["schedule"]),
        (&last["backup"], &json!("schedule"), &json!(id))
    );
    assert_eq!(status(&admin, &id)["next_ms"], first + DAY_MS);

    // Off for a week: one run for all that were missed.
    server.clock.set(first + 7 * DAY_MS + HOUR_MS);
    let server = server.restarted();
    let admin = server.with_key(&secret);
    finished(&admin, &id, first + 7 * DAY_MS);
    assert_eq!(backups(&admin).len(), 2);
    let server = server.restarted();
    let admin = server.with_key(&secret);

    // Two stay; what was made by hand is none of them.
    let by_hand = admin
        .send("POST", "/api/v1/backups", &json!({}))
        .expect(202)
        .json();
    until("the one by hand", || {
        (admin
            .get(&format!("/api/v1/backups/{}", by_hand["id"].as_str()?))
            .json()["state"]
            == "done")
            .then_some(())
    });
    server.clock.set(first + 8 * DAY_MS);
    let last = finished(&admin, &id, first + 8 * DAY_MS);
    let left = until("retention", || {
        Some(backups(&admin)).filter(|left| left.len() == 3)
    });
    assert!(left.iter().any(|backup| backup["id"] == by_hand["id"]));
    assert!(left.iter().any(|backup| backup["id"] == last["backup"]));
    assert!(
        !left.iter().any(|backup| backup["id"] == made[0]["id"]),
        "the oldest went"
    );

    // Disabled, it runs no more.
    admin
        .send_if(
            "PATCH",
            &format!("/api/v1/schedules/{id}"),
            "*",
            &json!({"enabled": false}),
        )
        .expect(200);
    assert_eq!(status(&admin, &id)["next_ms"], Value::Null);
    let audit = admin.get("/api/v1/audit?limit=500").expect(200).json();
    let rows = audit["items"].as_array().expect("rows").iter();
    let by_schedule =
        rows.filter(|row| row["actor"] == "schedule nightly" && row["action"] == "create");
    assert_eq!(by_schedule.count(), 3);
}

#[test]
fn a_run_that_fails_says_why_and_the_next_one_is_tried() {
    let server = Server::set_up();
    let secret = key(&server);
    let admin = server.with_key(&secret);
    let daily = json!({"name": "nightly", "when": {"every": "day", "time": "23:00"}});
    let id = admin.create("/api/v1/schedules", &daily);
    let folder = server.dir.path().join("data/backups");
    let aside = server.dir.path().join("aside");
    std::fs::rename(&folder, &aside).expect("moved");
    let first = 1_700_002_800_000;
    server.clock.set(first);
    let last = finished(&admin, &id, first);
    assert!(
        last["error"]
            .as_str()
            .is_some_and(|why| why.contains("backups")),
        "{last}"
    );
    std::fs::rename(&aside, &folder).expect("moved");
    server.clock.set(first + DAY_MS);
    assert_eq!(finished(&admin, &id, first + DAY_MS)["error"], Value::Null);
    assert_eq!(backups(&admin).len(), 1);
}

#[test]
fn a_schedule_that_cannot_be_is_refused_with_the_field() {
    let server = Server::set_up();
    let admin = server.admin();
    for (when, field) in [
        (json!({"every": "day", "time": "24:00"}), "when.time"),
        (json!({"every": "day", "time": "2:30"}), "when.time"),
        (
            json!({"every": "month", "day": 0, "time": "02:30"}),
            "when.day",
        ),
        (
            json!({"every": "year", "month": 13, "day": 1, "time": "02:30"}),
            "when.month",
        ),
        (
            json!({"every": "week", "on": [], "time": "02:30"}),
            "when.on",
        ),
        (
            json!({"every": "once", "date": "2027-02-29", "time": "02:30"}),
            "when.date",
        ),
    ] {
        let body = json!({"name": "x", "when": when});
        let refused = admin
            .send("POST", "/api/v1/schedules", &body)
            .expect(422)
            .json();
        let told = refused["field"].as_str().expect("a field");
        // What is wrong within a choice is told of the choice.
        assert!(field.starts_with(told), "{when}: {refused}");
    }
    let keep = json!({"name": "x", "when": {"every": "day", "time": "02:30"}, "keep": {"days": 0}});
    assert_eq!(
        admin
            .send("POST", "/api/v1/schedules", &keep)
            .expect(422)
            .json()["field"],
        "keep.days"
    );
}
