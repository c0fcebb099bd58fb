//! File contents that are told apart: octets from a seed, so that a test needs no files of its own.

/// `len` octets that look random, the same for the same seed.
#[must_use]
pub fn octets(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut octets = Vec::with_capacity(len + 8);
    while octets.len() < len {
        octets.extend_from_slice(&split_mix(&mut state).to_le_bytes());
    }
    octets.truncate(len);
    octets
}

/// `len` octets of text: lines of printable characters ended by LF, so that a netascii transfer and its
/// undoing give the same text again.
#[must_use]
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut text: Vec<u8> = octets(seed, len)
        .into_iter()
        .map(|octet| if octet < 8 { b'\n' } else { b' ' + octet % 95 })
        .collect();
    if let Some(last) = text.last_mut() {
        *last = b'\n';
    }
    text
}

/// The next of a sequence of random numbers (SplitMix64).
pub fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
