//! The messages.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::Malformed;
use super::octets::{Reader, Writer};
use crate::limits::{PAGE_MAX, PIECE_BYTES, PROOF_STEPS_MAX, ROWS_MAX};
use crate::policy::{Mode, Refusal, Role};
use crate::{Completion, Digest, Head, Heads, ImageHash, ImageRef, NodeId, ObjectKey, Row, Step};

/// The first thing that each says, and again when it has begun a new life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions that it speaks.
    pub versions: (u16, u16),
    /// Who it is.
    pub node: NodeId,
    /// How often a server of its pair was replaced.
    pub epoch: u64,
    /// Its mode.
    pub mode: Mode,
    /// Its role.
    pub role: Role,
    /// Its name, for people.
    pub name: String,
    /// Its software's version, for people.
    pub software: String,
    /// Its wall clock, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The last head of the other's that it has heard of, and of whom.
    pub heard: Option<(NodeId, Head)>,
    /// What it has taken in.
    pub heads: Heads,
    /// The sum of all its rows.
    pub digest: Digest,
}

/// Rows of a log, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Up to which position this is all.
    pub to: u64,
    /// Where the log ends now: whoever has read up to there has taken in that.
    pub now: Completion,
    /// The rows.
    pub rows: Vec<Row>,
}

/// Digests of rows in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What the answering server has taken in now.
    pub now: Completion,
    /// It is the last page.
    pub last: bool,
    /// The rows, deleted ones included.
    pub rows: Vec<(ObjectKey, Digest)>,
}

/// What one says to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// See [`Hello`].
    Hello(Hello),
    /// What the sender has taken in, after it changed.
    Heads {
        /// Who it is.
        node: NodeId,
        /// What it has taken in.
        heads: Heads,
        /// The sum of all its rows.
        digest: Digest,
    },
    /// Asks for the log of `node` after `after`, of which everything up to `cursor` was taken in.
    Pull {
        /// Whose log: what it is called now.
        node: NodeId,
        /// Taken in completely.
        cursor: Head,
        /// Read so far.
        after: u64,
    },
    /// The answer.
    Rows(Rows),
    /// The answer if the log does not go back so far.
    TooOld,
    /// Asks for the digests of all rows after this key.
    Compare {
        /// None: from the first.
        after: Option<ObjectKey>,
    },
    /// The answer.
    Page(Page),
    /// Asks for rows by their keys.
    Fetch(Vec<ObjectKey>),
    /// The answer: those that there are, and whether these were all.
    Objects {
        /// Where the log ends now.
        head: Head,
        /// How many of the keys were looked at.
        answered: u32,
        /// The rows.
        rows: Vec<Row>,
    },
    /// Asks for a piece of an image.
    Ask {
        /// Which image.
        image: ImageRef,
        /// Which piece.
        index: u32,
    },
    /// The answer.
    Piece {
        /// Which image.
        hash: ImageHash,
        /// Which piece.
        index: u32,
        /// The way to the hash.
        proof: Vec<Step>,
        /// The octets.
        octets: Vec<u8>,
    },
    /// The answer if the sender does not have it, or not whole.
    NoPiece {
        /// Which image.
        hash: ImageHash,
    },
    /// The sender holds this much of the log of `node` on its disk.
    Ack {
        /// Whose log.
        node: NodeId,
        /// How much of it.
        head: Head,
    },
    /// The sender does not go on, and why.
    Refuse(Refusal),
    /// A sign of life.
    Ping {
        /// The sender's wall clock, in milliseconds since 1970.
        wall_ms: u64,
    },
}

const HELLO: u8 = 1;

impl Message {
    /// The whole message, in this version.
    #[must_use]
    pub fn encode(&self, version: u16) -> Vec<u8> {
        let mut writer = Writer(Vec::with_capacity(128));
        writer.u32(0);
        writer.u16(version);
        writer.u8(self.kind());
        self.write(&mut writer);
        let length = u32::try_from(writer.0.len() - 4).expect("bounded");
        writer.0[..4].copy_from_slice(&length.to_be_bytes());
        writer.0
    }

