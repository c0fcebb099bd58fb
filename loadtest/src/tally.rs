//! What came of the clients of one thread, fleet by fleet; the tallies of several threads merge.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use daybreak_tftp::download::{Counters, Download, Violation};
use hdrhistogram::Histogram;

use crate::content::Content;
use crate::plan::Plan;
use crate::timeline::Timeline;

/// Longest time that is told apart, in microseconds: an hour. Beyond it: counted as an hour.
pub const MICROS_MAX: u64 = 3_600_000_000;

/// Counts and times.
#[derive(Clone, Debug)]
pub struct Tally {
    /// From the first power-on to the last end.
    pub elapsed: Duration,
    /// In the plan's order.
    pub fleets: Vec<FleetTally>,
    /// What the files hold.
    pub contents: Vec<Content>,
}

/// What came of one fleet.
#[derive(Clone, Debug)]
pub struct FleetTally {
    /// Clients powered on.
    pub started: u32,
    /// Clients that got every file.
    pub completed: u32,
    /// Clients that did not, by cause.
    pub failures: BTreeMap<String, u32>,
    /// Clients that were under way, or not yet powered on, when somebody ended the run.
    pub unfinished: u32,
    /// From power-on to the first block of the first file, in microseconds.
    pub first_data: Histogram<u64>,
    /// From power-on to the last block of the last file, in microseconds; of completed clients.
    pub completion: Histogram<u64>,
    /// When boots ended well, by the server of their last file.
    pub booted_at: Vec<Timeline>,
    /// When boots failed.
    pub failed_at: Timeline,
    /// Octets of whole files.
    pub bytes: u64,
    /// Boots completed, by the server of their last file.
    pub served: Vec<u32>,
    /// Times that a client went on to another server.
    pub failovers: u64,
    /// What became of the clients that did, and booted.
    pub moved: Moved,
    /// Every boot that ended well, if the plan keeps them.
    pub boots: Vec<Boot>,
    /// Optional files that a server did not have.
    pub absent: u64,
    /// From the moment when a client was due to the moment when the generator powered it on, in microseconds.
    pub late: Histogram<u64>,
    /// Packets, over all clients.
    pub packets: Packets,
}

/// The boot of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The client's number.
    pub client: u32,
    /// Position in the plan's list of the server of its last file.
    pub server: usize,
    /// From power-on to the last block of the last file, in microseconds.
    pub completion: u64,
    /// What it spent on servers that did not answer, in microseconds, if it went on from one.
    pub waited: Option<u64>,
}

/// Clients that booted, but not from their first server alone.
#[derive(Clone, Debug)]
pub struct Moved {
    /// As [`FleetTally::completion`], of these alone.
    pub completion: Histogram<u64>,
    /// What each of them spent on servers that did not answer, in microseconds: from the last packet of each, or from
    /// the request to it.
    pub waited: Histogram<u64>,
}

/// Packets, as the clients saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "the names say it; the report documents them")]
pub struct Packets {
    pub received: u64,
    pub sent: u64,
    pub duplicate: u64,
    pub ahead: u64,
    pub strangers: u64,
    pub retries: u64,
    pub lost_in: u64,
    pub lost_out: u64,
    pub send_errors: u64,
}

/// Why a client did not boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No server answered.
    NoAnswer,
    /// A server answered, then fell silent.
    Stalled,
    /// A server sent an ERROR of this code.
    Refused(u16),
    /// A server broke a rule.
    Violated(Violation),
    /// The file is not what it must be.
    Content,
    /// The run's deadline came first.
    Deadline,
    /// No request can carry the name.
    BadName,
    /// The system gave no socket.
    Socket,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoAnswer => f.write_str("no-answer"),
            Failure::Stalled => f.write_str("stalled"),
            Failure::Refused(code) => write!(f, "error-{code}"),
            Failure::Violated(violation) => {
                // The variant alone: block numbers would make a cause of each.
                let text = format!("{violation:?}");
                let name = text
                    .split(|c: char| !c.is_alphanumeric())
                    .next()
                    .unwrap_or_default();
                write!(f, "violation-{name}")
            }
            Failure::Content => f.write_str("content"),
            Failure::Deadline => f.write_str("deadline"),
            Failure::BadName => f.write_str("bad-name"),
            Failure::Socket => f.write_str("socket"),
        }
    }
}

/// A histogram of microseconds, to three digits.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(MICROS_MAX, 3).expect("fixed, sound bounds")
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Tally {
        let servers = plan.servers.len();
        Tally {
            elapsed: Duration::ZERO,
            fleets: (plan.fleets.iter())
                .map(|_| FleetTally::new(servers))
                .collect(),
            contents: plan.contents.clone(),
        }
    }

    /// Adds the tally of another thread. Where its clients agreed on another content than ours, those of them
    /// that booted with it have failed.
    pub fn merge(&mut self, mut other: Tally, plan: &Plan) {
        let theirs = std::mem::take(&mut other.contents);
        for (content, (ours, theirs)) in self.contents.iter_mut().zip(theirs).enumerate() {
            if !ours.merge(theirs) {
                other.fail_content(content, plan);
            }
        }
        self.elapsed = self.elapsed.max(other.elapsed);
        for (ours, theirs) in self.fleets.iter_mut().zip(&other.fleets) {
            ours.merge(theirs);
        }
    }

    /// A content turned out to be wrong: nobody has booted with it.
    pub fn fail_content(&mut self, content: usize, plan: &Plan) {
        for fleet in plan.fleets_with(content) {
            self.fleets[fleet].fail_completed();
        }
    }

    /// All fleets together.
    #[must_use]
    pub fn total(&self) -> FleetTally {
        let servers = self.fleets.first().map_or(0, |fleet| fleet.served.len());
        let mut total = FleetTally::new(servers);
        for fleet in &self.fleets {
            total.merge(fleet);
        }
        total
    }
}

