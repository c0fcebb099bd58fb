//! One run: the threads, the watch over them, and what they found.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::driver::{self, Share};
use crate::limits;
use crate::plan::Plan;
use crate::progress::{Progress, Snapshot};
use crate::tally::Tally;
use crate::watch::{Verdict, Watch};

/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(200);

/// What a run found.
#[derive(Debug)]
pub struct Found {
    /// What came of the clients.
    pub tally: Tally,
    /// What was measured around them.
    pub measured: Measured,
    /// Whether somebody ended it before everybody was done.
    pub stopped: bool,
}

/// What was measured around the clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// CPU time of this process, in seconds.
    pub cpu_s: f64,
    /// Datagrams that this host's kernel dropped for want of receive buffer, at any UDP socket.
    pub kernel_receive_drops: u64,
}

/// Boots all clients of a plan; the watch is shown how far they are, and may end it.
///
/// # Errors
/// When the system does not give what the clients need; clients that fail are in the tally.
pub fn run(plan: &Plan, watch: &mut dyn Watch) -> Result<Found> {
    limits::raise_descriptors(plan.concurrency)?;
    let progress = Progress::new(plan);
    let drops = kernel_receive_drops();
    let cpu = cpu_s();
    let tally = thread::scope(|scope| {
        let (done, ended) = mpsc::channel();
        for share in shares(plan) {
            let (done, progress) = (done.clone(), &progress);
            // The watcher is gone only when another thread has failed.
            scope.spawn(move || done.send(driver::run(plan, share, progress)).ok());
        }
        drop(done);
        let gathered = gather(plan, watch, &progress, &ended);
        // Where one thread has failed, the others need not go on.
        progress.stop.fetch_or(gathered.is_err(), Ordering::Relaxed);
        gathered
    })?;
    let measured = Measured {
        cpu_s: cpu_s() - cpu,
        kernel_receive_drops: kernel_receive_drops().saturating_sub(drops),
    };
    Ok(Found {
        tally: judge(plan, tally),
        measured,
        stopped: progress.stop.into_inner(),
    })
}

fn gather(
    plan: &Plan,
    watch: &mut dyn Watch,
    progress: &Progress,
    ended: &mpsc::Receiver<std::io::Result<Tally>>,
) -> Result<Tally> {
    let start = Instant::now();
    let mut whole: Option<Tally> = None;
    let mut look = |snapshot: Snapshot| {
        if watch.look(start.elapsed(), &snapshot) == Verdict::Stop {
            progress.stop.store(true, Ordering::Relaxed);
        }
    };
    look(progress.snapshot());
    loop {
        match ended.recv_timeout(TICK) {
            Ok(tally) => {
                let tally = tally.context("driving the clients")?;
                match &mut whole {
                    Some(whole) => whole.merge(tally, plan),
                    None => whole = Some(tally),
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => look(progress.snapshot()),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    watch.end();
    whole.context("a thread of the generator died")
}

/// The clients of each thread: they, and the places at once, are spread evenly.
fn shares(plan: &Plan) -> Vec<Share> {
    let threads = u32::from(plan.threads).min(plan.concurrency);
    let places =
        |thread: u32| plan.concurrency / threads + u32::from(thread < plan.concurrency % threads);
    let share = |thread| {
        let part = plan.part.thread(thread, threads);
        let mine = plan.fleets.iter();
        let clients = mine
            .map(|fleet| part.count(fleet.first, fleet.clients))
            .sum();
        let concurrency = places(thread);
        Share {
            part,
            // Cards are dealt one by one: one more client than places is nobody who waits for his turn.
            concurrency: if plan.in_turn() { concurrency } else { clients },
            clients,
        }
    };
    (0..threads).map(share).collect()
}

/// Checks what the clients agreed on against what it must hash to.
fn judge(plan: &Plan, mut tally: Tally) -> Tally {
    let files = plan.fleets.iter().flat_map(|fleet| &fleet.files);
    let mut judged = std::collections::BTreeSet::new();
    for file in files {
        let (crate::plan::ContentOf::Shared(content), Some(expected)) = (file.content, file.blake3)
        else {
            continue;
        };
        if judged.insert(content) && blake3::hash(tally.contents[content].octets()) != expected {
            tally.fail_content(content, plan);
        }
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
        let line = "x --server [::1]:69 --file a --clients 11 --threads 3 --concurrency";
        let shares = |concurrency: &str| {
            let words = line.split(' ').chain([concurrency]);
            shares(&Plan::try_from(Args::try_parse_from(words).unwrap()).unwrap())
        };
        let all =
            |shares: &[Share], what: fn(&Share) -> u32| shares.iter().map(what).collect::<Vec<_>>();
        let in_turn = shares("5");
        assert_eq!(all(&in_turn, |share| share.clients), [4, 4, 3]);
        assert_eq!(all(&in_turn, |share| share.concurrency), [2, 2, 1]);
        assert_eq!(all(&in_turn, |share| share.part.first), [0, 1, 2]);
        let at_once = shares("11");
        assert_eq!(all(&at_once, |share| share.concurrency), [4, 4, 3]);
    }
}
