//! Synchronization by hand: this server is made the same as the other one of its pair, once, because an operator says so.
//!
//! The other side only answers: pages of digests, rows, pieces of images, over a connection of its own between the same keys. So it
//! works whatever automatic synchronization is at, and switched off, too. What is confirmed must still be what was looked at;
//! a backup is made before anything is overwritten, and all of it is written in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use daybreak_store::{ImageHash, Store};
use daybreak_sync::host::{Host, HostError};
use daybreak_sync::limits::{PAGE_MAX, PIECE_TRIES_MAX, PING_EVERY};
use daybreak_sync::manual::{Inventory, Item, OutOfDate, Part, Plan, Run};
use daybreak_sync::policy::Refusal;
use daybreak_sync::wire::{Frames, Malformed, Message, Page, VERSIONS};
use daybreak_sync::{Completion, ImageRef, ObjectKey, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::desk::{Desk, Planned};
use super::handshake::{Stream, Unconnected};
use super::host::Server;
use super::key::PublicKey;
use super::overwrite::order;
use super::pairing::INCOMPATIBLE;
use crate::backup::{BackupError, Backups, Images, Made, Reason};
use crate::configuration::{Actor, ChangeError, Configuration};
use crate::database::DatabaseError;
use crate::file::{self, File};
use crate::kind::Kind;
use crate::limits::{LINK_READ_BYTES, MANUAL_SILENCE_MAX};
use crate::object::Id;
use crate::site::read;

/// Keys that are asked for at once.
const KEYS_AT_ONCE: usize = 512;

/// Why there is no plan, or why a run has ended without a result. Nothing was changed, but for [`ManualError::EndUnknown`].
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// There is no other server.
    #[error("this server is not paired with another one")]
    Alone,
    /// There is none of this fingerprint.
    #[error("no such server is listed; GET /api/v1/sync/servers shows those that are")]
    NotListed,
    /// It cannot be reached, or does not answer.
    #[error("the other server: {0}")]
    Other(String),
    /// The two speak no common version.
    #[error("{INCOMPATIBLE}")]
    Version,
    /// What was looked at is not so any more.
    #[error(transparent)]
    OutOfDate(#[from] OutOfDate),
    /// The other one was to be overwritten, and has not told how that ended.
    #[error(
        "how it ended is not known, the other server: {0}; look at the differences again: if there are none, it was done, and if there \
         are some, nothing was changed there"
    )]
    EndUnknown(String),
    /// An image is not whole there.
    #[error("the other server does not have image {0} whole; import its file again there")]
    NoImage(ImageRefText),
    /// This server cannot read or write.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The configuration cannot be read or written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The change is refused.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// What is here cannot be backed up, and so is not overwritten.
    #[error("no backup could be made before: {0}")]
    Backup(#[from] BackupError),
    /// Another run goes on.
    #[error("a run goes on; wait for its end")]
    Running,
    /// The process ends.
    #[error("the process is ending")]
    Ending,
}

impl From<Unconnected> for ManualError {
    fn from(error: Unconnected) -> Self {
        match error {
            Unconnected::Version(_) => ManualError::Version,
            error @ Unconnected::Other(..) => ManualError::Other(error.to_string()),
        }
    }
}

impl From<Malformed> for ManualError {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Version(_) => ManualError::Version,
            malformed => ManualError::Other(malformed.to_string()),
        }
    }
}

/// An image in a message.
#[derive(Clone, Copy, Debug)]
pub struct ImageRefText(pub ImageRef);

impl core::fmt::Display for ImageRefText {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.hash.fmt(f)
    }
}

/// Which other server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum With {
    /// That of the pair.
    Partner,
    /// One that is listed, by its fingerprint.
    Listed(String),
}

/// Which of the two is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwritten {
    /// This one.
    Here,
    /// The other one.
    There,
}

/// Between whom.
#[derive(Clone, Debug)]
pub struct Between {
    /// The other server.
    pub with: PublicKey,
    /// Which is overwritten.
    pub overwritten: Overwritten,
    /// What the source and the destination are called.
    pub names: (String, String),
}

