//! What terminals receive, from what is configured.

#[path = "publishing/firmware.rs"]
mod firmware;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use daybreak_admin::configuration::Edit;
use daybreak_admin::effective::ProblemCode;
use daybreak_admin::kind::{Body, Kind};
use daybreak_admin::object::Id;
use daybreak_admin::publish::{Cards, Compiler, Publication, Publisher, publish};
use daybreak_store::{Content, Mac, Name, StoredTerminal};
use serde_json::{Value, json};
use support::plant::{Outcome, Plant};
use support::{actor, mac, until};

#[test]
fn a_terminal_has_a_file_for_each_way_to_boot_and_each_card() {
    let plant = Plant::new();
    plant.site.create(
        Kind::Terminal,
        &json!({"name": "t1", "macs": [mac(1), mac(2)], "group": plant.hall7}),
    );
    let compiled = plant.publish(&mut Compiler::new());
    assert_eq!(compiled.problems, []);
    let hyphens = mac(1).replace(':', "-");
    for name in [
        format!("terminals/{}.json", mac(1)),
        format!("boot/{}.ipxe", mac(1)),
        format!("pxelinux.cfg/01-{hyphens}"),
        format!("grub.cfg-01-{hyphens}"),
        format!("terminals/{}.json", mac(2)),
    ] {
        assert!(plant.served(&name).is_some(), "{name}");
    }
    let file: Value = serde_json::from_str(
        &plant
            .served(&format!("terminals/{}.json", mac(1)))
            .expect("there"),
    )
    .expect("JSON");
    assert_eq!(file["firmware"]["kernel"], "firmware/linux/1/vmlinuz");
    assert_eq!(file["instant_failover"], true);
    assert_eq!(file["terminal_servers"][0]["port"], 3389);
    assert_eq!(
        file["modules"][0]["parameters"],
        json!({"card": "b", "volume": "50"})
    );
    assert_eq!(file["status_monitors"], json!(["192.0.2.10", "192.0.2.11"]));
}

#[test]
fn the_catalog_tells_whose_each_card_is() {
    let plant = Plant::new();
    let two = json!({"name": "two", "macs": [mac(1), mac(2)]});
    let two = plant.site.create(Kind::Terminal, &two);
    let off = json!({"name": "off", "macs": [mac(3)], "enabled": false});
    let off = plant.site.create(Kind::Terminal, &off);
    let mut compiler = Compiler::new();
    plant.publish(&mut compiler);
    let whose = |card: u32| {
        let catalog = plant.reader().load().expect("catalog");
        let card = Mac::parse(mac(card).as_bytes()).expect("an address");
        catalog.terminal(card).map(StoredTerminal::from)
    };
    let first = whose(1).expect("known");
    assert_eq!((&*first.id, &*first.name), (two.as_str(), "two"));
    assert!(first.enabled && first.seated);
    assert_eq!(whose(2).as_ref(), Some(&first));
    let third = whose(3).expect("known");
    assert_eq!((&*third.id, third.enabled), (off.as_str(), false));
    assert_eq!(whose(4), None);
    // Each has a key of its own, which only its own file tells, and keeps it.
    assert_ne!(first.status_key, third.status_key);
    let file = plant.served(&format!("terminals/{}.json", mac(1)));
    let file: Value = serde_json::from_str(&file.expect("there")).expect("JSON");
    let told = file["status"]["key"].as_str().expect("a key");
    let hex: String = first
        .status_key
        .0
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    assert_eq!(told, hex);
    let site = plant.site.configuration.site();
    let object = site.object(Kind::Terminal, &two).expect("there");
    assert_eq!(object.body.shown().get("status_key"), None);
    let renamed = json!({"name": "new", "macs": [mac(2), mac(5)]});
    let replaced = plant.site.try_replace(Kind::Terminal, &two, &renamed);
    replaced.expect("replaced");
    plant.publish(&mut compiler);
    assert_eq!(whose(1), None);
    let now = whose(5).expect("known");
    assert_eq!((&*now.name, now.status_key), ("new", first.status_key));
    assert_eq!(whose(2), Some(now));
}

