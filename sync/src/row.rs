//! An object as it is kept: what it says, which edits that has seen, and what lost against it.
//!
//! A [`Row`] holds its values, each made by one edit (a [`Dot`]), and the version of all edits that it has seen. A
//! value that the other row has seen and no longer holds was replaced there. So merging is a union without what was
//! replaced: commutative, associative and idempotent (S5), and a concurrent edit is a second value: the
//! conflict is part of the object, the same on every server.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::limits::VALUES_MAX;
use crate::{Dot, Heads, ImageRef, NodeId, ObjectKey, Stamp, Version};

/// What an object says, as octets that this crate does not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Body {
    /// As the administration writes it.
    pub octets: Arc<[u8]>,
    /// What must be on the disk before this may be served.
    pub images: Arc<[ImageRef]>,
}

/// What one edit made of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    /// The edit.
    pub dot: Dot,
    /// Orders it among concurrent ones.
    pub stamp: Stamp,
    /// It was found on a server that had been replaced: never in force, until an operator chooses it.
    pub late: bool,
    /// What it says; nothing: the edit deleted the object.
    pub body: Option<Body>,
}

impl Value {
    fn content(&self) -> (Dot, Stamp, &Option<Body>) {
        (self.dot, self.stamp, &self.body)
    }

    /// The greatest is in force.
    fn rank(&self) -> (bool, Stamp, Dot, &Option<Body>) {
        (!self.late, self.stamp, self.dot, &self.body)
    }
}

/// See the module. The first of its values is in force, unless it is late; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Which object.
    pub key: ObjectKey,
    /// All edits that it has seen.
    pub version: Version,
    values: Vec<Value>,
}

/// What taking in another server's row did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What is to be stored from now on; nothing, if there is no such object.
    pub row: Option<Row>,
    /// There is a conflict that was not there before.
    pub conflict: bool,
    /// Values that did not fit into [`VALUES_MAX`].
    pub dropped: usize,
}

impl Row {
    /// A row of these values; `None` if there is none, or too many.
    #[must_use]
    pub fn new(key: ObjectKey, version: Version, values: Vec<Value>) -> Option<Self> {
        let count = values.len();
        let (row, dropped) = Row::of(key, version, values);
        row.filter(|row| dropped == 0 && row.values.len() == count)
    }

    fn of(key: ObjectKey, version: Version, mut values: Vec<Value>) -> (Option<Row>, usize) {
        // One edit has one value, and what was late once stays late.
        values.sort_by(|a, b| (a.content(), b.late).cmp(&(b.content(), a.late)));
        values.dedup_by(|a, b| a.content() == b.content());
        values.sort_by(|a, b| b.rank().cmp(&a.rank()));
        let dropped = values.len().saturating_sub(VALUES_MAX);
        values.truncate(VALUES_MAX);
        let row = (!values.is_empty()).then_some(Row {
            key,
            version,
            values,
        });
        (row, dropped)
    }

    /// The values: the first is in force, unless it is late.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// What is in force; nothing: there is no such object, as far as terminals are concerned.
    #[must_use]
    pub fn body(&self) -> Option<&Body> {
        self.values
            .first()
            .filter(|value| !value.late)?
            .body
            .as_ref()
    }

    /// The values that lost, and say something else.
    pub fn conflicts(&self) -> impl Iterator<Item = &Value> {
        let body = self.body();
        self.values
            .iter()
            .filter(move |value| value.body.as_ref() != body)
    }

