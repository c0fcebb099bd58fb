//! One server under one load, over all rounds: medians.

use super::sample::Sample;
use super::scenario::Scenario;
use super::server::Server;

/// Medians over the rounds, each figure by itself.
#[derive(Clone, Debug)]
pub struct Row {
    /// The server.
    pub server: Server,
    /// Rounds.
    pub rounds: usize,
    /// Clients that got the file, of one.
    pub finished: f64,
    /// Whether all did, in every round.
    pub all_finished: bool,
    /// CPU seconds of the server for each 10^9 octets of whole files; none when nobody got one.
    pub cpu_s_per_gb: Option<f64>,
    /// The same of the generator.
    pub generator_s_per_gb: Option<f64>,
    /// Octets of whole files a second.
    pub bytes_per_s: f64,
    /// To the first block, in milliseconds; none when nobody got one.
    pub first: Option<Times>,
    /// To the last block.
    pub done: Option<Times>,
    /// Most of its own memory, in octets.
    pub memory_own: f64,
    /// The same with what is mapped of files.
    pub memory_resident: f64,
    /// Dropped by the kernel at the server's sockets: the most of any round.
    pub server_drops: u64,
    /// Of the packets that came to the queue of the slow wire, those that it dropped, of one.
    pub queue_drops: Option<f64>,
    /// Causes of failures, and of the server's end, in the last round that had any.
    pub notes: Option<String>,
}

/// Quantiles, in milliseconds.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names are the field's own")]
pub struct Times {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Row {
    /// The row of a server under a load; none where it did not run.
    #[must_use]
    pub fn of(server: Server, scenario: &Scenario, samples: &[Sample]) -> Option<Row> {
        let mine = |sample: &&Sample| sample.server == server && sample.scenario == scenario.name;
        let samples: Vec<&Sample> = samples.iter().filter(mine).collect();
        let all = |figure: fn(&Sample) -> f64| median(samples.iter().map(|sample| figure(sample)));
        let times = |figure: fn(&Sample) -> Option<Times>| {
            let found = || samples.iter().filter_map(|sample| figure(sample));
            Some(Times {
                p50: median(found().map(|times| times.p50))?,
                p99: median(found().map(|times| times.p99))?,
                max: median(found().map(|times| times.max))?,
            })
        };
        let per_gb = |figure: fn(&Sample) -> f64| {
            let useful = samples.iter().filter(|sample| sample.report.bytes > 0);
            median(useful.map(|sample| figure(sample) * 1e9 / octets(sample)))
        };
        let clients = f64::from(scenario.clients);
        Some(Row {
            server,
            rounds: samples.len(),
            finished: all(|sample| f64::from(sample.report.clients.completed))? / clients,
            all_finished: samples.iter().all(|sample| sample.all_finished()),
            cpu_s_per_gb: per_gb(|sample| sample.server_cpu_s),
            generator_s_per_gb: per_gb(|sample| sample.report.generator.cpu_s),
            bytes_per_s: all(|sample| octets(sample) / sample.report.elapsed_s.max(1e-6))?,
            first: times(|sample| Times::of(sample.report.time_to_first_data_ms)),
            done: times(|sample| Times::of(sample.report.completion_ms)),
            memory_own: all(|sample| sample.memory_own as f64)?,
            memory_resident: all(|sample| sample.memory_resident as f64)?,
            server_drops: samples.iter().map(|sample| sample.server_drops).max()?,
            queue_drops: median(samples.iter().filter_map(|sample| {
                let wire = sample.wire?;
                let came = wire.packets + wire.drops;
                (came > 0).then(|| wire.drops as f64 / came as f64)
            })),
            notes: samples.iter().rev().find_map(|sample| notes(sample)),
        })
    }
}

impl Times {
    fn of(found: super::sample::Distribution) -> Option<Times> {
        (found.count > 0).then_some(Times {
            p50: found.p50,
            p99: found.p99,
            max: found.max,
        })
    }
}

fn octets(sample: &Sample) -> f64 {
    sample.report.bytes as f64
}

/// Why clients failed.
fn notes(sample: &Sample) -> Option<String> {
    let failures = sample.report.clients.failures.iter();
    let failures = failures.map(|(cause, clients)| format!("{clients} {cause}"));
    let died = sample
        .died
        .iter()
        .map(|how| format!("the server died: {how}"));
    let notes: Vec<String> = died.chain(failures).collect();
    (!notes.is_empty()).then(|| notes.join(", "))
}

/// The middle one; of an even number, the mean of the two in the middle.
pub fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        len if len % 2 == 1 => Some(figures[middle]),
        _ => Some(f64::midpoint(figures[middle - 1], figures[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
