//! A machine that is no terminal's, in front of a site that holds such units: its menu, and its own script once it is one.

use std::time::Duration;

use daybreak_tests::site::Site;
use daybreak_tests::vm::{Firmware, Lan, MAC, SERVER};
use serde_json::json;

/// The menu waits for 30 s, and a machine boots slowly on a busy processor.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
#[ignore = "long: make test-long"]
fn a_machine_that_no_terminal_has_sees_the_menu_with_its_model_and_boots_once_it_is_a_terminal() {
    let lan = Lan::new(&format!("boot/{MAC}.ipxe"));
    let site = Site::inside(lan.host());
    site.import("firmware/linux/1/vmlinuz", b"kernel");
    let _engine = site.engine_on(&format!("{SERVER}:69"), &[]);
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let boot = json!([{"architecture": "x86-bios", "kernel": "vmlinuz"}]);
    let versions = [json!({"version": "1", "boot": boot})];
    let package = json!({"name": "linux", "active": "1", "versions": versions});
    let package = api.create("/api/v1/firmware-packages", &package);
    let model = json!({"name": "Emulated E1000", "architecture": "x86-bios", "pci_ids": ["8086:100e"], "package": package});
    let _ = api.create("/api/v1/term-caps", &model);
    let server = json!({"name": "this", "address": SERVER.to_string()});
    let _ = api.create("/api/v1/boot-servers", &server);
    let hold = json!({"key": "unknown-terminals", "value": {"policy": "hold"}});
    let _ = api.create("/api/v1/settings", &hold);
    api.wait_until_published();

    let machine = lan.boot(&Firmware::Bios);
    machine.wait_for_console("is not registered here", PATIENCE);
    let console = machine.console();
    for part in [
        &format!("Unit {MAC} (Emulated E1000)"),
        "Emulated E1000: linux 1",
        "Ask again",
    ] {
        assert!(console.contains(part), "{part}\n{console}");
    }
    // It asks again by itself, and is a terminal by then.
    let disabled = json!({"name": "kiosk", "macs": [MAC], "enabled": false});
    let _ = api.create("/api/v1/terminals", &disabled);
    machine.wait_for_console("Terminal kiosk is disabled", PATIENCE);
}
