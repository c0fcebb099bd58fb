//! Scenario files: what they mean, and every way in which one is refused, with the line and what to write instead.

use std::path::Path;
use std::time::Duration;

use daybreak_loadtest::arrival::{Order, Part};
use daybreak_loadtest::content::Content;
use daybreak_loadtest::plan::{ContentOf, Plan, Role};
use daybreak_loadtest::scenario::{BadScenario, Changes, Scenario};
use daybreak_tftp::wire::OptionKind;

/// Line by line, so that a test can name one.
const SCENARIO: &str = r#"seed = 3
deadline_s = 60
threads = 2
[[server]]
name = "p"
address = "127.0.0.1:69"
[[server]]
name = "s"
address = "[::1]:69"
[[file_set]]
name = "thin"
boot = [
  { role = "kernel", name = "k" },
  { name = "c/{n:3}", optional = true },
]
[[fleet]]
name = "a"
clients = 10
profile = "U-Boot"
files = "thin"
windowsize = 1
[[fleet]]
name = "b"
clients = 5
profile = "plain"
files = "thin"
servers = ["s", "p"]
arrival = { start_s = 1, rack_clients = 2, every_s = 0.5 }
loss = 0.5
timeout_s = 0.2
"#;

fn plan_of(text: &str, path: &Path, changes: &Changes) -> Result<Plan, BadScenario> {
    Scenario::parse(text.to_owned(), path)?.plan(changes)
}

fn plan(text: &str) -> Result<Plan, BadScenario> {
    plan_of(text, Path::new("plant.toml"), &Changes::default())
}

#[test]
fn a_scenario_means_what_it_says() {
    let plan = plan(SCENARIO).unwrap();
    assert_eq!(
        (plan.title.as_str(), plan.seed, plan.threads),
        ("plant", 3, 2)
    );
    assert_eq!((plan.clients, plan.concurrency), (15, 15));
    assert_eq!(plan.deadline, Duration::from_secs(60));
    let [a, b] = &plan.fleets[..] else {
        panic!("two fleets");
    };
    assert_eq!((a.first, b.first), (0, 10));
    assert_eq!((&a.servers[..], &b.servers[..]), (&[0, 1][..], &[1, 0][..]));
    assert_eq!((a.rounds, b.rounds), (10, 10));
    assert!(
        !a.profile
            .options
            .iter()
            .any(|(kind, _)| *kind == OptionKind::Windowsize)
    );
    assert_eq!(a.profile.name, "uboot");
    assert_eq!(b.profile.request.patience(), Duration::from_secs(2));
    assert_eq!(b.arrival.start, Duration::from_secs(1));
    let every = Duration::from_millis(500);
    let waves = Order::Waves {
        rack_clients: 2,
        every,
    };
    assert_eq!((a.arrival.order, b.arrival.order), (Order::AtOnce, waves));
    assert_eq!(
        (a.files[0].role, a.files[1].role),
        (Role::Kernel, Role::Other)
    );
    assert_eq!(a.files[1].name.text(0, 6), "c/007");
    assert_eq!(a.files[0].content, ContentOf::Shared(0));
    assert_eq!(
        b.files[0].content,
        ContentOf::Shared(0),
        "one name, one content"
    );
    assert!(matches!(plan.contents[1], Content::Own(_)));
}

#[test]
fn clients_arrive_in_order_and_each_belongs_to_one_part() {
    let plan = plan(SCENARIO).unwrap();
    let all: Vec<_> = plan.arrivals(Part::WHOLE).collect();
    assert_eq!(all.len(), 15);
    assert!(all.is_sorted_by_key(|client| client.at));
    let mut dealt = Vec::new();
    for first in 0..4 {
        dealt.extend(plan.arrivals(Part { first, of: 4 }));
    }
    dealt.sort_by_key(|client| (client.fleet, client.position));
    dealt.dedup();
    assert_eq!(dealt.len(), 15);
    // Two fleets of one moment take turns.
    let both = SCENARIO.replace(
        "arrival = { start_s = 1, rack_clients = 2, every_s = 0.5 }",
        "",
    );
    let both = plan_of(&both, Path::new("x"), &Changes::default()).unwrap();
    let fleets = both
        .arrivals(Part::WHOLE)
        .take(6)
        .map(|client| client.fleet);
    assert_eq!(fleets.collect::<Vec<_>>(), [0, 1, 0, 0, 1, 0]);
}

