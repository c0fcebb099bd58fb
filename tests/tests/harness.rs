//! The harness keeps its own promises: what a test makes is private to it, and ends with it.

use std::path::PathBuf;

use daybreak_tests::host::{Host, Private};
use daybreak_tests::process::Process;
use daybreak_tests::programs;

#[test]
fn a_private_network_has_only_a_loopback_of_its_own() {
    let output = Host::new(Private::Network).run("ip", &["-oneline", "link"]);
    let links = String::from_utf8_lossy(&output.stdout);
    assert!(links.lines().all(|link| link.contains("lo:")), "{links}");
}

#[test]
fn what_is_mounted_inside_is_not_seen_outside() {
    let dir = tempfile::tempdir().expect("a private folder");
    let path = dir.path().to_str().expect("a plain path");
    let host = Host::new(Private::Mounts);
    host.run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", path]);
    host.run("touch", &[&format!("{path}/inside")]);
    assert!(!dir.path().join("inside").exists());
}

#[test]
fn a_program_ends_with_its_owner() {
    let host = Host::new(Private::Network);
    let mut command = host.command(programs::system("sleep"));
    command.arg("1000");
    let process = Process::start("sleep", command);
    let state = PathBuf::from(format!("/proc/{}", process.pid()));
    assert!(state.exists());
    drop(process);
    assert!(!state.exists());
}
