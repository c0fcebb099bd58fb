//! Uploads to the real administration: as large as they come, its memory stays what it was, and the engine serves them.

use std::time::Duration;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::poll;
use daybreak_tests::site::Site;
use serde_json::json;

const FILE_BYTES: u64 = 300_000_000;
/// What the administration may take more of its own memory while it receives the file.
const MEMORY_BYTES_MAX: u64 = 24_000_000;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_upload_of_any_size_takes_no_memory_whole_or_in_pieces_and_is_served() {
    let site = Site::new();
    site.import("first", b"content");
    let engine = site.engine(&[]);
    let administration = site.administration(&[]);
    let api = administration.set_up();
    // Sparse: zeros that nobody has to write.
    let file = site.source("large", b"");
    let large = std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .expect("own file");
    large.set_len(FILE_BYTES).expect("a file system with holes");
    let path = file.to_str().expect("a plain path");

    let before = administration.process().memory();
    let most = std::thread::scope(|scope| {
        let whole =
            scope.spawn(|| api.curl("PUT", "/api/v1/files/whole", &["--upload-file", path]));
        let mut most = before;
        poll::until("the upload", PATIENCE, || {
            most = most.max(administration.process().memory());
            whole.is_finished().then_some(())
        });
        whole.join().expect("curl").expect(201);
        most
    });
    assert!(
        most < before + MEMORY_BYTES_MAX,
        "from {before} to {most} octets"
    );

    // In pieces, the last of which completes it.
    let upload = json!({"name": "pieces", "bytes": FILE_BYTES});
    let id = api.create("/api/v1/uploads", &upload);
    let place = format!("/api/v1/uploads/{id}");
    let octets = "--data-binary";
    let small = site.source("piece", &[0; 1_000_000]);
    let small = format!("@{}", small.to_str().expect("a plain path"));
    api.curl(
        "PATCH",
        &place,
        &["--header", "Upload-Offset: 0", octets, &small],
    )
    .expect(200);
    let rest = site.source("rest", b"");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&rest)
        .expect("own file");
    file.set_len(FILE_BYTES - 1_000_000)
        .expect("a file system with holes");
    let rest = rest.to_str().expect("a plain path").to_owned();
    let (api, place) = (&api, &place);
    let most = std::thread::scope(|scope| {
        // --upload-file streams; --data-binary would read all of it first.
        let args = ["--header", "Upload-Offset: 1000000", "--upload-file", &rest];
        let pieces = scope.spawn(move || api.curl("PATCH", place, &args));
        let mut most = before;
        poll::until("the rest of the upload", PATIENCE, || {
            most = most.max(administration.process().memory());
            pieces.is_finished().then_some(())
        });
        pieces.join().expect("curl").expect(200);
        most
    });
    assert!(
        most < before + MEMORY_BYTES_MAX,
        "from {before} to {most} octets"
    );
    // The same content is stored once, under both names.
    let files = api.get("/api/v1/files").expect(200).json();
    let hash = |name: &str| {
        let mut items = files["items"].as_array().expect("items").iter();
        items.find(|item| item["name"] == name).expect(name)["blake3"].clone()
    };
    assert_eq!(hash("whole"), hash("pieces"));

    let text = site.source("text", b"served at once");
    let text = text.to_str().expect("a plain path");
    api.curl("PUT", "/api/v1/files/text", &["--upload-file", text])
        .expect(201);
    poll::until("the file is served", PATIENCE, || {
        let fetched = Fetch::new(Client::Curl, engine.address()).run("text");
        fetched
            .content
            .filter(|content| content == b"served at once")
    });
}
