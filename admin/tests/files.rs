//! Files over the API: streamed in, hashed, named when complete, never in the place of what is rendered.

mod support;

use serde_json::{Value, json};
use support::api::{Client, Server};
use support::mac;

fn upload(
    client: &Client<'_>,
    name: &str,
    headers: &[(&str, &str)],
    content: &[u8],
) -> (u16, Value) {
    let answer = client.raw("PUT", &format!("/api/v1/files/{name}"), headers, content);
    (answer.status, answer.json())
}

#[test]
fn an_upload_in_pieces_goes_on_after_breaks_and_restarts_and_is_one_file_at_its_end() {
    let server = Server::set_up();
    let content: Vec<u8> = (0..2_000_000_u32)
        .map(|number| (number % 249) as u8)
        .collect();
    let hash = blake3::hash(&content).to_hex().to_string();
    let admin = server.admin();
    let wanted = json!({"name": "firmware/big", "bytes": content.len(), "blake3": hash});
    let made = admin.send("POST", "/api/v1/uploads", &wanted).expect(201);
    let place = made.header("location").expect("a place").to_owned();
    assert_eq!(made.json()["offset"], 0);
    let piece = |client: &Client<'_>, offset: usize, octets: &[u8]| {
        client.raw(
            "PATCH",
            &place,
            &[("Upload-Offset", &offset.to_string())],
            octets,
        )
    };
    assert_eq!(
        piece(&admin, 0, &content[..500_000]).expect(200).json()["offset"],
        500_000
    );
    // At the wrong place, or without one: nothing is taken.
    for wrong in [0, 499_999, 500_001] {
        assert_eq!(
            piece(&admin, wrong, b"x").expect(409).code(),
            "wrong_offset"
        );
    }
    assert_eq!(
        admin.raw("PATCH", &place, &[], b"x").expect(400).json()["field"],
        "upload-offset"
    );
    // Broken off in the middle of a piece: what arrived counts.
    let head = format!(
        "PATCH {place} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\nUpload-Offset: 500000\r\nCookie: {}\r\nX-Daybreak-Request: 1\r\n\r\n",
        admin.headers[0].1
    );
    let mut stream = std::net::TcpStream::connect(server.address).expect("connect");
    std::io::Write::write_all(&mut stream, head.as_bytes()).expect("sent");
    std::io::Write::write_all(&mut stream, &content[500_000..800_000]).expect("sent");
    drop(stream);
    let headers = admin.headers.clone();
    support::until("what arrived", || {
        (admin.get(&place).expect(200).json()["offset"] == 800_000).then_some(())
    });
    let server = server.restarted();
    let admin = Client {
        server: &server,
        headers,
    };
    let list = admin.get("/api/v1/uploads").expect(200).json();
    assert_eq!(
        (&list["items"][0]["offset"], &list["items"][0]["bytes"]),
        (&json!(800_000), &json!(2_000_000))
    );
    assert_eq!(
        admin.get("/api/v1/files").expect(200).json()["items"],
        json!([]),
        "it has no name yet"
    );
    let done = support::until("the broken connection to let go of it", || {
        let answer = piece(&admin, 800_000, &content[800_000..]);
        (answer.status != 503).then_some(answer)
    });
    let done = done.expect(200).json();
    assert_eq!(
        done["file"],
        json!({"name": "firmware/big", "bytes": 2_000_000, "blake3": hash})
    );
    admin.get(&place).expect(404);
    let files = admin.get("/api/v1/files").expect(200).json();
    assert_eq!(files["items"][0]["blake3"], hash);
    let store = daybreak_store::Reader::open(&server.dir.path().join("data")).expect("a store");
    let catalog = store.load().expect("a catalog");
    let image = catalog
        .open(catalog.lookup(b"firmware/big").expect("there"))
        .expect("open");
    let mut served = vec![0; content.len()];
    image.read_at(0, &mut served).expect("read");
    assert!(served == content);
}

#[test]
fn uploads_in_pieces_are_bounded_checked_and_thrown_away() {
    let server = Server::set_up();
    let admin = server.admin();
    let begin = |json: &Value| admin.send("POST", "/api/v1/uploads", json);
    for (json, field) in [
        (json!({"name": "../x", "bytes": 1}), "name"),
        (json!({"name": "x", "bytes": -1}), "bytes"),
        (json!({"name": "x", "bytes": 1, "blake3": "abc"}), "blake3"),
        (json!({"name": "x", "bytes": 1, "path": "/etc"}), "path"),
    ] {
        let answer = begin(&json).expect(422).json();
        assert!(
            answer["field"]
                .as_str()
                .is_some_and(|named| named == field || named == "."),
            "{answer}"
        );
    }
    begin(&json!({"name": "x", "bytes": u64::MAX})).expect(413);
    assert_eq!(
        begin(&json!({"name": "x", "bytes": 1_u64 << 38})).status,
        507,
        "more than any disk of a test has"
    );
    let place = |answer: support::api::Answer| {
        answer
            .expect(201)
            .header("location")
            .expect("a place")
            .to_owned()
    };
    // The wrong content: it is gone, and nothing has changed.
    let wrong = place(begin(
        &json!({"name": "x", "bytes": 3, "blake3": "0".repeat(64)}),
    ));
    let piece = |at: &str, octets: &[u8]| admin.raw("PATCH", at, &[("Upload-Offset", "0")], octets);
    assert_eq!(piece(&wrong, b"abc").expect(422).code(), "hash_mismatch");
    admin.get(&wrong).expect(404);
    // More than was said.
    let short = place(begin(&json!({"name": "x", "bytes": 2})));
    piece(&short, b"abc").expect(413);
    assert_eq!(admin.get(&short).expect(200).json()["offset"], 2);
    admin.delete(&short).expect(204);
    admin.delete(&short).expect(404);
    // An empty file is complete with an empty piece.
    let empty = place(begin(&json!({"name": "empty", "bytes": 0})));
    assert_eq!(piece(&empty, b"").expect(200).json()["file"]["bytes"], 0);
    for _ in 0..daybreak_admin::limits::UPLOADS_MAX {
        place(begin(&json!({"name": "x", "bytes": 2})));
    }
    assert_eq!(
        begin(&json!({"name": "x", "bytes": 2})).expect(409).code(),
        "too_many_uploads"
    );
    let partial = server.dir.path().join("data/images/partial");
    let count = || std::fs::read_dir(&partial).expect("a folder").count();
    assert_eq!(count(), daybreak_admin::limits::UPLOADS_MAX);
    server
        .clock
        .set(1_700_000_000_000 + daybreak_admin::limits::UPLOAD_KEPT_MS);
    let admin = server.admin();
    let json = json!({"name": "x", "bytes": 2});
    admin.send("POST", "/api/v1/uploads", &json).expect(201);
    assert_eq!(count(), 1);
}