#[test]
fn a_script_goes_on_to_the_other_boot_server() {
    let plant = Plant::new();
    plant.site.create(Kind::Terminal, &plant.terminal(1));
    plant.publish(&mut Compiler::new());
    let ipxe = plant
        .served(&format!("boot/{}.ipxe", mac(1)))
        .expect("there");
    assert_eq!(
        ipxe,
        "#!ipxe\n:again\n\
         echo Booting from 192.0.2.10\nimgfree\n\
         kernel tftp://192.0.2.10/firmware/linux/1/vmlinuz quiet ro || goto after1\n\
         initrd tftp://192.0.2.10/firmware/linux/1/initrd || goto after1\n\
         boot ||\n:after1\n\
         echo Booting from 192.0.2.11\nimgfree\n\
         kernel tftp://192.0.2.11/firmware/linux/1/vmlinuz quiet ro || goto after2\n\
         initrd tftp://192.0.2.11/firmware/linux/1/initrd || goto after2\n\
         boot ||\n:after2\n\
         echo No boot server has answered.\nsleep 5\ngoto again\n"
    );
    let hyphens = mac(1).replace(':', "-");
    let pxelinux = plant
        .served(&format!("pxelinux.cfg/01-{hyphens}"))
        .expect("there");
    for line in [
        "DEFAULT server1\nONERROR server2\n",
        "LABEL server1\n  KERNEL 192.0.2.10::firmware/linux/1/vmlinuz\n  INITRD 192.0.2.10::firmware/linux/1/initrd\n  APPEND quiet ro\n",
        "LABEL server2\n  KERNEL 192.0.2.11::firmware/linux/1/vmlinuz\n",
    ] {
        assert!(pxelinux.contains(line), "{line}\nis not in\n{pxelinux}");
    }
    let grub = plant
        .served(&format!("grub.cfg-01-{hyphens}"))
        .expect("there");
    for server in ["192.0.2.10", "192.0.2.11"] {
        let line = format!(
            "if linux (tftp,{server})/firmware/linux/1/vmlinuz quiet ro; then\n  if initrd (tftp,{server})/firmware/linux/1/initrd; then boot; fi\nfi\n"
        );
        assert!(grub.contains(&line), "{line}\nis not in\n{grub}");
    }
}

#[test]
fn every_rendered_terminal_file_conforms_to_the_schema() {
    let plant = Plant::new();
    plant.site.create(Kind::Terminal, &plant.terminal(1));
    plant.site.create(
        Kind::Terminal,
        &json!({"name": "bare", "macs": [mac(2)], "enabled": false}),
    );
    plant.site.create(Kind::Terminal, &json!({"name": "full", "macs": [mac(3), mac(4)], "group": plant.hall7,
        "address": {"address": "192.0.2.50", "prefix_bits": 24, "gateway": "192.0.2.1", "name_servers": ["192.0.2.2"]},
        "settings": {"display": {"width_px": 1920, "height_px": 1080, "refresh_hz": 60, "screens": 2},
            "status_monitors": ["monitor.example"], "allow_shadowing": true, "enforce_boot_priority": true}}));
    let compiled = plant.publish(&mut Compiler::new());
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/schema/terminal-1.json"
    );
    let mut checked = 0;
    for (name, content) in &compiled.files {
        if name.as_str().starts_with("terminals/") {
            let file: Value = serde_json::from_slice(content).expect("JSON");
            support::conforms(path, &file);
            checked += 1;
        }
    }
    assert_eq!(checked, 4);
}

#[test]
fn only_what_changed_is_rendered_again() {
    let plant = Plant::new();
    let ids: Vec<Id> = (1..=20)
        .map(|number| plant.site.create(Kind::Terminal, &plant.terminal(number)))
        .collect();
    let mut compiler = Compiler::new();
    let site = || plant.site.configuration.site();
    assert_eq!(compiler.compile(&site()).rendered, 20);
    assert_eq!(compiler.compile(&site()).rendered, 0);
    plant
        .site
        .try_replace(
            Kind::Terminal,
            &ids[3],
            &json!({"name": "new", "macs": [mac(4)]}),
        )
        .expect("replaced");
    assert_eq!(compiler.compile(&site()).rendered, 1);
    plant
        .site
        .create(Kind::User, &json!({"name": "somebody", "roles": []}));
    assert_eq!(
        compiler.compile(&site()).rendered,
        0,
        "users are not in the files"
    );
    plant
        .site
        .try_replace(Kind::TerminalGroup, &plant.halls, &json!({"name": "halls"}))
        .expect("replaced");
    let remembered = compiler.compile(&site());
    assert_eq!(remembered.rendered, 20);
    // What is remembered is what would be rendered anew.
    let mut other = Compiler::new();
    let anew = other.compile(&site());
    assert_eq!(
        (remembered.files, &remembered.problems),
        (anew.files, &anew.problems)
    );
}

