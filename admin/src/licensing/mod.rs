//! Licensing: what the licences of a site allow, and nothing of how they come here. No clock, no file, no socket: the time and
//! the texts are arguments.
//!
//! - [`InstallationId`]: what a licence is bound to.
//! - [`VendorKeys`], [`sign`]: the licence file, read strictly or refused by name ([`LicenceError`]).
//! - [`Licence`]: a master licence with its product licences.
//! - [`status()`]: what the installed ones allow this server now, alone or in a pair.
//! - [`LicenceClock`]: the time that they are judged by, whatever becomes of the clock.
//! - [`Seat`]: what a terminal holds, and how two of them become one when servers merge.
//! - [`Sightings`]: when terminals were last seen by either server, and who is unseen for a number of days.
//!
//! Invariants: nothing is granted beyond the entitlement that this server knows; who holds a seat keeps it, whatever
//! happens to a licence, a clock or the other server.

mod clock;
mod envelope;
mod installation;
mod licence;
mod seat;
mod sightings;
mod status;
mod told;

pub use clock::{LicenceClock, Witnesses};
pub use envelope::{KeyId, LicenceError, VendorKeys, sign};
pub use installation::{InstallationId, InstallationIdError};
pub use licence::{Licence, Product, ProductLicence, Redundancy, SCHEMA_VERSION};
pub use seat::{Seat, SeatState};
pub use sightings::{Moment, Sightings, Span, Told, TooManySeen};
pub use status::{
    Count, Entitlement, GrantsNone, PairView, Situation, Standing, Status, Warning, status,
};
pub use told::{Agreement, Summary, ToldLicences};
