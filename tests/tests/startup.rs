//! What keeps an engine from starting is said in words that an operator can act on.

use std::time::Duration;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::poll;
use daybreak_tests::raw::RawClient;
use daybreak_tests::site::Site;

/// How long an engine that cannot start may take to say so.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts an engine that must refuse; what it says.
fn refusal(site: &Site, args: &[&str]) -> String {
    let mut engine = site.start_engine(args);
    let status = engine.wait_for_exit(PATIENCE);
    assert!(!status.success(), "{args:?}: it ended without an error");
    engine.finished_log().to_lowercase()
}

#[test]
fn a_port_in_use_is_named() {
    let site = Site::new();
    site.import("image", b"content");
    let held = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = held.local_addr().expect("bound").to_string();
    let said = refusal(&site, &["--listen", &address]);
    assert!(
        said.contains(&address) && said.contains("in use"),
        "it said: {said}"
    );
}

#[test]
fn an_address_that_is_not_this_machines_is_named() {
    let site = Site::new();
    site.import("image", b"content");
    let said = refusal(&site, &["--listen", "192.0.2.77:6969"]);
    assert!(said.contains("192.0.2.77"), "it said: {said}");
}

#[test]
fn a_data_directory_that_is_missing_is_named() {
    let site = Site::new();
    std::fs::remove_dir(site.data()).expect("empty");
    let said = refusal(&site, &["--listen", "127.0.0.1:0"]);
    assert!(said.contains("data"), "it said: {said}");
}

#[test]
fn a_folder_that_is_no_data_directory_is_named_with_the_command_that_makes_one() {
    let said = refusal(&Site::new(), &["--listen", "127.0.0.1:0"]);
    assert!(said.contains("daybreak-admin"), "it said: {said}");
}

#[test]
fn an_engine_with_nothing_published_serves_the_first_file_that_is() {
    let site = Site::new();
    site.import("image", b"content");
    assert!(site.admin(&["remove", "image"]).status.success());
    let engine = site.engine(&[]);
    let client = RawClient::new(engine.address());
    client.send(b"\0\x01image\0octet\0");
    let (answer, _) = client.receive().expect("an answer");
    assert_eq!(&answer[..4], b"\0\x05\0\x01", "ERROR 1, file not found");
    site.import("image", b"content");
    poll::until("the file is served", PATIENCE, || {
        Fetch::new(Client::Curl, engine.address())
            .run("image")
            .content
    });
}