#[test]
fn the_command_line_changes_a_scenario() {
    let address = "127.0.0.1:7".parse().unwrap();
    let changes = Changes {
        servers: vec![("s".to_owned(), address)],
        threads: Some(4),
        seed: Some(9),
        part: Part { first: 1, of: 2 },
    };
    let path = Path::new("x.toml");
    let plan = plan_of(SCENARIO, path, &changes).unwrap();
    assert_eq!(
        (plan.threads, plan.seed, plan.servers[1].address),
        (4, 9, address)
    );
    assert_eq!((plan.clients, plan.all_clients_here()), (15, 7));
    let unknown = Changes {
        servers: vec![("x".to_owned(), address)],
        ..Changes::default()
    };
    let error = plan_of(SCENARIO, path, &unknown).unwrap_err();
    assert!(error.what.contains("no [[server]] named \"x\""), "{error}");
    let many = Changes {
        part: Part {
            first: 200,
            of: 201,
        },
        ..Changes::default()
    };
    let error = plan_of(SCENARIO, path, &many).unwrap_err();
    assert!(error.what.contains("fewer processes"), "{error}");
}

#[test]
fn every_refusal_names_the_line_and_what_to_write_instead() {
    let deadline = "deadline_s = 60";
    let loss = "loss = 0.5";
    let arrival = "arrival = { start_s = 1, rack_clients = 2, every_s = 0.5 }";
    let files =
        "  { role = \"kernel\", name = \"k\" },\n  { name = \"c/{n:3}\", optional = true },\n";
    let kernel = "role = \"kernel\", name = \"k\"";
    for (line, from, to, what) in [
        (2, deadline, "deadline_s = -1", "want 0 to 86400 seconds"),
        (2, deadline, "deadline_s = 0", "want more than 0 seconds"),
        (2, deadline, "deadline_s = nan", "want 0 to 86400 seconds"),
        (
            2,
            deadline,
            "deadlin_s = 60",
            "unknown field `deadlin_s`, expected one of",
        ),
        (2, deadline, "deadline_s = \"x\"", "expected f"),
        (2, deadline, "deadline_s 60", "expected"),
        (2, deadline, "concurrency = 0", "want 1 to 60000"),
        (3, "threads = 2", "threads = 0", "want 1 to 256"),
        (
            5,
            "name = \"p\"",
            "port = 1\nname = \"p\"",
            "unknown field `port`",
        ),
        (
            8,
            "name = \"s\"",
            "name = \"p\"",
            "want another name for each",
        ),
        (6, "127.0.0.1:69", "127.0.0.1", "want an address and a port"),
        (
            20,
            "name = \"thin\"",
            "name = \"fat\"",
            "no [[file_set]] is named \"thin\": want fat",
        ),
        (12, files, "", "a boot is 1 to 256 files"),
        (
            13,
            kernel,
            "role = \"x\", name = \"k\"",
            "unknown variant `x`, expected one of `boot-program`",
        ),
        (
            13,
            kernel,
            "name = \"{ip}\"",
            "`{ip}` is no placeholder: want {n}, {n:4} or {mac}",
        ),
        (
            13,
            kernel,
            "name = \"k\", blake3 = \"12\"",
            "want 64 hexadecimal digits",
        ),
        (
            13,
            kernel,
            "name = \"k\", expect = \"no such file\"",
            "paths are meant from the scenario's folder",
        ),
        (
            13,
            kernel,
            "name = \"k\", expect = \"{n}\"",
            "the name is the same for all",
        ),
        (
            13,
            kernel,
            "name = \"k\", nam = \"k\"",
            "unknown field `nam`",
        ),
        (18, "clients = 10", "clients = 0", "want 1 to 10000000"),
        (
            18,
            "clients = 10",
            "clients = 10000001",
            "want 1 to 10000000",
        ),
        (
            19,
            "U-Boot",
            "Pong",
            "profile \"Pong\": want plain, rfc1350, ipxe",
        ),
        (
            21,
            "windowsize = 1",
            "windowsize = 0",
            "want 1 to 65535 blocks",
        ),
        (
            21,
            "windowsize = 1",
            "blksize = 7",
            "want 8 to 65464 octets",
        ),
        (21, "windowsize = 1", "tries = 0", "want 1 to 65535"),
        (21, "windowsize = 1", "rounds = 0", "want 1 to 65535"),
        (
            23,
            "name = \"b\"",
            "name = \"a\"",
            "want another name for each",
        ),
        (
            27,
            "[\"s\", \"p\"]",
            "[\"s\", \"x\"]",
            "no [[server]] is named \"x\": want p, s",
        ),
        (27, "[\"s\", \"p\"]", "[]", "want the names of servers"),
        (
            28,
            arrival,
            "arrival = { rack_clients = 2 }",
            "want ramp_s alone, or rack_clients and every_s together",
        ),
        (
            28,
            arrival,
            "arrival = { ramp_s = 2, every_s = 1 }",
            "want ramp_s alone",
        ),
        (
            28,
            arrival,
            "arrival = { ramp_s = -2 }",
            "want 0 to 86400 seconds",
        ),
        (
            28,
            arrival,
            "arrival = { ramp = 2 }",
            "unknown field `ramp`, expected one of",
        ),
        (
            28,
            arrival,
            "arrival = { rack_clients = 0, every_s = 1 }",
            "want 1 to",
        ),
        (29, loss, "loss = 1.5", "1.5 is out of range: want 0 to 1"),
        (
            30,
            "timeout_s = 0.2",
            "timeout_s = 0",
            "want more than 0 seconds",
        ),
    ] {
        let text = SCENARIO.replacen(from, to, 1);
        assert_ne!(text, SCENARIO, "{from}");
        let error = plan(&text).expect_err(to);
        assert_eq!(error.line, Some(line), "{to}: {error}");
        assert!(error.what.contains(what), "{to}: {error}");
        assert!(
            error.to_string().starts_with("plant.toml, line "),
            "{error}"
        );
    }
}

