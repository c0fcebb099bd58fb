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
        "PUT /api/v1/files/broken HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nCookie: {}\r\nX-Daybreak-Request: 1\r\n\r\nhalf",
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
