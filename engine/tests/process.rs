//! The real program: how it starts, what it says when it cannot, what it does while it runs, how it ends.

mod support;

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use daybreak_store::{Name, Store};
use support::{Answer, Ask, Client, Step, content, eventually, fetch};

/// Publishes files.
fn publish(data: &Path, files: &[(&str, &[u8])]) {
    let store = Store::open(data).unwrap();
    let mut draft = store.begin().unwrap();
    for (name, octets) in files {
        let name = Name::parse(name).unwrap();
        let go_on = &mut |_| std::ops::ControlFlow::Continue(());
        draft
            .import(name, &mut Cursor::new(octets), octets.len() as u64, go_on)
            .unwrap();
    }
    draft.publish().unwrap();
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybreak-engine"));
    command.arg("--data").arg(data).args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// An engine that runs.
struct Engine {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Engine {
    /// Starts one and waits until it serves.
    fn start(data: &Path, arguments: &[&str]) -> Self {
        let arguments = [&["--metrics", "127.0.0.1:0", "--log", "debug"], arguments].concat();
        let mut child = command(data, &arguments).spawn().unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (lines, stderr) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let engine = Engine { child, log };
        engine.line("INFO ready");
        engine
    }

    /// The first line with a word in it.
    #[track_caller]
    fn line(&self, word: &str) -> String {
        eventually(word, || self.find(word))
    }

    fn find(&self, word: &str) -> Option<String> {
        self.log
            .lock()
            .unwrap()
            .iter()
            .find(|line| line.contains(word))
            .cloned()
    }

    fn addresses(&self, word: &str) -> Vec<SocketAddr> {
        let log = self.log.lock().unwrap();
        let word = format!("{word} address=");
        log.iter()
            .filter_map(|line| line.split(&word).nth(1)?.parse().ok())
            .collect()
    }

    fn address(&self) -> SocketAddr {
        self.addresses("listening")[0]
    }

    fn signal(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// The answer of the metrics address.
    fn get(&self, request: &[u8]) -> String {
        let mut connection = TcpStream::connect(self.addresses("metrics")[0]).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        connection.write_all(request).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    fn number(&self, name: &str) -> u64 {
        let answer = self.get(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {answer}"))
            .parse()
            .unwrap()
    }

    /// Its exit code.
    #[track_caller]
    fn exit(&mut self) -> Option<i32> {
        eventually("the end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
fn it_serves_with_either_driver_and_ends_in_order() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(100_000);
    publish(data.path(), &[("boot/a", &octets)]);
    for io in ["uring", "portable"] {
        let mut engine = Engine::start(
            data.path(),
            &[
                "--listen",
                "127.0.0.1:0",
                "--listen",
                "[::1]:0",
                "--workers",
                "2",
                "--io",
                io,
            ],
        );
        assert!(
            engine
                .line("INFO ready")
                .contains(&format!("generation=1 driver={io} workers=2"))
        );
        for address in engine.addresses("listening") {
            // Several ports, so that both workers have their share.
            for _ in 0..8 {
                let ask = Ask::octet("boot/a").blksize(1428).windowsize(16);
                assert!(matches!(fetch(address, &ask), Answer::File(got, _) if got == octets));
            }
        }
        assert_eq!(
            engine.number("daybreak_engine_transfers_completed_total"),
            16
        );
        assert_eq!(engine.number("daybreak_engine_catalog_generation"), 1);
        assert_eq!(
            engine.number("daybreak_engine_kernel_receive_drops_total"),
            0
        );
        assert_eq!(
            engine.number("daybreak_engine_driver_send_errors_total{class=\"forbidden\"}"),
            0
        );
        engine.signal();
        assert_eq!(engine.exit(), Some(0), "{io}");
        engine.line("INFO ended");
    }
}

#[test]
fn a_published_catalog_is_in_service_within_100_ms_and_a_running_transfer_keeps_its_own() {
    let data = tempfile::tempdir().unwrap();
    let (old, new) = (content(200_000), content(200_001));
    publish(data.path(), &[("a", &old)]);
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let mut running = Client::new(engine.address()).patience(Duration::from_secs(5));
    running.ask(&Ask::octet("a"));
    assert_eq!(running.step(), Step::More);

    publish(data.path(), &[("a", &new), ("b", b"b")]);
    let published = Instant::now();
    eventually("served", || {
        matches!(fetch(engine.address(), &Ask::octet("b")), Answer::File(..)).then_some(())
    });
    let took = published.elapsed();
    assert!(took < Duration::from_millis(100), "{took:?}");
    let ask = Ask::octet("a").blksize(1428);
    assert!(matches!(fetch(engine.address(), &ask), Answer::File(got, _) if got == new));
    assert!(matches!(running.finish(), Answer::File(got, _) if got == old));
}

#[test]
fn a_damaged_catalog_is_named_and_the_last_good_one_stays() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"one")]);
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let current = data.path().join("catalogs/current");
    let good = std::fs::read(&current).unwrap();
    let damage = |octets: &[u8]| {
        let temporary = data.path().join("catalogs/damage");
        std::fs::write(&temporary, octets).unwrap();
        std::fs::rename(&temporary, &current).unwrap();
    };
    damage(b"nonsense");
    let line = engine.line("ERROR the published catalog cannot be served");
    assert!(
        line.contains("catalogs/current") && line.contains("served=1"),
        "{line}"
    );
    assert!(
        matches!(fetch(engine.address(), &Ask::octet("a")), Answer::File(got, _) if got == b"one")
    );
    damage(&good);
    publish(data.path(), &[("a", b"two")]);
    engine.line("INFO catalog in service generation=2");
    eventually("two", || {
        matches!(fetch(engine.address(), &Ask::octet("a")), Answer::File(got, _) if got == b"two")
            .then_some(())
    });
}

#[test]
fn without_a_catalog_it_waits_for_the_first() {
    let data = tempfile::tempdir().unwrap();
    Store::open(data.path()).unwrap();
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    engine.line("WARN nothing is published yet");
    let ask = Ask::octet("a");
    assert!(matches!(
        fetch(engine.address(), &ask),
        Answer::Refused(1, _)
    ));
    engine.line("DEBUG file not found");
    publish(data.path(), &[("a", b"one")]);
    eventually("one", || {
        matches!(fetch(engine.address(), &ask), Answer::File(..)).then_some(())
    });
}

#[test]
fn sigterm_lets_running_transfers_finish_within_the_bound() {
    let data = tempfile::tempdir().unwrap();
    let octets = content(300_000);
    publish(data.path(), &[("a", &octets)]);
    for io in ["uring", "portable"] {
        let mut engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0", "--io", io]);
        let mut running = Client::new(engine.address()).patience(Duration::from_secs(5));
        running.ask(&Ask::octet("a"));
        assert_eq!(running.step(), Step::More);
        engine.signal();
        engine.line("INFO draining");
        let mut late = Client::new(engine.address()).patience(Duration::from_millis(200));
        late.ask(&Ask::octet("a"));
        assert_eq!(late.step(), Step::Silence, "{io}");
        assert!(matches!(running.finish(), Answer::File(got, _) if got == octets));
        assert_eq!(engine.exit(), Some(0));

        // One that does not finish is told, at the bound.
        let mut engine = Engine::start(
            data.path(),
            &[
                "--listen",
                "127.0.0.1:0",
                "--io",
                io,
                "--drain-seconds",
                "1",
            ],
        );
        let mut stuck = Client::new(engine.address()).patience(Duration::from_secs(5));
        stuck.ask(&Ask::octet("a"));
        assert_eq!(stuck.step(), Step::More);
        engine.signal();
        assert_eq!(engine.exit(), Some(0));
        let told = std::iter::from_fn(|| Some(stuck.step())).find(|step| *step != Step::More);
        assert!(matches!(told, Some(Step::Refused(0, text)) if text.contains("shutting down")));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", &content(100_000))]);
    let mut engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let mut running = Client::new(engine.address()).patience(Duration::from_secs(5));
    running.ask(&Ask::octet("a"));
    assert_eq!(running.step(), Step::More);
    engine.signal();
    engine.line("INFO draining");
    engine.signal();
    assert_eq!(engine.exit(), Some(1));
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
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    // The same program without any capability, as an ordinary user would run it.
    let Some(mut unprivileged) = without_capabilities(data.path(), &["--listen", "127.0.0.1:69"])
    else {
        return;
    };
    let Output { status, stderr, .. } = unprivileged.output().unwrap();
    let words = [
        "CAP_NET_BIND_SERVICE",
        "setcap",
        "AmbientCapabilities",
        "ip_unprivileged_port_start",
    ];
    assert_says(
        (status.code(), String::from_utf8_lossy(&stderr).into()),
        6,
        &words,
    );
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
    let Some(mut command) = without_capabilities(data.path(), &arguments) else {
        return;
    };
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let found = lines
        .map_while(Result::ok)
        .take_while(|line| !line.contains("INFO ready"))
        .find(|line| line.contains("net.core.rmem_max"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found.is_some_and(|line| line.contains(&large)));
}

/// The program without capabilities; `None` where `setpriv` (util-linux) is not to be had, or not allowed.
fn without_capabilities(data: &Path, arguments: &[&str]) -> Option<Command> {
    let drop = [
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--ambient-caps=-all",
    ];
    let setpriv = || {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(drop);
        setpriv
    };
    let tried = setpriv().arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no setpriv here");
        return None;
    }
    let mut command = setpriv();
    command
        .arg(env!("CARGO_BIN_EXE_daybreak-engine"))
        .arg("--data")
        .arg(data)
        .args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    Some(command)
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
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    says(
        &data,
        &["--listen", "127.0.0.1:0", "--metrics", &address],
        10,
        &["metrics address", "--metrics"],
    );
}

#[test]
fn the_metrics_address_answers_what_it_should_and_survives_the_rest() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    assert!(
        engine
            .get(b"GET /healthz HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 200 OK")
    );
    assert!(
        engine
            .get(b"GET /secret HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        engine
            .get(b"POST /metrics HTTP/1.1\r\n\r\n")
            .starts_with("HTTP/1.1 405")
    );
    // Said nothing, said half, hung up: none of it holds the next one up for long.
    drop(TcpStream::connect(engine.addresses("metrics")[0]).unwrap());
    let mut half = TcpStream::connect(engine.addresses("metrics")[0]).unwrap();
    half.write_all(b"GET /met").unwrap();
    let metrics = engine.get(b"GET /metrics HTTP/1.1\r\n\r\n");
    for line in [
        "# TYPE daybreak_engine_requests counter",
        "# HELP daybreak_engine_transfers_live Transfers running now",
        "daybreak_engine_build_info{",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn t12_a_flood_of_nonsense_brings_one_line_a_second() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", b"a")]);
    let engine = Engine::start(data.path(), &["--listen", "127.0.0.1:0"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    for n in 0..2000_u32 {
        let name = format!("\0\x01nothing/{n}\0octet\0");
        let climb = "\0\x01../../etc/passwd\0octet\0".to_owned();
        let junk = format!("\0\x07{n}");
        for packet in [name, climb, junk] {
            socket.send_to(packet.as_bytes(), engine.address()).unwrap();
        }
    }
    eventually("all heard", || {
        (engine.number("daybreak_engine_driver_datagrams_received_total") >= 5000).then_some(())
    });
    let lines = engine.log.lock().unwrap().len() as u64;
    let allowed = 2 * (begun.elapsed().as_secs() + 2) + 8;
    assert!(lines <= allowed, "{lines} lines, {allowed} allowed");
    assert!(matches!(
        fetch(engine.address(), &Ask::octet("a")),
        Answer::File(..)
    ));
}
