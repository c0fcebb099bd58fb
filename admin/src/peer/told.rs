//! What the two servers of a pair tell each other of their licences, and what the other one told last, in `keys/partner.json`.
//!
//! It is one message, told whole whenever it says something else than before: who this installation is, which licences it has, and
//! the files of those that are for both. It travels on the link's connection, framed as the messages of the session are, and the
//! session never sees it. What was told last is kept while the two are apart: so the answers of both stay the same.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::key::{KeyError, PublicKey, write_atomically};
use super::pair::{Pair, PairFile};
use crate::configuration::{Configuration, Place};
use crate::licences::Licences;
use crate::licensing::{InstallationId, PairView, ToldLicences};
use crate::limits::{LICENCE_BYTES_MAX, LICENCES_MAX, LINK_LICENCES_BYTES_MAX};

/// What no message of a session is: this bit says that it is told beside it.
const BESIDE: u8 = 0x80;
/// What is told of licences.
const WHAT: u8 = BESIDE;
/// The version of what is in it.
const VERSION: u16 = 2;
/// Length, version and what it is.
const HEAD: usize = 7;

/// Whether it is no message of a session, but told beside it.
pub(super) fn is_beside(message: &[u8]) -> bool {
    message.get(HEAD - 1).is_some_and(|what| what & BESIDE != 0)
}

/// A message that is told beside the session.
pub(super) fn message(version: u16, what: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + HEAD - 4).expect("bounded");
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(&version.to_be_bytes());
    message.push(what);
    message.extend_from_slice(content);
    message
}

/// The version, what it is, and what is in it.
pub(super) fn parts(message: &[u8]) -> (u16, u8, &[u8]) {
    let version = message.get(4..6).and_then(|octets| octets.try_into().ok());
    let version = u16::from_be_bytes(version.unwrap_or_default());
    let what = message.get(HEAD - 1).copied().unwrap_or_default();
    (version, what, message.get(HEAD..).unwrap_or_default())
}

/// Why it is not listened to.
#[derive(Debug, thiserror::Error)]
pub(super) enum TellingError {
    #[error(
        "it has version {0}, and this software reads version {VERSION}; install the same version on both"
    )]
    Version(u16),
    #[error("it has more in it than a server has licences")]
    TooMuch,
    #[error("it cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// What a server tells of its licences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Telling {
    pub(super) installation: InstallationId,
    pub(super) licences: ToldLicences,
    /// The files of those that are for both.
    pub(super) files: Vec<String>,
}

impl Telling {
    /// What this server tells the other one, whose files are known once it has told who it is.
    pub(super) fn of(licences: &Licences, partner: Option<InstallationId>) -> Self {
        Telling {
            installation: licences.installation(),
            licences: licences.told(),
            files: partner.map_or_else(Vec::new, |partner| licences.for_partner(partner)),
        }
    }

    /// Whether it is one, and no message of a session.
    pub(super) fn is_one(message: &[u8]) -> bool {
        message.get(HEAD - 1) == Some(&WHAT)
    }

    pub(super) fn to_message(&self) -> Vec<u8> {
        let content = serde_json::to_vec(self).expect("text keys and plain values");
        message(VERSION, WHAT, &content)
    }

    /// Reads a whole message.
    pub(super) fn read(message: &[u8]) -> Result<Self, TellingError> {
        let (version, _, content) = parts(message);
        if version != VERSION {
            return Err(TellingError::Version(version));
        }
        if message.len() > LINK_LICENCES_BYTES_MAX {
            return Err(TellingError::TooMuch);
        }
        let telling: Telling = serde_json::from_slice(content)?;
        let fits = telling.licences.is_bounded()
            && telling.files.len() <= LICENCES_MAX
            && telling
                .files
                .iter()
                .all(|file| file.len() <= LICENCE_BYTES_MAX);
        fits.then_some(telling).ok_or(TellingError::TooMuch)
    }
}

/// What the other server told last, and which one that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    pub(super) partner: PublicKey,
    pub(super) installation: InstallationId,
    pub(super) licences: ToldLicences,
}

/// The file of it.
#[derive(Clone, Debug)]
pub(super) struct ToldFile(PathBuf);

impl ToldFile {
    pub(super) fn of(keys: &Path) -> Self {
        ToldFile(keys.join("partner.json"))
    }

    /// What this partner told last. A file that cannot be read is as good as none: it is told again.
    pub(super) fn read(&self, pair: &Pair) -> Option<Told> {
        let partner = pair.partner.as_ref()?;
        let read = fs::read(&self.0).and_then(|json| Ok(serde_json::from_slice::<Told>(&json)?));
        let told = match read {
            Ok(told) => Some(told),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let path = self.0.display();
                tracing::warn!(%path, %error, "what the other server told of its licences is lost");
                None
            }
        };
        told.filter(|told| told.partner == partner.key)
    }

    /// Writes it; on return it is on the disk.
    pub(super) fn write(&self, told: &Told) -> std::io::Result<()> {
        let json = serde_json::to_vec_pretty(told).expect("text keys and plain values");
        write_atomically(&self.0, &json)
    }
}

