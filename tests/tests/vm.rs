//! A virtual machine boots from the engine, as a terminal does: firmware, DHCP, TFTP.
//!
//! The wire is a tap device in a private network; see `daybreak_tests::vm`. One boot takes about 15 s.

use std::time::Duration;

use daybreak_tests::content;
use daybreak_tests::site::Site;
use daybreak_tests::vm::{Firmware, Lan, SERVER};

/// How long a machine may take from power to the marker, on a slow and busy processor.
const BOOT_PATIENCE: Duration = Duration::from_secs(180);

const IMAGE_BYTES: usize = 3_000_000;

#[test]
fn ipxe_in_a_machines_network_card_boots_from_the_engine() {
    let lan = Lan::new("boot.ipxe");
    let site = Site::inside(lan.host());
    site.import(
        "boot.ipxe",
        script(&[
            "echo daybreak: the first script runs",
            "imgfetch --name image tftp://${next-server}/images/image.bin || goto failed",
            "imgstat image",
            "chain tftp://${next-server}/second.ipxe || goto failed",
            ":failed",
            "echo daybreak: FAILED",
            "shell",
        ])
        .as_bytes(),
    );
    site.import("images/image.bin", &content::octets(1, IMAGE_BYTES));
    site.import(
        "second.ipxe",
        script(&["echo daybreak: booted", "shell"]).as_bytes(),
    );
    let _engine = site.engine_on(&format!("{SERVER}:69"), &[]);

    let machine = lan.boot(&Firmware::Bios);
    machine.wait_for_console("daybreak: booted", BOOT_PATIENCE);
    let console = machine.console();
    assert!(
        console.contains(&format!("image : {IMAGE_BYTES} bytes")),
        "the image:\n{console}"
    );
}

fn script(lines: &[&str]) -> String {
    format!("#!ipxe\n{}\n", lines.join("\n"))
}
