//! `daybreak-loadtest`: see the library for what it does, `--help` for how.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use daybreak_loadtest::args::{Args, Plan};

fn main() -> ExitCode {
    match boot(Args::parse()) {
        Ok(failed) => ExitCode::from(u8::from(failed > 0)),
        Err(error) => {
            eprintln!("daybreak-loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was typed; how many clients failed.
fn boot(args: Args) -> Result<u32> {
    let json = args.json;
    let plan = Plan::try_from(args)?;
    let report = daybreak_loadtest::run(&plan, !json && stderr().is_terminal())?;
    let text = if json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        report.to_string()
    };
    match stdout().write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.context("writing the report")?,
    }
    Ok(report.clients.failed)
}
