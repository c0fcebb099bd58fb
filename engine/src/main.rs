//! `daybreak-engine`: reads what was typed, serves, and tells by its exit code how it ended.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use daybreak_engine::options::CommandLine;
use daybreak_engine::process::{self, Ended};
use daybreak_engine::refusal::StartError;
use daybreak_engine::settings::Settings;

fn main() -> ExitCode {
    let settings = match Settings::read(CommandLine::parse()) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error.into()),
    };
    daybreak_engine::log::start(settings.log_format, &settings.log);
    match process::run(&settings) {
        Ok(Ended::Orderly) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce | Ended::WorkerFailed) => ExitCode::FAILURE,
        Err(error) => refuse(&error),
    }
}

/// On standard error, for whoever typed it: also where the log goes elsewhere or is JSON.
fn refuse(error: &StartError) -> ExitCode {
    eprintln!("daybreak-engine: {error}");
    ExitCode::from(error.exit_code())
}
