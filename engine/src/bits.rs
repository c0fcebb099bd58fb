//! A rate as an operator writes it: bits per second, with `k`, `M` or `G`.

use std::str::FromStr;

use serde::Deserialize;

/// Bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bits(pub u64);

/// What was written is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate is a number of bits per second, such as 200M or 1.5G (k, M and G are powers of 1000), and at least 5M"
)]
pub struct NoRate;

impl FromStr for Bits {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        const LEAST: f64 = 5e6;
        let (number, factor) = match text.char_indices().last() {
            Some((at, 'k' | 'K')) => (&text[..at], 1e3),
            Some((at, 'm' | 'M')) => (&text[..at], 1e6),
            Some((at, 'g' | 'G')) => (&text[..at], 1e9),
            _ => (text, 1.0),
        };
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(NoRate);
        }
        let bits = number.parse::<f64>().map_err(|_| NoRate)? * factor;
        if (LEAST..1e15).contains(&bits) {
            Ok(Bits(bits as u64))
        } else {
            Err(NoRate)
        }
    }
}

impl TryFrom<String> for Bits {
    type Error = NoRate;

    fn try_from(text: String) -> Result<Self, NoRate> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_operators_write_them() {
        for (text, bits) in [
            ("200M", 200_000_000),
            ("1.5G", 1_500_000_000),
            ("8000000", 8_000_000),
            ("5000k", 5_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Bits(bits)), "{text}");
        }
        for text in [
            "",
            "M",
            "fast",
            "-1G",
            "1e9",
            "4M",
            "0",
            "1 G",
            "99999999G",
            "1.2.3M",
        ] {
            assert_eq!(text.parse::<Bits>(), Err(NoRate), "{text}");
        }
    }
}
