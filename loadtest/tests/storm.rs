//! Whole storms of a scenario against servers in the same process, their reports, and what shares make of them.

mod responder;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use daybreak_loadtest::arrival::Part;
use daybreak_loadtest::plan::Plan;
use daybreak_loadtest::run::{self, Found};
use daybreak_loadtest::scenario::{Changes, Scenario};
use daybreak_loadtest::storm::html;
use daybreak_loadtest::storm::merge::{CannotMerge, merge};
use daybreak_loadtest::storm::report::StormReport;
use daybreak_loadtest::timeline::Timeline;
use daybreak_loadtest::watch::{Nobody, Verdict, Watch};
use responder::Responder;
use serde_json::{Value, json};

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 % 251) as u8).collect()
}

/// A server that has what [`SCENARIO`] asks for: line B has three terminals with a configuration each.
fn server() -> Responder {
    let (program, kernel) = (content(3000), content(40_000));
    let mut files = vec![("boot", &program[..]), ("kernel", &kernel)];
    let configurations = ["cfg/1", "cfg/2", "cfg/3", "cfg/4", "cfg/5"];
    files.extend(configurations.map(|name| (name, name.as_bytes())));
    Responder::start(&files)
}

/// An address where nothing answers, as long as the socket lives.
fn dead() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

const SCENARIO: &str = r#"
    title = "two <lines>"
    seed = 7
    deadline_s = 30
    server = [
        { name = "primary", address = "127.0.0.1:1" },
        { name = "secondary", address = "127.0.0.1:1" },
    ]

    [[file_set]]
    name = "A"
    boot = [
        { role = "boot-program", name = "boot" },
        { role = "configuration", name = "01-{mac}", optional = true },
        { role = "kernel", name = "kernel" },
    ]

    [[file_set]]
    name = "B"
    boot = [{ role = "configuration", name = "cfg/{n}" }, { role = "kernel", name = "kernel" }]

    [[fleet]]
    name = "line A"
    profile = "uefi"
    clients = 20
    files = "A"
    timeout_s = 0.05
    tries = 2
    loss = 0.0

    [[fleet]]
    name = "line B"
    profile = "ipxe"
    clients = 5
    files = "B"
    servers = ["secondary", "primary"]
    arrival = { rack_clients = 2, every_s = 0.05 }
"#;

fn scenario(text: &str) -> Scenario {
    Scenario::parse(text.to_owned(), Path::new("storm.toml")).unwrap()
}

fn plan(scenario: &Scenario, servers: [SocketAddr; 2], part: Part) -> Plan {
    let [primary, secondary] = servers;
    let servers = vec![
        ("primary".to_owned(), primary),
        ("secondary".to_owned(), secondary),
    ];
    let changes = Changes {
        servers,
        part,
        ..Changes::default()
    };
    scenario.plan(&changes).unwrap()
}

fn report(scenario: &Scenario, plan: &Plan, found: &Found, started_unix_ms: u64) -> StormReport {
    StormReport::new(plan, &scenario.blake3(), found, started_unix_ms, &[])
}

fn storm(text: &str, servers: [SocketAddr; 2], part: Part) -> StormReport {
    let scenario = scenario(text);
    let plan = plan(&scenario, servers, part);
    let found = run::run(&plan, &mut Nobody).unwrap();
    report(&scenario, &plan, &found, 1000)
}

/// Reports, by the names that errors call them.
type Named = Vec<(String, StormReport)>;

fn shares(of: u32, servers: [SocketAddr; 2]) -> Named {
    let share = |first| {
        let report = storm(SCENARIO, servers, Part { first, of });
        (format!("share {}", first + 1), report)
    };
    (0..of).map(share).collect()
}

