//! Servers of this pair that were replaced, and are back: connected, heard, and what they said taken note of.

use std::sync::Arc;

use daybreak_store::Store;
use daybreak_sync::session::Event;
use serde_json::json;
use tokio::time::Instant;

use super::super::handshake::{Established, Stream, connect};
use super::super::host::Server;
use super::super::key::PublicKey;
use super::super::replaced::{Heard, hear};
use super::super::tls::Purpose;
use super::Driver;
use crate::limits::DIAL_REPLACED_AGAIN;

impl Driver {
    /// Whether there are some that this server has to connect to, since they never connected to it.
    pub(super) fn dials_replaced(&self) -> bool {
        let mut parted = self.pair.parted.iter();
        self.pair.partner.is_some() && self.wanted && parted.any(|parted| parted.dials)
    }

    pub(super) fn dial_replaced(&mut self) {
        if !self.dials_replaced() || Instant::now() < self.replaced_at {
            return;
        }
        self.replaced_at = Instant::now() + DIAL_REPLACED_AGAIN;
        self.returned.retain(|(_, task)| !task.is_finished());
        let heard = |key| self.returned.iter().any(|(of, _)| of == key);
        for parted in &self.pair.parted {
            if !parted.dials || heard(&parted.key) {
                continue;
            }
            let (ours, parted) = (self.key.clone(), parted.clone());
            let established = self.established.0.clone();
            tokio::spawn(async move {
                let stream = connect(&ours, &parted.key, &parted.address, Purpose::Replaced).await;
                // Nobody there is what is to be expected.
                if let Ok(stream) = stream {
                    let key = parted.key;
                    let _ = established
                        .send(Established::Replaced { key, stream })
                        .await;
                }
            });
        }
    }

    pub(super) fn hear_replaced(&mut self, key: PublicKey, stream: Box<dyn Stream>) {
        // It may be the other server again, meanwhile.
        let Some(parted) = self.pair.replaced(&key) else {
            return;
        };
        let store = match Store::open(&self.settings.data) {
            Ok(store) => store,
            Err(error) => return tracing::error!(%error, "a replaced server cannot be heard"),
        };
        let configuration = Arc::clone(&self.configuration);
        let host = Server::new(Arc::clone(&configuration), store);
        let said = (parted.name.clone(), stream);
        let (config, tell) = (self.config(), self.heard.0.clone());
        let task = tokio::spawn(hear(said, (host, config), configuration, tell));
        self.returned.retain(|(of, task)| {
            if *of == key {
                task.abort();
            }
            *of != key && !task.is_finished()
        });
        self.returned.push((key, task.abort_handle()));
    }

    pub(super) fn end_returned(&mut self) {
        for (_, task) in self.returned.drain(..) {
            task.abort();
        }
    }

    pub(super) fn take_returned(&mut self, heard: Heard) {
        let Heard { name, event } = heard;
        match event {
            // Not those of the pair.
            Event::State(_) | Event::Skew(_) => {}
            Event::Applied { objects } => {
                tracing::warn!(
                    name,
                    objects,
                    "a replaced server had changes that nobody else knows; they are conflicts now"
                );
                self.notice(json!({"what": "replaced-server", "name": name, "changes": objects}));
                self.counts.objects += objects as u64;
                self.look_at_configuration();
                (self.tells.published)();
            }
            event => self.take_note(event),
        }
    }
}
