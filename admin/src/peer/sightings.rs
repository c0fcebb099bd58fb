//! What the two servers of a pair tell each other of when terminals were last seen, cut into messages and put together again.
//!
//! It travels beside the session, as licences do ([`super::told`]), and only to a server that has said in the TLS handshake that it listens
//! (`daybreak-link+seen/1`): an older one takes such a message for a broken session. A connection begins with all that is known; then follows what
//! is new. All times are ages, so that clocks which differ make no difference. A message that is refused is named in the log, and what follows
//! on this connection is not believed: a part is missing.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::told::{message, parts};
use crate::licensing::{Span, Told, TooManySeen};
use crate::limits::{
    LINK_SIGHTINGS_BYTES_MAX, LINK_SIGHTINGS_TOLD_MAX, OBJECTS_MAX, SIGHTINGS_AT_ONCE_MAX,
    SIGHTINGS_TOLD_EXACTLY_MS,
};
use crate::object::Id;

/// What no message of a session is, nor one of licences.
const WHAT: u8 = 0x81;
/// The version of what is in it.
const VERSION: u16 = 1;

/// Why it is not listened to.
#[derive(Debug, thiserror::Error)]
pub(super) enum PieceError {
    #[error("it is of the unknown kind {0:#x}")]
    Unknown(u8),
    #[error("it has version {0}, and this software reads version {VERSION}")]
    Version(u16),
    #[error("it has {0} octets")]
    TooLong(usize),
    #[error("it cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it tells of {0}")]
    TooMany(#[from] TooManySeen),
    #[error("it tells too often")]
    TooOften,
}

/// One message: some terminals, how long ago each was seen, and, with the last ones, what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    seen: BTreeMap<Id, u64>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    whole: bool,
    /// In ages.
    span: Option<Span>,
}

impl Piece {
    fn to_message(&self) -> Vec<u8> {
        let content = serde_json::to_vec(self).expect("text keys and plain values");
        message(VERSION, WHAT, &content)
    }

    fn read(message: &[u8]) -> Result<Self, PieceError> {
        match parts(message) {
            (_, what, _) if what != WHAT => Err(PieceError::Unknown(what)),
            (version, ..) if version != VERSION => Err(PieceError::Version(version)),
            _ if message.len() > LINK_SIGHTINGS_BYTES_MAX => {
                Err(PieceError::TooLong(message.len()))
            }
            (.., content) => Ok(serde_json::from_slice(content)?),
        }
    }
}

/// What is told on a connection.
#[derive(Debug, Default)]
pub(super) struct Teller {
    /// Whether the other server listens.
    pub(super) is_heard: bool,
    /// What it was told, by this server's clock. Nothing so far: all is told.
    told: Option<BTreeMap<Id, u64>>,
    /// What it is being told.
    left: VecDeque<(Id, u64)>,
    end: Option<End>,
}

impl Teller {
    /// On a new connection.
    pub(super) fn new(is_heard: bool) -> Self {
        Teller {
            is_heard,
            ..Teller::default()
        }
    }

    /// Begins to tell: who was seen when, and in which time that is known.
    pub(super) fn begin(&mut self, span: Option<Span>, seen: BTreeMap<Id, u64>) {
        let whole = self.told.is_none();
        let told = self.told.get_or_insert_default();
        told.retain(|id, _| seen.contains_key(id));
        for (id, seen_ms) in seen {
            let is_new = told.get(&id).is_none_or(|told_ms| {
                seen_ms.saturating_sub(*told_ms) >= SIGHTINGS_TOLD_EXACTLY_MS
            });
            if is_new {
                told.insert(id.clone(), seen_ms);
                self.left.push_back((id, seen_ms));
            }
        }
        self.end = Some(End { whole, span });
    }

    /// All is told again, and not only what is new.
    pub(super) fn begin_anew(&mut self) {
        (self.told, self.end) = (None, None);
        self.left.clear();
    }

    /// There is more to tell.
    pub(super) fn is_telling(&self) -> bool {
        self.end.is_some()
    }

