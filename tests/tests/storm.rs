//! Everybody boots at once: the real load generator against the real engine.
//!
//! What is asked here is that nobody fails; how fast it is, a benchmark tells.

use std::net::SocketAddr;

use daybreak_tests::content;
use daybreak_tests::programs;
use daybreak_tests::site::Site;

const IMAGE_BYTES: usize = 60_000;

fn image() -> Vec<u8> {
    content::octets(1, IMAGE_BYTES)
}

fn site() -> Site {
    let site = Site::new();
    site.import("image", &image());
    site
}

/// Boots simulated clients, and expects that every one of them gets the whole file, as it was imported.
fn boot(servers: &[SocketAddr], clients: u32, args: &[&str]) {
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    let expected = tempfile::NamedTempFile::new().expect("a private file");
    std::fs::write(expected.path(), image()).expect("own file");
    let mut command = programs::dying_with_test(programs::ours("daybreak-loadtest"));
    command
        .args(["--server", &servers.join(","), "--file", "image", "--json"])
        .args(["--clients", &clients.to_string(), "--expect-file"])
        .arg(expected.path())
        .args(args);
    let output = command.output().expect("the program is built");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{args:?}\n{said}");
    assert!(
        output.status.success(),
        "{args:?}: {}\n{said}",
        output.status
    );
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("--json prints JSON");
    assert_eq!(report["clients"]["completed"], clients, "{args:?}");
    assert_eq!(report["clients"]["failed"], 0, "{args:?}");
    assert_eq!(report["completion_ms"]["count"], clients, "{args:?}");
}

#[test]
fn ten_thousand_clients_that_boot_at_once_all_get_the_file() {
    let site = site();
    let engine = site.engine(&[]);
    let args = ["--windowsize", "4", "--deadline", "120"];
    boot(&[engine.address()], 10_000, &args);
}

/// The simulated clients that can recover a lost packet at all: one that neither sends again nor answers what it
/// has had (`raspberry`) is lost with its ACK, whatever a server does.
const PATIENT_PROFILES: [&str; 7] = [
    "plain", "rfc1350", "ipxe", "edk2", "grub2", "pxelinux", "uboot",
];

#[test]
fn clients_of_every_make_boot_over_a_wire_that_loses_packets() {
    let site = site();
    for way in [
        &["--io", "uring"][..],
        &["--io", "portable"],
        &["--single-port"],
    ] {
        let engine = site.engine(way);
        for profile in PATIENT_PROFILES {
            let args = ["--profile", profile, "--loss", "0.02"];
            boot(&[engine.address()], 20, &args);
        }
    }
}

#[test]
fn clients_of_a_dead_server_boot_from_the_other_one() {
    let (first, second) = (site(), site());
    let (dead, alive) = (first.engine(&[]), second.engine(&[]));
    let address = dead.address();
    dead.kill();
    let args = ["--windowsize", "8", "--tries", "2"];
    boot(&[address, alive.address()], 200, &args);
}
