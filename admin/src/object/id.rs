//! What names an object within its kind.

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::limits::ID_BYTES_MAX;

/// An identifier: 1 to [`ID_BYTES_MAX`] of `a-z0-9-`. Most are 128 random bits in hexadecimal; a setting's is its key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Id(Arc<str>);

/// Not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identifier has 1 to {ID_BYTES_MAX} of a-z, 0-9 and -")]
pub struct IdError;

impl Id {
    /// The only constructor from text.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let fits = (1..=ID_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(allowed) {
            Ok(Id(text.into()))
        } else {
            Err(IdError)
        }
    }

    /// The identifier of a new object.
    #[must_use]
    pub fn from_random(random: [u8; 16]) -> Self {
        Id(format!("{:032x}", u128::from_be_bytes(random)).into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Id::parse(&text)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_safe_in_every_path_and_query() {
        assert_eq!(Id::from_random([0xab; 16]).as_str(), "ab".repeat(16));
        assert!(Id::parse("terminal-defaults").is_ok());
        for bad in [
            "",
            "A",
            "a b",
            "a/b",
            "..",
            "a\0",
            "ü",
            "a'--",
            &"a".repeat(65),
        ] {
            assert_eq!(Id::parse(bad), Err(IdError), "{bad:?}");
        }
    }
}