    /// The next message, in which times become ages.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let end = self.end?;
        let count = self.left.len().min(SIGHTINGS_AT_ONCE_MAX);
        let some = self.left.drain(..count);
        let seen = some.map(|(id, seen_ms)| (id, now_ms.saturating_sub(seen_ms)));
        let mut piece = Piece {
            seen: seen.collect(),
            end: None,
        };
        if self.left.is_empty() {
            self.end = None;
            piece.end = Some(End {
                span: end.span.map(|span| span.ages(now_ms)),
                ..end
            });
        }
        Some(piece.to_message())
    }
}

/// What is heard on a connection.
#[derive(Debug, Default)]
pub(super) struct Hearer {
    seen: BTreeMap<Id, u64>,
    is_refused: bool,
    /// Messages, of late.
    pub(super) heard: u32,
}

impl Hearer {
    /// Another connection.
    pub(super) fn begin_anew(&mut self) {
        self.seen.clear();
        self.is_refused = false;
    }

    /// Nothing more is believed on this connection.
    pub(super) fn refuse(&mut self) {
        self.is_refused = true;
    }

    /// Takes a message, and gives what it ends. After one that is refused nothing is believed on this connection.
    pub(super) fn hear(&mut self, message: &[u8]) -> Result<Option<Told>, PieceError> {
        if self.is_refused {
            return Ok(None);
        }
        let heard = self.take(message);
        self.is_refused = heard.is_err();
        heard
    }

    fn take(&mut self, message: &[u8]) -> Result<Option<Told>, PieceError> {
        self.heard += 1;
        if self.heard > LINK_SIGHTINGS_TOLD_MAX {
            return Err(PieceError::TooOften);
        }
        let piece = Piece::read(message)?;
        self.seen.extend(piece.seen);
        if self.seen.len() > OBJECTS_MAX {
            self.seen.clear();
            return Err(PieceError::TooMany(TooManySeen));
        }
        Ok(piece.end.map(|end| Told {
            is_whole: end.whole,
            span: end.span,
            seen: std::mem::take(&mut self.seen),
        }))
    }
}

#[cfg(test)]
mod tests {
    use daybreak_sync::wire::Frames;

    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;
    const HOUR_MS: u64 = SIGHTINGS_TOLD_EXACTLY_MS;

    fn id(number: usize) -> Id {
        Id::parse(&format!("{number:032x}")).expect("an identifier")
    }

    fn span() -> Option<Span> {
        Some(Span {
            since_ms: 0,
            until_ms: NOW_MS - 200,
        })
    }

    /// What the other server makes of all that is told now, and by how many messages.
    fn heard(teller: &mut Teller, hearer: &mut Hearer, now_ms: u64) -> (Option<Told>, usize) {
        let (mut told, mut messages) = (None, 0);
        while let Some(message) = teller.next(now_ms) {
            assert!(message.len() <= LINK_SIGHTINGS_BYTES_MAX);
            let mut frames = Frames::default();
            frames.push(&message);
            assert_eq!(frames.pop().expect("a frame").as_ref(), Some(&message));
            assert!(told.is_none(), "nothing comes after the end");
            told = hearer.hear(&message).expect("it is listened to");
            messages += 1;
        }
        (told, messages)
    }

