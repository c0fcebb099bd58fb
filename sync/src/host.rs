//! What a session needs from the server that it runs in: its database, and its store of images.
//!
//! The calls are synchronous: whoever drives a session gives it a thread of its own, and no operator's request waits for
//! it. What returns `Ok` is on the disk: only then the session tells the peer. The rules of what is written are
//! [`take_in`], [`edited`] and [`renewed`]; a host runs them inside its transaction.

use alloc::string::String;
use alloc::vec::Vec;
use core::task::Poll;

use crate::{
    Body, Book, Completion, Digest, Head, Heads, ImageRef, Mark, NodeId, ObjectKey, Row, Stamp,
    Step,
};

/// Why the host could not. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The disk has no room.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// A piece of an image, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The octets.
    pub octets: Vec<u8>,
    /// The way to the image's hash.
    pub proof: Vec<Step>,
}

/// What is known of a position of the own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// It has this mark.
    Mark(Mark),
    /// It is older than what is kept.
    TooOld,
    /// There never was one, as far as this database knows.
    Never,
}

/// A part of the own log, and the books of the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The books.
    pub book: Book,
    /// The rows whose last write is in this part, in its order.
    pub rows: Vec<Row>,
    /// Up to which position this is all.
    pub to: u64,
}

/// Rows that another server sent, to be written in one transaction.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Who sent them.
    pub from: NodeId,
    /// It was replaced: what is new becomes a conflict.
    pub late: bool,
    /// What is absent here and was seen is taken all the same: something went wrong that cannot be explained.
    pub keep: bool,
    /// The rows.
    pub rows: &'a [Row],
    /// Objects that it does not hold, having seen `seen`.
    pub gone: &'a [ObjectKey],
    /// See `gone`.
    pub seen: &'a Heads,
    /// The last head that it has told of: none of the rows is newer.
    pub heard: Option<(NodeId, Head)>,
    /// With these, this was taken in completely.
    pub end: Option<&'a Completion>,
}

/// One write of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// To be stored in place of what there is of this key.
    Put {
        /// The row.
        row: Row,
        /// Its position in the log, and the mark of that.
        head: Head,
        /// Who sent exactly this, and need not be told.
        origin: Option<NodeId>,
    },
    /// To be removed without a trace.
    Forget(ObjectKey),
}

/// What a batch leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What is to be written, with the books.
    pub writes: Vec<Write>,
    /// Objects with a new conflict.
    pub conflicts: Vec<ObjectKey>,
    /// Objects that had too many values, and how many of those that had lost were dropped.
    pub dropped: Vec<(ObjectKey, usize)>,
    /// Stamps that were seen, for the own clock.
    pub latest: Option<Stamp>,
}

