//! Every kind of object over the API: created, read, replaced, patched, deleted, listed in pages.

mod support;

use daybreak_admin::kind::{Kind, Setting};
use serde_json::{Value, json};
use support::api::{Client, Server};
use support::mac;

/// The body of the `number`th object of a kind, and one that breaks a rule, with the field that does.
fn bodies(kind: Kind, number: u32) -> (Value, Value, &'static str) {
    let name = format!("object-{number:02}");
    let terminal = json!({"name": name, "macs": [mac(number)]});
    match kind {
        Kind::Terminal => (terminal, json!({"name": "x", "macs": ["1"]}), "macs[0]"),
        Kind::TerminalGroup => (
            json!({"name": name}),
            json!({"name": "x", "settings": {"display": {"width_px": 1, "height_px": 600}}}),
            "settings.display.width_px",
        ),
        Kind::TerminalServer => (
            json!({"name": name, "address": "a.example", "protocol": "rdp"}),
            json!({"name": "x", "address": "a b", "protocol": "rdp"}),
            "address",
        ),
        Kind::TermCap => (
            json!({"name": name, "architecture": "x86-bios"}),
            json!({"name": "x", "architecture": "x86-bios", "pci_ids": ["10EC:8139"]}),
            "pci_ids[0]",
        ),
        Kind::FirmwarePackage => (
            json!({"name": name}),
            json!({"name": "x", "active": "1"}),
            "active",
        ),
        Kind::Module => (
            json!({"name": name}),
            json!({"name": "x", "parameters": [{"name": "p", "default": "1", "choices": ["2"]}]}),
            "parameters[0].default",
        ),
        Kind::BootServer => (
            json!({"name": name, "address": "192.0.2.1"}),
            json!({"name": "x", "address": "192.0.2.1", "priority": -1}),
            "priority",
        ),
        Kind::Schedule => (
            json!({"name": name, "when": {"every": "day", "time": "02:30"}}),
            json!({"name": "x", "when": {"every": "month", "day": 0, "time": "02:30"}}),
            "when.day",
        ),
        Kind::User => (
            json!({"name": name, "roles": ["monitor"]}),
            json!({"name": "X", "roles": []}),
            "name",
        ),
        Kind::Role => (
            json!({"name": name, "rights": ["terminals.read"]}),
            json!({"name": "x", "rights": ["nothing"]}),
            "rights[0]",
        ),
        Kind::ApiKey => (
            json!({"name": name, "rights": []}),
            json!({"name": "x", "rights": [1]}),
            "rights[0]",
        ),
        other => panic!("{other:?} needs a sample here"),
    }
}

