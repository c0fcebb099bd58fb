//! Backups and restores over the API: what is in them, what they change, what they refuse.

mod support;

use daybreak_store::{Store, StoredContent};
use serde_json::{Value, json};
use support::api::{Answer, Client, PASSWORD, Server};
use support::{mac, until};

fn done(client: &Client<'_>, path: &str) -> Value {
    until(path, || {
        let view = client.get(path).expect(200).json();
        (view["state"] != "running").then_some(view)
    })
}

fn back_up(client: &Client<'_>, images: bool) -> String {
    let answer = client
        .send("POST", "/api/v1/backups", &json!({"images": images}))
        .expect(202);
    let place = answer.header("location").expect("a place").to_owned();
    let view = done(client, &place);
    assert_eq!(view["state"], "done", "{view}");
    view["id"].as_str().expect("an identifier").to_owned()
}

fn plan(client: &Client<'_>, request: &Value) -> Value {
    let answer = client.send("POST", "/api/v1/restores", request).expect(202);
    let place = answer.header("location").expect("a place").to_owned();
    done(client, &place)
}

fn start(client: &Client<'_>, planned: &Value) -> Answer {
    let id = planned["id"].as_str().expect("an identifier");
    client.send("POST", &format!("/api/v1/restores/{id}/start"), &json!({}))
}

fn restore(client: &Client<'_>, request: &Value) -> Value {
    let planned = plan(client, request);
    assert_eq!(planned["state"], "planned", "{planned}");
    start(client, &planned).expect(202);
    let view = done(
        client,
        &format!("/api/v1/restores/{}", planned["id"].as_str().expect("id")),
    );
    assert_eq!(view["state"], "done", "{view}");
    view
}

fn put_file(client: &Client<'_>, name: &str, content: &[u8]) {
    let answer = client.raw("PUT", &format!("/api/v1/files/{name}"), &[], content);
    assert!([200, 201].contains(&answer.status), "{answer:?}");
}

fn terminals(client: &Client<'_>) -> Vec<String> {
    let page = client.get("/api/v1/terminals?sort=name").expect(200).json();
    let names = page["items"].as_array().expect("items").iter();
    names
        .map(|item| item["body"]["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn files(client: &Client<'_>) -> Vec<String> {
    let page = client.get("/api/v1/files?limit=500").expect(200).json();
    let items = page["items"].as_array().expect("items").iter();
    let stored = items.filter(|item| !item["blake3"].is_null());
    stored
        .map(|item| format!("{} {}", item["name"], item["bytes"]))
        .collect()
}

fn difference<'v>(view: &'v Value, kind: &str) -> &'v Value {
    let all = view["differences"].as_array().expect("differences");
    all.iter()
        .find(|difference| difference["kind"] == kind)
        .unwrap_or(&Value::Null)
}

/// What is downloaded, and its hash.
fn download(client: &Client<'_>, id: &str) -> (Vec<u8>, String) {
    let answer = client
        .get(&format!("/api/v1/backups/{id}/content"))
        .expect(200);
    let hash = answer
        .header("x-daybreak-blake3")
        .expect("a hash")
        .to_owned();
    assert_eq!(blake3::hash(&answer.body).to_hex().as_str(), hash);
    (answer.body, hash)
}

fn upload(client: &Client<'_>, id: &str, octets: &[u8]) -> Answer {
    client.raw("PUT", &format!("/api/v1/backups/{id}/content"), &[], octets)
}

