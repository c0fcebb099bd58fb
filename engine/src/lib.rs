//! The boot server process: TFTP from the shared store.
//!
//! `tftp` decides, `store` holds, and this crate carries: datagrams between sockets and the protocol core, file
//! contents from the map to the kernel, and what happened to logs and metrics. It is a library only so that its
//! tests and benchmarks can reach it; nobody else depends on it.
#![deny(unsafe_code)]

pub mod binding;
pub mod bits;
pub mod board;
pub mod boots;
pub mod clock;
pub mod dhcp;
pub mod files;
pub mod inspect;
#[allow(
    unsafe_code,
    reason = "the ring, the socket calls and what they point to"
)]
pub mod io;
pub mod journal;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod names;
pub mod notice;
pub mod options;
pub mod orders;
pub mod per_second;
pub mod process;
pub mod published;
pub mod quiet;
pub mod recorder;
pub mod refusal;
pub mod remembered;
pub mod reports;
pub mod sandbox;
pub mod settings;
pub mod status;
pub mod strangers;
pub mod syscalls;
pub mod tally;
pub mod texts;
pub mod watch;
pub mod worker;
