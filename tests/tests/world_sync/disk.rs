//! A server's disk: the database and the store of images, as they are seen and as they would be after a loss of power.
//!
//! A commit is all or nothing. An honest disk has it when it says so; a lying one when it pleases. Any operation may fail,
//! or be the last before the process dies.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Poll;
use std::time::Duration;

use daybreak_sync::host::{
    Batch, Changes, Host, HostError, Piece, Taken, Trace, Write, renewed, take_in,
};
use daybreak_sync::wire::Message;
use daybreak_sync::{
    Book, Damaged, Digest, Head, HybridClock, ImageHash, ImageRef, Mark, NodeId, ObjectKey, Row,
    Stamp, Tree,
};
use daybreak_tests::world::prng::Prng;

use super::sabotage::Sabotage;

/// A row, where it is in the log, and who sent it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) row: Row,
    pub(crate) position: u64,
    pub(crate) origin: Option<NodeId>,
    /// When it was written.
    pub(crate) at: Duration,
}

/// What is in the database.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) book: Book,
    pub(crate) rows: BTreeMap<ObjectKey, Stored>,
    log: BTreeMap<u64, ObjectKey>,
    marks: BTreeMap<u64, Mark>,
    pub(crate) clock: HybridClock,
    pub(crate) commits: u64,
}

impl Database {
    fn new(node: NodeId) -> Self {
        let book = Book::new(node);
        let start = book.head();
        Database {
            rows: BTreeMap::new(),
            log: BTreeMap::new(),
            marks: BTreeMap::from([(start.position, start.mark)]),
            clock: HybridClock::after(Stamp {
                time_ms: 0,
                counter: 0,
                node,
            }),
            book,
            commits: 0,
        }
    }

    pub(crate) fn write(&mut self, write: Write, at: Duration) {
        let key = match &write {
            Write::Put { row, .. } => &row.key,
            Write::Forget(key) => key,
        };
        if let Some(old) = self.rows.remove(key) {
            self.log.remove(&old.position);
        }
        if let Write::Put { row, head, origin } = write {
            let position = head.position;
            self.log.insert(position, row.key.clone());
            self.marks.insert(position, head.mark);
            let stored = Stored {
                origin,
                position,
                at,
                row,
            };
            self.rows.insert(stored.row.key.clone(), stored);
        }
    }

    /// What a new life begins with: another name, and a mark of that.
    fn renew(&mut self, node: NodeId, at: Duration) {
        let rows: Vec<Row> = self
            .rows
            .values()
            .map(|stored| stored.row.clone())
            .collect();
        let last = self.clock.last();
        let writes = renewed(&mut self.book, node, rows.into_iter());
        if writes.is_empty() {
            let head = self.book.head();
            self.marks.insert(head.position, head.mark);
        }
        writes.into_iter().for_each(|write| self.write(write, at));
        self.clock = HybridClock::after(Stamp { node, ..last });
    }

    /// Forgets deleted objects after `horizon`, and marks that nobody asks for any more.
    fn prune(&mut self, now: Duration, horizon: Duration, floorless: bool) -> Vec<Row> {
        let old =
            |stored: &&Stored| self.book.may_forget(&stored.row) && stored.at + horizon <= now;
        let old: Vec<(ObjectKey, u64)> = self
            .rows
            .values()
            .filter(old)
            .map(|stored| (stored.row.key.clone(), stored.position))
            .collect();
        let mut forgotten = Vec::new();
        for (key, position) in old {
            forgotten.extend(self.rows.remove(&key).map(|stored| stored.row));
            self.log.remove(&position);
            if !floorless {
                self.book.forget_delete(position);
            }
        }
        let confirmed = self.book.confirmed.position;
        self.marks.retain(|position, _| *position >= confirmed);
        forgotten
    }
}

/// An image as it lies there.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) octets: Vec<u8>,
    durable: bool,
}

/// What goes wrong with a disk, in a thousand operations, while there are faults.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DiskFaults {
    pub(crate) failed: u32,
    pub(crate) full: u32,
    pub(crate) crash: u32,
}

