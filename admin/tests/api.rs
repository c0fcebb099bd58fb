//! The API as a program uses it: objects, conditions, lists, errors, files.

mod support;

use serde_json::{Value, json};
use support::api::Server;
use support::mac;

fn terminal(number: u32) -> Value {
    json!({"name": format!("t{number}"), "macs": [mac(number)]})
}

#[test]
fn a_site_is_configured_published_and_shown_with_where_each_setting_comes_from() {
    let server = Server::set_up();
    let admin = server.admin();
    let package = admin.create(
        "/api/v1/firmware-packages",
        &json!({"name": "linux", "active": "1", "versions": [
            {"version": "1", "boot": [{"architecture": "x86-64-uefi", "kernel": "vmlinuz"}]},
            {"version": "2", "boot": [{"architecture": "x86-64-uefi", "kernel": "vmlinuz"}]},
        ]}),
    );
    let model = json!({"name": "box", "architecture": "x86-64-uefi", "mac_prefixes": ["52:54:00"], "package": package});
    let model = admin.create("/api/v1/term-caps", &model);
    let group = json!({"name": "halls", "settings": {"instant_failover": true}});
    let group = admin.create("/api/v1/terminal-groups", &group);
    let json = json!({"name": "kiosk-7", "macs": [mac(7)], "group": group, "settings": {"allow_shadowing": true}});
    let id = admin.create("/api/v1/terminals", &json);
    let defaults = json!({"key": "terminal-defaults", "value": {"enforce_boot_priority": true}});
    admin
        .send("PUT", "/api/v1/settings/terminal-defaults", &defaults)
        .expect(201);
    let found = admin
        .get(&format!("/api/v1/terminals/{id}/effective"))
        .expect(200)
        .json();
    let box_itself = json!({"id": model, "name": "box"});
    let by_prefix = json!({"kind": "term-cap", "id": model, "name": "box"});
    assert_eq!(
        found["model"],
        json!({"value": box_itself, "from": by_prefix})
    );
    let settings = &found["settings"];
    assert_eq!(
        settings["allow_shadowing"],
        json!({"value": true, "from": {"kind": "terminal", "id": id, "name": "kiosk-7"}})
    );
    assert_eq!(
        settings["instant_failover"]["from"],
        json!({"kind": "terminal-group", "id": group, "name": "halls"})
    );
    assert_eq!(settings["enforce_boot_priority"]["from"]["kind"], "setting");
    assert_eq!(
        settings["firmware"]["value"]["kernel"],
        "firmware/linux/1/vmlinuz"
    );
    assert_eq!(settings["firmware"]["from"]["kind"], "term-cap");
    assert_eq!(
        settings["display"],
        json!({"value": null, "from": {"kind": "built-in"}})
    );
    server.published(&admin);
    let files = admin.get("/api/v1/files?prefix=boot/").expect(200).json();
    assert_eq!(files["items"][0]["name"], format!("boot/{}.ipxe", mac(7)));
    // A staged rollout: one terminal goes first, and back.
    let place = format!("/api/v1/terminals/{id}");
    let named = json!({"model": model});
    admin.send_if("PATCH", &place, "*", &named).expect(200);
    let found = admin.get(&format!("{place}/effective")).expect(200).json();
    assert_eq!(
        found["model"]["from"],
        json!({"kind": "terminal", "id": id, "name": "kiosk-7"})
    );
    let kernel = || {
        admin.get(&format!("{place}/effective")).expect(200).json()["settings"]["firmware"]["value"]
            ["kernel"]
            .clone()
    };
    let first = json!({"settings": {"firmware": {"package": package, "version": "2"}}});
    admin.send_if("PATCH", &place, "*", &first).expect(200);
    assert_eq!(kernel(), "firmware/linux/2/vmlinuz");
    admin
        .send_if(
            "PATCH",
            &place,
            "*",
            &json!({"settings": {"firmware": null}}),
        )
        .expect(200);
    assert_eq!(kernel(), "firmware/linux/1/vmlinuz");
    // What is gone is a problem, and stops nothing.
    let in_use = admin.delete(&format!("/api/v1/firmware-packages/{package}"));
    assert_eq!(in_use.expect(409).code(), "in_use");
    admin
        .delete(&format!("/api/v1/firmware-packages/{package}?force=true"))
        .expect(204);
    server.published(&admin);
    let problems = admin.get("/api/v1/problems").expect(200).json();
    let codes: Vec<_> = problems["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["code"].clone())
        .collect();
    assert_eq!(codes, ["dangling_reference", "no_firmware"]);
}

#[test]
fn a_change_says_which_state_it_is_for() {
    let server = Server::set_up();
    let admin = server.admin();
    let made = admin
        .send("POST", "/api/v1/terminals", &terminal(1))
        .expect(201);
    let place = made.header("location").expect("a place").to_owned();
    let tag = made.header("etag").expect("a tag").to_owned();
    assert_eq!(admin.get(&place).expect(200).header("etag"), Some(&*tag));
    for method in ["PUT", "PATCH", "DELETE"] {
        assert_eq!(
            admin.send(method, &place, &terminal(1)).expect(428).code(),
            "revision_required"
        );
        assert_eq!(
            admin
                .send_if(method, &place, "\"0\"", &terminal(1))
                .expect(412)
                .code(),
            "stale"
        );
        assert_eq!(
            admin
                .send_if(method, &place, &format!("W/{tag}"), &terminal(1))
                .expect(412)
                .code(),
            "stale"
        );
    }
    let changed = admin
        .send_if("PATCH", &place, &tag, &json!({"remark": "first"}))
        .expect(200);
    assert_eq!(changed.json()["body"]["remark"], "first");
    let lost = admin.send_if("PATCH", &place, &tag, &json!({"remark": "second"}));
    assert_eq!(lost.expect(412).code(), "stale");
    let newer = changed.header("etag").expect("a tag");
    admin
        .send_if("PUT", &place, &format!("\"x\", {newer}"), &terminal(2))
        .expect(200);
    assert_eq!(admin.get(&place).expect(200).json()["body"]["remark"], "");
    admin.delete(&place).expect(204);
    assert_eq!(admin.get(&place).expect(404).code(), "not_found");
}

#[test]
fn a_refused_request_names_the_field_and_what_to_do() {
    let server = Server::set_up();
    let admin = server.admin();
    admin.create("/api/v1/terminals", &terminal(1));
    for (json, status, code, field) in [
        (
            json!({"name": "a b", "macs": [mac(2)]}),
            422,
            "invalid",
            "name",
        ),
        (json!({"macs": [mac(2)]}), 422, "invalid", "name"),
        (
            json!({"name": "T1", "macs": [mac(2)]}),
            409,
            "taken",
            "name",
        ),
        (
            json!({"name": "b", "macs": [mac(1)]}),
            409,
            "taken",
            "macs[0]",
        ),
        (
            json!({"name": "b", "macs": [mac(2)], "group": "none"}),
            422,
            "dangling_reference",
            "group",
        ),
        (
            json!({"name": "b", "macs": [mac(2)], "id": "mine"}),
            422,
            "invalid",
            "id",
        ),
        (json!([]), 422, "invalid", ""),
    ] {
        let answer = admin
            .send("POST", "/api/v1/terminals", &json)
            .expect(status)
            .json();
        assert_eq!(
            (answer["code"].as_str(), answer["field"].as_str()),
            (Some(code), Some(field)),
            "{json}"
        );
        assert!(answer["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
    }
}

#[test]
fn what_is_not_http_json_or_here_is_refused_in_the_same_shape() {
    let server = Server::set_up();
    let admin = server.admin();
    let json_type = [("Content-Type", "application/json")];
    let at = "/api/v1/terminals";
    for (answer, status, code) in [
        (admin.raw("POST", at, &json_type, b"{"), 400, "not_json"),
        (
            admin.raw("POST", at, &json_type, b"\xff\xfe"),
            400,
            "not_json",
        ),
        (
            admin.raw("POST", at, &json_type, &vec![b'['; 100_000]),
            400,
            "not_json",
        ),
        (
            admin.raw("POST", at, &[("Content-Type", "text/plain")], b"{}"),
            415,
            "not_json_type",
        ),
        // Refused by its length, before the rest of it is sent.
        (
            admin.raw(
                "POST",
                at,
                &[json_type[0], ("Content-Length", "600000")],
                b"{",
            ),
            413,
            "too_large",
        ),
        (
            admin.raw("OPTIONS", at, &[], b""),
            405,
            "method_not_allowed",
        ),
        (admin.get("/api/v1/nothing"), 404, "not_found"),
        (
            admin.get("/api/v1/terminals/%2e%2e%2fconfig.db"),
            400,
            "invalid_path",
        ),
        (
            admin.get("/api/v1/terminals/'%20OR%201=1"),
            400,
            "invalid_path",
        ),
        (
            admin.get("/api/v1/terminals?sort=name;drop"),
            400,
            "invalid_query",
        ),
        (
            admin.get("/api/v1/terminals?sort=body"),
            400,
            "invalid_query",
        ),
        (
            admin.get("/api/v1/terminals?limit=501"),
            400,
            "invalid_query",
        ),
        (
            admin.get("/api/v1/terminals?limit=1&limit=2"),
            400,
            "invalid_query",
        ),
        (
            admin.get("/api/v1/terminals?nonsense=1"),
            400,
            "invalid_query",
        ),
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert!(
            answer.header("x-request-id").is_some()
                && answer.header("x-content-type-options") == Some("nosniff")
        );
    }
}

#[test]
fn a_length_that_lies_costs_nothing() {
    let server = Server::set_up();
    let admin = server.admin();
    for length in [
        "4294967295",
        "2147483647",
        "18446744073709551615",
        "-1",
        "99999999999999999999999",
    ] {
        let headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", length),
        ];
        let answer = admin.raw("POST", "/api/v1/terminals", &headers, b"{}");
        assert!(
            [400, 413].contains(&answer.status),
            "{length}: {}",
            answer.status
        );
    }
    admin.get("/healthz").expect(200);
}

#[test]
fn a_list_is_paged_in_a_stable_order_filtered_and_sorted() {
    let server = Server::set_up();
    let admin = server.admin();
    let group = admin.create("/api/v1/terminal-groups", &json!({"name": "g"}));
    for number in 0..25 {
        let mut json = terminal(number);
        if number % 5 == 0 {
            json["group"] = json!(group);
            json["enabled"] = json!(false);
        }
        admin.create("/api/v1/terminals", &json);
    }
    let pages = |query: &str| {
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let page = admin
                .get(&format!("/api/v1/terminals?limit=7&{query}{after}"))
                .expect(200)
                .json();
            let items = page["items"].as_array().expect("items");
            names.extend(
                items
                    .iter()
                    .map(|item| item["body"]["name"].as_str().expect("a name").to_owned()),
            );
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return names,
            }
        }
    };
    let mut expected: Vec<String> = (0..25).map(|number| format!("t{number}")).collect();
    let made = expected.clone();
    expected.sort();
    assert_eq!(pages("sort=name"), expected);
    expected.reverse();
    assert_eq!(pages("sort=-name"), expected);
    assert_eq!(pages("sort=changed"), made);
    let mut by_id = pages("sort=id");
    by_id.sort();
    expected.sort();
    assert_eq!(by_id, expected);
    assert_eq!(
        pages(&format!("group={group}")),
        ["t0", "t10", "t15", "t20", "t5"]
    );
    assert_eq!(pages("enabled=false&name=T1"), ["t10", "t15"]);
    assert_eq!(pages("mac=52-54-00-00-00-07"), ["t7"]);
    assert_eq!(pages("name='%20OR%201=1%20--").len(), 0);
    // What comes and goes in between neither repeats nor hides what was there all the time.
    let first = admin.get("/api/v1/terminals?limit=7").expect(200).json();
    assert_eq!(first["total"], 25);
    let last = first["items"][6]["id"]
        .as_str()
        .expect("an identifier")
        .to_owned();
    admin
        .delete(&format!("/api/v1/terminals/{last}"))
        .expect(204);
    admin.create(
        "/api/v1/terminals",
        &json!({"name": "a-first", "macs": [mac(100)]}),
    );
    let next = first["next"].as_str().expect("more");
    let second = admin
        .get(&format!("/api/v1/terminals?limit=1&after={next}"))
        .expect(200)
        .json();
    expected.sort();
    assert_eq!(second["items"][0]["body"]["name"], expected[7]);
}

