//! What is asked of us, and whether it is reached.

use std::fmt::Write as _;

use super::row::{Row, median};
use super::sample::Raw;
use super::scenario::Scenario;
use super::server::Server;

/// One demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// CPU for each octet, against the best peer.
    CpuOfBestPeer,
    /// The same against the bare sender of trains.
    CpuOfFloor,
    /// The same against dnsmasq.
    CpuOfDnsmasq,
    /// The same with two workers, against one.
    CpuOfTwoWorkers,
    /// Octets a second, against every peer.
    ThroughputOfEveryPeer,
    /// Time to the first block (p99), against the best peer.
    FirstDataOfBestPeer,
    /// The same, against the patience of a client.
    FirstDataWithinASecond,
    /// Median completion, against the best peer.
    MedianOfBestPeer,
    /// Every client gets its file.
    AllFinish,
    /// The kernel drops nothing at our sockets.
    NoDrops,
    /// Memory that is not a mapped image.
    OwnMemory,
    /// The last completion, against the time of the wire.
    LastOfWireTime,
    /// The median completion, against the last.
    MedianOfLast,
    /// What the queue of the wire drops.
    QueueDrops,
}

/// How a demand was met.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was compared, and the figures.
    pub what: String,
    /// Whether; none where there was nothing to compare with.
    pub met: Option<bool>,
}

const MIB: f64 = 1_048_576.0;

impl Bar {
    /// How it was met; none where we did not run.
    #[must_use]
    pub fn judge(self, scenario: &Scenario, rows: &[Row], raw: &Raw) -> Option<Verdict> {
        let ours = rows.iter().find(|row| row.server == Server::Daybreak)?;
        let of = |server| rows.iter().find(|row| row.server == server);
        let done = |figure: fn(super::row::Times) -> f64| ours.done.map(figure);
        Some(match self {
            Bar::CpuOfBestPeer => {
                let best = best(rows, |row| row.cpu_s_per_gb);
                against("CPU a GB", ours.cpu_s_per_gb, named(best), 0.30)
            }
            Bar::CpuOfFloor => {
                let blocks = usize::from(scenario.windowsize);
                let trains = raw
                    .floors
                    .iter()
                    .filter(|floor| floor.blocks == blocks && !floor.watched);
                let floor = median(trains.map(|floor| floor.cpu_s_per_gb));
                let floor = floor.map(|figure| ("the bare GSO sender".to_owned(), figure));
                against("CPU a GB", ours.cpu_s_per_gb, floor, 1.35)
            }
            Bar::CpuOfDnsmasq => {
                let cpu = of(Server::Dnsmasq).and_then(|row| row.cpu_s_per_gb);
                let cpu = cpu.map(|figure| ("dnsmasq".to_owned(), figure));
                let mut verdict = against("CPU a GB", ours.cpu_s_per_gb, cpu, 1.0);
                verdict.what += " (goal 0.85)";
                verdict
            }
            Bar::CpuOfTwoWorkers => {
                let two = of(Server::DaybreakTwoOnOne)?.cpu_s_per_gb;
                let one = ours
                    .cpu_s_per_gb
                    .map(|figure| ("one worker".to_owned(), figure));
                let both = of(Server::DaybreakTwo).and_then(|row| row.cpu_s_per_gb);
                let mut verdict = against("CPU a GB of two workers on one core", two, one, 1.1);
                if let Some((both, one)) = both.zip(ours.cpu_s_per_gb) {
                    let ratio = both / one;
                    write!(
                        verdict.what,
                        " (on both, the clients beside one: {ratio:.3} ×)"
                    )
                    .ok();
                }
                verdict
            }
            Bar::ThroughputOfEveryPeer => {
                let peers = rows.iter().filter(|row| row.server.is_peer());
                let best = peers.max_by(|a, b| a.bytes_per_s.total_cmp(&b.bytes_per_s));
                let best = best.map(|row| (row.server.title().to_owned(), row.bytes_per_s));
                let ratio = best.as_ref().map(|(_, theirs)| ours.bytes_per_s / theirs);
                let named = best.map_or("a peer".to_owned(), |(name, _)| name);
                let ratio_text = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
                Verdict {
                    what: format!("throughput {ratio_text} × {named}, the fastest; bar ≥ 1"),
                    met: ratio.map(|ratio| ratio >= 1.0),
                }
            }
            Bar::FirstDataOfBestPeer => {
                let figure = |row: &Row| row.first.map(|times| times.p99);
                let best = best(rows, figure);
                against("first DATA p99", figure(ours), named(best), 0.1)
            }
            Bar::FirstDataWithinASecond => {
                let p99 = ours.first.map(|times| times.p99);
                bound("first DATA p99", p99, 1000.0, " ms")
            }
            Bar::MedianOfBestPeer => {
                let figure = |row: &Row| row.done.map(|times| times.p50);
                let best = best(rows, figure);
                against("median completion", figure(ours), named(best), 0.25)
            }
            Bar::AllFinish => Verdict {
                what: format!("{:.1} % finish; bar 100 %", ours.finished * 100.0),
                met: Some(ours.all_finished),
            },
            Bar::NoDrops => Verdict {
                what: format!("{} kernel drops at our sockets; bar 0", ours.server_drops),
                met: Some(ours.server_drops == 0),
            },
            Bar::OwnMemory => bound("own memory", Some(ours.memory_own / MIB), 64.0, " MiB"),
            Bar::LastOfWireTime => {
                let wire_ms = scenario.wire_s() * 1000.0;
                let wire = Some(("the wire time".to_owned(), wire_ms));
                against("last completion", done(|times| times.max), wire, 1.10)
            }
            Bar::MedianOfLast => {
                let last = done(|times| times.max).map(|last| ("the last".to_owned(), last));
                against("median completion", done(|times| times.p50), last, 0.60)
            }
            Bar::QueueDrops => {
                let percent = ours.queue_drops.map(|share| share * 100.0);
                bound("dropped at the queue", percent, 2.0, " %")
            }
        })
    }
}

