//! What is served changes, or breaks, while it is served: publishing, killing, a full disk.

use std::time::Duration;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::host::{Host, Private};
use daybreak_tests::raw::RawClient;
use daybreak_tests::site::Site;
use daybreak_tests::{content, poll};

/// How soon a published file must be asked for with success. The bound of the design is 100 ms; a busy
/// machine gets more here, and a benchmark holds the bound.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(5);

/// How long an engine may take to end.
const END_PATIENCE: Duration = Duration::from_secs(45);

#[test]
fn a_file_imported_while_the_engine_runs_is_served() {
    let site = Site::new();
    site.import("first", b"one");
    let engine = site.engine(&[]);
    let image = content::octets(1, 100_000);
    assert!(
        Fetch::new(Client::Curl, engine.address())
            .run("second")
            .content
            .is_none()
    );
    site.import("second", &image);
    poll::until("the new file is served", PUBLISH_PATIENCE, || {
        Fetch::new(Client::Curl, engine.address())
            .run("second")
            .content
    });
    Fetch::new(Client::Atftp, engine.address())
        .windowsize(8)
        .expect("second", &image);
    Fetch::new(Client::TftpHpa, engine.address()).expect("first", b"one");
}

#[test]
fn a_transfer_keeps_the_content_that_it_started_with() {
    let (old, new) = (content::octets(2, 200_000), content::octets(3, 150_000));
    let site = Site::new();
    site.import("firmware.bin", &old);
    let engine = site.engine(&[]);
    let held = RawClient::new(engine.address()).hold("firmware.bin");
    site.import("firmware.bin", &new);
    let client = Fetch::new(Client::Curl, engine.address());
    poll::until("the new content is served", PUBLISH_PATIENCE, || {
        (client.run("firmware.bin").content? == new).then_some(())
    });
    assert!(
        held.finish() == old,
        "the transfer that had begun got another file's octets"
    );
}

#[test]
fn a_removed_file_is_gone_for_new_requests_and_whole_for_a_running_transfer() {
    let image = content::octets(4, 200_000);
    let site = Site::new();
    site.import("retired.bin", &image);
    let engine = site.engine(&[]);
    let held = RawClient::new(engine.address()).hold("retired.bin");
    assert!(site.admin(&["remove", "retired.bin"]).status.success());
    poll::until("the file is gone", PUBLISH_PATIENCE, || {
        let fetched = Fetch::new(Client::Curl, engine.address()).run("retired.bin");
        fetched.content.is_none().then_some(())
    });
    assert!(site.admin(&["gc"]).status.success());
    assert!(
        held.finish() == image,
        "collecting what nothing names broke a running transfer"
    );
}

#[test]
fn an_engine_that_was_killed_serves_again_when_it_is_started_again() {
    let image = content::octets(5, 1_000_000);
    let site = Site::new();
    site.import("image", &image);
    for _ in 0..5 {
        let engine = site.engine(&[]);
        let held = RawClient::new(engine.address()).hold("image");
        Fetch::new(Client::Atftp, engine.address())
            .windowsize(16)
            .expect("image", &image);
        engine.kill();
        drop(held);
    }
    let engine = site.engine(&[]);
    Fetch::new(Client::Curl, engine.address()).expect("image", &image);
}

#[test]
fn an_engine_that_is_told_to_end_lets_the_running_transfer_finish() {
    let image = content::octets(6, 100_000);
    let site = Site::new();
    site.import("image", &image);
    for way in [["--io", "uring"], ["--io", "portable"]] {
        let engine = site.engine(&way);
        let held = RawClient::new(engine.address()).hold("image");
        engine.process().terminate();
        assert!(held.finish() == image, "{way:?}: the content");
        assert!(engine.wait(END_PATIENCE).success(), "{way:?}: a clean end");
    }
}

#[test]
fn a_damaged_catalog_is_refused_and_the_last_good_one_stays_in_service() {
    let image = content::octets(7, 10_000);
    let site = Site::new();
    site.import("image", &image);
    let engine = site.engine(&[]);
    // What a broken tool or a broken disk would leave: a newer generation whose octets are noise.
    let catalogs = site.data().join("catalogs");
    std::fs::write(
        catalogs.join("9999999999.catalog"),
        content::octets(8, 4096),
    )
    .expect("own folder");
    let current = std::fs::read_to_string(catalogs.join("current")).expect("`current` is text");
    let damaged = current.replace(|c: char| c.is_ascii_digit(), "9");
    std::fs::write(catalogs.join("next"), damaged).expect("own folder");
    std::fs::rename(catalogs.join("next"), catalogs.join("current")).expect("own folder");
    engine
        .process()
        .wait_for("it names the damaged catalog", PUBLISH_PATIENCE, |line| {
            line.contains("9999999999").then_some(())
        });
    Fetch::new(Client::Curl, engine.address()).expect("image", &image);
}

#[test]
fn a_full_disk_refuses_an_import_and_breaks_nothing_that_is_served() {
    let image = content::octets(9, 1_000_000);
    let host = std::sync::Arc::new(Host::new(Private::Mounts));
    let site = Site::inside(&host);
    let data = site.data().to_str().expect("a plain path").to_owned();
    host.run("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs", &data]);
    site.import("small", &image);
    let engine = site.engine(&[]);

    let large = site.source("large", &content::octets(10, 8_000_000));
    let refused = site.admin(&[
        "import",
        large.to_str().expect("a plain path"),
        "--name",
        "large",
    ]);
    assert!(
        !refused.status.success(),
        "an import onto a full disk says that it succeeded"
    );
    let said = String::from_utf8_lossy(&refused.stderr).to_lowercase();
    assert!(
        said.contains("full") || said.contains("space"),
        "the message: {said}"
    );

    Fetch::new(Client::Curl, engine.address())
        .inside(&host)
        .expect("small", &image);
    assert!(
        Fetch::new(Client::Curl, engine.address())
            .inside(&host)
            .run("large")
            .content
            .is_none()
    );
    // What the attempt left is not in the way of what fits.
    site.import("fits", &content::octets(11, 500_000));
    let listed = site.admin(&["list"]);
    let listed = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.contains("small") && listed.contains("fits") && !listed.contains("large"));
    drop(engine);
    let again = site.engine(&[]);
    Fetch::new(Client::Curl, again.address())
        .inside(&host)
        .expect("small", &image);
}
