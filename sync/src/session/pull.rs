//! Reading what the other has: its log from where it was read last, or everything, compared.
//!
//! The log is read in parts, and every part is written as it comes. But only at its end it is known that nothing was
//! passed over (an object changed in between moves to the end), so only then it counts as taken in. Without a place to
//! go on from, digests of all objects are compared, in the order of their keys, and those that differ are fetched.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::greet::Peer;
use super::{Event, Now, Session};
use crate::host::{Batch, Host, HostError};
use crate::limits::{IMAGES_WANTED_MAX, PAGE_MAX, PARKED_BYTES_MAX, PARKED_MAX, RETRY};
use crate::policy::Refusal;
use crate::wire::{Message, Page, Rows, encode_row};
use crate::{Book, Completion, Digest, Head, Heads, ImageHash, ImageRef, NodeId, ObjectKey, Row};

/// Keys that are asked for at once.
const KEYS_AT_ONCE: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Puller {
    phase: Phase,
    /// How far the other's log was read.
    read: u64,
    /// The last head that the other has told of.
    pub(super) heard: Option<(NodeId, Head)>,
    /// The end was read: with the rows that wait, this is taken in.
    end: Option<Completion>,
    comparing: Option<Comparing>,
    /// Rows that wait for their images.
    parked: BTreeMap<ObjectKey, Parked>,
    parked_bytes: usize,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// For a part of the log.
    Asked,
    /// For a page of digests.
    Paging,
    /// For rows by their keys.
    Fetching,
    /// Something failed: until then.
    Resting(Duration),
}

#[derive(Debug, Default)]
struct Comparing {
    /// What the other had taken in when it began.
    start: Option<Completion>,
    after: Option<ObjectKey>,
    wanted: VecDeque<ObjectKey>,
    /// The last page was read.
    last: bool,
    /// What is absent here is taken even if it was seen.
    keep: bool,
    /// What the other had taken in when it answered last.
    seen: Heads,
}

#[derive(Debug)]
struct Parked {
    row: Row,
    bytes: usize,
    missing: BTreeSet<ImageHash>,
}

impl Puller {
    /// Another peer, or another life of it.
    pub(super) fn forget(&mut self) {
        *self = Puller::default();
    }

    /// The connection is gone. What waits for images goes on waiting.
    pub(super) fn interrupt(&mut self) {
        self.phase = Phase::Idle;
        if let Some(keep) = self.comparing.as_ref().map(|comparing| comparing.keep) {
            self.compare(keep);
        }
    }

    /// Begins to compare everything. What waits for images may have been deleted, and that forgotten.
    fn compare(&mut self, keep: bool) {
        self.read = 0;
        self.end = None;
        self.parked.clear();
        self.parked_bytes = 0;
        self.comparing = Some(Comparing {
            keep,
            ..Comparing::default()
        });
    }

    /// Everything is to be compared: what this server had read may be lost.
    pub(super) fn compare_all(&mut self) {
        self.phase = Phase::Idle;
        self.compare(false);
    }

    /// Starts over, after a while.
    pub(super) fn rest(&mut self, now: Now) {
        self.interrupt();
        self.phase = Phase::Resting(now.time + RETRY);
        self.read = 0;
        self.end = None;
        self.parked.clear();
        self.parked_bytes = 0;
    }

    pub(super) fn greeted(&mut self, peer: Option<&Peer>) {
        let Some(peer) = peer else {
            return;
        };
        if !matches!(self.phase, Phase::Resting(_)) {
            self.phase = Phase::Idle;
        }
        self.hear(peer.node, peer.head());
    }

