//! The terminals of a catalog: who a network card belongs to, so that a reader can tell who asks without looking
//! into rendered files.
//!
//! One record for each card, of 128 octets: address (6), flags u8 (1: enabled, 2: holds a seat, and since version 3 of the format 4: this
//! server leaves booting to the other one), length of the identifier u8, length of the name u8, zeros (7), status key (32), identifier (64), name (16). What a length leaves over is zero. Identifiers
//! and names are printable ASCII without spaces, so that they can stand in a log line or an ERROR as they are.

use core::fmt;
use std::sync::Arc;

use crate::Mac;
use crate::limits::{TERMINAL_ID_BYTES_MAX, TERMINAL_NAME_BYTES_MAX};

/// Octets of one record.
pub(super) const TERMINAL_BYTES: usize = 128;
const ENABLED: u8 = 1;
const SEATED: u8 = 2;
const STANDBY: u8 = 4;
/// The version of the catalog that brought [`STANDBY`].
const STANDBY_SINCE: u32 = 3;
const KEY_AT: usize = 16;
const ID_AT: usize = 48;
const NAME_AT: usize = 112;

/// The key that a terminal's status reports are authenticated with. All zero: it has none, and reports nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatusKey(pub [u8; 32]);

impl StatusKey {
    /// No key.
    pub const NONE: StatusKey = StatusKey([0; 32]);
}

impl fmt::Debug for StatusKey {
    /// Not the key: logs are read by more people than catalogs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::NONE {
            "StatusKey(none)"
        } else {
            "StatusKey(..)"
        })
    }
}

/// What a catalog says of a network card, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalView<'a> {
    /// The card.
    pub mac: Mac,
    /// The terminal that it belongs to.
    pub id: &'a str,
    /// That terminal's name.
    pub name: &'a str,
    /// What its status reports are authenticated with.
    pub status_key: StatusKey,
    /// Whether it may boot.
    pub enabled: bool,
    /// Whether it holds a seat.
    pub seated: bool,
    /// Whether this server leaves booting to the other one, whatever seats there are.
    pub standby: bool,
}

/// The same, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTerminal {
    /// The terminal that the card belongs to; at most [`TERMINAL_ID_BYTES_MAX`] octets.
    pub id: Arc<str>,
    /// That terminal's name; at most [`TERMINAL_NAME_BYTES_MAX`] octets.
    pub name: Arc<str>,
    /// What its status reports are authenticated with.
    pub status_key: StatusKey,
    /// Whether it may boot.
    pub enabled: bool,
    /// Whether it holds a seat.
    pub seated: bool,
    /// Whether this server leaves booting to the other one, whatever seats there are.
    pub standby: bool,
}

impl StoredTerminal {
    /// Whether [`Self::emit`] gives what [`check`] accepts.
    pub(super) fn fits(&self) -> bool {
        is_text(self.id.as_bytes(), TERMINAL_ID_BYTES_MAX)
            && is_text(self.name.as_bytes(), TERMINAL_NAME_BYTES_MAX)
    }

    /// The record. Only for what [fits](Self::fits).
    pub(super) fn emit(&self, mac: Mac) -> [u8; TERMINAL_BYTES] {
        let len = |text: &str| u8::try_from(text.len()).expect("it fits");
        let flags = [
            (self.enabled, ENABLED),
            (self.seated, SEATED),
            (self.standby, STANDBY),
        ];
        let flags = flags.iter().map(|(set, flag)| u8::from(*set) * flag).sum();
        let mut record = [0; TERMINAL_BYTES];
        record[..6].copy_from_slice(&mac.0);
        record[6..9].copy_from_slice(&[flags, len(&self.id), len(&self.name)]);
        record[KEY_AT..ID_AT].copy_from_slice(&self.status_key.0);
        record[ID_AT..][..self.id.len()].copy_from_slice(self.id.as_bytes());
        record[NAME_AT..][..self.name.len()].copy_from_slice(self.name.as_bytes());
        record
    }
}

impl From<TerminalView<'_>> for StoredTerminal {
    fn from(view: TerminalView<'_>) -> Self {
        StoredTerminal {
            id: view.id.into(),
            name: view.name.into(),
            status_key: view.status_key,
            enabled: view.enabled,
            seated: view.seated,
            standby: view.standby,
        }
    }
}

/// The card of a record.
pub(super) fn mac(record: &[u8]) -> Mac {
    Mac(*record.first_chunk().expect("a record"))
}

/// Whether a record is one of a catalog of this version.
pub(super) fn check(record: &[u8], version: u32) -> bool {
    let (id, name) = texts(record);
    let rest = |start: usize, text: &[u8], end: usize| &record[start + text.len()..end];
    let newer = u8::from(version >= STANDBY_SINCE) * STANDBY;
    record[6] & !(ENABLED | SEATED | newer) == 0
        && usize::from(record[7]) == id.len()
        && usize::from(record[8]) == name.len()
        && is_text(id, TERMINAL_ID_BYTES_MAX)
        && is_text(name, TERMINAL_NAME_BYTES_MAX)
        && [
            &record[9..KEY_AT],
            rest(ID_AT, id, NAME_AT),
            rest(NAME_AT, name, TERMINAL_BYTES),
        ]
        .iter()
        .all(|zeros| zeros.iter().all(|&octet| octet == 0))
}

/// What a checked record says.
pub(super) fn view(record: &[u8]) -> TerminalView<'_> {
    let (id, name) = texts(record);
    let text = |octets| core::str::from_utf8(octets).expect("checked when parsed");
    TerminalView {
        mac: mac(record),
        id: text(id),
        name: text(name),
        status_key: StatusKey(record[KEY_AT..ID_AT].try_into().expect("32 octets")),
        enabled: record[6] & ENABLED != 0,
        seated: record[6] & SEATED != 0,
        standby: record[6] & STANDBY != 0,
    }
}

/// Identifier and name; shorter than the record says if it says too much.
fn texts(record: &[u8]) -> (&[u8], &[u8]) {
    let id = usize::from(record[7]).min(TERMINAL_ID_BYTES_MAX);
    let name = usize::from(record[8]).min(TERMINAL_NAME_BYTES_MAX);
    (&record[ID_AT..][..id], &record[NAME_AT..][..name])
}

fn is_text(octets: &[u8], max: usize) -> bool {
    (1..=max).contains(&octets.len()) && octets.iter().all(u8::is_ascii_graphic)
}
