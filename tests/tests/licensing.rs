//! The boot gate on the real programs: who holds no seat is refused and told why, and boots as soon as there is one.

#[path = "licensing/site.rs"]
mod activation_site;

use std::time::Duration;

use daybreak_admin::licensing::InstallationId;
use daybreak_admin::object::NodeId;
use daybreak_tests::administration::Api;
use daybreak_tests::client::{Client, Fetch};
use daybreak_tests::clock::MovedClock;
use daybreak_tests::poll;
use daybreak_tests::raw::RawClient;
use daybreak_tests::site::{Engine, Site};
use daybreak_tests::vendor::Vendor;
use daybreak_tests::vm::{Firmware, Lan, MAC, SERVER};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// A machine boots slowly on a busy processor.
const SCREEN_PATIENCE: Duration = Duration::from_secs(180);

fn mac(number: u32) -> String {
    format!("52:54:00:00:00:{number:02x}")
}

fn terminal(api: &Api<'_>, number: u32) -> String {
    let body = json!({"name": format!("kiosk-{number}"), "macs": [mac(number)]});
    api.create("/api/v1/terminals", &body)
}

fn configuration(engine: &Engine, client: Client, number: u32) -> (Option<Value>, String) {
    let name = format!("terminals/{}.json", mac(number));
    let fetched = Fetch::new(client, engine.address()).run(&name);
    let content = fetched
        .content
        .and_then(|json| serde_json::from_slice(&json).ok());
    (content, fetched.output)
}

fn script(engine: &Engine, number: u32) -> String {
    let name = format!("boot/{}.ipxe", mac(number));
    let fetched = Fetch::new(Client::Curl, engine.address()).run(&name);
    String::from_utf8(fetched.content.expect("a script")).expect("text")
}

fn wait_until_served(api: &Api<'_>, engine: &Engine) {
    api.wait_until_published();
    let generation = api.get("/api/v1/publication").expect(200).json()["generation"].clone();
    let generation = generation.as_f64().expect("a generation");
    poll::until("the catalog in service", PATIENCE, || {
        (engine.metrics().sum("daybreak_engine_catalog_generation") >= generation).then_some(())
    });
}