#[test]
fn every_fleet_boots_its_own_files_from_its_own_first_server() {
    let (primary, secondary) = (server(), server());
    let report = storm(SCENARIO, [primary.address, secondary.address], Part::WHOLE);
    let total = &report.total;
    assert_eq!((total.planned, total.completed, total.failed), (25, 25, 0));
    assert_eq!(total.served, [20, 5]);
    assert_eq!(total.bytes, 20 * 43_000 + 5 * 40_005);
    assert_eq!(
        total.absent_files, 20,
        "nobody of line A has a file of its own"
    );
    let [a, b] = &report.fleets[..] else {
        panic!("two fleets");
    };
    assert_eq!((&*a.profile, a.outcome.completed), ("edk2", 20));
    assert_eq!(
        (&*b.profile, b.outcome.served.clone()),
        ("ipxe", vec![0, 5])
    );
    assert_eq!(total.booted_at[1].count(), 5);
    let last = total.booted_at[1].bins().last().unwrap().0;
    assert!(last > 0.1, "the third rack is powered on after 0.1 s");
    assert!(b.outcome.completion_ms.quantiles.max < 100.0 + last * 1000.0);
    let kernel = report
        .files
        .iter()
        .find(|file| file.name == "kernel")
        .unwrap();
    let hash = blake3::hash(&content(40_000)).to_hex();
    assert_eq!(kernel.blake3.as_deref(), Some(hash.as_str()));
    let own = report
        .files
        .iter()
        .find(|file| file.name == "cfg/{n}")
        .unwrap();
    assert_eq!((own.bytes, &own.blake3), (5, &None));
    assert_eq!(
        report.files.len(),
        4,
        "the kernel of both fleets is one file"
    );
}

#[test]
fn the_report_says_who_moved_and_what_it_cost_them() {
    let alive = server();
    let (_socket, dead) = dead();
    let report = storm(SCENARIO, [dead, alive.address], Part::WHOLE);
    let total = &report.total;
    assert_eq!((total.completed, total.served.clone()), (25, vec![0, 25]));
    assert_eq!((total.moved(), total.failovers), (20, 20));
    let waited = &total.moved_waited_ms.quantiles;
    assert!(waited.min >= 99.0, "two waits of 50 ms: {waited:?}");
    assert!(total.moved_completion_ms.quantiles.min >= waited.min);
    assert_eq!(report.fleets[1].outcome.moved(), 0);
    let text = report.to_string();
    assert!(text.contains("moved       20 booted from another server, after 20 moves"));
}

#[test]
fn shares_of_a_scenario_merge_to_the_whole() {
    let (primary, secondary) = (server(), server());
    let servers = [primary.address, secondary.address];
    let whole = storm(SCENARIO, servers, Part::WHOLE);
    let mut parts = shares(3, servers);
    let planned: Vec<u32> = parts.iter().map(|(_, each)| each.total.planned).collect();
    assert_eq!(planned, [9, 8, 8]);
    parts.rotate_left(1);
    for (_, part) in &mut parts {
        let text = serde_json::to_string(part).unwrap();
        *part = serde_json::from_str(&text).unwrap();
    }
    let sum = merge(parts).unwrap();
    assert_eq!((sum.share.parts.clone(), sum.share.of), (vec![1, 2, 3], 3));
    let counted = |report: &StormReport| {
        let count = |outcome: &daybreak_loadtest::storm::report::Outcome| {
            (
                [
                    outcome.planned,
                    outcome.started,
                    outcome.completed,
                    outcome.failed,
                ],
                [outcome.bytes, outcome.absent_files, outcome.failovers],
                outcome.served.clone(),
                outcome.completion_ms.quantiles.count,
                outcome.time_to_first_data_ms.quantiles.count,
                outcome.booted_at.iter().map(Timeline::count).sum::<u64>(),
            )
        };
        let fleets = report.fleets.iter().map(|fleet| count(&fleet.outcome));
        (
            count(&report.total),
            fleets.collect::<Vec<_>>(),
            report.files.clone(),
        )
    };
    assert_eq!(counted(&sum), counted(&whole));
    assert_eq!(sum.generators.len(), 3);
}

#[test]
fn a_merged_histogram_is_exactly_that_of_all_clients() {
    let alive = server();
    let parts = shares(2, [alive.address; 2]);
    let mut micros: Vec<(u64, u64)> = Vec::new();
    for (_, part) in &parts {
        for (value, count) in &part.total.completion_ms.micros {
            match micros.iter_mut().find(|(known, _)| known == value) {
                Some((_, sum)) => *sum += count,
                None => micros.push((*value, *count)),
            }
        }
    }
    micros.sort_unstable();
    let max = parts
        .iter()
        .map(|(_, part)| part.total.completion_ms.quantiles.max);
    let max = max.fold(0.0_f64, f64::max);
    let sum = merge(parts).unwrap();
    assert_eq!(sum.total.completion_ms.micros, micros);
    assert!((sum.total.completion_ms.quantiles.max - max).abs() < 1e-9);
}

