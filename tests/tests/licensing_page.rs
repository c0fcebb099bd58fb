//! `docs/licensing.md` is true: its commands are run as they stand there, by a shell, against the real programs.

use std::time::Duration;

use daybreak_tests::pair::{Server, pair};
use daybreak_tests::process::Process;
use daybreak_tests::{page, programs};

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn the_page_of_licences_is_walked_as_it_stands() {
    // The second one takes part from the part of the page on that is about two.
    let (a, b) = (Server::unlicensed("a"), Server::unlicensed("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let (door, door_b) = (a.door(), b.door());
    let text = programs::repository().join("docs/licensing.md");
    let text = std::fs::read_to_string(text).expect("docs/licensing.md");
    assert!(text.matches("```sh\n").count() >= 12, "commands are there");
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("licensing.sh");
    std::fs::write(&script, page::script_of(&text, &[])).expect("own folder");

    let ours = programs::ours("daybreak-licence");
    let ours = ours.parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = programs::dying_with_test(programs::system("bash"));
    command
        .current_dir(folder.path())
        .env("PATH", format!("{ours}:{path}"))
        .env("DATA", a.site().data())
        .env("URL", door.url)
        .env("DATA_B", b.site().data())
        .env("URL_B", door_b.url)
        .env("DAYBREAK_API_KEY", door.key)
        .arg(&script);
    let mut shell = Process::start("the page of licences", command);
    let status = shell.wait_for_exit(PATIENCE);
    assert!(status.success(), "{}", shell.finished_log());
    for server in [&a, &b] {
        let licensing = server.licensing();
        assert_eq!(
            (&licensing["mode"], &licensing["agreement"]),
            (&"enterprise".into(), &"agrees".into()),
            "{licensing}"
        );
    }
}