#[test]
fn an_upload_is_streamed_hashed_and_served_or_leaves_nothing() {
    let server = Server::set_up();
    let admin = server.admin();
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let hash = blake3::hash(&content).to_hex().to_string();
    let (status, made) = upload(
        &admin,
        "firmware/linux/1/vmlinuz",
        &[("X-Daybreak-Blake3", &hash)],
        &content,
    );
    assert_eq!(
        (status, made["blake3"].as_str(), &made["bytes"]),
        (201, Some(&*hash), &json!(3_000_000))
    );
    assert_eq!(
        upload(&admin, "firmware/linux/1/vmlinuz", &[], &content).0,
        200
    );
    let (status, refused) = upload(
        &admin,
        "other",
        &[("X-Daybreak-Blake3", &"0".repeat(64))],
        &content,
    );
    assert_eq!(
        (status, refused["code"].as_str()),
        (422, Some("hash_mismatch"))
    );
    for name in [
        "a//b",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/x",
        "a%5cb",
        "a%00b",
        "x%0a",
        "x%",
        "x%zz",
        "%252e%252e/%2e%2e",
        &"x".repeat(600),
    ] {
        let (status, refused) = upload(&admin, name, &[], b"x");
        assert_eq!(
            (status, refused["code"].as_str()),
            (400, Some("invalid_path")),
            "{name}"
        );
    }
    let id = admin.create(
        "/api/v1/terminals",
        &json!({"name": "t1", "macs": [mac(1)]}),
    );
    server.published(&admin);
    let (status, refused) = upload(&admin, &format!("boot/{}.ipxe", mac(1)), &[], b"#!ipxe");
    assert_eq!((status, refused["code"].as_str()), (409, Some("rendered")));
    // An upload that breaks off: the sender goes away in the middle.
    let whole = format!(
        "PUT /api/v1/files/broken HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nCookie: {}\r\nX-Daybreak-Request: 1\r\n\r\nhalf",
        admin.headers[0].1
    );
    let mut stream = std::net::TcpStream::connect(server.address).expect("connect");
    std::io::Write::write_all(&mut stream, whole.as_bytes()).expect("sent");
    drop(stream);
    admin.delete(&format!("/api/v1/terminals/{id}")).expect(204);
    server.published(&admin);
    let files = admin.get("/api/v1/files").expect(200).json();
    let names: Vec<_> = files["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["name"].clone())
        .collect();
    assert_eq!(names, ["firmware/linux/1/vmlinuz"]);
    let partial = server.dir.path().join("data/images/partial");
    support::until("the broken upload to be gone", || {
        std::fs::read_dir(&partial)
            .expect("a folder")
            .next()
            .is_none()
            .then_some(())
    });
    admin
        .delete("/api/v1/files/firmware/linux/1/vmlinuz")
        .expect(204);
    admin
        .delete("/api/v1/files/firmware/linux/1/vmlinuz")
        .expect(404);
}

/// A file stays what was uploaded last, whatever is published in between.
#[test]
fn an_upload_is_never_undone_by_a_publication_at_the_same_time() {
    let server = Server::set_up();
    let admin = server.admin();
    let headers = admin.headers.clone();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = Client {
                server: &server,
                headers,
            };
            let mut number = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                number += 1;
                other.create(
                    "/api/v1/terminal-groups",
                    &json!({"name": format!("g{number}")}),
                );
            }
        });
        let ended = Ended(&done);
        for round in 0..40_u32 {
            let content = round.to_be_bytes();
            let (status, told) = upload(&admin, "firmware/kernel", &[], &content);
            assert!([200, 201].contains(&status), "{told}");
            let hash = blake3::hash(&content).to_hex().to_string();
            // Looked at more than once: what undoes it comes a moment later.
            for _ in 0..4 {
                let page = admin.get("/api/v1/files").expect(200).json();
                assert_eq!(page["items"][0]["blake3"], hash, "round {round}");
            }
        }
        drop(ended);
    });
}

/// Says so when it goes, also by a panic.
struct Ended<'e>(&'e std::sync::atomic::AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