/// The best peer of a figure that is better when lower, as the bar has it: the best among those whose clients
/// all finish, or else the one with most clients finished.
fn best(rows: &[Row], figure: impl Fn(&Row) -> Option<f64>) -> Option<(Server, f64)> {
    let peers = || {
        let peers = rows.iter().filter(|row| row.server.is_peer());
        peers.filter_map(|row| Some((row, figure(row)?)))
    };
    let whole = peers().filter(|(row, _)| row.all_finished);
    let whole = whole.min_by(|(_, a), (_, b)| a.total_cmp(b));
    let most = || peers().max_by(|(a, _), (b, _)| a.finished.total_cmp(&b.finished));
    whole
        .or_else(most)
        .map(|(row, figure)| (row.server, figure))
}

fn named(best: Option<(Server, f64)>) -> Option<(String, f64)> {
    best.map(|(server, figure)| (server.title().to_owned(), figure))
}

/// A ratio that must not be above a limit.
fn against(what: &str, ours: Option<f64>, theirs: Option<(String, f64)>, limit: f64) -> Verdict {
    let (Some(ours), Some((name, theirs))) = (ours, theirs) else {
        return Verdict {
            what: format!("{what}: nothing to compare with; bar {limit:.2}"),
            met: None,
        };
    };
    let ratio = ours / theirs;
    Verdict {
        what: format!("{what} {ratio:.3} × {name}; bar {limit:.2}"),
        met: Some(ratio <= limit),
    }
}

/// A figure that must be below a limit.
fn bound(what: &str, ours: Option<f64>, limit: f64, unit: &str) -> Verdict {
    Verdict {
        what: match ours {
            Some(ours) => format!("{what} {ours:.1}{unit}; bar {limit:.0}{unit}"),
            None => format!("{what}: nobody got so far; bar {limit:.0}{unit}"),
        },
        met: Some(ours.is_some_and(|ours| ours <= limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(server: Server, finished: f64, cpu_s_per_gb: Option<f64>) -> Row {
        Row {
            server,
            rounds: 3,
            finished,
            all_finished: finished >= 1.0,
            cpu_s_per_gb,
            generator_s_per_gb: None,
            bytes_per_s: 0.0,
            first: None,
            done: None,
            memory_own: 0.0,
            memory_resident: 0.0,
            server_drops: 0,
            queue_drops: None,
            notes: None,
        }
    }

    #[test]
    fn the_best_peer_is_the_best_of_those_whose_clients_all_finish() {
        let rows = [
            row(Server::Daybreak, 1.0, Some(1.0)),
            row(Server::Atftpd, 0.999, Some(2.0)),
            row(Server::Dnsmasq, 1.0, Some(5.0)),
            row(Server::TftpdCrate, 1.0, Some(4.0)),
        ];
        let found = best(&rows, |row| row.cpu_s_per_gb);
        assert_eq!(found, Some((Server::TftpdCrate, 4.0)));
    }

    #[test]
    fn where_no_peer_gets_all_through_the_best_is_who_gets_most_through() {
        let rows = [
            row(Server::Daybreak, 1.0, Some(1.0)),
            row(Server::Atftpd, 0.3, Some(2.0)),
            row(Server::AsyncTftp, 0.9, Some(9.0)),
            row(Server::TftpdHpa, 0.0, None),
        ];
        let found = best(&rows, |row| row.cpu_s_per_gb);
        assert_eq!(found, Some((Server::AsyncTftp, 9.0)));
        assert_eq!(best(&rows[..1], |row| row.cpu_s_per_gb), None);
    }

    #[test]
    fn a_bar_is_met_at_its_limit_and_not_judged_without_a_peer() {
        let peer = |figure| Some(("a peer".to_owned(), figure));
        assert_eq!(against("it", Some(0.25), peer(1.0), 0.25).met, Some(true));
        assert_eq!(against("it", Some(0.26), peer(1.0), 0.25).met, Some(false));
        assert_eq!(against("it", Some(0.25), None, 0.25).met, None);
        assert_eq!(bound("it", Some(64.0), 64.0, "").met, Some(true));
        assert_eq!(
            bound("it", None, 64.0, "").met,
            Some(false),
            "nobody got so far"
        );
    }
}
