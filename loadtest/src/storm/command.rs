//! `daybreak-loadtest storm` and `merge`: what is typed, and what is done.

use std::fs;
use std::io::{self, ErrorKind, IsTerminal, Write, stderr, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::html;
use super::merge;
use super::report::StormReport;
use crate::args;
use crate::arrival::Part;
use crate::limits;
use crate::processes::{Beside, Process};
use crate::run;
use crate::scenario::{Changes, Scenario};
use crate::view::Screen;
use crate::watch::{Lines, Watch};

/// Somebody ended the run before everybody was done.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Boots the fleets of a scenario, shows how far they are, and reports.
///
/// Exit status: 0 when every client got every file, 1 when one failed, 2 when the run
/// itself could not be done, 130 when it was ended early (q or Ctrl-C).
#[derive(Debug, Args)]
pub struct StormArgs {
    /// The scenario file
    pub scenario: PathBuf,
    /// Where a server of the scenario is, instead of what stands there; may be repeated
    #[arg(long, value_name = "NAME=ADDR:PORT", value_parser = server)]
    pub server: Vec<(String, SocketAddr)>,
    /// Threads that drive the clients, instead of the scenario's
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(limits::THREADS_MAX)))]
    pub threads: Option<u16>,
    /// Seed of the losses, instead of the scenario's
    #[arg(long)]
    pub seed: Option<u64>,
    /// Drives only share K of N; other processes drive the others, and `merge` makes one report
    #[arg(long, value_name = "K/N", value_parser = share)]
    pub share: Option<Part>,
    /// Starts at this moment, in seconds since 1970, so that several processes start together
    #[arg(long, value_name = "SECONDS")]
    pub start_at: Option<f64>,
    /// Process of a local server, to report its CPU beside the generator's; may be repeated
    #[arg(long, value_name = "PID")]
    pub server_pid: Vec<u32>,
    /// No picture on the terminal: lines instead
    #[arg(long)]
    pub no_ui: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the fields say it")]
    pub output: Output,
}

/// Makes one report of those of several processes that shared a scenario.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// What `storm --share K/N --json FILE` wrote, of each share
    #[arg(required = true, value_name = "FILE")]
    pub reports: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the fields say it")]
    pub output: Output,
}

/// Where the report goes, beside the text on the standard output.
#[derive(Debug, Default, Args)]
pub struct Output {
    /// Writes the report as JSON; `-`: to the standard output, instead of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes the report as a page with charts, complete in itself
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

fn server(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text
        .split_once('=')
        .ok_or("want NAME=ADDR:PORT, with a name of the scenario")?;
    Ok((name.to_owned(), args::address(address)?))
}

fn share(text: &str) -> Result<Part, String> {
    let numbers = text.split_once('/').and_then(|(number, of)| {
        let number: u32 = number.parse().ok()?;
        let of: u32 = of.parse().ok()?;
        (of <= limits::SHARES_MAX && (1..=of).contains(&number)).then_some((number, of))
    });
    let (number, of) = numbers.ok_or_else(|| {
        format!(
            "want K/N, with K from 1 to N and N at most {}",
            limits::SHARES_MAX
        )
    })?;
    Ok(Part {
        first: number - 1,
        of,
    })
}

/// Runs a storm, and writes its report; the exit status.
///
/// # Errors
/// When the scenario is refused, or the run itself cannot be done.
pub fn storm(args: &StormArgs) -> Result<u8> {
    let scenario = Scenario::read(&args.scenario)?;
    let plan = scenario.plan(&Changes {
        servers: args.server.clone(),
        threads: args.threads,
        seed: args.seed,
        part: args.share.unwrap_or(Part::WHOLE),
    })?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    if let Some(at) = args.start_at {
        wait_until(at, &stop)?;
    }
    let mut processes = (args.server_pid.iter())
        .map(|pid| Process::begin(*pid))
        .collect::<Result<Vec<_>, _>>()?;
    let started_unix_ms = unix_ms();
    let found = {
        let mut lines;
        let mut screen;
        let watch: &mut dyn Watch = if !args.no_ui && stdout().is_terminal() {
            screen = Screen::open(&plan, Arc::clone(&stop))?;
            &mut screen
        } else {
            lines = Lines::new(&plan, Arc::clone(&stop));
            &mut lines
        };
        let processes = &mut processes;
        run::run(&plan, &mut Beside { processes, watch })?
    };
    let report = StormReport::new(
        &plan,
        &scenario.blake3(),
        &found,
        started_unix_ms,
        &processes,
    );
    args.output.write(&report)?;
    Ok(status(&report))
}

/// Merges reports, and writes the one; the exit status is that of a run that found the same.
///
/// # Errors
/// When they cannot be read, or cannot be one.
pub fn merge(args: &MergeArgs) -> Result<u8> {
    let read = |path: &PathBuf| {
        let name = path.display().to_string();
        let text = fs::read(path).with_context(|| name.clone())?;
        let report: StormReport = serde_json::from_slice(&text)
            .with_context(|| format!("{name}: want what `storm --json` wrote"))?;
        Ok((name, report))
    };
    let reports = (args.reports.iter()).map(read).collect::<Result<_>>()?;
    let report = merge::merge(reports)?;
    args.output.write(&report)?;
    Ok(status(&report))
}

fn status(report: &StormReport) -> u8 {
    match (report.interrupted, report.total.failed) {
        (true, _) => EXIT_INTERRUPTED,
        (false, 0) => 0,
        (false, _) => 1,
    }
}

impl Output {
    fn write(&self, report: &StormReport) -> Result<()> {
        if let Some(path) = &self.html {
            write_file(path, &html::page(report))?;
        }
        let json = || Ok::<_, serde_json::Error>(serde_json::to_string(report)? + "\n");
        match &self.json {
            Some(path) if path.as_os_str() == "-" => return print(&json()?),
            Some(path) => write_file(path, &json()?)?,
            None => {}
        }
        print(&report.to_string())
    }
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn print(text: &str) -> Result<()> {
    match stdout().write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing the report"),
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Waits for a moment, or for a signal.
fn wait_until(at_unix_s: f64, stop: &AtomicBool) -> Result<()> {
    let at = Duration::try_from_secs_f64(at_unix_s).ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let left = at.and_then(|at| at.checked_sub(now));
    let left = left.filter(|left| *left <= limits::START_WAIT_MAX);
    ensure!(
        left.is_some(),
        "--start-at {at_unix_s}: want a moment of the coming hour, in seconds since 1970 (`date +%s`)"
    );
    writeln!(
        stderr(),
        "starting in {:.1} s",
        left.unwrap_or_default().as_secs_f64()
    )
    .ok();
    let (_never, tick) = std::sync::mpsc::channel::<()>();
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let Some(left) = at.and_then(|at| at.checked_sub(now)) else {
            return Ok(());
        };
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::from(ErrorKind::Interrupted)).context("waiting for the start");
        }
        tick.recv_timeout(left.min(Duration::from_millis(100))).ok();
    }
}
