//! The real program behind its walls: what it has given up, that it cannot reach what is not its business, and that
//! it does all of its work all the same.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::engine::{Engine, command, publish};
use support::{Answer, Ask, content, eventually, fetch};

const DRIVERS: [&str; 3] = ["uring", "tokio-uring", "portable"];

/// One field of the status of each thread of a process.
fn status(pid: u32, field: &str) -> Vec<(String, String)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .map(|thread| {
            let thread = thread.unwrap().path();
            let status = std::fs::read_to_string(thread.join("status")).unwrap();
            let value = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_else(|| panic!("no {name} in {status}"))
                    .trim()
                    .to_owned()
            };
            (value("Name:"), value(field))
        })
        .collect()
}

#[test]
fn no_thread_has_a_privilege_left() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    for io in DRIVERS {
        let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0", "--io", io]);
        assert!(engine.find("INFO confined").is_some(), "{io}");
        let threads = status(engine.pid(), "NoNewPrivs:");
        // Main, signals, workers, catalogs, metrics.
        assert!(threads.len() >= 5, "{threads:?}");
        for (field, expected) in [
            ("NoNewPrivs:", "1"),
            ("Seccomp:", "2"),
            ("CapEff:", "0000000000000000"),
            ("CapPrm:", "0000000000000000"),
            ("CapInh:", "0000000000000000"),
            ("CapAmb:", "0000000000000000"),
        ] {
            for (thread, value) in status(engine.pid(), field) {
                assert_eq!(value, expected, "{io} {thread} {field}");
            }
        }
    }
}

#[test]
fn behind_its_walls_it_serves_reloads_shows_its_numbers_and_drains() {
    let data = tempfile::tempdir().unwrap();
    let (old, new) = (content(100_000), content(2_000_001));
    publish(data.path(), &[("a", &old)]);
    for io in DRIVERS {
        let mut engine = Engine::start(
            data.path(),
            &["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--io", io],
        );
        for address in engine.addresses("listening") {
            for mode in ["octet", "netascii"] {
                let ask = Ask {
                    mode,
                    ..Ask::octet("a").blksize(1428).windowsize(16)
                };
                let answer = fetch(address, &ask);
                assert!(matches!(answer, Answer::File(..)), "{io} {mode} {answer:?}");
            }
        }
        // An image that is opened, and mapped, after the walls went up.
        let name = format!("after/{io}");
        publish(data.path(), &[(&name, &new)]);
        let ask = Ask::octet(&name).blksize(1428).windowsize(64);
        eventually("the new catalog", || {
            matches!(fetch(engine.address(), &ask), Answer::File(got, _) if got == new)
                .then_some(())
        });
        assert!(
            engine
                .get(b"GET /healthz HTTP/1.1\r\n\r\n")
                .ends_with("ok\n")
        );
        assert!(engine.number("daybreak_engine_transfers_completed_total") >= 4);
        engine.signal();
        assert_eq!(engine.exit(), Some(0), "{io}");
        engine.line("INFO ended");
    }
}

/// What strace showed of an engine whose requests to open `catalogs/current` were turned into such to open
/// `/etc/passwd`, in its memory, on their way to the kernel; `None` where strace may not.
fn opens_a_file_of_the_system(data: &Path, arguments: &[&str]) -> Option<String> {
    let tried = Command::new("strace")
        .args(["-D", "-qq", "-e", "trace=none", "true"])
        .output()
        .expect("strace: make setup-test");
    if !(tried.status.success() && tried.stderr.is_empty()) {
        eprintln!("skipped: strace may not watch its parent (kernel.yama.ptrace_scope)");
        return None;
    }
    let seen = data.with_extension("strace");
    // The third argument of openat2 loses its flags and the order to stay beneath the data directory. The first calls of
    // each thread are left alone, so that the engine starts.
    let poke = format!(
        "inject=openat2:poke_enter=@arg2={},@arg3={}:when={SPARED}+",
        hex(b"/etc/passwd\0"),
        hex(&[0; 24]),
    );
    let mut strace = Command::new("strace");
    strace
        .args(["-D", "-f", "-qq", "-e", "trace=openat2", "-e", &poke, "-o"])
        .arg(&seen)
        .arg(command(data, &[]).get_program())
        .args(["--data".as_ref(), data.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let arguments = [&["--listen", "127.0.0.1:0", "--workers", "1"], arguments].concat();
    let engine = Engine::start_as(strace, &arguments);
    let trace = eventually("a file of the system is asked for", || {
        // Every change of the folder makes the engine look at `current`.
        std::fs::write(data.join("catalogs/touched"), b"").unwrap();
        let text = std::fs::read_to_string(&seen).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("INJECTED") && line.contains("/etc/passwd"));
        line.map(str::to_owned)
    });
    drop(engine);
    std::fs::remove_file(seen).unwrap();
    Some(trace)
}

/// More calls of openat2 than the start makes.
const SPARED: u32 = 12;

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn a_running_engine_cannot_open_a_file_outside_of_its_data() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    // Without the sandbox the same request is granted: so it is the sandbox that refuses it.
    let Some(free) = opens_a_file_of_the_system(data.path(), &["--no-sandbox"]) else {
        return;
    };
    let granted = |trace: &str| {
        let result = trace.rsplit_once(") = ").expect("a result").1;
        result.starts_with(|first: char| first.is_ascii_digit())
    };
    assert!(granted(&free), "{free}");
    let confined = opens_a_file_of_the_system(data.path(), &[]).unwrap();
    assert!(confined.contains("EACCES"), "{confined}");
}
