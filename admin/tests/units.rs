//! Units that are no terminal's, and units that take the place of dead ones.

mod support;

use daybreak_admin::configuration::{ChangeError, Configuration};
use daybreak_admin::database::{AuditFilter, Database};
use daybreak_admin::kind::{Body, Kind, MacAddress};
use daybreak_admin::object::Id;
use daybreak_admin::publish::Compiler;
use daybreak_admin::replacement::{NewUnit, OldUnit, ReplaceError, replace as replace_unit};
use daybreak_admin::unknown::{AdoptError, Seen, Sighting, forget, held, seen_unknown};
use serde_json::{Value, json};
use support::api::Server;
use support::plant::Plant;
use support::{Site, actor, mac};

const NAMES: [&str; 4] = [
    "boot/unknown.ipxe",
    "pxelinux.cfg/unknown",
    "grub.cfg-unknown",
    "terminals/unknown.json",
];

fn card(number: u32) -> MacAddress {
    MacAddress::parse(&mac(number)).expect("a card")
}

fn see(configuration: &Configuration, numbers: impl IntoIterator<Item = u32>) -> Seen {
    let sighting = |number| Sighting {
        mac: card(number),
        address: "192.0.2.77".parse().expect("an address"),
        time_ms: configuration.now_ms(),
    };
    let sightings: Vec<Sighting> = numbers.into_iter().map(sighting).collect();
    seen_unknown(configuration, &sightings).expect("noted")
}

fn policy(site: &Site, value: &Value) {
    let key = Id::parse("unknown-terminals").expect("a key");
    let json = json!({"key": key, "value": value});
    if site
        .configuration
        .site()
        .object(Kind::Setting, &key)
        .is_some()
    {
        site.try_replace(Kind::Setting, &key, &json).expect("set");
    } else {
        site.create(Kind::Setting, &json);
    }
}

fn macs(site: &Site) -> Vec<MacAddress> {
    let units = held(&site.configuration).expect("a list");
    units.iter().map(|unit| unit.mac).collect()
}

#[test]
fn unknown_units_are_refused_unless_the_site_says_otherwise() {
    let plant = Plant::new();
    assert_eq!(see(&plant.site.configuration, [1]), Seen::default());
    assert_eq!(macs(&plant.site), []);
    plant.publish(&mut Compiler::new());
    for name in NAMES {
        assert_eq!(plant.served(name), None, "{name}");
    }
}

#[test]
fn a_held_unit_is_listed_once_until_it_is_a_terminal_or_forgotten() {
    let site = Site::new();
    policy(&site, &json!({"policy": "hold"}));
    let seen = see(&site.configuration, [1, 2, 1]);
    assert_eq!((seen.held, seen.left_out), (2, 0));
    site.clock.set(2_000_000);
    see(&site.configuration, [1]);
    let units = held(&site.configuration).expect("a list");
    assert_eq!(units[0].mac, card(1), "the latest first");
    assert_eq!(
        (units[0].first_ms, units[0].last_ms),
        (1_000_000, 2_000_000)
    );
    let site = site.restarted();
    assert_eq!(macs(&site), [card(1), card(2)]);
    site.create(Kind::Terminal, &json!({"name": "t", "macs": [mac(1)]}));
    assert_eq!(macs(&site), [card(2)]);
    see(&site.configuration, [1]);
    assert_eq!(macs(&site), [card(2)], "known by now");
    site.clock.set(2_000_000 + 8 * 24 * 3600 * 1000);
    see(&site.configuration, [3]);
    assert_eq!(macs(&site), [card(3)], "a week without a request");
    forget(&site.configuration, &actor(), card(3)).expect("forgotten");
    assert_eq!(macs(&site), []);
    let again = forget(&site.configuration, &actor(), card(3));
    assert!(matches!(again, Err(AdoptError::NotHeld(_))));
    let audit = |database: &Database| database.audit(&AuditFilter::default(), 1);
    let audit = site.configuration.with_database(audit);
    let last = audit.expect("an audit").remove(0);
    assert_eq!(
        (last.action, last.kind, last.id),
        ("delete".into(), "unknown-terminal".into(), mac(3))
    );
    assert!(last.before.is_some_and(|unit| unit.contains("first_ms")));
}

