//! `daybreak-admin` as an operator uses it: the real binary, a private data directory, and a reader beside it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use daybreak_store::{Catalog, Reader, Store};

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Site {
            dir: tempfile::tempdir().expect("tempdir"),
        }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn file(&self, below: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        fs::write(&path, content).expect("write");
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daybreak-admin"));
        command.arg("--data").arg(self.data()).args(args);
        command
    }

    fn admin(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("runs")
    }

    /// Runs a command that must succeed; its standard output.
    fn done(&self, args: &[&str]) -> String {
        let output = self.admin(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a command that must end with `code`; its standard error.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.admin(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    }

    fn import(&self, path: &Path, more: &[&str]) -> String {
        self.done(&[&["import", path.to_str().expect("UTF-8")], more].concat())
    }

    fn served(&self) -> std::sync::Arc<Catalog> {
        Reader::open(&self.data())
            .expect("reader")
            .load()
            .expect("load")
    }

    fn names(&self) -> Vec<String> {
        self.served()
            .entries()
            .map(|(_, view)| view.name.to_owned())
            .collect()
    }

    fn content(&self, name: &str) -> Vec<u8> {
        let catalog = self.served();
        let image = catalog
            .open(catalog.lookup(name.as_bytes()).expect(name))
            .expect("open");
        let mut content = vec![0; usize::try_from(image.len()).expect("small")];
        image.read_at(0, &mut content).expect("read");
        content
    }
}

#[test]
fn a_file_is_imported_under_its_own_name_or_the_given_one() {
    let site = Site::new();
    let file = site.file("undionly.kpxe", "rom");
    assert!(
        site.import(&file, &[])
            .contains("1 added, 0 replaced, 0 unchanged; 3 octets stored")
    );
    site.import(&file, &["--name", "boot/rom.bin"]);
    site.import(&file, &["--prefix", "ipxe"]);
    site.import(&file, &["--prefix", "pxe/roms/"]);
    assert_eq!(
        site.names(),
        [
            "boot/rom.bin",
            "ipxe/undionly.kpxe",
            "pxe/roms/undionly.kpxe",
            "undionly.kpxe"
        ]
    );
    assert_eq!(site.content("boot/rom.bin"), b"rom");
}

#[test]
fn a_folder_is_one_generation_and_the_same_content_is_stored_once() {
    let site = Site::new();
    site.file("fw/a.bin", "same");
    site.file("fw/sub/deep/b.bin", "same");
    site.file("fw/empty", "");
    let out = site.import(&site.path("fw"), &["--prefix", "firmware/x"]);
    assert!(
        out.contains("3 added") && out.contains("4 octets stored"),
        "{out}"
    );
    assert!(out.contains("published generation 1"), "{out}");
    assert_eq!(
        site.names(),
        [
            "firmware/x/a.bin",
            "firmware/x/empty",
            "firmware/x/sub/deep/b.bin"
        ]
    );
    let again = site.import(&site.path("fw"), &["--prefix", "firmware/x"]);
    assert!(
        again.contains("3 unchanged; 0 octets stored; nothing changed: generation 1"),
        "{again}"
    );
    site.file("fw/a.bin", "diff");
    let third = site.import(&site.path("fw"), &["--prefix", "firmware/x"]);
    assert!(
        third.contains("0 added, 1 replaced, 2 unchanged"),
        "{third}"
    );
    assert_eq!(site.content("firmware/x/a.bin"), b"diff");
}

#[test]
fn links_and_odd_files_are_left_out_and_named() {
    let site = Site::new();
    let secret = site.file("secret/key", "do not serve");
    site.file("fw/good", "x");
    site.file("fw/back\\slash", "x");
    symlink(&secret, site.path("fw/link")).expect("symlink");
    symlink(site.path("secret"), site.path("fw/folder")).expect("symlink");
    symlink("/nowhere", site.path("fw/dangling")).expect("symlink");
    let pipe = Command::new("mkfifo")
        .arg(site.path("fw/pipe"))
        .status()
        .expect("mkfifo");
    assert!(pipe.success());
    let output = site.admin(&["import", site.path("fw").to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(0));
    let warnings = String::from_utf8(output.stderr).expect("UTF-8");
    for skipped in ["link", "folder", "dangling", "pipe", "slash"] {
        assert!(warnings.contains(skipped), "{skipped}: {warnings}");
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("5 skipped"));
    assert_eq!(site.names(), ["good"]);
    // A link given by itself is no way round.
    let link = site.path("fw/link");
    assert!(
        site.fails(1, &["import", link.to_str().expect("UTF-8")])
            .contains("symbolic link")
    );
}

#[test]
fn a_wrong_name_is_refused_with_what_to_do() {
    let site = Site::new();
    let file = site.file("rom", "x");
    for name in ["../rom", "/rom", "a//b", "", "a\\b", "a/", &"x".repeat(600)] {
        let error = site.fails(
            1,
            &["import", file.to_str().expect("UTF-8"), "--name", name],
        );
        assert!(error.contains("--name"), "{name}: {error}");
    }
    let folder = file.parent().expect("a parent").to_str().expect("UTF-8");
    assert!(
        site.fails(1, &["import", folder, "--name", "x"])
            .contains("--prefix")
    );
    for prefix in ["/x", "../x", "x//", "/", ""] {
        let error = site.fails(1, &["import", folder, "--prefix", prefix]);
        assert!(error.contains("--prefix"), "{prefix}: {error}");
        assert_eq!(error.lines().count(), 1, "{prefix}: {error}");
    }
    let nowhere = site.fails(1, &["import", "/nowhere/at/all"]);
    assert!(nowhere.contains("/nowhere/at/all"), "{nowhere}");
    assert_eq!(nowhere.matches("os error").count(), 1, "{nowhere}");
    assert!(!site.data().exists(), "nothing was made");
}

#[test]
fn names_are_removed_all_or_none() {
    let site = Site::new();
    for name in ["a", "b", "f/1", "f/2/3", "fa"] {
        site.file(&format!("fw/{name}"), name);
    }
    site.import(&site.path("fw"), &[]);
    let error = site.fails(1, &["remove", "a", "nothing"]);
    assert!(
        error.contains("nothing was removed") && error.contains("list"),
        "{error}"
    );
    assert_eq!(site.names().len(), 5);
    assert!(
        site.done(&["remove", "a", "f/"])
            .contains("3 removed; published generation 2")
    );
    assert_eq!(site.names(), ["b", "fa"]);
    site.fails(1, &["remove", "f/"]);
}

#[test]
fn the_list_is_for_people_and_for_programs() {
    let site = Site::new();
    let file = site.file("rom", "four");
    site.import(&file, &[]);
    assert!(
        site.done(&["list"])
            .contains("rom\n1 names in generation 1")
    );
    let json: serde_json::Value =
        serde_json::from_str(&site.done(&["list", "--json"])).expect("JSON");
    assert_eq!(json["generation"], 1);
    assert_eq!(json["entries"][0]["name"], "rom");
    assert_eq!(json["entries"][0]["bytes"], 4);
    assert_eq!(json["entries"][0]["image"].as_str().map(str::len), Some(64));
}

#[test]
fn damage_is_found_put_aside_and_repaired_by_an_import() {
    let site = Site::new();
    let file = site.file("rom", "sound");
    site.import(&file, &[]);
    assert!(site.done(&["verify"]).contains("everything is sound"));
    let listed: serde_json::Value =
        serde_json::from_str(&site.done(&["list", "--json"])).expect("JSON");
    let hash = listed["entries"][0]["image"].as_str().expect("a hash");
    let image = site.data().join("images").join(&hash[..2]).join(hash);
    fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).expect("chmod");
    fs::write(&image, "wound").expect("write");
    let output = site.admin(&["verify"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("image"),
        "{output:?}"
    );
    assert_eq!(
        site.admin(&["verify", "--quarantine"]).status.code(),
        Some(3)
    );
    site.import(&file, &[]);
    assert!(site.done(&["verify"]).contains("everything is sound"));
    assert_eq!(site.content("rom"), b"sound");
}

#[test]
fn a_collection_frees_what_nothing_names_and_nothing_reads() {
    let site = Site::new();
    let file = site.file("rom", "content");
    site.import(&file, &[]);
    let catalog = site.served();
    let image = catalog
        .open(catalog.lookup(b"rom").expect("rom"))
        .expect("open");
    site.done(&["remove", "rom"]);
    assert!(site.done(&["gc"]).starts_with("0 images"));
    assert!(
        site.done(&["gc", "--retention", "0s"])
            .starts_with("0 images")
    );
    drop((catalog, image));
    assert!(
        site.done(&["gc", "--retention", "0s"])
            .starts_with("1 images (7 octets)")
    );
    assert_eq!(
        site.admin(&["gc", "--retention", "soon"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_full_disk_is_refused_with_its_own_code_and_the_old_generation_stays() {
    let site = Site::new();
    let file = site.file("rom", "content");
    site.import(&file, &[]);
    let other = site.file("other", "more");
    let reserve = u64::MAX.to_string();
    let args = [
        "import",
        other.to_str().expect("UTF-8"),
        "--reserve",
        &reserve,
    ];
    assert!(site.fails(5, &args).contains("the disk is full"));
    assert_eq!(site.names(), ["rom"]);
}

#[test]
fn a_second_command_is_told_when_the_store_is_held_too_long() {
    let site = Site::new();
    let file = site.file("rom", "content");
    site.import(&file, &[]);
    let store = Store::open(&site.data()).expect("open");
    let draft = store.begin().expect("begin");
    let mut waiting = site
        .command(&["--wait", "0", "remove", "rom"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("spawn");
    assert_eq!(waiting.wait().expect("wait").code(), Some(4));
    let mut error = String::new();
    waiting
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut error)
        .expect("read");
    assert!(error.contains("try again"), "{error}");
    drop(draft);
    site.done(&["remove", "rom"]);
}

/// Starts an import that is large enough to be underway when its partial file is seen, and sends it a signal.
fn import_and_signal(site: &Site, signal: &str) -> std::process::ExitStatus {
    let large = site.path("large");
    fs::File::create(&large)
        .expect("create")
        .set_len(3 << 30)
        .expect("grow");
    let mut importing = site
        .command(&["import", large.to_str().expect("UTF-8"), "--reserve", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawn");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while partials(site) == 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "the import never started"
        );
        std::thread::yield_now();
    }
    let pid = importing.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .expect("kill")
            .success()
    );
    importing.wait().expect("wait")
}

fn partials(site: &Site) -> usize {
    fs::read_dir(site.data().join("images/partial")).map_or(0, Iterator::count)
}

#[test]
fn an_interrupted_import_leaves_the_old_generation_and_no_partial() {
    let site = Site::new();
    let file = site.file("rom", "content");
    site.import(&file, &[]);
    for signal in ["-INT", "-TERM"] {
        assert_eq!(
            import_and_signal(&site, signal).code(),
            Some(130),
            "{signal}"
        );
        assert_eq!(partials(&site), 0, "{signal}");
    }
    assert_eq!(site.names(), ["rom"]);
    assert!(site.done(&["verify"]).contains("everything is sound"));
}

#[test]
fn a_killed_import_leaves_the_old_generation_and_a_partial_that_is_collected() {
    let site = Site::new();
    let file = site.file("rom", "content");
    site.import(&file, &[]);
    assert_eq!(import_and_signal(&site, "-KILL").code(), None);
    assert_eq!(site.names(), ["rom"]);
    assert!(site.done(&["verify"]).contains("everything is sound"));
    site.import(&file, &["--name", "again"]);
    assert!(
        site.done(&["gc", "--retention", "0"])
            .contains("1 partial files removed")
    );
    assert_eq!(partials(&site), 0);
    assert_eq!(site.names(), ["again", "rom"]);
}

#[test]
fn a_damaged_catalog_is_told_and_published_over() {
    let site = Site::new();
    let file = site.file("rom", "content");
    site.import(&file, &[]);
    site.import(&file, &["--name", "second"]);
    let catalog = site.data().join("catalogs/0000000002.catalog");
    fs::set_permissions(&catalog, fs::Permissions::from_mode(0o644)).expect("chmod");
    let mut open = fs::OpenOptions::new()
        .append(true)
        .open(&catalog)
        .expect("open");
    open.write_all(b"x").expect("append");
    assert!(site.fails(1, &["list"]).contains("0000000002.catalog"));
    let output = site.admin(&["import", file.to_str().expect("UTF-8"), "--name", "third"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("warning"),
        "{output:?}"
    );
    assert_eq!(site.served().generation().get(), 3);
    assert_eq!(site.names(), ["rom", "third"]);
}

#[test]
fn a_wrong_data_directory_is_told_and_not_made() {
    let site = Site::new();
    for args in [&["list"][..], &["remove", "x"], &["verify"], &["gc"]] {
        assert!(site.fails(1, args).contains("not a data directory"));
    }
    assert!(!site.data().exists());
    assert!(site.done(&["--help"]).contains("Exit codes"));
}
