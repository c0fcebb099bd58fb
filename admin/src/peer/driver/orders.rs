//! What operators order: pairing, un-pairing, and synchronization by hand.

use std::sync::Arc;

use daybreak_sync::manual::Plan;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::handshake::{connect, join};
use super::super::key::KeyError;
use super::super::link::{Offered, Order};
use super::super::manual::{Destination, ManualError};
use super::super::pair::{Partner, Role};
use super::super::pairing::{Code, Introduction, PairingError};
use super::super::tls::Purpose;
use super::{Driver, Joined, Joining};
use crate::configuration::Actor;
use crate::limits::PAIRING_CODE_VALID;

impl Driver {
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Show(done) => drop(done.send(self.show_code().await)),
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
            Order::Plan(done) => self.begin_plan(done),
            Order::Run { plan, actor, done } => drop(done.send(self.begin_run(plan, actor))),
        }
    }

    fn destination(&self) -> Destination {
        Destination {
            configuration: Arc::clone(&self.configuration),
            data: self.settings.data.clone(),
            backups: Arc::clone(&self.backups),
            desk: Arc::clone(&self.desk),
        }
    }

    fn begin_plan(&self, done: oneshot::Sender<Result<(u64, Arc<Plan>), ManualError>>) {
        let Some(partner) = self.pair.partner.clone() else {
            return drop(done.send(Err(ManualError::Alone)));
        };
        let (key, destination) = (self.key.clone(), self.destination());
        tokio::spawn(async move {
            let stream = connect(&key, &partner.key, &partner.address, Purpose::Manual).await;
            let plan = match stream {
                Ok(stream) => destination.plan(stream).await,
                Err(why) => Err(ManualError::Other(why)),
            };
            let _ = done.send(plan);
        });
    }

    /// Begins a run, and gives its number.
    fn begin_run(&self, plan: Arc<Plan>, actor: Actor) -> Result<u64, ManualError> {
        let partner = self.pair.partner.clone().ok_or(ManualError::Alone)?;
        let number = self.desk.begin(&actor.name).ok_or(ManualError::Running)?;
        let (key, destination) = (self.key.clone(), self.destination());
        let changed = Arc::clone(&self.changed);
        let publishing = Arc::clone(&self.tells.published);
        tokio::spawn(async move {
            let stream = connect(&key, &partner.key, &partner.address, Purpose::Manual).await;
            destination.run(stream, &plan, &actor).await;
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

    async fn show_code(&mut self) -> Result<Offered, PairingError> {
        self.alone()?;
        let listening = self.listen().await?;
        let code = Code::new(self.configuration.entropy());
        let valid_ms = u64::try_from(PAIRING_CODE_VALID.as_millis()).unwrap_or(u64::MAX);
        let until_ms = self.configuration.now_ms().saturating_add(valid_ms);
        self.shown
            .show(code.clone(), Instant::now() + PAIRING_CODE_VALID, until_ms);
        Ok(Offered {
            code: code.reveal(),
            until_ms,
            listening,
        })
    }

    async fn begin_joining(
        &mut self,
        address: String,
        code: Code,
        done: oneshot::Sender<Result<Partner, PairingError>>,
    ) {
        if let Err(error) = self.alone() {
            return drop(done.send(Err(error)));
        }
        // The other is told where this one listens.
        if let Err(error) = self.listen().await {
            return drop(done.send(Err(error)));
        }
        let (key, introduction, to) = (self.key.clone(), self.introduction(), address.clone());
        let task = tokio::spawn(async move { join(&key, &to, &code, &introduction).await });
        if let Some(before) = self.joining.replace(Joining {
            task,
            address,
            done,
        }) {
            before.task.abort();
        }
    }

    pub(super) fn take_joined(&mut self, outcome: Joined) {
        let Some(Joining { address, done, .. }) = self.joining.take() else {
            return;
        };
        let paired = outcome.and_then(|(key, introduction)| {
            self.alone()?;
            let partner = Partner {
                address,
                name: introduction.name.clone(),
                key,
                dials: true,
                since_ms: self.configuration.now_ms(),
            };
            self.pair_with(partner.clone(), &introduction, introduction.role.other())?;
            Ok(partner)
        });
        let _ = done.send(paired);
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