    pub(super) fn hear(&mut self, node: NodeId, head: Head) {
        self.heard = later(self.heard, node, head);
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Resting(until) => Some(until),
            _ => None,
        }
    }

    pub(super) fn is_comparing(&self) -> bool {
        self.comparing.is_some()
    }

    pub(super) fn is_quiet(&self) -> bool {
        let idle = matches!(self.phase, Phase::Idle);
        idle && self.comparing.is_none() && self.end.is_none() && self.parked.is_empty()
    }

    /// Objects that are read and wait for their images.
    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn waits_for(&self, hash: ImageHash) -> bool {
        let mut parked = self.parked.values();
        parked.any(|parked| parked.missing.contains(&hash))
    }

    pub(super) fn read(&self) -> u64 {
        self.read
    }

    fn is_full(&self) -> bool {
        self.parked.len() >= PARKED_MAX || self.parked_bytes >= PARKED_BYTES_MAX
    }

    fn unpark(&mut self, key: &ObjectKey) -> Option<Row> {
        let parked = self.parked.remove(key)?;
        self.parked_bytes -= parked.bytes;
        Some(parked.row)
    }
}

/// The last head that a node told of.
pub(crate) fn later(
    heard: Option<(NodeId, Head)>,
    node: NodeId,
    head: Head,
) -> Option<(NodeId, Head)> {
    heard
        .filter(|(of, heard)| *of == node && heard.position >= head.position)
        .or(Some((node, head)))
}

/// Whether something that `theirs` has taken in, of others, was not taken in here.
fn behind_elsewhere(ours: &Book, theirs: &Peer) -> bool {
    let of_others = |node| node != ours.node && node != theirs.node;
    let mut others = theirs.heads.iter().filter(|(node, _)| of_others(*node));
    others.any(|(node, head)| ours.heads.of(node).is_none_or(|known| known < head))
}

impl Session {
    /// Asks for the next part, if there is one and room for it.
    pub(super) fn pull_next<H: Host>(&mut self, now: Now, host: &mut H) {
        match self.puller.phase {
            Phase::Idle => {}
            Phase::Resting(until) if until <= now.time => self.puller.phase = Phase::Idle,
            _ => return,
        }
        let Some(peer) = self.peer.as_ref().filter(|peer| !peer.superior) else {
            return;
        };
        if self.puller.is_full() || self.fetcher.wanted() >= IMAGES_WANTED_MAX {
            return;
        }
        if let Some(comparing) = &mut self.puller.comparing {
            let message = if !comparing.wanted.is_empty() {
                let keys = comparing.wanted.iter().take(KEYS_AT_ONCE);
                self.puller.phase = Phase::Fetching;
                Message::Fetch(keys.cloned().collect())
            } else if !comparing.last {
                self.puller.phase = Phase::Paging;
                Message::Compare {
                    after: comparing.after.clone(),
                }
            } else {
                self.puller.read = comparing.start.as_ref().map_or(0, |s| s.head.position);
                self.puller.end = comparing.start.take();
                self.puller.comparing = None;
                self.take(now, &[], &[], &Heads::default(), false, host);
                return self.pull_next(now, host);
            };
            return self.say(message);
        }
        let read_once = self.puller.end.as_ref().map(|end| end.head);
        let Some(cursor) = self.book.heads.of(peer.node).or(read_once) else {
            self.puller.compare(false);
            return self.pull_next(now, host);
        };
        let puller = &mut self.puller;
        puller.read = puller.read.max(cursor.position);
        let unfinished = read_once.unwrap_or(cursor).position < puller.read;
        let elsewhere = puller.is_quiet() && behind_elsewhere(&self.book, peer);
        if peer.head().position > puller.read || unfinished || elsewhere {
            puller.phase = Phase::Asked;
            let message = Message::Pull {
                node: peer.node,
                cursor,
                after: puller.read,
            };
            self.say(message);
        }
    }

    pub(super) fn hear_rows<H: Host>(&mut self, now: Now, rows: Rows, host: &mut H) {
        let node = self.peer.as_ref().map(|peer| peer.node);
        let at_end = rows.to >= rows.now.head.position;
        if !matches!(self.puller.phase, Phase::Asked) {
            // An answer to what was asked before this started over.
            return;
        }
        if Some(rows.now.node) != node || (rows.to <= self.puller.read && !at_end) {
            return self.refuse(Refusal::Malformed);
        }
        self.puller.phase = Phase::Idle;
        self.puller.read = rows.to;
        self.puller.hear(rows.now.node, rows.now.head);
        if at_end {
            self.puller.end = Some(rows.now);
        }
        self.receive(now, rows.rows, false, host);
    }

