//! All tables of a run, with the bars below them: on a terminal, and in docs/performance.md between two marks.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::floor::Floor;
use super::row::{Row, Times, median};
use super::sample::Raw;
use super::scenario::{self, Scenario, Way};
use super::server::Server;
use super::table::Table;

const BEGIN: &str = "<!-- tables: begin -->\n";
const END: &str = "<!-- tables: end -->\n";
const MIB: f64 = 1_048_576.0;
const NONE: &str = "–";

/// All tables, as Markdown.
#[must_use]
pub fn text(raw: &Raw) -> String {
    let mut text = format!("Linux {}, {} cores.\n", raw.kernel, raw.cores);
    text += &floors(raw);
    for scenario in scenario::all() {
        text += &section(&scenario, raw);
    }
    text
}

/// Puts the tables into a document, between its marks; a document without marks, or none, becomes the tables.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, raw: &Raw) -> Result<()> {
    let tables = text(raw);
    let old = fs::read_to_string(path).unwrap_or_default();
    let new = match (old.split_once(BEGIN), old.split_once(END)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{BEGIN}\n{tables}\n{END}{after}"),
        _ => tables,
    };
    fs::write(path, new).with_context(|| format!("writing {}", path.display()))
}

/// One load: its table, and what is asked of us. Nothing where nobody ran.
#[must_use]
pub fn section(scenario: &Scenario, raw: &Raw) -> String {
    let servers = Server::ALL.into_iter().chain(Server::TWO_WORKERS);
    let knows_no_window = |server| scenario.windowsize > 1 && raw.without_window.contains(&server);
    let rows: Vec<Row> = servers
        .clone()
        .filter(|server| !knows_no_window(*server))
        .filter_map(|server| Row::of(server, scenario, &raw.samples))
        .collect();
    let Some(rounds) = rows.iter().map(|row| row.rounds).max() else {
        return String::new();
    };
    let plural = if rounds == 1 { "" } else { "s" };
    let mut text = format!("\n### {}\n\n", scenario.title());
    let mut table = match scenario.way {
        Way::Loopback => loopback(&rows, rounds),
        Way::SlowWire => slow_wire(&rows, scenario, rounds),
    };
    for server in servers {
        if knows_no_window(server) {
            table.rows.push(without_window(server, table.head.len()));
        }
    }
    text += &table.markdown();
    writeln!(text, "\n`{}`, {rounds} round{plural}.", scenario.name).ok();
    for bar in scenario.bars {
        if let Some(verdict) = bar.judge(scenario, &rows, raw) {
            let met = match verdict.met {
                Some(true) => "met",
                Some(false) => "**not met**",
                None => "not judged",
            };
            writeln!(text, "- {}: {met}", verdict.what).ok();
        }
    }
    text
}

fn loopback(rows: &[Row], rounds: usize) -> Table {
    let row = |row: &Row| {
        let mut cells = vec![
            row.server.title().to_owned(),
            percent(row.finished),
            figure(row.cpu_s_per_gb, 2),
            figure(row.generator_s_per_gb, 2),
            format!("{:.0}", row.bytes_per_s / 1e6),
        ];
        for times in [row.first, row.done] {
            cells.extend(quantiles(times));
        }
        cells.extend([
            format!("{:.1}", row.memory_own / MIB),
            format!("{:.0}", row.memory_resident / MIB),
            row.server_drops.to_string(),
            notes(row, rounds),
        ]);
        cells
    };
    Table {
        head: vec![
            "server",
            "finish",
            "CPU s/GB",
            "generator s/GB",
            "MB/s",
            "first p50 ms",
            "p99",
            "max",
            "done p50 ms",
            "p99",
            "max",
            "own MiB",
            "with files",
            "drops",
            "notes",
        ],
        rows: rows.iter().map(row).collect(),
    }
}

fn slow_wire(rows: &[Row], scenario: &Scenario, rounds: usize) -> Table {
    let row = |row: &Row| {
        let last = row.done.map(|times| times.max / 1000.0);
        let median = row.done.map(|times| times.p50 / 1000.0);
        vec![
            row.server.title().to_owned(),
            percent(row.finished),
            figure(last, 1),
            figure(last.map(|last| last / scenario.wire_s()), 2),
            figure(median, 1),
            figure(median.zip(last).map(|(median, last)| median / last), 2),
            row.queue_drops.map_or(NONE.to_owned(), percent),
            figure(row.first.map(|times| times.p99), 0),
            figure(row.cpu_s_per_gb, 2),
            notes(row, rounds),
        ]
    };
    Table {
        head: vec![
            "server",
            "finish",
            "last s",
            "× wire time",
            "median s",
            "× last",
            "queue drops",
            "first p99 ms",
            "CPU s/GB",
            "notes",
        ],
        rows: rows.iter().map(row).collect(),
    }
}

/// Why clients failed; and whether the server ran in fewer rounds than others.
fn notes(row: &Row, rounds: usize) -> String {
    let fewer = (row.rounds < rounds).then(|| format!("{} of {rounds} rounds", row.rounds));
    let notes: Vec<String> = row.notes.iter().cloned().chain(fewer).collect();
    notes.join("; ")
}

fn without_window(server: Server, columns: usize) -> Vec<String> {
    let mut cells = vec![NONE.to_owned(); columns];
    server.title().clone_into(&mut cells[0]);
    "knows no windowsize".clone_into(&mut cells[columns - 1]);
    cells
}

fn floors(raw: &Raw) -> String {
    let mut sizes: Vec<usize> = raw.floors.iter().map(|floor| floor.blocks).collect();
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.is_empty() {
        return String::new();
    }
    let cpu = |blocks: usize, watched: bool| {
        let same = |floor: &&Floor| floor.blocks == blocks && floor.watched == watched;
        let mine = raw.floors.iter().filter(same);
        figure(median(mine.map(|floor| floor.cpu_s_per_gb)), 2)
    };
    let row = |blocks: usize| {
        let how = match blocks {
            1 => "one send a block",
            _ => "one GSO send a train",
        };
        vec![
            blocks.to_string(),
            cpu(blocks, false),
            cpu(blocks, true),
            how.to_owned(),
        ]
    };
    let table = Table {
        head: vec!["blocks a send", "CPU s/GB", "watched", "how"],
        rows: sizes.into_iter().map(row).collect(),
    };
    format!("\n### The bare sender\n\n{}", table.markdown())
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent.fract() == 0.0 => format!("{percent:.0} %"),
        percent => format!("{percent:.1} %"),
    }
}

fn figure(figure: Option<f64>, digits: usize) -> String {
    figure.map_or(NONE.to_owned(), |figure| format!("{figure:.digits$}"))
}

fn quantiles(times: Option<Times>) -> [String; 3] {
    let millis = |pick: fn(Times) -> f64| match times.map(pick) {
        Some(millis) if millis < 10.0 => format!("{millis:.1}"),
        millis => figure(millis, 0),
    };
    [
        millis(|times| times.p50),
        millis(|times| times.p99),
        millis(|times| times.max),
    ]
}
