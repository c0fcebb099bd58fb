//! The licence decides what a pair does, on the real programs: told over the link, given to the other server, and the same on both
//! when they are parted.

#[path = "pair_licences/ended.rs"]
mod ended;
#[path = "pair_licences/unseen.rs"]
mod unseen;

use std::process::Command;

use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::pair::{PATIENCE, Server, pair, terminal};
use daybreak_tests::vendor::Vendor;
use daybreak_tests::{poll, programs};
use serde_json::{Value, json};

/// Which of the terminals from 1 to `count` this server's engine boots.
fn booted(server: &Server, count: u32) -> Vec<u32> {
    let boots = |number: &u32| {
        let name = format!("terminals/52:54:00:00:00:{number:02x}.json");
        let fetched = Fetch::new(Client::Curl, server.tftp()).run(&name);
        fetched.content.is_some()
    };
    (1..=count).filter(boots).collect()
}

fn wait_until_booted(server: &Server, count: u32, expected: &[u32]) {
    let what = format!("{expected:?} to boot");
    poll::until(&what, PATIENCE, || {
        (booted(server, count) == expected).then_some(())
    });
}

fn install(server: &Server, licence: &str) {
    let api = server.api();
    let installed = api.send("POST", "/api/v1/licences", &json!({"licence": licence}));
    installed.expect(201);
}

fn refused_edit(server: &Server) -> Value {
    let edit = server
        .api()
        .send("POST", "/api/v1/terminals", &terminal("refused", 200));
    edit.expect(409).json()
}

