//! What happened between the two, for the log, the counts and the events that operators see.

use daybreak_sync::policy::Refusal;
use daybreak_sync::session::{Event, State};
use serde_json::json;

use super::Driver;
use crate::events::EventRow;

impl Driver {
    pub(super) fn take_note(&mut self, event: Event) {
        match event {
            Event::State(state) => {
                tracing::debug!(?state, "the pair");
                self.tell_of(&state);
            }
            Event::Applied { objects } => {
                self.counts.objects += objects as u64;
                tracing::debug!(objects, "changes of the other server are here");
            }
            Event::Conflict(key) => {
                self.counts.conflicts += 1;
                let what = json!({"what": "conflict", "kind": key.kind(), "id": key.id()});
                self.notice(what);
                tracing::warn!(object = %key, "changed on both servers; the later change is in force, the other is kept");
            }
            Event::Dropped { key, values } => {
                self.counts.dropped += values as u64;
                self.notice(json!({
                    "what": "values-dropped", "kind": key.kind(), "id": key.id(), "values": values,
                }));
                tracing::warn!(
                    object = %key, values,
                    "too many unanswered conflicts of one object: the oldest were dropped"
                );
            }
            Event::TailLost { told, found } => {
                self.counts.tails_lost += 1;
                let lost = told.position.saturating_sub(found.position);
                self.notice(json!({"what": "changes-lost", "changes": lost}));
                tracing::error!(
                    told = told.position,
                    found = found.position,
                    "this server's disk has lost changes that the other server had heard of; everything is compared"
                );
            }
            Event::Fetched(image) => {
                self.counts.images += 1;
                tracing::info!(image = %image.hash, bytes = image.bytes, "an image came from the other server");
            }
            Event::Unavailable(image) => {
                tracing::warn!(image = %image.hash, "the other server does not have this image whole");
            }
            Event::Unequal => {
                self.notice(json!({"what": "unequal"}));
                tracing::error!(
                    "the two servers hold different things and cannot tell why; everything is compared"
                );
            }
            Event::Skew(skew_ms) => {
                self.notice(json!({"what": "clock-skew", "skew_ms": skew_ms}));
                tracing::warn!(skew_ms, "the clocks of the two servers differ");
            }
        }
    }

    pub(super) fn notice(&self, details: serde_json::Value) {
        (self.tells.noticed)(EventRow::of_pair(self.configuration.now_ms(), details));
    }

    /// Operators are told whether the two speak to each other, not of every change on its way.
    fn tell_of(&mut self, state: &State) {
        let (word, why) = match state {
            State::PeerUnreachable | State::WaitingForPeer => ("disconnected", None),
            State::Disabled => ("disabled", None),
            State::DisabledThere => ("disabled", Some(Refusal::Off.to_string())),
            State::IncompatibleVersion => ("incompatible-version", None),
            State::Refused(refusal) => ("refused", Some(refusal.to_string())),
            State::Error(why) => ("error", Some(why.clone())),
            State::InSync | State::Conflict { .. } => ("in-sync", None),
            // On its way to one of the others.
            State::Comparing | State::Syncing { .. } | State::Behind | State::Ahead => return,
        };
        if std::mem::replace(&mut self.told, word) != word {
            tracing::info!(state = word, why, "the pair");
            self.notice(json!({"what": word, "why": why}));
        }
    }
}
