//! `daybreak-admin`: see the library of the same name.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use daybreak_admin::command::{Args, Exit, run};
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> ExitCode {
    let args = Args::parse();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // A second one ends the process at once: a source that never answers must not hold it. The store
        // stands a kill at any point.
        let registered = signal_hook::flag::register_conditional_shutdown(
            signal,
            i32::from(Exit::Interrupted.code()),
            Arc::clone(&stop),
        )
        .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)));
        if let Err(error) = registered {
            let _ = writeln!(
                io::stderr(),
                "warning: signal {signal} ends at once: {error}"
            );
        }
    }
    let exit = run(&args, &stop).unwrap_or_else(|error| {
        // Whoever reads our output has seen enough (`list | head`): nothing failed.
        let closed = error.downcast_ref::<io::Error>();
        if closed.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return Exit::Done;
        }
        let _ = writeln!(io::stderr(), "error: {}", told(&error));
        Exit::of(&error)
    });
    ExitCode::from(exit.code())
}

/// What went wrong, with its causes; one that the message before it ends with is not told twice.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
