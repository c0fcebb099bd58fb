//! Administration of a boot server: what can be done to its store, whoever asks.
//!
//! - [`source`]: files and folders to import, found and opened without ever following a link.
//! - [`import`], [`list`], [`remove`]: changes and views of what is published. Functions on a
//!   [`Store`](daybreak_store::Store), without a terminal: the command line calls them now, the HTTP API later.
//! - [`command`]: the command line itself (arguments, progress, messages, exit codes).
//!
//! It never talks to the engine: publishing is what the engine sees.
#![forbid(unsafe_code)]

pub mod authority;
pub mod backup;
pub mod bulk;
pub mod command;
pub mod configuration;
mod damage;
pub mod database;
pub mod dhcp_hints;
pub mod edge;
pub mod effective;
pub mod events;
pub mod file;
pub mod http;
pub mod import;
pub mod kind;
pub mod licences;
pub mod licensing;
pub mod limits;
pub mod list;
pub mod merge_patch;
pub mod object;
pub mod peer;
pub mod publish;
pub mod remove;
pub mod replacement;
pub mod schedule;
pub mod security;
pub mod site;
pub mod source;
pub mod unknown;
