//! Status reports: the datagram in which a terminal says how it is, and the answer to it (`docs/protocol.md`).
//!
//! [`Packet`] is a view of any octets of the right form, which judges nothing; [`Repr`] is what may be sent, and what is
//! believed after [`Packet::tag`] was compared with the tag of [`Packet::signed`]. The tag is a keyed BLAKE3 hash, made by the
//! caller: this crate holds no key. A datagram has one length in both directions, so that an answer is never larger than what
//! it answers.

/// Octets of every datagram.
pub const DATAGRAM_BYTES: usize = 56;
/// Octets of the tag at its end.
pub const TAG_BYTES: usize = 16;
/// Where engines listen for reports, unless they are told otherwise.
pub const PORT: u16 = 4901;

const SIGNED_BYTES: usize = DATAGRAM_BYTES - TAG_BYTES;
const MAGIC: &[u8; 8] = b"dbstatus";
const VERSION: u8 = 1;
const REPORT: u8 = 1;
const ANSWER: u8 = 2;

/// A tag: the first 16 octets of the BLAKE3 hash of [`Packet::signed`], keyed with the terminal's key.
pub type Tag = [u8; TAG_BYTES];

/// Why octets are no status datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not [`DATAGRAM_BYTES`] long.
    #[error("not of the length of a status datagram")]
    Length,
    /// Another protocol.
    #[error("not a status datagram")]
    Magic,
    /// Another version of this one.
    #[error("version {0} of the status datagram is not known")]
    Version(u8),
    /// Neither a report nor an answer.
    #[error("kind {0} of the status datagram is not known")]
    Kind(u8),
    /// Octets that must be zero are not.
    #[error("reserved octets of the status datagram are not zero")]
    Reserved,
    /// A stage or a verdict that there is not.
    #[error("a stage or a verdict is not known: {0}")]
    Value(u8),
    /// A report that announces no further one.
    #[error("the interval of a report is 1 to 65535 seconds, not 0")]
    Interval,
}

/// How far a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Its software starts.
    Starting = 1,
    /// It loads modules.
    Loading = 2,
    /// It connects to its terminal servers.
    Connecting = 3,
    /// It can be worked with.
    Running = 4,
    /// It goes down on purpose.
    Stopping = 5,
    /// It cannot be worked with.
    Failed = 6,
}

/// What a terminal says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How far it is.
    pub stage: Stage,
    /// Sessions that it has open.
    pub sessions: u16,
    /// How long it runs.
    pub uptime_s: u32,
    /// It will report again within this time; never 0.
    pub interval_s: u16,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// It was taken.
    Taken = 1,
    /// Its counter is not above the one in this answer: count from there, and report again.
    Stale = 2,
}

/// The content of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// From a terminal.
    Report(Report),
    /// From an engine.
    Answer(Verdict),
}

/// A datagram, with every field in its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// The network card that the terminal's configuration was fetched for.
    pub mac: [u8; 6],
    /// Of a report: above that of every report before. Of an answer: the highest that the engine knows.
    pub counter: u64,
    /// What it says.
    pub content: Content,
}

/// A view of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a>(&'a [u8; DATAGRAM_BYTES]);

impl<'a> Packet<'a> {
    /// A view of `datagram`, if it is of the length, the protocol and the version.
    ///
    /// # Errors
    /// Why it is not.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let octets: &[u8; DATAGRAM_BYTES] = datagram.try_into().map_err(|_| Malformed::Length)?;
        if octets[..8] != MAGIC[..] {
            return Err(Malformed::Magic);
        }
        if octets[8] != VERSION {
            return Err(Malformed::Version(octets[8]));
        }
        Ok(Packet(octets))
    }

    /// Whose it says that it is: what the key to check it with is found by.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.array(10)
    }

    /// What the tag is made of.
    #[must_use]
    pub fn signed(&self) -> &'a [u8] {
        &self.0[..SIGNED_BYTES]
    }

    /// The tag. To be compared in constant time.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.array(SIGNED_BYTES)
    }

    fn array<const COUNT: usize>(&self, at: usize) -> [u8; COUNT] {
        self.0[at..at + COUNT].try_into().expect("inside")
    }
}

impl Repr {
    /// What `packet` says. It is true if the tag is.
    ///
    /// # Errors
    /// A field that is out of its range.
    pub fn parse(packet: &Packet<'_>) -> Result<Self, Malformed> {
        let octets = packet.0;
        let zeros = |from: usize| match octets[from..SIGNED_BYTES].iter().all(|&octet| octet == 0) {
            true => Ok(()),
            false => Err(Malformed::Reserved),
        };
        let content = match octets[9] {
            REPORT => {
                if octets[25] != 0 {
                    return Err(Malformed::Reserved);
                }
                zeros(34)?;
                let interval_s = u16::from_be_bytes(packet.array(32));
                if interval_s == 0 {
                    return Err(Malformed::Interval);
                }
                Content::Report(Report {
                    stage: Stage::of(octets[24]).ok_or(Malformed::Value(octets[24]))?,
                    sessions: u16::from_be_bytes(packet.array(26)),
                    uptime_s: u32::from_be_bytes(packet.array(28)),
                    interval_s,
                })
            }
            ANSWER => {
                zeros(25)?;
                Content::Answer(match octets[24] {
                    1 => Verdict::Taken,
                    2 => Verdict::Stale,
                    other => return Err(Malformed::Value(other)),
                })
            }
            other => return Err(Malformed::Kind(other)),
        };
        Ok(Repr {
            mac: packet.mac(),
            counter: u64::from_be_bytes(packet.array(16)),
            content,
        })
    }

