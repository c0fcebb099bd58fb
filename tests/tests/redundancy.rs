//! `docs/redundancy.md` is true: `make pair`, as far as it is a script, starts two servers and pairs them, and the commands of
//! the page are run as they stand there, by a shell, against these.

use std::time::Duration;

use daybreak_tests::process::Process;
use daybreak_tests::{page, programs};

/// How long the whole walk may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn the_walk_through_a_pair_works_as_it_stands() {
    let dir = tempfile::tempdir().expect("a folder");
    let engine = programs::ours("daybreak-engine");
    let mut command = programs::dying_with_test(programs::system("env"));
    command
        .arg("--default-signal=INT,TERM")
        .arg(programs::repository().join("scripts/pair"))
        .env("DAYBREAK_PAIR", dir.path().join("pair"))
        .env("DAYBREAK_PAIR_PORTS", "any")
        .env("DAYBREAK_PROGRAMS", engine.parent().expect("a folder"));
    let mut pair = Process::start("scripts/pair", command);
    let printed = |name: &str| {
        pair.wait_for(name, PATIENCE, |line| {
            let line = line.trim();
            line.starts_with(&format!("export {name}="))
                .then(|| line.to_owned())
        })
    };
    let exports = ["A", "TFTP_A", "KEY"].map(printed).join("\n");

    let page = programs::repository().join("docs/redundancy.md");
    let page = std::fs::read_to_string(page).expect("docs/redundancy.md");
    let script = dir.path().join("walk.sh");
    let walk = format!("{exports}\n{}", page::script_of(&page, &[]));
    std::fs::write(&script, walk).expect("own folder");
    let mut command = programs::dying_with_test(programs::system("bash"));
    command.current_dir(dir.path()).arg(&script);
    let mut shell = Process::start("the walk", command);
    let status = shell.wait_for_exit(PATIENCE);
    assert!(status.success(), "{}", shell.finished_log());
    assert!(page.matches("```sh\n").count() > 8);

    pair.terminate();
    assert!(pair.wait_for_exit(PATIENCE).success());
}