impl FleetTally {
    /// Nothing yet, of so many servers.
    #[must_use]
    pub fn new(servers: usize) -> FleetTally {
        FleetTally {
            started: 0,
            completed: 0,
            failures: BTreeMap::new(),
            unfinished: 0,
            first_data: histogram(),
            completion: histogram(),
            booted_at: vec![Timeline::default(); servers],
            failed_at: Timeline::default(),
            bytes: 0,
            served: vec![0; servers],
            failovers: 0,
            moved: Moved {
                completion: histogram(),
                waited: histogram(),
            },
            boots: Vec::new(),
            absent: 0,
            late: histogram(),
            packets: Packets::default(),
        }
    }

    /// Adds what a download saw.
    pub fn count(&mut self, download: &Download) {
        let Counters {
            datagrams_in,
            datagrams_out,
            blocks_duplicate,
            blocks_ahead,
            retries,
            strangers,
        } = download.counters();
        self.packets.received += u64::from(datagrams_in);
        self.packets.sent += u64::from(datagrams_out);
        self.packets.duplicate += u64::from(blocks_duplicate);
        self.packets.ahead += u64::from(blocks_ahead);
        self.packets.retries += u64::from(retries);
        self.packets.strangers += u64::from(strangers);
    }

    /// Adds a failure.
    pub fn fail(&mut self, failure: Failure, clients: u32) {
        if clients > 0 {
            *self.failures.entry(failure.to_string()).or_default() += clients;
        }
    }

    /// Clients that failed.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.failures.values().sum()
    }

    /// Adds clients of the same fleet, or of another.
    pub fn merge(&mut self, other: &FleetTally) {
        self.started += other.started;
        self.completed += other.completed;
        self.unfinished += other.unfinished;
        self.bytes += other.bytes;
        self.failovers += other.failovers;
        self.absent += other.absent;
        self.packets.add(other.packets);
        self.boots.extend_from_slice(&other.boots);
        for (cause, clients) in &other.failures {
            *self.failures.entry(cause.clone()).or_default() += clients;
        }
        for (ours, theirs) in self.booted_at.iter_mut().zip(&other.booted_at) {
            ours.merge(theirs);
        }
        self.failed_at.merge(&other.failed_at);
        for (ours, theirs) in self.served.iter_mut().zip(&other.served) {
            *ours += theirs;
        }
        for (ours, theirs) in [
            (&mut self.first_data, &other.first_data),
            (&mut self.completion, &other.completion),
            (&mut self.moved.completion, &other.moved.completion),
            (&mut self.moved.waited, &other.moved.waited),
            (&mut self.late, &other.late),
        ] {
            ours.add(theirs).expect("the same bounds");
        }
    }

    /// The content turned out to be wrong: nobody has booted.
    fn fail_completed(&mut self) {
        self.fail(Failure::Content, self.completed);
        self.completed = 0;
        self.bytes = 0;
        self.completion.reset();
        self.boots.clear();
        self.moved.completion.reset();
        self.moved.waited.reset();
        self.served.fill(0);
        self.booted_at.fill(Timeline::default());
    }
}

impl Packets {
    fn add(&mut self, other: Packets) {
        self.received += other.received;
        self.sent += other.sent;
        self.duplicate += other.duplicate;
        self.ahead += other.ahead;
        self.strangers += other.strangers;
        self.retries += other.retries;
        self.lost_in += other.lost_in;
        self.lost_out += other.lost_out;
        self.send_errors += other.send_errors;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser;
    use daybreak_tftp::wire::BlockNumber;

    #[test]
    fn a_cause_has_one_name_whatever_its_numbers() {
        let violated = Failure::Violated(Violation::BeyondWindow(BlockNumber(7)));
        assert_eq!(violated.to_string(), "violation-BeyondWindow");
        assert_eq!(Failure::Refused(1).to_string(), "error-1");
    }

    #[test]
    fn threads_that_disagree_have_not_both_succeeded() {
        let line = "x --server 127.0.0.1:69 --file a";
        let plan = Plan::try_from(Args::try_parse_from(line.split(' ')).unwrap()).unwrap();
        let tally = |octets: &[u8]| {
            let mut content = Content::unknown();
            assert!(content.check(0, octets));
            let mut tally = Tally::new(&plan);
            tally.contents = vec![content];
            tally.fleets[0].completed = 2;
            tally.fleets[0].completion.saturating_record(5);
            tally
        };
        let mut agreed = tally(b"abc");
        agreed.merge(tally(b"abc"), &plan);
        let fleet = &agreed.fleets[0];
        assert_eq!(
            (fleet.completed, fleet.failed(), fleet.completion.len()),
            (4, 0, 2)
        );
        let mut split = tally(b"abc");
        split.merge(tally(b"abd"), &plan);
        let total = split.total();
        assert_eq!((total.completed, total.failures["content"]), (2, 2));
    }
}
