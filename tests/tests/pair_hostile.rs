//! A hostile machine on the wire between two servers: it has neither key nor code, and gets no further than the handshake.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::pair::{Server, pair, terminal};
use daybreak_tests::poll;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 1000;
/// What the administration may take more of its own memory for all of them.
const MEMORY_BYTES_MAX: u64 = 16_000_000;

/// What a hostile machine may say first: nothing, what lies about its length, what is no TLS at all, paths.
fn openings() -> Vec<Vec<u8>> {
    let mut openings = vec![
        Vec::new(),
        // A handshake record that says it has 65,535 octets, and a hello in it that says it has 16 MiB.
        vec![0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff],
        vec![0x16, 3, 1, 0, 5, 1, 0xff, 0xff, 0xff, 3],
        vec![0; 64],
        vec![0xff; 4096],
        b"GET /../../etc/passwd HTTP/1.1\r\n\r\n".to_vec(),
        b"\\\\host\\share\\..\\..\\x".to_vec(),
    ];
    // Messages of the synchronization as they are, without TLS: lengths of all kinds.
    for length in [0_u32, 3, 0x7fff_ffff, 0xffff_ffff] {
        let mut message = length.to_be_bytes().to_vec();
        message.extend([0, 1, 1, 0, 1, 0, 1]);
        openings.push(message);
    }
    openings
}

#[test]
fn who_has_neither_key_nor_code_changes_nothing_and_takes_no_memory() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let before = a.status();
    let memory = a.administration().process().memory();
    let openings = openings();
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        let Ok(mut stream) = TcpStream::connect(a.peer()) else {
            continue;
        };
        let _ = stream.write_all(&openings[number % openings.len()]);
        held.push(stream);
        if number % 100 == 0 {
            // Terminals boot meanwhile, and operators work.
            Fetch::new(Client::Curl, a.tftp()).expect("only-on-a", b"a");
        }
    }
    assert!(held.len() > CONNECTIONS * 9 / 10, "{} got in", held.len());
    let after = a.administration().process().memory();
    assert!(
        after < memory + MEMORY_BYTES_MAX,
        "from {memory} to {after} octets"
    );
    let one = a.api().create("/api/v1/terminals", &terminal("one", 1));
    poll::until("the change on the other server", PATIENCE, || {
        b.terminal(&one)
    });
    // Nobody was told anything but that it is no use: at most an alert of TLS.
    for mut stream in held {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 64, "{answer:?}");
    }
    let status = a.status();
    assert_eq!(status["state"], "in-sync");
    assert_eq!(
        status["partner"]["fingerprint"],
        before["partner"]["fingerprint"]
    );
}

#[test]
fn s13_a_server_with_another_key_is_not_spoken_to_whatever_it_claims_to_be() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    // It knows whose place it wants, and everything that is public of both.
    let mut impostor = Server::new("impostor");
    let evil = impostor
        .api()
        .create("/api/v1/terminals", &terminal("evil", 66));
    impostor.stop();
    let of_b = b.site().data().join("keys/pair.json");
    let pair_of_b = std::fs::read(&of_b).expect("the pair of b");
    std::fs::write(impostor.site().data().join("keys/pair.json"), pair_of_b).expect("written");
    impostor.start();
    poll::until("it was turned away", PATIENCE, || {
        let status = impostor.status();
        status["trouble"].as_str().map(str::to_owned)
    });
    // Neither is the right one disturbed, nor anything of the other taken.
    let one = b.api().create("/api/v1/terminals", &terminal("one", 1));
    poll::until("a change of the right one", PATIENCE, || a.terminal(&one));
    assert_eq!(a.terminal(&evil), None);
    assert_eq!(impostor.terminal(&one), None);
    assert_eq!(a.status()["partner"]["name"], "b");
}

#[test]
fn a_code_is_not_valid_any_more_after_ten_wrong_tries() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let shown = |server: &Server| -> Value {
        let code = server
            .api()
            .send("POST", "/api/v1/sync/pairing/code", &json!({}));
        code.expect(201).json()
    };
    let code = shown(&a);
    let address = format!("127.0.0.1:{}", code["port"]);
    let wrong = json!({"address": address, "code": "7777-7777-7777-7777"});
    for _ in 0..10 {
        b.api()
            .send("POST", "/api/v1/sync/pairing", &wrong)
            .expect(409);
    }
    let right = json!({"address": address, "code": code["code"]});
    b.api()
        .send("POST", "/api/v1/sync/pairing", &right)
        .expect(409);
    let code = shown(&a);
    let right = json!({"address": address, "code": code["code"]});
    b.api()
        .send("POST", "/api/v1/sync/pairing", &right)
        .expect(201);
}
