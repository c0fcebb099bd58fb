//! What the real program says when something keeps it from serving.

mod support;

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::engine::{Engine, command, publish};
use support::network::in_own_network;

/// The end of an engine that cannot start: exit code and what it said.
fn refused(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into())
}

#[track_caller]
fn assert_says((code, text): (Option<i32>, String), expected: i32, words: &[&str]) {
    assert_eq!(code, Some(expected), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn a_port_in_use_is_said_with_the_way_to_find_its_holder() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let words = ["port in use", &address, "ss -lunp"];
    assert_says(
        refused(command(data.path(), &["--listen", &address])),
        5,
        &words,
    );
    // Another engine too, although its workers share the port among themselves.
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0", "--workers", "2"]);
    let address = engine.address().to_string();
    assert_says(
        refused(command(data.path(), &["--listen", &address])),
        5,
        &[&address],
    );
}

#[test]
fn a_privileged_port_names_the_capability() {
    // In many containers port 69 is everybody's; not in a new network.
    in_own_network("a_privileged_port_names_the_capability", "true", port_69);
}

fn port_69() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    // The same program without any capability, as an ordinary user would run it.
    let unprivileged = without_capabilities(data.path(), &["--listen", "127.0.0.1:69"]);
    let words = [
        "CAP_NET_BIND_SERVICE",
        "setcap",
        "AmbientCapabilities",
        "ip_unprivileged_port_start",
    ];
    assert_says(refused(unprivileged), 6, &words);
}

#[test]
fn buffers_cut_short_name_the_sysctl() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    let large = (1_usize << 29).to_string();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--listener-receive-bytes",
        &large,
        "--metrics",
        "127.0.0.1:0",
    ];
    let mut child = without_capabilities(data.path(), &arguments)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let found = lines
        .map_while(Result::ok)
        .take_while(|line| !line.contains("INFO ready"))
        .find(|line| line.contains("net.core.rmem_max"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found.is_some_and(|line| line.contains(&large)));
}

/// The program without capabilities.
fn without_capabilities(data: &Path, arguments: &[&str]) -> Command {
    if !rustix::process::geteuid().is_root() {
        return command(data, arguments);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--bounding-set=-all",
            "--inh-caps=-all",
            "--ambient-caps=-all",
        ])
        .arg(env!("CARGO_BIN_EXE_daybreak-engine"))
        .arg("--data")
        .arg(data)
        .args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[test]
fn a_data_directory_that_may_not_be_read_is_named() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    let permit = |mode| {
        std::fs::set_permissions(data.path(), Permissions::from_mode(mode)).unwrap();
    };
    permit(0o000);
    let said = refused(without_capabilities(
        data.path(),
        &["--listen", "127.0.0.1:0"],
    ));
    permit(0o700);
    let path = data.path().to_str().unwrap();
    assert_says(said, 3, &["cannot be read", path, "ermission denied"]);
}

#[test]
fn every_other_refusal_has_its_code_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing");
    let listen = ["--listen", "127.0.0.1:0"];
    let says = |data: &Path, arguments: &[&str], code, words: &[&str]| {
        assert_says(refused(command(data, arguments)), code, words);
    };
    says(
        &nothing,
        &listen,
        3,
        &["no data directory", "daybreak-admin --data", "import"],
    );
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    says(&file, &listen, 3, &["cannot be read"]);

    let damaged = folder.path().join("damaged");
    publish(&damaged, &[("a", b"a")]);
    for catalog in std::fs::read_dir(damaged.join("catalogs")).unwrap() {
        let path = catalog.unwrap().path();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "nonsense").unwrap();
    }
    says(&damaged, &listen, 4, &["no catalog", "publish anew"]);

    let data = folder.path().join("data");
    publish(&data, &[("a", b"a")]);
    says(
        &data,
        &["--listen", "192.0.2.77:6969"],
        7,
        &["192.0.2.77:6969 is no address of this machine"],
    );
    says(
        &data,
        &["--workers", "0"],
        2,
        &["--workers must be from 1 to 256"],
    );
    says(&data, &["--metrics", "192.0.2.77:1"], 2, &["loopback"]);
    says(
        &data,
        &["--listen", "127.0.0.1"],
        2,
        &["want an address and a port"],
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    says(
        &data,
        &["--listen", "127.0.0.1:0", "--metrics", &address],
        10,
        &["metrics address", "--metrics"],
    );
}
