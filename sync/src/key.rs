//! What names an object: its kind and its identifier. Never a path.

use alloc::sync::Arc;
use core::fmt;

use crate::limits::{ID_BYTES_MAX, KIND_BYTES_MAX};

/// Names an object on every server. Ordered by kind, then identifier.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    kind: Arc<str>,
    id: Arc<str>,
}

impl ObjectKey {
    /// The only constructor: both are one or more of `a-z`, `0-9` and `-`, and short.
    #[must_use]
    pub fn parse(kind: &str, id: &str) -> Option<Self> {
        let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let word = |text: &str, bytes_max: usize| {
            (1..=bytes_max).contains(&text.len()) && text.bytes().all(allowed)
        };
        (word(kind, KIND_BYTES_MAX) && word(id, ID_BYTES_MAX)).then(|| ObjectKey {
            kind: kind.into(),
            id: id.into(),
        })
    }

    /// The kind's word.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The identifier within its kind.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_be_a_path() {
        assert!(ObjectKey::parse("terminal", "00ff").is_some());
        for bad in ["", "..", "a/b", "a\\b", "%2e", "A", "a\0", "ü", "'--"] {
            assert_eq!(ObjectKey::parse("terminal", bad), None, "{bad:?}");
            assert_eq!(ObjectKey::parse(bad, "00ff"), None, "{bad:?}");
        }
        assert_eq!(ObjectKey::parse("terminal", &"a".repeat(65)), None);
    }
}
