//! TFTP, sans-io: the protocol of Daybreak without a socket, a clock, a file or a thread.
//!
//! - [`wire`]: octets to packets and back.
//! - [`name`]: the names that clients ask for, brought to one form.
//! - [`netascii`]: the text mode of RFC 764.
//! - [`endpoint`]: the server side. Packets and time in; [`endpoint::Transmit`]s, a deadline and events out.
//! - [`download`]: the client side, of the load generator, the simulator and the tests.
//! - [`status`]: the datagram in which a terminal reports how it is. Not TFTP, but from the same terminals to the same server.
//!
//! Time is an argument ([`Time`]), randomness a seed, and content a handle that only the driver can read.
//! The crate is `no_std`: it cannot name what an operating system gives.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod download;
pub mod endpoint;
pub mod limits;
pub mod name;
pub mod netascii;
mod rtt;
pub mod status;
mod time;
pub mod wire;

pub use time::Time;
