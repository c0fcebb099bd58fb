//! The journal of events: what the engine tells, in files that it only appends to, and the admin follows.
//!
//! `events/engine-0000000042.journal`: a header, then records, each framed and with a checksum of its content and its
//! place. One writer has a file, and a new one begins a new file, with the next number; so a tail that a crash or a full disk tore
//! is at the end of a file, and nothing is ever written behind it. A file is bounded, and so are all of them together:
//! the oldest go first, whether somebody has read them or not.
//!
//! Events are no acknowledged data: nothing waits for the disk, except that a file that is full is synced. The end of an engine
//! loses nothing; a loss of power loses what the kernel had not written yet. What was lost is counted, and the count is an event.

mod event;
mod frame;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use event::{
    Cause, Client, Event, EventError, Refused, Report, Source, Stage, Terminal, What, Why,
};
pub use read::{Batch, Journal, Position};
pub use write::{JournalCounters, JournalWriter};
