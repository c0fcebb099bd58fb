//! The licence file: a text that people can read and nobody can change.
//!
//! ```text
//! daybreak-licence 1
//! key 0123456789abcdef
//! signature <128 hexadecimal digits>
//! length 512
//!
//! {…}
//! ```
//!
//! What follows the empty line are exactly `length` octets of JSON, a [`Licence`]; the signature is Ed25519 over
//! them as they are. Bounds are checked before anything is kept, the signature before anything is believed, and every
//! refusal has a name. One licence has one text: there is no second spelling of a header.

use core::fmt;
use std::collections::BTreeMap;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::InstallationId;
use super::licence::{Licence, SCHEMA_VERSION};
use crate::limits::LICENCE_BYTES_MAX;
use crate::security::{hex, unhex};

const FIRST_LINE: &str = "daybreak-licence ";
/// The version of the envelope.
const ENVELOPE: &str = "1";

/// Why a text is not an installed licence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LicenceError {
    /// It is longer than any licence.
    #[error("this is no licence: it is longer than {LICENCE_BYTES_MAX} octets")]
    TooLarge,
    /// It does not begin as one.
    #[error("this is no licence: it does not begin with the line `daybreak-licence 1`")]
    NotALicence,
    /// The form of the file, or of what is in it, is a later one.
    #[error(
        "the licence has version {0}, and this software reads version 1; install a newer version of it"
    )]
    Version(String),
    /// The lines before the payload are not as they must be.
    #[error(
        "the licence was changed on its way: {0}. Ask for the file again, and send it as it is"
    )]
    Malformed(&'static str),
    /// The end is missing.
    #[error("the licence is cut off: its end is missing. Ask for the file again")]
    Truncated,
    /// Nobody that is trusted here has this key.
    #[error(
        "the licence is signed with the key {0}, which is not known here; put the vendor's key into keys/vendors, or update the software"
    )]
    UnknownKey(KeyId),
    /// What is signed is something else.
    #[error("the signature does not fit: the licence was changed. Ask for the file again")]
    Signature,
    /// It is signed, and yet no licence.
    #[error("the licence cannot be used: {0}")]
    Payload(String),
    /// It is for somebody else.
    #[error(
        "the licence is for {}, and this installation is {this}; activate it with this Installation ID", listed(.named)
    )]
    OtherInstallation {
        /// Whom it names.
        named: Vec<InstallationId>,
        /// Who we are.
        this: InstallationId,
    },
    /// A later activation is installed.
    #[error(
        "activation {installed} of this licence is installed, and this is activation {this}, which it replaced"
    )]
    Replaced {
        /// The one that is there.
        installed: u32,
        /// The one that was refused.
        this: u32,
    },
    /// Its file is there, and not for this program.
    #[error(
        "the file cannot be read: {0}. It must belong to the user that the administration runs as"
    )]
    Unreadable(String),
    /// Among the vendors' keys, and none.
    #[error("this is no vendor's key: it has one line, `daybreak-vendor-key` and 64 digits")]
    NotAKey,
    /// As many as there may be.
    #[error("as many licences as there may be are installed; remove one first")]
    TooMany,
}

fn listed(named: &[InstallationId]) -> String {
    let named: Vec<String> = named.iter().map(ToString::to_string).collect();
    named.join(" and ")
}

impl LicenceError {
    /// Its name, as a word that stays the same.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            LicenceError::TooLarge => "too_large",
            LicenceError::NotALicence => "not_a_licence",
            LicenceError::Version(_) => "wrong_version",
            LicenceError::Malformed(_) => "malformed",
            LicenceError::Truncated => "truncated",
            LicenceError::UnknownKey(_) => "unknown_key",
            LicenceError::Signature => "changed",
            LicenceError::Payload(_) => "unusable",
            LicenceError::OtherInstallation { .. } => "other_installation",
            LicenceError::Replaced { .. } => "replaced",
            LicenceError::Unreadable(_) => "unreadable",
            LicenceError::NotAKey => "not_a_key",
            LicenceError::TooMany => "too_many",
        }
    }
}

/// Names a vendor's key: the first octets of its hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The name of this key.
    #[must_use]
    pub fn of(key: &VerifyingKey) -> Self {
        let hash = blake3::hash(key.as_bytes());
        KeyId(*hash.as_bytes().first_chunk().expect("longer"))
    }
}

impl TryFrom<String> for KeyId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        unhex(&text)
            .map(KeyId)
            .ok_or("a key is named by 16 hexadecimal digits")
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The vendors' keys that are trusted: several, so that one can be replaced while licences of the other are in use.
#[derive(Clone, Debug, Default)]
pub struct VendorKeys(BTreeMap<KeyId, VerifyingKey>);

/// The line that a vendor's key is given out as.
const VENDOR_LINE: &str = "daybreak-vendor-key ";

impl VendorKeys {
    /// Trusts this key, too.
    pub fn trust(&mut self, key: VerifyingKey) {
        self.0.insert(KeyId::of(&key), key);
    }

