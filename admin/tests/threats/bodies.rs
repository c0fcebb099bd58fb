//! What is tried by how a body is sent: as a form whose parts name places, and with a length that is not its own.

use std::net::Shutdown;
use std::path::{Path, PathBuf};

use super::*;

/// What the forms bring: nothing that is kept holds it.
const MARK: &str = "planted by a form";

/// Where parts of forms said that they belong, and where that was believed.
const HOSTILE: [&str; 10] = [
    "../../../../planted",
    "..\\..\\planted",
    "/etc/cron.d/planted",
    "C:\\planted.exe",
    "\\\\host\\share\\planted",
    "config.db",
    "keys/admin.key",
    "planted\0.txt",
    "%2e%2e%2fplanted",
    "planted\"; filename*=UTF-8''..%2fplanted",
];

fn form(file_name: &str) -> Vec<u8> {
    let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"");
    let part = format!("{head}\r\nContent-Type: application/octet-stream\r\n\r\n{MARK}");
    format!("--frontier\r\n{part}\r\n--frontier--\r\n").into_bytes()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn a_form_is_refused_whatever_its_parts_are_called_and_nothing_of_it_is_kept() {
    let server = Server::set_up();
    let admin = server.admin();
    let upload = admin.create("/api/v1/uploads", &json!({"name": "pieces", "bytes": 1000}));
    let headers = [
        ("Content-Type", "multipart/form-data; boundary=frontier"),
        ("If-Match", "*"),
        ("Upload-Offset", "0"),
    ];
    let pieces = format!("/api/v1/uploads/{upload}");
    for name in HOSTILE {
        for (method, at) in [
            ("PUT", "/api/v1/files/whole"),
            ("PUT", "/api/v1/backups/whole/content"),
            ("PATCH", pieces.as_str()),
            ("POST", "/api/v1/terminals/import"),
            ("POST", "/api/v1/terminals"),
        ] {
            let answer = admin.raw(method, at, &headers, &form(name));
            assert_eq!(answer.status, 415, "{method} {at} {name}: {answer:?}");
        }
    }
    // Wherever else something is sent to.
    for route in routes() {
        if ["POST", "PUT", "PATCH"].contains(&route.method.as_str()) {
            let at = address(&route.path, "nothing");
            let answer = admin.raw(route.method.as_str(), &at, &headers, &form(HOSTILE[0]));
            assert!(
                answer.status < 500,
                "{} {at}: {}",
                route.method,
                answer.status
            );
        }
    }
    for file in files(server.dir.path()) {
        let name = file.display().to_string();
        assert!(!name.contains("planted"), "{name}");
        let content = std::fs::read(&file).unwrap_or_default();
        let mark = content
            .windows(MARK.len())
            .any(|octets| octets == MARK.as_bytes());
        assert!(!mark, "{name} has what a form brought");
    }
    let names = std::fs::read_dir(server.dir.path()).expect("a folder");
    assert_eq!(names.count(), 1, "nothing is beside the data directory");
    assert_eq!(
        admin.get("/api/v1/files").expect(200).json()["items"],
        json!([])
    );
}

#[test]
fn a_length_that_is_a_little_wrong_never_makes_a_request_of_something_else() {
    let server = Server::set_up();
    let admin = server.admin();
    let who = admin.headers.iter();
    let who: String = who
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let say = |place: &str, kind: &str, body: &str, length: usize| {
        let mut stream = connect(&server);
        let head = format!(
            "{place} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{who}Content-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body.as_bytes());
        // That is all: who waits for more learns that it does not come.
        let _ = stream.shutdown(Shutdown::Write);
        read_all(stream).0
    };
    // What is too much is another request, and none that is one.
    let made = |answer: &str| answer.matches("HTTP/1.1 2").count();
    let terminal = json!({"name": "t", "macs": [mac(1)]}).to_string();
    let long = terminal.len();
    for length in [long + 1, long - 1, 0] {
        let place = "POST /api/v1/terminals";
        let answer = say(place, "application/json", &terminal, length);
        assert_eq!(made(&answer), 0, "{length}: {answer}");
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 400");
        assert!(refused, "{length}: {answer}");
    }
    let listed = admin.get("/api/v1/terminals").expect(200).json();
    assert_eq!(listed["total"], 0);
    let content = "eight by";
    for (length, name) in [(9, "longer"), (7, "shorter"), (0, "none")] {
        let place = format!("PUT /api/v1/files/{name}");
        let answer = say(&place, "application/octet-stream", content, length);
        let made = made(&answer);
        assert_eq!(
            made,
            usize::from(length <= content.len()),
            "{length}: {answer}"
        );
        // Exactly what was said, of what was sent; or nothing.
        let listed = admin.get(&format!("/api/v1/files?prefix={name}"));
        let there = listed.expect(200).json()["items"][0]["bytes"].clone();
        let expected = if made == 1 {
            json!(length)
        } else {
            Value::Null
        };
        assert_eq!(there, expected, "{length}");
    }
}

#[test]
fn who_is_refused_and_never_ends_a_body_in_chunks_is_cut_off() {
    let server = Server::set_up();
    let begin = |request: &str, host: &str, chunk: &str| {
        let mut stream = connect(&server);
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let _ = stream.write_all(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
        stream
    };
    let long = "[".repeat(600_000);
    let refused = [
        ("POST /api/v1/terminals", "localhost", "[", 401),
        ("POST /api/v1/session", "localhost", long.as_str(), 413),
        ("POST /api/v1/nothing", "localhost", "[", 404),
        ("POST /healthz", "localhost", "[", 405),
        ("POST /api/v1/session", "evil.example", "[", 421),
    ];
    // Nobody sends any more, and nobody hangs up: the server does.
    for (request, host, chunk, status) in refused {
        let mut stream = begin(request, host, chunk);
        let mut answer = Vec::new();
        let read = stream
            .read_to_end(&mut answer)
            .map_err(|error| error.kind());
        let waited = matches!(read, Err(std::io::ErrorKind::WouldBlock));
        assert!(!waited, "{request}: the connection stays");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    // Read to its end, such a body leaves a connection that goes on.
    let json = json!({"name": "admin", "password": PASSWORD}).to_string();
    let mut stream = begin("POST /api/v1/session", "localhost", &json);
    let again = "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(again.as_bytes()).expect("sent");
    let (answer, count) = read_all(stream);
    assert!(count == 2 && answer.starts_with("HTTP/1.1 204"), "{answer}");
}
