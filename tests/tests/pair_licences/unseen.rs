//! `seat-days` in a pair: who makes room for one that waits.

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::clock::MovedClock;
use daybreak_tests::pair::{PATIENCE, Server, pair, terminal};
use daybreak_tests::poll;
use daybreak_tests::vendor::Vendor;
use serde_json::json;

use crate::{install, wait_until_booted};

fn boots(server: &Server, number: u32) -> bool {
    let name = format!("terminals/52:54:00:00:00:{number:02x}.json");
    let fetched = Fetch::new(Client::Curl, server.tftp()).run(&name);
    fetched.content.is_some()
}

/// Waits until the administration has read that these booted.
fn wait_until_seen(server: &Server, ids: &[String]) {
    for id in ids {
        poll::until("the boot to be seen", PATIENCE, || {
            let path = format!("/api/v1/events?kind=boot-finished&terminal={id}");
            let events = server.api().get(&path).expect(200).json();
            let items = events["items"].as_array().expect("items");
            (!items.is_empty()).then_some(())
        });
    }
}

#[test]
fn a_terminal_that_neither_server_saw_for_the_days_of_the_setting_makes_room_and_nobody_else_does()
{
    // Forty days ago.
    let clock = MovedClock::ahead(-40);
    let mut a = Server::unlicensed_by(&clock, "a");
    let mut b = Server::unlicensed_by(&clock, "b");
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let ids: Vec<String> = (1..=11)
        .map(|number| {
            let body = terminal(&format!("kiosk-{number}"), number);
            a.api().create("/api/v1/terminals", &body)
        })
        .collect();
    poll::until("the last terminal on b", PATIENCE, || b.terminal(&ids[10]));

    // Forty days later a vendor says the time.
    let vendor = Vendor::new();
    for server in [&mut a, &mut b] {
        vendor.is_trusted_by(server.site());
        server.stop();
    }
    clock.set(0);
    a.start_by(&clock);
    b.start_by(&clock);
    let master = vendor.master("full", &[("redundant-terminal-connection", 10)]);
    install(
        &a,
        &vendor.activate(&master, &[&a.installation(), &b.installation()]),
    );
    for server in [&a, &b] {
        server.wait_for_redundancy("full");
    }
    // Five boot from one, four from the other, one from neither; the last one waits.
    for (server, numbers) in [(&a, 1..=5), (&b, 6..=9)] {
        for number in numbers {
            poll::until("it to boot", PATIENCE, || {
                boots(server, number).then_some(())
            });
        }
    }
    assert!(!boots(&a, 11));
    wait_until_seen(&a, &ids[..5]);
    wait_until_seen(&b, &ids[5..9]);

    // Who was seen is told when the two connect, and now and then.
    b.stop();
    b.start_by(&clock);
    b.wait_for_state("in-sync");
    let days = json!({"key": "seat-days", "value": 30});
    let _ = a.api().create("/api/v1/settings", &days);
    let held: Vec<u32> = (1..=9).chain([11]).collect();
    poll::until("the eleventh to boot", PATIENCE, || {
        boots(&a, 11).then_some(())
    });
    for server in [&a, &b] {
        wait_until_booted(server, 11, &held);
        assert_eq!(server.licensing()["waiting"], 1);
    }
}
