//! What a run found, for programs (JSON, by the field names here) and for people.
//!
//! Fields are only ever added; `schema` is raised when one changes its meaning.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::plan::{BootFile, ContentOf, Plan};
use crate::run::{Found, Measured};
use crate::tally::Boot;

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub schema: u32,
    /// What was run.
    pub scenario: Scenario,
    /// How the clients fared.
    pub clients: Clients,
    /// From power-on to the first block of the first file, of every client that got it and has ended.
    pub time_to_first_data_ms: Distribution,
    /// From power-on to the last block of the last file, of completed clients.
    pub completion_ms: Distribution,
    /// From the first power-on to the last end, in seconds.
    pub elapsed_s: f64,
    /// Completed clients that had gone on to another server: from power-on to the last block of the last file.
    pub moved_completion_ms: Distribution,
    /// What each of them spent on servers that did not answer.
    pub moved_waited_ms: Distribution,
    /// Octets of whole files, over all clients.
    pub bytes: u64,
    /// `bytes` over `elapsed_s`.
    pub throughput_bytes_per_s: f64,
    /// Packets, over all clients.
    pub packets: Packets,
    /// Which server served whom.
    pub servers: Vec<Server>,
    /// Every boot that ended well, by the client's number, where that was asked for (`--each`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boots: Vec<BootOf>,
    /// What the files hold.
    pub files: Vec<File>,
    /// What the generator itself used.
    pub generator: Generator,
}

/// What was run.
#[derive(Debug, Serialize)]
pub struct Scenario {
    /// Name of the client profile.
    pub profile: &'static str,
    /// Options of the request, as name and value, in order.
    pub options: Vec<(&'static str, u64)>,
    /// Clients.
    pub clients: u32,
    /// Clients at once.
    pub concurrency: u32,
    /// Probability that a packet is dropped at the generator, each way.
    pub loss: f64,
    /// Seed of the losses.
    pub seed: u64,
}

/// How the clients fared. `completed` and `failed` together are all clients.
#[derive(Debug, Serialize)]
pub struct Clients {
    /// Powered on.
    pub started: u32,
    /// Got every file, whole and right.
    pub completed: u32,
    /// Did not.
    pub failed: u32,
    /// The failed ones by cause: `no-answer`, `stalled`, `error-N`, `violation-NAME`, `content`, `deadline`,
    /// `bad-name`, `socket`.
    pub failures: BTreeMap<String, u32>,
    /// Times that a client went on to another server.
    pub failovers: u64,
}

/// Quantiles, in milliseconds, to three digits. All zero when `count` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub struct Distribution {
    pub count: u64,
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

/// Packets, as the clients saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// Taken in by the clients: what `lost_in` counts is not among them.
    pub received: u64,
    /// Handed out by the clients: what `lost_out` counts is among them.
    pub sent: u64,
    /// DATA that had come before.
    pub duplicate: u64,
    /// DATA dropped because one before it was missing.
    pub ahead: u64,
    /// From another address or port than the server's.
    pub strangers: u64,
    /// Waits that ran out.
    pub retries: u64,
    /// Dropped on purpose on the way in.
    pub lost_in: u64,
    /// Dropped on purpose on the way out.
    pub lost_out: u64,
    /// Refused by the system.
    pub send_errors: u64,
    /// Dropped by this host's kernel for want of receive buffer, at any UDP socket of this network
    /// namespace, during the run.
    pub kernel_receive_drops: u64,
}

/// One server.
#[derive(Debug, Serialize)]
pub struct Server {
    /// Its address.
    pub address: String,
    /// Boots that ended with it.
    pub completed: u32,
}

/// The boot of one client.
#[derive(Debug, Serialize)]
pub struct BootOf {
    /// Its number, from 0.
    pub client: u32,
    /// The address of the server that served its last file.
    pub server: String,
    /// From power-on to the last block of the last file.
    pub completion_ms: f64,
    /// What it spent on servers that did not answer; null: it did not go on from one.
    pub waited_ms: Option<f64>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct File {
    /// The name that was asked for.
    pub name: String,
    /// Its length, as far as any client got.
    pub bytes: u64,
    /// Its BLAKE3 hash in hexadecimal digits, as far as any client got.
    pub blake3: String,
}

/// What the generator used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Generator {
    /// Seconds of CPU.
    pub cpu_s: f64,
    /// Seconds of CPU for each 10^9 octets of whole files.
    pub cpu_s_per_gb: f64,
    /// Threads.
    pub threads: u16,
}

