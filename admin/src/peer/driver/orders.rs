//! What operators order: pairing, un-pairing, and synchronization by hand.

use std::sync::Arc;

use daybreak_store::Store;
use daybreak_sync::host::HostError;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::desk::Planned;
use super::super::handshake::{Stream, Tie, connect, join};
use super::super::host::Server;
use super::super::key::{KeyError, PublicKey};
use super::super::link::{Offered, Order};
use super::super::manual::{Between, Destination, ManualError, Overwritten, With};
use super::super::pair::{Partner, Role};
use super::super::pairing::{Code, Introduction, PairingError};
use super::super::tls::Purpose;
use super::{Driver, Joined, Joining};
use crate::configuration::Actor;
use crate::limits::{LISTED_MAX, PAIRING_CODE_VALID};

impl Driver {
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Show(tie, done) => drop(done.send(self.show_code(tie).await)),
            Order::TakeAway(done) => {
                self.shown.take_away();
                let _ = done.send(());
            }
            Order::Join {
                address,
                code,
                done,
            } => self.begin_joining(address, code, done).await,
            Order::UnPair(done) => drop(done.send(self.un_pair())),
            Order::Forget(fingerprint, done) => drop(done.send(self.forget(&fingerprint))),
            Order::Plan(with, overwritten, done) => self.begin_plan(&with, overwritten, done),
            Order::Run { plan, actor, done } => drop(done.send(self.begin_run(plan, actor))),
        }
    }

    pub(super) fn destination(&self) -> Destination {
        Destination {
            configuration: Arc::clone(&self.configuration),
            data: self.settings.data.clone(),
            backups: Arc::clone(&self.backups),
            desk: Arc::clone(&self.desk),
            silence: self.settings.silence,
        }
    }

    fn begin_plan(
        &self,
        with: &With,
        overwritten: Overwritten,
        done: oneshot::Sender<Result<(u64, Arc<Planned>), ManualError>>,
    ) {
        let partner = match with {
            With::Partner => self.pair.partner.clone().ok_or(ManualError::Alone),
            With::Listed(fingerprint) => {
                let mut listed = self.pair.listed.iter();
                let found = listed.find(|listed| listed.key.fingerprint() == *fingerprint);
                found.cloned().ok_or(ManualError::NotListed)
            }
        };
        let partner = match partner {
            Ok(partner) => partner,
            Err(error) => return drop(done.send(Err(error))),
        };
        let names = match overwritten {
            Overwritten::Here => (partner.name.clone(), self.settings.name.clone()),
            Overwritten::There => (self.settings.name.clone(), partner.name.clone()),
        };
        let between = Between {
            with: partner.key.clone(),
            overwritten,
            names,
        };
        let (key, destination) = (self.key.clone(), self.destination());
        tokio::spawn(async move {
            let stream = connect(&key, &partner.key, &partner.address, Purpose::Manual).await;
            let plan = match stream {
                Ok(stream) => destination.plan(stream, between).await,
                Err(error) => Err(error.into()),
            };
            let _ = done.send(plan);
        });
    }

    /// Begins a run, and gives its number.
    fn begin_run(&self, planned: Arc<Planned>, actor: Actor) -> Result<u64, ManualError> {
        let partner = self.pair.manual(&planned.between.with).cloned();
        let partner = partner.ok_or(ManualError::NotListed)?;
        let store = Store::open(&self.settings.data);
        let store = store.map_err(|error| HostError::Failed(error.to_string()))?;
        let host = Server::new(Arc::clone(&self.configuration), store);
        let number = self.desk.begin(&actor.name).ok_or(ManualError::Running)?;
        let (key, destination) = (self.key.clone(), self.destination());
        let changed = Arc::clone(&self.changed);
        let publishing = Arc::clone(&self.tells.published);
        tokio::spawn(async move {
            let purpose = match planned.between.overwritten {
                Overwritten::Here => Purpose::Manual,
                Overwritten::There => Purpose::Overwrite,
            };
            let stream = connect(&key, &partner.key, &partner.address, purpose).await;
            destination.run(stream, host, (&planned, &actor)).await;
            publishing();
            changed.notify_one();
        });
        Ok(number)
    }

    fn alone(&self) -> Result<(), PairingError> {
        match &self.pair.partner {
            Some(partner) => Err(PairingError::Paired(partner.name.clone())),
            None => Ok(()),
        }
    }

    /// The order of another server.
    pub(super) fn begin_obeying(&self, key: &PublicKey, stream: Box<dyn Stream>) {
        let Some(from) = self.pair.manual(key).cloned() else {
            return;
        };
        let partner = self.pair.partner.as_ref();
        let is_partner = partner.is_some_and(|partner| partner.key == from.key);
        let destination = self.destination();
        let changed = Arc::clone(&self.changed);
        let publishing = Arc::clone(&self.tells.published);
        tokio::spawn(async move {
            destination.obey(stream, &from.name, is_partner).await;
            publishing();
            changed.notify_one();
        });
    }

    async fn show_code(&mut self, tie: Tie) -> Result<Offered, PairingError> {
        if tie == Tie::Pair {
            self.alone()?;
        }
        let listening = self.listen().await?;
        let code = Code::new(self.configuration.entropy());
        let valid_ms = u64::try_from(PAIRING_CODE_VALID.as_millis()).unwrap_or(u64::MAX);
        let until_ms = self.configuration.now_ms().saturating_add(valid_ms);
        self.shown.show(
            (code.clone(), tie),
            Instant::now() + PAIRING_CODE_VALID,
            until_ms,
        );
        Ok(Offered {
            code: code.reveal(),
            until_ms,
            listening,
        })
    }

    async fn begin_joining(
        &mut self,
        address: String,
        (code, tie): (Code, Tie),
        done: oneshot::Sender<Result<Partner, PairingError>>,
    ) {
        if let Err(error) = self.alone()
            && tie == Tie::Pair
        {
            return drop(done.send(Err(error)));
        }
        // The other is told where this one listens.
        if let Err(error) = self.listen().await {
            return drop(done.send(Err(error)));
        }
        let (key, introduction, to) = (self.key.clone(), self.introduction(), address.clone());
        let task = tokio::spawn(async move { join(&key, &to, (&code, tie), &introduction).await });
        if let Some(before) = self.joining.replace(Joining {
            task,
            address,
            tie,
            done,
        }) {
            before.task.abort();
        }
    }

    pub(super) fn take_joined(&mut self, outcome: Joined) {
        let Some(Joining {
            address, tie, done, ..
        }) = self.joining.take()
        else {
            return;
        };
        let paired = outcome.and_then(|(key, introduction)| {
            let partner = Partner {
                address,
                name: introduction.name.clone(),
                key,
                dials: true,
                since_ms: self.configuration.now_ms(),
            };
            match tie {
                Tie::Pair => {
                    self.alone()?;
                    let role = introduction.role.other();
                    self.pair_with(partner.clone(), &introduction, role)?;
                }
                Tie::Listed => self.list(partner.clone())?,
            }
            Ok(partner)
        });
        let _ = done.send(paired);
    }

    /// From now on manual synchronization may be done with this server.
    pub(super) fn list(&mut self, partner: Partner) -> Result<(), PairingError> {
        let mut pair = self.pair.clone();
        pair.listed.retain(|listed| listed.key != partner.key);
        if pair.listed.len() >= LISTED_MAX {
            return Err(PairingError::TooMany);
        }
        let name = partner.name.clone();
        pair.listed.push(partner);
        let kept = |error: KeyError| PairingError::Kept(error.to_string());
        self.file.write(&pair).map_err(kept)?;
        tracing::info!(name, "listed for manual synchronization");
        self.notice(json!({"what": "listed", "with": name}));
        self.pair = pair;
        self.shown.take_away();
        Ok(())
    }

    fn forget(&mut self, fingerprint: &str) -> Result<Option<Partner>, PairingError> {
        let mut pair = self.pair.clone();
        let is_it = |listed: &Partner| listed.key.fingerprint() == fingerprint;
        let Some(at) = pair.listed.iter().position(is_it) else {
            return Ok(None);
        };
        let forgotten = pair.listed.remove(at);
        let kept = |error: KeyError| PairingError::Kept(error.to_string());
        self.file.write(&pair).map_err(kept)?;
        self.pair = pair;
        Ok(Some(forgotten))
    }

    /// From now on this is the other server.
    pub(super) fn pair_with(
        &mut self,
        partner: Partner,
        introduction: &Introduction,
        role: Role,
    ) -> Result<(), PairingError> {
        let kept = |error: &dyn std::fmt::Display| PairingError::Kept(error.to_string());
        let mut ours = self.introduction();
        // Paired anew with the same one, nobody was replaced.
        ours.replaces = self
            .pair
            .former
            .as_ref()
            .is_some_and(|former| *former != partner.key);
        let epoch = ours.epoch_with(introduction);
        self.configuration
            .set_epoch(epoch)
            .map_err(|error| kept(&error))?;
        let pair = self.pair.clone().with(partner, role);
        self.file.write(&pair).map_err(|error| kept(&error))?;
        tracing::info!(partner = ?pair.partner, ?role, epoch, "paired");
        self.notice(json!({"what": "paired", "with": introduction.name}));
        self.pair = pair;
        self.told_of_licences = self.told_file.read(&self.pair);
        self.offered.clear();
        self.take_place();
        self.shown.take_away();
        self.begin_session();
        Ok(())
    }

    fn un_pair(&mut self) -> Result<Option<Partner>, PairingError> {
        let pair = self.pair.clone().without_partner();
        let kept = |error: KeyError| PairingError::Kept(error.to_string());
        self.file.write(&pair).map_err(kept)?;
        let partner = self.pair.partner.take();
        self.pair = pair;
        self.told_of_licences = self.told_file.read(&self.pair);
        self.offered.clear();
        self.take_place();
        self.begin_session();
        self.trouble = None;
        tracing::info!(?partner, "un-paired");
        if let Some(partner) = &partner {
            self.notice(json!({"what": "un-paired", "from": partner.name}));
        }
        Ok(partner)
    }
}
