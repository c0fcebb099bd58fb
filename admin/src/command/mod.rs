//! The command line: what was typed, what it does, what is printed, how it ends.

mod activation;
mod args;
mod backup;
mod confine;
mod exit;
mod licence;
mod listen;
mod progress;
mod remote;
mod run;
mod serve;
mod terminals;

pub use activation::{SiteArgs, serve_site};
pub use args::Args;
pub use exit::Exit;
pub use licence::{LicenceArgs, LicenceCommand, ReachArgs};
pub use listen::ListenArgs;
pub use run::run;
pub use serve::ServeArgs;
pub use terminals::{TerminalsArgs, TerminalsCommand};
