//! The text mode: LF travels as CR LF, and CR as CR NUL (RFC 764, RFC 1350 §1).
//!
//! A text is converted as a whole, before its transfer: block numbers, size and retransmission then follow
//! the one rule of octet mode, across block borders too.

use alloc::vec::Vec;

/// Octets that a text takes on the wire.
#[must_use]
pub fn encoded_len(text: &[u8]) -> u64 {
    text.len() as u64 + text.iter().filter(|&&b| b == b'\n' || b == b'\r').count() as u64
}

/// Converts a text for the wire and appends it to `wire`.
pub fn encode(text: &[u8], wire: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'\n' => wire.extend_from_slice(b"\r\n"),
            b'\r' => wire.extend_from_slice(b"\r\0"),
            _ => wire.push(byte),
        }
    }
}

/// Converts what came from the wire back and appends it to `text`. A CR that is followed by neither LF nor NUL
/// stands for itself.
pub fn decode(wire: &[u8], text: &mut Vec<u8>) {
    let mut bytes = wire.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\r', Some(b'\n')) => text.extend(bytes.next()),
            (b'\r', Some(0)) => {
                bytes.next();
                text.push(b'\r');
            }
            _ => text.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_text_survives_the_wire(text in prop::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), any::<u8>()], 0..300)) {
            let (mut wire, mut back) = (Vec::new(), Vec::new());
            encode(&text, &mut wire);
            prop_assert_eq!(wire.len() as u64, encoded_len(&text));
            decode(&wire, &mut back);
            prop_assert_eq!(back, text);
        }
    }
}