#[test]
fn every_change_is_in_the_audit_with_who_when_before_and_after() {
    let server = Server::set_up();
    let admin = server.admin();
    let id = admin.create("/api/v1/terminals", &terminal(1));
    let place = format!("/api/v1/terminals/{id}");
    admin
        .send_if("PATCH", &place, "*", &json!({"remark": "x"}))
        .expect(200);
    let rows = admin
        .get(&format!("/api/v1/audit?kind=terminal&id={id}"))
        .expect(200)
        .json();
    let rows = rows["items"].as_array().expect("rows").clone();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["action"], &rows[0]["actor"]),
        (&json!("change"), &json!("user admin"))
    );
    assert_eq!(
        (&rows[0]["before"]["remark"], &rows[0]["after"]["remark"]),
        (&json!(""), &json!("x"))
    );
    assert_eq!(rows[0]["time_ms"], 1_700_000_000_000_u64);
    let all = admin.get("/api/v1/audit?limit=2").expect(200).json();
    let older = admin
        .get(&format!("/api/v1/audit?before={}", all["next"]))
        .expect(200)
        .json();
    assert_eq!(older["items"][0]["actor"], "set-up");
}

#[test]
fn the_audit_tells_of_files_and_passwords_too_and_is_filtered_by_who_what_and_when() {
    let server = Server::set_up();
    let admin = server.admin();
    admin
        .raw("PUT", "/api/v1/files/a/b", &[], b"one")
        .expect(201);
    admin
        .raw("PUT", "/api/v1/files/a/b", &[], b"two")
        .expect(200);
    admin
        .raw("PUT", "/api/v1/files/a/b", &[], b"two")
        .expect(200);
    admin.delete("/api/v1/files/a/b").expect(204);
    server.clock.set(1_700_000_100_000);
    let secret = "another long password";
    let me = admin.get("/api/v1/session").expect(200).json()["user"].clone();
    let place = format!("/api/v1/users/{}/password", me.as_str().expect("a user"));
    admin
        .send("PUT", &place, &json!({"password": secret}))
        .expect(204);
    let admin = server.logged_in("admin", secret);
    let rows = |query: &str| {
        let answer = admin.get(&format!("/api/v1/audit?{query}")).expect(200);
        assert!(!String::from_utf8_lossy(&answer.body).contains(secret));
        answer.json()["items"].as_array().expect("items").clone()
    };
    let files = rows("kind=file&id=a/b");
    let actions: Vec<_> = files
        .iter()
        .map(|row| row["action"].as_str().expect("a word"))
        .collect();
    assert_eq!(actions, ["delete", "change", "create"]);
    assert_eq!(
        files[1]["before"]["blake3"],
        blake3::hash(b"one").to_hex().to_string()
    );
    assert_eq!(
        files[1]["after"],
        json!({"bytes": 3, "blake3": blake3::hash(b"two").to_hex().to_string()})
    );
    assert_eq!(files[1]["actor"], "user admin");
    assert_eq!(rows("action=secret&since_ms=1700000100000").len(), 1);
    assert_eq!(rows("action=secret&until_ms=1700000100000").len(), 0);
    assert_eq!(rows("actor=set-up").len(), 1);
    assert_eq!(rows("actor=user%20admin&kind=file&limit=2").len(), 2);
    for wrong in [
        "kind=nothing",
        "action=look",
        "since_ms=-1",
        "since_ms=18446744073709551615",
        "before=x",
    ] {
        admin.get(&format!("/api/v1/audit?{wrong}")).expect(400);
    }
}

