//! Schemathesis reads the document of the API and tries to find an answer that it does not foresee: with all rights, and
//! with none. It is the real one (PyPI), in the version that scripts/setup-test installs below target/.

use std::process::Command;
use std::time::Duration;

use daybreak_admin::http::document;
use daybreak_tests::process::Process;
use daybreak_tests::programs;
use daybreak_tests::site::Site;

/// What is asked of every answer: no failure of ours, no status, type, header or content that is not in the document, and
/// nothing that is there after it was deleted, or absent after it was made.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method,allow_header_conformance,use_after_free,\
                      ensure_resource_availability";

/// A stream does not end: admin/tests/events.rs reads it.
const EXCLUDED: &str = "/api/v1/events/stream";

const DOCUMENT: &str = "/api/v1/openapi.json";

/// How long it tries, in seconds: more than twice what it takes to have tried everything once.
const WITH_ALL_RIGHTS_S: u32 = 40;
const WITHOUT_CREDENTIALS_S: u32 = 15;

/// How much longer it may take to start and to report.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn with_all_rights_schemathesis_finds_no_answer_that_the_document_does_not_foresee() {
    let site = Site::new();
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let key = format!("Authorization: Bearer {}", api.key().expect("a key"));
    try_everything(administration.url(), WITH_ALL_RIGHTS_S, &["--header", &key]);
    // Whatever it did, the site is whole.
    api.get("/readyz").expect(200);
    api.wait_until_published();
}

#[test]
fn without_credentials_schemathesis_finds_no_answer_that_the_document_does_not_foresee() {
    let site = Site::new();
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let before = api.get("/api/v1/publication").expect(200).json();
    // Faster than it could be let in.
    try_everything(
        administration.url(),
        WITHOUT_CREDENTIALS_S,
        &["--phases", "coverage,fuzzing"],
    );
    api.get("/readyz").expect(200);
    let after = api.get("/api/v1/publication").expect(200).json();
    assert_eq!(before["change"], after["change"], "nothing was changed");
}

fn try_everything(url: &str, seconds: u32, args: &[&str]) {
    let program = programs::repository().join("target/schemathesis/bin/schemathesis");
    assert!(
        program.is_file(),
        "{} is not installed: run scripts/setup-test (`make test` does)",
        program.display()
    );
    let dir = tempfile::tempdir().expect("a folder");
    let mut command: Command = programs::dying_with_test(program);
    // No file of its configuration or of what it found before has a say.
    command.current_dir(dir.path()).args(["--no-color", "run"]);
    command.args([
        "--checks",
        CHECKS,
        "--seed",
        "1",
        "--generation-database",
        "none",
    ]);
    command.args([
        "--max-examples",
        "12",
        "--max-time",
        &seconds.to_string(),
        "--no-shrink",
    ]);
    command.args([
        "--warnings",
        "off",
        "--continue-on-failure",
        "--request-timeout",
        "10",
    ]);
    command.args(["--exclude-path", EXCLUDED]);
    command.args(args).arg(format!("{url}{DOCUMENT}"));
    let mut schemathesis = Process::start("schemathesis", command);
    let status = schemathesis.wait_for_exit(PATIENCE + Duration::from_secs(seconds.into()));
    let told = schemathesis.finished_log();
    assert!(status.success(), "{told}");
    let tested = told
        .lines()
        .find_map(|line| line.trim().strip_prefix("Tested: "));
    let tested = tested.and_then(|count| count.parse::<u32>().ok());
    assert_eq!(tested, Some(operations()), "operations tested:\n{told}");
}

/// How many operations the document has that are to be tried: all but the stream, and the document itself, which it has read
/// by then and does not count.
fn operations() -> u32 {
    let document = document();
    let paths = document["paths"].as_object().expect("paths").iter();
    let tried = paths.filter(|(path, _)| ![EXCLUDED, DOCUMENT].contains(&path.as_str()));
    let methods = ["get", "put", "post", "patch", "delete"];
    let count = tried.map(|(_, item)| {
        let here = methods.iter().filter(|method| item[**method].is_object());
        u32::try_from(here.count()).expect("five at most")
    });
    count.sum()
}
