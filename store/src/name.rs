//! The names that clients ask for, in the one form under which the catalog holds them.
//!
//! A name is a key. It is never joined to a path, so a traversal is not even refused: it finds nothing.
//! The form is strict all the same, so that every name can be shown, typed, and asked for by a client.

use core::borrow::Borrow;
use core::fmt;

use crate::limits::NAME_BYTES_MAX;

/// A canonical name: UTF-8 segments joined by `/`, none empty, `.` or `..`; no backslash, no control
/// character; 1 to [`NAME_BYTES_MAX`] octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// Why a name is not canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No octet.
    #[error("the name is empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] octets.
    #[error("the name has {0} octets; a boot request can carry {NAME_BYTES_MAX}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the name is not UTF-8")]
    NotUtf8,
    /// A control character or NUL.
    #[error("the name has a control character")]
    Control,
    /// A backslash; clients that send one mean `/`.
    #[error("the name has a backslash; write / instead")]
    Backslash,
    /// A leading, doubled or trailing slash.
    #[error("the name has an empty segment (a leading, doubled or trailing slash)")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the name has a segment . or ..")]
    DotSegment,
}

impl Name {
    /// The only constructor: `bytes`, if they are canonical.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, NameError> {
        check(bytes.as_ref()).map(|text| Name(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The octets, as a client sends them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The text of a canonical name, without copying it.
pub(crate) fn check(bytes: &[u8]) -> Result<&str, NameError> {
    if bytes.is_empty() {
        return Err(NameError::Empty);
    }
    if bytes.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong(bytes.len()));
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(NameError::Control);
    }
    if bytes.contains(&b'\\') {
        return Err(NameError::Backslash);
    }
    for segment in bytes.split(|&byte| byte == b'/') {
        match segment {
            b"" => return Err(NameError::EmptySegment),
            b"." | b".." => return Err(NameError::DotSegment),
            _ => {}
        }
    }
    core::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_names_parse() {
        for good in [
            "a",
            "firmware/5.1/boot.bin",
            "pxelinux.cfg/01-aa",
            "ü/…",
            "a b",
            "...",
            ".x",
            "a/..b",
        ] {
            assert_eq!(Name::parse(good).expect(good).as_str(), good);
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let bad: [(&[u8], NameError); 15] = [
            (b"", NameError::Empty),
            (long.as_bytes(), NameError::TooLong(NAME_BYTES_MAX + 1)),
            (b"a\0", NameError::Control),
            (b"a\nb", NameError::Control),
            (b"a\x7f", NameError::Control),
            (b"..\\boot", NameError::Backslash),
            (b"/boot", NameError::EmptySegment),
            (b"a//b", NameError::EmptySegment),
            (b"a/", NameError::EmptySegment),
            (b".", NameError::DotSegment),
            (b"..", NameError::DotSegment),
            (b"../x", NameError::DotSegment),
            (b"a/../b", NameError::DotSegment),
            (b"a/.", NameError::DotSegment),
            (b"a\xff", NameError::NotUtf8),
        ];
        for (name, why) in bad {
            assert_eq!(Name::parse(name), Err(why), "{name:?}");
        }
        assert!(Name::parse("x".repeat(NAME_BYTES_MAX)).is_ok());
    }
}
