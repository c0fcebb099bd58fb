//! Thousands of simulated thin clients against real TFTP servers, over real sockets.
//!
//! Each client is a [`daybreak_tftp::download::Download`] with a socket, and so a port, of its own. It boots: it fetches
//! every file of the list, in order, from the first server that answers. What it gets is compared octet by octet
//! with the expected content, or with what the other clients got.
//!
//! - [`args`]: what was typed, and the [`args::Plan`] that it means.
//! - [`content`]: what the files must hold.
//! - [`client`]: one client, and what it does with a packet or a time-out.
//! - [`fleet`]: the loop that drives the clients of one thread.
//! - [`tally`]: what came of them, mergeable; [`report`]: the same for people and for programs.
//! - [`limits`]: every bound, and the descriptors that the clients need.
#![forbid(unsafe_code)]

pub mod args;
pub mod client;
pub mod content;
pub mod fleet;
pub mod limits;
pub mod loss;
pub mod report;
mod run;
pub mod tally;

pub use run::run;
