//! Who asks, and what they may do.

mod attempts;
mod gate;
mod rights;
mod secret;
mod sessions;
mod tries;

pub use gate::{Credential, Gate, GateError, Identity};
pub use rights::{BuiltInRole, Right, Rights};
pub use secret::{Digest, Password, PasswordError, Secret, StatusKey, Verifier};
pub(crate) use secret::{hex, unhex};
pub use sessions::{Session, Sessions};
pub use tries::{Tries, TryError};

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every step on what is guarded is whole by itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