    /// Reads a whole message ([`Frames`](super::Frames)) of one of these versions.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(octets: &[u8], versions: &RangeInclusive<u16>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(octets);
        let length = reader.u32()?;
        if length as usize + 4 != octets.len() {
            return Err(Malformed::Length(length));
        }
        let version = reader.u16()?;
        let kind = reader.u8()?;
        if !versions.contains(&version) {
            return Err(Malformed::Version(version));
        }
        let message = Message::read(kind, &mut reader)?;
        reader.end()?;
        Ok(message)
    }

    /// The versions that a `Hello` of whatever version says its sender speaks; `None` if it is no such message.
    #[must_use]
    pub fn versions_of_hello(octets: &[u8]) -> Option<(u16, u16)> {
        let (head, content) = octets.split_at_checked(7)?;
        if head[6] != HELLO {
            return None;
        }
        let mut reader = Reader::new(content);
        Some((reader.u16().ok()?, reader.u16().ok()?))
    }

    fn kind(&self) -> u8 {
        match self {
            Message::Hello(_) => HELLO,
            Message::Heads { .. } => 2,
            Message::Pull { .. } => 3,
            Message::Rows(_) => 4,
            Message::TooOld => 5,
            Message::Compare { .. } => 6,
            Message::Page(_) => 7,
            Message::Fetch(_) => 8,
            Message::Objects { .. } => 9,
            Message::Ask { .. } => 10,
            Message::Piece { .. } => 11,
            Message::NoPiece { .. } => 12,
            Message::Ack { .. } => 13,
            Message::Refuse(_) => 14,
            Message::Ping { .. } => 15,
        }
    }

    fn write(&self, to: &mut Writer) {
        match self {
            Message::Hello(hello) => hello.write(to),
            Message::Heads {
                node,
                heads,
                digest,
            } => {
                to.node(*node);
                to.heads(heads);
                to.put(&digest.to_bytes());
            }
            Message::Pull {
                node,
                cursor,
                after,
            } => {
                to.node(*node);
                to.head(*cursor);
                to.u64(*after);
            }
            Message::Rows(rows) => {
                to.u64(rows.to);
                to.completion(&rows.now);
                to.rows(&rows.rows);
            }
            Message::TooOld => {}
            Message::Compare { after } => {
                to.u8(after.is_some().into());
                if let Some(key) = after {
                    to.key(key);
                }
            }
            Message::Page(page) => {
                to.completion(&page.now);
                to.u8(page.last.into());
                to.count(page.rows.len());
                for (key, digest) in &page.rows {
                    to.key(key);
                    to.put(&digest.to_bytes());
                }
            }
            Message::Fetch(keys) => {
                to.count(keys.len());
                keys.iter().for_each(|key| to.key(key));
            }
            Message::Objects {
                head,
                answered,
                rows,
            } => {
                to.head(*head);
                to.u32(*answered);
                to.rows(rows);
            }
            Message::Ask { image, index } => {
                to.image(*image);
                to.u32(*index);
            }
            Message::Piece {
                hash,
                index,
                proof,
                octets,
            } => {
                to.put(&hash.0);
                to.u32(*index);
                to.count(proof.len());
                proof.iter().for_each(|step| to.put(step));
                to.octets(octets);
            }
            Message::NoPiece { hash } => to.put(&hash.0),
            Message::Ack { node, head } => {
                to.node(*node);
                to.head(*head);
            }
            Message::Refuse(refusal) => to.u8(refusal.code()),
            Message::Ping { wall_ms } => to.u64(*wall_ms),
        }
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            HELLO => Message::Hello(Hello::read(from)?),
            2 => Message::Heads {
                node: from.node()?,
                heads: from.heads()?,
                digest: Digest::from_bytes(from.array()?),
            },
            3 => Message::Pull {
                node: from.node()?,
                cursor: from.head()?,
                after: from.u64()?,
            },
            4 => Message::Rows(Rows {
                to: from.u64()?,
                now: from.completion()?,
                rows: from.rows()?,
            }),
            5 => Message::TooOld,
            6 => Message::Compare {
                after: match from.flag()? {
                    true => Some(from.key()?),
                    false => None,
                },
            },
            7 => Message::Page(Page {
                now: from.completion()?,
                last: from.flag()?,
                rows: {
                    let count = from.count(PAGE_MAX, 42, "rows of a page")?;
                    let row = |_| Ok((from.key()?, Digest::from_bytes(from.array()?)));
                    (0..count).map(row).collect::<Result<_, _>>()?
                },
            }),
            8 => Message::Fetch({
                let count = from.count(PAGE_MAX, 10, "keys")?;
                (0..count).map(|_| from.key()).collect::<Result<_, _>>()?
            }),
            9 => Message::Objects {
                head: from.head()?,
                answered: from.u32()?,
                rows: from.rows()?,
            },
            10 => Message::Ask {
                image: from.image()?,
                index: from.u32()?,
            },
            11 => Message::Piece {
                hash: ImageHash(from.array()?),
                index: from.u32()?,
                proof: {
                    let count = from.count(PROOF_STEPS_MAX, 32, "steps of a proof")?;
                    (0..count).map(|_| from.array()).collect::<Result<_, _>>()?
                },
                octets: from.octets(PIECE_BYTES, "octets of a piece")?.into(),
            },
            12 => Message::NoPiece {
                hash: ImageHash(from.array()?),
            },
            13 => Message::Ack {
                node: from.node()?,
                head: from.head()?,
            },
            14 => {
                let refusal = Refusal::of_code(from.u8()?);
                Message::Refuse(refusal.ok_or(Malformed::Not("refusal"))?)
            }
            15 => Message::Ping {
                wall_ms: from.u64()?,
            },
            kind => return Err(Malformed::Kind(kind)),
        })
    }
}

