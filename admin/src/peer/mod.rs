//! The pair: this server and the other one, kept the same.
//!
//! What is decided is decided by `daybreak-sync`; here is what it needs. [`host`] is the database and the store; [`key`], [`pair`] and
//! [`pairing`] are who the two are to each other; `told` is what each knows of the other's licences, `sightings` of who was seen there; [`link`] is the thread that drives a session over a connection.

mod connection;
mod desk;
mod driver;
mod handshake;
pub mod host;
mod in_sync;
pub mod key;
pub mod link;
pub mod manual;
mod overwrite;
pub mod pair;
pub mod pairing;
mod questions;
mod replaced;
mod sightings;
mod tls;
mod told;

pub use desk::{Desk, Planned, Running};
pub use link::Link;
pub use told::{primary_elsewhere, recall};
