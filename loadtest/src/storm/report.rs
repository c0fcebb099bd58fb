//! The report of a storm, by the field names of its JSON (`docs/schema/storm-report.schema.json`).
//!
//! It holds all that is needed to merge it with others: times as counts by value, ends by hundredths of a second.
//! Fields are only ever added; `schema` is raised when one changes its meaning.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::plan::{self, ContentOf, Plan, Role};
use crate::processes::Process;
use crate::report::Distribution;
use crate::run::Found;
use crate::tally::{FleetTally, Moved, Packets, histogram};
use crate::timeline::{self, Timeline};

/// Version of the shape.
pub const SCHEMA: u32 = 1;

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StormReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was run.
    pub scenario: Scenario,
    /// Which clients of it.
    pub share: Share,
    /// Whether somebody ended it before everybody was done.
    pub interrupted: bool,
    /// When it started, in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// From the first power-on to the last end, in seconds.
    pub elapsed_s: f64,
    /// `total.bytes` over `elapsed_s`.
    pub throughput_bytes_per_s: f64,
    /// Width of the bins of all `booted_at` and `failed_at`, in milliseconds.
    pub bin_ms: u32,
    /// In the scenario's order.
    pub servers: Vec<Server>,
    /// All fleets together.
    pub total: Outcome,
    /// In the scenario's order.
    pub fleets: Vec<Fleet>,
    /// Each file once, in the order in which the scenario names them.
    pub files: Vec<File>,
    /// The processes that drove the clients.
    pub generators: Vec<Generator>,
    /// The processes of servers that were watched.
    pub server_processes: Vec<ServerProcess>,
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its title.
    pub title: String,
    /// BLAKE3 hash of the text of its file.
    pub blake3: String,
    /// Of the losses.
    pub seed: u64,
    /// Clients of all shares.
    pub clients: u32,
}

/// Which of the shares of a scenario the report is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// From 1, in order.
    pub parts: Vec<u32>,
    /// How many there are.
    pub of: u32,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// What the scenario calls it.
    pub name: String,
    /// Its address and port.
    pub address: String,
}

/// One fleet: what it was, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// What the scenario calls it.
    pub name: String,
    /// Name of the client profile.
    pub profile: String,
    /// Options of the request, as name and value, in order.
    pub options: Vec<(String, u64)>,
    /// Probability that a packet is dropped at the generator, each way.
    pub loss: f64,
    /// Names of its servers, in the order in which its clients try them.
    pub servers: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of some clients. `completed`, `failed` and `unfinished` together are `planned`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Clients of the shares at hand.
    pub planned: u32,
    /// Powered on.
    pub started: u32,
    /// Got every file, whole and right.
    pub completed: u32,
    /// Did not.
    pub failed: u32,
    /// Under way, or not yet powered on, when the run was ended.
    pub unfinished: u32,
    /// The failed ones by cause: `no-answer`, `stalled`, `error-N`, `violation-NAME`, `content`, `deadline`,
    /// `bad-name`, `socket`.
    pub failures: BTreeMap<String, u32>,
    /// Times that a client went on to another server.
    pub failovers: u64,
    /// Optional files that a server did not have.
    pub absent_files: u64,
    /// Octets of whole files.
    pub bytes: u64,
    /// From power-on to the first block of the first file.
    pub time_to_first_data_ms: Spread,
    /// From power-on to the last block of the last file, of completed clients.
    pub completion_ms: Spread,
    /// Completed clients that had gone on to another server: when they were done.
    pub moved_completion_ms: Spread,
    /// What each of them spent on servers that did not answer.
    pub moved_waited_ms: Spread,
    /// By how much the generator powered clients on too late; with `concurrency`, the wait for a place.
    pub start_delay_ms: Spread,
    /// Packets, as the clients saw them.
    pub packets: Packets,
    /// Completed clients by the server of their last file, in the order of `servers`.
    pub served: Vec<u32>,
    /// When they were done: bins that are not empty, by number from 0, and counts; server by server.
    pub booted_at: Vec<Timeline>,
    /// When clients failed.
    pub failed_at: Timeline,
}

