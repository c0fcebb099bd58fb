//! What is served changes, or breaks, while it is served: publishing, killing, a full disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::host::{Host, Private};
use daybreak_tests::raw::RawClient;
use daybreak_tests::site::Site;
use daybreak_tests::{content, poll, programs};

/// How soon a published file must be asked for with success. The bound of the design is 100 ms, which the
/// benchmark `site` holds; a busy machine gets more here.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(5);

/// What takes longer to import than a command is silent.
const LONG_IMPORT_BYTES: u64 = 1 << 30;

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
fn a_long_import_shows_its_progress_on_a_terminal() {
    let site = Site::new();
    // A hole: it takes no room where it comes from, and its hash takes a while.
    let source = site.source("large", b"");
    let file = std::fs::File::options().write(true).open(&source);
    file.and_then(|file| file.set_len(LONG_IMPORT_BYTES))
        .expect("own folder");
    // Python makes the terminal.
    let mut command = programs::dying_with_test("python3");
    let terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    command.args(["-c", terminal]);
    command.arg(programs::ours("daybreak-admin"));
    command.arg("--data").arg(site.data());
    command.arg("import").arg(source);
    let output = command.output().expect("python3: make setup-test");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("of 1.00 GiB at "), "no bar: {shown}");
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
    // Nothing names it, and no retention keeps it: only the transfer does.
    assert_eq!(images_collected(&site), 0, "a transfer pins the image");
    assert!(
        held.finish() == image,
        "collecting what nothing names broke a running transfer"
    );
    poll::until("the image is collected", PUBLISH_PATIENCE, || {
        (images_collected(&site) == 1).then_some(())
    });
}

/// Collects without any retention; how many images that removed.
fn images_collected(site: &Site) -> u64 {
    let collected = site.admin(&["gc", "--retention", "0s"]);
    assert!(collected.status.success(), "{collected:?}");
    let said = String::from_utf8_lossy(&collected.stdout).into_owned();
    let number = said.split(' ').next().and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("gc said: {said}"))
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
fn noise_in_place_of_the_published_generation_changes_nothing_until_the_next_publish() {
    let image = content::octets(7, 10_000);
    let site = Site::new();
    site.import("image", &image);
    let engine = site.engine(&[]);
    let catalogs = site.data().join("catalogs");
    std::fs::write(catalogs.join("noise"), content::octets(8, 100)).expect("own folder");
    std::fs::rename(catalogs.join("noise"), catalogs.join("current")).expect("own folder");
    engine
        .process()
        .wait_for("it refuses the noise", PUBLISH_PATIENCE, |line| {
            line.contains("last good one stays in service")
                .then_some(())
        });
    Fetch::new(Client::Curl, engine.address()).expect("image", &image);

    site.import("next", &image);
    poll::until("the next publish is served", PUBLISH_PATIENCE, || {
        Fetch::new(Client::Curl, engine.address())
            .run("next")
            .content
    });
    Fetch::new(Client::Curl, engine.address()).expect("image", &image);
}

#[test]
fn an_engine_that_starts_with_a_damaged_catalog_says_so_and_serves_the_last_good_one() {
    let site = Site::new();
    site.import("first", b"in the first generation");
    site.import("second", b"in the second generation");
    let newest = site.data().join("catalogs/0000000002.catalog");
    damage(&newest);
    let engine = site.engine(&[]);
    assert!(
        engine
            .process()
            .log()
            .iter()
            .any(|line| line.contains("ERROR")),
        "it says so"
    );
    Fetch::new(Client::Curl, engine.address()).expect("first", b"in the first generation");
}

#[test]
fn a_damaged_image_is_found_by_verify_and_named() {
    let site = Site::new();
    site.import("whole", &content::octets(12, 10_000));
    site.import("broken", &content::octets(13, 20_000));
    assert!(site.admin(&["verify"]).status.success());
    damage(&image_of(&site, 20_000));
    let verified = site.admin(&["verify"]);
    assert!(!verified.status.success(), "verify finds nothing");
    let said =
        String::from_utf8_lossy(&verified.stdout) + String::from_utf8_lossy(&verified.stderr);
    assert!(
        said.contains("broken") && !said.contains("whole"),
        "verify said: {said}"
    );
}

#[test]
fn a_damaged_image_is_refused_by_name_until_it_is_imported_again() {
    let (whole, broken) = (content::octets(14, 10_000), content::octets(15, 3_000_000));
    let site = Site::new();
    site.import("whole", &whole);
    site.import("broken", &broken);
    damage(&image_of(&site, 3_000_000));
    let engine = site.engine(&[]);
    let fetch = || Fetch::new(Client::Curl, engine.address());
    engine
        .process()
        .wait_for("the damage is found", PUBLISH_PATIENCE, |line| {
            line.contains("damaged file: refused from now on")
                .then_some(())
        });
    assert!(fetch().run("broken").content.is_none(), "damage was served");
    fetch().expect("whole", &whole);
    // What the message says to do.
    assert!(!site.admin(&["verify", "--quarantine"]).status.success());
    site.import("broken", &broken);
    poll::until("the file is served again", PUBLISH_PATIENCE, || {
        (fetch().run("broken").content? == broken).then_some(())
    });
    fetch().expect("whole", &whole);
}

/// The file of the image of that length.
fn image_of(site: &Site, bytes: u64) -> PathBuf {
    let folders = std::fs::read_dir(site.data().join("images")).expect("images");
    let mut files = folders
        .flat_map(|folder| std::fs::read_dir(folder.expect("a folder").path()).expect("a folder"))
        .map(|file| file.expect("an image").path());
    let image = files.find(|file| file.metadata().is_ok_and(|found| found.len() == bytes));
    image.expect("an image of that length")
}

/// Changes octets in the middle of a file, as a broken disk does: in place, whatever its permissions.
fn damage(file: &Path) {
    let mut content = std::fs::read(file).expect("a file to damage");
    let middle = content.len() / 2;
    content[middle] ^= 0x55;
    // The store's files are read-only, and a user who is not root cannot write to them: put another in place.
    let other = file.with_extension("damaged");
    std::fs::write(&other, content).expect("own folder");
    std::fs::rename(&other, file).expect("own folder");
}

#[test]
fn a_full_disk_refuses_an_import_and_breaks_nothing_that_is_served() {
    let image = content::octets(9, 1_000_000);
    let host = Arc::new(Host::new(Private::Mounts));
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
