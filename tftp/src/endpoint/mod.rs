//! The server side: one `Endpoint` holds the transfers of one worker.
//!
//! `handle_*` take what happened and the time; `poll_*` say what to do next. A [`Transmit`] of data names an
//! image, a first block and a count, never octets: how they travel is the driver's business.
//!
//! Invariants (the simulator of `tests/` checks them on every step, by the numbers of `docs/proof.md`):
//! blocks in flight never exceed the granted window (T2); a duplicate ACK never brings DATA, and a window
//! is rewound at most once per round trip (T4); a live transfer has exactly one timer, and a finished one
//! holds no file (T7, T8); a source that never answered gets its first reply and a few tries of it (T10).

mod answer;
mod config;
mod events;
mod table;
mod timer;
mod transfer;
mod types;

pub use config::Config;
pub use events::{Counters, Ended, Event, Outcome};
pub use types::{
    Host, Listener, Mode, Opened, Path, Payload, Question, Refusal, SocketId, Train, TransferId,
    Transmit,
};
