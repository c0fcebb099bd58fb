//! Who the other is, whether it is spoken to, and whether this server still has what it once told.

use alloc::string::String;

use super::{Event, Now, Session, later};
use crate::host::{Host, Trace};
use crate::limits::SKEW_TOLD;
use crate::policy::{Mode, Refusal, Role};
use crate::stamp::milliseconds;
use crate::wire::{Hello, Message};
use crate::{Digest, Head, Heads, NodeId};

/// What the other has said of itself.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) software: String,
    pub(super) mode: Mode,
    pub(super) role: Role,
    pub(super) heads: Heads,
    pub(super) digest: Digest,
    /// It was replaced: it is only asked, and what is new becomes a conflict.
    pub(super) late: bool,
    /// This server was replaced: it only answers.
    pub(super) superior: bool,
    pub(super) skew_ms: i64,
}

impl Peer {
    pub(super) fn head(&self) -> Head {
        self.heads.of(self.node).unwrap_or_default()
    }
}

impl Session {
    /// The version to speak with one that speaks these, if there is any.
    pub(super) fn agree(&self, theirs: (u16, u16)) -> Option<u16> {
        let ours = &self.config.versions;
        let version = theirs.1.min(*ours.end());
        (version >= theirs.0 && version >= *ours.start()).then_some(version)
    }

    /// Says who this is, in the lowest version: nothing is known of the other.
    pub(super) fn greet(&mut self, now: Now) {
        let peer = self.peer.as_ref().map(|peer| peer.node);
        let hello = Hello {
            versions: (*self.config.versions.start(), *self.config.versions.end()),
            node: self.book.node,
            epoch: self.book.epoch,
            mode: self.config.mode,
            role: self.config.role,
            name: self.config.name.clone(),
            software: self.config.software.clone(),
            wall_ms: now.wall_ms,
            heard: self.heard(peer),
            heads: self.book.heads.clone(),
            digest: self.book.digest,
        };
        self.say(Message::Hello(hello));
    }

    /// The last head that the peer told of, before this connection or before this process.
    fn heard(&self, peer: Option<NodeId>) -> Option<(NodeId, Head)> {
        let now = self.puller.heard.filter(|(node, _)| Some(*node) == peer);
        match (now, self.book.heard) {
            (Some((node, head)), Some((of, before))) if of == node => {
                later(Some((of, before)), node, head)
            }
            (now, before) => now.or(before),
        }
    }

    /// Says it again, in a version that both speak.
    pub(super) fn greet_in(&mut self, now: Now, version: u16) {
        if let Some(link) = &mut self.link
            && link.version != Some(version)
        {
            link.version = Some(version);
            self.greet(now);
        }
    }

    pub(super) fn hear_hello<H: Host>(&mut self, now: Now, hello: Hello, host: &mut H) {
        let Some(version) = self.agree(hello.versions) else {
            return self.refuse(Refusal::Version);
        };
        if hello.node == self.book.node {
            return self.refuse(Refusal::Itself);
        }
        let late = self.config.replaced || hello.epoch < self.book.epoch;
        let superior = !late && hello.epoch > self.book.epoch;
        let told_apart = self.config.mode.pairs(self.config.role, hello.role);
        if !told_apart && self.config.mode == hello.mode && !late && !superior {
            return self.refuse(Refusal::Role);
        }
        let again = self.is_greeted();
        self.refused = None;
        if let Some(link) = &mut self.link {
            link.greeted = true;
            if link.version.replace(version).is_none() && version != *self.config.versions.start() {
                // The other may not have understood the first one.
                self.greet(now);
            }
        }
        let told = hello.heads.of(self.book.node);
        let heard = hello.heard.filter(|(node, _)| *node == self.book.node);
        let other = self
            .peer
            .as_ref()
            .is_none_or(|peer| peer.node != hello.node || peer.late != late);
        if other {
            self.puller.forget();
        }
        self.peer = Some(Peer {
            node: hello.node,
            name: hello.name,
            software: hello.software,
            mode: hello.mode,
            role: hello.role,
            heads: hello.heads,
            digest: hello.digest,
            late,
            superior,
            skew_ms: 0,
        });
        self.look_at_clock(now, hello.wall_ms);
        if superior {
            self.refused = Some(Refusal::Replaced);
            return;
        }
        if late {
            self.say(Message::Refuse(Refusal::Replaced));
        } else {
            for head in told.into_iter().chain(heard.map(|(_, head)| head)) {
                if !self.still_has(now, head, host) {
                    return;
                }
            }
            if let Some(head) = told {
                self.confirm(now, head, host);
            }
        }
        match &self.peer {
            // It said what is new about itself: what it was asked for, it still answers.
            Some(peer) if again && !other => self.puller.hear(peer.node, peer.head()),
            peer => self.puller.greeted(peer.as_ref()),
        }
    }

    /// Whether this server still has what it told of its log. If not, its disk lost what it had confirmed: it takes
    /// another name, so that no number means two things.
    pub(super) fn still_has<H: Host>(&mut self, now: Now, told: Head, host: &mut H) -> bool {
        let found = self.book.head();
        let lost = match host.trace(told.position) {
            Ok(Trace::Mark(mark)) => mark != told.mark,
            Ok(Trace::TooOld) => false,
            Ok(Trace::Never) => true,
            Err(error) => {
                self.fail(now, &error);
                self.close();
                return false;
            }
        };
        if !lost {
            return true;
        }
        self.note(Event::TailLost { told, found });
        match host.renew() {
            Ok(()) => {
                self.refresh(now, host);
                self.confirmed = self.book.confirmed;
                // What came from the other may be among what was lost, and it does not send that again by itself.
                self.puller.compare_all();
                self.server.clear();
                self.greet(now);
            }
            Err(error) => {
                self.fail(now, &error);
                self.close();
            }
        }
        false
    }

    pub(super) fn hear_heads(&mut self, node: NodeId, heads: Heads, digest: Digest) {
        let Some(peer) = self.peer.as_mut().filter(|peer| peer.node == node) else {
            return;
        };
        (peer.heads, peer.digest) = (heads, digest);
        if !peer.late && !peer.superior {
            self.puller.hear(node, peer.head());
        }
    }

    pub(super) fn hear_ack<H: Host>(&mut self, now: Now, node: NodeId, head: Head, host: &mut H) {
        let equal = self
            .peer
            .as_ref()
            .is_some_and(|peer| !peer.late && !peer.superior);
        if node == self.book.node && equal && self.still_has(now, head, host) {
            self.confirm(now, head, host);
        }
    }

    fn confirm<H: Host>(&mut self, now: Now, head: Head, host: &mut H) {
        // What is older than the oldest mark was checked when it was new, or is of a peer that was set back.
        let known = matches!(host.trace(head.position), Ok(Trace::Mark(mark)) if mark == head.mark);
        if known {
            self.confirmed = head;
            match host.confirm(head) {
                Ok(()) => self.book.confirm(head),
                Err(error) => self.fail(now, &error),
            }
        }
    }

    pub(super) fn look_at_clock(&mut self, now: Now, wall_ms: u64) {
        let skew_ms = wall_ms
            .cast_signed()
            .saturating_sub(now.wall_ms.cast_signed());
        if let Some(peer) = &mut self.peer {
            peer.skew_ms = skew_ms;
        }
        let Some(link) = &mut self.link else {
            return;
        };
        let large = skew_ms.unsigned_abs() > milliseconds(SKEW_TOLD);
        if large && !core::mem::replace(&mut link.skew_told, large) {
            self.note(Event::Skew(skew_ms));
        }
    }
}