/// Times: their quantiles, and their counts by value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Quantiles, in milliseconds, to three digits.
    #[serde(flatten)]
    pub quantiles: Distribution,
    /// Values in microseconds, to three digits, and the count of each; in order.
    pub micros: Vec<(u64, u64)>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The name, with its placeholders.
    pub name: String,
    /// What it is to the client.
    pub role: Role,
    /// Its length in octets, as far as any client got; of the longest, where each client has its own.
    pub bytes: u64,
    /// Its BLAKE3 hash; `null` where nobody got the whole file, or each client has its own.
    pub blake3: Option<String>,
}

/// One process that drove clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// Its share of the scenario, from 1.
    pub part: u32,
    /// Threads.
    pub threads: u16,
    /// Seconds of CPU.
    pub cpu_s: f64,
    /// `cpu_s` of what its threads could have used; near 1 it measures itself.
    pub busy: f64,
    /// Datagrams dropped by its host's kernel for want of receive buffer, at any UDP socket of its network
    /// namespace: also those of other processes, and of servers there.
    pub kernel_receive_drops: u64,
}

/// One process of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerProcess {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Seconds of CPU of all its threads during the run, to hundredths.
    pub cpu_s: f64,
    /// The most memory that it ever held, in octets; images that it has mapped are among them.
    pub memory_bytes_max: u64,
}

impl StormReport {
    /// The report of a run.
    #[must_use]
    pub fn new(
        plan: &Plan,
        scenario_blake3: &blake3::Hash,
        found: &Found,
        started_unix_ms: u64,
        processes: &[Process],
    ) -> StormReport {
        let elapsed_s = found.tally.elapsed.as_secs_f64();
        let cpu_s = found.measured.cpu_s;
        let fleet = |(fleet, tally): (&plan::Fleet, &FleetTally)| Fleet {
            name: fleet.name.clone(),
            profile: fleet.profile.name.to_owned(),
            options: (fleet.profile.options.iter())
                .map(|(kind, value)| (kind.name().to_owned(), *value))
                .collect(),
            loss: fleet.loss_probability,
            servers: (fleet.servers.iter())
                .map(|server| plan.servers[*server].name.clone())
                .collect(),
            outcome: Outcome::new(tally, plan.clients_here(fleet)),
        };
        let part = plan.part.first + 1;
        let mut report = StormReport {
            schema: SCHEMA,
            scenario: Scenario {
                title: plan.title.clone(),
                blake3: scenario_blake3.to_hex().to_string(),
                seed: plan.seed,
                clients: plan.clients,
            },
            share: Share {
                parts: vec![part],
                of: plan.part.of,
            },
            interrupted: found.stopped,
            started_unix_ms,
            elapsed_s,
            throughput_bytes_per_s: 0.0,
            bin_ms: timeline::BIN_MS,
            servers: (plan.servers.iter())
                .map(|server| Server {
                    name: server.name.clone(),
                    address: server.address.to_string(),
                })
                .collect(),
            total: Outcome::new(&found.tally.total(), plan.all_clients_here()),
            fleets: (plan.fleets.iter().zip(&found.tally.fleets))
                .map(fleet)
                .collect(),
            files: files(plan, found),
            generators: vec![Generator {
                part,
                threads: plan.threads,
                cpu_s,
                busy: ratio(cpu_s, elapsed_s * f64::from(plan.threads)),
                kernel_receive_drops: found.measured.kernel_receive_drops,
            }],
            server_processes: (processes.iter())
                .map(|process| ServerProcess {
                    pid: process.pid,
                    name: process.name.clone(),
                    cpu_s: process.cpu_s(),
                    memory_bytes_max: process.memory_bytes_max(),
                })
                .collect(),
        };
        report.set_throughput();
        report
    }

    /// Seconds for each 10^9 octets of whole files.
    #[must_use]
    pub fn per_gb(&self, seconds: f64) -> f64 {
        ratio(seconds * 1e9, octets(self.total.bytes))
    }

    /// CPU seconds of all generators.
    #[must_use]
    pub fn generator_cpu_s(&self) -> f64 {
        self.generators.iter().map(|each| each.cpu_s).sum()
    }

