//! Images without memory: every octet is a function of the image, its generation and the offset.

use super::prng::mix;

/// A version of an image. What is converted to netascii is another image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageKey {
    /// Position of the image in the catalog.
    pub image: u16,
    /// The generation of the catalog that it belongs to.
    pub generation: u8,
    /// Whether this is its text for netascii.
    pub text: bool,
}

impl ImageKey {
    /// This key as a number.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.image) << 16 | u64::from(self.generation) << 1 | u64::from(self.text)
    }

    fn word(self, base: u64, index: u64) -> [u8; 8] {
        let value = base.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let value = (value ^ (value >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (value ^ (value >> 32)).to_le_bytes()
    }

    /// Calls `part` with the octets from `offset` on, in parts of at most 8, until `len` octets have been given.
    fn parts(self, offset: u64, len: usize, mut part: impl FnMut(usize, &[u8]) -> bool) -> bool {
        let base = mix(self.number());
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let skip = usize::try_from(at % 8).expect("less than 8");
            let take = (8 - skip).min(len - done);
            if !part(done, &self.word(base, at / 8)[skip..skip + take]) {
                return false;
            }
            done += take;
        }
        true
    }

    /// Writes the octets from `offset` on.
    pub fn fill(self, offset: u64, buffer: &mut [u8]) {
        self.parts(offset, buffer.len(), |at, octets| {
            buffer[at..at + octets.len()].copy_from_slice(octets);
            true
        });
    }

    /// Whether these are the octets from `offset` on.
    #[must_use]
    pub fn matches(self, offset: u64, octets: &[u8]) -> bool {
        self.parts(offset, octets.len(), |at, expected| {
            &octets[at..at + expected.len()] == expected
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_the_same_however_it_is_read() {
        let key = ImageKey {
            image: 3,
            generation: 1,
            text: false,
        };
        let mut whole = vec![0; 1000];
        key.fill(0, &mut whole);
        for (offset, len) in [(0, 1), (1, 7), (3, 13), (8, 8), (517, 100), (999, 1)] {
            assert!(key.matches(offset, &whole[offset as usize..][..len]));
        }
        assert!(!key.matches(1, &whole[..100]));
        let next = ImageKey {
            generation: 2,
            ..key
        };
        assert!(!next.matches(0, &whole));
    }
}
