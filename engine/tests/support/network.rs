//! A network of a test's own: the MTU and the queue of a loopback are those of all its users, and so are sysctls.

use std::process::Command;

/// Names the test that runs inside.
const INSIDE: &str = "DAYBREAK_OWN_NETWORK";

/// Runs the body of a test in a network that nobody else has, with mounts that nobody else sees, set up by a shell
/// script: the test program runs itself again there. Skipped where there are no such networks, or where the script fails.
pub(crate) fn in_own_network(test: &str, script: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == test) {
        return body();
    }
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([
            "--net",
            "--mount",
            "--map-root-user",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]);
        command.env(INSIDE, test);
        command.output()
    };
    if !unshare(script).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network namespaces here, or `{script}` fails in one");
        return;
    }
    let output = unshare(&format!("{script} && exec \"$@\"")).unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}\n{}", text[0], text[1]);
}