#[test]
fn strangers_do_not_fill_the_disk() {
    let site = Site::new();
    policy(&site, &json!({"policy": "hold"}));
    let seen = see(&site.configuration, 0..3000);
    assert_eq!((seen.held, seen.left_out), (1000, 2000));
    let again = see(&site.configuration, 0..3000);
    assert_eq!((again.held, again.left_out), (1000, 2000));
    assert_eq!(macs(&site).len(), 1000);
    policy(&site, &json!({"policy": "create", "name_mask": "x#"}));
    let seen = see(&site.configuration, 5000..5020);
    assert_eq!(seen.created.len(), 9, "as many as there are names");
}

#[test]
fn unknown_units_become_terminals_by_the_mask() {
    let site = Site::new();
    let group = site.create(Kind::TerminalGroup, &json!({"name": "new ones"}));
    let unnamed = json!({"key": "unknown-terminals", "value": {"policy": "create"}});
    let refused = site
        .try_create(Kind::Setting, &unnamed)
        .expect_err("no names");
    assert_eq!(refused.field(), Some("value.name_mask"));
    policy(
        &site,
        &json!({"policy": "create", "name_mask": "line-####", "group": group}),
    );
    site.create(
        Kind::Terminal,
        &json!({"name": "LINE-0002", "macs": [mac(9)]}),
    );
    let seen = see(&site.configuration, [1, 2, 9]);
    assert_eq!(seen.created.len(), 2);
    let state = site.configuration.site();
    let names: Vec<&str> = state
        .table(Kind::Terminal)
        .by_name()
        .map(|object| object.body.name())
        .collect();
    assert_eq!(names, ["line-0001", "LINE-0002", "line-0003"]);
    let Body::Terminal(terminal) = &state
        .object(Kind::Terminal, &seen.created[0])
        .expect("there")
        .body
    else {
        panic!("a terminal");
    };
    assert_eq!(
        (&terminal.macs, terminal.group.as_ref()),
        (&vec![card(1)], Some(&group))
    );
    assert_eq!(see(&site.configuration, [1, 2]).created, []);
    let audit = site
        .configuration
        .with_database(|database| database.audit(&AuditFilter::default(), 1))
        .expect("audit");
    assert_eq!(audit[0].actor, "policy unknown-terminals");
}