#[test]
fn rendered_files_are_in_the_catalog_and_none_is_an_image() {
    let plant = Plant::new();
    let store = plant.store();
    let mut source = std::io::Cursor::new(b"content".to_vec());
    let mut draft = store.begin().expect("draft");
    let name = Name::parse("image").expect("name");
    let goes_on = &mut |_| std::ops::ControlFlow::Continue(());
    draft
        .import(name, &mut source, 7, goes_on)
        .expect("imported");
    draft.publish().expect("published");
    let images = || {
        let folder = plant.site.dir.path().join("data/images");
        let folders = std::fs::read_dir(folder).expect("a folder");
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.expect("an entry").path()));
        files.flatten().count()
    };
    assert_eq!(images(), 1);
    for number in 1..=100 {
        plant.site.create(Kind::Terminal, &plant.terminal(number));
    }
    plant.publish(&mut Compiler::new());
    for number in 1..=100 {
        let name = format!("boot/{}.ipxe", mac(number));
        assert!(plant.served(&name).is_some(), "{name}");
    }
    assert_eq!(images(), 1, "a hundred terminals are no file more");
}

#[test]
fn the_difference_to_the_last_publication_is_all_of_it() {
    let plant = Plant::new();
    let store = plant.store();
    let mut compiler = Compiler::new();
    let mut last = None;
    let mut ids: Vec<Id> = Vec::new();
    for round in 0..40_u32 {
        // Terminals come and go, take over each other's cards and change; now and then a group does.
        match round % 5 {
            0 | 1 => ids.push(plant.site.create(Kind::Terminal, &plant.terminal(round))),
            2 => {
                let id = ids.remove(0);
                let freed = plant.site.object(Kind::Terminal, &id).body.stored()["macs"][0].clone();
                plant
                    .site
                    .delete(Kind::Terminal, &id, false)
                    .expect("deleted");
                let heir = json!({"name": format!("h{round}"), "macs": [freed, mac(1000 + round)]});
                ids.push(plant.site.create(Kind::Terminal, &heir));
            }
            3 => {
                let id = ids.last().expect("a terminal");
                let moved = json!({"name": format!("m{round}"), "macs": [mac(2000 + round)]});
                plant
                    .site
                    .try_replace(Kind::Terminal, id, &moved)
                    .expect("replaced");
            }
            _ => {
                let json =
                    json!({"name": "halls", "settings": {"allow_shadowing": round % 2 == 0}});
                plant
                    .site
                    .try_replace(Kind::TerminalGroup, &plant.halls, &json)
                    .expect("replaced");
            }
        }
        let site = plant.site.configuration.site();
        let compiled = compiler.compile(&site);
        last = Some(publish(&store, &compiled, last).expect("published"));
        let mut other = Compiler::new();
        let anew = other.compile(&site);
        assert_eq!(
            (compiled.files, compiled.cards, &compiled.problems),
            (anew.files, anew.cards, &anew.problems)
        );
        let served = plant.reader().load().expect("catalog");
        assert_eq!(served.entries().count(), anew.files.len(), "round {round}");
        let cards = served.snapshot().terminals();
        let cards: Cards = cards.map(|view| (view.mac, view.into())).collect();
        assert_eq!(&cards, anew.cards, "round {round}");
        for (_, view) in served.entries() {
            let Content::Inline(content) = view.content else {
                panic!("nothing was imported");
            };
            assert_eq!(
                content,
                &anew.files[view.name][..],
                "round {round}: {}",
                view.name
            );
        }
    }
}

#[test]
fn what_is_not_configured_any_more_is_gone_and_what_was_imported_stays() {
    let plant = Plant::new();
    let id = plant.site.create(Kind::Terminal, &plant.terminal(1));
    let taken = Name::parse(format!("boot/{}.ipxe", mac(1))).expect("name");
    let store = plant.store();
    let mut draft = store.begin().expect("draft");
    for name in [taken.clone(), Name::parse("undionly.kpxe").expect("name")] {
        let mut source = std::io::Cursor::new(b"by hand".to_vec());
        draft
            .import(name, &mut source, 7, &mut |_| {
                std::ops::ControlFlow::Continue(())
            })
            .expect("imported");
    }
    draft.publish().expect("published");
    let mut compiler = Compiler::new();
    let compiled = plant.publish(&mut compiler);
    assert_eq!(plant.served(taken.as_str()).as_deref(), Some("by hand"));
    assert_eq!(compiled.taken, [taken.clone()].into());
    assert!(
        plant
            .served(&format!("terminals/{}.json", mac(1)))
            .is_some()
    );
    plant
        .site
        .delete(Kind::Terminal, &id, false)
        .expect("deleted");
    plant.publish(&mut compiler);
    assert_eq!(plant.served(&format!("terminals/{}.json", mac(1))), None);
    assert_eq!(plant.served(taken.as_str()).as_deref(), Some("by hand"));
    assert_eq!(plant.served("undionly.kpxe").as_deref(), Some("by hand"));
}

