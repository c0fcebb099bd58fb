//! The Installation ID: what a licence is bound to.
//!
//! It is derived from the machine and from the identity that the store was given when it was made: the same across restarts and
//! upgrades, another one for a copy of the data directory on another machine, and for a new data directory on the same one.
//! People read it out over the telephone, so it has no letters that look alike, and check characters: up to four wrong
//! characters are always found.

use core::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::object::NodeId;

/// No I, L, O, U: they are read as others.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters that say which installation.
const DATA: usize = 20;
/// Check characters.
const CHECK: usize = 6;
/// Characters between two dashes.
const GROUP: usize = 5;
/// What is derived here, and nothing else: never changed, or every licence would be void.
const CONTEXT: &str = "daybreak 2026 installation id of a machine and a store";

/// See the module. Written as `XXXXX-XXXXX-XXXXX-XXXXX-CCCCCC`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct InstallationId([u8; DATA]);

/// Not an Installation ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallationIdError {
    /// Not so many characters, or others than those that one has.
    #[error("an Installation ID has 26 letters and digits, as XXXXX-XXXXX-XXXXX-XXXXX-XXXXXX")]
    Shape,
    /// The check characters belong to another one.
    #[error("the Installation ID has a mistake: its check characters do not fit; read it again")]
    Check,
}

impl InstallationId {
    /// The one of the store `node` on the machine that calls itself `machine`.
    #[must_use]
    pub fn derive(machine: &str, node: NodeId) -> Self {
        let said = format!("{}\n{node}", machine.trim());
        let hash = blake3::derive_key(CONTEXT, said.as_bytes());
        let mut symbols = [0; DATA];
        for (symbol, octet) in symbols.iter_mut().zip(hash) {
            *symbol = octet % 32;
        }
        InstallationId(symbols)
    }

    /// Reads one as people write it: with or without dashes and spaces, in any case, with O for 0 and I or L for 1.
    pub fn parse(text: &str) -> Result<Self, InstallationIdError> {
        let mut symbols = [0; DATA + CHECK];
        let mut count = 0;
        for letter in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            let letter = match letter.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            let value = ALPHABET.iter().position(|known| *known == letter);
            let (Some(value), Some(place)) = (value, symbols.get_mut(count)) else {
                return Err(InstallationIdError::Shape);
            };
            *place = u8::try_from(value).expect("below 32");
            count += 1;
        }
        if count != symbols.len() {
            return Err(InstallationIdError::Shape);
        }
        let id = InstallationId(*symbols.first_chunk().expect("longer"));
        if id.check() == symbols[DATA..] {
            Ok(id)
        } else {
            Err(InstallationIdError::Check)
        }
    }

    /// The check characters: the BCH code of Bech32 (BIP 173), which finds any four wrong characters of so short a text.
    fn check(&self) -> [u8; CHECK] {
        const GENERATORS: [u32; 5] = [
            0x3b6a_57b2,
            0x2650_8e6d,
            0x1ea1_19fa,
            0x3d42_33dd,
            0x2a14_62b3,
        ];
        let mut sum: u32 = 1;
        for symbol in self.0.iter().copied().chain([0; CHECK]) {
            let top = sum >> 25;
            sum = (sum & 0x01ff_ffff) << 5 ^ u32::from(symbol);
            for (bit, generator) in GENERATORS.iter().enumerate() {
                if top >> bit & 1 == 1 {
                    sum ^= generator;
                }
            }
        }
        sum ^= 1;
        core::array::from_fn(|place| (sum >> (5 * (CHECK - 1 - place)) & 31) as u8)
    }
}

impl TryFrom<String> for InstallationId {
    type Error = InstallationIdError;

    fn try_from(text: String) -> Result<Self, InstallationIdError> {
        InstallationId::parse(&text)
    }
}

impl Serialize for InstallationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, symbol) in self.0.iter().chain(&self.check()).enumerate() {
            if place > 0 && place <= DATA && place % GROUP == 0 {
                f.write_str("-")?;
            }
            let letter = ALPHABET[usize::from(*symbol)];
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(machine: &str, store: u8) -> InstallationId {
        InstallationId::derive(machine, NodeId::from_random([store; 8]))
    }

    #[test]
    fn the_same_machine_and_store_have_the_same_id_for_ever_and_others_another() {
        let one = id("6a204bd89f3c8348afd5c77c717a097a\n", 1);
        assert_eq!(one.to_string(), KNOWN);
        assert_eq!(one, id("6a204bd89f3c8348afd5c77c717a097a", 1));
        assert_ne!(one, id("6a204bd89f3c8348afd5c77c717a097b", 1));
        assert_ne!(one, id("6a204bd89f3c8348afd5c77c717a097a", 2));
    }

    /// What was given out once must never change.
    const KNOWN: &str = "0FHZP-02GNR-J6BKJ-EA25K-GJGPAY";

    #[test]
    fn it_is_read_as_people_write_it() {
        for store in 0..=255 {
            let id = id("machine", store);
            let text = id.to_string();
            assert_eq!(text.len(), 30);
            assert_eq!(InstallationId::parse(&text), Ok(id));
            let sloppy = text.replace('-', " ").to_lowercase();
            let sloppy = sloppy.replace('0', "o").replace('1', "l");
            assert_eq!(InstallationId::parse(&sloppy), Ok(id));
        }
        for wrong in [
            "",
            "0",
            KNOWN.split_at(29).0,
            &format!("{KNOWN}0"),
            "ü",
            "UUUUU",
        ] {
            let refused = InstallationId::parse(wrong);
            assert_eq!(refused, Err(InstallationIdError::Shape), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_character_and_two_that_changed_places_are_found() {
        let text = id("machine", 7).to_string().replace('-', "");
        for place in 0..text.len() {
            for letter in ALPHABET {
                let mut other = text.clone().into_bytes();
                let same = std::mem::replace(&mut other[place], *letter) == *letter;
                let other = String::from_utf8(other).expect("ASCII");
                assert_eq!(InstallationId::parse(&other).is_ok(), same, "{other}");
            }
            let mut swapped = text.clone().into_bytes();
            swapped.swap(place, (place + 1) % text.len());
            let same = swapped == text.as_bytes();
            let swapped = String::from_utf8(swapped).expect("ASCII");
            assert_eq!(InstallationId::parse(&swapped).is_ok(), same, "{swapped}");
        }
    }
}