#[test]
fn the_eleventh_terminal_is_refused_without_a_licence_and_boots_with_one_without_a_restart() {
    let site = Site::new();
    let mut administration = site.administration(&[]);
    let mut engine = site.engine(&[]);
    let api = administration.set_up();
    let mut ids: Vec<String> = (1..=10).map(|number| terminal(&api, number)).collect();
    // The last one has much to be told.
    let servers = ["a", "b", "c", "d", "e"].map(|name| {
        let server = json!({"name": name, "address": "terminals.plant.example", "protocol": "rdp"});
        api.create("/api/v1/terminal-servers", &server)
    });
    let last =
        json!({"name": "kiosk-11", "macs": [mac(11)], "settings": {"terminal_servers": servers}});
    ids.push(api.create("/api/v1/terminals", &last));
    wait_until_served(&api, &engine);

    for number in 1..=10 {
        assert!(
            configuration(&engine, Client::Curl, number).0.is_some(),
            "{number}"
        );
    }
    // Every client shows its user the reason; curl has words of its own for the code.
    for client in [Client::TftpHpa, Client::Atftp] {
        let (content, output) = configuration(&engine, client, 11);
        assert!(content.is_none(), "{client:?}");
        assert!(
            output.contains("has no licence seat"),
            "{client:?}: {output}"
        );
    }
    assert!(configuration(&engine, Client::Curl, 11).0.is_none());
    assert!(script(&engine, 11).contains("Terminal kiosk-11 has no licence seat"));
    assert!(!script(&engine, 10).contains("licence"));
    let refused = poll::until("the event", PATIENCE, || {
        let query = format!("/api/v1/events?kind=boot-refused&terminal={}", ids[10]);
        let page = api.get(&query).expect(200).json();
        Some(page["items"].as_array()?.clone()).filter(|items| !items.is_empty())
    });
    assert_eq!(refused.len(), 1, "once, however often it asks: {refused:?}");
    assert_eq!(refused[0]["name"], "kiosk-11");
    assert!(
        engine
            .metrics()
            .sum("daybreak_engine_terminals_unseated_total")
            >= 3.0
    );

    let vendor = Vendor::new();
    vendor.is_trusted_by(&site);
    let licensing = api.get("/api/v1/licensing").expect(200).json();
    let installation = licensing["servers"][0]["installation"]
        .as_str()
        .expect("an identifier");
    let master = vendor.master("none", &[("terminal-connection", 11)]);
    let licence = vendor.activate(&master, &[installation]);
    api.send("POST", "/api/v1/licences", &json!({"licence": licence}))
        .expect(201);
    let told = poll::until("the eleventh to boot", PATIENCE, || {
        configuration(&engine, Client::Curl, 11).0
    });
    assert_eq!(told["name"], "kiosk-11");
    assert!(script(&engine, 11).contains("Nothing is chosen for terminal kiosk-11"));

    // Its seat is taken away while it boots: that is not interrupted. Then it is refused again, and a newcomer gets the seat.
    let twelfth = terminal(&api, 12);
    let own = format!("terminals/{}.json", mac(11));
    let whole = Fetch::new(Client::Curl, engine.address()).run(&own);
    let boot = RawClient::new(engine.address()).hold(&own);
    api.delete(&format!("/api/v1/terminals/{}/seat", ids[10]))
        .expect(200);
    poll::until("the twelfth to boot", PATIENCE, || {
        configuration(&engine, Client::Curl, 12).0
    });
    assert!(configuration(&engine, Client::Curl, 11).0.is_none());
    let content = boot.finish();
    assert!(content.len() > 512, "it was not whole before");
    assert_eq!(Some(content), whole.content);
    let seat = api
        .get(&format!("/api/v1/terminals/{twelfth}"))
        .expect(200)
        .json();
    assert_eq!(seat["body"]["seat"]["state"], "held");
    assert!(
        engine.is_running() && administration.is_running(),
        "nothing was restarted"
    );
}

#[test]
fn a_seat_outlives_the_licence_and_a_template_of_the_site_gives_none() {
    let site = Site::new();
    let administration = site.administration(&[]);
    let engine = site.engine(&[]);
    let api = administration.set_up();
    let own = json!({"key": "ipxe-script", "value": "#!ipxe\necho our own script\n"});
    let _ = api.create("/api/v1/settings", &own);
    let vendor = Vendor::new();
    vendor.is_trusted_by(&site);
    let licensing = api.get("/api/v1/licensing").expect(200).json();
    let installation = licensing["servers"][0]["installation"]
        .as_str()
        .expect("an identifier");
    let master = vendor.master("none", &[("terminal-connection", 11)]);
    let licence = vendor.activate(&master, &[installation]);
    api.send("POST", "/api/v1/licences", &json!({"licence": licence}))
        .expect(201);
    for number in 1..=11 {
        let _ = terminal(&api, number);
    }
    api.delete(&format!("/api/v1/licences/{master}"))
        .expect(204);
    let _ = terminal(&api, 12);
    wait_until_served(&api, &engine);
    for number in 1..=11 {
        assert!(
            configuration(&engine, Client::Curl, number).0.is_some(),
            "{number}"
        );
        assert!(script(&engine, number).contains("our own script"));
    }
    assert!(configuration(&engine, Client::Curl, 12).0.is_none());
    assert!(script(&engine, 12).contains("has no licence seat"));
    let licensing = api.get("/api/v1/licensing").expect(200).json();
    let seats = json!({"product": "terminal", "entitled": 10, "used": 11, "excess": 1});
    assert_eq!(
        (&licensing["counts"][0], &licensing["waiting"]),
        (&seats, &json!(1))
    );
}

