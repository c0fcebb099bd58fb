//! `daybreak-admin serve` as a process: how it starts, what it prints, beside what it works, how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

struct Site {
    dir: tempfile::TempDir,
}

struct Serving {
    child: Child,
    url: String,
    link: Option<String>,
}

impl Site {
    fn new() -> Self {
        Site {
            dir: tempfile::tempdir().expect("tempdir"),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daybreak-admin"));
        command
            .arg("--data")
            .arg(self.dir.path().join("data"))
            .args(args);
        command
    }

    fn done(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("runs")
    }

    fn serve(&self, args: &[&str]) -> Serving {
        let args = [
            &["serve", "--listen", "127.0.0.1:0", "--log", "error"],
            args,
        ]
        .concat();
        Serving::of(self.command(&args))
    }

    /// One that logs into a file.
    fn logging(&self, level: &str) -> (Serving, PathBuf) {
        let log = self.dir.path().join("log");
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0", "--log", level]);
        command.stderr(fs::File::create(&log).expect("a file"));
        (Serving::of(command), log)
    }
}

impl Serving {
    fn of(mut command: Command) -> Serving {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().expect("a line").expect("UTF-8");
        let url = first
            .strip_prefix("administration: ")
            .expect("the address")
            .to_owned();
        let link = lines.next().and_then(Result::ok);
        let link = link.and_then(|line| Some(line.split_once("once: ")?.1.to_owned()));
        Serving { child, url, link }
    }

    fn connect(&self) -> TcpStream {
        let address = self.url.split_once("://").expect("a scheme").1;
        let stream = TcpStream::connect(address).expect("connect");
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).expect("a time-out");
        stream
    }

    /// Sends a JSON document; gives all of the answer.
    fn ask(&self, method: &str, path: &str, headers: &str, json: &Value) -> String {
        let mut stream = self.connect();
        let request = request(method, path, headers, json);
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        answer
    }

    /// Sets the site up; gives the headers of its administrator.
    fn set_up(&self) -> String {
        let made = self.ask("POST", "/api/v1/setup", "", &self.first_user());
        assert!(made.starts_with("HTTP/1.1 204"), "{made}");
        let answer = self.ask("POST", "/api/v1/session", "", &log_in());
        let cookie = cookie(&answer).split(';').next().expect("a pair");
        format!("Cookie: {cookie}\r\nX-Daybreak-Request: 1\r\n")
    }

    fn first_user(&self) -> Value {
        let link = self.link.as_deref().expect("no administrator yet");
        let token = link.split_once('#').expect("a secret").1;
        json!({"token": token, "name": "admin", "password": PASSWORD})
    }

    fn get(&self, path: &str) -> String {
        self.ask("GET", path, "", &Value::Null)
    }

    fn signal(mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("sent");
        self.child.wait().expect("ended").code()
    }
}

fn request(method: &str, path: &str, headers: &str, json: &Value) -> String {
    let json = if json.is_null() {
        String::new()
    } else {
        json.to_string()
    };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    )
}

fn log_in() -> Value {
    json!({"name": "admin", "password": PASSWORD})
}

/// What an answer sets.
fn cookie(answer: &str) -> &str {
    let named = |line: &'_ str| line.to_lowercase().starts_with("set-cookie: ");
    let line = answer.lines().find(|line| named(line));
    &line.expect("a cookie")["set-cookie: ".len()..]
}

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {answer}"))
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    /// Ends it by a signal that cannot be refused.
    fn killed(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

#[test]
fn the_first_start_prints_the_address_and_a_link_and_sigterm_ends_it_cleanly() {
    let site = Site::new();
    for signal in [Signal::TERM, Signal::INT] {
        let serving = site.serve(&[]);
        let link = serving.link.clone().expect("no administrator yet");
        assert!(
            link.starts_with(&format!("{}/setup#setup-", serving.url)),
            "{link}"
        );
        assert!(serving.get("/healthz").starts_with("HTTP/1.1 200"));
        assert_eq!(serving.signal(signal), Some(0));
    }
    let mode = |path: &str| {
        fs::metadata(site.dir.path().join("data").join(path))
            .expect(path)
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("config.db"), mode("keys"), mode("backups")),
        (0o600, 0o700, 0o700)
    );
}

#[test]
fn the_command_line_works_beside_it_and_after_it_was_killed() {
    let site = Site::new();
    let serving = site.serve(&[]);
    let file = site.dir.path().join("undionly.kpxe");
    fs::write(&file, "rom").expect("written");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(site.done(&["import", file]).status.code(), Some(0));
    serving.killed();
    assert_eq!(
        site.done(&["import", file, "--name", "again"])
            .status
            .code(),
        Some(0)
    );
    let serving = site.serve(&[]);
    let listed = site.done(&["list"]).stdout;
    assert!(String::from_utf8_lossy(&listed).contains("2 names"));
    assert_eq!(serving.signal(Signal::TERM), Some(0));
}

