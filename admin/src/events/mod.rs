//! Events: what the engine has journaled, kept for a while, and what it says of each terminal.
//!
//! [`Follower`] runs beside everything else: it reads the journal, and in one transaction of `events.db` stores the events,
//! brings the [`Status`] of their terminals up to date, and notes how far it has read. So after any end of this process it goes
//! on where it was, and nothing is counted twice. Readers have a connection of their own, and are told when there is more.

mod book;
mod follow;
mod light;
mod row;

pub use book::{Book, Filter};
pub use follow::{Follower, FollowerCounts};
pub use light::{Boot, Engine, Failure, Light, Reported, Shown, Status};
pub use row::{EventRow, KINDS};