#[test]
fn a_share_that_started_later_is_counted_from_the_first_start() {
    let alive = server();
    let mut parts = shares(2, [alive.address; 2]);
    parts[1].1.started_unix_ms += 2000;
    let end = |report: &StormReport| {
        let bins = report.total.booted_at.iter().flat_map(Timeline::bins);
        bins.fold(0.0_f64, |max, (end, _)| max.max(end))
    };
    let (later, elapsed) = (end(&parts[1].1), parts[1].1.elapsed_s);
    parts.reverse();
    let sum = merge(parts).unwrap();
    assert!((end(&sum) - later - 2.0).abs() < 1e-6);
    assert!((sum.elapsed_s - elapsed - 2.0).abs() < 1e-6);
    assert_eq!(sum.started_unix_ms, 1000);
}

#[test]
fn reports_that_do_not_belong_together_are_refused() {
    let alive = server();
    let parts = shares(2, [alive.address; 2]);
    let refused = |change: &dyn Fn(&mut Named)| {
        let mut parts = parts.clone();
        change(&mut parts);
        merge(parts).unwrap_err()
    };
    assert_eq!(refused(&Vec::clear), CannotMerge::Nothing);
    let name = || "share 2".to_owned();
    assert_eq!(
        refused(&|parts| parts[1].1.schema = 9),
        CannotMerge::Schema(name(), 9)
    );
    assert_eq!(
        refused(&|parts| parts[1].1.scenario.seed = 9),
        CannotMerge::Scenario(name(), "share 1".to_owned())
    );
    assert_eq!(
        refused(&|parts| parts[1] = ("share 2".to_owned(), parts[0].1.clone())),
        CannotMerge::Twice(name(), 1)
    );
    assert_eq!(
        refused(&|parts| parts[1].1.files[0].blake3 = Some("00".to_owned())),
        CannotMerge::Content(name(), "boot".to_owned(), "share 1".to_owned())
    );
    assert_eq!(
        refused(&|parts| parts[1].1.total.served.clear()),
        CannotMerge::Shape(name())
    );
}

/// Ends the run as soon as somebody has booted.
struct Impatient;

impl Watch for Impatient {
    fn look(
        &mut self,
        _: std::time::Duration,
        seen: &daybreak_loadtest::progress::Snapshot,
    ) -> Verdict {
        if seen.booted() > 0 {
            Verdict::Stop
        } else {
            Verdict::GoOn
        }
    }
}

#[test]
fn a_run_that_is_ended_early_reports_what_it_has() {
    let alive = server();
    let text = SCENARIO.replace("rack_clients = 2, every_s = 0.05", "start_s = 20");
    let scenario = scenario(&text);
    let plan = plan(&scenario, [alive.address; 2], Part::WHOLE);
    let found = run::run(&plan, &mut Impatient).unwrap();
    let report = report(&scenario, &plan, &found, 0);
    let total = &report.total;
    assert!(report.interrupted && report.elapsed_s < 15.0);
    assert_eq!(
        (total.completed, total.failed, total.unfinished),
        (20, 0, 5)
    );
    assert!(
        report
            .to_string()
            .contains("ended early: 5 clients were not done")
    );
}

fn schema() -> (boon::Schemas, boon::SchemaIndex) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/schema/storm-report.schema.json"
    );
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
    compiler
        .add_resource("storm-report.schema.json", schema)
        .unwrap();
    let index = compiler
        .compile("storm-report.schema.json", &mut schemas)
        .unwrap();
    (schemas, index)
}