#[test]
fn no_request_writes_a_line_of_its_own_into_the_log() {
    let site = Site::new();
    let (serving, log) = site.logging("debug");
    let forged = "%0a2000-01-01T00:00:00Z ERROR forged";
    let say = |octets: &[u8]| {
        let mut stream = serving.connect();
        let _ = stream.write_all(octets);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    };
    let rest = "HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    for path in [
        forged.replace(' ', "%20"),
        "/%1b[31m".into(),
        "/%s%n%x".into(),
        "/%ff%00".into(),
    ] {
        say(format!("GET /{path} {rest}\r\n\r\n").as_bytes());
        say(format!(
            "GET /healthz {rest}\r\nUser-Agent: {path}\r\nAuthorization: Bearer {path}\r\n\r\n"
        )
        .as_bytes());
    }
    say(b"GET /\x1b[2J HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let name = "evil\\n2000-01-01T00:00:00Z ERROR forged \\u001b[31m";
    let json = format!("{{\"name\": \"{name}\", \"password\": \"{name}\"}}");
    let head = format!(
        "POST /api/v1/session {rest}\r\nContent-Type: application/json\r\nContent-Length: {}",
        json.len()
    );
    say(format!("{head}\r\n\r\n{json}").as_bytes());
    let healthy = format!("GET /readyz {rest}\r\n\r\n");
    say(healthy.as_bytes());
    assert_eq!(serving.signal(Signal::TERM), Some(0));
    let log = fs::read_to_string(&log).expect("UTF-8");
    assert!(
        log.lines().filter(|line| line.contains("request=")).count() >= 9,
        "{log}"
    );
    for line in log.lines() {
        let control = line.chars().any(char::is_control);
        assert!(
            !control && line.starts_with("20") && !line.starts_with("2000"),
            "{line:?}"
        );
        assert!(
            !line.contains("Bearer") && !line.contains("password"),
            "{line}"
        );
    }
}

#[test]
fn plain_http_beyond_loopback_is_refused_with_what_to_do() {
    let site = Site::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let output = site.done(&["serve", "--listen", address]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains("is not a loopback address") && told.contains("--tls-generate"),
            "{told}"
        );
    }
}

#[test]
fn a_generated_certificate_serves_tls_and_is_kept() {
    let site = Site::new();
    let serving = site.serve(&["--tls-generate", "localhost"]);
    assert!(serving.url.starts_with("https://"));
    let keys = site.dir.path().join("data/keys");
    let certificate = fs::read(keys.join("admin.crt")).expect("kept");
    let mode = fs::metadata(keys.join("admin.key"))
        .expect("kept")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let answer = over_tls(
        &serving,
        &certificate,
        &[&rustls::version::TLS13, &rustls::version::TLS12],
    )
    .expect("trusted");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(over_tls(&serving, &certificate, &[&rustls::version::TLS12]).is_ok());
    // Plain HTTP on that port gets no answer of HTTP.
    let mut stream = serving.connect();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1"));
    assert_eq!(serving.signal(Signal::TERM), Some(0));
    let serving = site.serve(&["--tls-generate", "localhost"]);
    assert_eq!(fs::read(keys.join("admin.crt")).expect("kept"), certificate);
    drop(serving);
    // The same files, as an operator would name their own.
    let (chain, key) = (keys.join("admin.crt"), keys.join("admin.key"));
    let args = [
        "--tls-certificate",
        chain.to_str().expect("UTF-8"),
        "--tls-key",
        key.to_str().expect("UTF-8"),
    ];
    let serving = site.serve(&args);
    assert!(over_tls(&serving, &certificate, &[&rustls::version::TLS13]).is_ok());
}

