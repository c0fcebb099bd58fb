//! Which runs, in which order, and how long they will take.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use daybreak_tests::awake::Awake;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

use super::floor;
use super::network::Network;
use super::running::{self, Bench, Stop};
use super::sample::Raw;
use super::scenario::{Scenario, Way};
use super::server::{Places, Server};

/// What a run takes of which nothing is known yet.
const GUESS: Duration = Duration::from_secs(15);
/// Seconds that starting and ending a server takes.
const BETWEEN: Duration = Duration::from_millis(300);
/// A run of a peer of so long that left so many clients without their file is not repeated: it takes an hour to say the
/// same again.
const LONG: Duration = Duration::from_secs(20);
const LEFT_MIN: f64 = 0.05;
/// Clients of the run that asks whether a server knows windows.
const PROBE: &str = "c1-w16";
/// How often a server is asked that does not answer.
const PROBES: u32 = 3;

/// A comparison that goes on.
#[derive(Debug)]
pub struct Comparison {
    bench: Bench,
    scenarios: Vec<Scenario>,
    servers: Vec<Server>,
    rounds: u32,
    raw: Raw,
    /// Where the raw results go after every run.
    json: Option<PathBuf>,
    /// How long each run took the last time.
    took: BTreeMap<(String, Server), Duration>,
    /// Who is not asked again under which load.
    given_up: BTreeSet<(String, Server)>,
    /// What is served; gone with this value.
    _folder: TempDir,
}

