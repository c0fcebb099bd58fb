//! The harness of the whole-system tests: real binaries, real clients, real virtual machines.
//!
//! - [`site`]: a private data directory, with the real `daybreak-admin` and `daybreak-engine` on it.
//! - [`administration`]: the real `daybreak-admin serve`, and a client of its API.
//! - [`pair`]: boot servers as they stand in pairs.
//! - [`plant`]: a pair in networks of its own, whose link is cut and healed.
//! - [`client`]: the TFTP clients of Debian: curl, tftp-hpa, atftp.
//! - [`terminals`]: the load generator's terminals.
//! - [`host`]: a private network or mount namespace, gone with the test that made it.
//! - [`vm`]: a virtual machine that boots over the network, on a wire of its own.
//! - [`raw`]: a client by hand, for what no client should do.
//! - [`corpus`], [`properties`]: the seeds of the fuzzer, and what must hold of them.
//! - [`page`]: the commands of a page of the documentation.
//! - [`vendor`]: a licence authority made on the spot; [`vendor_site`]: its activation site, and browsers there.
//! - [`tree`]: the source tree, for the tests of the architecture.
//! - [`world`]: the deterministic simulator of the world of TFTP.
//! - [`seeds`]: many worlds of a simulator, by their seeds.
//! - [`awake`]: cores that do not fall asleep while something is measured.
//! - [`process`], [`poll`], [`programs`], [`metrics`], [`content`]: what those are made of.
//!
//! It builds nothing and installs nothing: `make test` does. Nothing here waits by sleeping for a state;
//! everything waits for what it needs to see, until a deadline. Traffic goes to loopback, or stays inside
//! a namespace.
#![forbid(unsafe_code)]

pub mod administration;
pub mod awake;
pub mod client;
pub mod clock;
pub mod content;
pub mod corpus;
pub mod host;
pub mod metrics;
pub mod page;
pub mod pair;
pub mod plant;
pub mod poll;
pub mod process;
pub mod programs;
pub mod properties;
pub mod raw;
pub mod seeds;
pub mod site;
pub mod terminals;
pub mod tree;
pub mod vendor;
pub mod vendor_site;
pub mod vm;
pub mod world;