/// What `/healthz` says over TLS, if the certificate is trusted.
fn over_tls(
    serving: &Serving,
    trusted: &[u8],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<String, std::io::Error> {
    let healthy = request("GET", "/healthz", "", &Value::Null);
    ask_over_tls(serving, trusted, versions, &healthy)
}

fn ask_over_tls(
    serving: &Serving,
    trusted: &[u8],
    versions: &[&'static rustls::SupportedProtocolVersion],
    request: &str,
) -> Result<String, std::io::Error> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(trusted).expect("PEM");
    roots.add(certificate).expect("a root");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let connection =
        rustls::ClientConnection::new(std::sync::Arc::new(config), name).expect("a connection");
    let mut stream = rustls::StreamOwned::new(connection, serving.connect());
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    // Whether the other side says goodbye is not the point.
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn over_tls_a_session_is_a_cookie_that_is_never_sent_without_it() {
    let site = Site::new();
    let serving = site.serve(&["--tls-generate", "localhost"]);
    let certificate = fs::read(site.dir.path().join("data/keys/admin.crt")).expect("kept");
    let ask = |path: &str, json: &Value| {
        let request = request("POST", path, "", json);
        let versions = [&rustls::version::TLS13];
        ask_over_tls(&serving, &certificate, &versions, &request).expect("trusted")
    };
    let made = ask("/api/v1/setup", &serving.first_user());
    assert!(made.starts_with("HTTP/1.1 204"), "{made}");
    let answer = ask("/api/v1/session", &log_in());
    let cookie = cookie(&answer);
    assert!(cookie.split("; ").any(|part| part == "Secure"), "{cookie}");
}

#[test]
fn the_log_tells_a_request_by_the_identifier_that_its_answer_has() {
    let site = Site::new();
    let (serving, log) = site.logging("info");
    let asked = ["/healthz", "/api/v1/terminals", "/nothing"].map(|path| {
        let answer = serving.get(path);
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("x-request-id")
                .then(|| value.to_owned())
        };
        let id = answer.lines().find_map(header).expect("an identifier");
        let status = answer.split(' ').nth(1).expect("a status").to_owned();
        (path, status, id)
    });
    assert_eq!(serving.signal(Signal::TERM), Some(0));
    let log = fs::read_to_string(&log).expect("UTF-8");
    for (path, status, id) in asked {
        let has = |line: &&str, word: &str| line.split([' ', '=', '"']).any(|part| part == word);
        let lines: Vec<&str> = log.lines().filter(|line| has(line, &id)).collect();
        assert_eq!(lines.len(), 1, "{id}: {log}");
        assert!(has(&lines[0], path) && has(&lines[0], &status), "{lines:?}");
    }
}

#[test]
fn a_schedule_is_due_by_the_time_of_the_zone_that_the_machine_is_in() {
    let site = Site::new();
    let mut command = site.command(&["serve", "--listen", "127.0.0.1:0", "--log", "error"]);
    command.env("TZ", "America/New_York");
    let serving = Serving::of(command);
    let admin = serving.set_up();
    let daily = json!({"name": "noon", "when": {"every": "day", "time": "12:30"}});
    let made = body(&serving.ask("POST", "/api/v1/schedules", &admin, &daily));
    let path = format!(
        "/api/v1/schedules/{}/status",
        made["id"].as_str().expect("an identifier")
    );
    let status = body(&serving.ask("GET", &path, &admin, &Value::Null));
    assert_eq!(status["time_zone"], "America/New_York");
    let local = status["next_local"].as_str().expect("a time");
    assert!(local.ends_with(" 12:30"), "{local}");
    // Five hours behind UTC, in summer four.
    let minute = status["next_ms"].as_u64().expect("a time") / 60_000 % (24 * 60);
    assert!([17 * 60 + 30, 16 * 60 + 30].contains(&minute), "{status}");
}

#[test]
fn an_open_stream_of_events_ends_in_order_when_the_process_is_told_to() {
    let site = Site::new();
    let serving = site.serve(&[]);
    let admin = serving.set_up();
    let mut stream = BufReader::new(serving.connect());
    let wanted = request("GET", "/api/v1/events/stream", &admin, &Value::Null);
    stream.get_mut().write_all(wanted.as_bytes()).expect("sent");
    let mut line = String::new();
    while !line.starts_with("retry: ") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).expect("read"), 0, "it ended");
    }
    assert_eq!(serving.signal(Signal::TERM), Some(0));
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("read");
    assert!(rest.ends_with("0\r\n\r\n"), "it was cut off: {rest:?}");
}

#[test]
fn the_kernel_keeps_a_process_that_serves_from_starting_programs() {
    let site = Site::new();
    let serving = site.serve(&[]);
    let status = fs::read_to_string(format!("/proc/{}/status", serving.child.id()));
    let status = status.expect("it runs");
    // By a filter, and no program that has more rights lifts it. Which calls it refuses: src/command/confine.rs.
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.lines().any(|found| found == line), "{status}");
    }
}

#[test]
fn the_command_line_trusts_the_certificate_that_the_administration_made() {
    let site = Site::new();
    let serving = site.serve(&["--tls-generate", "localhost"]);
    let port = serving.url.rsplit(':').next().expect("a port");
    let url = format!("https://localhost:{port}");
    let export = |args: &[&str]| {
        let args = [&["terminals", "--server", &url, "export", "-"], args].concat();
        let mut command = site.command(&args);
        let output = command.env("DAYBREAK_API_KEY", "key-wrong").output();
        String::from_utf8(output.expect("runs").stderr).expect("UTF-8")
    };
    let answered = export(&[]);
    assert!(answered.contains("this API key is not valid"), "{answered}");
    let other = site.dir.path().join("other.crt");
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    fs::write(&other, stranger.cert.pem()).expect("written");
    let refused = export(&["--ca", other.to_str().expect("UTF-8")]);
    assert!(
        refused.contains("cannot reach https://localhost"),
        "{refused}"
    );
}
