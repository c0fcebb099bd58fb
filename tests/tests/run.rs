//! `make run`, as far as it is a script: both programs start, what is printed works, one signal ends both.

use std::path::Path;
use std::time::Duration;

use daybreak_tests::process::Process;
use daybreak_tests::{poll, programs};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long both may take to end: the engine drains for up to 30 s.
const END_PATIENCE: Duration = Duration::from_secs(45);

struct Running {
    script: Process,
    dir: tempfile::TempDir,
}

impl Running {
    fn start() -> Running {
        let dir = tempfile::tempdir().expect("a folder");
        let engine = programs::ours("daybreak-engine");
        // A shell cannot catch what was ignored when it began, as SIGINT is wherever tests run in the background.
        let mut command = programs::dying_with_test(programs::system("env"));
        command
            .arg("--default-signal=INT,TERM")
            .arg(programs::repository().join("scripts/run"))
            .env("DAYBREAK_PORT", "0")
            .env("DAYBREAK_ADMIN_PORT", "0")
            .env("DAYBREAK_RUN", dir.path())
            .env("DAYBREAK_PROGRAMS", engine.parent().expect("a folder"));
        Running {
            script: Process::start("scripts/run", command),
            dir,
        }
    }

    /// What is printed behind `label`.
    fn printed(&self, label: &str) -> String {
        self.script.wait_for(label, PATIENCE, |line| {
            Some(line.trim().strip_prefix(label)?.trim().to_owned())
        })
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.script.pid()).expect("a number");
        kill_process(Pid::from_raw(pid).expect("a process"), signal).expect("our own");
    }

    /// The numbers of the two programs.
    fn programs(&self) -> Vec<u32> {
        running_on(self.dir.path())
    }
}

/// Every process, but for scripts, that was told to work in `folder`.
fn running_on(folder: &Path) -> Vec<u32> {
    let folder = folder.join("data");
    let data = folder.to_str().expect("a plain path");
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let works = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|octet| *octet == 0)
            .any(|word| word == data.as_bytes())
    };
    numbers.filter(works).collect()
}

#[test]
fn both_programs_start_what_is_printed_works_and_one_signal_ends_both() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = Running::start();
        let curl = running.printed("curl ");
        let url = running.printed("Administration: ");
        let link = running.printed("The first administrator: ");
        running
            .script
            .wait_for("the end of the text", PATIENCE, |line| {
                line.contains("Ctrl-C").then_some(())
            });
        assert_eq!(running.programs().len(), 2);

        let shell = |line: &str| {
            let mut command = programs::dying_with_test(programs::system("sh"));
            command.current_dir(running.dir.path()).args(["-c", line]);
            command.output().expect("a shell")
        };
        let fetched = shell(&format!("curl --silent {curl}"));
        assert!(fetched.status.success(), "{fetched:?}");
        let image = |path: &str| std::fs::read(running.dir.path().join(path)).expect(path);
        assert!(image("terminal.img") == image("sample-firmware/images/terminal.img"));
        assert!(link.starts_with(&format!("{url}/setup#setup-")), "{link}");
        let page = shell(&format!("curl --silent --fail '{link}'"));
        assert!(String::from_utf8_lossy(&page.stdout).contains("first administrator"));

        running.signal(signal);
        let status = running.script.wait_for_exit(END_PATIENCE);
        assert!(status.success(), "{signal:?}: {status}");
        assert_eq!(running.programs(), Vec::<u32>::new());
    }
}

#[test]
fn when_one_program_is_killed_the_other_goes_on_and_that_is_said() {
    let mut running = Running::start();
    let url = running.printed("Administration: ");
    let engine = *running
        .programs()
        .iter()
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("daybreak-engine")
        })
        .expect("an engine");
    let pid = i32::try_from(engine).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), Signal::KILL).expect("our own");
    running
        .script
        .wait_for("that it has ended", PATIENCE, |line| {
            (line.contains("The engine has ended") && line.contains("goes on")).then_some(())
        });
    let mut curl = programs::dying_with_test(programs::system("curl"));
    let health = curl
        .args(["--silent", "--fail"])
        .arg(format!("{url}/healthz"));
    assert!(health.output().expect("curl").status.success());
    running.script.terminate();
    running.script.wait_for_exit(PATIENCE);
    poll::until("nothing is left", PATIENCE, || {
        running.programs().is_empty().then_some(())
    });
}
