//! Two processes, one directory: neither needs the other to live, and both find each other's work again.

use std::time::Duration;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::metrics::Metrics;
use daybreak_tests::raw::RawClient;
use daybreak_tests::site::Site;
use daybreak_tests::{content, poll};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(10);

const MAC: &str = "52:54:00:00:00:07";

#[test]
fn the_engine_survives_the_kill_of_the_administration_and_serves_what_the_next_one_publishes() {
    let site = Site::new();
    let image = content::octets(1, 3_000_000);
    site.import("image", &image);
    let mut engine = site.engine(&[]);
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let id = api.create(
        "/api/v1/terminals",
        &json!({"name": "before", "macs": [MAC]}),
    );
    api.wait_until_published();
    let key = api.key().expect("a key").to_owned();
    let script = format!("terminals/{MAC}.json");
    let served = || {
        Fetch::new(Client::Curl, engine.address())
            .run(&script)
            .content
    };
    poll::until("the terminal is served", PATIENCE, || {
        served().filter(|text| names(text, "before"))
    });

    // In the middle of a transfer: it goes on.
    let transfer = RawClient::new(engine.address()).hold("image");
    administration.kill();
    assert!(transfer.finish() == image);
    Fetch::new(Client::Atftp, engine.address()).expect("image", &image);
    assert!(served().is_some_and(|text| names(&text, "before")));

    // The next one knows everything, and its changes are served.
    let administration = site.administration(&[]);
    let api = administration.with_key(&key);
    let place = format!("/api/v1/terminals/{id}");
    api.send("PATCH", &place, &json!({"name": "after"}))
        .expect(200);
    poll::until("the change is served", PATIENCE, || {
        served().filter(|text| names(text, "after"))
    });
    assert!(engine.is_running());
}

#[test]
fn the_administration_survives_the_kill_of_the_engine_and_the_next_engine_serves_what_was_published_meanwhile()
 {
    let site = Site::new();
    site.import("image", b"content");
    let engine = site.engine(&[]);
    let mut administration = site.administration(&[]);
    let api = administration.set_up();
    Fetch::new(Client::Curl, engine.address()).expect("image", b"content");
    engine.kill();
    let terminal = json!({"name": "meanwhile", "macs": [MAC]});
    let _ = api.create("/api/v1/terminals", &terminal);
    api.wait_until_published();
    api.get("/readyz").expect(200);
    let engine = site.engine(&[]);
    let fetched = Fetch::new(Client::Curl, engine.address()).run(&format!("terminals/{MAC}.json"));
    assert!(names(&fetched.content.expect("served"), "meanwhile"));
    assert!(administration.is_running());
    assert!(administration.terminate(PATIENCE).success());
}

#[test]
fn the_metrics_of_both_are_one_text_as_long_as_the_engine_tells_its_own() {
    let site = Site::new();
    site.import("image", b"content");
    let engine = site.engine(&[]);
    let at = engine.metrics_address().to_string();
    let administration = site.administration(&["--engine-metrics", &at]);
    let api = administration.set_up();
    Fetch::new(Client::Curl, engine.address()).expect("image", b"content");
    let read = || {
        let text = api.get("/metrics").expect(200).body;
        assert_eq!(text.matches("# EOF").count(), 1, "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        // No name is told twice: else a Prometheus server refuses all of it.
        let mut told: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("# TYPE "))
            .collect();
        let all = told.len();
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), all, "{text}");
        Metrics::of(&text)
    };
    let both = poll::until("the transfer is counted", PATIENCE, || {
        Some(read())
            .filter(|metrics| metrics.sum("daybreak_engine_transfers_completed_total") == 1.0)
    });
    assert_eq!(both.sum("daybreak_admin_engine_reachable"), 1.0);
    assert_eq!(
        both.sum("daybreak_admin_catalog_generation"),
        both.sum("daybreak_engine_catalog_generation")
    );

    engine.kill();
    let alone = read();
    assert_eq!(alone.sum("daybreak_admin_engine_reachable"), 0.0);
    assert!(
        !alone
            .names()
            .iter()
            .any(|name| name.starts_with("daybreak_engine"))
    );
    assert!(alone.names().contains(&"daybreak_admin_objects"));
}

fn names(text: &[u8], name: &str) -> bool {
    serde_json::from_slice::<serde_json::Value>(text).is_ok_and(|json| json["name"] == name)
}