#[test]
fn a_terminal_gets_no_more_screens_than_its_model_drives() {
    let plant = Plant::new();
    let model = json!({"name": "small", "architecture": "x86-64-uefi", "screens_max": 2});
    let model = plant.site.create(Kind::TermCap, &model);
    let mut terminal = plant.terminal(1);
    terminal["model"] = json!(model);
    terminal["settings"] = json!({"display": {"width_px": 800, "height_px": 600, "screens": 3}});
    plant.site.create(Kind::Terminal, &terminal);
    let compiled = plant.publish(&mut Compiler::new());
    let file = &compiled.files[format!("terminals/{}.json", mac(1)).as_str()];
    let file: Value = serde_json::from_slice(file).expect("JSON");
    assert_eq!(file["display"]["screens"], 2);
    assert_eq!(compiled.problems[0].code, ProblemCode::TooManyScreens);
}

#[test]
fn a_reference_that_leads_nowhere_gives_what_is_inherited_and_a_problem() {
    let plant = Plant::new();
    let other = plant.site.create(
        Kind::FirmwarePackage,
        &json!({"name": "other", "active": "9", "versions": [
            {"version": "9", "boot": [{"architecture": "arm-uboot", "kernel": "k"}]},
        ]}),
    );
    plant.site.create(
        Kind::Terminal,
        &json!({"name": "t1", "macs": [mac(1)], "group": plant.hall7,
        "settings": {"firmware": {"package": other}}}),
    );
    let file = |compiled: &Outcome| -> Value {
        let name = format!("terminals/{}.json", mac(1));
        serde_json::from_slice(&compiled.files[name.as_str()]).expect("JSON")
    };
    let compiled = plant.publish(&mut Compiler::new());
    assert_eq!(
        (
            file(&compiled)["firmware"]["package"].as_str(),
            compiled.problems.len()
        ),
        (Some("other"), 0)
    );
    plant
        .site
        .delete(Kind::FirmwarePackage, &other, true)
        .expect("forced");
    plant
        .site
        .delete(Kind::TerminalServer, &plant.session, true)
        .expect("forced");
    plant
        .site
        .delete(Kind::Module, &plant.module, true)
        .expect("forced");
    let compiled = plant.publish(&mut Compiler::new());
    assert_eq!(
        file(&compiled)["firmware"]["package"],
        "linux",
        "from the group above"
    );
    assert_eq!(file(&compiled)["terminal_servers"], json!([]));
    let fields = compiled
        .problems
        .iter()
        .map(|problem| (problem.kind, problem.field.as_deref()));
    let found: BTreeSet<_> = fields.collect();
    let expected = [
        ("terminal", Some("settings.firmware")),
        ("terminal-group", Some("settings.modules[0].module")),
        ("terminal-group", Some("settings.terminal_servers[0]")),
    ];
    assert_eq!(found, expected.into());
    // With the group's package gone as well, nothing is left: the script says so, and boots nothing.
    plant
        .site
        .delete(Kind::FirmwarePackage, &plant.package, true)
        .expect("forced");
    let compiled = plant.publish(&mut Compiler::new());
    assert_eq!(file(&compiled)["firmware"], Value::Null);
    assert!(
        compiled
            .problems
            .iter()
            .any(|problem| problem.code == ProblemCode::NoFirmware)
    );
    let script = plant
        .served(&format!("boot/{}.ipxe", mac(1)))
        .expect("there");
    assert!(
        script.contains("Nothing is chosen for terminal t1") && !script.contains("kernel"),
        "{script}"
    );
}

#[test]
fn a_template_of_the_sites_own_is_used() {
    let plant = Plant::new();
    plant.site.create(Kind::Terminal, &plant.terminal(1));
    let own = json!({"key": "ipxe-script", "value": "#!ipxe\necho {{ terminal.name }} of {{ boot_servers|length }}\n"});
    plant.site.create(Kind::Setting, &own);
    plant.publish(&mut Compiler::new());
    let script = plant
        .served(&format!("boot/{}.ipxe", mac(1)))
        .expect("there");
    assert_eq!(script, "#!ipxe\necho t1 of 2\n");
    let wrong = json!({"key": "grub-script", "value": "{{ terminal.nothing_of_this_name }}"});
    let refused = plant
        .site
        .try_create(Kind::Setting, &wrong)
        .expect_err("refused");
    assert_eq!(refused.field(), Some("value"));
}

