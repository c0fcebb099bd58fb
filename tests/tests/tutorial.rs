//! `docs/tutorial.md` is true: its commands are run as they stand there, by a shell, against the real programs, and where it says
//! to switch a machine on, a virtual one boots from what the commands have made.

use std::time::Duration;

use daybreak_tests::process::Process;
use daybreak_tests::site::Site;
use daybreak_tests::vm::{Firmware, Lan, SERVER};
use daybreak_tests::{page, programs};

/// How long the whole walk may take, with a boot in it, on a slow and busy processor.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the page says that a machine is switched on.
const SWITCH_ON: &str = "<!-- switch on -->";

/// What the firmware of the page shows when it has all that it needs.
const MARKER: &str = "this terminal is ready";

#[test]
fn the_tutorial_is_walked_as_it_stands() {
    let lan = Lan::new("boot.ipxe");
    let site = Site::inside(lan.host());
    let administration = site.administration_on("127.0.0.1:8069", &[]);
    let engine = site.engine_on(&format!("{SERVER}:69"), &[]);

    let tutorial = programs::repository().join("docs/tutorial.md");
    let tutorial = std::fs::read_to_string(tutorial).expect("docs/tutorial.md");
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("tutorial.sh");
    let wait = format!("echo '{SWITCH_ON}'\nuntil [ -e booted ]; do sleep 0.2; done");
    let commands = page::script_of(&tutorial, &[(SWITCH_ON, &wait)]);
    std::fs::write(&script, commands).expect("own folder");
    let mut command = lan.host().command(programs::system("bash"));
    command
        .current_dir(folder.path())
        .env("LINK", administration.set_up_link())
        .arg(&script);
    let mut shell = Process::start("the tutorial", command);

    shell.wait_for("the machine is to be switched on", PATIENCE, |line| {
        (line == SWITCH_ON).then_some(())
    });
    let machine = lan.boot(&Firmware::Bios);
    machine.wait_for_console(MARKER, PATIENCE);
    std::fs::write(folder.path().join("booted"), "").expect("own folder");
    let status = shell.wait_for_exit(PATIENCE);
    assert!(status.success(), "{}", shell.finished_log());
    drop(engine);
}

#[test]
fn the_tutorial_has_commands_before_and_after_the_boot() {
    let page = programs::repository().join("docs/tutorial.md");
    let page = std::fs::read_to_string(page).expect("docs/tutorial.md");
    let (before, after) = page.split_once(SWITCH_ON).expect("a boot");
    assert!(before.matches("```sh\n").count() > 5 && after.matches("```sh\n").count() > 1);
}
