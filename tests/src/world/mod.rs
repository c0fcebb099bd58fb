//! World of TFTP: a deterministic simulator of the real [`Endpoint`](daybreak_tftp::endpoint::Endpoint) and its
//! clients, which are real [`Download`](daybreak_tftp::download::Download)s.
//!
//! One heap of events by (time, sequence), one seed: it draws the whole world ([`draw`](draw())): clients and their
//! kinds, images, publishes, the wire, its faults, the driver's faults, strangers. First everything goes wrong
//! that may; then the faults end, and every client must boot and the server come to rest. There is no clock, no
//! socket and no thread, and no content in memory: an octet of an image is a function of its place.
//!
//! # How to run
//!
//! ```text
//! cargo test -p daybreak-tests --test world_tftp                                # the seeds of an ordinary run
//! DAYBREAK_SEEDS=0..100000 cargo test -p daybreak-tests --test world_tftp seeds  # more of them
//! DAYBREAK_SEEDS=42..43 cargo test -p daybreak-tests --test world_tftp seeds     # one again
//! DAYBREAK_SNAPSHOT=update cargo test -p daybreak-tests --test world_tftp goodput # the table of goodput anew
//! ```
//!
//! A failure prints its seed and the command that shows it again. Every seed that ever failed goes into
//! `tests/seeds/tftp.txt` and is run for ever. Every eighth seed runs twice (T14), and of every world some
//! clients run once more alone (T13).
//!
//! # Who checks what
//!
//! | invariant | monitor |
//! |---|---|
//! | T1 content, length, generation | [`terminal`]: every octet as it arrives; [`observer`]: the image pinned at the request |
//! | T2 window, no DATA before ACK 0 | [`observer::session`]; `beyond_window` in [`monitors::check_books`]; the client's own verdict |
//! | T3 OACK | [`observer::terms`], an independent negotiation: the OACK must be that one to the octet |
//! | T4 no DATA by a duplicate ACK, one rewind per round trip | [`observer::session`], with the round trip that the wire has |
//! | T5 strangers, ERROR 5, ERROR for ERROR, replies from the address asked | [`observer`], [`driver`] |
//! | T6 rollover | [`observer::terms::Terms::number`] |
//! | T7 timers, retries, ends | [`monitors::check_books`], [`monitors::check_rest`], [`observer::session`] |
//! | T8 leases | [`host::Catalog::leases`] against the books of the endpoint |
//! | T9 caps | [`monitors::check_books`]; half-open transfers by [`observer`] |
//! | T10 no amplification | first replies, counted by [`observer::session`] |
//! | T11 trains, octets sent | [`monitors::check_train`]; every block against an independent `emit` by [`observer::session`] |
//! | T12 no panic, no flood | [`runner::run_world`]; events lost, ERRORs not well formed |
//! | T13 order and content are its own | order by [`observer::session`]; [`runner::check_alone`] |
//! | T14 the same seed, the same trace | [`runner::check_same`] |
//! | liveness | [`simulator`]: all boot after the faults; [`terminal`]: no boot that nothing disturbed fails, and none starves |
//!
//! That each of them can fail is shown by servers that are broken on purpose ([`Stage`]): the tests
//! `monitor_tN_catches_…`.

pub mod content;
mod draw;
pub mod driver;
pub mod event;
pub mod failure;
pub mod host;
mod intruder;
pub mod monitors;
pub mod network;
pub mod observer;
pub mod packet;
pub mod prng;
pub mod runner;
pub mod scenario;
pub mod simulator;
pub mod terminal;

pub use draw::draw;
pub use driver::Sending;
pub use event::{Stage, Tamper};
pub use failure::{Check, Failure, check};
pub use runner::{check_alone, check_same, run, run_seed, run_world};
pub use simulator::{Report, World};
