//! `peers`: see the library for what it compares and how, `--help` for its options.
#![forbid(unsafe_code)]

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use daybreak_bench::peers::args::Args;
use daybreak_bench::peers::document;
use daybreak_bench::peers::plan::Comparison;
use daybreak_bench::peers::running::Stop;
use daybreak_bench::peers::sample::Raw;
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\npeers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let scenarios = args.scenarios()?;
    if args.list {
        for scenario in scenarios {
            println!("{:<16} {}", scenario.name, scenario.title());
        }
        return Ok(());
    }
    let raw = if args.from.is_empty() {
        let stop = Stop::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
        }
        let servers = args.servers();
        let json = args.json.clone();
        Comparison::prepare(scenarios, servers, args.rounds(), json, stop)?.run()?
    } else {
        let raw = read(&args.from)?;
        println!("{}", document::text(&raw));
        raw
    };
    match &args.markdown {
        Some(path) => document::write(path, &raw),
        None => Ok(()),
    }
}

/// Raw results of several runs as one.
fn read(paths: &[PathBuf]) -> Result<Raw> {
    let mut all = Raw::default();
    for path in paths {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                anyhow::bail!("{} is not there", path.display())
            }
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let raw: Raw = serde_json::from_str(&text)
            .with_context(|| format!("{} holds no raw results", path.display()))?;
        all.kernel = raw.kernel;
        all.cores = raw.cores;
        all.samples.extend(raw.samples);
        all.floors.extend(raw.floors);
        for server in raw.without_window {
            if !all.without_window.contains(&server) {
                all.without_window.push(server);
            }
        }
    }
    Ok(all)
}
