//! The comparison against other TFTP servers, under the same load and the same rules.
//!
//! Each server in turn serves one folder, alone, on core 0; `daybreak-loadtest` boots the clients on core 1. Rounds
//! are interleaved (every server once, then every server again), and a table shows medians. All traffic stays in
//! network namespaces that have no name and end with this program, in whatever way it ends.
//!
//! - [`args`]: what was typed.
//! - [`scenario`]: the loads, and the bar for each.
//! - [`server`]: the servers, and how each is started.
//! - [`network`]: the private loopback, and the slow wire.
//! - [`account`]: what a server and all its children used.
//! - [`running`]: one server under one load: a [`sample::Sample`].
//! - [`plan`]: which runs, in which order, and how long they will take.
//! - [`row`], [`bar`], [`table`], [`document`]: what is shown of them.
//! - [`floor`]: the bare sender, the least that sending costs.

pub mod account;
pub mod args;
pub mod bar;
pub mod document;
pub mod floor;
pub mod network;
pub mod plan;
pub mod row;
pub mod running;
pub mod sample;
pub mod scenario;
pub mod server;
pub mod table;