    pub(super) fn hear_too_old(&mut self) {
        if matches!(self.puller.phase, Phase::Asked) {
            self.puller.phase = Phase::Idle;
            self.puller.compare(false);
        }
    }

    /// Both say that they have taken in the same: then they must hold the same.
    pub(super) fn look_at_sums(&mut self) {
        let Some(peer) = self.peer.as_ref() else {
            return;
        };
        let equal = peer.heads == self.book.heads && !peer.late && !peer.superior;
        if !equal || peer.digest == self.book.digest || !self.puller.is_quiet() {
            return;
        }
        if let Some(link) = &mut self.link
            && !core::mem::replace(&mut link.compared, true)
        {
            self.puller.compare(true);
            self.note(Event::Unequal);
        }
    }

    pub(super) fn hear_page<H: Host>(&mut self, now: Now, page: Page, host: &mut H) {
        if !matches!(self.puller.phase, Phase::Paging) {
            return;
        }
        let node = self.peer.as_ref().map(|peer| peer.node);
        let late = self.peer.as_ref().is_some_and(|peer| peer.late);
        let Some(comparing) = &mut self.puller.comparing else {
            return;
        };
        let keys = page.rows.iter().map(|(key, _)| Some(key));
        let before = core::iter::once(comparing.after.as_ref()).chain(keys.clone());
        let rising = before.zip(keys).all(|(before, key)| before < key);
        if !rising || Some(page.now.node) != node || (page.rows.is_empty() && !page.last) {
            return self.refuse(Refusal::Malformed);
        }
        self.puller.phase = Phase::Idle;
        let ours = match rows_between(host, comparing.after.as_ref(), &page) {
            Ok(ours) => ours,
            Err(error) => return self.fail(now, &error),
        };
        let theirs: BTreeMap<_, _> = page.rows.into_iter().collect();
        let differs = |(key, digest): &(&ObjectKey, &Digest)| ours.get(*key) != Some(*digest);
        comparing.wanted = theirs
            .iter()
            .filter(differs)
            .map(|(key, _)| key.clone())
            .collect();
        let absent = ours.keys().filter(|key| !theirs.contains_key(*key));
        let gone: Vec<ObjectKey> = match comparing.keep || late {
            true => Vec::new(),
            false => absent.cloned().collect(),
        };
        comparing.last = page.last;
        if let Some((key, _)) = theirs.into_iter().next_back() {
            comparing.after = Some(key);
        }
        let seen = page.now.heads.clone();
        comparing.seen = seen.clone();
        comparing.start.get_or_insert(page.now);
        self.take(now, &[], &gone, &seen, false, host);
    }

    pub(super) fn hear_objects<H: Host>(
        &mut self,
        now: Now,
        head: Head,
        answered: u32,
        rows: Vec<Row>,
        host: &mut H,
    ) {
        if !matches!(self.puller.phase, Phase::Fetching) {
            return;
        }
        let Some(comparing) = &mut self.puller.comparing else {
            return;
        };
        let answered = answered as usize;
        if let Some(start) = &comparing.start {
            self.puller.heard = later(self.puller.heard, start.node, head);
        }
        if answered == 0 || answered > comparing.wanted.len().min(KEYS_AT_ONCE) {
            return self.refuse(Refusal::Malformed);
        }
        self.puller.phase = Phase::Idle;
        let there: BTreeSet<&ObjectKey> = rows.iter().map(|row| &row.key).collect();
        let asked = comparing.wanted.drain(..answered);
        // Deleted, and forgotten since its digest was sent.
        let gone: Vec<ObjectKey> = asked.filter(|key| !there.contains(key)).collect();
        let (keep, seen) = (comparing.keep, comparing.seen.clone());
        self.receive(now, rows, keep, host);
        let late = self.peer.as_ref().is_some_and(|peer| peer.late);
        if !keep && !late {
            self.take(now, &[], &gone, &seen, false, host);
        }
    }