    /// Those that are trusted.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.0.keys().copied()
    }

    /// The key in the text that a vendor gives out.
    #[must_use]
    pub fn parse_key(text: &str) -> Option<VerifyingKey> {
        let digits = text.trim_end().strip_prefix(VENDOR_LINE)?;
        let key = VerifyingKey::from_bytes(&unhex(digits)?).ok()?;
        // One of those few would accept signatures that nobody made.
        (!key.is_weak()).then_some(key)
    }

    /// That text.
    #[must_use]
    pub fn key_text(key: &VerifyingKey) -> String {
        format!("{VENDOR_LINE}{}\n", hex(key.as_bytes()))
    }

    /// What this text is, if somebody trusted has signed it.
    pub fn read(&self, text: &[u8]) -> Result<Licence, LicenceError> {
        let sealed = Sealed::parse(text)?;
        let key = self
            .0
            .get(&sealed.key)
            .ok_or(LicenceError::UnknownKey(sealed.key))?;
        let signature = Signature::from_bytes(&sealed.signature);
        key.verify_strict(sealed.payload, &signature)
            .map_err(|_| LicenceError::Signature)?;
        payload(sealed.payload)
    }

    /// The same, if it is for `this` installation.
    pub fn read_for(&self, text: &[u8], this: InstallationId) -> Result<Licence, LicenceError> {
        let licence = self.read(text)?;
        if licence.installations.contains(&this) {
            return Ok(licence);
        }
        Err(LicenceError::OtherInstallation {
            named: licence.installations,
            this,
        })
    }
}

/// An envelope that was not verified.
struct Sealed<'t> {
    key: KeyId,
    signature: [u8; 64],
    payload: &'t [u8],
}

impl<'t> Sealed<'t> {
    fn parse(text: &'t [u8]) -> Result<Self, LicenceError> {
        if text.len() > LICENCE_BYTES_MAX {
            return Err(LicenceError::TooLarge);
        }
        let mut rest = text;
        let first = line(&mut rest).ok_or(LicenceError::NotALicence)?;
        let version = first
            .strip_prefix(FIRST_LINE)
            .ok_or(LicenceError::NotALicence)?;
        if version != ENVELOPE {
            let plain = version.len() <= 8 && version.bytes().all(|byte| byte.is_ascii_digit());
            return Err(if plain && !version.is_empty() {
                LicenceError::Version(version.to_owned())
            } else {
                LicenceError::Malformed("its first line has no version")
            });
        }
        if !rest.windows(2).any(|two| two == b"\n\n") {
            return Err(LicenceError::Truncated);
        }
        let key = field(&mut rest, "key ", "the key is not 16 hexadecimal digits")?;
        let signature = field(
            &mut rest,
            "signature ",
            "the signature is not 128 hexadecimal digits",
        )?;
        let length = line(&mut rest)
            .and_then(|line| line.strip_prefix("length "))
            .filter(|digits| digits.len() <= 6 && !digits.starts_with('0'))
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|digits| digits.parse::<usize>().ok())
            .ok_or(LicenceError::Malformed("the length is not a number"))?;
        if line(&mut rest) != Some("") {
            return Err(LicenceError::Malformed("the empty line is missing"));
        }
        match rest.len() {
            found if found < length => Err(LicenceError::Truncated),
            found if found > length => {
                Err(LicenceError::Malformed("there is something behind its end"))
            }
            _ => Ok(Sealed {
                key: KeyId(key),
                signature,
                payload: rest,
            }),
        }
    }
}

/// Takes a line, which has an end, from `rest`.
fn line<'t>(rest: &mut &'t [u8]) -> Option<&'t str> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, after) = rest.split_at(end);
    *rest = &after[1..];
    core::str::from_utf8(line).ok()
}

fn field<const OCTETS: usize>(
    rest: &mut &[u8],
    name: &str,
    wrong: &'static str,
) -> Result<[u8; OCTETS], LicenceError> {
    line(rest)
        .and_then(|line| unhex(line.strip_prefix(name)?))
        .ok_or(LicenceError::Malformed(wrong))
}

/// What was signed.
fn payload(json: &[u8]) -> Result<Licence, LicenceError> {
    /// Which form it has, whatever else is in it.
    #[derive(Deserialize)]
    struct Versioned {
        schema_version: u32,
    }
    let unusable = |error: serde_json::Error| LicenceError::Payload(error.to_string());
    let Versioned { schema_version } = serde_json::from_slice(json).map_err(unusable)?;
    if schema_version != SCHEMA_VERSION {
        return Err(LicenceError::Version(schema_version.to_string()));
    }
    let licence: Licence = serde_json::from_slice(json).map_err(unusable)?;
    let checked = licence.check();
    checked.map_err(|why| LicenceError::Payload(why.to_owned()))?;
    Ok(licence)
}

/// The file of a licence.
pub fn sign(licence: &Licence, key: &SigningKey) -> Result<String, LicenceError> {
    let checked = licence.check();
    checked.map_err(|why| LicenceError::Payload(why.to_owned()))?;
    let mut payload = serde_json::to_string_pretty(licence).expect("text keys and plain values");
    payload.push('\n');
    let signature = key.sign(payload.as_bytes());
    let text = format!(
        "{FIRST_LINE}{ENVELOPE}\nkey {}\nsignature {}\nlength {}\n\n{payload}",
        KeyId::of(&key.verifying_key()),
        hex(&signature.to_bytes()),
        payload.len(),
    );
    if text.len() > LICENCE_BYTES_MAX {
        return Err(LicenceError::TooLarge);
    }
    Ok(text)
}
