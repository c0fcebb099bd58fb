//! The dice of a world: xoshiro256**, seeded by splitmix64. Small, fast, and the same on every machine.

use std::time::Duration;

/// A source of numbers that a seed and a stream determine.
#[derive(Clone, Debug)]
pub struct Prng([u64; 4]);

/// One round of splitmix64: also a good mixing function for hashes.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Prng {
    /// The numbers of a seed. Streams of one seed have nothing to do with each other: what one part of the
    /// world draws does not move what another draws.
    #[must_use]
    pub fn new(seed: u64, stream: &str) -> Self {
        let mut state = stream
            .bytes()
            .fold(mix(seed), |state, byte| mix(state ^ u64::from(byte)));
        Prng([(); 4].map(|()| {
            state = mix(state);
            state
        }))
    }

    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.word()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("below a u64")
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// As [`between`](Self::between), for a position or a count.
    pub fn count(&mut self, least: usize, most: usize) -> usize {
        usize::try_from(self.between(least as u64, most as u64)).expect("at most a usize")
    }

    /// As [`between`](Self::between), for 16 bits.
    pub fn short(&mut self, least: u16, most: u16) -> u16 {
        u16::try_from(self.between(least.into(), most.into())).expect("at most a u16")
    }

    /// As [`between`](Self::between), for a time.
    pub fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).expect("a short time");
        Duration::from_nanos(self.between(nanos(least), nanos(most)))
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }

    /// One of several.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.count(0, choices.len() - 1)]
    }

    /// So many octets.
    pub fn octets(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.word().to_le_bytes()[0]).collect()
    }

    /// 32 octets, for the seed of an endpoint.
    pub fn key(&mut self) -> [u8; 32] {
        let mut key = [0; 32];
        for part in key.chunks_exact_mut(8) {
            part.copy_from_slice(&self.word().to_le_bytes());
        }
        key
    }
}
