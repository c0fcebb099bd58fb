//! Everybody boots at once: the real load generator against the real engine.
//!
//! What is asked here is that nobody fails; how fast it is, a benchmark tells.

use std::net::SocketAddr;

use daybreak_tests::content;
use daybreak_tests::programs;
use daybreak_tests::site::Site;

const IMAGE_BYTES: usize = 60_000;

fn site() -> Site {
    let site = Site::new();
    site.import("image", &content::octets(1, IMAGE_BYTES));
    site
}

/// Boots simulated clients, and expects that every one of them gets the whole file.
fn boot(servers: &[SocketAddr], args: &[&str]) {
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    let mut command = programs::dying_with_test(programs::ours("daybreak-loadtest"));
    command
        .args(["--server", &servers.join(","), "--file", "image"])
        .args(args);
    let output = command.output().expect("the program is built");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{args:?}\n{said}");
    assert!(
        output.status.success(),
        "{args:?}: {}\n{said}",
        output.status
    );
}

#[test]
fn ten_thousand_clients_that_boot_at_once_all_get_the_file() {
    let site = site();
    let engine = site.engine(&[]);
    boot(
        &[engine.address()],
        &[
            "--clients",
            "10000",
            "--windowsize",
            "4",
            "--deadline",
            "120",
        ],
    );
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
            boot(
                &[engine.address()],
                &["--clients", "20", "--profile", profile, "--loss", "0.02"],
            );
        }
    }
}

#[test]
fn clients_of_a_dead_server_boot_from_the_other_one() {
    let (first, second) = (site(), site());
    let (dead, alive) = (first.engine(&[]), second.engine(&[]));
    let address = dead.address();
    dead.kill();
    let args = ["--clients", "200", "--windowsize", "8", "--tries", "2"];
    boot(&[address, alive.address()], &args);
}
