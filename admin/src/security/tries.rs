//! Trying a password: so often in a while, and as slowly for a name that nobody has as for one that somebody has.

use std::sync::Mutex;

use super::attempts::Attempts;
use super::{Password, Secret, Verifier, locked};
use crate::edge::Entropy;

/// Why a password is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TryError {
    /// Wrong name, wrong password, or somebody who may not log in: which, is not told.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many attempts.
    #[error("too many attempts; try again in {0} seconds")]
    TooMany(u64),
}

/// The passwords that are tried at one place.
pub struct Tries {
    attempts: Mutex<Attempts>,
    // For names that nobody has.
    nobody: Verifier,
}

impl Tries {
    /// A place where nothing was tried yet.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let unknown = Password::parse(Secret::new("nobody", entropy).reveal().to_owned());
        Tries {
            attempts: Mutex::default(),
            nobody: Verifier::of(&unknown.expect("its length is allowed"), entropy),
        }
    }

    /// The one of `candidates` whose password is `presented`. Slow (argon2id): the caller bounds how many run at once.
    pub fn accepted<'v, T>(
        &self,
        (source, name): (&str, &str),
        now_ms: u64,
        presented: &str,
        candidates: impl IntoIterator<Item = (T, &'v Verifier)>,
    ) -> Result<T, TryError> {
        let wait_ms = locked(&self.attempts).begin(source, name, now_ms);
        if wait_ms > 0 {
            return Err(TryError::TooMany(wait_ms.div_ceil(1000)));
        }
        let mut candidates = candidates.into_iter().peekable();
        if candidates.peek().is_none() {
            core::hint::black_box(self.nobody.accepts(presented));
        }
        let found = candidates.find(|(_, verifier)| verifier.accepts(presented));
        let (found, _) = found.ok_or(TryError::Wrong)?;
        locked(&self.attempts).forgive(source, name);
        Ok(found)
    }
}