#[test]
fn an_expiry_a_clock_set_back_and_a_lost_file_refuse_nobody_who_holds_a_seat_and_are_warned_of() {
    let site = Site::new();
    let clock = MovedClock::ahead(0);
    let administration = site.administration_by(&clock, "127.0.0.1:0", &[]);
    let engine = site.engine(&[]);
    let api = administration.set_up();
    let vendor = Vendor::new();
    vendor.is_trusted_by(&site);
    let licensing = || api.get("/api/v1/licensing").expect(200).json();
    let installation = licensing()["servers"][0]["installation"].clone();
    let installation = installation.as_str().expect("an identifier").to_owned();
    let master = vendor.ending("none", &[("terminal-connection", 11)], 300);
    let licence = vendor.activate(&master, &[&installation]);
    api.send("POST", "/api/v1/licences", &json!({"licence": licence}))
        .expect(201);
    let ids: Vec<String> = (1..=11).map(|number| terminal(&api, number)).collect();
    let waiting = terminal(&api, 12);
    wait_until_served(&api, &engine);
    let booted = || -> Vec<u32> {
        let boots = |number: &u32| configuration(&engine, Client::Curl, *number).0.is_some();
        (1..=12).filter(boots).collect()
    };
    let holders: Vec<u32> = (1..=11).collect();
    let looked_at = || {
        // Every few seconds, and after every change.
        let group = api.create("/api/v1/terminal-groups", &json!({"name": "look"}));
        api.delete(&format!("/api/v1/terminal-groups/{group}"))
            .expect(204);
    };
    let wait_for_warning = |part: &str| {
        looked_at();
        poll::until(part, PATIENCE, || {
            let warnings = licensing()["warnings"].to_string();
            warnings.contains(part).then_some(())
        });
        let metrics = api.get("/metrics").expect(200).body;
        assert!(!metrics.contains("daybreak_admin_licence_warnings 0"));
    };
    let seats = |entitled: u32, used: u32| {
        let counts = licensing()["counts"][0].clone();
        assert_eq!(
            (&counts["entitled"], &counts["used"]),
            (&json!(entitled), &json!(used))
        );
    };
    // What an answer goes by was made after what went before.
    let served_later = || {
        looked_at();
        wait_until_served(&api, &engine);
    };
    assert_eq!(booted(), holders);
    assert_eq!(licensing()["warnings"], json!([]));

    clock.set(290);
    wait_for_warning("expires in");
    // Its time is over: nothing new, and nothing less.
    clock.set(301);
    wait_for_warning("has expired: terminals that hold a seat boot on");
    wait_for_warning("the clock is 301 days ahead");
    seats(10, 11);
    served_later();
    assert_eq!(booted(), holders);
    api.delete(&format!("/api/v1/terminals/{}/seat", ids[10]))
        .expect(200);
    let give = |id: &str| {
        let path = format!("/api/v1/terminals/{id}/seat");
        api.send("PUT", &path, &json!({})).status
    };
    assert_eq!((give(&ids[10]), give(&waiting)), (409, 409));

    // It was the clock: put right, the licence holds again, and who waits boots.
    clock.set(0);
    looked_at();
    let holders: Vec<u32> = (1..=10).chain([12]).collect();
    poll::until("the licence to hold again", PATIENCE, || {
        (booted() == holders).then_some(())
    });
    assert_eq!(licensing()["warnings"], json!([]));
    seats(11, 11);
    // Behind, it is warned of; a licence that holds goes on.
    clock.set(-3);
    wait_for_warning("days behind what it was");
    seats(11, 11);
    served_later();
    assert_eq!(booted(), holders);

    let file = site.data().join(format!("keys/licences/{master}.licence"));
    std::fs::remove_file(&file).expect("it is there");
    wait_for_warning("is gone: install it again");
    seats(10, 11);
    served_later();
    assert_eq!(booted(), holders);
    // Somebody finds it again.
    std::fs::write(&file, &licence).expect("own folder");
    looked_at();
    poll::until("the licence to hold again", PATIENCE, || {
        (licensing()["counts"][0]["entitled"] == 11).then_some(())
    });
}

