//! What operators are shown.

use alloc::format;
use alloc::string::String;

use super::{Event, Now, Session};
use crate::policy::{Mode, Refusal, Role};
use crate::{Head, NodeId};

/// How the pair stands, seen from one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Synchronization is switched off.
    Disabled,
    /// It is switched off on the peer, and not here.
    DisabledThere,
    /// There never was a connection since the start.
    WaitingForPeer,
    /// The two find out what differs.
    Comparing,
    /// So many of so many changes are read.
    Syncing {
        /// Done.
        done: u64,
        /// Of these.
        of: u64,
    },
    /// Both hold the same.
    InSync,
    /// The peer has changes that are not here, and not on their way.
    Behind,
    /// The peer has not confirmed the newest changes of this server.
    Ahead,
    /// There was a connection, and it is gone.
    PeerUnreachable,
    /// Both hold the same, and some objects were changed on both at once: an operator should look at them.
    Conflict {
        /// How many.
        objects: usize,
    },
    /// The two speak no common version.
    IncompatibleVersion,
    /// One does not speak to the other.
    Refused(Refusal),
    /// This server cannot read or write something. It goes on trying.
    Error(String),
}

/// How much is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Changes of the peer that are not here.
    pub changes: u64,
    /// Images that are on their way or wanted.
    pub images: usize,
    /// Octets of them.
    pub image_bytes: u64,
    /// How many of these are not here yet.
    pub image_bytes_left: u64,
    /// Images that the peer does not have either, for now.
    pub images_unavailable: usize,
}

/// The other server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// The version of its software.
    pub software: String,
    /// Who it is.
    pub node: NodeId,
    /// How far its log is.
    pub head: Head,
    /// Its mode.
    pub mode: Mode,
    /// Its role.
    pub role: Role,
    /// How many milliseconds its clock is ahead.
    pub skew_ms: i64,
}

/// Everything that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// In one word.
    pub state: State,
    /// This server's mode.
    pub mode: Mode,
    /// This server's role.
    pub role: Role,
    /// Who this is.
    pub node: NodeId,
    /// The version of the messages that both speak, while there is a connection.
    pub version: Option<u16>,
    /// How far its log is.
    pub head: Head,
    /// How much of that the peer has confirmed.
    pub confirmed: Head,
    /// How much of the peer's log was taken in.
    pub taken_in: Option<Head>,
    /// The other, if it has ever said who it is.
    pub peer: Option<PeerStatus>,
    /// What is to be done.
    pub progress: Progress,
    /// Objects with a conflict.
    pub conflicts: usize,
    /// When both last held the same, in milliseconds since 1970.
    pub last_in_sync_ms: Option<u64>,
}

impl Session {
    /// What there is to be shown.
    #[must_use]
    pub fn status(&self) -> Status {
        let peer = self.peer.as_ref();
        let taken_in = peer.and_then(|peer| self.book.heads.of(peer.node));
        let (image_bytes, image_bytes_left) = self.fetcher.bytes();
        Status {
            state: self.state(),
            mode: self.config.mode,
            role: self.config.role,
            node: self.book.node,
            version: self.link.as_ref().and_then(|link| link.version),
            head: self.book.head(),
            confirmed: self.confirmed,
            taken_in,
            peer: peer.map(|peer| PeerStatus {
                name: peer.name.clone(),
                software: peer.software.clone(),
                node: peer.node,
                head: peer.head(),
                mode: peer.mode,
                role: peer.role,
                skew_ms: peer.skew_ms,
            }),
            progress: Progress {
                changes: peer.map_or(0, |peer| peer.head().position)
                    - taken_in
                        .map_or(0, |head| head.position)
                        .min(peer.map_or(0, |peer| peer.head().position)),
                images: self.fetcher.wanted(),
                image_bytes,
                image_bytes_left,
                images_unavailable: self.fetcher.unavailable(),
            },
            conflicts: self.conflicts,
            last_in_sync_ms: self.last_in_sync_ms,
        }
    }

    /// When both last held the same, in milliseconds since 1970.
    #[must_use]
    pub fn last_in_sync_ms(&self) -> Option<u64> {
        self.last_in_sync_ms
    }

    /// That was before this session: in an earlier process.
    pub fn was_in_sync(&mut self, at_ms: u64) {
        self.last_in_sync_ms = self.last_in_sync_ms.or(Some(at_ms));
    }

    /// How the pair stands.
    #[must_use]
    pub fn state(&self) -> State {
        if !self.config.enabled {
            return State::Disabled;
        }
        match self.refused {
            Some(Refusal::Version) => return State::IncompatibleVersion,
            Some(Refusal::Off) => return State::DisabledThere,
            Some(refusal) => return State::Refused(refusal),
            None => {}
        }
        if let Some(trouble) = &self.trouble {
            return State::Error(trouble.clone());
        }
        let (Some(link), Some(peer)) = (&self.link, &self.peer) else {
            return match self.peer {
                Some(_) => State::PeerUnreachable,
                None => State::WaitingForPeer,
            };
        };
        if link.closing {
            return State::PeerUnreachable;
        }
        if !link.greeted || self.puller.is_comparing() {
            return State::Comparing;
        }
        let unavailable = self.fetcher.unavailable();
        if unavailable > 0 && unavailable == self.fetcher.wanted() {
            return State::Error(format!(
                "{unavailable} images that objects name are not whole on the other server; import them again on either"
            ));
        }
        let (ours, theirs) = (self.book.head(), peer.head());
        let taken_in = self.book.heads.of(peer.node).unwrap_or_default().position;
        if taken_in < theirs.position || self.puller.parked() > 0 {
            if self.puller.poll_timeout().is_some() {
                return State::Behind;
            }
            let read = self.puller.read().max(taken_in) - taken_in;
            let waiting = self.puller.parked() as u64;
            return State::Syncing {
                done: read.saturating_sub(waiting),
                of: theirs.position.saturating_sub(taken_in).max(read),
            };
        }
        if self.fetcher.wanted() > 0 {
            let images = self.fetcher.wanted() as u64;
            return State::Syncing {
                done: 0,
                of: images,
            };
        }
        if self.confirmed.position < ours.position || !self.puller.is_quiet() {
            return State::Ahead;
        }
        if peer.heads == self.book.heads && peer.digest != self.book.digest {
            return State::Comparing;
        }
        match self.conflicts {
            0 => State::InSync,
            objects => State::Conflict { objects },
        }
    }

    /// Tells of a state that is another than before.
    pub(super) fn show(&mut self, now: Now) {
        let state = self.state();
        if matches!(state, State::InSync | State::Conflict { .. }) {
            self.last_in_sync_ms = Some(now.wall_ms);
        }
        if state != self.shown {
            self.shown = state.clone();
            self.note(Event::State(state));
        }
    }
}
