//! One run: the threads, the watch over them, and the report.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::Ordering;

use crate::args::Plan;
use crate::fleet::{self, Progress, Share};
use crate::limits;
use crate::report::{Measured, Report};
use crate::tally::Tally;

/// How often the progress is shown.
const TICK: Duration = Duration::from_millis(200);

/// Boots all clients of a plan; with `watch`, a bar on the standard error shows how far they are.
///
/// # Errors
/// When the system does not give what the clients need; clients that fail are in the report.
pub fn run(plan: &Plan, watch: bool) -> Result<Report> {
    limits::raise_descriptors(plan.concurrency)?;
    let progress = Progress::default();
    let drops = kernel_receive_drops();
    let cpu = cpu_s();
    let tally = thread::scope(|scope| {
        let (done, ended) = mpsc::channel();
        for share in shares(plan) {
            let (done, progress) = (done.clone(), &progress);
            // The watcher is gone only when another thread has failed.
            scope.spawn(move || done.send(fleet::run(plan, share, progress)).ok());
        }
        drop(done);
        gather(plan, watch, &progress, &ended)
    })?;
    let measured = Measured {
        cpu_s: cpu_s() - cpu,
        kernel_receive_drops: kernel_receive_drops().saturating_sub(drops),
    };
    Ok(Report::new(plan, judge(plan, tally), measured))
}

fn gather(
    plan: &Plan,
    watch: bool,
    progress: &Progress,
    ended: &mpsc::Receiver<std::io::Result<Tally>>,
) -> Result<Tally> {
    let bar = if watch {
        ProgressBar::new(plan.clients.into())
    } else {
        ProgressBar::hidden()
    };
    let style = "{elapsed} {bar:40} {pos} of {len} clients{msg}";
    bar.set_style(ProgressStyle::with_template(style).expect("a sound template"));
    let mut whole: Option<Tally> = None;
    loop {
        match ended.recv_timeout(TICK) {
            Ok(tally) => {
                let tally = tally.context("driving the clients")?;
                match &mut whole {
                    Some(whole) => whole.merge(tally),
                    None => whole = Some(tally),
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let failed = progress.failed.load(Ordering::Relaxed);
                let completed = progress.completed.load(Ordering::Relaxed);
                bar.set_position(u64::from(completed) + u64::from(failed));
                if failed > 0 {
                    bar.set_message(format!(", {failed} failed"));
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    bar.finish_and_clear();
    whole.context("a thread of the generator died")
}

/// The clients of each thread: numbers and places at once are spread evenly.
fn shares(plan: &Plan) -> Vec<Share> {
    let threads = u32::from(plan.threads).min(plan.concurrency);
    let part = |whole: u32, thread: u32| whole / threads + u32::from(thread < whole % threads);
    let mut first = 0;
    let share = |thread| {
        let clients = part(plan.clients, thread);
        let share = Share {
            first,
            clients,
            concurrency: part(plan.concurrency, thread),
        };
        first += clients;
        share
    };
    (0..threads).map(share).collect()
}

/// Checks what the clients agreed on against what it must hash to.
fn judge(plan: &Plan, mut tally: Tally) -> Tally {
    let wrong = plan
        .files
        .iter()
        .zip(&tally.contents)
        .any(|(file, content)| {
            file.blake3
                .is_some_and(|expected| blake3::hash(content.octets()) != expected)
        });
    if wrong {
        tally.fail_completed();
    }
    tally
}

/// CPU time of this process, in seconds.
fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default().as_secs_f64()
}

/// `Udp: RcvbufErrors` of this network namespace; 0 where it cannot be read.
fn kernel_receive_drops() -> u64 {
    let snmp = std::fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let pair = names.split_whitespace().zip(values.split_whitespace());
    let found = pair.into_iter().find(|(name, _)| *name == "RcvbufErrors");
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser;

    #[test]
    fn shares_add_up() {
        let line = "x --server [::1]:69 --file a --clients 11 --concurrency 5 --threads 3";
        let plan = Plan::try_from(Args::try_parse_from(line.split(' ')).unwrap()).unwrap();
        let shares = shares(&plan);
        let all = |what: fn(&Share) -> u32| shares.iter().map(what).collect::<Vec<_>>();
        assert_eq!(all(|share| share.clients), [4, 4, 3]);
        assert_eq!(all(|share| share.concurrency), [2, 2, 1]);
        assert_eq!(all(|share| share.first), [0, 4, 8]);
    }
}
