//! What lies among the licences and the vendors' keys, and is none.

use daybreak_admin::licensing::{VendorKeys, sign};
use daybreak_admin::object::Id;
use serde_json::json;

use super::support::api::Server;
use super::support::vendor::{key, licence_for};
use super::{file, install, keys, licensing, this, trust};

#[test]
fn each_key_in_the_folder_of_the_vendors_is_trusted_and_a_bad_one_is_refused_by_name() {
    let server = Server::set_up();
    let admin = server.admin();
    let signed = |by: u8| {
        let mut licence = licence_for("none", vec![this(&admin)], &[("terminal-connection", 11)]);
        licence.id = Id::parse(&format!("master-{by}")).expect("an identifier");
        sign(&licence, &key(by)).expect("signed")
    };
    let vendors = keys(&server).join("vendors");
    let put = |name: &str, text: &str| std::fs::write(vendors.join(name), text).expect("written");
    let text = |by: u8| VendorKeys::key_text(&key(by).verifying_key());
    put("a.pub", &text(1));
    put("bad.pub", &text(2)[..60]);
    put("long.pub", &" ".repeat(4096));
    put("z.pub", &text(3));
    // No key by its name, and left alone.
    put("other.txt", "nothing");

    install(&admin, &signed(1)).expect(201);
    install(&admin, &signed(3)).expect(201);
    let refused = install(&admin, &signed(2)).expect(422).json();
    assert!(
        refused["message"].to_string().contains("(unknown_key)"),
        "{refused}"
    );
    let listed = admin.get("/api/v1/licences").expect(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
    let refused: Vec<(&str, &str)> = listed["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|refused| {
            (
                refused["name"].as_str().expect("a name"),
                refused["code"].as_str().expect("a code"),
            )
        })
        .collect();
    assert_eq!(
        refused,
        [
            ("vendors/bad.pub", "not_a_key"),
            ("vendors/long.pub", "not_a_key")
        ]
    );

    // Mended, it counts, with no restart; and a key that is gone leaves its licences refused by name.
    put("bad.pub", &text(2));
    install(&admin, &signed(2)).expect(201);
    std::fs::remove_file(vendors.join("z.pub")).expect("removed");
    install(&admin, &signed(2)).expect(201);
    let listed = admin.get("/api/v1/licences").expect(200).json();
    let of = |name: &str| {
        let refused = listed["refused"].as_array().expect("a list");
        refused
            .iter()
            .find(|refused| refused["name"] == name)
            .map(|refused| refused["code"].clone())
    };
    assert_eq!(of("vendors/bad.pub"), None);
    assert_eq!(of("master-3"), Some(json!("unknown_key")));
}

#[test]
fn a_file_of_a_gigabyte_among_the_licences_is_refused_by_name_and_costs_nothing() {
    let server = Server::set_up();
    let admin = server.admin();
    trust(&server);
    let file_of = |name: &str| keys(&server).join(format!("licences/{name}.licence"));
    let long = std::fs::File::create(file_of("long")).expect("made");
    long.set_len(1 << 30).expect("sparse");
    let memory_mib = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        peak.expect("a peak")
            .trim()
            .parse::<u64>()
            .expect("a number")
            / 1024
    };
    let before = memory_mib();
    // Everything is looked at again, and the others count.
    install(&admin, &file(&admin, 1, &[("terminal-connection", 11)])).expect(201);
    let listed = admin.get("/api/v1/licences").expect(200).json();
    let refused = listed["refused"].as_array().expect("a list");
    assert_eq!(
        (refused.len(), &refused[0]["name"], &refused[0]["code"]),
        (1, &json!("long"), &json!("too_large"))
    );
    assert_eq!(listed["items"][0]["state"], "active");
    assert!(memory_mib() < before + 512, "it was read");
    let server = server.restarted();
    assert_eq!(licensing(&server.admin())["counts"][0]["entitled"], 11);
}
