//! `daybreak-admin serve` as a process: how it starts, what it prints, beside what it works, how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

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
        let mut child = self
            .command(&args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
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
}

impl Serving {
    fn get(&self, path: &str) -> String {
        let address = self.url.split_once("://").expect("a scheme").1;
        let mut stream = TcpStream::connect(address).expect("connect");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        answer
    }

    fn signal(mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("sent");
        self.child.wait().expect("ended").code()
    }
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
    let mut command = site.command(&["serve", "--listen", "127.0.0.1:0", "--log", "debug"]);
    let log = site.dir.path().join("log");
    let file = fs::File::create(&log).expect("a file");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(file)
        .spawn()
        .expect("runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a line").expect("UTF-8");
    let url = first
        .strip_prefix("administration: ")
        .expect("the address")
        .to_owned();
    let serving = Serving {
        child,
        url,
        link: None,
    };
    let forged = "%0a2000-01-01T00:00:00Z ERROR forged";
    let say = |octets: &[u8]| {
        let address = serving.url.split_once("://").expect("a scheme").1;
        let mut stream = TcpStream::connect(address).expect("connect");
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
    let address = serving.url.split_once("://").expect("a scheme").1;
    let mut stream = TcpStream::connect(address).expect("connect");
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
    let address = serving.url.split_once("://").expect("a scheme").1;
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(address)?);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    // Whether the other side says goodbye is not the point.
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