    /// CPU seconds of all server processes.
    #[must_use]
    pub fn server_cpu_s(&self) -> f64 {
        self.server_processes.iter().map(|each| each.cpu_s).sum()
    }

    pub(super) fn set_throughput(&mut self) {
        self.throughput_bytes_per_s = ratio(octets(self.total.bytes), self.elapsed_s);
    }
}

fn files(plan: &Plan, found: &Found) -> Vec<File> {
    let mut seen = std::collections::HashSet::new();
    let all = plan.fleets.iter().flat_map(|fleet| {
        let first = fleet.clients;
        fleet.files.iter().map(move |file| (file, first))
    });
    let fresh = all.filter(|(file, _)| seen.insert(file.content.client(0)));
    let file = |(file, clients): (&plan::BootFile, u32)| {
        let contents = &found.tally.contents;
        let (bytes, blake3) = match file.content {
            ContentOf::Shared(content) => {
                let content = &contents[content];
                let hash = || blake3::hash(content.octets()).to_hex().to_string();
                (content.bytes(), content.is_whole().then(hash))
            }
            ContentOf::Each(first) => {
                let all = &contents[first..first + clients as usize];
                let longest = all.iter().map(crate::content::Content::bytes).max();
                (longest.unwrap_or(0), None)
            }
        };
        File {
            name: file.name.as_str().to_owned(),
            role: file.role,
            bytes,
            blake3,
        }
    };
    fresh.map(file).collect()
}

impl Outcome {
    /// What was counted of so many clients.
    #[must_use]
    pub fn new(tally: &FleetTally, planned: u32) -> Outcome {
        Outcome {
            planned,
            started: tally.started,
            completed: tally.completed,
            failed: tally.failed(),
            unfinished: tally.unfinished,
            failures: tally.failures.clone(),
            failovers: tally.failovers,
            absent_files: tally.absent,
            bytes: tally.bytes,
            time_to_first_data_ms: Spread::from(&tally.first_data),
            completion_ms: Spread::from(&tally.completion),
            moved_completion_ms: Spread::from(&tally.moved.completion),
            moved_waited_ms: Spread::from(&tally.moved.waited),
            start_delay_ms: Spread::from(&tally.late),
            packets: tally.packets,
            served: tally.served.clone(),
            booted_at: tally.booted_at.clone(),
            failed_at: tally.failed_at.clone(),
        }
    }

    /// The counts that it was made of.
    #[must_use]
    pub fn tally(&self) -> FleetTally {
        FleetTally {
            started: self.started,
            completed: self.completed,
            failures: self.failures.clone(),
            unfinished: self.unfinished,
            first_data: self.time_to_first_data_ms.histogram(),
            completion: self.completion_ms.histogram(),
            booted_at: self.booted_at.clone(),
            failed_at: self.failed_at.clone(),
            bytes: self.bytes,
            served: self.served.clone(),
            failovers: self.failovers,
            moved: Moved {
                completion: self.moved_completion_ms.histogram(),
                waited: self.moved_waited_ms.histogram(),
            },
            boots: Vec::new(),
            absent: self.absent_files,
            late: self.start_delay_ms.histogram(),
            packets: self.packets,
        }
    }

    /// Clients that booted after they had gone on to another server.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved_completion_ms.quantiles.count
    }
}

impl Spread {
    fn histogram(&self) -> Histogram<u64> {
        let mut histogram = histogram();
        for (micros, count) in &self.micros {
            histogram.saturating_record_n(*micros, *count);
        }
        histogram
    }
}

impl From<&Histogram<u64>> for Spread {
    fn from(histogram: &Histogram<u64>) -> Spread {
        Spread {
            quantiles: Distribution::from(histogram),
            micros: (histogram.iter_recorded())
                .map(|each| (each.value_iterated_to(), each.count_at_value()))
                .collect(),
        }
    }
}

/// One amount over another; 0 where there is nothing to divide by.
pub(super) fn ratio(amount: f64, of: f64) -> f64 {
    if of > 0.0 { amount / of } else { 0.0 }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn octets(bytes: u64) -> f64 {
    bytes as f64
}
