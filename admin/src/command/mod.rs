//! The command line: what was typed, what it does, what is printed, how it ends.

mod args;
mod exit;
mod progress;
mod run;

pub use args::Args;
pub use exit::Exit;
pub use run::run;