impl Report {
    /// The report of a run of the one fleet of a command line.
    #[must_use]
    pub fn new(plan: &Plan, found: &Found) -> Report {
        let Measured {
            cpu_s,
            kernel_receive_drops,
        } = found.measured;
        let fleet = &plan.fleets[0];
        let contents = &found.tally.contents;
        let tally = &found.tally.fleets[0];
        let elapsed_s = found.tally.elapsed.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let bytes = tally.bytes as f64;
        let per = |amount: f64, of: f64| if of > 0.0 { amount / of } else { 0.0 };
        let options = fleet.profile.options.iter();
        let file = |file: &BootFile| {
            let (ContentOf::Shared(content) | ContentOf::Each(content)) = file.content;
            let octets = contents[content].octets();
            File {
                name: file.name.as_str().to_owned(),
                bytes: octets.len() as u64,
                blake3: blake3::hash(octets).to_hex().to_string(),
            }
        };
        Report {
            schema: 1,
            scenario: Scenario {
                profile: fleet.profile.name,
                options: options.map(|(kind, value)| (kind.name(), *value)).collect(),
                clients: plan.clients,
                concurrency: plan.concurrency,
                loss: fleet.loss_probability,
                seed: plan.seed,
            },
            clients: Clients {
                started: tally.started,
                completed: tally.completed,
                failed: tally.failed(),
                failures: tally.failures.clone(),
                failovers: tally.failovers,
            },
            time_to_first_data_ms: Distribution::from(&tally.first_data),
            completion_ms: Distribution::from(&tally.completion),
            moved_completion_ms: Distribution::from(&tally.moved.completion),
            moved_waited_ms: Distribution::from(&tally.moved.waited),
            elapsed_s,
            bytes: tally.bytes,
            throughput_bytes_per_s: per(bytes, elapsed_s),
            packets: Packets::new(tally.packets, kernel_receive_drops),
            servers: (plan.servers.iter().zip(&tally.served))
                .map(|(server, completed)| Server {
                    address: server.address.to_string(),
                    completed: *completed,
                })
                .collect(),
            boots: boots(plan, &tally.boots),
            files: fleet.files.iter().map(file).collect(),
            generator: Generator {
                cpu_s,
                cpu_s_per_gb: per(cpu_s * 1e9, bytes),
                threads: plan.threads,
            },
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "at most an hour of microseconds"
)]
fn boots(plan: &Plan, boots: &[Boot]) -> Vec<BootOf> {
    let mut boots = boots.to_vec();
    boots.sort_unstable_by_key(|boot| boot.client);
    let millis = |micros: u64| micros as f64 / 1000.0;
    let shown = boots.into_iter().map(|boot| BootOf {
        client: boot.client,
        server: plan.servers[boot.server].address.to_string(),
        completion_ms: millis(boot.completion),
        waited_ms: boot.waited.map(millis),
    });
    shown.collect()
}

impl Packets {
    /// What the clients counted, and what the kernel did.
    #[must_use]
    pub fn new(counted: crate::tally::Packets, kernel_receive_drops: u64) -> Packets {
        Packets {
            received: counted.received,
            sent: counted.sent,
            duplicate: counted.duplicate,
            ahead: counted.ahead,
            strangers: counted.strangers,
            retries: counted.retries,
            lost_in: counted.lost_in,
            lost_out: counted.lost_out,
            send_errors: counted.send_errors,
            kernel_receive_drops,
        }
    }
}

impl From<&Histogram<u64>> for Distribution {
    fn from(micros: &Histogram<u64>) -> Distribution {
        #[allow(
            clippy::cast_precision_loss,
            reason = "at most an hour of microseconds"
        )]
        let millis = |micros: u64| micros as f64 / 1000.0;
        Distribution {
            count: micros.len(),
            min: millis(micros.min()),
            mean: micros.mean() / 1000.0,
            p50: millis(micros.value_at_quantile(0.5)),
            p90: millis(micros.value_at_quantile(0.9)),
            p99: millis(micros.value_at_quantile(0.99)),
            max: millis(micros.max()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Clients {
            completed,
            failed,
            failures,
            failovers,
            ..
        } = &self.clients;
        writeln!(f, "clients     {completed} booted, {failed} failed")?;
        for (cause, clients) in failures {
            writeln!(f, "            {clients} × {cause}")?;
        }
        writeln!(f, "first data  {}", self.time_to_first_data_ms)?;
        writeln!(f, "boot        {}", self.completion_ms)?;
        writeln!(
            f,
            "throughput  {:.1} MB/s: {:.1} MB in {:.2} s",
            self.throughput_bytes_per_s / 1e6,
            self.bytes as f64 / 1e6,
            self.elapsed_s
        )?;
        let Packets {
            received,
            sent,
            duplicate,
            ahead,
            retries,
            kernel_receive_drops,
            ..
        } = &self.packets;
        writeln!(
            f,
            "packets     {received} in, {sent} out, {retries} retries, {duplicate} duplicate, \
             {ahead} ahead of a gap, {kernel_receive_drops} dropped by this kernel"
        )?;
        for Server { address, completed } in &self.servers {
            writeln!(f, "server      {address} booted {completed}")?;
        }
        if *failovers > 0 {
            let moved = self.moved_waited_ms;
            writeln!(
                f,
                "failovers   {failovers}: {} clients moved, and booted",
                moved.count
            )?;
            writeln!(f, "moved       {}", self.moved_completion_ms)?;
            writeln!(f, "            waited for the silent server: {moved}")?;
        }
        for File {
            name,
            bytes,
            blake3,
        } in &self.files
        {
            writeln!(
                f,
                "file        {name}, {bytes} octets, blake3 {}…",
                &blake3[..16]
            )?;
        }
        let Generator {
            cpu_s,
            cpu_s_per_gb,
            threads,
        } = self.generator;
        writeln!(
            f,
            "generator   {cpu_s:.2} s of CPU, {cpu_s_per_gb:.2} s/GB, {threads} thread(s)"
        )
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Distribution {
            p50, p90, p99, max, ..
        } = self;
        write!(
            f,
            "p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"
        )
    }
}