#[test]
fn an_unknown_unit_gets_the_boot_menu_with_both_servers_and_finds_its_model() {
    let plant = Plant::new();
    let model = json!({"name": "T610 $(x) \"fast\"", "architecture": "x86-64-uefi", "package": plant.package, "pci_ids": ["10ec:8139"]});
    plant.site.create(Kind::TermCap, &model);
    plant.site.create(
        Kind::TermCap,
        &json!({"name": "nothing to boot", "architecture": "arm-uboot", "package": plant.package}),
    );
    policy(&plant.site, &json!({"policy": "hold"}));
    let mut compiler = Compiler::new();
    plant.publish(&mut compiler);
    let [ipxe, pxelinux, grub, file] = NAMES.map(|name| plant.served(name).expect(name));
    for line in [
        "iseq ${netX/busid} 01:10:ec:81:39 && set model (T610 __x_ _fast_) ||\n",
        "item choice1 T610 __x_ _fast_: linux 1\n",
        "kernel tftp://192.0.2.10/firmware/linux/1/vmlinuz quiet ro || goto choice1after1\n",
        "kernel tftp://192.0.2.11/firmware/linux/1/vmlinuz quiet ro || goto choice1after2\n",
        "chain --replace --autofree tftp://192.0.2.11/boot/${netX/mac}.ipxe ||\n",
    ] {
        assert!(ipxe.contains(line), "{line}\nis not in\n{ipxe}");
    }
    assert!(!ipxe.contains("choice2"), "{ipxe}");
    assert!(pxelinux.contains("LABEL choice1\n  KERNEL 192.0.2.10::firmware/linux/1/vmlinuz\n  INITRD 192.0.2.10::firmware/linux/1/initrd\n  APPEND quiet ro\nLABEL choice1-2\n  KERNEL 192.0.2.11::"), "{pxelinux}");
    assert!(grub.contains("menuentry \"T610 __x_ _fast_: linux 1\" {\n  if linux (tftp,192.0.2.10)/firmware/linux/1/vmlinuz quiet ro; then\n"), "{grub}");
    let file: Value = serde_json::from_str(&file).expect("JSON");
    assert_eq!(
        (
            &file["known"],
            &file["policy"],
            &file["boot_servers"][1]["address"]
        ),
        (&json!(false), &json!("hold"), &json!("192.0.2.11"))
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/unknown-1.json");
    support::conforms(path, &file);
    // Only the newest state is published, of each name.
    let own = json!({"key": "unknown-ipxe-script", "value": "#!ipxe\necho {{ choices|length }} {{ policy }}\n"});
    plant.site.create(Kind::Setting, &own);
    policy(&plant.site, &json!({"policy": "create", "name_mask": "#"}));
    plant.publish(&mut compiler);
    assert_eq!(
        plant.served(NAMES[0]).as_deref(),
        Some("#!ipxe\necho 1 create\n")
    );
    policy(&plant.site, &json!({"policy": "refuse"}));
    plant.publish(&mut compiler);
    for name in NAMES {
        assert_eq!(plant.served(name), None, "{name}");
    }
    let wrong = json!({"key": "unknown-grub-script", "value": "{{ terminal.name }}"});
    assert!(
        plant.site.try_create(Kind::Setting, &wrong).is_err(),
        "there is no terminal"
    );
}

#[test]
fn the_menu_of_the_largest_site_stays_within_its_bounds() {
    let plant = Plant::new();
    for number in 0..40 {
        let model = json!({"name": format!("model {number:050}"), "architecture": "x86-64-uefi", "package": plant.package});
        plant.site.create(Kind::TermCap, &model);
    }
    policy(&plant.site, &json!({"policy": "hold"}));
    plant.publish(&mut Compiler::new());
    let ipxe = plant.served(NAMES[0]).expect("there");
    assert!(
        ipxe.contains(":choice32\n") && !ipxe.contains(":choice33\n"),
        "{ipxe}"
    );
}

#[test]
fn a_held_unit_is_adopted_over_the_api() {
    let server = Server::set_up();
    let admin = server.admin();
    let path = "/api/v1/settings/unknown-terminals";
    let hold =
        json!({"key": "unknown-terminals", "value": {"policy": "hold", "name_mask": "line-##"}});
    admin.send("PUT", path, &hold).expect(201);
    let model = json!({"name": "m", "architecture": "x86-bios", "mac_prefixes": [&mac(1)[..8]]});
    let model = admin.create("/api/v1/term-caps", &model);
    let sample =
        json!({"name": "sample", "macs": [mac(100)], "settings": {"instant_failover": true}});
    let sample = admin.create("/api/v1/terminals", &sample);
    see(&server.configuration(), [1, 2, 3]);
    let units = admin.get("/api/v1/unknown-terminals").expect(200).json();
    assert_eq!(units["items"].as_array().expect("units").len(), 3);
    assert_eq!(
        (&units["items"][0]["mac"], &units["items"][0]["model"]),
        (&json!(mac(1)), &json!(model))
    );
    let adopt = |number: u32| format!("/api/v1/unknown-terminals/{}/adopt", mac(number));
    let one = admin
        .send("POST", &adopt(1), &json!({"copy_from": sample}))
        .expect(201)
        .json();
    assert_eq!(
        (&one["body"]["name"], &one["body"]["macs"]),
        (&json!("line-01"), &json!([mac(1)]))
    );
    assert_eq!(one["body"]["settings"]["instant_failover"], true);
    let taken = admin
        .send("POST", &adopt(2), &json!({"name": "sample"}))
        .expect(409);
    assert_eq!(taken.json()["field"], "name");
    let dangling = admin
        .send("POST", &adopt(2), &json!({"group": "nothing"}))
        .expect(422);
    assert_eq!(dangling.json()["field"], "group");
    assert_eq!(
        admin.send("POST", &adopt(1), &json!({})).expect(404).code(),
        "not_found"
    );
    admin
        .raw(
            "DELETE",
            &format!("/api/v1/unknown-terminals/{}", mac(3)),
            &[],
            b"",
        )
        .expect(204);
    let units = admin.get("/api/v1/unknown-terminals").expect(200).json();
    assert_eq!(units["items"].as_array().expect("units").len(), 1);
    let audit = admin.get("/api/v1/audit?limit=2").expect(200).json();
    for (row, (action, kind)) in [("delete", "unknown-terminal"), ("create", "terminal")]
        .into_iter()
        .enumerate()
    {
        let row = &audit["items"][row];
        assert_eq!(
            (&row["actor"], &row["action"], &row["kind"]),
            (&json!("user admin"), &json!(action), &json!(kind))
        );
    }
}

#[test]
fn a_unit_that_is_adopted_or_becomes_a_terminal_by_itself_gets_a_seat_as_long_as_there_is_one() {
    let server = Server::set_up();
    let admin = server.admin();
    let path = "/api/v1/settings/unknown-terminals";
    let becomes = |policy: &str| {
        let value = json!({"policy": policy, "name_mask": "line-##"});
        json!({"key": "unknown-terminals", "value": value})
    };
    admin.send("PUT", path, &becomes("hold")).expect(201);
    let configuration = server.configuration();
    see(&configuration, [1]);
    let adopt = format!("/api/v1/unknown-terminals/{}/adopt", mac(1));
    let adopted = admin.send("POST", &adopt, &json!({})).expect(201).json();
    assert_eq!(adopted["body"]["seat"]["state"], "held");
    admin
        .send_if("PUT", path, "*", &becomes("create"))
        .expect(200);
    // Nine of them have what is left without a licence, the others wait.
    let created = see(&configuration, 2..=13).created;
    let states = created.iter().map(|id| {
        let path = format!("/api/v1/terminals/{id}");
        let terminal = admin.get(&path).expect(200).json();
        terminal["body"]["seat"]["state"].clone()
    });
    let states: Vec<Value> = states.collect();
    assert_eq!(
        states,
        [vec![json!("held"); 9], vec![json!("waiting"); 3]].concat()
    );
}

#[test]
fn a_new_unit_takes_over_the_identity_of_a_dead_one() {
    let server = Server::set_up();
    let admin = server.admin();
    let group = admin.create("/api/v1/terminal-groups", &json!({"name": "halls"}));
    let json = json!({"name": "kiosk", "macs": [mac(1)], "group": group, "remark": "by the door"});
    let kiosk = admin.create("/api/v1/terminals", &json);
    let place = format!("/api/v1/terminals/{kiosk}/replacement");
    let key = |id: &str| {
        let site = server.configuration().site();
        let object = site
            .object(Kind::Terminal, &Id::parse(id).expect("id"))
            .expect("there")
            .clone();
        object.body.stored()["status_key"].clone()
    };
    let before = key(&kiosk);
    let replaced = admin
        .send("POST", &place, &json!({"macs": [mac(2), mac(3)]}))
        .expect(200)
        .json();
    assert_eq!(
        (&replaced["id"], &replaced["body"]["name"]),
        (&json!(kiosk), &json!("kiosk"))
    );
    assert_eq!(
        (&replaced["body"]["macs"], &replaced["body"]["remark"]),
        (&json!([mac(2), mac(3)]), &json!("by the door"))
    );
    assert_ne!(key(&kiosk), before, "the old unit speaks for it no more");
    // The unit of another terminal comes, and that terminal goes: one change.
    let other = admin.create(
        "/api/v1/terminals",
        &json!({"name": "line-0001", "macs": [mac(4)]}),
    );
    let replaced = admin
        .send("POST", &place, &json!({"terminal": other}))
        .expect(200)
        .json();
    assert_eq!(replaced["body"]["macs"], json!([mac(4)]));
    admin.get(&format!("/api/v1/terminals/{other}")).expect(404);
    let audit = admin.get("/api/v1/audit?limit=2").expect(200).json();
    assert_eq!(
        (&audit["items"][0]["action"], &audit["items"][1]["action"]),
        (&json!("change"), &json!("delete"))
    );
    assert_eq!(audit["items"][0]["before"]["macs"], json!([mac(2), mac(3)]));
    // What is refused changes nothing, and says why.
    let another = admin.create(
        "/api/v1/terminals",
        &json!({"name": "another", "macs": [mac(5)]}),
    );
    for (json, status, code, field) in [
        (json!({"macs": [mac(5)]}), 409, "taken", "macs[0]"),
        (json!({"macs": []}), 422, "invalid", "macs"),
        (
            json!({"macs": [mac(6)], "terminal": another}),
            422,
            "invalid",
            "macs",
        ),
        (json!({}), 422, "invalid", "macs"),
        (
            json!({"terminal": "nothing"}),
            422,
            "dangling_reference",
            "terminal",
        ),
        (json!({"terminal": kiosk}), 422, "invalid", "terminal"),
        (
            json!({"macs": [mac(6)], "model": "nothing"}),
            422,
            "dangling_reference",
            "model",
        ),
    ] {
        let refused = admin.send("POST", &place, &json).expect(status);
        assert_eq!(
            (refused.code().as_str(), &refused.json()["field"]),
            (code, &json!(field)),
            "{json}"
        );
    }
    admin
        .send_if(
            "PATCH",
            &format!("/api/v1/terminals/{kiosk}"),
            "*",
            &json!({"replaceable": false}),
        )
        .expect(200);
    assert_eq!(
        admin
            .send("POST", &place, &json!({"terminal": another}))
            .expect(409)
            .code(),
        "not_replaceable"
    );
    admin
        .get(&format!("/api/v1/terminals/{another}"))
        .expect(200);
}

#[test]
fn only_a_dead_unit_is_replaced_and_where_required_by_the_same_model() {
    let site = Site::new();
    let model = |name: &str, prefix: &str| {
        let json = json!({"name": name, "architecture": "x86-bios", "mac_prefixes": [prefix]});
        site.create(Kind::TermCap, &json)
    };
    let (old, new) = (model("old", &mac(1)[..8]), model("new", "02:00:00"));
    let id = site.create(
        Kind::Terminal,
        &json!({"name": "t", "macs": [mac(1)], "settings": {"replace_same_model": true}}),
    );
    let unit = |text: &str, model: Option<&Id>| NewUnit::Cards {
        macs: vec![MacAddress::parse(text).expect("a card")],
        model: model.cloned(),
    };
    let replace = |unit, seen_ms| {
        let old = OldUnit {
            seen_ms,
            ..OldUnit::default()
        };
        replace_unit(&site.configuration, &actor(), &id, unit, old)
    };
    let now = site.configuration.now_ms();
    let alive = replace(unit(&mac(2), None), Some(now - 60_000)).expect_err("alive");
    assert!(matches!(alive, ReplaceError::Online(60)), "{alive}");
    let silent = OldUnit {
        seen_ms: Some(now - 600_000),
        works_until_ms: Some(now),
    };
    let actor = actor();
    let rarely = replace_unit(
        &site.configuration,
        &actor,
        &id,
        unit(&mac(2), None),
        silent,
    );
    assert!(matches!(rarely, Err(ReplaceError::Expected(0))));
    let other =
        replace(unit("02:00:00:00:00:01", None), Some(now - 600_000)).expect_err("another model");
    assert_eq!(
        other.to_string(),
        "the terminal needs a unit of the model old, and the new one is new"
    );
    assert!(
        replace(unit("02:00:01:00:00:01", None), None).is_err(),
        "nobody knows its model"
    );
    replace(unit("02:00:01:00:00:01", Some(&old)), Some(now - 600_000))
        .expect("it is said to be the same");
    site.try_replace(
        Kind::Terminal,
        &id,
        &json!({"name": "t", "macs": [mac(1)], "model": old}),
    )
    .expect("no such rule");
    let replaced = replace(unit("02:00:00:00:00:01", None), None).expect("any model");
    assert_eq!(
        replaced.body.stored()["model"],
        json!(new),
        "what it boots goes by its new model"
    );
    let gone = Id::parse("nothing").expect("id");
    let unknown = replace_unit(
        &site.configuration,
        &actor,
        &gone,
        unit(&mac(7), None),
        OldUnit::default(),
    );
    assert!(matches!(
        unknown,
        Err(ReplaceError::Change(ChangeError::Unknown { .. }))
    ));
}

#[test]
fn a_terminal_gets_the_settings_of_another() {
    let server = Server::set_up();
    let admin = server.admin();
    let group = admin.create("/api/v1/terminal-groups", &json!({"name": "halls"}));
    let json = json!({"name": "a", "macs": [mac(1)], "group": group, "settings": {"instant_failover": true}});
    let from = admin.create("/api/v1/terminals", &json);
    let to = admin.create(
        "/api/v1/terminals",
        &json!({"name": "b", "macs": [mac(2)], "settings": {"allow_shadowing": true}}),
    );
    let place = format!("/api/v1/terminals/{to}/copy");
    assert_eq!(
        admin
            .send("POST", &place, &json!({"from": from}))
            .expect(428)
            .code(),
        "revision_required"
    );
    assert_eq!(
        admin
            .send_if("POST", &place, "\"old\"", &json!({"from": from}))
            .expect(412)
            .code(),
        "stale"
    );
    let copied = admin
        .send_if("POST", &place, "*", &json!({"from": from}))
        .expect(200)
        .json();
    assert_eq!(
        (&copied["body"]["name"], &copied["body"]["group"]),
        (&json!("b"), &json!(group))
    );
    assert_eq!(
        copied["body"]["settings"],
        json!({"instant_failover": true})
    );
    assert_eq!(
        admin
            .send_if("POST", &place, "*", &json!({"from": "nothing"}))
            .expect(422)
            .json()["field"],
        "from"
    );
}
