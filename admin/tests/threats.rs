//! What is tried against an HTTP API, class by class: each has its test, and its row in docs/security.md.

#[path = "threats/bodies.rs"]
mod bodies;
mod support;
#[path = "threats/texts.rs"]
mod texts;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use daybreak_admin::http::{Access, routes};
use daybreak_admin::kind::Kind;
use serde_json::{Value, json};
use support::api::{Client, PASSWORD, Server};
use support::mac;

/// Ways out of a folder, as they were tried on others.
const TRAVERSALS: [&str; 12] = [
    "..",
    "%2e%2e",
    "%252e%252e",
    "..%2f..%2fconfig.db",
    "%2e%2e%2f%2e%2e%2fconfig.db",
    "..%5c..%5cconfig.db",
    "%5c%5chost%5cshare",
    "%2fetc%2fpasswd",
    "....%2f%2f....%2f%2fconfig.db",
    "%c0%ae%c0%ae%c0%af",
    "config.db%00.txt",
    "file:%2f%2f%2fetc%2fpasswd",
];

fn address(path: &str, part: &str) -> String {
    path.replace("{id}", part)
        .replace("{part}", part)
        .replace("{name:.*}", part)
        // A stream does not end by itself: this one is refused when it was let in.
        .replace("/stream", "/stream?after=wrong")
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("connect");
    let patience = Some(Duration::from_secs(40));
    stream.set_read_timeout(patience).expect("a timeout");
    stream
}

/// All that comes until the other side closes; and how many answers that is.
fn read_all(mut stream: TcpStream) -> (String, usize) {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let count = text.matches("HTTP/1.1 ").count();
    (text, count)
}

#[test]
fn slow_senders_are_cut_off_and_hold_up_nobody() {
    let server = Server::set_up();
    let started = Instant::now();
    let say = |text: &str| {
        let mut stream = connect(&server);
        stream.write_all(text.as_bytes()).expect("sent");
        stream
    };
    let heads: Vec<TcpStream> = (0..100)
        .map(|_| say("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "))
        .collect();
    let body = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let bodies: Vec<TcpStream> = (0..20)
        .map(|_| say(&format!("POST /api/v1/session HTTP/1.1\r\n{body}")))
        .collect();
    // Whoever has no credentials does not even get a body read.
    let refused = say(&format!("POST /api/v1/terminals HTTP/1.1\r\n{body}"));
    server.anybody().get("/healthz").expect(200);
    server.admin().get("/api/v1/terminals").expect(200);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "others wait for slow ones"
    );
    let (answer, _) = read_all(refused);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    for stream in bodies {
        let (answer, _) = read_all(stream);
        assert!(
            answer.starts_with("HTTP/1.1 408") && answer.contains("too_slow"),
            "{answer}"
        );
    }
    for stream in heads {
        let (answer, _) = read_all(stream);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
}

