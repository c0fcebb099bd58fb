//! Connections of the link: dialled, listened for, taken, and who they are from.

use std::net::SocketAddr;
use std::sync::Arc;

use daybreak_store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::super::connection::Connection;
use super::super::handshake::{Established, Reception, Stream, Tie, dial};
use super::super::host::Server;
use super::super::key::PublicKey;
use super::super::pair::Partner;
use super::super::pairing::{Introduction, PairingError};
use super::super::questions::serve;
use super::super::sightings::Teller;
use super::Driver;
use crate::limits::DIAL_AGAIN_MAX;

impl Driver {
    pub(super) fn dial_as_needed(&mut self) {
        let due = self.dials() && self.connection.is_none() && !self.dialing;
        if !due || Instant::now() < self.dial_at {
            return;
        }
        let Some(partner) = &self.pair.partner else {
            return;
        };
        self.dialing = true;
        let dialing = dial(
            self.key.clone(),
            partner.key.clone(),
            partner.address.clone(),
        );
        let established = self.established.0.clone();
        tokio::spawn(async move {
            let _ = established.send(dialing.await).await;
        });
    }

    pub(super) fn take_established(&mut self, outcome: Established) {
        match outcome {
            Established::Link {
                key,
                stream,
                listens,
            } => self.connect(&key, stream, listens),
            Established::Replaced { key, stream } => self.hear_replaced(key, stream),
            Established::Manual { stream } => match Store::open(&self.settings.data) {
                Ok(store) => {
                    let host = Server::new(Arc::clone(&self.configuration), store);
                    tokio::spawn(serve(stream, host));
                }
                Err(error) => tracing::error!(%error, "a manual synchronization cannot be served"),
            },
            Established::Overwrite { key, stream } => self.begin_obeying(&key, stream),
            Established::Failed(why) => {
                self.dialing = false;
                self.trouble = Some(why);
                self.dial_at = Instant::now() + self.dial_wait;
                self.dial_wait = (self.dial_wait * 2).min(DIAL_AGAIN_MAX);
            }
            Established::Paired {
                key,
                address,
                introduction,
                tie,
                kept,
            } => {
                let partner = Partner {
                    address: SocketAddr::new(address, introduction.port).to_string(),
                    name: introduction.name.clone(),
                    key,
                    dials: false,
                    since_ms: self.configuration.now_ms(),
                };
                let outcome = match tie {
                    Tie::Pair => self.pair_with(partner, &introduction, self.pair.role),
                    Tie::Listed => self.list(partner),
                };
                if let Err(error) = &outcome {
                    tracing::error!(%error, "pairing failed");
                }
                let _ = kept.send(outcome.is_ok());
            }
        }
    }

    fn connect(&mut self, key: &PublicKey, stream: Box<dyn Stream>, listens: bool) {
        let dialed = std::mem::take(&mut self.dialing);
        let partner = self.pair.partner.as_ref();
        // It may have been un-paired meanwhile; and an order of this side's own does not replace what the other has made.
        if partner.is_none_or(|partner| partner.key != *key)
            || (dialed && self.connection.is_some())
        {
            return;
        }
        self.disconnect(None);
        self.connection = Some(Connection::start(stream));
        (self.telling, self.licences_due) = (None, true);
        self.sightings.0 = Teller::new(listens);
        self.sightings.1.begin_anew();
        self.counts.connections += 1;
        self.trouble = None;
        let now = self.now();
        if let Some(session) = &mut self.session {
            session.connected(now, &mut self.host);
        }
    }

    /// Listens while there is another server, or may be one soon.
    pub(super) async fn listen_as_needed(&mut self) {
        let known = self.pair.partner.is_some() || !self.pair.listed.is_empty();
        let wanted = known || self.shown.until().is_some();
        if !wanted {
            self.listener = None;
        } else if self.listener.is_none()
            && let Err(error) = self.listen().await
        {
            self.trouble = Some(error.to_string());
        }
    }

    pub(super) async fn listen(&mut self) -> Result<SocketAddr, PairingError> {
        let failed = |error: std::io::Error| PairingError::Listen {
            address: self.settings.listen.to_string(),
            why: error.to_string(),
        };
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(self.settings.listen)
                .await
                .map_err(failed)?,
        };
        let address = listener.local_addr().map_err(failed)?;
        self.listener = Some(listener);
        Ok(address)
    }

    pub(super) fn receive(&mut self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            return;
        };
        let partner = self.pair.partner.as_ref();
        let replaced = self.pair.parted.iter().filter(|_| partner.is_some());
        let reception = Reception {
            key: self.key.clone(),
            partner: partner.map(|partner| partner.key.clone()),
            listed: self
                .pair
                .listed
                .iter()
                .map(|listed| listed.key.clone())
                .collect(),
            replaced: replaced.map(|parted| parted.key.clone()).collect(),
            shown: self.shown.clone(),
            introduction: self.introduction(),
            established: self.established.0.clone(),
        };
        tokio::spawn(async move {
            reception.receive(stream).await;
            drop(permit);
        });
    }

    pub(super) fn introduction(&self) -> Introduction {
        let epoch = self
            .configuration
            .with_database(|database| Ok(database.book().epoch));
        Introduction {
            name: self.settings.name.clone(),
            port: self.listening().map_or(0, |address| address.port()),
            role: self.pair.role,
            epoch: epoch.unwrap_or_default(),
            replaces: self.pair.former.is_some(),
        }
    }
}
