//! The command line: what was typed, what it does, what is printed, how it ends.

mod args;
mod backup;
mod exit;
mod licence;
mod progress;
mod remote;
mod run;
mod serve;
mod terminals;

pub use args::Args;
pub use exit::Exit;
pub use licence::{LicenceArgs, LicenceCommand, ReachArgs};
pub use run::run;
pub use serve::ServeArgs;
pub use terminals::{TerminalsArgs, TerminalsCommand};
