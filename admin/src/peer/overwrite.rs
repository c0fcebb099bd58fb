//! The other direction of a synchronization by hand: a server orders another one to be made the same as itself.
//!
//! The order names the two states that were looked at, and nothing else: the server that is overwritten looks at both itself, refuses
//! what is out of date, makes its own backup, fetches and writes as in a run that was ordered there, and tells how it ended. Whoever
//! may order this was paired with it by a code; the connection is one for this purpose.

use std::time::{Duration, Instant};

use daybreak_sync::Digest;
use daybreak_sync::manual::{Plan, RunProgress};
use daybreak_sync::wire::{Frames, Malformed, Message, VERSIONS};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::desk::{Desk, Planned};
use super::handshake::Stream;
use super::host::Server;
use super::manual::{Destination, ManualError, inventory};
use super::questions::{Source, give, next_frame, send_octets};
use crate::configuration::{Actor, ChangeError};
use crate::limits::ACTOR_CHARS_MAX;
use crate::object::Id;

/// What no message of a session is.
const WHAT: u8 = 0x81;
const VERSION: u16 = 1;
/// Length, version and what it is.
const HEAD: usize = 7;

/// What the server that stays as it is says first.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// The sums of what it holds, and of what the other one held, when the differences were looked at.
    source: [u8; 32],
    destination: [u8; 32],
    /// Who has ordered it there.
    actor: String,
}

/// What the one that is overwritten says last.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// With the backup that was made before.
    Done(Id),
    /// Nothing was changed.
    Failed(String),
}

fn framed(content: &impl Serialize) -> Vec<u8> {
    let content = serde_json::to_vec(content).expect("plain values");
    let length = u32::try_from(content.len() + HEAD - 4).expect("short texts");
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(&VERSION.to_be_bytes());
    message.push(WHAT);
    message.extend_from_slice(&content);
    message
}

/// The content, if it is no message of a session.
fn content<T: DeserializeOwned>(message: &[u8]) -> Option<T> {
    let (head, content) = message.split_at_checked(HEAD)?;
    let ours = head[4..6] == VERSION.to_be_bytes() && head[6] == WHAT;
    ours.then(|| serde_json::from_slice(content).ok()).flatten()
}

/// Whether it is such a frame, and of another version.
fn is_other_version(message: &[u8]) -> bool {
    let head = message.get(..HEAD);
    head.is_some_and(|head| head[6] == WHAT && head[4..6] != VERSION.to_be_bytes())
}

fn other(why: impl core::fmt::Display) -> ManualError {
    ManualError::Other(why.to_string())
}

fn unknown(why: impl core::fmt::Display) -> ManualError {
    ManualError::EndUnknown(why.to_string())
}

/// Orders it, and gives what is asked for, until the other one tells how it ended. Gives the backup that was made there.
///
/// # Errors
/// [`ManualError::EndUnknown`] once it was ordered and the connection fails.
pub(super) async fn order(
    mut stream: Box<dyn Stream>,
    mut host: Server,
    (planned, actor): (&Planned, &Actor),
    (desk, silence): (&Desk, Duration),
) -> Result<Id, ManualError> {
    let (source, destination) = planned.plan.sums();
    let order = Order {
        source: source.to_bytes(),
        destination: destination.to_bytes(),
        actor: actor.name.clone(),
    };
    send_octets(&mut stream, &framed(&order), silence).await?;
    let (started, mut frames) = (Instant::now(), Frames::default());
    let (objects, mut given) = (planned.plan.differences.len(), 0);
    loop {
        let next = next_frame(&mut stream, &mut frames);
        let next = tokio::time::timeout(silence, next).await;
        let next = next.map_err(|_| unknown("it says nothing any more"))?;
        let octets = next.map_err(unknown)?;
        let octets = octets.ok_or_else(|| unknown("it has closed the connection"))?;
        if is_other_version(&octets) {
            return Err(ManualError::Version);
        }
        match content(&octets) {
            Some(Outcome::Failed(why)) => return Err(other(why)),
            Some(Outcome::Done(backup)) => {
                let bytes = (planned.bytes, planned.bytes);
                desk.show(RunProgress::of(
                    (objects, objects),
                    bytes,
                    started.elapsed(),
                ));
                return Ok(backup);
            }
            None => {}
        }
        let message = Message::decode(&octets, &VERSIONS).map_err(|malformed| match malformed {
            Malformed::Version(_) => ManualError::Version,
            malformed => unknown(malformed),
        })?;
        let gave = give(&mut stream, &mut host, &message)
            .await
            .map_err(unknown)?;
        let gave = gave.ok_or_else(|| unknown("it says something else"))?;
        given = planned.bytes.min(given + gave as u64);
        let bytes = (given, planned.bytes);
        desk.show(RunProgress::of((0, objects), bytes, started.elapsed()));
    }
}

impl Destination {
    /// Does what a server orders that calls itself `name`, and tells it how that ended.
    pub(super) async fn obey(&self, stream: Box<dyn Stream>, name: &str, is_partner: bool) {
        let mut source = Source::new(stream, self.silence);
        let outcome = self.obey_one(&mut source, name, is_partner).await;
        if let Err(error) = &outcome {
            tracing::error!(%error, name, "a manual synchronization that another server ordered was not done");
        }
        let outcome = match outcome {
            Ok(backup) => Outcome::Done(backup),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        let told = framed(&outcome);
        if send_octets(&mut source.stream, &told, self.silence)
            .await
            .is_ok()
        {
            let _ = source.stream.shutdown().await;
        }
    }

    async fn obey_one(
        &self,
        source: &mut Source,
        name: &str,
        is_partner: bool,
    ) -> Result<Id, ManualError> {
        let next = next_frame(&mut source.stream, &mut source.frames);
        let next = tokio::time::timeout(source.silence, next).await;
        let octets = next
            .map_err(|_| other("it orders nothing"))?
            .map_err(other)?;
        if octets.as_deref().is_some_and(is_other_version) {
            return Err(ManualError::Version);
        }
        let order: Option<Order> = octets.as_deref().and_then(content);
        let order = order.ok_or_else(|| other("it orders something else"))?;
        // On a secondary its primary makes changes, and nobody else.
        if let Some(primary) = self
            .configuration
            .primary_elsewhere()
            .filter(|_| !is_partner)
        {
            return Err(ChangeError::Secondary(primary).into());
        }
        let ordered: String = order
            .actor
            .chars()
            .filter(|c| !c.is_control())
            .take(ACTOR_CHARS_MAX)
            .collect();
        let actor = Actor::machine(&format!("{ordered} on {name}"));
        self.desk.begin(&actor.name).ok_or(ManualError::Running)?;
        let done = self.obey_in_turn(source, &order, &actor).await;
        let outcome = done.as_ref().map(drop).map_err(ToString::to_string);
        self.desk.end(outcome);
        done
    }

    async fn obey_in_turn(
        &self,
        source: &mut Source,
        order: &Order,
        actor: &Actor,
    ) -> Result<Id, ManualError> {
        let theirs = inventory(&source.rows().await?);
        let plan = Plan::of(&theirs, &self.inventory()?);
        plan.check((
            Digest::from_bytes(order.source),
            Digest::from_bytes(order.destination),
        ))?;
        self.run_to_its_end(source, &plan, actor).await
    }
}
