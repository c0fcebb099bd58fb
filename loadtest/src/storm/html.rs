//! The report as one page: charts and tables, complete in itself. It needs no script and no network, and it is
//! well-formed XML, so that any program can read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::chart::{self, Series, escaped, number};
use super::report::{Outcome, Spread, StormReport, octets, ratio};
use super::text::warnings;

const STYLE: &str = include_str!("style.css");

/// Bars of the chart of boots by time, about.
const COLUMNS: f64 = 60.0;

/// The page.
#[must_use]
pub fn page(report: &StormReport) -> String {
    let mut page = String::new();
    let title = escaped(&report.scenario.title);
    write!(
        page,
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width\"/><title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    )
    .expect("memory");
    for warning in warnings(report) {
        writeln!(page, "<p class=\"note\">{}</p>", escaped(&warning)).expect("memory");
    }
    page.push_str(&facts(report));
    section(&mut page, "Boots over time", &boots_over_time(report));
    section(&mut page, "Boots per second", &boots_per_second(report));
    section(&mut page, "How long a boot took", &completion(report));
    section(&mut page, "Servers", &servers(report));
    section(&mut page, "Fleets", &fleets(report));
    section(&mut page, "Failures by cause", &failures(report));
    section(&mut page, "Files", &files(report));
    section(&mut page, "What it cost", &cost(report));
    page.push_str("</body></html>\n");
    page
}

fn section(page: &mut String, title: &str, content: &str) {
    writeln!(page, "<section><h2>{title}</h2>\n{content}</section>").expect("memory");
}

/// A table; numbers stand to the right.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = String::from("<table><thead><tr>");
    for name in head {
        write!(table, "<th>{name}</th>").expect("memory");
    }
    table.push_str("</tr></thead><tbody>\n");
    for row in rows {
        table.push_str("<tr>");
        for cell in row {
            write!(table, "<td>{}</td>", escaped(&cell)).expect("memory");
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody></table>\n");
    table
}

fn millis(value: f64) -> String {
    format!("{value:.1} ms")
}

fn facts(report: &StormReport) -> String {
    let total = &report.total;
    let boot = &total.completion_ms.quantiles;
    let rows = [
        (
            "booted",
            format!("{} of {}", total.completed, total.planned),
        ),
        ("failed", total.failed.to_string()),
        ("moved to another server", total.moved().to_string()),
        ("boot, median", millis(boot.p50)),
        ("boot, 99 %", millis(boot.p99)),
        ("boot, last", millis(boot.max)),
        (
            "first data, 99 %",
            millis(total.time_to_first_data_ms.quantiles.p99),
        ),
        (
            "throughput",
            format!("{:.1} MB/s", report.throughput_bytes_per_s / 1e6),
        ),
        (
            "in all",
            format!(
                "{:.1} MB in {:.2} s",
                octets(total.bytes) / 1e6,
                report.elapsed_s
            ),
        ),
    ];
    let mut facts = String::from("<dl>");
    for (name, value) in rows {
        write!(
            facts,
            "<div><dt>{name}</dt><dd>{}</dd></div>",
            escaped(&value)
        )
        .expect("memory");
    }
    facts + "</dl>\n"
}

/// Boots by the end of each bin, over all servers.
fn booted(outcome: &Outcome) -> crate::timeline::Timeline {
    let mut all = crate::timeline::Timeline::default();
    for timeline in &outcome.booted_at {
        all.merge(timeline);
    }
    all
}

/// How many until then.
fn running(bins: impl Iterator<Item = (f64, u32)>) -> Vec<(f64, f64)> {
    let mut sum = 0.0;
    bins.map(|(end, count)| {
        sum += f64::from(count);
        (end, sum)
    })
    .collect()
}

fn boots_over_time(report: &StormReport) -> String {
    let mut lines = vec![Series::new(
        "booted",
        0,
        running(booted(&report.total).bins()),
    )];
    if report.servers.len() > 1 {
        for (index, server) in report.servers.iter().enumerate() {
            let timeline = &report.total.booted_at[index];
            let name = format!("from {}", server.name);
            lines.push(Series::new(name, index + 1, running(timeline.bins())));
        }
    }
    if report.total.failed > 0 {
        lines.push(Series {
            name: "failed".to_owned(),
            points: running(report.total.failed_at.bins()),
            class: "bad".to_owned(),
        });
    }
    chart::steps(
        "Boots over time",
        "s",
        f64::from(report.total.planned),
        &lines,
    )
}

fn boots_per_second(report: &StormReport) -> String {
    let width = (report.elapsed_s / COLUMNS).max(f64::from(report.bin_ms) / 1000.0);
    let mut columns: BTreeMap<u32, f64> = BTreeMap::new();
    for (end, count) in booted(&report.total).bins() {
        let start = end - f64::from(report.bin_ms) / 1000.0;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "about as many as columns"
        )]
        let column = (start / width) as u32;
        *columns.entry(column).or_default() += f64::from(count) / width;
    }
    let points: Vec<(f64, f64)> = (columns.into_iter())
        .map(|(column, rate)| (f64::from(column) * width, rate))
        .collect();
    chart::columns("Boots per second", report.elapsed_s, width, &points)
}

/// What share of them took no longer, in percent, by seconds.
fn distribution(spread: &Spread) -> Vec<(f64, f64)> {
    let all = octets(spread.quantiles.count);
    let mut sum = 0.0;
    (spread.micros.iter())
        .map(|(micros, count)| {
            sum += octets(*count);
            (octets(*micros) / 1e6, 100.0 * ratio(sum, all))
        })
        .collect()
}

