//! Where io_uring is forbidden, as in many containers: the real program under a seccomp filter.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use daybreak_store::Store;
use support::network::in_own_network;

/// Installs a filter that answers `io_uring_setup` with an errno, then becomes the program.
const FILTER: &str = "
import ctypes, os, struct, sys
errno = int(sys.argv[1])
code = b''.join(struct.pack('HBBI', *line) for line in [
    (0x20, 0, 0, 0),                    # load the number of the system call
    (0x15, 0, 1, 425),                  # io_uring_setup?
    (0x06, 0, 0, 0x00050000 | errno),   # fail with errno
    (0x06, 0, 0, 0x7fff0000),           # allow
])
buffer = ctypes.create_string_buffer(code)
class Program(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
program = Program(len(code) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
";

/// The program where `io_uring_setup` fails with `errno`, as Python arranges it.
fn filtered(errno: i32, data: &Path, io: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .args([
            "-c",
            FILTER,
            &errno.to_string(),
            env!("CARGO_BIN_EXE_daybreak-engine"),
            "--data",
        ])
        .arg(data)
        .args([
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
            "--io",
            io,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// What an engine says that was asked for io_uring and does not get it.
fn refused(errno: i32) -> String {
    let data = tempfile::tempdir().unwrap();
    Store::open(data.path()).unwrap();
    let output = filtered(errno, data.path(), "uring").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(9), "{text}");
    assert!(text.contains("--io portable"), "{text}");
    text
}

const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const ENOSYS: i32 = 38;

#[test]
fn with_io_uring_asked_for_it_says_what_forbids_it() {
    for (errno, words) in [
        (EPERM, ["forbidden", "seccomp filter"]),
        (ENOSYS, ["not available", "ENOSYS"]),
        (ENOMEM, ["RLIMIT_MEMLOCK", "LimitMEMLOCK="]),
    ] {
        let text = refused(errno);
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
    }
}

#[test]
fn where_the_sysctl_forbids_it_the_sysctl_is_named() {
    in_own_network(
        "where_the_sysctl_forbids_it_the_sysctl_is_named",
        // The machine's own stays as it is: only here a file lies over it.
        "two=$(mktemp) && echo 2 >$two && mount --bind $two /proc/sys/kernel/io_uring_disabled && rm $two",
        || {
            let text = refused(EPERM);
            let words = "sysctl kernel.io_uring_disabled = 2";
            assert!(text.contains(words), "{text}");
        },
    );
}

#[test]
fn else_it_serves_all_the_same_and_says_why_not_on_io_uring() {
    let data = tempfile::tempdir().unwrap();
    Store::open(data.path()).unwrap();
    let mut child = filtered(EPERM, data.path(), "auto").spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said: Vec<String> = Vec::new();
    for line in lines.map_while(Result::ok) {
        said.push(line);
        if said.last().is_some_and(|line| line.contains("INFO ready")) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let ready = said.last().expect("it says something");
    assert!(ready.contains("driver=portable"), "{said:?}");
    assert!(
        said.iter()
            .any(|line| line.contains("serving without io_uring") && line.contains("seccomp"))
    );
}
