//! What the boot gate costs: 10,000 terminals that hold seats ask for the boot script and the configuration that are their own, against
//! plain files of the same content under other names. Both kinds lie in one catalog. Rounds of both alternate in one run, each
//! before the other in turn, and each is compared with its neighbour, so that the ratio says something where the figures
//! themselves do not. Not by criterion: that cannot alternate, and a storm crosses two processes.
//!
//! ```sh
//! cargo build --release -p daybreak-engine -p daybreak-admin -p daybreak-loadtest
//! cargo bench -p daybreak-bench --bench gate
//! ```
//!
//! prints all of it, and fails if the storm of licensed terminals is slower than that of plain files by more than [`LOSS_MAX`]. It is judged
//! by when nine in ten have everything: the time of the last one differs by half among rounds of one kind. The CPU time of the engine has
//! the events of terminals in it, which plain files have fewer of. `-- N` makes N rounds.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daybreak_engine::clock::Clock;
use daybreak_engine::files::Files;
use daybreak_engine::published::Published;
use daybreak_store::{Mac, Name, Reader, StatusKey, Store, StoredTerminal};
use daybreak_tests::awake::Awake;
use daybreak_tests::site::{Engine, Site};
use daybreak_tests::{content, programs};
use daybreak_tftp::endpoint::{Host, Mode, Path, Question, SocketId};
use serde_json::Value;

const TERMINALS: u32 = 10_000;
const OWN_BYTES: usize = 2_000;
const KERNEL_BYTES: usize = 64 << 10;
const LOOK_UP_ROUNDS: usize = 41;
const STORM_ROUNDS: usize = 15;

/// By how much a storm may be slower, as a part of it: less than rounds of the same kind differ by on a quiet machine of two cores.
const LOSS_MAX: f64 = 0.05;

/// What a terminal fetches of its own.
struct Own {
    /// The folder of the boot scripts.
    script: &'static str,
    /// The folder of the configurations.
    configuration: &'static str,
}

/// Through the gate, and past it. Their names are of one length.
const LICENSED: Own = Own {
    script: "boot",
    configuration: "terminals",
};
const PLAIN: Own = Own {
    script: "some",
    configuration: "something",
};

fn main() {
    // Cargo adds `--bench`.
    let rounds = std::env::args().find_map(|arg| arg.parse().ok());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let _awake = Awake::new(cores);
    let site = Site::new();
    publish(&site);
    look_ups(&site);
    storms(&site, rounds.unwrap_or(STORM_ROUNDS));
}

/// As the load generator makes them: `{mac}`.
fn mac(number: u32) -> Mac {
    let [_, a, b, c] = number.to_be_bytes();
    Mac([0x02, 0, 0, a, b, c])
}

impl Own {
    fn names(&self, number: u32) -> [String; 2] {
        let Mac(octets) = mac(number);
        self.names_of(&octets.map(|octet| format!("{octet:02x}")).join("-"))
    }

    fn names_of(&self, mac: &str) -> [String; 2] {
        [
            format!("{}/{mac}.ipxe", self.script),
            format!("{}/{mac}.json", self.configuration),
        ]
    }
}

fn publish(site: &Site) {
    site.import("kernel", &content::octets(1, KERNEL_BYTES));
    let store = Store::open(site.data()).expect("a store");
    let mut draft = store.begin().expect("a draft");
    let own: Arc<[u8]> = content::octets(2, OWN_BYTES).into();
    let mut terminals = BTreeMap::new();
    for number in 1..=TERMINALS {
        for name in [LICENSED, PLAIN].iter().flat_map(|own| own.names(number)) {
            let name = Name::parse(name).expect("a name");
            let _ = draft.put_inline(name, Arc::clone(&own));
        }
        let stored = StoredTerminal {
            id: format!("{number:032x}").into(),
            name: format!("t{number}").into(),
            status_key: StatusKey([7; 32]),
            enabled: true,
            seated: true,
            standby: false,
        };
        terminals.insert(mac(number), stored);
    }
    draft.set_terminals(terminals);
    draft.publish().expect("published");
}

/// The engine's way from a name to a file, without a network.
fn look_ups(site: &Site) {
    let reader = Reader::open(site.data()).expect("a reader");
    let published = Arc::new(Published::new(reader.load().expect("a catalog")));
    let mut files = Files::new(published, Arc::default(), Clock::start());
    let names = [LICENSED, PLAIN].map(|own| -> Vec<String> {
        // In no order of the catalog.
        let numbers = (0..TERMINALS).map(|number| number * 7919 % TERMINALS + 1);
        numbers.flat_map(|number| own.names(number)).collect()
    });
    let path = Path {
        socket: SocketId(0),
        remote: "192.0.2.1:2000".parse().expect("an address"),
        local: None,
    };
    let mut took = [const { Vec::new() }; 2];
    for round in 0..LOOK_UP_ROUNDS {
        for kind in order(round) {
            let (names, took) = (&names[kind], &mut took[kind]);
            let started = Instant::now();
            for name in names {
                let question = Question {
                    path,
                    name: black_box(name.as_bytes()),
                    mode: Mode::Octet,
                };
                assert!(files.open(&question).is_ok(), "{name} is served");
            }
            took.push(started.elapsed() / (2 * TERMINALS));
        }
    }
    assert_eq!(files.counters().terminals_unseated, 0);
    let [licensed, plain] = took.map(median);
    println!(
        "a request, from its name to its file: {TERMINALS} terminals, two files each; median of {LOOK_UP_ROUNDS} rounds"
    );
    println!("  plain file                {plain:>8.1?}");
    println!("  terminal with a seat      {licensed:>8.1?}");
    println!(
        "  the gate                  {:>8.1?}",
        licensed.saturating_sub(plain)
    );
}

