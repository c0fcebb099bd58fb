//! Synchronization by hand: this server is made the same as the other one of its pair, once, because an operator says so.
//!
//! The other side only answers: pages of digests, rows, pieces of images, over a connection of its own between the same keys. So it
//! works whatever automatic synchronization is at, and switched off, too. What is confirmed must still be what was looked at;
//! a backup is made before anything is overwritten, and all of it is written in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daybreak_store::{ImageHash, Store};
use daybreak_sync::host::{Host, HostError};
use daybreak_sync::manual::{Inventory, Item, OutOfDate, Part, Plan, Run};
use daybreak_sync::pieces::Pacing;
use daybreak_sync::wire::Malformed;
use daybreak_sync::{ImageRef, ObjectKey, Row};

use super::desk::{Desk, Planned};
use super::handshake::{Stream, Unconnected};
use super::host::Server;
use super::key::PublicKey;
use super::overwrite::order;
use super::pairing::INCOMPATIBLE;
use super::questions::Source;
use crate::backup::{BackupError, Backups, Images, Made, Reason};
use crate::configuration::{Actor, ChangeError, Configuration};
use crate::database::DatabaseError;
use crate::file::{self, File};
use crate::kind::Kind;
use crate::object::Id;
use crate::site::read;

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

/// This server, which is to be made the same as another.
pub(super) struct Destination {
    pub(super) configuration: Arc<Configuration>,
    pub(super) data: PathBuf,
    pub(super) backups: Arc<Backups>,
    pub(super) desk: Arc<Desk>,
    /// How long the other server may say nothing.
    pub(super) silence: Duration,
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
            inventory(&Source::new(stream, self.silence).rows().await?),
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
                let mut source = Source::new(stream, self.silence);
                let ran = self.run_to_its_end(&mut source, &planned.plan, actor);
                ran.await.map(drop)
            }
            (Ok(stream), Overwritten::There) => {
                let shown = (&*self.desk, self.silence);
                let ordered = order(stream, host, (planned, actor), shown).await;
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
        let wanted = self.configuration.site().synchronization();
        let mut pacing = Pacing::new(wanted.image_bytes_per_second);
        for image in images {
            if host.has_image(image)? {
                run.fetched(image.bytes);
            } else {
                let pace = (&mut pacing, started);
                let fetching = source.fetch(image, &mut host, pace, |octets| {
                    run.fetched(octets as u64);
                    show(&run);
                });
                fetching.await?;
            }
            show(&run);
        }
        let wall_ms = || self.configuration.now_ms();
        let made = source.meanwhile(wall_ms, self.back_up(actor, &run)).await?;
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
