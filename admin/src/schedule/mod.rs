//! Backups that are made by themselves: what is due when ([`due`](due::due), a pure function), and the thread that looks
//! ([`Scheduler`]).

pub mod due;
mod scheduler;

pub use scheduler::{Scheduler, Status, Zone};
