//! How two servers come to know each other's keys: one shows a code, the other is given it, and each proves to the other that
//! it has it.
//!
//! The code is a secret of 80 bits, valid for a while, for one pairing, and for a few tries. Over TLS 1.3, in which each has
//! shown a key and proved to own it, each sends a keyed hash of the channel (what the exporter gives is the same on both ends
//! of one handshake, and of no other) and of both keys. Whoever stands between has another channel on each side, so passes on
//! a proof of neither; and nobody finds 80 bits by trying. Before a proof is right, nothing of the other is read but its 32
//! octets.

use core::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::key::PublicKey;
use super::pair::Role;
use crate::edge::{Entropy, random};
use crate::limits::{INTRODUCTION_BYTES_MAX, LISTED_MAX};

/// Crockford's: nothing looks like something else.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// What the exporter is asked for.
const LABEL: &[u8] = b"EXPORTER-daybreak-pairing-1";

/// What one server shows, and the other is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; 16]);

impl Code {
    /// A new one.
    pub fn new(entropy: &dyn Entropy) -> Self {
        Code(random::<16>(entropy).map(|octet| DIGITS[usize::from(octet % 32)]))
    }

    /// As somebody typed it: any case, with hyphens or blanks or without, O for 0 and I or L for 1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().filter(|octet| !matches!(octet, b'-' | b' '));
        let digits = digits.map(|octet| match octet.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        });
        let digits: Vec<u8> = digits.take(17).collect();
        let digits: [u8; 16] = digits.try_into().ok()?;
        digits
            .iter()
            .all(|digit| DIGITS.contains(digit))
            .then_some(Code(digits))
    }

    /// As it is shown: four groups of four.
    #[must_use]
    pub fn reveal(&self) -> String {
        let groups: Vec<_> = self.0.chunks(4).map(String::from_utf8_lossy).collect();
        groups.join("-")
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code")
    }
}

/// Which side of the connection proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prover {
    /// The one that was given the code, and connects.
    Joiner,
    /// The one that shows it.
    Shower,
}

/// What both ends of one handshake know.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) exported: [u8; 32],
    pub(super) joiner: PublicKey,
    pub(super) shower: PublicKey,
}

impl Channel {
    /// That `prover` has the code, here and nowhere else.
    pub(super) fn proof(&self, code: &Code, prover: Prover) -> blake3::Hash {
        let key = blake3::derive_key("daybreak 2026 pairing code", &code.0);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(match prover {
            Prover::Joiner => b"joiner",
            Prover::Shower => b"shower",
        });
        hasher.update(&self.exported);
        for key in [&self.joiner, &self.shower] {
            hasher.update(&(key.as_bytes().len() as u64).to_be_bytes());
            hasher.update(key.as_bytes());
        }
        hasher.finalize()
    }
}

/// What is the same on both ends of one handshake, and nowhere else.
pub(super) fn exported<Data>(
    connection: &rustls::ConnectionCommon<Data>,
) -> Result<[u8; 32], rustls::Error> {
    connection.export_keying_material([0; 32], LABEL, None)
}

/// What a server says of itself, once the other has proved that it has the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Introduction {
    /// As it calls itself.
    pub(super) name: String,
    /// Where it listens, on the address that the other sees.
    pub(super) port: u16,
    /// Which of the two it is, or was.
    pub(super) role: Role,
    /// How often a server of its pair was replaced.
    pub(super) epoch: u64,
    /// The one that it was paired with before was another.
    pub(super) replaces: bool,
}

impl Introduction {
    /// The epoch of a pair of these two.
    pub(super) fn epoch_with(&self, other: &Introduction) -> u64 {
        let replaced = self.replaces || other.replaces;
        self.epoch.max(other.epoch).saturating_add(replaced.into())
    }
}

/// What operators are told when the two speak no common version.
pub(super) const INCOMPATIBLE: &str =
    "the two servers speak no common version; install the same software on both";

