//! The reports of several processes that shared a scenario, as one: as if one process had driven all clients.

use std::collections::BTreeSet;

use super::report::{Outcome, Server, StormReport};
use crate::timeline;

/// Reports that cannot be one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CannotMerge {
    /// No report.
    #[error("there is no report: name the files that `storm --json FILE` wrote")]
    Nothing,
    /// Of another version.
    #[error("{0}: schema {1} is not known here: merge with the version that wrote it")]
    Schema(String, u32),
    /// Of different runs.
    #[error(
        "{0} is of another scenario, seed or list of servers than {1}: merge the shares of one run"
    )]
    Scenario(String, String),
    /// One share twice.
    #[error("{0} holds share {1}, which another report holds too: name each report once")]
    Twice(String, u32),
    /// Different octets under one name.
    #[error(
        "{0} got another {1:?} than {2}: the servers do not hold the same files, so these are two results"
    )]
    Content(String, String, String),
    /// A shape that no run has.
    #[error("{0} is no report of this scenario: its fleets or servers do not match")]
    Shape(String),
}

/// Merges reports, each with the name that errors call it by.
///
/// # Errors
/// [`CannotMerge`].
pub fn merge(reports: Vec<(String, StormReport)>) -> Result<StormReport, CannotMerge> {
    let start = reports.iter().map(|(_, each)| each.started_unix_ms).min();
    let mut reports = reports.into_iter();
    let (first, mut whole) = reports.next().ok_or(CannotMerge::Nothing)?;
    checked(&first, &whole)?;
    let start = start.expect("one at least");
    start_at(&mut whole, start);
    for (name, mut report) in reports {
        checked(&name, &report)?;
        let same = (report.scenario == whole.scenario && report.share.of == whole.share.of)
            && report.servers == whole.servers;
        if !same {
            return Err(CannotMerge::Scenario(name, first));
        }
        let held: BTreeSet<u32> = whole.share.parts.iter().copied().collect();
        if let Some(part) = report.share.parts.iter().find(|part| held.contains(part)) {
            return Err(CannotMerge::Twice(name, *part));
        }
        if report.fleets.len() != whole.fleets.len() || report.files.len() != whole.files.len() {
            return Err(CannotMerge::Shape(name));
        }
        start_at(&mut report, start);
        for (ours, theirs) in whole.files.iter_mut().zip(&report.files) {
            match (&ours.blake3, &theirs.blake3) {
                (Some(our_hash), Some(their_hash)) if our_hash != their_hash => {
                    return Err(CannotMerge::Content(name, ours.name.clone(), first));
                }
                (None, Some(_)) => *ours = theirs.clone(),
                (None, None) => ours.bytes = ours.bytes.max(theirs.bytes),
                (Some(_), _) => {}
            }
        }
        add(&mut whole.total, &report.total);
        for (ours, theirs) in whole.fleets.iter_mut().zip(&report.fleets) {
            add(&mut ours.outcome, &theirs.outcome);
        }
        whole.elapsed_s = whole.elapsed_s.max(report.elapsed_s);
        whole.interrupted |= report.interrupted;
        whole.share.parts.extend(report.share.parts);
        whole.share.parts.sort_unstable();
        whole.generators.extend(report.generators);
        for theirs in report.server_processes {
            // Two generators that watched the same process both saw it whole.
            let ours = (whole.server_processes.iter_mut())
                .find(|ours| (ours.pid, &ours.name) == (theirs.pid, &theirs.name));
            match ours {
                Some(ours) => {
                    ours.cpu_s = ours.cpu_s.max(theirs.cpu_s);
                    ours.memory_bytes_max = ours.memory_bytes_max.max(theirs.memory_bytes_max);
                }
                None => whole.server_processes.push(theirs),
            }
        }
    }
    whole.generators.sort_by_key(|each| each.part);
    whole.set_throughput();
    Ok(whole)
}

/// Whether a report, which came from a file, has the shape that the rest here relies on.
fn checked(name: &str, report: &StormReport) -> Result<(), CannotMerge> {
    if report.schema != super::report::SCHEMA || report.bin_ms != timeline::BIN_MS {
        return Err(CannotMerge::Schema(name.to_owned(), report.schema));
    }
    let fits = |outcome: &Outcome, servers: &[Server]| {
        outcome.served.len() == servers.len() && outcome.booted_at.len() == servers.len()
    };
    let outcomes = report.fleets.iter().map(|fleet| &fleet.outcome);
    if !(outcomes.chain([&report.total])).all(|outcome| fits(outcome, &report.servers)) {
        return Err(CannotMerge::Shape(name.to_owned()));
    }
    Ok(())
}

/// Counts the times of a report from an earlier start.
fn start_at(report: &mut StormReport, start_unix_ms: u64) {
    let later_ms = report.started_unix_ms.saturating_sub(start_unix_ms);
    let bins = u32::try_from(later_ms / u64::from(timeline::BIN_MS)).unwrap_or(u32::MAX);
    report.elapsed_s += std::time::Duration::from_millis(later_ms).as_secs_f64();
    report.started_unix_ms = start_unix_ms;
    let outcomes = report.fleets.iter_mut().map(|fleet| &mut fleet.outcome);
    for outcome in outcomes.chain([&mut report.total]) {
        for timeline in outcome.booted_at.iter_mut().chain([&mut outcome.failed_at]) {
            *timeline = timeline.later(bins);
        }
    }
}

fn add(ours: &mut Outcome, theirs: &Outcome) {
    let mut tally = ours.tally();
    tally.merge(&theirs.tally());
    *ours = Outcome::new(&tally, ours.planned + theirs.planned);
}
