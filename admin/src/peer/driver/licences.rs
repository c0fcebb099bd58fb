//! Licences of both servers: told, heard, kept, and in force.

use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;

use super::super::told::{Telling, TellingError, Told, take_place};
use super::Driver;
use crate::configuration::Actor;
use crate::licences::InstallError;
use crate::licensing::{Agreement, LicenceError};
use crate::limits::LINK_LICENCES_TOLD_MAX;

impl Driver {
    /// What the pair is, is in force from now on.
    pub(super) fn take_place(&mut self) {
        // As long as the two still speak to each other, nothing ends.
        let automatic = self.config().enabled;
        let told = self.told_of_licences.as_ref();
        let keys = self.settings.data.join("keys");
        let server = (&*self.configuration, &*self.licences);
        if take_place(&keys, server, (&self.pair, told), automatic) {
            (self.tells.published)();
        }
        if let Err(error) = self.lookout.place(self.pair.partner_key().as_deref()) {
            tracing::error!(%error, "who the other server is cannot be kept beside the events yet");
        }
    }

    /// The other server is told, if there is something new and room for it.
    pub(super) fn tell_licences(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|_| !self.blocked) else {
            return;
        };
        if !self.licences_due || !self.config().enabled {
            return;
        }
        let partner = self.told_of_licences.as_ref().map(|told| told.installation);
        let telling = Telling::of(&self.licences, partner);
        if self.telling.as_ref() == Some(&telling) {
            self.licences_due = false;
            return;
        }
        match connection.outgoing.try_reserve() {
            Ok(permit) => {
                permit.send(telling.to_message());
                self.licences_due = false;
                self.telling = Some(telling);
            }
            Err(TrySendError::Full(())) => self.blocked = true,
            // It is told by the reader.
            Err(TrySendError::Closed(())) => {}
        }
    }

    pub(super) fn hear_licences(&mut self, message: &[u8]) {
        let Some(partner) = &self.pair.partner else {
            return;
        };
        self.tellings += 1;
        if self.tellings > LINK_LICENCES_TOLD_MAX {
            let why = "the other server told of its licences too often";
            return self.disconnect(Some(why.into()));
        }
        let before = *self.configuration.site().entitlement();
        let telling = match Telling::read(message) {
            Ok(telling) => telling,
            Err(error) => {
                tracing::warn!(%error, "what the other server tells of its licences is not listened to");
                let now = self.now();
                if let (TellingError::Version(_), Some(session)) = (&error, &mut self.session) {
                    session.misheard(now);
                }
                return;
            }
        };
        let told = Told {
            partner: partner.key.clone(),
            installation: telling.installation,
            licences: telling.licences,
        };
        if self.told_of_licences.as_ref() != Some(&told) {
            if let Err(error) = self.told_file.write(&told) {
                tracing::error!(%error, "what the other server told of its licences cannot be kept");
            }
            // Whoever lacks a licence gets it again, even if it was sent before.
            let ours = self.licences.told().valid;
            let mut for_both = ours.iter().filter(|licence| licence.for_two);
            if for_both.any(|licence| !told.licences.valid.contains(licence)) {
                self.telling = None;
            }
            self.told_of_licences = Some(told);
            self.licences_due = true;
        }
        let offered = std::mem::replace(&mut self.offered, telling.files);
        self.take_offered(|file| !offered.contains(file));
        self.take_place();
        if *self.configuration.site().entitlement() != before {
            (self.tells.published)();
        }
    }

    /// Operators are told when both have the same licences, and when they do not any more.
    pub(super) fn tell_of_agreement(&mut self, agreement: &Agreement) {
        let agrees = agreement.agrees();
        let before = std::mem::replace(&mut self.told_of_agreement, agrees);
        match agrees {
            Some(true) if before != agrees => {
                self.notice(json!({"what": "licences-agree", "why": null}));
            }
            Some(false) if before != agrees => {
                let why = agreement.differences().join("; ");
                tracing::warn!(why, "the licences of the two servers differ");
                self.notice(json!({"what": "licences-differ", "why": why}));
            }
            _ => {}
        }
    }

    /// Installs what the other server has for both. What is refused is kept, and looked at again: its vendor's key may come later.
    pub(super) fn take_offered(&mut self, is_new: impl Fn(&String) -> bool) {
        let before = *self.configuration.site().entitlement();
        let actor = Actor::machine("partner");
        self.offered.retain(|file| match self.licences.take(&actor, file) {
            Ok(is_taken) => {
                if is_taken {
                    tracing::info!("a licence for both servers came from the other one");
                }
                false
            }
            Err(InstallError::Licence(LicenceError::Replaced { .. })) => false,
            Err(error) => {
                if is_new(file) {
                    tracing::warn!(%error, "a licence for both servers, which the other one has, is not installed here");
                }
                true
            }
        });
        if *self.configuration.site().entitlement() != before {
            (self.tells.published)();
        }
    }
}