    /// Writes the rows whose images are here, and lets the others wait for them.
    fn receive<H: Host>(&mut self, now: Now, rows: Vec<Row>, keep: bool, host: &mut H) {
        let late = self.peer.as_ref().is_some_and(|peer| peer.late);
        let mut ready = Vec::with_capacity(rows.len());
        for row in rows {
            self.puller.unpark(&row.key);
            let missing = match missing_images(&row, host) {
                Ok(missing) => missing,
                Err(error) => return self.fail(now, &error),
            };
            let waits = !missing.is_empty() && !late;
            let hashes = missing.iter().map(|image| image.hash).collect();
            missing
                .into_iter()
                .for_each(|image| self.fetcher.want(image));
            if !waits {
                ready.push(row);
                continue;
            }
            let bytes = encode_row(&row).len();
            self.puller.parked_bytes += bytes;
            let parked = Parked {
                bytes,
                missing: hashes,
                row,
            };
            self.puller.parked.insert(parked.row.key.clone(), parked);
        }
        self.take(now, &ready, &[], &Heads::default(), keep, host);
    }

    /// This image is here: rows that waited for it last are written.
    pub(super) fn image_is_here<H: Host>(&mut self, now: Now, hash: ImageHash, host: &mut H) {
        let mut keys = Vec::new();
        for (key, parked) in &mut self.puller.parked {
            parked.missing.remove(&hash);
            if parked.missing.is_empty() {
                keys.push(key.clone());
            }
        }
        let rows = keys.iter().filter_map(|key| self.puller.unpark(key));
        let rows: Vec<Row> = rows.collect();
        self.take(now, &rows, &[], &Heads::default(), false, host);
    }

    /// Writes rows, and, if nothing waits any more, that the log was taken in. Only then the other is told.
    fn take<H: Host>(
        &mut self,
        now: Now,
        rows: &[Row],
        gone: &[ObjectKey],
        seen: &Heads,
        keep: bool,
        host: &mut H,
    ) {
        let Some((from, late)) = self.peer.as_ref().map(|peer| (peer.node, peer.late)) else {
            return;
        };
        let whole = self.puller.parked.is_empty() && self.puller.comparing.is_none();
        let end = self.puller.end.take_if(|_| whole);
        if rows.is_empty() && gone.is_empty() && end.is_none() {
            return;
        }
        let batch = Batch {
            from,
            late,
            keep,
            rows,
            gone,
            seen,
            heard: self.puller.heard,
            end: end.as_ref(),
        };
        let taken = match host.apply(&batch) {
            Ok(taken) => taken,
            Err(error) => return self.fail(now, &error),
        };
        self.trouble = None;
        if !taken.writes.is_empty() {
            let objects = taken.writes.len();
            self.note(Event::Applied { objects });
        }
        for key in taken.conflicts {
            self.note(Event::Conflict(key));
        }
        for (key, values) in taken.dropped {
            self.note(Event::Dropped { key, values });
        }
        self.refresh(now, host);
        if let Some(end) = end {
            let (node, head) = (end.node, end.head);
            self.say(Message::Ack { node, head });
            if let Some(link) = &mut self.link {
                link.heads_due = true;
            }
            // All that it knew is here.
            if late {
                self.close();
            }
        }
    }
}

/// The images that this row needs and that are not here.
fn missing_images<H: Host>(row: &Row, host: &mut H) -> Result<Vec<ImageRef>, HostError> {
    let mut missing = Vec::new();
    for image in row.images() {
        if !host.has_image(image)? {
            missing.push(image);
        }
    }
    Ok(missing)
}

/// The rows here in the range of keys that the page is about.
fn rows_between<H: Host>(
    host: &mut H,
    after: Option<&ObjectKey>,
    page: &Page,
) -> Result<BTreeMap<ObjectKey, Digest>, HostError> {
    let upper = match page.last {
        true => None,
        false => page.rows.last().map(|(key, _)| key),
    };
    let mut ours = BTreeMap::new();
    let mut after = after.cloned();
    loop {
        let (_, rows) = host.page(after.as_ref(), PAGE_MAX)?;
        let all = rows.len() < PAGE_MAX;
        for (key, digest) in rows {
            if upper.is_some_and(|upper| key > *upper) {
                return Ok(ours);
            }
            after = Some(key.clone());
            ours.insert(key, digest);
        }
        if all {
            return Ok(ours);
        }
    }
}
