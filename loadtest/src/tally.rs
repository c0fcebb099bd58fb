//! What came of the clients of one thread; the tallies of several threads merge.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use daybreak_tftp::download::{Counters, Download, Violation};
use hdrhistogram::Histogram;

use crate::content::Content;

/// Longest time that is told apart, in microseconds: an hour. Beyond it: counted as an hour.
const MICROS_MAX: u64 = 3_600_000_000;

/// Counts and times.
#[derive(Clone, Debug)]
pub struct Tally {
    /// From the first power-on to the last end.
    pub elapsed: Duration,
    /// Clients powered on.
    pub started: u32,
    /// Clients that got every file.
    pub completed: u32,
    /// Clients that did not, by cause.
    pub failures: BTreeMap<String, u32>,
    /// From power-on to the first block of the first file, in microseconds.
    pub first_data: Histogram<u64>,
    /// From power-on to the last block of the last file, in microseconds; of completed clients.
    pub completion: Histogram<u64>,
    /// Octets of whole files.
    pub bytes: u64,
    /// Boots completed, by the server of their last file.
    pub served: Vec<u32>,
    /// Times that a client went on to another server.
    pub failovers: u64,
    /// Packets, over all clients.
    pub packets: Packets,
    /// What the files hold.
    pub contents: Vec<Content>,
}

/// Packets, as the clients saw them.
#[derive(Clone, Copy, Debug, Default)]
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

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new(servers: usize, contents: Vec<Content>) -> Tally {
        let histogram = || Histogram::new_with_max(MICROS_MAX, 3).expect("fixed, sound bounds");
        Tally {
            elapsed: Duration::ZERO,
            started: 0,
            completed: 0,
            failures: BTreeMap::new(),
            first_data: histogram(),
            completion: histogram(),
            bytes: 0,
            served: vec![0; servers],
            failovers: 0,
            packets: Packets::default(),
            contents,
        }
    }

    /// Adds what a download saw.
    pub fn count(&mut self, download: &Download) {
        let Counters {
            datagrams_in,
            datagrams_out,
            ..
        } = download.counters();
        let Counters {
            blocks_duplicate,
            blocks_ahead,
            retries,
            strangers,
            ..
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

    /// Adds the tally of another thread. If its clients agreed on another content than ours, theirs have failed.
    pub fn merge(&mut self, mut other: Tally) {
        let agree = |(ours, theirs): (&Content, &Content)| {
            let (ours, theirs) = (ours.octets(), theirs.octets());
            let len = ours.len().min(theirs.len());
            ours[..len] == theirs[..len]
        };
        if !self.contents.iter().zip(&other.contents).all(agree) {
            other.fail_completed();
        }
        for (ours, theirs) in self.contents.iter_mut().zip(other.contents) {
            if theirs.octets().len() > ours.octets().len() {
                *ours = theirs;
            }
        }
        self.elapsed = self.elapsed.max(other.elapsed);
        self.started += other.started;
        self.completed += other.completed;
        for (cause, clients) in other.failures {
            *self.failures.entry(cause).or_default() += clients;
        }
        self.first_data
            .add(other.first_data)
            .expect("the same bounds");
        self.completion
            .add(other.completion)
            .expect("the same bounds");
        self.bytes += other.bytes;
        for (ours, theirs) in self.served.iter_mut().zip(other.served) {
            *ours += theirs;
        }
        self.failovers += other.failovers;
        self.packets.add(other.packets);
    }

    /// The content turned out to be wrong: nobody has booted.
    pub fn fail_completed(&mut self) {
        self.fail(Failure::Content, self.completed);
        self.completed = 0;
        self.bytes = 0;
        self.completion.reset();
        self.served.fill(0);
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
    use daybreak_tftp::wire::BlockNumber;

    #[test]
    fn a_cause_has_one_name_whatever_its_numbers() {
        let violated = Failure::Violated(Violation::BeyondWindow(BlockNumber(7)));
        assert_eq!(violated.to_string(), "violation-BeyondWindow");
        assert_eq!(Failure::Refused(1).to_string(), "error-1");
    }

    #[test]
    fn threads_that_disagree_have_not_both_succeeded() {
        let tally = |octets: &[u8]| {
            let mut content = Content::unknown();
            assert!(content.check(0, octets));
            let mut tally = Tally::new(1, vec![content]);
            tally.completed = 2;
            tally.completion.saturating_record(5);
            tally
        };
        let mut agreed = tally(b"abc");
        agreed.merge(tally(b"abc"));
        assert_eq!(
            (agreed.completed, agreed.failed(), agreed.completion.len()),
            (4, 0, 2)
        );
        let mut split = tally(b"abc");
        split.merge(tally(b"abd"));
        assert_eq!((split.completed, split.failures["content"]), (2, 2));
    }
}
