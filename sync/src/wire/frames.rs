//! From a stream of octets to messages.

use alloc::vec::Vec;

use super::Malformed;
use crate::limits::MESSAGE_BYTES_MAX;

/// Cuts what arrives into messages. Holds at most one that is not complete; memory grows with what arrived, not with
/// what a length says.
#[derive(Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// Takes what arrived.
    pub fn push(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    /// The next complete message, its length included. To be called until there is none, before anything more is
    /// pushed.
    ///
    /// # Errors
    /// A length that no message has: the stream cannot be read any further.
    pub fn pop(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let Some(length) = self.0.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        let whole = (length as usize).saturating_add(4);
        if whole > MESSAGE_BYTES_MAX || length < 3 {
            return Err(Malformed::Length(length));
        }
        if self.0.len() < whole {
            return Ok(None);
        }
        let rest = self.0.split_off(whole);
        Ok(Some(core::mem::replace(&mut self.0, rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn messages_are_found_wherever_the_stream_is_cut() {
        let stream = [
            0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 4, 9,
        ];
        for step in 1..=stream.len() {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for part in stream.chunks(step) {
                frames.push(part);
                while let Some(message) = frames.pop().expect("well formed") {
                    found.push(message);
                }
            }
            assert_eq!(found, vec![stream[..7].to_vec(), stream[7..16].to_vec()]);
        }
    }

    #[test]
    fn a_length_that_lies_is_refused_before_anything_is_kept_for_it() {
        for length in [0_u32, 2, 8 << 20, 0x7fff_ffff, 0xffff_ffff] {
            let mut frames = Frames::default();
            frames.push(&length.to_be_bytes());
            assert_eq!(frames.pop(), Err(Malformed::Length(length)));
        }
    }
}