#[test]
fn changes_are_published_beside_and_several_at_once() {
    let plant = Plant::new();
    let configuration = Arc::clone(&plant.site.configuration);
    let publisher = Publisher::start(Arc::clone(&configuration), plant.store()).expect("a thread");
    for number in 1..=50 {
        plant.site.create(Kind::Terminal, &plant.terminal(number));
        publisher.wake();
    }
    let change = configuration.site().change();
    let published: Arc<Publication> = until("the last change", || {
        Some(publisher.publication()).filter(|publication| publication.change == change)
    });
    assert_eq!(published.error, None);
    assert_eq!(
        published.generation,
        plant.reader().published().expect("published")
    );
    assert!(
        plant
            .served(&format!("terminals/{}.json", mac(50)))
            .is_some()
    );
    assert_eq!(published.problems, []);
    // A file is imported under a rendered name: it stays, and that is told.
    let store = plant.store();
    let mut draft = store.begin().expect("draft");
    let name = format!("boot/{}.ipxe", mac(3));
    let mut source = std::io::Cursor::new(b"by hand".to_vec());
    draft.remove(&name);
    draft
        .import(
            Name::parse(&name).expect("name"),
            &mut source,
            7,
            &mut |_| std::ops::ControlFlow::Continue(()),
        )
        .expect("imported");
    draft.publish().expect("published");
    publisher.wake();
    until("the problem", || {
        let problems = &publisher.publication().problems;
        let told = problems
            .iter()
            .any(|problem| problem.code == ProblemCode::NameTaken && problem.name == name);
        told.then_some(())
    });
    assert_eq!(plant.served(&name).as_deref(), Some("by hand"));
    // Something else publishes in between; what is ours is still brought up to date.
    let store = plant.store();
    let mut draft = store.begin().expect("draft");
    assert!(draft.remove(&format!("terminals/{}.json", mac(7))));
    draft.publish().expect("published");
    plant.site.create(Kind::Terminal, &plant.terminal(51));
    publisher.wake();
    until("the next change", || {
        let change = plant.site.configuration.site().change();
        (publisher.publication().change == change).then_some(())
    });
    assert!(
        plant
            .served(&format!("terminals/{}.json", mac(7)))
            .is_some()
    );
}

/// Prints how long publishing takes on a site of 10,000 terminals. `cargo test --release -p daybreak-admin --test publishing
/// -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, to be made in a release build on a quiet machine"]
fn ten_thousand_terminals_are_published_in_time() {
    let plant = Plant::new();
    let edits = (0..10_000).map(|number| {
        Edit::Create(Body::parse(Kind::Terminal, &plant.terminal(number)).expect("valid"))
    });
    let started = Instant::now();
    let made = plant
        .site
        .configuration
        .apply(&actor(), edits.collect())
        .expect("made");
    println!("committed in {:?}", started.elapsed());
    let publisher =
        Publisher::start(Arc::clone(&plant.site.configuration), plant.store()).expect("a thread");
    let started = Instant::now();
    let change = plant.site.configuration.site().change();
    until("all", || {
        (publisher.publication().change == change).then_some(())
    });
    let all = started.elapsed();
    println!("10,000 terminals published in {all:?}");
    let mut worst = std::time::Duration::ZERO;
    for round in 0..20 {
        let id = made[round * 7].as_ref().expect("an object").id.clone();
        let number = u32::try_from(round).expect("small") * 7;
        let mut json = plant.terminal(number);
        json["enabled"] = json!(false);
        let started = Instant::now();
        plant
            .site
            .try_replace(Kind::Terminal, &id, &json)
            .expect("replaced");
        let committed = started.elapsed();
        publisher.wake();
        let change = plant.site.configuration.site().change();
        until("one", || {
            (publisher.publication().change == change).then_some(())
        });
        println!(
            "one changed terminal: committed after {committed:?}, published after {:?}",
            started.elapsed()
        );
        worst = worst.max(started.elapsed());
    }
    let started = Instant::now();
    plant
        .site
        .try_replace(
            Kind::TerminalGroup,
            &plant.hall7,
            &json!({"name": "hall 7", "parent": plant.halls}),
        )
        .expect("replaced");
    publisher.wake();
    let change = plant.site.configuration.site().change();
    until("a group", || {
        (publisher.publication().change == change).then_some(())
    });
    println!(
        "a group of 10,000 changed: published after {:?}",
        started.elapsed()
    );
    assert!(all.as_secs_f64() < 2.0, "{all:?}");
    assert!(worst.as_millis() < 100, "{worst:?}");
}