#[test]
fn what_was_broken_after_a_backup_is_as_it_was_after_the_restore() {
    let server = Server::set_up();
    let admin = server.admin();
    let one = admin.create(
        "/api/v1/terminals",
        &json!({"name": "one", "macs": [mac(1)]}),
    );
    let two = admin.create(
        "/api/v1/terminals",
        &json!({"name": "two", "macs": [mac(2)]}),
    );
    put_file(&admin, "firmware/kernel", b"the kernel");
    put_file(&admin, "firmware/initrd", b"the initrd");
    let before = admin
        .get(&format!("/api/v1/terminals/{two}"))
        .expect(200)
        .json();
    let id = back_up(&admin, false);

    admin
        .delete(&format!("/api/v1/terminals/{one}"))
        .expect(204);
    let swapped = json!({"name": "one", "macs": [mac(9)]});
    admin
        .send_if("PUT", &format!("/api/v1/terminals/{two}"), "*", &swapped)
        .expect(200);
    admin.create(
        "/api/v1/terminals",
        &json!({"name": "two", "macs": [mac(1)]}),
    );
    put_file(&admin, "firmware/kernel", b"a broken kernel");
    put_file(&admin, "firmware/more", b"more");
    admin.delete("/api/v1/files/firmware/initrd").expect(204);
    server.published(&admin);

    let planned = plan(&admin, &json!({"backup": id}));
    let terminal = difference(&planned, "terminal");
    assert_eq!(
        (
            &terminal["added"],
            &terminal["changed"],
            &terminal["removed"]
        ),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(terminal["added_names"], json!(["one"]));
    assert_eq!(terminal["removed_names"], json!(["two"]));
    let file = difference(&planned, "file");
    assert_eq!(file["added_names"], json!(["firmware/initrd"]));
    assert_eq!(file["changed_names"], json!(["firmware/kernel"]));
    assert_eq!(file["removed_names"], json!(["firmware/more"]));
    assert_eq!(
        planned["missing_images_count"], 0,
        "the store has them still"
    );
    assert_eq!(terminals(&admin), ["one", "two"], "a plan changes nothing");

    start(&admin, &planned).expect(202);
    let view = done(
        &admin,
        &format!("/api/v1/restores/{}", planned["id"].as_str().expect("id")),
    );
    assert_eq!(view["state"], "done", "{view}");
    assert_eq!(terminals(&admin), ["one", "two"]);
    let body = |id: &str| {
        admin
            .get(&format!("/api/v1/terminals/{id}"))
            .expect(200)
            .json()
    };
    assert_eq!(body(&one)["body"]["macs"], json!([mac(1)]));
    let after = body(&two);
    assert_eq!(after["body"], before["body"]);
    assert_eq!(
        files(&admin),
        ["\"firmware/initrd\" 10", "\"firmware/kernel\" 10"]
    );
    // It is published when the restore is done, rendered files and restored ones in one generation.
    let published = Store::open(&server.dir.path().join("data"))
        .expect("opens")
        .published()
        .expect("whole");
    for name in [
        format!("boot/{}.ipxe", mac(1)),
        format!("boot/{}.ipxe", mac(2)),
        "firmware/initrd".into(),
    ] {
        assert!(published.lookup(name.as_bytes()).is_some(), "{name}");
    }
    assert!(
        published
            .lookup(format!("boot/{}.ipxe", mac(9)).as_bytes())
            .is_none()
    );

    // It is a new edit: the version has seen the one that it undoes, and the stamp is later.
    let (was, is) = (&before["version"], &after["version"]);
    let node = was
        .as_object()
        .expect("a map")
        .keys()
        .next()
        .expect("a node")
        .clone();
    assert!(is[&node].as_u64() > was[&node].as_u64().map(|change| change + 1));
    assert!(after["stamp"] != before["stamp"] && after["revision"] != before["revision"]);

    // The automatic backup has what was there before: also the images that no file has any more.
    let automatic = view["before"].as_str().expect("a backup");
    let shown = admin
        .get(&format!("/api/v1/backups/{automatic}"))
        .expect(200)
        .json();
    assert_eq!(
        (&shown["reason"], &shown["images"]),
        (&json!("before-restore"), &json!(2))
    );
    restore(&admin, &json!({"backup": automatic}));
    assert_eq!(
        files(&admin),
        ["\"firmware/kernel\" 15", "\"firmware/more\" 4"]
    );
    assert_eq!(body(&two)["body"]["macs"], json!([mac(9)]));
    admin.get(&format!("/api/v1/terminals/{one}")).expect(404);

    let noted = |action: &str| {
        let query = format!("/api/v1/audit?kind=backup&action={action}");
        let rows = admin.get(&query).expect(200).json()["items"].clone();
        rows.as_array().expect("rows").len()
    };
    assert_eq!((noted("create"), noted("restore")), (3, 2));
}

#[test]
fn a_plan_that_is_out_of_date_is_refused() {
    let server = Server::set_up();
    let admin = server.admin();
    let one = admin.create(
        "/api/v1/terminals",
        &json!({"name": "one", "macs": [mac(1)]}),
    );
    let id = back_up(&admin, false);
    admin
        .delete(&format!("/api/v1/terminals/{one}"))
        .expect(204);

    let planned = plan(&admin, &json!({"backup": id}));
    admin.create(
        "/api/v1/terminals",
        &json!({"name": "two", "macs": [mac(2)]}),
    );
    assert_eq!(
        start(&admin, &planned).expect(409).code(),
        "restore_outdated"
    );
    let planned = plan(&admin, &json!({"backup": id}));
    put_file(&admin, "file", b"content");
    assert_eq!(
        start(&admin, &planned).expect(409).code(),
        "restore_outdated"
    );
    assert_eq!(terminals(&admin), ["two"]);

    let planned = plan(&admin, &json!({"backup": id}));
    start(&admin, &planned).expect(202);
    done(
        &admin,
        &format!("/api/v1/restores/{}", planned["id"].as_str().expect("id")),
    );
    assert_eq!(terminals(&admin), ["one"]);
    assert_eq!(
        start(&admin, &planned).expect(409).code(),
        "restore_not_planned"
    );
    start(&admin, &json!({"id": "nothing"})).expect(404);
    let unknown = admin.send("POST", "/api/v1/restores", &json!({"backup": "nothing"}));
    assert_eq!(unknown.expect(404).code(), "not_found");
}

#[test]
fn accounts_stay_as_they_are_unless_asked_for_and_administrators_always() {
    let server = Server::set_up();
    let admin = server.admin();
    let user = |name: &str, role: &str| {
        let id = admin.create("/api/v1/users", &json!({"name": name, "roles": [role]}));
        let password = json!({"password": PASSWORD});
        admin
            .send("PUT", &format!("/api/v1/users/{id}/password"), &password)
            .expect(204);
        id
    };
    let old = user("old", "operator");
    let boss = user("boss", "administrator");
    let id = back_up(&admin, false);
    admin.delete(&format!("/api/v1/users/{old}")).expect(204);
    admin.delete(&format!("/api/v1/users/{boss}")).expect(204);
    let new = user("new", "operator");
    let second = user("second", "administrator");
    let new_session = server.logged_in("new", PASSWORD);

    let view = restore(&admin, &json!({"backup": id}));
    assert_eq!(view["differences"], json!([]), "{view}");
    admin.get(&format!("/api/v1/users/{new}")).expect(200);

    // Who may restore may not make themselves more than they are by it.
    let rights = json!(["backups.restore", "backups.read", "backups.transfer"]);
    let key = admin
        .send(
            "POST",
            "/api/v1/api-keys",
            &json!({"name": "k", "rights": rights}),
        )
        .expect(201);
    let keeper = server
        .with_key(key.json()["secret"].as_str().expect("a secret"))
        .clone();
    let planned = plan(&keeper, &json!({"backup": id, "accounts": true}));
    start(&keeper, &planned).expect(202);
    let refused = done(
        &keeper,
        &format!("/api/v1/restores/{}", planned["id"].as_str().expect("id")),
    );
    assert_eq!(
        (&refused["state"], &refused["error"]["code"]),
        (&json!("failed"), &json!("beyond_own_rights"))
    );
    admin.get(&format!("/api/v1/users/{old}")).expect(404);

    let view = restore(&admin, &json!({"backup": id, "accounts": true}));
    let users = difference(&view, "user");
    assert_eq!(
        (&users["added_names"], &users["removed_names"]),
        (&json!(["boss", "old"]), &json!(["new"]))
    );
    // Whoever can administer the site still can, is still logged in, and has their password.
    admin.get(&format!("/api/v1/users/{second}")).expect(200);
    server.logged_in("second", PASSWORD);
    server.logged_in("old", PASSWORD);
    assert_eq!(new_session.get("/api/v1/session").status, 401);
    assert_eq!(
        keeper.get("/api/v1/backups").status,
        401,
        "the key came after the backup"
    );
}

#[test]
fn images_that_nothing_has_any_more_are_named_and_stop_the_restore_unless_told() {
    let server = Server::set_up();
    let admin = server.admin();
    put_file(&admin, "stays", b"stays");
    put_file(&admin, "goes", b"goes away");
    let small = back_up(&admin, false);
    let large = back_up(&admin, true);
    admin.delete("/api/v1/files/goes").expect(204);
    server.published(&admin);
    let image = |content: &[u8]| {
        let hash = blake3::hash(content).to_hex().to_string();
        server
            .dir
            .path()
            .join("data/images")
            .join(&hash[..2])
            .join(hash)
    };
    std::fs::remove_file(image(b"goes away")).expect("removed");

    let planned = plan(&admin, &json!({"backup": small}));
    assert_eq!(planned["missing_images"], json!(["goes"]));
    assert_eq!(start(&admin, &planned).expect(409).code(), "images_missing");
    restore(
        &admin,
        &json!({"backup": small, "without_missing_images": true}),
    );
    assert_eq!(files(&admin), ["\"stays\" 5"]);

    let view = restore(&admin, &json!({"backup": large}));
    assert_eq!(
        (&view["missing_images_count"], &view["image_bytes"]),
        (&json!(0), &json!(9))
    );
    assert_eq!(files(&admin), ["\"goes\" 9", "\"stays\" 5"]);
    assert_eq!(
        std::fs::read(image(b"goes away")).expect("there"),
        b"goes away"
    );
}

#[test]
fn a_backup_goes_to_another_server_and_back() {
    let server = Server::set_up();
    let admin = server.admin();
    admin.create(
        "/api/v1/terminals",
        &json!({"name": "one", "macs": [mac(1)]}),
    );
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    put_file(&admin, "image", &content);
    let id = back_up(&admin, true);
    let (octets, hash) = download(&admin, &id);
    assert!(octets.len() > content.len());

    let other = Server::set_up();
    let boss = other.admin();
    let wrong = boss.raw(
        "PUT",
        "/api/v1/backups/moved/content",
        &[("X-Daybreak-Blake3", &"0".repeat(64))],
        &octets,
    );
    assert_eq!(wrong.expect(422).code(), "hash_mismatch");
    let made = boss.raw(
        "PUT",
        "/api/v1/backups/moved/content",
        &[("X-Daybreak-Blake3", &hash)],
        &octets,
    );
    assert_eq!(made.expect(201).json()["blake3"], hash);
    assert_eq!(upload(&boss, "moved", &octets).expect(409).code(), "taken");
    assert_eq!(
        upload(&boss, "..%2fmoved", &octets).expect(400).code(),
        "invalid_path"
    );
    assert_eq!(
        upload(&boss, "Moved", &octets).expect(400).code(),
        "invalid_path"
    );
    restore(&boss, &json!({"backup": "moved"}));
    assert_eq!(terminals(&boss), ["one"]);
    assert_eq!(files(&boss), ["\"image\" 3000000"]);
    assert_eq!(download(&boss, "moved").0, octets);
    let listed = boss.get("/api/v1/backups").expect(200).json();
    assert_eq!(listed["items"].as_array().expect("items").len(), 2);
    boss.delete("/api/v1/backups/moved").expect(204);
    boss.delete("/api/v1/backups/moved").expect(404);
    boss.get("/api/v1/backups/moved/content").expect(404);
}

#[test]
fn a_damaged_or_malicious_backup_changes_nothing_and_says_why() {
    let server = Server::set_up();
    let admin = server.admin();
    admin.create(
        "/api/v1/terminals",
        &json!({"name": "one", "macs": [mac(1)]}),
    );
    put_file(&admin, "file", b"content");
    let id = back_up(&admin, true);
    let (octets, _) = download(&admin, &id);
    let change = admin.get("/api/v1/publication").expect(200).json()["change"].clone();
    let mut flipped = octets.clone();
    flipped[octets.len() / 2] ^= 1;
    let mut newer = octets.clone();
    newer[16] = 2;
    let longer = [&octets[..], b"more"].concat();
    let zip = b"PK\x03\x04\x14\x00\x00\x00\x00\x00 ../../../../etc/cron.d/x".to_vec();
    let mut bomb = octets[..20].to_vec();
    bomb.extend(b"H\xff\xff\xff\xff\xff\xff\xff\x7f");
    for (what, octets, code) in [
        ("cut off", &octets[..octets.len() - 1], "backup_damaged"),
        ("half", &octets[..octets.len() / 2], "backup_damaged"),
        ("empty", b"", "backup_damaged"),
        ("a bit changed", &flipped, "backup_damaged"),
        ("longer", &longer, "backup_damaged"),
        ("another format", &newer, "backup_incompatible"),
        ("a zip file", &zip, "backup_damaged"),
        ("a length that lies", &bomb, "backup_damaged"),
    ] {
        assert_eq!(
            upload(&admin, "bad", octets).expect(422).code(),
            code,
            "{what}"
        );
        admin.get("/api/v1/backups/bad").expect(404);
        // The same, found where a backup should be: it was damaged in its place.
        let path = server.dir.path().join("data/backups/bad.backup");
        std::fs::write(&path, octets).expect("written");
        let planned = plan(&admin, &json!({"backup": "bad"}));
        assert_eq!(
            (&planned["state"], &planned["error"]["code"]),
            (&json!("failed"), &json!(code)),
            "{what}"
        );
        assert_eq!(
            start(&admin, &planned).expect(409).code(),
            "restore_not_planned"
        );
        std::fs::remove_file(&path).expect("removed");
    }
    // A link in the place of a backup is followed nowhere.
    let link = server.dir.path().join("data/backups/link.backup");
    std::os::unix::fs::symlink("/etc/passwd", &link).expect("linked");
    assert_ne!(admin.get("/api/v1/backups/link/content").status, 200);
    std::fs::remove_file(&link).expect("removed");
    // Damaged after it was planned.
    let planned = plan(&admin, &json!({"backup": id}));
    let path = server.dir.path().join(format!("data/backups/{id}.backup"));
    std::fs::write(&path, &flipped).expect("written");
    start(&admin, &planned).expect(202);
    let view = done(
        &admin,
        &format!("/api/v1/restores/{}", planned["id"].as_str().expect("id")),
    );
    assert_eq!(
        (&view["state"], &view["error"]["code"]),
        (&json!("failed"), &json!("backup_damaged"))
    );
    assert_eq!(
        admin.get("/api/v1/publication").expect(200).json()["change"],
        change
    );
    assert_eq!(files(&admin), ["\"file\" 7"]);
    let left = std::fs::read_dir(server.dir.path().join("data/images/partial")).expect("a folder");
    assert_eq!(left.count(), 0);
}

#[test]
fn an_image_that_is_damaged_in_the_store_does_not_stop_a_backup_of_the_rest() {
    let server = Server::set_up();
    let admin = server.admin();
    put_file(&admin, "good", b"good");
    put_file(&admin, "bad", b"bad");
    server.published(&admin);
    let hash = blake3::hash(b"bad").to_hex().to_string();
    let path = server
        .dir
        .path()
        .join("data/images")
        .join(&hash[..2])
        .join(&hash);
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, b"BAD").expect("written");
    let id = back_up(&admin, true);
    let view = admin
        .get(&format!("/api/v1/backups/{id}"))
        .expect(200)
        .json();
    assert_eq!((&view["files"], &view["images"]), (&json!(2), &json!(1)));
}