    /// The datagram, with the tag that `tag` makes of everything before it.
    #[must_use]
    pub fn emit(&self, tag: impl FnOnce(&[u8]) -> Tag) -> [u8; DATAGRAM_BYTES] {
        let mut octets = [0; DATAGRAM_BYTES];
        octets[..8].copy_from_slice(MAGIC);
        octets[8] = VERSION;
        octets[10..16].copy_from_slice(&self.mac);
        octets[16..24].copy_from_slice(&self.counter.to_be_bytes());
        match self.content {
            Content::Report(report) => {
                octets[9] = REPORT;
                octets[24] = report.stage as u8;
                octets[26..28].copy_from_slice(&report.sessions.to_be_bytes());
                octets[28..32].copy_from_slice(&report.uptime_s.to_be_bytes());
                octets[32..34].copy_from_slice(&report.interval_s.max(1).to_be_bytes());
            }
            Content::Answer(verdict) => {
                octets[9] = ANSWER;
                octets[24] = verdict as u8;
            }
        }
        let (signed, place) = octets.split_at_mut(SIGNED_BYTES);
        place.copy_from_slice(&tag(signed));
        octets
    }
}

impl Stage {
    /// Every stage.
    pub const ALL: [Stage; 6] = [
        Stage::Starting,
        Stage::Loading,
        Stage::Connecting,
        Stage::Running,
        Stage::Stopping,
        Stage::Failed,
    ];

    fn of(number: u8) -> Option<Self> {
        Stage::ALL.into_iter().find(|stage| *stage as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Repr {
        Repr {
            mac: [0x52, 0x54, 0, 0, 0, 1],
            counter: 0x0102_0304_0506_0708,
            content: Content::Report(Report {
                stage: Stage::Running,
                sessions: 2,
                uptime_s: 86_400,
                interval_s: 30,
            }),
        }
    }

    /// A tag that depends on every octet; what it is does not matter here.
    fn tag(signed: &[u8]) -> Tag {
        let mut tag = [signed.len() as u8; TAG_BYTES];
        for (index, octet) in signed.iter().enumerate() {
            let at = index % TAG_BYTES;
            tag[at] = tag[at].rotate_left(3) ^ octet;
        }
        tag
    }

    #[test]
    fn the_octets_are_those_of_the_document() {
        let octets = report().emit(|_| [0xee; TAG_BYTES]);
        let hex: alloc::string::String = octets
            .iter()
            .map(|octet| alloc::format!("{octet:02x}"))
            .collect();
        assert_eq!(
            hex,
            concat!(
                "6462737461747573", // dbstatus
                "01",
                "01",
                "525400000001",
                "0102030405060708",
                "04",
                "00",
                "0002",
                "00015180",
                "001e",
                "000000000000",
                "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
            )
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut all = alloc::vec![report()];
        for stage in Stage::ALL {
            let content = Content::Report(Report {
                stage,
                sessions: u16::MAX,
                uptime_s: u32::MAX,
                interval_s: 1,
            });
            all.push(Repr {
                content,
                ..report()
            });
        }
        for verdict in [Verdict::Taken, Verdict::Stale] {
            let content = Content::Answer(verdict);
            all.push(Repr {
                content,
                ..report()
            });
        }
        for repr in all {
            let octets = repr.emit(tag);
            let packet = Packet::parse(&octets).expect("a datagram");
            assert_eq!(Repr::parse(&packet), Ok(repr));
            assert_eq!(packet.tag(), tag(packet.signed()));
        }
    }

    #[test]
    fn every_rule_has_its_name() {
        let refused = |at: usize, octet: u8| {
            let mut octets = report().emit(tag);
            octets[at] = octet;
            Packet::parse(&octets)
                .and_then(|packet| Repr::parse(&packet))
                .expect_err("refused")
        };
        assert_eq!(refused(0, b'D'), Malformed::Magic);
        assert_eq!(refused(8, 2), Malformed::Version(2));
        assert_eq!(refused(9, 0), Malformed::Kind(0));
        assert_eq!(refused(9, 3), Malformed::Kind(3));
        assert_eq!(refused(24, 0), Malformed::Value(0));
        assert_eq!(refused(24, 7), Malformed::Value(7));
        assert_eq!(refused(25, 1), Malformed::Reserved);
        assert_eq!(refused(39, 1), Malformed::Reserved);
        // A report is no answer with octets left over.
        assert_eq!(refused(9, ANSWER), Malformed::Reserved);
        let mut octets = report().emit(tag);
        octets[32..34].fill(0);
        let packet = Packet::parse(&octets).expect("a view judges nothing");
        assert_eq!(Repr::parse(&packet), Err(Malformed::Interval));
        for len in (0..DATAGRAM_BYTES).chain([57, 1472]) {
            let octets = alloc::vec![0; len];
            assert_eq!(Packet::parse(&octets), Err(Malformed::Length));
        }
    }
}