#[test]
fn a_terminal_that_nobody_saw_for_the_days_of_the_setting_makes_room_for_one_that_waits() {
    let site = Site::new();
    // Forty days ago.
    let clock = MovedClock::ahead(-40);
    let administration = site.administration_by(&clock, "127.0.0.1:0", &[]);
    let engine = site.engine(&[]);
    let api = administration.set_up();
    let vendor = Vendor::new();
    vendor.is_trusted_by(&site);
    let key = api.key().expect("a key").to_owned();
    let days = json!({"key": "seat-days", "value": 30});
    let _ = api.create("/api/v1/settings", &days);
    let ids: Vec<String> = (1..=11).map(|number| terminal(&api, number)).collect();
    wait_until_served(&api, &engine);
    // All but the tenth boot today, by the engine's clock.
    for number in 1..=9 {
        assert!(configuration(&engine, Client::Curl, number).0.is_some());
    }
    assert!(configuration(&engine, Client::Curl, 11).0.is_none());
    for id in &ids[..9] {
        poll::until("the boot to be seen", PATIENCE, || {
            let events = api
                .get(&format!("/api/v1/events?terminal={id}"))
                .expect(200);
            let events = events.json();
            events["items"]
                .as_array()
                .filter(|items| !items.is_empty())
                .map(drop)
        });
    }

    // Without power for forty days. A clock that is so far ahead of what it was is not believed, before a vendor says the time.
    assert!(administration.terminate(PATIENCE).success());
    clock.set(0);
    let administration = site.administration_by(&clock, "127.0.0.1:0", &[]);
    let api = administration.with_key(&key);
    let licensing = api.get("/api/v1/licensing").expect(200).json();
    let installation = licensing["servers"][0]["installation"].clone();
    let master = vendor.master("none", &[("terminal-connection", 10)]);
    let licence = vendor.activate(&master, &[installation.as_str().expect("an identifier")]);
    api.send("POST", "/api/v1/licences", &json!({"licence": licence}))
        .expect(201);
    let tenth = format!("/api/v1/terminals/{}", ids[9]);
    poll::until("the eleventh to boot", PATIENCE, || {
        configuration(&engine, Client::Curl, 11).0
    });
    assert!(configuration(&engine, Client::Curl, 10).0.is_none());
    for number in 1..=9 {
        assert!(configuration(&engine, Client::Curl, number).0.is_some());
    }
    assert_eq!(
        api.get(&tenth).expect(200).json()["body"]["seat"]["state"],
        "waiting"
    );
    // It is back, and boots as soon as somebody makes room.
    api.delete(&format!("/api/v1/terminals/{}", ids[0]))
        .expect(204);
    poll::until("the tenth to boot", PATIENCE, || {
        configuration(&engine, Client::Curl, 10).0
    });
}