/// Which kind comes first in this round.
fn order(round: usize) -> [usize; 2] {
    [round % 2, (round + 1) % 2]
}

struct Storm {
    /// Until nine in ten clients had everything.
    most: Duration,
    /// Until the last client had everything.
    took: Duration,
    /// Of the engine.
    cpu: Duration,
    /// Of whole files, in octets each second.
    throughput: f64,
}

/// Everybody boots at once: what is their own, and the kernel. The engine has one core, and all clients the other, if there is one.
fn storms(site: &Site, rounds: usize) {
    let engine = site.engine(&["--workers", "1"]);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut pin = Command::new(programs::system("taskset"));
    pin.args(["--all-tasks", "--cpu-list", "--pid", "0"]);
    pin.arg(engine.process().pid().to_string());
    let pinned = pin.output().expect("it is installed");
    assert!(pinned.status.success(), "{pinned:?}");
    println!(
        "a storm of {TERMINALS} terminals: a boot script and a configuration of {OWN_BYTES} octets each, and a kernel of {KERNEL_BYTES}; {rounds} rounds"
    );
    let mut found = [const { Vec::new() }; 2];
    for round in 0..=rounds {
        for kind in order(round) {
            let storm = storm(site, &engine, &[LICENSED, PLAIN][kind], cores - 1);
            // The first round warms both up.
            if round > 0 {
                found[kind].push(storm);
            }
        }
    }
    let [licensed, plain] = found;
    for (called, storms) in [("plain files", &plain), ("terminals with seats", &licensed)] {
        println!(
            "  {called:<22}nine in ten {:>8.2?}  last {:>8.2?}  {:>7.1} MB/s  CPU of the engine {:>8.2?}  all {TERMINALS} finish, each round",
            median(storms.iter().map(|storm| storm.most).collect()),
            median(storms.iter().map(|storm| storm.took).collect()),
            median(storms.iter().map(|storm| storm.throughput).collect()) / 1e6,
            median(storms.iter().map(|storm| storm.cpu).collect()),
        );
    }
    let ratios = |part: fn(&Storm) -> f64| {
        let pairs = licensed.iter().zip(&plain);
        let mut ratios: Vec<f64> = pairs.map(|(one, other)| part(one) / part(other)).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        (
            ratios[0],
            ratios[ratios.len() / 2],
            ratios[ratios.len() - 1],
        )
    };
    let most = ratios(|storm| storm.most.as_secs_f64());
    let took = ratios(|storm| storm.took.as_secs_f64());
    let cpu = ratios(|storm| storm.cpu.as_secs_f64());
    println!("  seats : plain, of neighbours: least, median, most");
    for (called, (least, median, most)) in [
        ("nine in ten", most),
        ("last", took),
        ("CPU of the engine", cpu),
    ] {
        println!("    {called:<20}{least:>8.3}{median:>8.3}{most:>8.3}");
    }
    let refused = engine
        .metrics()
        .sum("daybreak_engine_terminals_unseated_total");
    assert!(
        refused == 0.0,
        "everybody holds a seat, and {refused} were refused"
    );
    assert!(
        most.1 <= 1.0 + LOSS_MAX,
        "the gate costs a storm more than it may"
    );
}

fn storm(site: &Site, engine: &Engine, own: &Own, core: usize) -> Storm {
    let [script, configuration] = own.names_of("{mac}");
    let scenario = format!(
        r#"
        [[server]]
        name = "engine"
        address = "{}"
        [[file_set]]
        name = "boot"
        boot = [
          {{ role = "boot-program", name = "{script}" }},
          {{ role = "configuration", name = "{configuration}" }},
          {{ role = "kernel", name = "kernel" }},
        ]
        [[fleet]]
        name = "terminals"
        profile = "plain"
        windowsize = 16
        clients = {TERMINALS}
        files = "boot"
        "#,
        engine.address()
    );
    let scenario = site.source(&format!("{}.toml", own.script), scenario.as_bytes());
    let mut command = programs::dying_with_test(programs::system("taskset"));
    command.args(["--cpu-list", &core.to_string()]);
    command.arg(programs::ours("daybreak-loadtest"));
    command.arg("storm").arg(scenario);
    command.args(["--no-ui", "--json", "-", "--server-pid"]);
    let output = command.arg(engine.process().pid().to_string()).output();
    let output = output.expect("the program is built");
    let error = String::from_utf8_lossy(&output.stderr);
    // It fails unless every client has every file.
    assert!(output.status.success(), "{}: {error}", own.script);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["total"]["completed"], TERMINALS);
    let number = |value: &Value| value.as_f64().expect("a number");
    let most_ms = number(&report["total"]["completion_ms"]["p90"]);
    Storm {
        most: Duration::from_secs_f64(most_ms / 1000.0),
        took: Duration::from_secs_f64(number(&report["elapsed_s"])),
        cpu: Duration::from_secs_f64(number(&report["server_processes"][0]["cpu_s"])),
        throughput: number(&report["throughput_bytes_per_s"]),
    }
}

fn median<T: PartialOrd + Copy>(mut found: Vec<T>) -> T {
    found.sort_unstable_by(|a, b| a.partial_cmp(b).expect("no number is missing"));
    found[found.len() / 2]
}
