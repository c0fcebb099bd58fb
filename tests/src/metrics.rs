//! Metrics, as a Prometheus server would see them.

use std::net::SocketAddr;
use std::process::Command;

use crate::host::Host;
use crate::programs;

/// How long the engine may take for an answer, in seconds.
const PATIENCE_S: &str = "5";

/// One reading of all metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
}

/// One line of the text format.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

impl Metrics {
    /// Reads the metrics of the server at `address`, inside `host` if there is one.
    ///
    /// # Panics
    /// If there is no answer.
    #[must_use]
    pub fn read(address: SocketAddr, host: Option<&Host>) -> Metrics {
        let mut command = match host {
            Some(host) => host.command(programs::system("curl")),
            None => Command::new(programs::system("curl")),
        };
        command.args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            PATIENCE_S,
        ]);
        let output = command
            .arg(format!("http://{address}/metrics"))
            .output()
            .expect("curl");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no metrics at {address}: {error}");
        Metrics::of(&String::from_utf8(output.stdout).expect("metrics are text"))
    }

    /// Those in a text.
    #[must_use]
    pub fn of(text: &str) -> Metrics {
        Metrics {
            samples: text.lines().filter_map(parse).collect(),
        }
    }

    /// The sum of a metric over all its labels; 0 if there is none.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }

    /// The sum of a metric over the lines whose labels contain `label`, such as `cause="not_found"`.
    #[must_use]
    pub fn sum_where(&self, name: &str, label: &str) -> f64 {
        let matching = |sample: &&Sample| sample.name == name && sample.labels.contains(label);
        self.samples
            .iter()
            .filter(matching)
            .map(|sample| sample.value)
            .sum()
    }

    /// The names of all metrics.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .samples
            .iter()
            .map(|sample| sample.name.as_str())
            .collect();
        names.dedup();
        names
    }
}

fn parse(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some(Sample {
        name: name.to_owned(),
        labels: labels.to_owned(),
        value: value.parse().ok()?,
    })
}