/// What the command line says of a running server's licences.
fn status_told(server: &Server) -> String {
    let door = server.door();
    let mut command = Command::new(programs::ours("daybreak-admin"));
    command.arg("--data").arg(server.site().data());
    command.args(["licence", "status", "--server", &door.url]);
    let output = command.env("DAYBREAK_API_KEY", door.key).output();
    let output = output.expect("the program is built");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What was done with a licence, and by whom; the last first.
fn audited(server: &Server, licence: &str) -> Vec<(String, String)> {
    let rows = server.api().get("/api/v1/audit?kind=licence");
    let rows = rows.expect(200).json();
    let rows = rows["items"].as_array().expect("rows").iter();
    let of_it = rows.filter(|row| row["id"] == licence);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    of_it
        .map(|row| (text(&row["action"]), text(&row["actor"])))
        .collect()
}

fn wait_until_agreed(servers: [&Server; 2]) {
    for server in servers {
        poll::until("both to have the same licences", PATIENCE, || {
            (server.licensing()["agreement"] == "agrees").then_some(())
        });
        is_shown(server, "agrees");
    }
}

/// The state of the pair, its metrics and its events say so, too.
fn is_shown(server: &Server, agreement: &str) {
    let what = format!("it is shown that it {agreement}");
    let status = poll::until(&what, PATIENCE, || {
        let status = server.status();
        (status["licences"]["agreement"] == agreement).then_some(status)
    });
    let agrees = agreement == "agrees";
    assert_eq!(status["licences"]["differences"] == json!([]), agrees);
    let metrics = server.api().get("/metrics").expect(200).body;
    let gauge = format!("daybreak_admin_sync_licences_agree {}", u8::from(agrees));
    assert!(metrics.contains(&gauge), "{metrics}");
    let expected = if agrees {
        "licences-agree"
    } else {
        "licences-differ"
    };
    poll::until(expected, PATIENCE, || {
        let events = server.api().get("/api/v1/events?kind=pair").expect(200);
        let events = events.json();
        let mut events = events["items"].as_array().expect("items").iter();
        let last = events.find(|event| {
            let what = event["details"]["what"].as_str().expect("a word");
            what.starts_with("licences-")
        });
        (last?["details"]["what"] == expected).then_some(())
    });
}

/// Two servers that are the same, without a licence; and a vendor whom both trust.
fn unlicensed_pair() -> (Server, Server, Vendor) {
    let (a, b) = (Server::unlicensed("a"), Server::unlicensed("b"));
    let vendor = Vendor::new();
    for server in [&a, &b] {
        vendor.is_trusted_by(server.site());
    }
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    (a, b, vendor)
}

#[test]
fn without_a_licence_for_two_the_second_server_boots_nobody_and_with_one_both_boot_without_a_restart()
 {
    let (a, b, vendor) = unlicensed_pair();
    let ids: Vec<String> = (1..=11)
        .map(|number| {
            let body = terminal(&format!("kiosk-{number}"), number);
            a.api().create("/api/v1/terminals", &body)
        })
        .collect();
    poll::until("the last terminal on b", PATIENCE, || b.terminal(&ids[10]));
    let ten: Vec<u32> = (1..=10).collect();
    wait_until_booted(&a, 11, &ten);
    wait_until_booted(&b, 11, &[]);
    assert_eq!(b.licensing()["boots"], false);
    assert_eq!(refused_edit(&b)["code"], "mirrored_secondary");
    // Nor does its ProxyDHCP answer anybody.
    b.wait_until_served("boot/loaders", b"nobody\n");
    let script = Fetch::new(Client::Curl, b.tftp()).run("boot/52:54:00:00:00:01.ipxe");
    let script = String::from_utf8(script.content.expect("a script")).expect("text");
    assert!(
        script.contains("no licence to boot terminals beside its partner"),
        "{script}"
    );
    // Whoever asks it all the same is told why, seat or no seat: the client, the events, the light.
    for id in [0, 10] {
        let name = format!("terminals/52:54:00:00:00:{:02x}.json", id + 1);
        let fetched = Fetch::new(Client::TftpHpa, b.tftp()).run(&name);
        assert_eq!(fetched.content, None);
        let why = "the other server boots this terminal: this one stands by";
        assert!(fetched.output.contains(why), "{}", fetched.output);
        let terminal = &ids[id];
        let events = format!("/api/v1/events?kind=boot-refused&terminal={terminal}");
        let event = poll::until("the event", PATIENCE, || {
            let page = b.api().get(&events).expect(200).json();
            page["items"].get(0).cloned()
        });
        let why = "the other server boots it: this one stands by";
        assert_eq!(event["details"]["why"], why);
        let status = format!("/api/v1/terminals/{terminal}/status");
        let light = b.api().get(&status).expect(200).json()["lights"][0].clone();
        assert_eq!(light["light"], "red");
        let shown = light["why"].as_str().expect("a reason");
        assert!(shown.ends_with(why), "{shown}");
    }
    // Each knows the Installation ID of the other: activation needs both.
    for (here, there) in [(&a, &b), (&b, &a)] {
        let told = poll::until("the partner's Installation ID", PATIENCE, || {
            here.licensing()["servers"][1]["installation"]
                .as_str()
                .map(str::to_owned)
        });
        assert_eq!(told, there.installation());
    }

    // It is installed on one, and the other verifies and installs it for itself.
    let master = vendor.master("enterprise", &[]);
    let both = [a.installation(), b.installation()];
    let licence = vendor.activate(&master, &both.each_ref().map(String::as_str));
    install(&a, &licence);
    wait_until_agreed([&a, &b]);
    let all: Vec<u32> = (1..=11).collect();
    for server in [&a, &b] {
        server.wait_for_redundancy("enterprise");
        wait_until_booted(server, 11, &all);
    }
    let loaders = Fetch::new(Client::Curl, b.tftp()).run("boot/loaders");
    assert_eq!(loaders.content, None, "its ProxyDHCP answers");
    let listed = b.api().get("/api/v1/licences").expect(200).json();
    assert_eq!(listed["items"][0]["id"], master.as_str());
    assert_eq!(listed["items"][0]["state"], "active");
    let _ = b
        .api()
        .create("/api/v1/terminals", &terminal("made-on-b", 12));

    // Whoever removes it has it removed, whatever the other one still has; a later activation counts anew.
    b.api()
        .delete(&format!("/api/v1/licences/{master}"))
        .expect(204);
    b.wait_for_redundancy("none");
    poll::until("a to be told", PATIENCE, || {
        (a.licensing()["agreement"] == "differs").then_some(())
    });
    is_shown(&a, "differs");
    assert_eq!(b.licensing()["mode"], "none");
    let again = vendor.activate(&master, &both.each_ref().map(String::as_str));
    install(&a, &again);
    b.wait_for_redundancy("enterprise");

    // Un-paired, it is for two servers that are no pair.
    assert_eq!(b.api().delete("/api/v1/sync/pairing").status, 204);
    b.wait_for_redundancy("none");
    let listed = b.api().get("/api/v1/licences").expect(200).json();
    assert_eq!(listed["items"][0]["state"], "not-paired");
    assert_eq!(b.licensing()["boots"], true);
}

#[test]
fn the_gate_answers_the_same_on_both_servers_also_when_they_are_parted_and_start_again() {
    let (mut a, mut b) = (Server::unlicensed("a"), Server::unlicensed("b"));
    let vendor = Vendor::new();
    vendor.is_trusted_by(b.site());
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let master = vendor.master("mirrored", &[("mirrored-terminal-connection", 11)]);
    let licence = vendor.activate(&master, &[&a.installation(), &b.installation()]);
    install(&b, &licence);
    // Each verifies it for itself, and a does not know this vendor yet.
    poll::until("a to be told", PATIENCE, || {
        (a.licensing()["agreement"] == "differs").then_some(())
    });
    assert_eq!(a.licensing()["licensed"], false);
    vendor.is_trusted_by(a.site());
    wait_until_agreed([&a, &b]);
    // Both show it, with both as its location; and each says who brought it.
    let both = json!([a.installation(), b.installation()]);
    for (server, by) in [(&a, "partner"), (&b, "key script")] {
        server.wait_for_redundancy("mirrored");
        let listed = server.api().get("/api/v1/licences").expect(200).json();
        let shown = &listed["items"][0];
        assert_eq!(
            (&shown["state"], &shown["installations"]),
            (&json!("active"), &both)
        );
        assert_eq!(
            audited(server, &master),
            [("create".to_owned(), by.to_owned())]
        );
    }
    for number in 1..=12 {
        let body = terminal(&format!("kiosk-{number}"), number);
        let _ = a.api().create("/api/v1/terminals", &body);
    }
    let eleven: Vec<u32> = (1..=11).collect();
    for server in [&a, &b] {
        wait_until_booted(server, 12, &eleven);
    }
    let refused = refused_edit(&b);
    assert_eq!(refused["code"], "mirrored_secondary");
    let message = refused["message"].as_str().expect("a message");
    assert!(
        message.contains("made on the primary, a (127.0.0.1:"),
        "{message}"
    );

    // Parted: one administration is dead, and the other starts anew without it.
    a.kill();
    b.wait_for_state("peer-unreachable");
    b.stop();
    b.start();
    assert_eq!(b.licensing()["mode"], "mirrored");
    assert_eq!(b.licensing()["agreement"], "agrees");
    assert_eq!(refused_edit(&b)["code"], "mirrored_secondary");
    b.api().wait_until_published();
    wait_until_booted(&b, 12, &eleven);
    assert_eq!(booted(&a, 12), eleven);
    b.kill();
    a.start();
    assert_eq!(a.licensing()["mode"], "mirrored");
    let thirteenth = a
        .api()
        .create("/api/v1/terminals", &terminal("kiosk-13", 13));
    a.api().wait_until_published();
    wait_until_booted(&a, 13, &eleven);
    assert_eq!(booted(&b, 13), eleven);
    b.start();
    poll::until("the thirteenth on b", PATIENCE, || b.terminal(&thirteenth));
    b.api().wait_until_published();
    wait_until_booted(&b, 13, &eleven);
}

#[test]
fn of_licences_that_each_server_has_for_itself_the_smaller_count_is_in_force_on_both_and_shown() {
    let (a, b, vendor) = unlicensed_pair();
    let own = |server: &Server, count| {
        let master = vendor.master("full", &[("terminal-connection", count)]);
        install(server, &vendor.activate(&master, &[&server.installation()]));
        master
    };
    let _ = own(&a, 13);
    // So far only one of the two.
    poll::until("b to be told", PATIENCE, || {
        let servers = b.licensing()["servers"].clone();
        (servers[1]["licensed"] == true).then_some(())
    });
    assert_eq!(a.licensing()["servers"][1]["licensed"], false);
    let of_b = own(&b, 11);
    let entitled = |server: &Server, count: u32| {
        poll::until(&format!("{count} seats"), PATIENCE, || {
            let licensing = server.licensing();
            (licensing["mode"] == "full" && licensing["counts"][0]["entitled"] == count)
                .then_some(licensing)
        })
    };
    for (server, here, there) in [(&a, 13, 11), (&b, 11, 13)] {
        let licensing = entitled(server, 11);
        assert_eq!(licensing["agreement"], "differs");
        let said = format!("terminal-connection: {here} on this server, {there} on the partner");
        assert!(
            licensing["differences"].to_string().contains(&said),
            "{licensing}"
        );
        // The partner has one of its own, of which there is no file here.
        assert_eq!(licensing["servers"][1]["licensed"], true);
    }
    // Each of the two gives no more than that, and both boot the same terminals.
    for (server, numbers) in [(&a, 1..=10), (&b, 11..=11), (&a, 12..=12)] {
        let made = numbers.map(|number| {
            let body = terminal(&format!("kiosk-{number}"), number);
            server.api().create("/api/v1/terminals", &body)
        });
        let made: Vec<String> = made.collect();
        for other in [&a, &b] {
            poll::until("all of them on both", PATIENCE, || {
                made.iter()
                    .all(|id| other.terminal(id).is_some())
                    .then_some(())
            });
        }
    }
    let eleven: Vec<u32> = (1..=11).collect();
    for server in [&a, &b] {
        wait_until_booted(server, 12, &eleven);
        assert_eq!(server.licensing()["waiting"], 1);
    }

    // Mended on the one that had less.
    vendor.add(&of_b, "terminal-connection", 2);
    install(&b, &vendor.activate(&of_b, &[&b.installation()]));
    let twelve: Vec<u32> = (1..=12).collect();
    for server in [&a, &b] {
        let licensing = entitled(server, 13);
        assert_eq!(licensing["agreement"], "agrees");
        wait_until_booted(server, 12, &twelve);
    }
}

#[test]
fn a_licence_for_two_says_why_it_is_inactive_while_synchronization_is_off_and_holds_again_with_it()
{
    let (a, b, vendor) = unlicensed_pair();
    let master = vendor.master("mirrored", &[("mirrored-terminal-connection", 11)]);
    let both = [a.installation(), b.installation()];
    let licence = vendor.activate(&master, &both.each_ref().map(String::as_str));
    install(&a, &licence);
    wait_until_agreed([&a, &b]);
    let inactive = |server: &Server| server.licensing()["inactive"].clone();
    for server in [&a, &b] {
        server.wait_for_redundancy("mirrored");
        assert_eq!(inactive(server), json!([]));
        assert!(!status_told(server).contains("inactive"));
    }
    let setting = "/api/v1/settings/synchronization";
    let enabled = |enabled: bool| json!({"key": "synchronization", "value": {"enabled": enabled}});
    a.api().send("PUT", setting, &enabled(false)).expect(201);
    b.wait_for_state("disabled");
    let (state, why) = (
        "no-automatic-synchronization",
        "it needs automatic synchronization: switch that on",
    );
    for server in [&a, &b] {
        server.wait_for_redundancy("none");
        let expected = json!([{"id": master, "state": state, "why": why}]);
        assert_eq!(inactive(server), expected);
        let servers = server.licensing()["servers"].clone();
        assert_eq!(
            (&servers[0]["licensed"], &servers[1]["licensed"]),
            (&json!(false), &json!(false))
        );
        let told = status_told(server);
        let line = format!("licence {master} is inactive ({state}): {why}\n");
        assert!(told.contains(&line), "{told}");
    }
    for server in [&a, &b] {
        server
            .api()
            .send("PUT", setting, &enabled(true))
            .expect(200);
    }
    for server in [&a, &b] {
        server.wait_for_redundancy("mirrored");
        assert_eq!(inactive(server), json!([]));
    }
}

#[test]
fn a_setting_lowers_what_the_licences_allow_and_a_secondary_can_switch_synchronization_on_again() {
    let (a, b) = (Server::new("a"), Server::new("b"));
    let setting = "/api/v1/settings/synchronization";
    let wanted = |value: Value| json!({"key": "synchronization", "value": value});
    let _ = pair(&a, &b);
    b.wait_for_state("in-sync");
    let one = a.api().create("/api/v1/terminals", &terminal("kiosk-1", 1));
    poll::until("the terminal on b", PATIENCE, || b.terminal(&one));
    for server in [&a, &b] {
        server.wait_for_redundancy("full");
        wait_until_booted(server, 1, &[1]);
    }
    let none = wanted(json!({"mode": "none"}));
    a.api().send("PUT", setting, &none).expect(201);
    wait_until_booted(&b, 1, &[]);
    assert_eq!(b.licensing()["boots"], false);
    assert_eq!(booted(&a, 1), [1]);
    // The secondary is changed on the primary, except that it can be switched on again.
    let full = wanted(json!({"mode": "full"}));
    assert_eq!(b.api().send("PUT", setting, &full).status, 409);
    let off = wanted(json!({"mode": "none", "enabled": false}));
    a.api().send("PUT", setting, &off).expect(200);
    b.wait_for_state("disabled");
    assert_eq!(refused_edit(&b)["code"], "mirrored_secondary");
    for server in [&a, &b] {
        server.api().send("PUT", setting, &full).expect(200);
    }
    for server in [&a, &b] {
        server.wait_for_redundancy("full");
        wait_until_booted(server, 1, &[1]);
    }
}

#[test]
fn a_replaced_server_is_activated_again_with_its_new_installation_id_and_the_pair_is_whole() {
    let (mut dead, survivor, vendor) = unlicensed_pair();
    let products = [
        ("redundant-terminal-connection", 12),
        ("instant-failover", 11),
    ];
    let master = vendor.master("full", &products);
    let activated = vendor.activate(&master, &[&dead.installation(), &survivor.installation()]);
    install(&dead, &activated);
    wait_until_agreed([&dead, &survivor]);
    let numbers: Vec<u32> = (1..=12).collect();
    for number in &numbers {
        let mut body = terminal(&format!("kiosk-{number}"), *number);
        if *number <= 11 {
            body["settings"] = json!({"instant_failover": true});
        }
        let _ = dead.api().create("/api/v1/terminals", &body);
    }
    wait_until_booted(&survivor, 12, &numbers);

    // It is lost for good. Nothing ends on the other one, un-paired or not; there is only nothing new.
    dead.kill();
    dead.kill_engine();
    survivor.wait_for_state("peer-unreachable");
    assert_eq!(survivor.api().delete("/api/v1/sync/pairing").status, 204);
    let waiting = survivor
        .api()
        .create("/api/v1/terminals", &terminal("kiosk-13", 13));
    survivor.api().wait_until_published();
    assert_eq!(booted(&survivor, 13), numbers);
    assert_eq!(uses_failover(&survivor, 13), numbers[..11]);

    // A new machine takes its place, and is filled; it has no licence yet.
    let new = Server::unlicensed("c");
    let _ = pair(&survivor, &new);
    new.wait_for_state("in-sync");
    poll::until("the licence to be for another partner", PATIENCE, || {
        let warnings = survivor.licensing()["warnings"].to_string();
        warnings.contains("is for another partner").then_some(())
    });
    assert!(new.terminal(&waiting).is_some());
    assert_eq!(booted(&survivor, 13), numbers);
    assert_eq!(new.status()["role"], "primary", "that of the dead one");

    // Its Installation ID goes into a new activation. What was for the dead one is nothing to it.
    vendor.is_trusted_by(new.site());
    let stale = json!({"licence": activated});
    let refused = new.api().send("POST", "/api/v1/licences", &stale);
    assert_eq!(refused.expect(422).json()["code"], "licence_refused");
    let told = &survivor.licensing()["servers"];
    assert_eq!(told[1]["installation"], new.installation());
    vendor.add(&master, "redundant-terminal-connection", 1);
    let again = vendor.activate(&master, &[&survivor.installation(), &new.installation()]);
    install(&new, &again);
    wait_until_agreed([&survivor, &new]);
    let all: Vec<u32> = (1..=13).collect();
    for server in [&survivor, &new] {
        server.wait_for_redundancy("full");
        wait_until_booted(server, 13, &all);
        let licensing = server.licensing();
        assert_eq!(licensing["warnings"], json!([]));
        assert_eq!(licensing["counts"][0]["used"], 13);
        assert_eq!(uses_failover(server, 13), numbers[..11]);
        let listed = server.api().get("/api/v1/licences").expect(200).json();
        let items = listed["items"].as_array().expect("items");
        assert_eq!((items.len(), &items[0]["activation"]), (1, &json!(2)));
    }
}

/// Which of the terminals from 1 to `count` are told of two live sessions.
fn uses_failover(server: &Server, count: u32) -> Vec<u32> {
    let uses = |number: &u32| {
        let name = format!("terminals/52:54:00:00:00:{number:02x}.json");
        let fetched = Fetch::new(Client::Curl, server.tftp()).run(&name);
        let file = fetched
            .content
            .and_then(|json| serde_json::from_slice(&json).ok());
        file.is_some_and(|file: Value| file["instant_failover"] == true)
    };
    (1..=count).filter(uses).collect()
}

#[test]
fn seats_that_both_servers_granted_while_they_were_parted_are_kept_and_nothing_new_until_it_is_mended()
 {
    let (mut a, mut b, vendor) = unlicensed_pair();
    let master = vendor.master("full", &[("redundant-terminal-connection", 12)]);
    let both = [a.installation(), b.installation()];
    let both = both.each_ref().map(String::as_str);
    install(&a, &vendor.activate(&master, &both));
    wait_until_agreed([&a, &b]);
    let make = |server: &Server, number| {
        let body = terminal(&format!("kiosk-{number}"), number);
        server.api().create("/api/v1/terminals", &body)
    };
    let seat = |server: &Server, id: &str| {
        server.terminal(id).expect("it is there")["seat"]["state"].clone()
    };
    let ids: Vec<String> = (1..=11).map(|number| make(&a, number)).collect();
    poll::until("the last terminal on b", PATIENCE, || b.terminal(&ids[10]));

    // Parted. Each gives the last seat that it knows of, and no more.
    b.stop();
    let of_a = [12, 13].map(|number| make(&a, number));
    a.api().wait_until_published();
    assert_eq!(of_a.each_ref().map(|id| seat(&a, id)), ["held", "waiting"]);
    a.stop();
    b.start();
    let of_b = [14, 15].map(|number| make(&b, number));
    b.api().wait_until_published();
    assert_eq!(of_b.each_ref().map(|id| seat(&b, id)), ["held", "waiting"]);

    // Healed: who holds a seat boots, from both; what is too much is shown on both.
    a.start();
    let held: Vec<u32> = (1..=12).chain([14]).collect();
    let counts = |used: u32, excess: u32| json!({"product": "terminal", "entitled": 12, "used": used, "excess": excess});
    for server in [&a, &b] {
        server.wait_for_state("in-sync");
        wait_until_booted(server, 15, &held);
        let licensing = server.licensing();
        assert_eq!(licensing["counts"][0], counts(13, 1));
        assert_eq!(licensing["waiting"], 2);
    }
    // Neither new seats nor the one that becomes free: that only mends it.
    let new = make(&b, 16);
    assert_eq!(seat(&b, &new), "waiting");
    let give = |server: &Server, id: &str| {
        let path = format!("/api/v1/terminals/{id}/seat");
        server.api().send("PUT", &path, &json!({}))
    };
    assert_eq!(give(&a, &of_a[1]).expect(409).json()["code"], "no_seat");
    a.api()
        .delete(&format!("/api/v1/terminals/{}", ids[0]))
        .expect(204);
    let held: Vec<u32> = (2..=12).chain([14]).collect();
    for server in [&a, &b] {
        wait_until_booted(server, 16, &held);
        assert_eq!(server.licensing()["counts"][0], counts(12, 0));
    }

    // Mended: whoever waits boots, from both, with no restart; and both have given the same seats.
    vendor.add(&master, "redundant-terminal-connection", 2);
    install(&b, &vendor.activate(&master, &both));
    let held: Vec<u32> = (2..=15).collect();
    for server in [&a, &b] {
        wait_until_booted(server, 16, &held);
    }
    for server in [&a, &b] {
        server.wait_for_state("in-sync");
        assert_eq!(seat(server, &new), "waiting");
        assert_eq!(server.licensing()["counts"][0]["excess"], 0);
    }
}