/// The configuration is told whether it may be changed here, and the licences what the pair is. Gives whether that changed what
/// follows for terminals.
pub(super) fn take_place(
    keys: &Path,
    (configuration, licences): (&Configuration, &Licences),
    (pair, told): (&Pair, Option<&Told>),
    automatic: bool,
) -> bool {
    let before = *configuration.site().entitlement();
    let partner = pair.partner.as_ref();
    let called = partner.map(|partner| format!("{} ({})", partner.name, partner.address));
    let place = called.map(|called| (pair.role.into(), called));
    configuration.take_place(Place(place));
    let ceiling = configuration.site().synchronization().mode.into();
    let view = partner.map(|_| PairView {
        role: pair.role.into(),
        automatic,
        ceiling,
        partner: told.map(|told| told.installation),
        partner_licences: told.map(|told| told.licences.clone()),
    });
    if let Err(error) = licences.set_pair(view) {
        tracing::error!(%error, "licences cannot be looked at; what was in force stays so");
    }
    let primary = configuration.primary_elsewhere();
    if let Err(error) = note_primary(keys, primary.as_deref()) {
        tracing::error!(%error, "where changes are made cannot be kept for the command line");
    }
    *configuration.site().entitlement() != before
}

/// The file that says where changes are made, while that is not here: for the command line, which changes a server without its
/// administration.
const PRIMARY: &str = "primary";

fn note_primary(keys: &Path, primary: Option<&str>) -> std::io::Result<()> {
    let path = keys.join(PRIMARY);
    let noted = match fs::read_to_string(&path) {
        Ok(noted) => Some(noted),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match primary {
        _ if noted.as_deref() == primary => Ok(()),
        Some(primary) => write_atomically(&path, primary.as_bytes()),
        None => fs::remove_file(&path),
    }
}

/// The server on which changes of this data directory are made, if that is another one.
pub fn primary_elsewhere(data: &Path) -> std::io::Result<Option<String>> {
    match fs::read_to_string(data.join("keys").join(PRIMARY)) {
        Ok(primary) => Ok(Some(primary)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same by what is on the disk, before anything is published: a server that starts again answers as it did.
pub fn recall(
    data: &Path,
    configuration: &Configuration,
    licences: &Licences,
) -> Result<(), KeyError> {
    let keys = data.join("keys");
    let pair = PairFile::of(&keys).read()?;
    let told = ToldFile::of(&keys).read(&pair);
    let automatic = configuration.site().synchronization().enabled;
    let server = (configuration, licences);
    take_place(&keys, server, (&pair, told.as_ref()), automatic);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LICENCE_COUNT_MAX;
    use crate::object::NodeId;
    use daybreak_sync::wire::Frames;

    fn telling() -> Telling {
        let node = NodeId::from_random([1; 8]);
        let summary = serde_json::json!({
            "id": "plant", "activation": 1, "redundancy": "full", "for_two": true,
            "counts": {"redundant-terminal-connection": LICENCE_COUNT_MAX},
        });
        Telling {
            installation: InstallationId::derive("a machine", node),
            licences: ToldLicences {
                valid: vec![serde_json::from_value(summary).expect("a summary")],
                ..ToldLicences::default()
            },
            files: vec!["a file".into()],
        }
    }

    #[test]
    fn what_is_told_is_read_as_it_was_told_and_is_no_message_of_a_session() {
        let message = telling().to_message();
        let mut frames = Frames::default();
        frames.push(&message);
        assert_eq!(frames.pop().expect("a frame").as_ref(), Some(&message));
        assert!(Telling::is_one(&message));
        assert_eq!(Telling::read(&message).expect("read"), telling());
        assert!(!Telling::is_one(&[0, 0, 0, 3, 0, 1, 1]));
        // What a later version tells beside the session is no message of it either.
        let later = super::message(9, 0xff, b"");
        assert!(is_beside(&later) && !Telling::is_one(&later));
        assert!(!is_beside(&[0, 0, 0, 3, 0, 1, 1]));
    }

    #[test]
    fn another_version_a_cut_one_and_too_much_are_refused() {
        let message = telling().to_message();
        let mut later = message.clone();
        later[5] = 3;
        assert!(matches!(
            Telling::read(&later),
            Err(TellingError::Version(3))
        ));
        for end in 0..message.len() {
            assert!(Telling::read(&message[..end]).is_err(), "{end}");
        }
        let many = Telling {
            files: vec![String::new(); LICENCES_MAX + 1],
            ..telling()
        };
        let large = Telling {
            files: vec!["x".repeat(LICENCE_BYTES_MAX + 1)],
            ..telling()
        };
        let huge = Telling {
            files: vec!["x".repeat(LINK_LICENCES_BYTES_MAX)],
            ..telling()
        };
        let mut ended = telling();
        ended.licences.ended = vec![ended.licences.valid[0].clone(); LICENCES_MAX + 1];
        for told in [many, large, huge, ended] {
            let read = Telling::read(&told.to_message());
            assert!(matches!(read, Err(TellingError::TooMuch)));
        }
    }
}
