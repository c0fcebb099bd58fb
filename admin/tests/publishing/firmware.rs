//! Versions of firmware packages: under their own names, active, rolled out and rolled back.

use super::*;

/// Imports files, as an upload or the command line does.
fn import(plant: &Plant, files: &[(&str, &str)]) {
    let store = plant.store();
    let mut draft = store.begin().expect("draft");
    for (name, content) in files {
        let mut source = std::io::Cursor::new(content.as_bytes().to_vec());
        let name = Name::parse(name).expect("name");
        let len = content.len() as u64;
        let imported = draft.import(name, &mut source, len, &mut |_| {
            std::ops::ControlFlow::Continue(())
        });
        imported.expect("imported");
    }
    draft.publish().expect("published");
}

fn package(plant: &Plant, active: &Value) {
    let boot = json!([{"architecture": "x86-64-uefi", "kernel": "vmlinuz"}]);
    let versions = ["1", "2"].map(|version| json!({"version": version, "boot": boot}));
    let json = json!({"name": "linux", "active": active, "versions": versions});
    plant
        .site
        .try_replace(Kind::FirmwarePackage, &plant.package, &json)
        .expect("replaced");
}

#[test]
fn the_active_versions_files_are_served_without_its_name_and_imported_ones_stay() {
    let plant = Plant::new();
    import(
        &plant,
        &[
            ("firmware/linux/1/vmlinuz", "kernel 1"),
            ("firmware/linux/1/a/old", "old"),
            ("firmware/linux/1/2/x", "looks like the other version's"),
            ("firmware/linux/2/vmlinuz", "kernel 2"),
            ("firmware/linux/2/mine", "rendered"),
            ("firmware/linux/mine", "by hand"),
            ("firmware/other/1/x", "no package of ours"),
        ],
    );
    let mut compiler = Compiler::new();
    plant.publish(&mut compiler);
    let served = |name: &str| plant.served(&format!("firmware/linux/{name}"));
    assert_eq!(served("vmlinuz").as_deref(), Some("kernel 1"));
    assert_eq!(served("a/old").as_deref(), Some("old"));
    assert_eq!(
        (served("2/x"), plant.served("firmware/other/x")),
        (None, None)
    );
    let manifest: Value =
        serde_json::from_str(&served("active.json").expect("there")).expect("JSON");
    assert_eq!(manifest["version"], "1");
    // The next version becomes active, and the one before again: the old files are still there.
    package(&plant, &json!("2"));
    let outcome = plant.publish(&mut compiler);
    assert_eq!(served("vmlinuz").as_deref(), Some("kernel 2"));
    assert_eq!(
        (served("a/old"), served("1/vmlinuz").as_deref()),
        (None, Some("kernel 1"))
    );
    assert_eq!(
        served("mine").as_deref(),
        Some("by hand"),
        "what was imported stays"
    );
    let mine = Name::parse("firmware/linux/mine").expect("name");
    assert_eq!(outcome.hindered.taken, [mine].into());
    package(&plant, &json!("1"));
    plant.publish(&mut compiler);
    assert_eq!(served("vmlinuz").as_deref(), Some("kernel 1"));
    // Somebody puts a file of their own in the place of ours: it is theirs from then on.
    import(&plant, &[("firmware/linux/vmlinuz", "by hand, too")]);
    package(&plant, &json!("2"));
    plant.publish(&mut compiler);
    assert_eq!(served("vmlinuz").as_deref(), Some("by hand, too"));
    package(&plant, &json!(null));
    plant.publish(&mut compiler);
    assert_eq!(
        (served("active.json"), served("vmlinuz").as_deref()),
        (None, Some("by hand, too"))
    );
    assert_eq!(served("2/vmlinuz").as_deref(), Some("kernel 2"));
}

#[test]
fn files_that_another_program_imports_become_active_by_themselves() {
    let plant = Plant::new();
    let publisher =
        Publisher::start(Arc::clone(&plant.site.configuration), plant.store()).expect("a thread");
    until("the first publication", || {
        publisher.publication().ran.then_some(())
    });
    import(&plant, &[("firmware/linux/1/vmlinuz", "kernel 1")]);
    until("the name without a version", || {
        plant.served("firmware/linux/vmlinuz")
    });
}

