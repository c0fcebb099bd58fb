//! Everybody boots at once: the real load generator against the real engine.
//!
//! What is asked here is that nobody fails; how fast it is, a benchmark tells.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daybreak_tests::pair::{Server, pair};
use daybreak_tests::process::Process;
use daybreak_tests::site::Site;
use daybreak_tests::{content, poll, programs};

const IMAGE_BYTES: usize = 60_000;

/// One storm at a time: each wants the whole machine.
fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn image() -> Vec<u8> {
    content::octets(1, IMAGE_BYTES)
}

fn site() -> Site {
    let site = Site::new();
    site.import("image", &image());
    site
}

/// Boots simulated clients, and expects that every one of them gets the whole file, as it was imported.
fn boot(servers: &[SocketAddr], clients: u32, args: &[&str]) {
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    let expected = tempfile::NamedTempFile::new().expect("a private file");
    std::fs::write(expected.path(), image()).expect("own file");
    let mut command = programs::dying_with_test(programs::ours("daybreak-loadtest"));
    command
        .args(["--server", &servers.join(","), "--file", "image", "--json"])
        .args(["--clients", &clients.to_string(), "--expect-file"])
        .arg(expected.path())
        .args(args);
    let output = command.output().expect("the program is built");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{args:?}\n{said}");
    assert!(
        output.status.success(),
        "{args:?}: {}\n{said}",
        output.status
    );
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("--json prints JSON");
    assert_eq!(report["clients"]["completed"], clients, "{args:?}");
    assert_eq!(report["clients"]["failed"], 0, "{args:?}");
    assert_eq!(report["completion_ms"]["count"], clients, "{args:?}");
}

#[test]
fn ten_thousand_clients_that_boot_at_once_all_get_the_file() {
    let _alone = alone();
    let site = site();
    let engine = site.engine(&[]);
    let args = ["--windowsize", "4", "--deadline", "120"];
    boot(&[engine.address()], 10_000, &args);
    let dropped = engine
        .metrics()
        .sum("daybreak_engine_kernel_receive_drops_total");
    assert!(dropped == 0.0, "{dropped} requests or ACKs dropped");
}

/// The simulated clients that can recover a lost packet at all: one that neither sends again nor answers what it
/// has had (`raspberry`) is lost with its ACK, whatever a server does.
const PATIENT_PROFILES: [&str; 7] = [
    "plain", "rfc1350", "ipxe", "edk2", "grub2", "pxelinux", "uboot",
];

#[test]
fn clients_of_every_make_boot_over_a_wire_that_loses_packets() {
    let _alone = alone();
    let site = site();
    for way in [
        &["--io", "uring"][..],
        &["--io", "portable"],
        &["--single-port"],
    ] {
        let engine = site.engine(way);
        for profile in PATIENT_PROFILES {
            let args = ["--profile", profile, "--loss", "0.02"];
            boot(&[engine.address()], 20, &args);
        }
    }
}

#[test]
fn clients_of_a_dead_server_boot_from_the_other_one() {
    let _alone = alone();
    let (first, second) = (site(), site());
    let (dead, alive) = (first.engine(&[]), second.engine(&[]));
    let address = dead.address();
    dead.kill();
    let args = ["--windowsize", "8", "--tries", "2"];
    boot(&[address, alive.address()], 200, &args);
}

/// Transfers that this server has completed.
fn served_by(server: &Server) -> f64 {
    let metrics = server.engine().metrics();
    metrics.sum("daybreak_engine_transfers_completed_total")
}

/// Clients that all have both servers of a pair in their list.
const STORM_CLIENTS: u32 = 2000;

#[test]
fn when_the_first_server_is_killed_in_mid_storm_everybody_boots_and_the_report_says_who_moved_and_what_it_cost()
 {
    let _alone = alone();
    // Slow enough to be killed halfway.
    let mut primary = Server::with_engine("a", &["--rate", "100M"]);
    let secondary = Server::new("b");
    primary.upload("image", &image());
    let _ = pair(&primary, &secondary);
    for server in [&primary, &secondary] {
        server.wait_for_state("in-sync");
        server.wait_for_redundancy("full");
        server.wait_until_served("image", &image());
    }
    let before = served_by(&primary);
    let servers = [primary.tftp(), secondary.tftp()].map(|address| address.to_string());
    let expected = tempfile::NamedTempFile::new().expect("a private file");
    std::fs::write(expected.path(), image()).expect("own file");
    let mut command = programs::dying_with_test(programs::ours("daybreak-loadtest"));
    command
        .args(["--server", &servers.join(","), "--file", "image"])
        .args(["--clients", &STORM_CLIENTS.to_string(), "--tries", "3"])
        .args(["--deadline", "180", "--each", "--json", "--expect-file"])
        .arg(expected.path());
    let mut storm = Process::start("daybreak-loadtest", command);
    let half = f64::from(STORM_CLIENTS) / 2.0;
    poll::until("half of the boots", Duration::from_secs(60), || {
        (served_by(&primary) >= before + half).then_some(())
    });
    primary.kill_engine();
    primary.kill();
    let status = storm.wait_for_exit(Duration::from_secs(200));
    let said = storm.finished_log();
    assert!(status.success(), "{status}\n{said}");
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");

    assert_eq!(report["clients"]["completed"], STORM_CLIENTS);
    assert_eq!(report["clients"]["failed"], 0);
    let served = [0, 1].map(|server| {
        report["servers"][server]["completed"]
            .as_u64()
            .expect("a count")
    });
    assert_eq!(served[0] + served[1], u64::from(STORM_CLIENTS));
    assert!(
        served[0] >= u64::from(STORM_CLIENTS) / 2 - 1 && served[1] > 0,
        "{served:?}"
    );
    // Everybody began with the first: who was served by the second has moved, and has waited for it.
    assert_eq!(report["moved_waited_ms"]["count"], served[1]);
    assert!(
        report["moved_waited_ms"]["min"].as_f64() >= Some(1000.0),
        "{said}"
    );
    assert!(
        report["moved_completion_ms"]["min"].as_f64() >= report["moved_waited_ms"]["min"].as_f64()
    );
    let boots = report["boots"].as_array().expect("each client");
    assert_eq!(boots.len(), STORM_CLIENTS as usize);
    let by_second = boots.iter().filter(|boot| boot["server"] == servers[1]);
    assert_eq!(
        by_second
            .filter(|boot| boot["waited_ms"].is_number())
            .count() as u64,
        served[1]
    );
    println!("{}", report["moved_waited_ms"]);
}