    #[test]
    fn all_is_told_at_first_and_then_what_is_new_in_ages() {
        let (mut teller, mut hearer) = (Teller::new(true), Hearer::default());
        let mut seen: BTreeMap<Id, u64> = (0..OBJECTS_MAX)
            .map(|number| (id(number), NOW_MS - 1000))
            .collect();
        teller.begin(span(), seen.clone());
        let (told, messages) = heard(&mut teller, &mut hearer, NOW_MS);
        let told = told.expect("it ends");
        let ages = Span {
            since_ms: NOW_MS,
            until_ms: 200,
        };
        assert_eq!((told.is_whole, told.span), (true, Some(ages)));
        assert_eq!(told.seen.len(), OBJECTS_MAX);
        assert!(told.seen.values().all(|ago_ms| *ago_ms == 1000));
        assert_eq!(messages, OBJECTS_MAX / SIGHTINGS_AT_ONCE_MAX);
        assert!(u32::try_from(10 * messages).expect("few") <= LINK_SIGHTINGS_TOLD_MAX);

        // Seen again: a little later, and so much later that it matters; and one that is new in the place of another.
        seen.insert(id(1), NOW_MS - 1000 + HOUR_MS - 1);
        seen.insert(id(2), NOW_MS - 1000 + HOUR_MS);
        seen.remove(&id(3));
        seen.insert(id(OBJECTS_MAX), NOW_MS);
        teller.begin(None, seen.clone());
        let (told, _) = heard(&mut teller, &mut hearer, NOW_MS + 2 * HOUR_MS);
        let news = [(id(2), HOUR_MS + 1000), (id(OBJECTS_MAX), 2 * HOUR_MS)];
        let expected = Told {
            is_whole: false,
            span: None,
            seen: BTreeMap::from(news),
        };
        assert_eq!(told, Some(expected));
        teller.begin(None, seen.clone());
        let nothing = heard(&mut teller, &mut hearer, NOW_MS).0.expect("that");
        assert_eq!(nothing, Told::default());
        // By another clock, or on another connection.
        teller.begin_anew();
        teller.begin(None, seen);
        let told = heard(&mut teller, &mut hearer, NOW_MS).0.expect("all");
        assert!(told.is_whole && told.seen.len() == OBJECTS_MAX);
    }

    #[test]
    fn what_is_refused_has_a_name_and_nothing_is_believed_before_the_next_connection() {
        let mut teller = Teller::new(true);
        teller.begin(span(), BTreeMap::from([(id(1), NOW_MS)]));
        let fine = teller.next(NOW_MS).expect("a message");
        let with = |at: usize, octet: u8| {
            let mut other = fine.clone();
            other[at] = octet;
            other
        };
        let content = |text: &str| message(VERSION, WHAT, text.as_bytes());
        let refused = |message: &[u8]| {
            let mut hearer = Hearer::default();
            let error = hearer.hear(message).expect_err("refused");
            assert!(matches!(hearer.hear(&fine), Ok(None)), "a part is missing");
            hearer.begin_anew();
            assert!(matches!(hearer.hear(&fine), Ok(Some(_))));
            error
        };
        assert!(matches!(refused(&with(6, 0x82)), PieceError::Unknown(0x82)));
        assert!(matches!(refused(&with(5, 2)), PieceError::Version(2)));
        for end in 0..fine.len() {
            let _ = refused(&fine[..end]);
        }
        for text in [
            "",
            "[]",
            r#"{"seen": {"../etc": 1}, "end": null}"#,
            r#"{"seen": {"a": -1}, "end": null}"#,
            r#"{"seen": {"a": 18446744073709551616}, "end": null}"#,
            r#"{"seen": {}, "end": {"whole": true, "span": {"since_ms": 1}}}"#,
            r#"{"seen": {}, "end": null, "later": 1}"#,
        ] {
            let error = refused(&content(text));
            assert!(matches!(error, PieceError::Malformed(_)), "{text}: {error}");
        }
        let long = format!("{}{{}}", " ".repeat(LINK_SIGHTINGS_BYTES_MAX));
        assert!(matches!(refused(&content(&long)), PieceError::TooLong(_)));
    }

    #[test]
    fn more_terminals_than_a_server_has_and_messages_without_end_are_refused() {
        let mut hearer = Hearer::default();
        let piece = |from: usize| Piece {
            seen: (from..from + SIGHTINGS_AT_ONCE_MAX)
                .map(|number| (id(number), 0))
                .collect(),
            end: None,
        };
        let mut pieces = (0..).map(|number| piece(number * SIGHTINGS_AT_ONCE_MAX).to_message());
        let error = pieces.find_map(|message| hearer.hear(&message).err());
        assert!(matches!(error, Some(PieceError::TooMany(_))), "{error:?}");
        assert!(hearer.seen.is_empty());
        hearer.begin_anew();
        let one = Piece::default().to_message();
        let error = (0..=LINK_SIGHTINGS_TOLD_MAX).find_map(|_| hearer.hear(&one).err());
        assert!(matches!(error, Some(PieceError::TooOften)), "{error:?}");
    }
}