/// What the server does for a session. See the module.
pub trait Host {
    /// The books.
    fn book(&mut self) -> Result<Book, HostError>;
    /// What is known of this position of the own log.
    fn trace(&mut self, position: u64) -> Result<Trace, HostError>;
    /// The log after `after`: at least one row if there is one, then until `bytes` are full. Without what came from
    /// `skip` as it is.
    fn changes(&mut self, after: u64, bytes: usize, skip: NodeId) -> Result<Changes, HostError>;
    /// The books, and digests ([`Digest::whole`]) of at most `count` rows after `after`, in the order of their keys.
    fn page(
        &mut self,
        after: Option<&ObjectKey>,
        count: usize,
    ) -> Result<(Book, Vec<(ObjectKey, Digest)>), HostError>;
    /// One row.
    fn row(&mut self, key: &ObjectKey) -> Result<Option<Row>, HostError>;
    /// Writes what [`take_in`] makes of the batch, in one transaction.
    fn apply(&mut self, batch: &Batch<'_>) -> Result<Taken, HostError>;
    /// The peer holds this much of the own log ([`Book::confirm`]). It may be written later.
    fn confirm(&mut self, head: Head) -> Result<(), HostError>;
    /// Begins a new life ([`renewed`]).
    fn renew(&mut self) -> Result<(), HostError>;
    /// Objects with a conflict.
    fn conflicts(&mut self) -> Result<usize, HostError>;

    /// Whether a row names this image, in force or not.
    fn names_image(&mut self, image: ImageRef) -> Result<bool, HostError>;
    /// Whether this image is in the store, whole.
    fn has_image(&mut self, image: ImageRef) -> Result<bool, HostError>;
    /// How many of its first pieces are there from an earlier try.
    fn pieces(&mut self, image: ImageRef) -> Result<u32, HostError>;
    /// Keeps the next piece, which was verified.
    fn put_piece(&mut self, image: ImageRef, index: u32, octets: &[u8]) -> Result<(), HostError>;
    /// All pieces are there: makes it an image of the store. `Pending`: a part of that is done, and the next is when this is called
    /// again, so that a large image does not keep the session from everything else.
    fn finish_image(&mut self, image: ImageRef) -> Result<Poll<()>, HostError>;
    /// A piece, with its proof ([`Tree::proof`](crate::Tree::proof)); `None` if the image is not here, or damaged. `Pending`: a part of
    /// the image was read for that, and the next is when this is called again.
    fn piece(&mut self, image: ImageRef, index: u32) -> Result<Poll<Option<Piece>>, HostError>;
}

/// What a server makes of another's rows. `book` is as it is afterwards; `mine` gives the row that is there.
///
/// # Errors
/// What `mine` says.
pub fn take_in<E>(
    book: &mut Book,
    batch: &Batch<'_>,
    mut mine: impl FnMut(&ObjectKey) -> Result<Option<Row>, E>,
) -> Result<Taken, E> {
    let mut taken = Taken::default();
    let nothing = Heads::default();
    for theirs in batch.rows {
        let before = mine(&theirs.key)?;
        let heads = if batch.keep { &nothing } else { &book.heads };
        let stamps = theirs.values().iter().map(|value| value.stamp);
        taken.latest = taken.latest.max(stamps.max());
        let merged = if batch.late {
            let heads = book.heads.clone();
            Row::merged_late(before.as_ref(), theirs, &heads, || book.advance())
        } else {
            Row::merged(before.as_ref(), theirs, heads)
        };
        if merged.dropped > 0 {
            taken.dropped.push((theirs.key.clone(), merged.dropped));
        }
        let Some(row) = merged.row.filter(|row| Some(row) != before.as_ref()) else {
            continue;
        };
        if merged.conflict {
            taken.conflicts.push(row.key.clone());
        }
        let origin = (row == *theirs).then_some(batch.from);
        taken.put(book, before.as_ref(), row, origin);
    }
    for key in batch.gone {
        let Some(before) = mine(key)? else {
            continue;
        };
        match before.without(batch.seen).row {
            Some(row) if row == before => {}
            Some(row) => taken.put(book, Some(&before), row, None),
            None => {
                book.forget(Some(&before));
                taken.writes.push(Write::Forget(key.clone()));
            }
        }
    }
    // Of the partner, which is another one now.
    if let Some((node, head)) = batch.heard.filter(|_| !batch.late) {
        book.hear(node, head);
    }
    if let Some(end) = batch.end {
        book.complete(end);
    }
    Ok(taken)
}

/// What an operator's edit of an object writes: a body, or none to delete it. And how many of the values that had lost did not fit any
/// more.
#[must_use]
pub fn edited(
    book: &mut Book,
    before: Option<&Row>,
    key: &ObjectKey,
    stamp: Stamp,
    body: Option<Body>,
) -> (Write, usize) {
    let heads = book.heads.clone();
    let dot = book.advance();
    let (row, dropped) = Row::edited(before, key, &heads, dot, stamp, body);
    (put(book, before, row, None), dropped)
}

/// What an operator's answer to a conflict writes.
#[must_use]
pub fn resolved(book: &mut Book, before: &Row, stamp: Stamp, body: Option<Body>) -> Write {
    let dot = book.advance();
    let row = Row::resolved(before, dot, stamp, body);
    put(book, Some(before), row, None)
}

/// What a manual synchronization writes of one object: this, and nothing else, whatever was there. It counts as an edit
/// that has seen everything here, so automatic synchronization goes on from it.
#[must_use]
pub fn overwritten(
    book: &mut Book,
    before: Option<&Row>,
    key: &ObjectKey,
    stamp: Stamp,
    body: Option<Body>,
) -> Write {
    match before {
        Some(row) => resolved(book, row, stamp, body),
        None => edited(book, None, key, stamp, body).0,
    }
}

/// What beginning a new life writes: every row with an edit of the old one that the peer had not confirmed.
#[must_use]
pub fn renewed(book: &mut Book, node: NodeId, rows: impl Iterator<Item = Row>) -> Vec<Write> {
    let confirmed = book.confirmed.position;
    let old = book.renew(node);
    let mut writes = Vec::new();
    for before in rows {
        if let Some(row) = before.renewed(old, confirmed, || book.advance()) {
            writes.push(put(book, Some(&before), row, None));
        }
    }
    writes
}

impl Taken {
    fn put(&mut self, book: &mut Book, before: Option<&Row>, row: Row, origin: Option<NodeId>) {
        // A late edit has taken its position already; two positions for one row do no harm.
        let _ = book.advance();
        self.writes.push(put(book, before, row, origin));
    }
}

fn put(book: &mut Book, before: Option<&Row>, row: Row, origin: Option<NodeId>) -> Write {
    let head = book.write(before, &row);
    Write::Put { row, head, origin }
}
