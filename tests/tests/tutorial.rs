//! `docs/tutorial.md` is true: its commands are run as they stand there, by a shell, against the real programs, and where it says
//! to switch a machine on, a virtual one boots from what the commands have made.

use std::time::Duration;

use daybreak_tests::process::Process;
use daybreak_tests::site::Site;
use daybreak_tests::vm::{Firmware, Lan, MAC, SERVER};
use daybreak_tests::{page, programs};

/// How long the whole walk may take, with a boot in it, on a slow and busy processor.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the page says that a machine is switched on.
const SWITCH_ON: &str = "<!-- switch on -->";

/// Where it says so again, of the unit that has taken the place of the first.
const SWITCH_ON_AGAIN: &str = "<!-- switch on again -->";

/// The network card of that unit.
const NEW_MAC: &str = "52:54:00:da:7b:09";

/// What the firmware of the page shows when it has all that it needs.
const MARKER: &str = "this terminal is ready";

#[test]
fn the_tutorial_is_walked_as_it_stands() {
    walk(Pace::Quick);
}

#[test]
#[ignore = "long: make test-long"]
fn the_tutorial_is_walked_also_where_it_says_to_wait() {
    walk(Pace::Whole);
}

#[test]
fn the_tutorial_has_commands_before_between_and_after_the_boots() {
    let page = tutorial();
    let (before, after) = page.split_once(SWITCH_ON).expect("a boot");
    let (between, after) = after.split_once(SWITCH_ON_AGAIN).expect("another boot");
    assert!(before.matches("```sh\n").count() > 5 && between.matches("```sh\n").count() > 8);
    assert!(between.contains("```sh later\n") && between.contains(NEW_MAC));
    assert!(after.contains("```sh\n"));
}

/// What of the page is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// All but what takes minutes: the new unit of the terminal that has booted, and its boot.
    Quick,
    /// All of it.
    Whole,
}

fn walk(pace: Pace) {
    let lan = Lan::new("boot.ipxe");
    let site = Site::inside(lan.host());
    let administration = site.administration_on("127.0.0.1:8069", &[]);
    let engine = site.engine_on(&format!("{SERVER}:69"), &[]);

    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("tutorial.sh");
    std::fs::write(&script, script_of(&tutorial(), pace)).expect("own folder");
    let mut command = lan.host().command(programs::system("bash"));
    command
        .current_dir(folder.path())
        .env("LINK", administration.set_up_link())
        .arg(&script);
    let mut shell = Process::start("the tutorial", command);

    let boots = match pace {
        Pace::Quick => &[(SWITCH_ON, MAC)][..],
        Pace::Whole => &[(SWITCH_ON, MAC), (SWITCH_ON_AGAIN, NEW_MAC)],
    };
    for (place, mac) in boots {
        shell.wait_for("the machine is to be switched on", PATIENCE, |line| {
            (line == *place).then_some(())
        });
        let machine = lan.boot_with(mac, &Firmware::Bios);
        machine.wait_for_console(MARKER, PATIENCE);
        // Off again: the page replaces it.
        drop(machine);
        std::fs::write(folder.path().join("booted"), "").expect("own folder");
    }
    let status = shell.wait_for_exit(PATIENCE);
    assert!(status.success(), "{}", shell.finished_log());
    drop(engine);
}

fn tutorial() -> String {
    let page = programs::repository().join("docs/tutorial.md");
    std::fs::read_to_string(page).expect("docs/tutorial.md")
}

/// The commands of the page, with a wait at each boot.
fn script_of(tutorial: &str, pace: Pace) -> String {
    let wait =
        |place| format!("echo '{place}'\nuntil [ -e booted ]; do sleep 0.2; done; rm booted");
    let (first, again) = (wait(SWITCH_ON), wait(SWITCH_ON_AGAIN));
    match pace {
        Pace::Quick => page::script_of(tutorial, &[(SWITCH_ON, &first)]),
        Pace::Whole => {
            let whole = tutorial.replace("```sh later\n", "```sh\n");
            page::script_of(&whole, &[(SWITCH_ON, &first), (SWITCH_ON_AGAIN, &again)])
        }
    }
}
