//! `daybreak-loadtest`: see the library for what it does, `--help` for how.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use daybreak_loadtest::args::Args;
use daybreak_loadtest::plan::Plan;
use daybreak_loadtest::report::Report;
use daybreak_loadtest::run;
use daybreak_loadtest::single::{self, ClientArgs};
use daybreak_loadtest::status::{self, StatusArgs};
use daybreak_loadtest::storm::command::{self, MergeArgs, StormArgs};
use daybreak_loadtest::watch::{Bar, Nobody, Watch};

/// One fleet by options alone, or a command.
#[derive(Debug, Parser)]
#[command(name = "daybreak-loadtest", version)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    boot: Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    Storm(StormArgs),
    Merge(MergeArgs),
    Status(StatusArgs),
    Client(ClientArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Storm(args)) => command::storm(args),
        Some(Command::Merge(args)) => command::merge(args),
        Some(Command::Status(args)) => status::run(args),
        Some(Command::Client(args)) => single::run(args),
        None => boot(cli.boot),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("daybreak-loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs one fleet; the exit status.
fn boot(args: Args) -> Result<u8> {
    let json = args.json;
    let plan = Plan::try_from(args)?;
    let watch: &mut dyn Watch = if json {
        &mut Nobody
    } else {
        &mut Bar::new(&plan)
    };
    let report = Report::new(&plan, &run::run(&plan, watch)?);
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
    Ok(u8::from(report.clients.failed > 0))
}
