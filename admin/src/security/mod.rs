//! Who asks, and what they may do.

mod attempts;
mod gate;
mod rights;
mod secret;

pub use gate::{Credential, Gate, GateError, Identity};
pub use rights::{BuiltInRole, Right, Rights};
pub use secret::{Digest, Password, PasswordError, Secret, StatusKey, Verifier};
pub(crate) use secret::{hex, unhex};