/// What an object is to operators. One that is not there is something to them while there is a conflict about it.
fn item(row: &Row) -> Option<Item> {
    let contested = row.conflicts().next().is_some();
    let said = row.body();
    let lost = row.values().iter().find_map(|value| value.body.as_ref());
    let body = said.or(lost.filter(|_| contested))?;
    let (part, name) = match Kind::of_word(row.key.kind()) {
        Some(kind) => {
            let part = match kind {
                Kind::FirmwarePackage => Part::Firmware,
                Kind::TermCap => Part::TermCap,
                Kind::Module => Part::Modules,
                _ => Part::Configuration,
            };
            let name = read(kind, body).map(|body| body.name().to_owned());
            (part, name.ok())
        }
        None if row.key.kind() == file::KIND => {
            let name = File::of(body).map(|file| file.name.to_string());
            (Part::Firmware, name)
        }
        None => (Part::Configuration, None),
    };
    let name = name.unwrap_or_else(|| row.key.id().to_owned());
    Some(Item {
        part,
        name,
        body: said.cloned(),
        contested,
    })
}

pub(super) fn inventory(rows: &[Row]) -> Inventory {
    Inventory::of(
        rows.iter()
            .filter_map(|row| Some((row.key.clone(), item(row)?))),
    )
}

/// The side that is looked at and fetched from.
pub(super) struct Source {
    pub(super) stream: Box<dyn Stream>,
    pub(super) frames: Frames,
}

