//! Who watches a run: nobody, a bar, or lines on the standard error. The picture on a terminal is [`crate::view`].

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::plan::Plan;
use crate::progress::Snapshot;

/// From one line to the next.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Whether the run is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    GoOn,
    /// It is to end now, with what it has.
    Stop,
}

/// Sees how far a run is, a few times a second.
pub trait Watch {
    /// So long after the start, so far.
    fn look(&mut self, elapsed: Duration, snapshot: &Snapshot) -> Verdict;

    /// The run is over.
    fn end(&mut self) {}
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Watch for Nobody {
    fn look(&mut self, _: Duration, _: &Snapshot) -> Verdict {
        Verdict::GoOn
    }
}

/// A bar, where the standard error is a terminal.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// An empty bar.
    #[must_use]
    pub fn new(plan: &Plan) -> Bar {
        let bar = if stderr().is_terminal() {
            ProgressBar::new(plan.all_clients_here().into())
        } else {
            ProgressBar::hidden()
        };
        let style = "{elapsed} {bar:40} {pos} of {len} clients{msg}";
        bar.set_style(ProgressStyle::with_template(style).expect("a sound template"));
        Bar(bar)
    }
}

impl Watch for Bar {
    fn look(&mut self, _: Duration, snapshot: &Snapshot) -> Verdict {
        let (booted, failed) = (snapshot.booted(), snapshot.failed());
        self.0.set_position(u64::from(booted) + u64::from(failed));
        if failed > 0 {
            self.0.set_message(format!(", {failed} failed"));
        }
        Verdict::GoOn
    }

    fn end(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A line a second on the standard error; the run ends when a flag is raised.
#[derive(Debug)]
pub struct Lines {
    clients: u32,
    last: Duration,
    booted: u32,
    stop: Arc<AtomicBool>,
}

impl Lines {
    /// Nothing said yet.
    #[must_use]
    pub fn new(plan: &Plan, stop: Arc<AtomicBool>) -> Lines {
        Lines {
            clients: plan.all_clients_here(),
            last: Duration::ZERO,
            booted: 0,
            stop,
        }
    }
}

impl Watch for Lines {
    fn look(&mut self, elapsed: Duration, snapshot: &Snapshot) -> Verdict {
        if elapsed >= self.last + LINE_EVERY {
            let line = line(
                elapsed,
                self.clients,
                snapshot,
                f64::from(snapshot.booted() - self.booted) / (elapsed - self.last).as_secs_f64(),
            );
            // Whoever does not read it does not want it.
            writeln!(stderr(), "{line}").ok();
            self.last = elapsed;
            self.booted = snapshot.booted();
        }
        if self.stop.load(Ordering::Relaxed) {
            Verdict::Stop
        } else {
            Verdict::GoOn
        }
    }
}

fn line(elapsed: Duration, clients: u32, snapshot: &Snapshot, boots_per_s: f64) -> String {
    let (booted, failed, moved) = (snapshot.booted(), snapshot.failed(), snapshot.moved);
    let under_way = snapshot.under_way();
    format!(
        "{:6.1} s  {booted} of {clients} booted ({boots_per_s:.0}/s), {under_way} under way, {failed} failed, {moved} moved",
        elapsed.as_secs_f64(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let snapshot = Snapshot {
            started: 90,
            moved: 3,
            fleets: vec![(40, 1), (10, 0)],
            ..Snapshot::default()
        };
        assert_eq!(
            line(Duration::from_millis(2100), 100, &snapshot, 12.4),
            "   2.1 s  50 of 100 booted (12/s), 39 under way, 1 failed, 3 moved"
        );
    }
}
