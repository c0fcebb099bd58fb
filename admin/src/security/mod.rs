//! Who asks, and what they may do.

mod rights;
mod secret;

pub use rights::{BuiltInRole, Right, Rights};
pub use secret::{Digest, Password, PasswordError, Secret, Verifier};