fn completion(report: &StormReport) -> String {
    let mut lines = vec![Series::new(
        "all",
        0,
        distribution(&report.total.completion_ms),
    )];
    if report.fleets.len() > 1 {
        for (index, fleet) in report.fleets.iter().enumerate() {
            let points = distribution(&fleet.outcome.completion_ms);
            lines.push(Series::new(&fleet.name, index + 1, points));
        }
    }
    let caption = "<p>Percent of the booted clients that were done within so many seconds of their power-on.</p>\n";
    chart::steps("How long a boot took", "s", 100.0, &lines) + caption
}

fn servers(report: &StormReport) -> String {
    let total = &report.total;
    let named: Vec<(String, u32)> = (report.servers.iter().zip(&total.served))
        .map(|(server, served)| (server.name.clone(), *served))
        .collect();
    let head: Vec<&str> = ["Server", "Address", "Booted", "Share", "First", "Last"].to_vec();
    let rows = report.servers.iter().enumerate().map(|(index, server)| {
        let timeline = &total.booted_at[index];
        let at = |end: Option<(f64, u32)>| {
            end.map_or("-".to_owned(), |(end, _)| format!("{} s", number(end)))
        };
        vec![
            server.name.clone(),
            server.address.clone(),
            total.served[index].to_string(),
            format!(
                "{:.1} %",
                100.0 * ratio(f64::from(total.served[index]), f64::from(total.completed))
            ),
            at(timeline.bins().next()),
            at(timeline.bins().last()),
        ]
    });
    let mut text = chart::bars("Boots by server", "s0", &named) + &table(&head, rows);
    if total.failovers > 0 {
        let (waited, boot) = (
            &total.moved_waited_ms.quantiles,
            &total.moved_completion_ms.quantiles,
        );
        writeln!(
            text,
            "<p>{} clients went on to another server, {} times in all, and booted. Waiting for servers that did not answer cost each {} (median), {} at most; \
             their boots took {} (median), {} at most.</p>",
            total.moved(), total.failovers, millis(waited.p50), millis(waited.max), millis(boot.p50), millis(boot.max)
        )
        .expect("memory");
    }
    text
}

fn fleets(report: &StormReport) -> String {
    let mut head = vec![
        "Fleet",
        "Client",
        "Asks for",
        "Loss",
        "Booted",
        "Failed",
        "Moved",
        "First data p99",
        "Boot p50",
        "Boot p99",
        "Boot max",
    ];
    let names: Vec<String> = (report.servers.iter())
        .map(|server| format!("From {}", escaped(&server.name)))
        .collect();
    head.extend(names.iter().map(String::as_str));
    let rows = report.fleets.iter().map(|fleet| {
        let outcome = &fleet.outcome;
        let boot = &outcome.completion_ms.quantiles;
        let options: Vec<String> = (fleet.options.iter())
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let mut row = vec![
            fleet.name.clone(),
            fleet.profile.clone(),
            options.join(", "),
            format!("{} %", number(fleet.loss * 100.0)),
            format!("{} of {}", outcome.completed, outcome.planned),
            outcome.failed.to_string(),
            outcome.moved().to_string(),
            millis(outcome.time_to_first_data_ms.quantiles.p99),
            millis(boot.p50),
            millis(boot.p99),
            millis(boot.max),
        ];
        row.extend(outcome.served.iter().map(u32::to_string));
        row
    });
    table(&head, rows)
}

fn failures(report: &StormReport) -> String {
    let causes: Vec<(String, u32)> = (report.total.failures.iter())
        .map(|(cause, clients)| (cause.clone(), *clients))
        .collect();
    if causes.is_empty() {
        return "<p>None.</p>\n".to_owned();
    }
    let rows = report.fleets.iter().flat_map(|fleet| {
        let causes = fleet.outcome.failures.iter();
        causes.map(|(cause, clients)| vec![fleet.name.clone(), cause.clone(), clients.to_string()])
    });
    chart::bars("Failures by cause", "bad", &causes) + &table(&["Fleet", "Cause", "Clients"], rows)
}

fn files(report: &StormReport) -> String {
    let rows = report.files.iter().map(|file| {
        vec![
            file.role.name().to_owned(),
            file.name.clone(),
            file.bytes.to_string(),
            file.blake3.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    table(&["Role", "Name", "Octets", "BLAKE3"], rows)
}

fn cost(report: &StormReport) -> String {
    let packets = &report.total.packets;
    let generators = report.generators.iter().map(|each| {
        vec![
            format!("generator, share {} of {}", each.part, report.share.of),
            format!("{:.2} s", each.cpu_s),
            format!("{:.2} s/GB", report.per_gb(each.cpu_s)),
            format!(
                "busy {:.0} %, {} datagrams dropped by its kernel",
                each.busy * 100.0,
                each.kernel_receive_drops
            ),
        ]
    });
    let servers = report.server_processes.iter().map(|each| {
        vec![
            format!("{} ({})", each.name, each.pid),
            format!("{:.2} s", each.cpu_s),
            format!("{:.2} s/GB", report.per_gb(each.cpu_s)),
            format!(
                "at most {:.1} MiB",
                octets(each.memory_bytes_max) / 1_048_576.0
            ),
        ]
    });
    let mut text = table(
        &["Process", "CPU", "CPU per GB", ""],
        generators.chain(servers),
    );
    writeln!(
        text,
        "<p>Packets: {} in, {} out, {} retries, {} duplicate, {} ahead of a gap; dropped on purpose {} in, {} out.</p>",
        packets.received, packets.sent, packets.retries, packets.duplicate, packets.ahead, packets.lost_in, packets.lost_out
    )
    .expect("memory");
    text
}