#[test]
fn a_new_version_is_rolled_out_by_group_and_by_terminal_and_rolled_back() {
    let plant = Plant::new();
    let boots = |compiled: &Outcome, number: u32| {
        let file = &compiled.files[format!("terminals/{}.json", mac(number)).as_str()];
        let file: Value = serde_json::from_slice(file).expect("JSON");
        file["firmware"]["version"]
            .as_str()
            .expect("a version")
            .to_owned()
    };
    let with = |name: &str, number: u32, group: &Id, version: Value| json!({"name": name, "macs": [mac(number)], "group": group, "settings": version});
    let second = json!({"firmware": {"package": plant.package, "version": "2"}});
    let first = plant.site.create(
        Kind::Terminal,
        &with("first", 1, &plant.halls, second.clone()),
    );
    plant
        .site
        .create(Kind::Terminal, &with("inner", 2, &plant.hall7, json!({})));
    plant
        .site
        .create(Kind::Terminal, &with("outer", 3, &plant.halls, json!({})));
    let mut compiler = Compiler::new();
    let versions = |compiler: &mut Compiler| {
        let compiled = plant.publish(compiler);
        assert_eq!(compiled.problems, []);
        [1, 2, 3].map(|number| boots(&compiled, number))
    };
    assert_eq!(
        versions(&mut compiler),
        ["2", "1", "1"],
        "one terminal goes first"
    );
    let hall = json!({"name": "hall 7", "parent": plant.halls, "settings": second});
    plant
        .site
        .try_replace(Kind::TerminalGroup, &plant.hall7, &hall)
        .expect("replaced");
    assert_eq!(versions(&mut compiler), ["2", "2", "1"], "then a group");
    package(&plant, &json!("2"));
    assert_eq!(versions(&mut compiler), ["2", "2", "2"], "then everybody");
    package(&plant, &json!("1"));
    let hall = json!({"name": "hall 7", "parent": plant.halls});
    plant
        .site
        .try_replace(Kind::TerminalGroup, &plant.hall7, &hall)
        .expect("replaced");
    plant
        .site
        .try_replace(
            Kind::Terminal,
            &first,
            &with("first", 1, &plant.halls, json!({})),
        )
        .expect("replaced");
    assert_eq!(versions(&mut compiler), ["1", "1", "1"], "and back");
}

#[test]
fn what_firmware_fetches_first_is_the_packages_else_the_sites() {
    let plant = Plant::new();
    plant.site.create(Kind::Terminal, &plant.terminal(1));
    let mut compiler = Compiler::new();
    plant.publish(&mut compiler);
    let own = format!("boot/{}.loaders", mac(1));
    assert_eq!(
        (plant.served(&own), plant.served("boot/loaders")),
        (None, None)
    );

    let set = json!({"key": "boot-loaders", "value": {"x86-64-uefi": "boot/grubx64.efi", "x86-bios": "boot/pxelinux.0"}});
    let set = plant.site.create(Kind::Setting, &set);
    plant.publish(&mut compiler);
    let sites = "x86-bios boot/pxelinux.0\nx86-64-uefi boot/grubx64.efi\n";
    assert_eq!(plant.served("boot/loaders").as_deref(), Some(sites));

    let boot = |loader: Value| {
        let mut files = json!({"architecture": "x86-bios", "kernel": "vmlinuz", "initrds": ["initrd"], "arguments": "quiet ro"});
        if !loader.is_null() {
            files["loader"] = loader;
        }
        json!({"name": "linux", "active": "1", "versions": [{"version": "1", "boot": [files]}]})
    };
    let with = boot(json!("loaders/ipxe.pxe"));
    let replace = |body: &Value| {
        plant
            .site
            .try_replace(Kind::FirmwarePackage, &plant.package, body)
            .expect("replaced")
    };
    replace(&with);
    plant.publish(&mut compiler);
    let packages = "x86-bios firmware/linux/1/loaders/ipxe.pxe\n";
    assert_eq!(plant.served(&own).as_deref(), Some(packages));
    // Gone where the package names none any more, and with the setting.
    replace(&boot(Value::Null));
    plant.publish(&mut compiler);
    assert_eq!(plant.served(&own), None);
    plant
        .site
        .delete(Kind::Setting, &set, false)
        .expect("deleted");
    plant.publish(&mut compiler);
    assert_eq!(plant.served("boot/loaders"), None);
    let bad = json!({"key": "boot-loaders", "value": {"x86-bios": "../x"}});
    assert!(plant.site.try_create(Kind::Setting, &bad).is_err());
}