#[test]
fn shadowing_is_reserved() {
    let server = Server::set_up();
    let admin = server.admin();
    let json = json!({"name": "t1", "macs": [mac(1)], "settings": {"allow_shadowing": true}});
    let id = admin.create("/api/v1/terminals", &json);
    let answer = admin.raw("POST", &format!("/api/v1/terminals/{id}/shadow"), &[], b"");
    assert_eq!(answer.expect(409).code(), "not_available_yet");
    admin
        .raw("POST", "/api/v1/terminals/nothing/shadow", &[], b"")
        .expect(404);
}

#[test]
fn the_documentation_to_try_out_is_all_here() {
    let server = Server::set_up();
    let anybody = server.anybody();
    let page = anybody.get("/api/docs").expect(200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        !policy.contains("http")
            && !policy.contains("unsafe")
            && policy.contains("script-src 'self'"),
        "{policy}"
    );
    let html = String::from_utf8(page.body.clone()).expect("UTF-8");
    let named = |attribute: &str| {
        let parts = html.split(attribute).skip(1);
        parts
            .map(|rest| rest.split('"').next().expect("a value").to_owned())
            .collect::<Vec<_>>()
    };
    for place in named("src=\"").into_iter().chain(named("href=\"")) {
        assert!(
            place.starts_with("/api/docs/") || place == "data:,",
            "{place}"
        );
        if place.starts_with('/') {
            let part = anybody.get(&place).expect(200);
            assert_eq!(part.header("x-content-type-options"), Some("nosniff"));
            let kind = part.header("content-type").expect("a type");
            assert!(kind.starts_with(if place.ends_with(".css") {
                "text/css"
            } else {
                "text/javascript"
            }));
            // A style sheet that fetched something would name it so.
            let text = String::from_utf8_lossy(&part.body).into_owned();
            assert!(
                !place.ends_with(".css")
                    || (!text.contains("@import")
                        && !text.contains("url(http")
                        && !text.contains("url(//"))
            );
            assert!(place != "/api/docs/swagger-ui-bundle.js" || text.len() > 500_000);
        }
    }
    assert!(
        html.matches("<script").count() == named("<script src=\"").len(),
        "no script within the page"
    );
    let start =
        String::from_utf8(anybody.get("/api/docs/start.js").expect(200).body).expect("UTF-8");
    assert!(
        start.contains("\"/api/v1/openapi.json\"")
            && start.contains("validatorUrl: null")
            && !start.contains("://")
    );
    anybody.get("/api/docs/index.html").expect(404);
}

#[test]
fn health_readiness_and_metrics_say_how_it_is() {
    let server = Server::set_up();
    let admin = server.admin();
    admin.create("/api/v1/terminals", &terminal(1));
    server.published(&admin);
    server.anybody().get("/healthz").expect(200);
    server.anybody().get("/readyz").expect(200);
    let metrics = String::from_utf8(admin.get("/metrics").expect(200).body).expect("UTF-8");
    for line in [
        "daybreak_admin_objects{kind=\"terminal\"} 1",
        "daybreak_admin_publish_failing 0",
        "daybreak_admin_problems 1",
        "daybreak_admin_requests_total{method=\"POST\",status=\"201\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\nis not in\n{metrics}");
    }
}