#[test]
fn an_image_that_the_store_has_lost_comes_back_with_a_backup_that_has_it() {
    let server = Server::set_up();
    let admin = server.admin();
    put_file(&admin, "kernel", b"the kernel");
    put_file(&admin, "initrd", b"the initrd");
    let id = back_up(&admin, true);
    server.published(&admin);
    // As engines see it.
    let store = Store::open(&server.dir.path().join("data")).expect("opens");
    let before = store.generation().expect("published");
    let hash = blake3::hash(b"the kernel").to_hex().to_string();
    let images = server.dir.path().join("data/images");
    let path = images.join(&hash[..2]).join(&hash);
    std::fs::remove_file(&path).expect("lost");
    let planned = plan(&admin, &json!({"backup": id}));
    assert_eq!(
        planned["differences"].as_array().map(Vec::len),
        Some(1),
        "{planned}"
    );
    let file = difference(&planned, "file");
    assert_eq!(file["changed_names"], json!(["kernel"]));
    assert_eq!(planned["image_bytes"], 10);
    restore(&admin, &json!({"backup": id}));
    assert_eq!(std::fs::read(&path).expect("back"), b"the kernel");
    let after = store.generation().expect("published");
    assert!(after > before, "engines look again");
    let planned = plan(&admin, &json!({"backup": id}));
    assert_eq!(planned["differences"], json!([]));
}

#[test]
fn what_is_rendered_is_not_in_a_backup_and_stays_what_the_configuration_says() {
    let server = Server::set_up();
    let admin = server.admin();
    let id = back_up(&admin, false);
    admin.create(
        "/api/v1/terminals",
        &json!({"name": "one", "macs": [mac(1)]}),
    );
    server.published(&admin);
    restore(&admin, &json!({"backup": id}));
    let store = Store::open(&server.dir.path().join("data")).expect("opens");
    let draft = store.begin().expect("begun");
    let rendered = draft
        .entries()
        .values()
        .filter(|content| matches!(content, StoredContent::Inline(_)));
    assert_eq!(rendered.count(), 0);
}
