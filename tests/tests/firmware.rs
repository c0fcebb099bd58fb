//! Firmware packages through both programs: versions beside each other, and the active one under the names without it.

use std::time::Duration;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::poll;
use daybreak_tests::site::Site;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn each_version_is_served_under_its_names_and_the_active_one_also_without_its_name() {
    let site = Site::new();
    site.import("firmware/linux/1/vmlinuz", b"kernel 1");
    site.import("firmware/linux/2/vmlinuz", b"kernel 2");
    let engine = site.engine(&[]);
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let fetched = |name: &str| Fetch::new(Client::Curl, engine.address()).run(name).content;
    let boot = json!([{"architecture": "x86-64-uefi", "kernel": "vmlinuz"}]);
    let versions = ["1", "2"].map(|version| json!({"version": version, "boot": boot}));
    let package = json!({"name": "linux", "active": "1", "versions": versions});
    let id = api.create("/api/v1/firmware-packages", &package);
    let served = |name: &str, content: &[u8]| {
        poll::until(name, PATIENCE, || {
            fetched(name).filter(|found| found == content)
        });
    };
    served("firmware/linux/vmlinuz", b"kernel 1");
    served("firmware/linux/2/vmlinuz", b"kernel 2");
    let place = format!("/api/v1/firmware-packages/{id}");
    api.send("PATCH", &place, &json!({"active": "2"}))
        .expect(200);
    served("firmware/linux/vmlinuz", b"kernel 2");
    served("firmware/linux/1/vmlinuz", b"kernel 1");
    // By the command line, beside the running administration.
    site.import("firmware/linux/2/late", b"late");
    served("firmware/linux/late", b"late");
    api.send("PATCH", &place, &json!({"active": "1"}))
        .expect(200);
    served("firmware/linux/vmlinuz", b"kernel 1");
    assert_eq!(fetched("firmware/linux/late"), None);
}