#[test]
fn huge_heads_and_bodies_are_refused_before_they_are_kept() {
    let server = Server::set_up();
    let admin = server.admin();
    let cookie = format!("Cookie: {}\r\nX-Daybreak-Request: 1", admin.headers[0].1);
    let long = "x".repeat(300_000);
    let many = (0..2000).fold(String::new(), |text, number| {
        text + &format!("X-{number}: 1\r\n")
    });
    for head in [
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
        format!("{long} / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        let mut stream = connect(&server);
        let _ = stream.write_all(head.as_bytes());
        let (answer, count) = read_all(stream);
        let refused = answer.starts_with("HTTP/1.1 4") && count == 1;
        assert!(answer.is_empty() || refused, "{}: {answer}", &head[..20]);
    }
    // Chunks without an end and without a length.
    let mut stream = connect(&server);
    let head = format!(
        "POST /api/v1/terminals HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let chunk = format!("10000\r\n{}\r\n", "[".repeat(0x10000));
    for _ in 0..64 {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let (answer, _) = read_all(stream);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );
    // What is packed is not unpacked.
    let packed = [
        ("Content-Type", "application/json"),
        ("Content-Encoding", "gzip"),
    ];
    let answer = admin.raw(
        "POST",
        "/api/v1/terminals",
        &packed,
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0",
    );
    assert_eq!(answer.expect(400).code(), "not_json");
    admin.get("/healthz").expect(200);
}

#[test]
fn a_request_whose_length_can_be_read_in_two_ways_hides_no_second_one() {
    let server = Server::set_up();
    let hidden = "GET /setup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for fields in [
        format!(
            "Content-Length: {}\r\nTransfer-Encoding: chunked",
            hidden.len() + 5
        ),
        "Content-Length: 0\r\nContent-Length: 5".to_owned(),
        "Content-Length: 5, 0".to_owned(),
        "Content-Length: +0".to_owned(),
        "Content-Length: 0x0".to_owned(),
        "Transfer-Encoding: xchunked".to_owned(),
        "Transfer-Encoding: chunked, identity".to_owned(),
        "Transfer-Encoding: identity, chunked".to_owned(),
        "Transfer-Encoding : chunked".to_owned(),
        "Transfer-Encoding:\x0bchunked".to_owned(),
        "X: 1\r\n Transfer-Encoding: chunked".to_owned(),
    ] {
        let mut stream = connect(&server);
        let request = format!(
            "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{fields}\r\n\r\n0\r\n\r\n{hidden}"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("the end");
        let (answer, count) = read_all(stream);
        // Either nothing of it is taken, or all of it is the body of the one request.
        assert!(count <= 1, "{fields}: {answer}");
        assert!(
            !answer.contains("first administrator"),
            "{fields}: {answer}"
        );
    }
}

#[test]
fn a_name_that_is_not_ours_leads_nowhere() {
    let server = Server::set_up();
    let cookie = server.admin().headers[0].1.clone();
    let ask = |line: &str, host: &str| {
        let request =
            format!("GET {line} HTTP/1.1\r\n{host}Cookie: {cookie}\r\nConnection: close\r\n\r\n");
        server.anybody().octets(request.as_bytes())
    };
    for host in [
        "Host: evil.example\r\n",
        "Host: evil.example:8069\r\n",
        "Host: 127.0.0.1.evil.example\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: \r\n",
        "",
        "Host: evil.example\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\n",
    ] {
        for path in ["/healthz", "/api/v1/terminals", "/setup", "/api/docs"] {
            let answer = ask(path, host);
            assert!(
                [400, 421].contains(&answer.status),
                "{host}{path}: {}",
                answer.status
            );
        }
    }
    assert_eq!(
        ask("/healthz", "Host: evil.example\r\n").code(),
        "wrong_host"
    );
    for host in [
        "localhost",
        "127.0.0.1",
        "[::1]:8069",
        "plant.example",
        "PLANT.EXAMPLE:80",
    ] {
        ask("/api/v1/terminals", &format!("Host: {host}\r\n")).expect(200);
    }
}

#[test]
fn another_site_reads_nothing_and_changes_nothing() {
    let server = Server::set_up();
    let admin = server.admin();
    let origin = ("Origin", "https://evil.example");
    let asks = [
        origin,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "x-daybreak-request"),
    ];
    for route in routes() {
        let at = address(&route.path, "nothing");
        for answer in [
            admin.raw("OPTIONS", &at, &asks, b""),
            admin.raw("GET", &at, &[origin], b""),
        ] {
            assert!(
                !answer.head.to_lowercase().contains("access-control"),
                "{at}: {}",
                answer.head
            );
        }
        assert_eq!(admin.raw("OPTIONS", &at, &asks, b"").status, 405, "{at}");
    }
    // What a form can send: the cookie, and one of three types; but no header of its own.
    let mut form = server.admin();
    form.headers.retain(|(name, _)| name == "Cookie");
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json",
    ] {
        let answer = form.raw(
            "POST",
            "/api/v1/terminals",
            &[("Content-Type", kind), origin],
            b"{}",
        );
        assert_eq!(answer.expect(403).code(), "header_missing");
    }
    // Another method in disguise is none.
    let disguised = [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
    ];
    form.raw("GET", "/api/v1/terminals?_method=DELETE", &disguised, b"")
        .expect(400);
    for method in ["TRACE", "CONNECT", "PROPFIND", "get"] {
        let answer = form.raw(method, "/api/v1/terminals", &[], b"");
        assert!(
            [400, 404, 405, 421].contains(&answer.status),
            "{method}: {}",
            answer.status
        );
    }
}

#[test]
fn every_answer_says_that_it_is_what_it_says_and_is_kept_nowhere() {
    let server = Server::set_up();
    let admin = server.admin();
    for route in routes() {
        let at = address(&route.path, "nothing");
        let answer = admin.raw(route.method.as_str(), &at, &[], b"");
        let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{at}");
        assert_eq!(header("x-frame-options"), "DENY", "{at}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{at}");
        assert_eq!(header("cache-control"), "no-store", "{at}");
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{at}: {policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{at}: {policy}");
        assert!(
            answer.body.is_empty() || !header("content-type").is_empty(),
            "{at}"
        );
        assert_eq!(answer.header("server"), None, "{at}");
    }
}

#[test]
fn no_address_is_a_way_to_a_file_or_to_another_site() {
    let server = Server::set_up();
    let admin = server.admin();
    let others = [
        "%2f%2fevil.example",
        "https:%2f%2fevil.example",
        "%5cevil.example",
        "%0d%0aX-Split: 1",
    ];
    for route in routes() {
        if !route.path.contains('{') {
            continue;
        }
        for part in TRAVERSALS.iter().chain(&others) {
            let at = address(&route.path, part);
            let answer = admin.send(route.method.as_str(), &at, &json!({}));
            // The name of a file is a key: one that is text without any meaning may be given.
            let key = route.path.contains("{name") && (200..300).contains(&answer.status);
            assert!(
                key || (400..500).contains(&answer.status),
                "{} {at}: {}",
                route.method,
                answer.status
            );
            assert_eq!(answer.header("location"), None, "{at}");
            assert_eq!(answer.header("x-split"), None, "{at}");
            let body = String::from_utf8_lossy(&answer.body);
            assert!(
                !body.contains("SQLite format") && !body.contains("root:"),
                "{at}"
            );
        }
    }
    for at in [
        "//evil.example/",
        "/..",
        "/api/v1/../../config.db",
        "/setup?next=//evil.example",
        "/.git/config",
        "/api/docs/",
    ] {
        let answer = admin.get(at);
        assert!(!(300..400).contains(&answer.status), "{at}");
        assert_eq!(answer.header("location"), None, "{at}");
    }
    // Nothing was made outside of the data directory, and nothing in it that was not there.
    let names = std::fs::read_dir(server.dir.path()).expect("a folder");
    assert_eq!(names.count(), 1);
}

#[test]
fn the_server_asks_nobody_that_a_request_names() {
    let server = Server::set_up();
    let admin = server.admin();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("bound").port();
    admin.create(
        "/api/v1/boot-servers",
        &json!({"name": "b", "address": "127.0.0.1"}),
    );
    let host = json!({"name": "ts", "address": "127.0.0.1", "protocol": "rdp", "port": port});
    let host = admin.create("/api/v1/terminal-servers", &host);
    let terminal = json!({"name": "t", "macs": [mac(1)], "settings": {
        "terminal_servers": [host], "status_monitors": ["127.0.0.1"],
    }});
    admin.create("/api/v1/terminals", &terminal);
    server.published(&admin);
    for wrong in [
        "\\\\host\\share",
        "//host/share",
        "http://127.0.0.1/",
        "file:///etc/passwd",
        "127.0.0.1:80/x",
        "a b",
        "host\n",
        "user@host",
    ] {
        let json = json!({"name": "w", "address": wrong, "protocol": "rdp"});
        admin
            .send("POST", "/api/v1/terminal-servers", &json)
            .expect(422);
        admin
            .send(
                "POST",
                "/api/v1/boot-servers",
                &json!({"name": "w", "address": wrong}),
            )
            .expect(422);
    }
    let asked = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn how_long_a_log_in_takes_does_not_tell_whether_the_name_is_known() {
    let server = Server::set_up();
    let anybody = server.anybody();
    let took = |name: &str| {
        let started = Instant::now();
        let json = json!({"name": name, "password": "a wrong password"});
        let answer = anybody.send("POST", "/api/v1/session", &json).expect(401);
        assert_eq!(answer.code(), "wrong_credentials");
        started.elapsed()
    };
    // The quickest of some: whatever else the machine does only adds.
    let mut quickest = [Duration::MAX; 2];
    for _ in 0..4 {
        for (name, quickest) in ["admin", "nobody"].iter().zip(&mut quickest) {
            *quickest = took(name).min(*quickest);
        }
    }
    let [known, unknown] = quickest;
    assert!(
        known < 3 * unknown && unknown < 3 * known,
        "{known:?}, {unknown:?}"
    );
}

#[test]
fn a_session_that_somebody_else_has_chosen_is_never_taken_over() {
    let server = Server::set_up();
    let chosen = format!("session-{}", "0".repeat(64));
    let fixed = Client {
        server: &server,
        headers: vec![("Cookie".into(), format!("daybreak_session={chosen}"))],
    };
    let json = json!({"name": "admin", "password": PASSWORD});
    let answer = fixed.send("POST", "/api/v1/session", &json).expect(204);
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    assert!(!cookie.contains(&chosen));
    fixed.get("/api/v1/terminals").expect(401);
    let again = fixed.send("POST", "/api/v1/session", &json).expect(204);
    assert_ne!(
        again.header("set-cookie").expect("a cookie"),
        cookie,
        "each log-in has its own"
    );
    // A secret in an address would be in logs: it is not looked for there.
    let secret = cookie.split(['=', ';']).nth(1).expect("a secret");
    server
        .anybody()
        .get(&format!("/api/v1/terminals?daybreak_session={secret}"))
        .expect(401);
}

#[test]
fn nobody_without_credentials_learns_what_there_is() {
    let server = Server::set_up();
    let admin = server.admin();
    let id = admin.create(
        "/api/v1/terminals",
        &json!({"name": "t1", "macs": [mac(1)]}),
    );
    let anybody = server.anybody();
    let at = |id: &str| anybody.get(&format!("/api/v1/terminals/{id}"));
    let (there, absent) = (at(&id).expect(401).body, at("nothing").expect(401).body);
    assert_eq!(there, absent);
    for route in routes() {
        if route.access == Access::Public && route.method.as_str() == "GET" {
            let answer = anybody.get(&address(&route.path, "nothing"));
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(
                !text.contains("t1") || route.path.contains("openapi"),
                "{}",
                route.path
            );
        }
    }
    // An error of ours tells the log, not the client.
    let value: Value = anybody.get("/api/v1/nothing").expect(404).json();
    assert_eq!(value["code"], "not_found");
}