#[test]
fn the_ceiling_of_the_rate_holds_for_all_workers_together() {
    let _alone = alone();
    const BITS_PER_S: u64 = 40_000_000;
    let site = Site::new();
    site.import("image", &content::octets(1, 1 << 20));
    let engine = site.engine(&["--workers", "2", "--rate", "40M"]);
    let mut command = programs::dying_with_test(programs::ours("daybreak-loadtest"));
    command
        .args(["--server", &engine.address().to_string()])
        .args(["--file", "image", "--clients", "16", "--windowsize", "16"])
        .args(["--deadline", "60", "--json"]);
    let output = command.output().expect("the program is built");
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rate = report["throughput_bytes_per_s"].as_f64().expect("a rate") * 8.0;
    assert!(rate <= 1.05 * BITS_PER_S as f64, "{rate} bits a second");
}

/// A process that drives one of two shares of a scenario; both begin at the same moment.
fn share(scenario: &std::path::Path, number: u32, start_at: u64, engine: u32) -> Process {
    let mut command = programs::dying_with_test(programs::ours("daybreak-loadtest"));
    command
        .arg("storm")
        .arg(scenario)
        .args(["--no-ui", "--share"]);
    command.arg(format!("{number}/2"));
    command.args(["--start-at", &start_at.to_string()]);
    command.args(["--server-pid", &engine.to_string(), "--json"]);
    command.arg(scenario.with_extension(format!("{number}.json")));
    Process::start(&format!("share {number}"), command)
}

#[test]
fn processes_that_share_a_scenario_make_one_report_and_one_page() {
    let _alone = alone();
    const CLIENTS: u32 = 200;
    let site = site();
    let engine = site.engine(&[]);
    let text = format!(
        r#"
        [[server]]
        name = "engine"
        address = "{}"
        [[file_set]]
        name = "boot"
        boot = [{{ role = "kernel", name = "image" }}]
        [[fleet]]
        name = "terminals"
        profile = "ipxe"
        clients = {CLIENTS}
        files = "boot"
        "#,
        engine.address()
    );
    let scenario = site.source("storm.toml", text.as_bytes());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let start_at = now.expect("after 1970").as_secs() + 2;
    let pid = engine.process().pid();
    let mut shares = [1, 2].map(|number| share(&scenario, number, start_at, pid));
    for share in &mut shares {
        let status = share.wait_for_exit(Duration::from_secs(60));
        assert!(status.success(), "{status}");
    }
    let [json, html] = ["json", "html"].map(|kind| scenario.with_extension(kind));
    let mut merge = programs::dying_with_test(programs::ours("daybreak-loadtest"));
    merge.arg("merge").arg("--json").arg(&json);
    merge.arg("--html").arg(&html);
    merge.args([1, 2].map(|number| scenario.with_extension(format!("{number}.json"))));
    let merged = merge.output().expect("the program is built");
    assert!(merged.status.success(), "{merged:?}");

    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&json).expect("written")).expect("JSON");
    assert_eq!(report["total"]["completed"], CLIENTS);
    let schema = programs::repository().join("docs/schema/storm-report.schema.json");
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    let schema = compiler.compile(schema.to_str().expect("UTF-8"), &mut schemas);
    if let Err(error) = schemas.validate(&report, schema.expect("a schema")) {
        panic!("{error:#}");
    }
    let cpu = &report["server_processes"][0]["cpu_s"];
    assert!(cpu.as_f64() > Some(0.0), "of the engine: {cpu}");
    let page = std::fs::read_to_string(&html).expect("written");
    for chart in ["Boots over time", "How long a boot took", "Servers"] {
        assert!(page.contains(chart), "no chart of {chart}");
    }
}