#[test]
fn what_is_missing_altogether_is_asked_for() {
    for (table, what) in [
        ("server", "there is no [[server]]"),
        ("file_set", "there is no [[file_set]]"),
        ("fleet", "there is no [[fleet]]"),
    ] {
        let kept = SCENARIO
            .split("[[")
            .filter(|part| !part.starts_with(&format!("{table}]]")));
        let text = kept.collect::<Vec<_>>().join("[[");
        let error = plan(&text).unwrap_err();
        assert!(error.what.contains(what), "{error}");
    }
    let error = plan(&SCENARIO.replacen("files = \"thin\"\n", "", 1)).unwrap_err();
    assert!(error.what.contains("missing field `files`"), "{error}");
    let error = Scenario::read(Path::new("no such file.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("give the path of a scenario file"),
        "{error}"
    );
    let crowd = SCENARIO.replacen("clients = 10", "clients = 70000", 1);
    let error = plan(&crowd).unwrap_err();
    assert!(
        error.what.contains("--share") && error.what.contains("concurrency"),
        "{error}"
    );
    assert!(plan(&format!("concurrency = 100\n{crowd}")).is_ok());
}

#[test]
fn each_client_may_have_an_expected_content_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=10 {
        std::fs::write(
            folder.path().join(format!("{number}.cfg")),
            format!("terminal {number}"),
        )
        .unwrap();
    }
    let path = folder.path().join("plant.toml");
    let text = SCENARIO.replacen(
        "{ name = \"c/{n:3}\"",
        "{ name = \"c/{n:3}\", expect = \"{n}.cfg\"",
        1,
    );
    let plan = plan_of(&text, &path, &Changes::default()).unwrap();
    let content = plan.fleets[0].files[1].content;
    assert_eq!(content, ContentOf::Each(1));
    assert_eq!(plan.contents[content.client(9)].octets(), b"terminal 10");
    std::fs::remove_file(folder.path().join("7.cfg")).unwrap();
    let error = plan_of(&text, &path, &Changes::default()).unwrap_err();
    assert_eq!(error.line, Some(14));
    assert!(error.what.contains("7.cfg"), "{error}");
}