#[test]
fn the_json_is_what_the_schema_says() {
    let (schemas, index) = schema();
    let alive = server();
    let (_socket, dead) = dead();
    let moved = storm(SCENARIO, [dead, alive.address], Part::WHOLE);
    let missing = SCENARIO.replace("name = \"kernel\"", "name = \"not there\"");
    let failed = storm(&missing, [alive.address; 2], Part::WHOLE);
    assert_eq!(failed.total.failures["error-1"], 25);
    let merged = merge(shares(2, [alive.address; 2])).unwrap();
    let mut local = merged.clone();
    local.server_processes = vec![daybreak_loadtest::storm::report::ServerProcess {
        pid: 7,
        name: "server".to_owned(),
        cpu_s: 0.5,
        memory_bytes_max: 1 << 20,
    }];
    for report in [&moved, &failed, &merged, &local] {
        let value = serde_json::to_value(report).unwrap();
        if let Err(error) = schemas.validate(&value, index) {
            panic!("{error:#}");
        }
    }
    // It is as strict as it looks.
    let value = serde_json::to_value(&local).unwrap();
    for (pointer, wrong) in [
        ("/schema", json!(2)),
        ("/total/completed", json!(-1)),
        ("/fleets/0/outcome/completion_ms/micros/0", json!([1])),
        ("/files/0/role", json!("thing")),
        ("/generators/0", json!({})),
        ("/server_processes/0/pid", json!("7")),
    ] {
        let mut value = value.clone();
        *value.pointer_mut(pointer).expect(pointer) = wrong;
        assert!(schemas.validate(&value, index).is_err(), "{pointer}");
    }
    let mut more = value.clone();
    more["total"]["surprise"] = json!(1);
    assert!(schemas.validate(&more, index).is_err(), "an unknown field");
}

/// Whether tags are closed in order, and attributes quoted: what a page needs to be XML, without a parser for it.
fn well_formed(page: &str) -> Result<(), String> {
    let mut open = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").ok_or("no doctype")?;
    while let Some(at) = rest.find('<') {
        if rest[..at].contains('>') && open.last() != Some(&"style") {
            return Err(format!("a bare > in {:?}", &rest[..at]));
        }
        let end = rest[at..].find('>').ok_or("an open tag at the end")? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if tag.matches('"').count() % 2 != 0 || tag.contains('<') {
            return Err(format!("<{tag}>"));
        }
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap_or_default());
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("{open:?} are not closed"))
    }
}

#[test]
fn the_page_is_well_formed_complete_in_itself_and_holds_the_numbers() {
    let alive = server();
    let (_socket, dead) = dead();
    let mut report = storm(SCENARIO, [dead, alive.address], Part::WHOLE);
    report.fleets[0].name = "<script>alert(\"&\")</script>".to_owned();
    let page = html::page(&report);
    if let Ok(path) = std::env::var("STORM_PAGE") {
        std::fs::write(path, &page).unwrap();
    }
    well_formed(&page).unwrap();
    assert!(well_formed("<!DOCTYPE html><a><b></a></b>").is_err());
    for outside in ["<script", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let total = &report.total;
    let boot = &total.completion_ms.quantiles;
    for number in [
        "two &lt;lines&gt;".to_owned(),
        "25 of 25".to_owned(),
        "20 clients went on to another server, 20 times in all".to_owned(),
        format!("{:.1} ms", boot.p50),
        format!("{:.1} ms", boot.max),
        alive.address.to_string(),
        total.bytes.to_string()[..1].to_owned(),
        report.files[0].blake3.clone().unwrap(),
    ] {
        assert!(page.contains(&number), "{number}");
    }
    assert_eq!(
        page.matches("<svg").count(),
        4,
        "nobody failed, so three of time and one of servers"
    );
    let missing = SCENARIO.replace("name = \"kernel\"", "name = \"not there\"");
    let failed = html::page(&storm(&missing, [alive.address; 2], Part::WHOLE));
    well_formed(&failed).unwrap();
    assert!(failed.contains(">error-1<") && failed.contains("path class=\"line bad\""));
}

#[test]
fn the_sample_scenarios_are_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let plan = Scenario::read(&path)
                .unwrap()
                .plan(&Changes::default())
                .unwrap();
            assert!(plan.clients > 0);
            read += 1;
        }
    }
    assert!(read >= 2);
}
