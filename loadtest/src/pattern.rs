//! Names that differ from terminal to terminal: `{n}` and `{mac}` in the names of a scenario.
//!
//! `{n}` is the number of the client in its fleet, from 1; `{n:4}` the same with zeros in front, to 4 digits; `{mac}` its
//! address in the way of PXE (`02-00-00-00-00-01`; the third octet is the fleet). There is no other
//! placeholder, and no way to write a brace.

use std::fmt::Write as _;
use std::sync::Arc;

/// A name with or without placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    written: Arc<str>,
    pieces: Arc<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Arc<[u8]>),
    Number { digits_min: usize },
    Mac,
}

/// A brace that is no placeholder.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no placeholder: want {{n}}, {{n:4}} or {{mac}}")]
pub struct BadPlaceholder(String);

impl Pattern {
    /// A name that is the same for all, whatever it holds.
    #[must_use]
    pub fn literal(name: &str) -> Pattern {
        Pattern {
            written: name.into(),
            pieces: [Piece::Text(name.as_bytes().into())].into(),
        }
    }

    /// A name as a scenario writes it.
    ///
    /// # Errors
    /// [`BadPlaceholder`] for a brace of any other kind.
    pub fn parse(written: &str) -> Result<Pattern, BadPlaceholder> {
        let mut pieces = Vec::new();
        let mut rest = written;
        while let Some(at) = rest.find(['{', '}']) {
            if at > 0 {
                pieces.push(Piece::Text(rest.as_bytes()[..at].into()));
            }
            let end = rest[at..].find('}').map_or(rest.len(), |end| at + end + 1);
            pieces.push(placeholder(&rest[at..end])?);
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.as_bytes().into()));
        }
        Ok(Pattern {
            written: written.into(),
            pieces: pieces.into(),
        })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether it differs from client to client.
    #[must_use]
    pub fn differs(&self) -> bool {
        !self
            .pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// The name for the client at a position of a fleet, both from 0.
    #[must_use]
    pub fn name(&self, fleet: usize, position: u32) -> Arc<[u8]> {
        match &*self.pieces {
            [] => Arc::from(&b""[..]),
            [Piece::Text(text)] => Arc::clone(text),
            pieces => {
                let mut name = Vec::with_capacity(self.written.len() + 16);
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => name.extend_from_slice(text),
                        Piece::Number { digits_min } => {
                            let number = u64::from(position) + 1;
                            name.extend_from_slice(format!("{number:0digits_min$}").as_bytes());
                        }
                        Piece::Mac => name.extend_from_slice(mac(fleet, position).as_bytes()),
                    }
                }
                name.into()
            }
        }
    }

    /// The same as text, for paths.
    #[must_use]
    pub fn text(&self, fleet: usize, position: u32) -> String {
        String::from_utf8_lossy(&self.name(fleet, position)).into_owned()
    }
}

fn placeholder(text: &str) -> Result<Piece, BadPlaceholder> {
    let bad = || BadPlaceholder(text.to_owned());
    match text {
        "{n}" => Ok(Piece::Number { digits_min: 1 }),
        "{mac}" => Ok(Piece::Mac),
        _ => {
            let digits = text
                .strip_prefix("{n:")
                .and_then(|rest| rest.strip_suffix('}'));
            let digits: usize = digits.ok_or_else(bad)?.parse().map_err(|_| bad())?;
            (1..=9)
                .contains(&digits)
                .then_some(Piece::Number { digits_min: digits })
                .ok_or_else(bad)
        }
    }
}

/// A locally administered address: no two clients of a run share one.
fn mac(fleet: usize, position: u32) -> String {
    let [_, high, middle, low] = (position + 1).to_be_bytes();
    let mut text = String::with_capacity(17);
    let fleet = fleet & 0xff;
    write!(text, "02-00-{fleet:02x}-{high:02x}-{middle:02x}-{low:02x}").expect("memory");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_names_of_its_own() {
        let name = |written: &str| Pattern::parse(written).unwrap().text(3, 41);
        assert_eq!(name("kernel"), "kernel");
        assert_eq!(name("t/{n}.cfg"), "t/42.cfg");
        assert_eq!(name("t{n:4}"), "t0042");
        assert_eq!(
            name("pxelinux.cfg/01-{mac}"),
            "pxelinux.cfg/01-02-00-03-00-00-2a"
        );
        assert_eq!(name("{n}{n}"), "4242");
        assert!(!Pattern::parse("kernel").unwrap().differs());
        assert!(Pattern::parse("{mac}").unwrap().differs());
    }

    #[test]
    fn a_brace_that_is_no_placeholder_is_refused_but_in_a_literal() {
        for written in ["{x}", "a{", "a}b", "{n:}", "{n:0}", "{n:10}", "{", "{mac"] {
            assert!(Pattern::parse(written).is_err(), "{written}");
        }
        assert_eq!(Pattern::literal("a{x}").text(0, 0), "a{x}");
        assert_eq!(
            Pattern::parse("{ip}").unwrap_err().to_string(),
            "`{ip}` is no placeholder: want {n}, {n:4} or {mac}"
        );
    }
}