/// See the module.
pub(crate) struct Disk {
    pub(crate) name: &'static str,
    pub(crate) database: Database,
    pub(crate) durable: Database,
    pub(crate) images: BTreeMap<ImageHash, Content>,
    partial: BTreeMap<ImageHash, Vec<u8>>,
    trees: BTreeMap<ImageHash, Tree>,
    /// Found damaged, and to be fetched again.
    pub(crate) damaged: BTreeSet<ImageRef>,
    pub(crate) faults: Option<DiskFaults>,
    /// So often, an image is not read to its end yet.
    pub(crate) parts: u32,
    pub(crate) lying: bool,
    /// It has lied: what it confirmed may be lost.
    pub(crate) lied: bool,
    /// The process died in the last operation.
    pub(crate) crashed: bool,
    /// S4, S6: what should never have happened.
    pub(crate) wrong: Option<(&'static str, String)>,
    pub(crate) now: Duration,
    pub(crate) wall_ms: u64,
    dice: Prng,
    slowness: Prng,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Disk {
    pub(crate) fn new(seed: u64, name: &'static str, faults: DiskFaults) -> Self {
        let mut dice = Prng::new(seed, name);
        let node = NodeId::from_random(dice.word().to_be_bytes());
        let database = Database::new(node);
        Disk {
            name,
            durable: database.clone(),
            database,
            images: BTreeMap::new(),
            partial: BTreeMap::new(),
            trees: BTreeMap::new(),
            damaged: BTreeSet::new(),
            faults: Some(faults),
            parts: 0,
            lying: false,
            lied: false,
            crashed: false,
            wrong: None,
            now: Duration::ZERO,
            wall_ms: 0,
            dice,
            slowness: Prng::new(seed, &format!("slow {name}")),
            sabotage: None,
        }
    }

    pub(crate) fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// Whether this operation happens. After an error it may have been the last one of this process.
    fn operation(&mut self) -> Result<(), HostError> {
        if self.crashed {
            return Err(HostError::Failed("the process is dead".into()));
        }
        let Some(faults) = self.faults else {
            return Ok(());
        };
        if self.dice.chance(faults.crash) {
            self.crashed = true;
        }
        if self.crashed || self.dice.chance(faults.failed) {
            return Err(HostError::Failed("input/output error".into()));
        }
        if self.dice.chance(faults.full) {
            return Err(HostError::Full("no space left".into()));
        }
        Ok(())
    }

    /// Whether an image is large, and to be read for some more time.
    fn is_slow(&mut self) -> bool {
        self.parts = self.parts.saturating_sub(1);
        self.parts > 0 || self.faults.is_some() && self.slowness.chance(200)
    }

    /// A transaction: all of it, or nothing.
    pub(crate) fn commit<T>(
        &mut self,
        change: impl FnOnce(&mut Database) -> T,
    ) -> Result<T, HostError> {
        self.operation()?;
        let mut next = self.database.clone();
        let outcome = change(&mut next);
        next.commits += 1;
        self.database = next;
        if self.lying {
            self.lied = true;
        } else {
            self.flush();
        }
        // It is on the disk, and nobody has heard of it.
        if self
            .faults
            .is_some_and(|faults| self.dice.chance(faults.crash))
        {
            self.crashed = true;
            return Err(HostError::Failed("the process died".into()));
        }
        Ok(outcome)
    }

    fn flush(&mut self) {
        self.durable = self.database.clone();
        self.images
            .values_mut()
            .for_each(|content| content.durable = true);
    }

    /// What is left after a loss of power, or after the process died. Says whether something was lost.
    pub(crate) fn restart(&mut self, power_lost: bool) -> bool {
        let lost = power_lost && self.durable.commits != self.database.commits;
        if power_lost {
            self.database = self.durable.clone();
            self.images.retain(|_, content| content.durable);
            // Half of what was on its way is anything.
            self.partial.clear();
        }
        self.trees.clear();
        self.crashed = false;
        lost
    }

    /// Images that rows name and that are not here.
    pub(crate) fn missing(&self) -> Vec<ImageRef> {
        let rows = self.database.rows.values();
        let named = rows.flat_map(|stored| stored.row.images().collect::<Vec<_>>());
        named
            .filter(|image| !self.images.contains_key(&image.hash))
            .collect()
    }

    /// An operator's upload: content, hash, sync.
    pub(crate) fn upload(&mut self, octets: Vec<u8>) -> Result<ImageRef, HostError> {
        self.operation()?;
        let image = ImageRef {
            hash: ImageHash(*blake3::hash(&octets).as_bytes()),
            bytes: octets.len() as u64,
        };
        self.place(image, octets);
        Ok(image)
    }

    /// Content that is there already stays, if it is whole.
    fn place(&mut self, image: ImageRef, octets: Vec<u8>) {
        self.damaged.remove(&image);
        let there = self.images.get(&image.hash);
        if there.is_none_or(|there| there.octets != octets) {
            let durable = !self.lying;
            self.trees.remove(&image.hash);
            self.images.insert(image.hash, Content { octets, durable });
        }
    }

    /// Reads every image; what is not what it should be is taken out of service.
    pub(crate) fn scrub(&mut self) {
        let hashes: Vec<ImageHash> = self.images.keys().copied().collect();
        for hash in hashes {
            let octets = &self.images[&hash].octets;
            if *blake3::hash(octets).as_bytes() != hash.0 {
                let bytes = octets.len() as u64;
                self.quarantine(ImageRef { hash, bytes });
            }
        }
    }

    fn quarantine(&mut self, image: ImageRef) {
        self.images.remove(&image.hash);
        self.trees.remove(&image.hash);
        self.damaged.insert(image);
    }

    /// One bit of one image is another.
    pub(crate) fn rot(&mut self, hash: ImageHash, at: u64) {
        if let Some(content) = self.images.get_mut(&hash) {
            let len = content.octets.len() as u64;
            if len > 0 {
                content.octets[(at % len) as usize] ^= 0x10;
            }
        }
    }

    /// Says what was forgotten, if it was written or may have been.
    pub(crate) fn prune(&mut self, horizon: Duration) -> Vec<Row> {
        let (now, floorless) = (self.now, self.is(Sabotage::NoHorizon));
        let mut forgotten = Vec::new();
        let _ = self.commit(|database| forgotten = database.prune(now, horizon, floorless));
        forgotten
    }

    fn check_rows(&mut self, writes: &[Write]) {
        for write in writes {
            let Write::Put { row, .. } = write else {
                continue;
            };
            for image in row.images() {
                let here = self.images.contains_key(&image.hash) || self.damaged.contains(&image);
                if !here && !self.lied {
                    let what = format!(
                        "{} names {:?}, which is not on the disk",
                        row.key, image.hash
                    );
                    self.wrong.get_or_insert(("S4", what));
                }
            }
        }
    }
}

impl Host for Disk {
    fn book(&mut self) -> Result<Book, HostError> {
        let mut book = self.database.book.clone();
        if self.is(Sabotage::HeadAhead) && book.head().position > 5 {
            let head = book.head();
            let node = book.node;
            book.heads.advance(
                node,
                Head {
                    position: head.position + 1,
                    ..head
                },
            );
        }
        Ok(book)
    }

    fn trace(&mut self, position: u64) -> Result<Trace, HostError> {
        let database = &self.database;
        let oldest = database
            .marks
            .first_key_value()
            .map_or(0, |(position, _)| *position);
        Ok(match database.marks.get(&position) {
            Some(mark) => Trace::Mark(*mark),
            None if position < oldest => Trace::TooOld,
            None => Trace::Never,
        })
    }

    fn changes(&mut self, after: u64, bytes: usize, skip: NodeId) -> Result<Changes, HostError> {
        let database = &self.database;
        let (mut rows, mut to, mut used) = (Vec::new(), database.book.head().position, 0);
        for (position, key) in database.log.range(after + 1..) {
            let stored = &database.rows[key];
            if stored.origin == Some(skip) || (self.is(Sabotage::Omit) && position % 5 == 0) {
                continue;
            }
            if used > bytes / 512 {
                to = position - 1;
                break;
            }
            used += stored.row.values().len() * 64;
            rows.push(stored.row.clone());
        }
        let book = database.book.clone();
        Ok(Changes { book, rows, to })
    }

    fn page(
        &mut self,
        after: Option<&ObjectKey>,
        count: usize,
    ) -> Result<(Book, Vec<(ObjectKey, Digest)>), HostError> {
        let rows = self.database.rows.iter();
        let rows = rows
            .filter(|(key, _)| after.is_none_or(|after| *key > after))
            .map(|(key, stored)| (key.clone(), Digest::whole(&stored.row)));
        Ok((self.database.book.clone(), rows.take(count).collect()))
    }

    fn row(&mut self, key: &ObjectKey) -> Result<Option<Row>, HostError> {
        Ok(self.database.rows.get(key).map(|stored| stored.row.clone()))
    }

    fn apply(&mut self, batch: &Batch<'_>) -> Result<Taken, HostError> {
        if self.is(Sabotage::AckWithoutWriting) {
            let mut book = self.database.book.clone();
            return take_in(&mut book, batch, |_| Ok(None)).map(|_| Taken::default());
        }
        let (now, wall_ms) = (self.now, self.wall_ms);
        let first_wins = self.is(Sabotage::FirstWins);
        let rows: Vec<Row> = match self.is(Sabotage::DropConflicts) {
            true => batch.rows.iter().map(only_in_force).collect(),
            false => batch.rows.to_vec(),
        };
        let batch = Batch {
            rows: &rows,
            ..batch.clone()
        };
        let taken = self.commit(|database| {
            let rows = &database.rows;
            let taken = take_in(&mut database.book, &batch, |key| {
                Ok::<_, HostError>(rows.get(key).map(|stored| stored.row.clone()))
            })?;
            if let Some(stamp) = taken.latest {
                database.clock.observe(stamp, wall_ms);
            }
            for write in taken.writes.clone() {
                let there = matches!(&write, Write::Put { row, .. } if database.rows.contains_key(&row.key));
                if !(first_wins && there) {
                    database.write(write, now);
                }
            }
            Ok::<_, HostError>(taken)
        })??;
        self.check_rows(&taken.writes);
        Ok(taken)
    }

    fn confirm(&mut self, head: Head) -> Result<(), HostError> {
        // With the next commit, or never: nothing depends on it.
        self.database.book.confirm(head);
        Ok(())
    }

    fn renew(&mut self) -> Result<(), HostError> {
        let node = NodeId::from_random(self.dice.word().to_be_bytes());
        let now = self.now;
        self.commit(|database| database.renew(node, now))
    }

    fn conflicts(&mut self) -> Result<usize, HostError> {
        let rows = self.database.rows.values();
        Ok(rows
            .filter(|stored| stored.row.conflicts().count() > 0)
            .count())
    }

    fn names_image(&mut self, image: ImageRef) -> Result<bool, HostError> {
        let mut rows = self.database.rows.values();
        Ok(rows.any(|stored| stored.row.images().any(|named| named == image)))
    }

    fn has_image(&mut self, image: ImageRef) -> Result<bool, HostError> {
        Ok(self.is(Sabotage::NoImages) || self.images.contains_key(&image.hash))
    }

    fn pieces(&mut self, image: ImageRef) -> Result<u32, HostError> {
        let kept = self.partial.get(&image.hash).map_or(0, Vec::len);
        let whole = kept as u64 == image.bytes && kept > 0;
        Ok(match whole {
            true => image.pieces(),
            false => (kept / daybreak_sync::limits::PIECE_BYTES) as u32,
        })
    }

    fn put_piece(&mut self, image: ImageRef, index: u32, octets: &[u8]) -> Result<(), HostError> {
        self.operation()?;
        let partial = self.partial.entry(image.hash).or_default();
        partial.truncate(index as usize * daybreak_sync::limits::PIECE_BYTES);
        partial.extend_from_slice(octets);
        if self.sabotage == Some(Sabotage::KeepsDamage)
            && let Some(last) = partial.last_mut()
        {
            *last ^= 1;
        }
        Ok(())
    }

    fn finish_image(&mut self, image: ImageRef) -> Result<Poll<()>, HostError> {
        self.operation()?;
        if self.is_slow() {
            return Ok(Poll::Pending);
        }
        let octets = self.partial.remove(&image.hash).unwrap_or_default();
        if *blake3::hash(&octets).as_bytes() != image.hash.0 {
            self.wrong
                .get_or_insert(("S6", format!("a damaged {:?} was taken", image.hash)));
        }
        self.place(image, octets);
        Ok(Poll::Ready(()))
    }

    fn piece(&mut self, image: ImageRef, index: u32) -> Result<Poll<Option<Piece>>, HostError> {
        if self.is_slow() {
            return Ok(Poll::Pending);
        }
        let Some(content) = self.images.get(&image.hash) else {
            return Ok(Poll::Ready(None));
        };
        let octets = content
            .octets
            .chunks(daybreak_sync::limits::PIECE_BYTES)
            .nth(index as usize);
        let octets = octets.unwrap_or_default().to_vec();
        let all = &content.octets;
        let tree = match self.trees.get(&image.hash) {
            Some(tree) => Ok(tree.clone()),
            None => Tree::read::<Damaged>(image, |index| {
                let piece = all
                    .chunks(daybreak_sync::limits::PIECE_BYTES)
                    .nth(index as usize);
                Ok(piece.unwrap_or_default().to_vec())
            }),
        };
        let proof = tree.and_then(|tree| {
            let proof = tree.proof(index, &octets);
            self.trees.insert(image.hash, tree);
            proof
        });
        match proof {
            Ok(proof) => Ok(Poll::Ready(Some(Piece { octets, proof }))),
            Err(Damaged) => {
                self.quarantine(image);
                Ok(Poll::Ready(None))
            }
        }
    }
}

/// A row without what lost in it.
fn only_in_force(row: &Row) -> Row {
    let value = row.values()[0].clone();
    Row::new(row.key.clone(), row.version.clone(), vec![value]).expect("one value")
}

/// What a message says of its sender's log, for who watches.
pub(crate) fn advertised(message: &Message) -> Option<(NodeId, Head)> {
    let (node, heads) = match message {
        Message::Hello(hello) => (hello.node, &hello.heads),
        Message::Heads { node, heads, .. } => (*node, heads),
        _ => return None,
    };
    heads.of(node).map(|head| (node, head))
}
