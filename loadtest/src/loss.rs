//! Loss at the generator: packets that are dropped on purpose, each way.

/// How often a packet is lost: a probability, as a threshold for 32 random bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss(u64);

impl Loss {
    /// A probability from 0 to 1; `None` for anything else.
    #[must_use]
    pub fn new(probability: f64) -> Option<Loss> {
        if !(0.0..=1.0).contains(&probability) {
            return None;
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 2^32"
        )]
        let threshold = (probability * 4_294_967_296.0) as u64;
        Some(Loss(threshold))
    }
}

/// The luck of one client: it depends on the seed and its number, not on what others do.
#[derive(Clone, Debug)]
pub struct Luck(u64);

impl Luck {
    /// The luck of a client.
    #[must_use]
    pub fn new(seed: u64, client: u32) -> Luck {
        let mut luck = Luck(seed ^ (u64::from(client) << 32));
        luck.next();
        luck
    }

    /// Whether the next packet is lost.
    pub fn loses(&mut self, loss: Loss) -> bool {
        loss.0 != 0 && (self.next() >> 32) < loss.0
    }

    /// SplitMix64: a step and a mix.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_lost_as_often_as_asked_and_the_same_each_time() {
        let lost = |seed, client, probability| {
            let mut luck = Luck::new(seed, client);
            let loss = Loss::new(probability).unwrap();
            (0..100_000).filter(|_| luck.loses(loss)).count()
        };
        assert_eq!(lost(1, 1, 0.0), 0);
        assert_eq!(lost(1, 1, 1.0), 100_000);
        assert!((4_500..5_500).contains(&lost(1, 1, 0.05)));
        assert_eq!(lost(7, 3, 0.05), lost(7, 3, 0.05));
        assert_ne!(lost(7, 3, 0.05), lost(7, 4, 0.05));
        assert_eq!(Loss::new(1.5), None);
        assert_eq!(Loss::new(f64::NAN), None);
    }
}
