//! Cards that are nobody's, and ask for files of their own: told once a minute each, and only so many a second.
//!
//! Anybody can ask for any name, so what is remembered has a fixed size: a place by the address, whose last owner is
//! forgotten. Nothing is allocated after the start.

use daybreak_store::Mac;
use daybreak_tftp::Time;

use crate::limits::{STRANGER_AGAIN_AFTER, STRANGERS_A_SECOND_MAX, STRANGERS_KEPT};
use crate::per_second::PerSecond;

/// See the module.
#[derive(Debug)]
pub struct Strangers {
    places: Box<[Option<(Mac, Time)>]>,
    told: PerSecond,
}

impl Default for Strangers {
    fn default() -> Self {
        Strangers {
            places: vec![None; STRANGERS_KEPT].into(),
            told: PerSecond::new(STRANGERS_A_SECOND_MAX),
        }
    }
}

impl Strangers {
    /// Whether this card is to be told of now.
    pub fn tell(&mut self, now: Time, mac: Mac) -> bool {
        // The last octets differ most: of one maker's cards, only they do.
        let [.., d, e, f] = mac.0;
        let at = usize::from(d) << 16 | usize::from(e) << 8 | usize::from(f);
        let place = &mut self.places[at % STRANGERS_KEPT];
        if place.is_some_and(|(known, at)| known == mac && now < at + STRANGER_AGAIN_AFTER) {
            return false;
        }
        if !self.told.lets(now) {
            return false;
        }
        *place = Some((mac, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_card_is_told_once_a_minute() {
        let mut strangers = Strangers::default();
        let (one, other) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        assert!(strangers.tell(at(0), one));
        assert!(!strangers.tell(at(1), one));
        assert!(strangers.tell(at(2), other));
        assert!(!strangers.tell(at(59_999), one));
        assert!(strangers.tell(at(60_000), one));
    }

    #[test]
    fn a_flood_of_cards_is_told_at_a_bounded_rate() {
        let mut strangers = Strangers::default();
        let told = (0..100_000_u32)
            .filter(|number| {
                let [a, b, c, d] = number.to_be_bytes();
                strangers.tell(at(u64::from(*number) / 100), Mac([2, 0, a, b, c, d]))
            })
            .count();
        let most = usize::try_from(STRANGERS_A_SECOND_MAX).expect("small");
        assert_eq!(told, most);
    }
}