impl Source {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        let frames = Frames::default();
        Source { stream, frames }
    }

    async fn ask(&mut self, message: &Message) -> Result<Message, ManualError> {
        let other = |why: &dyn core::fmt::Display| ManualError::Other(why.to_string());
        let asking = async {
            let octets = message.encode(*VERSIONS.end());
            self.stream
                .write_all(&octets)
                .await
                .map_err(|error| other(&error))?;
            self.stream.flush().await.map_err(|error| other(&error))
        };
        let silent = || other(&"it does not answer");
        let asked = tokio::time::timeout(MANUAL_SILENCE_MAX, asking).await;
        asked.map_err(|_| silent())??;
        loop {
            let next = next_message(&mut self.stream, &mut self.frames);
            let next = tokio::time::timeout(MANUAL_SILENCE_MAX, next).await;
            match next.map_err(|_| silent())?? {
                // It is reading a large image.
                Some(Message::Ping { .. }) => {}
                Some(Message::Refuse(Refusal::Version)) => return Err(ManualError::Version),
                Some(answer) => return Ok(answer),
                None => return Err(other(&"it has closed the connection")),
            }
        }
    }

    /// Every row there.
    pub(super) async fn rows(&mut self) -> Result<Vec<Row>, ManualError> {
        let wrong = || ManualError::Other("it answers something else".into());
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let Message::Page(page) = self.ask(&Message::Compare { after }).await? else {
                return Err(wrong());
            };
            let last = page.rows.last().map(|(key, _)| key.clone());
            keys.extend(page.rows.into_iter().map(|(key, _)| key));
            if page.last || last.is_none() {
                break;
            }
            after = last;
        }
        let (mut rows, mut rest) = (Vec::with_capacity(keys.len()), &keys[..]);
        while !rest.is_empty() {
            let wanted = &rest[..rest.len().min(KEYS_AT_ONCE)];
            let answer = self.ask(&Message::Fetch(wanted.to_vec())).await?;
            let Message::Objects {
                answered,
                rows: some,
                ..
            } = answer
            else {
                return Err(wrong());
            };
            let answered = answered as usize;
            if answered == 0 || answered > wanted.len() {
                return Err(wrong());
            }
            rest = &rest[answered..];
            rows.extend(some);
        }
        Ok(rows)
    }

    /// Brings an image here, from where it was left. `came` is told the octets of each piece.
    async fn fetch(
        &mut self,
        image: ImageRef,
        host: &mut Server,
        mut came: impl FnMut(usize),
    ) -> Result<(), ManualError> {
        let (mut index, mut tries) = (host.pieces(image)?, 0);
        while index < image.pieces() {
            match self.ask(&Message::Ask { image, index }).await? {
                Message::Piece { proof, octets, .. } if image.holds(index, &octets, &proof) => {
                    host.put_piece(image, index, &octets)?;
                    came(octets.len());
                    (index, tries) = (index + 1, 0);
                }
                Message::Piece { .. } if tries < PIECE_TRIES_MAX => tries += 1,
                _ => return Err(ManualError::NoImage(ImageRefText(image))),
            }
        }
        while host.finish_image(image)?.is_pending() {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

async fn next_message(
    stream: &mut Box<dyn Stream>,
    frames: &mut Frames,
) -> Result<Option<Message>, ManualError> {
    let octets = next_frame(stream, frames).await;
    let Some(octets) = octets.map_err(ManualError::Other)? else {
        return Ok(None);
    };
    Ok(Some(Message::decode(&octets, &VERSIONS)?))
}

pub(super) async fn next_frame(
    stream: &mut Box<dyn Stream>,
    frames: &mut Frames,
) -> Result<Option<Vec<u8>>, String> {
    let mut buf = vec![0; LINK_READ_BYTES];
    loop {
        if let Some(octets) = frames.pop().map_err(|error| error.to_string())? {
            return Ok(Some(octets));
        }
        let count = stream
            .read(&mut buf)
            .await
            .map_err(|error| error.to_string())?;
        if count == 0 {
            return Ok(None);
        }
        frames.push(&buf[..count]);
    }
}

/// Answers what a server that is made the same as this one asks for, until it has closed the connection.
pub(super) async fn serve(mut stream: Box<dyn Stream>, mut host: Server) {
    let mut frames = Frames::default();
    loop {
        let next = next_message(&mut stream, &mut frames);
        let message = match tokio::time::timeout(MANUAL_SILENCE_MAX, next).await {
            Ok(Ok(Some(message))) => message,
            Ok(Err(ManualError::Version)) => {
                send(&mut stream, &Message::Refuse(Refusal::Version)).await;
                return;
            }
            _ => return,
        };
        if !matches!(give(&mut stream, &mut host, &message).await, Ok(Some(_))) {
            return;
        }
    }
}

/// Answers what was asked for. Gives how many octets of an image that were; nothing, if it is no question.
pub(super) async fn give(
    stream: &mut Box<dyn Stream>,
    host: &mut Server,
    asked: &Message,
) -> Result<Option<usize>, ManualError> {
    let unsent = || ManualError::Other("it does not read".into());
    let mut said_at = Instant::now();
    let answer = loop {
        match answer(asked, host)? {
            Poll::Ready(Some(answer)) => break answer,
            Poll::Ready(None) => return Ok(None),
            Poll::Pending => {}
        }
        if said_at.elapsed() >= PING_EVERY {
            said_at = Instant::now();
            let wall_ms = host.now_ms();
            if !send(stream, &Message::Ping { wall_ms }).await {
                return Err(unsent());
            }
        }
        // The link is on this thread, too.
        tokio::task::yield_now().await;
    };
    if !send(stream, &answer).await {
        return Err(unsent());
    }
    Ok(Some(match answer {
        Message::Piece { octets, .. } => octets.len(),
        _ => 0,
    }))
}

/// Whether it was sent.
async fn send(stream: &mut Box<dyn Stream>, message: &Message) -> bool {
    let octets = message.encode(*VERSIONS.end());
    let sending = async {
        stream.write_all(&octets).await?;
        stream.flush().await
    };
    let sent = tokio::time::timeout(MANUAL_SILENCE_MAX, sending).await;
    matches!(sent, Ok(Ok(())))
}

fn answer(message: &Message, host: &mut Server) -> Result<Poll<Option<Message>>, HostError> {
    Ok(Poll::Ready(Some(match message {
        Message::Compare { after } => {
            let (book, rows) = host.page(after.as_ref(), PAGE_MAX)?;
            let last = rows.len() < PAGE_MAX;
            let now = Completion {
                node: book.node,
                head: book.head(),
                heads: book.heads,
            };
            Message::Page(Page { now, last, rows })
        }
        Message::Fetch(keys) => {
            let (mut rows, mut answered, mut bytes) = (Vec::new(), 0, 0);
            for key in keys {
                if let Some(row) = host.row(key)? {
                    let bodies = row.values().iter().filter_map(|value| value.body.as_ref());
                    bytes += bodies
                        .map(|body| body.octets.len() + 40 * body.images.len())
                        .sum::<usize>();
                    rows.push(row);
                }
                answered += 1;
                if bytes > daybreak_sync::limits::ROWS_BYTES {
                    break;
                }
            }
            let head = host.book()?.head();
            Message::Objects {
                head,
                answered,
                rows,
            }
        }
        Message::Ask { image, index } => match host.piece(*image, *index)? {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Some(piece)) => Message::Piece {
                hash: image.hash,
                index: *index,
                proof: piece.proof,
                octets: piece.octets,
            },
            Poll::Ready(None) => Message::NoPiece { hash: image.hash },
        },
        _ => return Ok(Poll::Ready(None)),
    })))
}

/// This server, which is to be made the same as another.
pub(super) struct Destination {
    pub(super) configuration: Arc<Configuration>,
    pub(super) data: PathBuf,
    pub(super) backups: Arc<Backups>,
    pub(super) desk: Arc<Desk>,
}

impl Destination {
    pub(super) fn inventory(&self) -> Result<Inventory, ManualError> {
        let rows = self
            .configuration
            .with_database(crate::database::Database::rows)?;
        Ok(inventory(&rows))
    }

    /// What would change.
    pub(super) async fn plan(
        &self,
        stream: Box<dyn Stream>,
        between: Between,
    ) -> Result<(u64, Arc<Planned>), ManualError> {
        let (theirs, ours) = (
            inventory(&Source::new(stream).rows().await?),
            self.inventory()?,
        );
        let (source, destination) = match between.overwritten {
            Overwritten::Here => (&theirs, &ours),
            Overwritten::There => (&ours, &theirs),
        };
        let plan = Plan::of(source, destination);
        let bytes = plan.confirm(source, destination, Duration::ZERO)?.bytes();
        Ok(self.desk.put_plan(Planned {
            plan,
            between,
            bytes,
        }))
    }

    /// Does what the plan says.
    pub(super) async fn run(
        &self,
        stream: Result<Box<dyn Stream>, Unconnected>,
        host: Server,
        (planned, actor): (&Planned, &Actor),
    ) {
        let outcome = match (stream, planned.between.overwritten) {
            (Ok(stream), Overwritten::Here) => {
                let mut source = Source::new(stream);
                let ran = self.run_to_its_end(&mut source, &planned.plan, actor);
                ran.await.map(drop)
            }
            (Ok(stream), Overwritten::There) => {
                let ordered = order(stream, host, (planned, actor), &self.desk).await;
                ordered.map(|backup| self.desk.backed_up(backup))
            }
            (Err(error), _) => Err(error.into()),
        };
        if let Err(error) = &outcome {
            tracing::error!(%error, "a manual synchronization was not done");
        }
        self.desk.end(outcome.map_err(|error| error.to_string()));
    }

    /// Gives the backup that was made before.
    pub(super) async fn run_to_its_end(
        &self,
        source: &mut Source,
        plan: &Plan,
        actor: &Actor,
    ) -> Result<Id, ManualError> {
        let started = Instant::now();
        let theirs = inventory(&source.rows().await?);
        let mut run = plan.confirm(&theirs, &self.inventory()?, started.elapsed())?;
        let show = |run: &Run| {
            self.desk.show(run.progress(started.elapsed()));
        };
        let store =
            Store::open(&self.data).map_err(|error| HostError::Failed(error.to_string()))?;
        let mut host = Server::new(Arc::clone(&self.configuration), store);
        let images: Vec<ImageRef> = run.images.iter().copied().collect();
        for image in images {
            if host.has_image(image)? {
                run.fetched(image.bytes);
            } else {
                let fetching = source.fetch(image, &mut host, |octets| {
                    run.fetched(octets as u64);
                    show(&run);
                });
                fetching.await?;
            }
            show(&run);
        }
        let made = self.back_up(actor, &run).await?;
        self.desk.backed_up(made.id.clone());
        let steps: BTreeMap<ObjectKey, _> = run.steps.iter().cloned().collect();
        // Nothing was written here meanwhile, or it is refused: looked at again under the lock.
        self.configuration.overwrite(actor, &steps, |rows| {
            let now = inventory(rows);
            plan.confirm(&theirs, &now, started.elapsed()).map(drop)
        })??;
        run.written();
        show(&run);
        Ok(made.id)
    }

    /// What is here now, with the images of the files that change or go: nothing may name them afterwards.
    async fn back_up(&self, actor: &Actor, run: &Run) -> Result<Made, ManualError> {
        let site = self.configuration.site();
        let leaving = run.steps.iter().filter_map(|(key, body)| {
            let id = Id::parse(key.id()).ok();
            let id = id.filter(|_| key.kind() == file::KIND)?;
            let before = site.files().get(&id)?.image;
            let after = body.as_ref().and_then(File::of).map(|file| file.image);
            (after != Some(before)).then(|| file::stored_hash(before))
        });
        let leaving: BTreeSet<ImageHash> = leaving.collect();
        let (backups, actor) = (Arc::clone(&self.backups), actor.clone());
        let reason = Reason::BeforeSynchronization;
        let making = move || backups.automatic(&actor, reason, Images::Only(leaving));
        // It reads and writes for long; the link goes on.
        let made = tokio::task::spawn_blocking(making).await;
        Ok(made.map_err(|_| ManualError::Ending)??)
    }
}
