//! What is generated for DHCP servers: as it was reviewed (`dhcp_hints/`; `DAYBREAK_WRITE_DOCUMENTS=1` writes it anew), and as the
//! servers themselves take it.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use daybreak_admin::dhcp_hints::{BootFileName, Texts, VendorClass, Wishes, dhcp_hints};
use daybreak_admin::kind::BootServer;
use serde_json::json;
use support::api::Server;

fn server(name: &str, address: &str) -> BootServer {
    let body = json!({"name": name, "address": address});
    serde_json::from_value(body).expect("a boot server")
}

/// Everything that changes the form of a text: a class or none, scopes or none.
fn wishes() -> [(&'static str, Wishes); 4] {
    let boot_file = BootFileName::parse("boot/thin.efi").expect("a name");
    let class = Some(VendorClass::parse("Thin Client:1").expect("a class"));
    let scopes = ["10.1.0.0/24", "10.2.0.0/22"].map(|text| text.parse().expect("a scope"));
    let plain = Wishes {
        boot_file,
        ..Wishes::default()
    };
    let scoped = Wishes {
        scopes: scopes.into(),
        alternate: true,
        ..plain.clone()
    };
    let with_class = |wishes: &Wishes| Wishes {
        class: class.clone(),
        ..wishes.clone()
    };
    [
        ("class", with_class(&plain)),
        ("class-scopes", with_class(&scoped)),
        ("plain", plain),
        ("scopes", scoped),
    ]
}

fn texts(wishes: &Wishes) -> Texts {
    let servers = [server("one", "192.0.2.1"), server("two", "192.0.2.2")];
    dhcp_hints(&[&servers[0], &servers[1]], wishes).texts
}

#[test]
fn the_texts_are_the_reviewed_ones() {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "dhcp_hints"]
        .iter()
        .collect();
    for (name, wishes) in wishes() {
        let texts = texts(&wishes);
        for (server, text) in [
            ("isc-dhcpd.conf", texts.isc_dhcpd),
            ("kea.json", texts.kea),
            ("dnsmasq.conf", texts.dnsmasq),
            ("windows.ps1", texts.windows),
        ] {
            let file = folder.join(format!("{name}.{server}"));
            if std::env::var_os("DAYBREAK_WRITE_DOCUMENTS").is_some() {
                std::fs::write(&file, &text).expect("written");
            }
            let reviewed = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(text, reviewed, "{name}.{server}");
        }
    }
}

/// A program of a DHCP server, installed or unpacked by scripts/setup-folders.
fn program(name: &str) -> Command {
    let unpacked: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "..",
        "target",
        "dhcp-servers",
        "root",
    ]
    .iter()
    .collect();
    let folders = [
        "/usr/sbin".into(),
        "/sbin".into(),
        unpacked.join("usr/sbin"),
    ];
    let found = folders.iter().map(|folder: &PathBuf| folder.join(name));
    let found = found.into_iter().find(|file| file.is_file());
    let found = found.unwrap_or_else(|| panic!("no {name}: scripts/setup-folders brings it"));
    let mut command = Command::new(found);
    let libraries = format!("{}-linux-gnu", std::env::consts::ARCH);
    command.env("LD_LIBRARY_PATH", unpacked.join("usr/lib").join(libraries));
    command
}

fn takes(mut checker: Command, text: &str) {
    let output = checker.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{text}");
}

fn each(write: fn(Texts) -> String, check: impl Fn(&Path) -> Command) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    for (_, wishes) in wishes() {
        let text = write(texts(&wishes));
        std::fs::write(&file, &text).expect("written");
        takes(check(&file), &text);
        // It does look: with something wrong in it, it does not take it.
        std::fs::write(&file, text.replacen("192.0.2.1", "192.0.2.999", 9)).expect("written");
        let refused = check(&file).output().expect("it runs");
        assert!(!refused.status.success(), "{text}");
    }
}

#[test]
fn dnsmasq_takes_its_text() {
    each(
        |texts| texts.dnsmasq,
        |file| {
            let mut dnsmasq = program("dnsmasq");
            dnsmasq
                .arg("--test")
                .arg(format!("--conf-file={}", file.display()));
            dnsmasq
        },
    );
}

#[test]
fn isc_dhcpd_takes_its_text() {
    each(
        |texts| texts.isc_dhcpd,
        |file| {
            let mut dhcpd = program("dhcpd");
            dhcpd.args(["-4", "-t", "-cf"]).arg(file);
            dhcpd
        },
    );
}

#[test]
fn kea_takes_its_text() {
    each(
        |texts| texts.kea,
        |file| {
            let mut kea = program("kea-dhcp4");
            kea.arg("-t").arg(file);
            kea
        },
    );
}

#[test]
fn over_the_api_the_boot_servers_are_named_in_their_order_and_what_has_no_meaning_is_refused() {
    let server = Server::set_up();
    let admin = server.admin();
    for (name, address, priority) in [("b", "192.0.2.2", 2), ("a", "192.0.2.1", 1)] {
        let body = json!({"name": name, "address": address, "priority": priority});
        admin.create("/api/v1/boot-servers", &body);
    }
    let found = admin.get("/api/v1/dhcp-hints").expect(200).json();
    assert_eq!(found["scopes"][0]["option_66"], "192.0.2.1 192.0.2.2");
    assert_eq!(
        found["scopes"][0]["static_menu"],
        json!({"a": "0.0.0.0", "b": "192.0.2.1", "c": "192.0.2.2"})
    );
    let wishes = "scopes=10.1.0.0/24,10.2.0.0/24&alternate=true&vendor_class=Thin&boot_file=x.efi&terminal_address=192.0.2.50";
    let found = admin
        .get(&format!("/api/v1/dhcp-hints?{wishes}"))
        .expect(200)
        .json();
    assert_eq!(found["scopes"][1]["option_66"], "192.0.2.2 192.0.2.1");
    assert_eq!(
        found["scopes"][1]["option_150"],
        json!(["192.0.2.2", "192.0.2.1"])
    );
    assert_eq!(found["scopes"][0]["static_menu"]["a"], "192.0.2.50");
    assert!(
        found["texts"]["dnsmasq"]
            .as_str()
            .expect("a text")
            .contains("tag:daybreak-2")
    );
    let many = (0..65)
        .map(|net| format!("10.{net}.0.0/24"))
        .collect::<Vec<_>>()
        .join(",");
    for bad in [
        "boot_file=a%22b",
        "vendor_class=a%0Ab",
        "scopes=10.1.0.1/24",
        "scopes=",
        &format!("scopes={many}"),
        "alternate=maybe",
        "terminal_address=x",
        "nonsense=1",
    ] {
        let refused = admin.get(&format!("/api/v1/dhcp-hints?{bad}")).expect(400);
        assert_eq!(refused.code(), "invalid_query", "{bad}");
    }
}