#[test]
fn the_command_line_says_who_this_is_and_installs_lists_and_removes_with_and_without_an_administration()
 {
    let site = Site::new();
    let administration = site.administration(&[]);
    let api = administration.set_up();
    let licensing = api.get("/api/v1/licensing").expect(200).json();
    let installation = licensing["servers"][0]["installation"]
        .as_str()
        .expect("an identifier")
        .to_owned();
    administration.terminate(PATIENCE);

    let admin = |args: &[&str]| {
        let output = site.admin(args);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    assert_eq!(admin(&["installation-id"]).1.trim(), installation);
    let vendor = Vendor::new();
    let master = vendor.master("none", &[("terminal-connection", 25)]);
    let file = site.source(
        "plant.licence",
        vendor.activate(&master, &[&installation]).as_bytes(),
    );
    let file = file.to_str().expect("a plain path");
    let (code, _, refused) = admin(&["licence", "install", file]);
    assert!(
        code == Some(1) && refused.contains("which is not known here"),
        "{refused}"
    );
    let key = vendor.key().to_str().expect("a plain path").to_owned();
    assert_eq!(admin(&["licence", "trust", &key]).0, Some(0));
    let (code, told, error) = admin(&["licence", "install", file]);
    assert!(
        code == Some(0) && told.contains("is installed: in force"),
        "{told} {error}"
    );
    assert!(
        admin(&["licence", "list"])
            .1
            .contains("25 terminal-connection")
    );
    assert!(
        admin(&["licence", "status"])
            .1
            .contains("terminal: 0 of 25")
    );
    // A machine can fill any memory with a file; it is read no further than a licence may be.
    let long = site.source("long", b"");
    std::fs::File::options()
        .write(true)
        .open(&long)
        .expect("open")
        .set_len(1 << 30)
        .expect("sparse");
    let (code, _, refused) = admin(&["licence", "install", long.to_str().expect("a plain path")]);
    assert!(
        code == Some(1) && refused.contains("longer than"),
        "{refused}"
    );
    assert_eq!(admin(&["licence", "remove", &master]).0, Some(0));
    assert!(
        admin(&["licence", "status"])
            .1
            .contains("terminal: 0 of 10")
    );
}

#[test]
fn an_activation_asks_for_as_many_installation_ids_as_the_licence_needs_and_again_after_a_mistake()
{
    const ONE: &str = "Installation ID: ";
    const SECOND: &str = "Installation ID of the second server: ";
    const PERHAPS: &str = "Installation ID of the second server (empty: one server): ";
    let vendor = Vendor::new();
    let ids = [1, 2].map(|store| {
        let store = NodeId::from_random([store; 8]);
        InstallationId::derive("machine", store).to_string()
    });
    let [a, b] = ids.each_ref().map(String::as_str);
    let mut wrong = a.to_owned();
    let last = if a.ends_with('0') { "1" } else { "0" };
    wrong.replace_range(wrong.len() - 1.., last);
    // As it is read out over the telephone.
    let spoken = b.replace('-', " ").to_lowercase();
    for (redundancy, typed, asked, servers) in [
        ("none", vec![a], vec![ONE], vec![a]),
        ("mirrored", vec![a, &spoken], vec![ONE, SECOND], vec![a, b]),
        (
            "enterprise",
            vec![&wrong, "", a, b],
            vec![ONE, ONE, ONE, SECOND],
            vec![a, b],
        ),
        ("full", vec![a, ""], vec![ONE, PERHAPS], vec![a]),
        ("full", vec![a, b], vec![ONE, PERHAPS], vec![a, b]),
    ] {
        let master = vendor.master(redundancy, &[]);
        let (licence, said) = vendor.activate_typed(&master, &typed);
        let prompts = said.matches("Installation ID: ").count()
            + said.matches("server: ").count()
            + said.matches("server): ").count();
        assert_eq!(prompts, asked.len(), "{redundancy}: {said}");
        for prompt in asked {
            assert!(said.contains(prompt), "{redundancy}: {said}");
        }
        let named = ids.iter().filter(|id| licence.contains(*id));
        assert_eq!(named.collect::<Vec<_>>(), servers, "{redundancy}");
    }
}

#[test]
#[ignore = "long: make test-long"]
fn a_machine_without_a_seat_says_so_on_its_screen_and_goes_on_when_it_has_one() {
    let lan = Lan::new(&format!("boot/{MAC}.ipxe"));
    let site = Site::inside(lan.host());
    let administration = site.administration(&[]);
    let _engine = site.engine_on(&format!("{SERVER}:69"), &[]);
    let api = administration.set_up();
    let server = json!({"name": "this", "address": SERVER.to_string()});
    let _ = api.create("/api/v1/boot-servers", &server);
    let first = terminal(&api, 1);
    for number in 2..=10 {
        let _ = terminal(&api, number);
    }
    let _ = api.create("/api/v1/terminals", &json!({"name": "late", "macs": [MAC]}));
    api.wait_until_published();

    let machine = lan.boot(&Firmware::Bios);
    machine.wait_for_console("Terminal late has no licence seat", SCREEN_PATIENCE);
    api.delete(&format!("/api/v1/terminals/{first}"))
        .expect(204);
    machine.wait_for_console("Nothing is chosen for terminal late", SCREEN_PATIENCE);
}