fn names(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items").iter();
    items
        .map(|item| item["body"]["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// All pages of a list, three at a time.
fn all_pages(admin: &Client<'_>, list: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = admin
            .get(&format!("{list}&limit=3{after}"))
            .expect(200)
            .json();
        found.extend(names(&page));
        let Some(next) = page["next"].as_str() else {
            return found;
        };
        after = format!("&after={next}");
    }
}

#[test]
fn every_kind_is_created_read_changed_listed_and_deleted_in_the_same_way() {
    let server = Server::set_up();
    let admin = server.admin();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Setting) {
        let path = format!("/api/v1/{}", kind.path());
        let ids: Vec<String> = (0..8)
            .map(|number| admin.create(&path, &bodies(kind, number).0))
            .collect();
        let place = format!("{path}/{}", ids[0]);
        let (body, wrong, field) = bodies(kind, 0);
        let refused = admin.send("POST", &path, &wrong).expect(422);
        assert_eq!(refused.json()["field"], field, "{kind:?}");
        let taken = admin.send("POST", &path, &bodies(kind, 1).0).expect(409);
        assert_eq!(taken.json()["field"], "name", "{kind:?}");

        // Lost updates are refused, whichever way.
        let tag = admin
            .get(&place)
            .expect(200)
            .header("etag")
            .expect("a tag")
            .to_owned();
        assert_eq!(
            admin.send("PUT", &place, &body).expect(428).code(),
            "revision_required"
        );
        let renamed = admin
            .send_if("PATCH", &place, &tag, &json!({"name": "object-00b"}))
            .expect(200);
        assert_ne!(renamed.header("etag"), Some(tag.as_str()), "{kind:?}");
        for (method, json) in [
            ("PUT", &body),
            ("PATCH", &json!({"name": "y"})),
            ("DELETE", &json!(null)),
        ] {
            assert_eq!(
                admin.send_if(method, &place, &tag, json).expect(412).code(),
                "stale",
                "{kind:?} {method}"
            );
        }
        let unknown = admin
            .send_if("PATCH", &place, "*", &json!({"nonsense": 1}))
            .expect(422);
        assert_eq!(unknown.json()["field"], "nonsense", "{kind:?}");
        admin.send_if("PUT", &place, "*", &body).expect(200);

        // Pages, orders, filters.
        let list = format!("{path}?name=OBJECT-");
        let mut ordered: Vec<String> = (0..8).map(|number| format!("object-{number:02}")).collect();
        assert_eq!(all_pages(&admin, &list), ordered, "{kind:?}");
        ordered.reverse();
        assert_eq!(
            all_pages(&admin, &format!("{list}&sort=-name")),
            ordered,
            "{kind:?}"
        );
        let changed = all_pages(&admin, &format!("{list}&sort=changed"));
        assert_eq!(
            (changed.len(), changed[7].as_str()),
            (8, "object-00"),
            "{kind:?}"
        );
        assert_eq!(
            all_pages(&admin, &format!("{list}&sort=id")).len(),
            8,
            "{kind:?}"
        );
        let page = admin
            .get(&format!("{path}?name=object-03"))
            .expect(200)
            .json();
        assert_eq!(
            (names(&page), &page["total"]),
            (vec!["object-03".to_owned()], &json!(1)),
            "{kind:?}"
        );
        assert_eq!(
            admin.get(&format!("{path}?sort=remark")).expect(400).json()["field"],
            "sort"
        );

        for id in &ids {
            admin.delete(&format!("{path}/{id}")).expect(204);
        }
        admin.get(&place).expect(404);
    }
}

/// A value of a setting, and one that breaks a rule, with the field that does.
fn values(key: &str) -> (Value, Value, &'static str) {
    let script = |text: &str| (json!(text), json!("{{ polcy }}"), "value");
    match key {
        "terminal-defaults" => (
            json!({"instant_failover": true}),
            json!({"status_monitors": ["a b"]}),
            "value",
        ),
        "ipxe-script" | "unknown-ipxe-script" => (json!("#!ipxe\n"), json!("boot"), "value"),
        "pxelinux-script" | "unknown-pxelinux-script" => script("default local\n"),
        "grub-script" | "unknown-grub-script" => script("echo menu\n"),
        "unknown-terminals" => (
            json!({"policy": "hold", "name_mask": null, "group": null}),
            json!({"policy": "create"}),
            "value.name_mask",
        ),
        "event-days" => (json!(30), json!(0), "value"),
        "boot-loaders" => (
            json!({"x86-bios": "undionly.kpxe", "x86-64-uefi": "ipxe/ipxe.efi"}),
            json!({"x86-bios": "../undionly.kpxe"}),
            "value",
        ),
        "synchronization" => (
            json!({"enabled": true, "mode": "full", "image_bytes_per_second": 1_000_000}),
            json!({"mode": "half"}),
            "value.mode",
        ),
        "seat-days" => (json!(90), json!(3651), "value"),
        other => panic!("{other} needs a sample here"),
    }
}

#[test]
fn every_setting_is_set_read_patched_and_given_back() {
    let server = Server::set_up();
    let admin = server.admin();
    for key in Setting::KEYS {
        let (value, wrong, field) = values(key);
        let place = format!("/api/v1/settings/{key}");
        admin.get(&place).expect(404);
        admin
            .send("PUT", &place, &json!({"key": key, "value": value}))
            .expect(201);
        let refused = admin
            .send_if("PATCH", &place, "*", &json!({"value": wrong}))
            .expect(422)
            .json();
        assert!(
            refused["field"]
                .as_str()
                .is_some_and(|found| found.starts_with(field)),
            "{key}: {refused}"
        );
        assert_eq!(admin.get(&place).expect(200).json()["body"]["value"], value);
        // What is patched is what is sent; the rest stays.
        admin
            .send_if("PATCH", &place, "*", &json!({"value": value}))
            .expect(200);
        assert_eq!(admin.get(&place).expect(200).json()["body"]["value"], value);
        admin.delete(&place).expect(204);
        admin.get(&place).expect(404);
    }
}
