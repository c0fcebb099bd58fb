//! The licence of one of the two ends.

use daybreak_tests::clock::MovedClock;
use daybreak_tests::pair::{PATIENCE, Server, pair, terminal};
use daybreak_tests::poll;
use daybreak_tests::vendor::Vendor;
use serde_json::json;

use crate::{booted, install, is_shown, wait_until_agreed, wait_until_booted};

#[test]
fn where_the_licence_of_one_server_ends_both_show_it_and_neither_refuses_who_holds_a_seat() {
    let clock = MovedClock::ahead(0);
    let (a, b) = (Server::unlicensed("a"), Server::unlicensed_by(&clock, "b"));
    let vendor = Vendor::new();
    for server in [&a, &b] {
        vendor.is_trusted_by(server.site());
    }
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let twelve = [("terminal-connection", 12)];
    let masters = [
        vendor.master("full", &twelve),
        vendor.ending("full", &twelve, 300),
    ];
    for (server, master) in [&a, &b].into_iter().zip(&masters) {
        install(server, &vendor.activate(master, &[&server.installation()]));
    }
    for server in [&a, &b] {
        server.wait_for_redundancy("full");
    }
    wait_until_agreed([&a, &b]);
    let make = |number: u32| {
        let body = terminal(&format!("kiosk-{number}"), number);
        a.api().create("/api/v1/terminals", &body)
    };
    for number in 1..=13 {
        let _ = make(number);
    }
    let held: Vec<u32> = (1..=12).collect();
    for server in [&a, &b] {
        wait_until_booted(server, 13, &held);
    }

    clock.set(301);
    for (server, here, there) in [(&b, 0, 12), (&a, 12, 0)] {
        let said = format!("terminal-connection: {here} on this server, {there} on the partner");
        let licensing = poll::until(&said, PATIENCE, || {
            let licensing = server.licensing();
            let differences = licensing["differences"].to_string();
            differences.contains(&said).then_some(licensing)
        });
        assert_eq!(licensing["agreement"], "differs");
        // As without a licence: nothing new, and nothing less.
        let counts = json!({"product": "terminal", "entitled": 10, "used": 12, "excess": 2});
        assert_eq!(licensing["counts"][0], counts);
        assert_eq!(licensing["mode"], "full");
        let warnings = licensing["warnings"].to_string();
        let expired = format!("licence {} has expired", masters[1]);
        assert_eq!(warnings.contains(&expired), here == 0, "{warnings}");
        is_shown(server, "differs");
    }
    // What is served was made after it.
    let new = make(14);
    poll::until("the new one on b", PATIENCE, || b.terminal(&new));
    for server in [&a, &b] {
        server.api().wait_until_published();
        let seat = server.terminal(&new).expect("it is there")["seat"]["state"].clone();
        assert_eq!(seat, "waiting");
        wait_until_booted(server, 14, &held);
        assert_eq!(booted(server, 14), held);
    }
}