    /// Whether all that is left of it is that it was deleted.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.values.iter().all(|value| value.body.is_none())
    }

    /// The images that must be on the disk before this may be stored: whichever value a merge leaves in force, it can be
    /// served. Late values are not in force before an operator says so.
    pub fn images(&self) -> impl Iterator<Item = ImageRef> {
        let values = self.values.iter().filter(|value| !value.late);
        let bodies = values.filter_map(|value| value.body.as_ref());
        bodies.flat_map(|body| body.images.iter().copied())
    }

    /// An operator's edit of `before` (of nothing, if there is no row), on a server that has seen `heads`. A
    /// conflict stays to be looked at, unless the object is deleted. And how many of the values that had lost did not fit into
    /// [`VALUES_MAX`] any more.
    #[must_use]
    pub fn edited(
        before: Option<&Row>,
        key: &ObjectKey,
        heads: &Heads,
        dot: Dot,
        stamp: Stamp,
        body: Option<Body>,
    ) -> (Row, usize) {
        let mut kept: Vec<Value> = match (before, &body) {
            (Some(row), Some(_)) => row.conflicts().cloned().collect(),
            _ => Vec::new(),
        };
        let dropped = kept.len().saturating_sub(VALUES_MAX - 1);
        kept.truncate(VALUES_MAX - 1);
        let row = Row::succeeding(before, key, heads, dot, stamp, body, kept);
        (row, dropped)
    }

    /// An operator's answer to a conflict: this body, whichever it is, and no other.
    #[must_use]
    pub fn resolved(before: &Row, dot: Dot, stamp: Stamp, body: Option<Body>) -> Row {
        let heads = Heads::default();
        Row::succeeding(
            Some(before),
            &before.key,
            &heads,
            dot,
            stamp,
            body,
            Vec::new(),
        )
    }

    fn succeeding(
        before: Option<&Row>,
        key: &ObjectKey,
        heads: &Heads,
        dot: Dot,
        stamp: Stamp,
        body: Option<Body>,
        mut values: Vec<Value>,
    ) -> Row {
        // A new object has seen everything that its server has: also that an older one of its name was deleted.
        let seen = before.map_or_else(|| heads.version(), |row| row.version.clone());
        values.push(Value {
            dot,
            stamp,
            late: false,
            body,
        });
        let version = seen.followed_by(dot.node, dot.number);
        let (row, _) = Row::of(key.clone(), version, values);
        row.expect("it has a value")
    }

    /// What a server that has seen `heads` and holds `mine` makes of `theirs`.
    #[must_use]
    pub fn merged(mine: Option<&Row>, theirs: &Row, heads: &Heads) -> Merged {
        let Some(mine) = mine else {
            let fresh = theirs.values.iter().filter(|v| !heads.covers(v.dot));
            let version = theirs.version.clone();
            return Merged::of(None, &theirs.key, version, fresh.cloned().collect());
        };
        let survives = |value: &&Value, other: &Row| {
            other.holds(value.dot) || !other.version.covers(value.dot)
        };
        let ours = mine.values.iter().filter(|v| survives(v, theirs));
        let others = theirs.values.iter().filter(|v| survives(v, mine));
        let version = mine.version.joined(&theirs.version);
        let mut values: Vec<Value> = ours.chain(others).cloned().collect();
        if values.is_empty() {
            // Each says that it has replaced the other: so a number was given twice, and nobody knows more. All stay.
            values = mine.values.iter().chain(&theirs.values).cloned().collect();
        }
        Merged::of(Some(mine), &theirs.key, version, values)
    }

    /// The same for a row of a server that has been replaced: what is new in it becomes a conflict, and replaces
    /// nothing. What is in force here is said anew, as the edit that `next` names, so that it has seen that.
    #[must_use]
    pub fn merged_late(
        mine: Option<&Row>,
        theirs: &Row,
        heads: &Heads,
        next: impl FnOnce() -> Dot,
    ) -> Merged {
        let seen = |dot| match mine {
            Some(mine) => mine.version.covers(dot),
            None => heads.covers(dot),
        };
        let fresh = theirs.values.iter().filter(|value| !seen(value.dot));
        let late: Vec<Value> = fresh
            .cloned()
            .map(|value| Value {
                late: true,
                ..value
            })
            .collect();
        let Some(mine) = mine else {
            return Merged::of(None, &theirs.key, theirs.version.clone(), late);
        };
        if late.is_empty() {
            return Merged::of(
                Some(mine),
                &mine.key,
                mine.version.clone(),
                mine.values.clone(),
            );
        }
        let mut version = mine.version.joined(&theirs.version);
        let mut values = mine.values.clone();
        if let Some(value) = values.first_mut().filter(|value| !value.late) {
            value.dot = next();
            version = version.followed_by(value.dot.node, value.dot.number);
        }
        values.extend(late);
        Merged::of(Some(mine), &mine.key, version, values)
    }

    /// What is left of a row that a server which has seen `heads` does not hold any more.
    #[must_use]
    pub fn without(&self, heads: &Heads) -> Merged {
        let left = self.values.iter().filter(|v| !heads.covers(v.dot));
        let version = self.version.clone();
        Merged::of(Some(self), &self.key, version, left.cloned().collect())
    }

    /// This row with the edits anew that `old` made after `confirmed`, whose numbers may have been given twice; `None`
    /// if there are none.
    #[must_use]
    pub fn renewed(
        &self,
        old: NodeId,
        confirmed: u64,
        mut next: impl FnMut() -> Dot,
    ) -> Option<Row> {
        let doubtful = |dot: Dot| dot.node == old && dot.number > confirmed;
        if !self.values.iter().any(|value| doubtful(value.dot)) {
            return None;
        }
        let mut version = self.version.clone().cut(old, confirmed);
        let mut values = self.values.clone();
        for value in values.iter_mut().filter(|value| doubtful(value.dot)) {
            value.dot = next();
            version = version.followed_by(value.dot.node, value.dot.number);
        }
        Row::of(self.key.clone(), version, values).0
    }

    fn holds(&self, dot: Dot) -> bool {
        self.values.iter().any(|value| value.dot == dot)
    }
}

impl Merged {
    fn of(before: Option<&Row>, key: &ObjectKey, version: Version, values: Vec<Value>) -> Self {
        let (row, dropped) = Row::of(key.clone(), version, values);
        let known = |value: &Value| {
            before.is_some_and(|row| row.conflicts().any(|old| old.dot == value.dot))
        };
        let conflict = row
            .as_ref()
            .is_some_and(|row| row.conflicts().any(|value| !known(value)));
        Merged {
            row,
            conflict,
            dropped,
        }
    }
}