impl Comparison {
    /// Makes the files, and a store of them.
    ///
    /// # Errors
    /// When a program is missing or the disk is full.
    pub fn prepare(
        scenarios: Vec<Scenario>,
        servers: Vec<Server>,
        rounds: u32,
        json: Option<PathBuf>,
        stop: Stop,
    ) -> Result<Comparison> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "root is needed, for private network namespaces"
        );
        let cores = thread::available_parallelism()?.get();
        ensure!(
            cores >= 2,
            "two cores are needed: one for the server, one for the clients"
        );
        // The looks at a server's memory are no load of its core.
        let mut core = CpuSet::new();
        core.set(1);
        sched_setaffinity(None, &core).context("keeping to core 1")?;
        raise_descriptors();
        let programs = std::env::current_exe()?;
        let programs = programs.parent().context("a program lies in a folder")?;
        let unpacked = programs.parent().unwrap_or(programs).join("peers/usr/sbin");
        let folder = tempfile::Builder::new()
            .prefix("daybreak-peers-")
            .tempdir()?;
        let places = Places {
            files: folder.path().join("files"),
            data: folder.path().join("data"),
            programs: programs.to_owned(),
            unpacked,
        };
        files(&places, &scenarios)?;
        Ok(Comparison {
            bench: Bench {
                places,
                logs: folder.path().to_owned(),
                stop,
            },
            scenarios,
            servers,
            rounds,
            raw: Raw {
                kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                    .trim()
                    .to_owned(),
                cores,
                ..Raw::default()
            },
            json,
            took: BTreeMap::new(),
            given_up: BTreeSet::new(),
            _folder: folder,
        })
    }

    /// Runs everything; what was found.
    ///
    /// # Errors
    /// When a server cannot be started, the generator fails, or somebody stops us.
    pub fn run(mut self) -> Result<Raw> {
        self.ask_for_windows()?;
        for at in 0..self.scenarios.len() {
            let scenario = self.scenarios[at].clone();
            let network = Network::new(scenario.way)?;
            // On the loopback the server and the clients are always at work; beside them a busy loop would only take their time.
            let _awake = (scenario.way == Way::SlowWire).then(|| Awake::new(self.raw.cores));
            for round in 1..=self.rounds {
                self.floors(&network, &scenario, round)?;
                for server in self.servers.clone() {
                    if self.runs(&scenario, server) {
                        self.one(&network, &scenario, server, round, at)?;
                    }
                }
            }
            println!("{}", super::document::section(&scenario, &self.raw));
        }
        Ok(self.raw)
    }

    fn one(
        &mut self,
        network: &Network,
        scenario: &Scenario,
        server: Server,
        round: u32,
        at: usize,
    ) -> Result<()> {
        let left = self.left(at, round, server).as_secs();
        let name = &scenario.name;
        eprint!(
            "{:>3}:{:02} left  {name} round {round}, {}",
            left / 60,
            left % 60,
            server.name()
        );
        let start = Instant::now();
        let sample = running::measure(&self.bench, network, scenario, server, round)?;
        let clients = &sample.report.clients;
        eprintln!(
            ": {} of {}, {:.1} s",
            clients.completed, scenario.clients, sample.report.elapsed_s
        );
        let took = start.elapsed();
        let left = 1.0 - f64::from(clients.completed) / f64::from(scenario.clients);
        if server.is_peer() && took > LONG && left > LEFT_MIN {
            self.given_up.insert((name.clone(), server));
        }
        self.took.insert((name.clone(), server), took + BETWEEN);
        self.raw.samples.push(sample);
        self.save()
    }

    /// One client asks each server for a window.
    fn ask_for_windows(&mut self) -> Result<()> {
        if self
            .scenarios
            .iter()
            .all(|scenario| scenario.windowsize == 1)
        {
            return Ok(());
        }
        let all = super::scenario::all();
        let probe = all
            .iter()
            .find(|scenario| scenario.name == PROBE)
            .context("in the table")?;
        let network = Network::new(Way::Loopback)?;
        files(&self.bench.places, std::slice::from_ref(probe))?;
        for server in &self.servers {
            // One that dies at its start, or loses it, is asked again.
            let mut sample = running::measure(&self.bench, &network, probe, *server, 0)?;
            for round in 1..PROBES {
                if sample.all_finished() {
                    break;
                }
                sample = running::measure(&self.bench, &network, probe, *server, round)?;
            }
            let windows = !sample.all_finished() || sample.had_windows();
            let knows = if windows { "knows" } else { "knows no" };
            eprintln!(
                "{} {knows} windowsize; one client, {:.2} s",
                server.name(),
                sample.report.elapsed_s
            );
            if !windows {
                self.raw.without_window.push(*server);
            }
        }
        Ok(())
    }

    /// The bare sender, once a round, where something is compared with it.
    fn floors(&mut self, network: &Network, scenario: &Scenario, round: u32) -> Result<()> {
        let program = self.bench.places.programs.join("peer-floor");
        for &blocks in scenario.floors() {
            for watched in [false, true] {
                self.bench.stop.check()?;
                let stop = &self.bench.stop;
                let floor = floor::measure(&program, network, blocks, watched, stop)?;
                let (how, cpu) = (floor.reader(), floor.cpu_s_per_gb);
                eprintln!(
                    "          bare sender round {round}, {blocks} blocks a send, {how}: {cpu:.2} CPU s/GB"
                );
                self.raw.floors.push(floor);
            }
        }
        self.save()
    }

    fn runs(&self, scenario: &Scenario, server: Server) -> bool {
        let asked = scenario.windowsize == 1 || !self.raw.without_window.contains(&server);
        let meant = !Server::TWO_WORKERS.contains(&server) || scenario.with_two_workers();
        asked && meant && !self.given_up.contains(&(scenario.name.clone(), server))
    }

    /// How long the rest will take, from this run on.
    fn left(&self, at: usize, round: u32, server: Server) -> Duration {
        let mut left = Duration::ZERO;
        let position = |server| self.servers.iter().position(|other| *other == server);
        for (index, scenario) in self.scenarios.iter().enumerate().skip(at) {
            for server_then in self
                .servers
                .iter()
                .filter(|other| self.runs(scenario, **other))
            {
                let rounds = if index > at {
                    self.rounds
                } else {
                    let this_one = u32::from(position(*server_then) >= position(server));
                    self.rounds - round + this_one
                };
                let took = self.took.get(&(scenario.name.clone(), *server_then));
                let wire = Duration::from_secs_f64(scenario.wire_s() * 1.5);
                let guess = match scenario.way {
                    Way::Loopback => GUESS,
                    Way::SlowWire => wire,
                };
                left += took.copied().unwrap_or(guess) * rounds;
            }
        }
        left
    }

    fn save(&self) -> Result<()> {
        let Some(path) = &self.json else {
            return Ok(());
        };
        let text = serde_json::to_string_pretty(&self.raw)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// Writes the files of the loads, as far as they are not there, and imports them into the store.
fn files(places: &Places, scenarios: &[Scenario]) -> Result<()> {
    fs::create_dir_all(&places.files)?;
    fs::create_dir_all(&places.data)?;
    for scenario in scenarios {
        let path = places.files.join(scenario.file());
        if !path.exists() {
            fs::write(&path, content(scenario.file_bytes)).context("writing what is served")?;
        }
    }
    import(&places.programs.join("daybreak-admin"), places)
}

fn import(admin: &Path, places: &Places) -> Result<()> {
    let mut command = Command::new(admin);
    command
        .arg("--data")
        .arg(&places.data)
        .arg("import")
        .arg(&places.files);
    let output = command
        .output()
        .with_context(|| format!("starting {}", admin.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the import failed: {}",
        said.trim()
    );
    Ok(())
}

/// Octets that no two blocks share: a multiplicative generator (Knuth's MMIX).
fn content(bytes: u64) -> Vec<u8> {
    let mut state = bytes;
    (0..bytes)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// A server may have a descriptor for each client: what the system allows is passed on to it.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where it is refused, the servers have what they would have anyway.
    setrlimit(Resource::Nofile, raised).ok();
}
