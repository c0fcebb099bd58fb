//! Secrets, and what is kept of them.
//!
//! A password is weak, so its verifier is made slowly (argon2id). The secret of a session, an API key or a set-up link is
//! 256 random bits, so its plain hash is enough. Neither can be turned back. Only the key of a terminal's status reports is
//! kept as it is: the terminal gets it with its configuration.

use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::edge::{Entropy, random};
use crate::limits::{
    ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES, PASSWORD_BYTES_MAX, PASSWORD_CHARACTERS_MIN,
    PASSWORDS_AT_ONCE_MAX,
};

/// 256 random bits, 64 hexadecimal digits behind a word that tells what it opens. Never stored, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one.
    pub fn new(word: &str, entropy: &dyn Entropy) -> Self {
        Secret(format!("{word}-{}", hex(&random::<32>(entropy))))
    }

    /// To be given to its owner, once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The hash of a [`Secret`]. It tells nothing about it, so that looking it up needs no constant time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of what somebody presents.
    #[must_use]
    pub fn of(presented: &str) -> Self {
        Digest(*blake3::hash(presented.as_bytes()).as_bytes())
    }

    /// A digest from its octets.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    /// What stands for it where it is shown: enough to tell one from another.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.0[..8])
    }

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        unhex(&text)
            .map(Digest)
            .ok_or("a digest is 64 lower-case hexadecimal digits")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

/// The key that a terminal's status reports are authenticated with.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StatusKey([u8; 32]);

impl StatusKey {
    /// A new one.
    #[must_use]
    pub fn new(entropy: &dyn Entropy) -> Self {
        StatusKey(random(entropy))
    }

    /// The octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<String> for StatusKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        unhex(&text)
            .map(StatusKey)
            .ok_or("a status key is 64 lower-case hexadecimal digits")
    }
}

impl Serialize for StatusKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl fmt::Debug for StatusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusKey")
    }
}

/// A new password that may be set: long enough, short enough to be hashed.
pub struct Password(String);

/// Why a password cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short to resist guessing.
    #[error("a password has at least {PASSWORD_CHARACTERS_MIN} characters")]
    Short,
    /// Longer than anybody types.
    #[error("a password has at most {PASSWORD_BYTES_MAX} octets")]
    Long,
}

impl Password {
    /// The only constructor.
    pub fn parse(text: String) -> Result<Self, PasswordError> {
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::Long);
        }
        if text.chars().count() < PASSWORD_CHARACTERS_MIN {
            return Err(PasswordError::Short);
        }
        Ok(Password(text))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// What is kept of a password: argon2id, with the costs that it was made with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    hash: String,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    /// Makes one. Slow, and takes [`ARGON2_MEMORY_KIB`]: only where that work is bounded.
    #[must_use]
    pub fn of(password: &Password, entropy: &dyn Entropy) -> Self {
        let salt = random::<16>(entropy);
        let costs = (ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES);
        let hash = argon2id(&password.0, &salt, costs).expect("costs known when compiled");
        Verifier {
            memory_kib: costs.0,
            passes: costs.1,
            lanes: costs.2,
            salt: hex(&salt),
            hash: hex(&hash),
        }
    }

    /// Whether `presented` is the password. As slow as making one.
    #[must_use]
    pub fn accepts(&self, presented: &str) -> bool {
        let costs = (self.memory_kib, self.passes, self.lanes);
        // A verifier comes also from a peer or a backup: what costs more than ours is not computed.
        let affordable = costs.0 <= 4 * ARGON2_MEMORY_KIB && costs.1 <= 16 && costs.2 <= 16;
        let (Some(salt), Some(hash)) = (unhex::<16>(&self.salt), unhex::<32>(&self.hash)) else {
            return false;
        };
        if !affordable || presented.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let found = argon2id(presented, &salt, costs);
        // blake3::Hash compares in constant time.
        found.is_some_and(|found| blake3::Hash::from_bytes(found) == blake3::Hash::from_bytes(hash))
    }
}

fn argon2id(password: &str, salt: &[u8], costs: (u32, u32, u32)) -> Option<[u8; 32]> {
    let params = Params::new(costs.0, costs.1, costs.2, Some(32)).ok()?;
    let blocks = params.block_count();
    let mut memory = spare_memory().pop().unwrap_or_default();
    memory.resize(blocks, Block::new());
    let mut out = [0; 32];
    let computed = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut out, &mut memory[..]);
    let mut spare = spare_memory();
    if memory.capacity() <= SPARE_BLOCKS && spare.len() < PASSWORDS_AT_ONCE_MAX {
        spare.push(memory);
    }
    computed.ok()?;
    Some(out)
}

/// Blocks of the memory of one computation, as we make them: of 1 KiB each.
const SPARE_BLOCKS: usize = ARGON2_MEMORY_KIB as usize;

/// What was the memory of computations, for the next ones. Were it allocated anew each time, the allocator would keep more of it
/// with each log-in: so much, aligned as it must be, leaves holes that the next does not fit into.
fn spare_memory() -> MutexGuard<'static, Vec<Vec<Block>>> {
    static SPARE: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn hex(octets: &[u8]) -> String {
    use core::fmt::Write;
    octets.iter().fold(
        String::with_capacity(2 * octets.len()),
        |mut text, octet| {
            let _ = write!(text, "{octet:02x}");
            text
        },
    )
}

/// Lower case only: octets have one spelling.
pub(crate) fn unhex<const COUNT: usize>(text: &str) -> Option<[u8; COUNT]> {
    let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * COUNT || !text.as_bytes().iter().all(digit) {
        return None;
    }
    let mut octets = [0; COUNT];
    for (octet, pair) in octets.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *octet = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Machine;

    #[test]
    fn a_verifier_accepts_its_password_and_no_other() {
        let password = Password::parse("correct horse battery".into()).expect("long enough");
        let verifier = Verifier::of(&password, &Machine);
        assert!(verifier.accepts("correct horse battery"));
        for wrong in [
            "",
            "correct horse batterx",
            "correct horse battery ",
            "Correct horse battery",
        ] {
            assert!(!verifier.accepts(wrong), "{wrong:?}");
        }
        assert_ne!(
            Verifier::of(&password, &Machine),
            verifier,
            "a salt of its own"
        );
        let json = serde_json::to_value(&verifier).expect("json");
        let read: Verifier = serde_json::from_value(json).expect("read back");
        assert!(read.accepts("correct horse battery"));
        assert!(!format!("{verifier:?} {password:?}").contains("horse"));
    }

    #[test]
    fn a_verifier_that_costs_too_much_is_not_computed() {
        let costly = Verifier {
            memory_kib: u32::MAX,
            passes: 2,
            lanes: 1,
            salt: "00".repeat(16),
            hash: "00".repeat(32),
        };
        assert!(!costly.accepts("anything at all"));
    }

    #[test]
    fn a_password_is_neither_short_nor_endless() {
        assert_eq!(
            Password::parse("short".into()).expect_err("refused"),
            PasswordError::Short
        );
        let endless = "x".repeat(PASSWORD_BYTES_MAX + 1);
        assert_eq!(
            Password::parse(endless).expect_err("refused"),
            PasswordError::Long
        );
    }

    #[test]
    fn a_secret_is_known_by_its_digest() {
        let secret = Secret::new("key", &Machine);
        assert_eq!(Digest::of(secret.reveal()), secret.digest());
        assert_ne!(Secret::new("key", &Machine), secret);
        assert_eq!(secret.reveal().len(), "key-".len() + 64);
    }
}
