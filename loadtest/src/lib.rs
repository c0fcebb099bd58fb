//! Thousands of simulated thin clients against real TFTP servers, over real sockets.
//!
//! Each client is a [`daybreak_tftp::download::Download`] with a socket, and so a port, of its own. It boots: it fetches
//! every file of the list, in order, from the first server that answers. What it gets is compared octet by octet
//! with the expected content, or with what the other clients got.
//!
//! - [`args`] and [`scenario`]: what was asked for; [`plan`]: what it means. [`arrival`], [`pattern`], [`loss`],
//!   [`content`]: when clients come, what they ask for, what the network does to them, what they must get.
//! - [`client`]: one client, and what it does with a packet or a time-out; [`driver`]: the loop that drives those
//!   of one thread; [`run`]: all threads.
//! - [`progress`] and [`watch`]: how far it is, shown while it runs; [`view`]: the same as a picture on a terminal.
//! - [`tally`] and [`timeline`]: what came of the clients, mergeable; [`report`]: the same for people and for programs;
//!   [`storm`]: the report of a scenario, as text, JSON and HTML, mergeable too.
//! - [`single`]: one client to be tried by hand, with its menu.
//! - [`processes`]: what the servers' processes used. [`limits`]: every bound.
#![forbid(unsafe_code)]

pub mod args;
pub mod arrival;
pub mod client;
pub mod content;
pub mod driver;
pub mod limits;
pub mod loss;
pub mod pattern;
pub mod plan;
pub mod processes;
pub mod progress;
pub mod report;
pub mod run;
pub mod scenario;
pub mod single;
pub mod status;
pub mod storm;
pub mod tally;
pub mod timeline;
pub mod view;
pub mod watch;