/// Why there is no pair.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    /// It is no code.
    #[error("a code has 16 letters and digits, in four groups")]
    NotACode,
    /// This server has a partner.
    #[error(
        "this server is paired with {0}, and a pair is two servers: un-pair it first. More servers can be listed for manual \
         synchronization"
    )]
    Paired(String),
    /// This server knows too many.
    #[error(
        "this server is known to {LISTED_MAX} others for manual synchronization, and no more are kept: take one off the list"
    )]
    TooMany,
    /// The other one does not take it.
    #[error(
        "the other server did not accept the code: it is wrong, was used, is too old, was tried too often, or was shown for \
         something else (a pair, or manual synchronization); show a new one there"
    )]
    Refused,
    /// The other one is not who showed the code.
    #[error("what answers at this address does not know the code; check the address")]
    Impostor,
    /// It is this server.
    #[error("this is the address of this server itself")]
    Itself,
    /// The two speak no common version.
    #[error("{INCOMPATIBLE}")]
    Version,
    /// What the other one says of itself cannot be read.
    #[error("what the other server says of itself cannot be read; both need the same software")]
    Malformed,
    /// The other one does not answer.
    #[error("{address}: {why}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why not.
        why: String,
    },
    /// It took too long.
    #[error("the other server did not answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// The connection broke off.
    #[error("the connection broke off: {0}")]
    Broken(#[from] std::io::Error),
    /// TLS says no.
    #[error("the connection cannot be made safe: {0}")]
    Tls(#[from] rustls::Error),
    /// What was agreed on cannot be kept.
    #[error("the pair cannot be kept: {0}")]
    Kept(String),
    /// This server cannot be reached.
    #[error("this server cannot listen on {address}: {why}")]
    Listen {
        /// Where it should.
        address: String,
        /// Why not.
        why: String,
    },
    /// Synchronization does not run.
    #[error("the process is ending")]
    Ending,
}

pub(super) async fn send_introduction(
    to: &mut (impl AsyncWrite + Unpin),
    introduction: &Introduction,
) -> Result<(), PairingError> {
    let json = serde_json::to_vec(introduction).expect("plain values");
    let length = u16::try_from(json.len()).map_err(|_| PairingError::Malformed)?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(&json).await?;
    to.flush().await?;
    Ok(())
}

pub(super) async fn read_introduction(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<Introduction, PairingError> {
    let length = usize::from(from.read_u16().await?);
    if length > INTRODUCTION_BYTES_MAX {
        return Err(PairingError::Malformed);
    }
    let mut json = vec![0; length];
    from.read_exact(&mut json).await?;
    serde_json::from_slice(&json).map_err(|_| PairingError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Machine;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = Code::new(&Machine);
        let shown = code.reveal();
        assert_eq!(shown.len(), 19, "{shown}");
        assert_eq!(Code::parse(&shown), Some(code.clone()));
        let typed = shown
            .to_lowercase()
            .replace('-', " ")
            .replace('0', "o")
            .replace('1', "l");
        assert_eq!(Code::parse(&typed), Some(code));
        for bad in [
            "",
            "ABCD",
            "ABCD-EFGH-JKMN-PQRU",
            "ABCD-EFGH-JKMN-PQRS-T",
            "ABCD-EFGH-JKMN-PQR!",
        ] {
            assert_eq!(Code::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_proof_is_of_one_code_one_channel_one_side_and_these_two_keys() {
        let key = |fill: u8| PublicKey::of(&[fill; 44]).expect("a key");
        let channel = Channel {
            exported: [1; 32],
            joiner: key(1),
            shower: key(2),
        };
        let (code, other) = (Code::new(&Machine), Code::new(&Machine));
        let proof = channel.proof(&code, Prover::Joiner);
        let reflected = channel.proof(&code, Prover::Shower);
        let guessed = channel.proof(&other, Prover::Joiner);
        let elsewhere = Channel {
            exported: [2; 32],
            ..channel.clone()
        };
        let relayed = elsewhere.proof(&code, Prover::Joiner);
        let impostor = Channel {
            shower: key(3),
            ..channel.clone()
        };
        let impostor = impostor.proof(&code, Prover::Joiner);
        for wrong in [reflected, guessed, relayed, impostor] {
            assert_ne!(proof, wrong);
        }
        assert_eq!(proof, channel.proof(&code, Prover::Joiner));
    }

    #[test]
    fn s10_a_pair_with_another_server_than_before_is_of_a_later_epoch() {
        let of = |epoch, replaces| Introduction {
            name: String::new(),
            port: 1,
            role: Role::Primary,
            epoch,
            replaces,
        };
        assert_eq!(of(0, false).epoch_with(&of(0, false)), 0);
        assert_eq!(of(3, true).epoch_with(&of(0, false)), 4);
        assert_eq!(of(0, false).epoch_with(&of(3, true)), 4);
    }
}
