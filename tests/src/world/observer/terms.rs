//! T3, told independently: what a request asks, and the one OACK that answers it.

use daybreak_tftp::endpoint::Config;
use daybreak_tftp::wire::Rollover;

use super::super::failure::{Check, check};

/// What the two sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Octets in a block.
    pub blksize: u64,
    /// Blocks in a window.
    pub windowsize: u64,
    /// How many block numbers there are: 65,536, or 65,535 without 0.
    pub numbers: u64,
}

impl Terms {
    /// The number of a block on the wire.
    #[must_use]
    pub fn number(&self, index: u64) -> u16 {
        let skipped = 65_536 - self.numbers;
        let number = if index <= 65_535 {
            index
        } else {
            (index - skipped) % self.numbers + skipped
        };
        u16::try_from(number).expect("at most 65,535")
    }
}

/// The strings of a request: its name, its mode, its options as they were sent.
fn strings(datagram: &[u8]) -> Vec<&[u8]> {
    let mut strings: Vec<&[u8]> = datagram
        .get(2..)
        .unwrap_or(&[])
        .split(|&b| b == 0)
        .collect();
    strings.pop();
    strings
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 20 && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

/// The terms that a request gets for a file of `len` octets, and the OACK that says so, if there is one.
#[must_use]
pub fn expected(datagram: &[u8], len: u64, config: &Config) -> (Terms, Option<Vec<u8>>) {
    let numbers = |rollover| match rollover {
        Rollover::Zero => 65_536,
        Rollover::One => 65_535,
    };
    let mut terms = Terms {
        blksize: 512,
        windowsize: 1,
        numbers: numbers(config.rollover),
    };
    let strings = strings(datagram);
    let mut seen = Vec::new();
    let mut granted = Vec::new();
    for pair in strings.get(2..).unwrap_or(&[]).chunks_exact(2) {
        let (name, text) = (pair[0], pair[1]);
        let kind = name.to_ascii_lowercase();
        if seen.contains(&kind) {
            continue;
        }
        seen.push(kind.clone());
        let Some(value) = number(text) else { continue };
        let known = match kind.as_slice() {
            b"blksize" if (8..=65_464).contains(&value) => {
                terms.blksize = value.min(config.blksize_max.into());
                true
            }
            b"windowsize" if (1..=65_535).contains(&value) => {
                terms.windowsize = value.min(config.windowsize_max.into());
                true
            }
            b"timeout" => (1..=255).contains(&value),
            b"tsize" => true,
            b"rollover" if value < 2 => {
                terms.numbers = 65_536 - value;
                true
            }
            _ => false,
        };
        if known {
            granted.push((name, kind, text));
        }
    }
    let fitting = u64::from(config.window_bytes_max) / terms.blksize;
    terms.windowsize = terms.windowsize.min(fitting.max(1));
    if len / terms.blksize + 1 >= terms.numbers {
        terms.windowsize = terms.windowsize.min(32_767);
    }
    let mut oack = vec![0, 6];
    for (name, kind, text) in &granted {
        let value = match kind.as_slice() {
            b"blksize" => terms.blksize.to_string().into_bytes(),
            b"windowsize" => terms.windowsize.to_string().into_bytes(),
            b"tsize" => len.to_string().into_bytes(),
            _ => text.to_vec(),
        };
        for part in [*name, &value] {
            oack.extend_from_slice(part);
            oack.push(0);
        }
    }
    (terms, (!granted.is_empty()).then_some(oack))
}

/// T3: the OACK that was sent is the one that the request gets.
///
/// # Errors
/// T3.
pub fn check_oack(expected: Option<&[u8]>, sent: &[u8]) -> Check {
    check("T3", expected == Some(sent), || {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "|");
        let expected = expected.map_or("no OACK".into(), text);
        format!("OACK {} instead of {expected}", text(sent))
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::packet::request;
    use super::*;

    #[test]
    fn the_reference_knows_the_options_and_their_ranges() {
        let rrq = request(
            "f",
            "octet",
            &[
                ("BlkSize", "70000"),
                ("tsize", "0"),
                ("windowsize", "999"),
                ("x", "1"),
            ],
        );
        let (terms, oack) = expected(&rrq, 77, &Config::default());
        assert_eq!((terms.blksize, terms.windowsize), (512, 64));
        assert_eq!(oack.unwrap(), b"\0\x06tsize\x0077\0windowsize\x0064\0");
        assert_eq!(
            expected(&request("f", "octet", &[]), 1, &Config::default()).1,
            None
        );
    }

    #[test]
    fn the_reference_rolls_over_to_0_and_to_1() {
        let (mut terms, _) = expected(&[], 0, &Config::default());
        let ends = |terms: Terms| [65_535, 65_536, 65_537, 131_071].map(|i| terms.number(i));
        assert_eq!(ends(terms), [65_535, 0, 1, 65_535]);
        terms.numbers = 65_535;
        assert_eq!(ends(terms), [65_535, 1, 2, 1]);
    }
}