impl Hello {
    fn write(&self, to: &mut Writer) {
        to.u16(self.versions.0);
        to.u16(self.versions.1);
        to.node(self.node);
        to.u64(self.epoch);
        to.u8(self.mode.code());
        to.u8(self.role.code());
        to.text(&self.name);
        to.text(&self.software);
        to.u64(self.wall_ms);
        to.u8(self.heard.is_some().into());
        if let Some((node, head)) = self.heard {
            to.node(node);
            to.head(head);
        }
        to.heads(&self.heads);
        to.put(&self.digest.to_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Hello {
            versions: (from.u16()?, from.u16()?),
            node: from.node()?,
            epoch: from.u64()?,
            mode: Mode::of_code(from.u8()?).ok_or(Malformed::Not("mode"))?,
            role: Role::of_code(from.u8()?).ok_or(Malformed::Not("role"))?,
            name: from.text()?,
            software: from.text()?,
            wall_ms: from.u64()?,
            heard: match from.flag()? {
                true => Some((from.node()?, from.head()?)),
                false => None,
            },
            heads: from.heads()?,
            digest: Digest::from_bytes(from.array()?),
        })
    }
}

impl Writer {
    fn completion(&mut self, completion: &Completion) {
        self.node(completion.node);
        self.head(completion.head);
        self.heads(&completion.heads);
    }

    fn rows(&mut self, rows: &[Row]) {
        self.count(rows.len());
        rows.iter().for_each(|row| self.row(row));
    }
}

impl Reader<'_> {
    fn completion(&mut self) -> Result<Completion, Malformed> {
        Ok(Completion {
            node: self.node()?,
            head: self.head()?,
            heads: self.heads()?,
        })
    }

    fn rows(&mut self) -> Result<Vec<Row>, Malformed> {
        let count = self.count(ROWS_MAX, 18, "rows")?;
        let mut rows = Vec::new();
        for _ in 0..count {
            rows.push(self.row()?);
        }
        Ok(rows)
    }
}
