//! What the processes of local servers used: CPU time and memory, as `/proc` tells.

use std::fs;
use std::time::Duration;

use crate::progress::Snapshot;
use crate::watch::{Verdict, Watch};

/// A process that is not there, or not ours to look at.
#[derive(Debug, thiserror::Error)]
#[error(
    "process {0}: nothing in /proc: give the number of the running server (`pidof daybreak-engine`), and run where it runs"
)]
pub struct NoProcess(u32);

/// One process, from one moment on.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    cpu_before_s: f64,
    cpu_s: f64,
    memory_bytes_max: u64,
}

impl Process {
    /// Begins to measure.
    ///
    /// # Errors
    /// [`NoProcess`].
    pub fn begin(pid: u32) -> Result<Process, NoProcess> {
        let (name, cpu_s) = stat(pid).ok_or(NoProcess(pid))?;
        Ok(Process {
            pid,
            name,
            cpu_before_s: cpu_s,
            cpu_s,
            memory_bytes_max: memory_bytes_max(pid),
        })
    }

    /// Reads again; a process that has ended keeps what it had.
    pub fn look(&mut self) {
        if let Some((_, cpu_s)) = stat(self.pid) {
            self.cpu_s = self.cpu_s.max(cpu_s);
            self.memory_bytes_max = self.memory_bytes_max.max(memory_bytes_max(self.pid));
        }
    }

    /// Seconds of CPU of all its threads since the beginning, to hundredths.
    #[must_use]
    pub fn cpu_s(&self) -> f64 {
        self.cpu_s - self.cpu_before_s
    }

    /// The most memory it ever held, in octets; images that it has mapped are among them.
    #[must_use]
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max
    }
}

/// Looks at processes whenever another watch looks at the run, so that one that dies in the middle is not lost.
pub struct Beside<'a> {
    /// The processes.
    pub processes: &'a mut [Process],
    /// The other watch.
    pub watch: &'a mut dyn Watch,
}

impl Watch for Beside<'_> {
    fn look(&mut self, elapsed: Duration, snapshot: &Snapshot) -> Verdict {
        self.processes.iter_mut().for_each(Process::look);
        self.watch.look(elapsed, snapshot)
    }

    fn end(&mut self) {
        self.processes.iter_mut().for_each(Process::look);
        self.watch.end();
    }
}

/// Name, and user and system time in seconds: fields 2, 14 and 15.
fn stat(pid: u32) -> Option<(String, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "ticks of a process that lives less than a million years"
)]
fn parse_stat(text: &str) -> Option<(String, f64)> {
    // The name may hold anything, also parentheses and spaces.
    let (before, after) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    let per_s = rustix::param::clock_ticks_per_second();
    Some((name.to_owned(), ticks as f64 / per_s as f64))
}

fn memory_bytes_max(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194560 0 0 0 0 30 12 0 0 20 0 1 0 5 0 0";
        let (name, cpu_s) = parse_stat(line).unwrap();
        assert_eq!(name, "a) b (c)");
        assert!(cpu_s > 0.0);
        assert!(parse_stat("7 (x) S 1").is_none());
    }

    #[test]
    fn this_process_is_measured_and_an_absent_one_is_refused() {
        let mut own = Process::begin(std::process::id()).unwrap();
        own.look();
        assert!(own.cpu_s() >= 0.0 && own.memory_bytes_max() > 0);
        let error = Process::begin(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("pidof"), "{error}");
    }
}
