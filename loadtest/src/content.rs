//! What a file must hold, checked as it arrives.
//!
//! Hashing each client's copy would cost more than receiving it. So copies are compared with one in memory: the
//! expected file where it is given, else what the clients themselves got first. That one is hashed once, at
//! the end.

use std::sync::Arc;

/// The content of one file.
#[derive(Clone, Debug)]
pub enum Content {
    /// Known before.
    Given(Arc<[u8]>),
    /// Learned from the clients: the octets so far, and the length once one of them has reached the end.
    Learned(Vec<u8>, Option<u64>),
    /// Each client has its own, and nothing is known of any: only what the server itself says of it (`tsize`) is
    /// checked. The length in octets of the longest.
    Own(u64),
}

impl Content {
    /// A file of which nothing is known.
    #[must_use]
    pub fn unknown() -> Content {
        Content::Learned(Vec::new(), None)
    }

    /// The length in octets, where it was given.
    #[must_use]
    pub fn bytes_given(&self) -> Option<u64> {
        match self {
            Content::Given(octets) => Some(octets.len() as u64),
            Content::Learned(..) | Content::Own(_) => None,
        }
    }

    /// Whether these octets belong at this offset. Octets that nobody had before are learned.
    pub fn check(&mut self, offset: u64, octets: &[u8]) -> bool {
        let Ok(start) = usize::try_from(offset) else {
            return false;
        };
        let known = match self {
            Content::Given(known) => &known[..],
            Content::Learned(known, None) => {
                // A client hands on octets in order: the first that is ahead of all others is just at the end.
                if let Some(new) = known
                    .len()
                    .checked_sub(start)
                    .and_then(|at| octets.get(at..))
                {
                    known.extend_from_slice(new);
                }
                known
            }
            Content::Learned(known, Some(_)) => known,
            Content::Own(_) => return true,
        };
        known.get(start..start + octets.len()) == Some(octets)
    }

    /// Whether a copy that ended here is whole.
    pub fn check_end(&mut self, bytes: u64) -> bool {
        match self {
            Content::Given(known) => known.len() as u64 == bytes,
            Content::Learned(known, end) => {
                *end.get_or_insert(bytes) == bytes && known.len() as u64 == bytes
            }
            Content::Own(bytes_max) => {
                *bytes_max = bytes.max(*bytes_max);
                true
            }
        }
    }

    /// The octets known.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        match self {
            Content::Given(known) => known,
            Content::Learned(known, _) => known,
            Content::Own(_) => &[],
        }
    }

    /// The length in octets, as far as it is known.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Content::Own(bytes_max) => *bytes_max,
            known => known.octets().len() as u64,
        }
    }

    /// Whether all of it is known.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self, Content::Given(_) | Content::Learned(_, Some(_)))
    }

    /// Takes in what other clients learned; whether both agree.
    pub fn merge(&mut self, other: Content) -> bool {
        if let (Content::Own(ours), Content::Own(theirs)) = (&mut *self, &other) {
            *ours = (*ours).max(*theirs);
            return true;
        }
        let (ours, theirs) = (self.octets(), other.octets());
        let len = ours.len().min(theirs.len());
        let agree = ours[..len] == theirs[..len]
            && !(self.is_whole() && theirs.len() > ours.len())
            && !(other.is_whole() && ours.len() > theirs.len());
        if agree && !self.is_whole() && (other.is_whole() || theirs.len() > ours.len()) {
            *self = other;
        }
        agree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_agree_are_accepted_and_one_that_differs_is_found() {
        let mut content = Content::unknown();
        assert!(content.check(0, b"abcd"));
        assert!(
            content.check(0, b"ab"),
            "another client, another block size"
        );
        assert!(content.check(2, b"cdef"), "known at first, then new");
        assert!(!content.check(4, b"eX"));
        assert!(content.check_end(6));
        assert!(!content.check(6, b"g"), "after the end nothing is learned");
        assert!(!content.check_end(5));
        assert_eq!(content.octets(), b"abcdef");
    }

    #[test]
    fn the_given_content_is_the_measure() {
        let mut content = Content::Given(Arc::from(&b"abc"[..]));
        assert!(content.check(1, b"bc"));
        assert!(!content.check(1, b"bcd"));
        assert!(!content.check(u64::MAX, b""));
        assert!(content.check_end(3));
        assert!(!content.check_end(2));
    }
}
