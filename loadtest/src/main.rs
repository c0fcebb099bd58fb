//! `daybreak-loadtest`: see the library for what it does, `--help` for how.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, stderr, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use daybreak_loadtest::args::{Args, Plan};

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let json = args.json;
    let plan = Plan::try_from(args)?;
    let report = daybreak_loadtest::run(&plan, !json && stderr().is_terminal())?;
    if json {
        serde_json::to_writer_pretty(stdout().lock(), &report).context("writing the report")?;
        println!();
    } else {
        print!("{report}");
    }
    Ok(ExitCode::from(u8::from(report.clients.failed > 0)))
}
