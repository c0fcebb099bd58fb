//! The loop of the link's thread: takes what happens, tells the session, does what it says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use daybreak_store::Store;
use daybreak_sync::host::HostError;
use daybreak_sync::limits::HORIZON;
use daybreak_sync::manual::Plan;
use daybreak_sync::session::{Config, Event, Now, Session, State};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::connection::{Connection, Incoming};
use super::handshake::{Established, Reception, Shown, Stream, connect, dial, join};
use super::host::Server;
use super::key::{NodeKey, PublicKey};
use super::link::{Counts, LinkStatus, Offered, Order, Settings};
use super::manual::{Desk, Destination, ManualError, serve};
use super::pair::{Pair, PairFile, Partner};
use super::pairing::{Code, Introduction, PairingError};
use super::tls::Purpose;
use crate::configuration::{Actor, Configuration, Place};
use crate::events::EventRow;
use crate::limits::{
    DIAL_AGAIN_MAX, DIAL_AGAIN_MIN, DIAL_AGAIN_REFUSED, HANDSHAKES_MAX, IMAGES_LOOKED_AT,
    LINK_LINGERS, OLD_DELETES_LOOKED_AT, PAIRING_CODE_VALID,
};

type Joined = Result<(PublicKey, Introduction), PairingError>;

/// What happens next.
enum Happening {
    /// Nothing: to end.
    Ordered(Option<Order>),
    Changed,
    Arrived(Incoming),
    Established(Established),
    Accepted(TcpStream),
    Joined(Joined),
    Room,
    Time,
}

struct Joining {
    task: JoinHandle<Joined>,
    address: String,
    done: oneshot::Sender<Result<Partner, PairingError>>,
}

/// Whom it tells.
pub(super) struct Tells {
    /// Something came that is to be published.
    pub(super) published: Arc<dyn Fn() + Send + Sync>,
    /// Something happened that operators should see among the events.
    pub(super) noticed: Box<dyn Fn(EventRow) + Send>,
}

/// See the module.
pub(super) struct Driver {
    settings: Settings,
    configuration: Arc<Configuration>,
    host: Server,
    key: NodeKey,
    file: PairFile,
    pair: Pair,
    status: Arc<ArcSwap<LinkStatus>>,
    changed: Arc<Notify>,
    tells: Tells,
    desk: Arc<Desk>,
    /// What operators were told last of how the pair stands.
    told: &'static str,

    start: Instant,
    session: Option<Session>,
    connection: Option<Connection>,
    /// The queue to the other server is full: nothing more is asked of the session before there is room.
    blocked: bool,
    listener: Option<TcpListener>,
    shown: Shown,
    handshakes: Arc<Semaphore>,
    established: (mpsc::Sender<Established>, mpsc::Receiver<Established>),
    joining: Option<Joining>,
    dialing: bool,
    dial_at: Instant,
    dial_wait: Duration,
    /// Synchronization was switched off, and ends then.
    ends_at: Option<Instant>,
    images_at: Instant,
    deletes_at: Instant,
    trouble: Option<String>,
    counts: Counts,
}

impl Driver {
    pub(super) fn new(
        (settings, configuration, host): (Settings, Arc<Configuration>, Server),
        (key, file, pair): (NodeKey, PairFile, Pair),
        (status, changed): (Arc<ArcSwap<LinkStatus>>, Arc<Notify>),
        (tells, desk): (Tells, Arc<Desk>),
    ) -> Self {
        let now = Instant::now();
        let mut driver = Driver {
            settings,
            configuration,
            host,
            key,
            file,
            pair,
            status,
            changed,
            tells,
            desk,
            told: "disconnected",
            start: now,
            session: None,
            connection: None,
            blocked: false,
            listener: None,
            shown: Shown::default(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            established: mpsc::channel(1),
            joining: None,
            dialing: false,
            dial_at: now,
            dial_wait: DIAL_AGAIN_MIN,
            ends_at: None,
            images_at: now,
            deletes_at: now,
            trouble: None,
            counts: Counts::default(),
        };
        driver.take_place();
        driver.begin_session();
        driver
    }

    pub(super) async fn run(mut self, mut ordered: mpsc::Receiver<Order>) {
        loop {
            self.listen_as_needed().await;
            self.dial_as_needed();
            self.pump();
            self.show();
            match self.next(&mut ordered).await {
                Happening::Ordered(None) => break,
                Happening::Ordered(Some(order)) => self.obey(order).await,
                Happening::Changed => self.look_at_configuration(),
                Happening::Arrived(Incoming::Message(message)) => {
                    self.counts.messages_in += 1;
                    self.dial_wait = DIAL_AGAIN_MIN;
                    let now = self.now();
                    if let Some(session) = &mut self.session {
                        session.handle(now, &message, &mut self.host);
                    }
                }
                Happening::Arrived(Incoming::Ended(why)) => self.disconnect(Some(why)),
                Happening::Established(outcome) => self.take_established(outcome),
                Happening::Accepted(stream) => self.receive(stream),
                Happening::Joined(outcome) => self.take_joined(outcome),
                Happening::Room => self.blocked = false,
                Happening::Time => self.look_at_time(),
            }
        }
        self.disconnect(None);
    }

    async fn next(&mut self, ordered: &mut mpsc::Receiver<Order>) -> Happening {
        let deadline = self.deadline();
        let (connection, blocked) = (&mut self.connection, self.blocked);
        let room = connection
            .as_ref()
            .map(|connection| connection.outgoing.clone());
        let (listener, joining) = (&self.listener, &mut self.joining);
        tokio::select! {
            order = ordered.recv() => Happening::Ordered(order),
            () = self.changed.notified() => Happening::Changed,
            arrived = arrived(connection) => Happening::Arrived(arrived),
            Some(outcome) = self.established.1.recv() => Happening::Established(outcome),
            stream = accepted(listener) => Happening::Accepted(stream),
            joined = joined(joining) => Happening::Joined(joined),
            () = has_room(room), if blocked => Happening::Room,
            () = tokio::time::sleep_until(deadline) => Happening::Time,
        }
    }

    fn now(&self) -> Now {
        Now {
            time: self.start.elapsed(),
            wall_ms: self.configuration.now_ms(),
        }
    }

    fn deadline(&self) -> Instant {
        let session = self.session.as_ref().and_then(Session::poll_timeout);
        let session = session.map(|time| self.start + time);
        let dial =
            (self.dials() && self.connection.is_none() && !self.dialing).then_some(self.dial_at);
        let code = self.shown.until().map(|(until, _)| until);
        let images = self.session.is_some().then_some(self.images_at);
        let times = [
            session,
            dial,
            code,
            images,
            self.ends_at,
            Some(self.deletes_at),
        ];
        times.into_iter().flatten().min().unwrap_or(self.deletes_at)
    }

    fn dials(&self) -> bool {
        let partner = self.pair.partner.as_ref();
        partner.is_some_and(|partner| partner.dials) && self.config().enabled
    }

    fn config(&self) -> Config {
        let wanted = self.configuration.site().synchronization();
        Config {
            enabled: wanted.enabled || self.ends_at.is_some(),
            mode: wanted.mode.into(),
            role: self.pair.role.into(),
            name: self.settings.name.clone(),
            software: env!("CARGO_PKG_VERSION").into(),
            rate: wanted.image_bytes_per_second,
            ..Config::default()
        }
    }

    /// The configuration is told whether it may be changed here.
    fn take_place(&self) {
        let partner = self.pair.partner.as_ref();
        let called = partner.map(|partner| format!("{} ({})", partner.name, partner.address));
        let place = called.map(|called| (self.pair.role.into(), called));
        self.configuration.take_place(Place(place));
    }

    /// A session, if there is another server.
    fn begin_session(&mut self) {
        self.disconnect(None);
        self.session = None;
        if self.pair.partner.is_none() {
            return;
        }
        match Session::new(self.config(), &mut self.host) {
            Ok(session) => self.session = Some(session),
            Err(error) => self.trouble = Some(error.to_string()),
        }
        let now = Instant::now();
        (self.dial_at, self.images_at, self.dial_wait) = (now, now, DIAL_AGAIN_MIN);
    }

    fn look_at_configuration(&mut self) {
        let enabled = self.configuration.site().synchronization().enabled;
        self.ends_at = match self.ends_at {
            // That it is switched off is a change, too, which the other server is still told.
            None if !enabled && self.connection.is_some() => Some(Instant::now() + LINK_LINGERS),
            Some(at) if !enabled && Instant::now() < at => Some(at),
            _ => None,
        };
        let (now, config) = (self.now(), self.config());
        if let Some(session) = &mut self.session {
            session.configure(now, config);
            session.changed(now, &mut self.host);
        }
    }

    fn look_at_time(&mut self) {
        let (now, time) = (self.now(), Instant::now());
        if let Some(session) = &mut self.session {
            session.handle_timeout(now, &mut self.host);
        }
        if self.ends_at.is_some_and(|at| time >= at) {
            self.look_at_configuration();
        }
        if self.session.is_some() && (time >= self.images_at || self.host.has_lost()) {
            self.images_at = time + IMAGES_LOOKED_AT;
            self.want_missing();
        }
        if self.shown.until().is_some_and(|(until, _)| time >= until) {
            self.shown.take_away();
        }
        if time >= self.deletes_at {
            self.deletes_at = time + OLD_DELETES_LOOKED_AT;
            let horizon_ms = u64::try_from(HORIZON.as_millis()).unwrap_or(u64::MAX);
            let until_ms = now.wall_ms.saturating_sub(horizon_ms);
            if let Err(error) = self.configuration.forget_deleted(until_ms) {
                tracing::warn!(%error, "objects that were deleted long ago stay remembered");
            }
        }
    }

    fn want_missing(&mut self) {
        let now = self.now();
        let missing = match self.host.missing() {
            Ok(missing) => missing,
            Err(error) => return self.fail(&error),
        };
        if let Some(session) = &mut self.session {
            for image in missing {
                session.want_image(now, image, &mut self.host);
            }
        }
    }

    fn fail(&mut self, error: &HostError) {
        tracing::error!(%error, "synchronization");
        self.trouble = Some(error.to_string());
    }

    /// Sends what the session has to say, as far as there is room, and takes note of what happened.
    fn pump(&mut self) {
        let now = self.now();
        if self.host.has_lost() {
            self.want_missing();
        }
        if let (Some(session), Some(connection), false) =
            (&mut self.session, &self.connection, self.blocked)
        {
            loop {
                let permit = match connection.outgoing.try_reserve() {
                    Ok(permit) => permit,
                    Err(TrySendError::Full(())) => {
                        self.blocked = true;
                        break;
                    }
                    // It is told by the reader.
                    Err(TrySendError::Closed(())) => break,
                };
                match session.poll_transmit(now, &mut self.host) {
                    Some(message) => {
                        self.counts.messages_out += 1;
                        permit.send(message);
                    }
                    None => break,
                }
            }
        }
        let mut came = false;
        while let Some(event) = self.session.as_mut().and_then(Session::poll_event) {
            came |= matches!(event, Event::Applied { .. } | Event::Fetched(_));
            self.take_note(event);
        }
        if came {
            (self.tells.published)();
        }
        let closes = self.session.as_ref().is_some_and(Session::wants_close);
        if closes && !self.blocked {
            let refused = self.session.as_ref().map(Session::state);
            self.disconnect(None);
            if matches!(
                refused,
                Some(State::Refused(_) | State::IncompatibleVersion)
            ) {
                self.dial_at = Instant::now() + DIAL_AGAIN_REFUSED;
            }
        }
    }

    fn take_note(&mut self, event: Event) {
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
            Event::Dropped { values } => {
                self.counts.dropped += values as u64;
                tracing::warn!(
                    values,
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

    fn notice(&self, details: serde_json::Value) {
        (self.tells.noticed)(EventRow::of_pair(self.configuration.now_ms(), details));
    }

    /// Operators are told whether the two speak to each other, not of every change on its way.
    fn tell_of(&mut self, state: &State) {
        let (word, why) = match state {
            State::PeerUnreachable | State::WaitingForPeer => ("disconnected", None),
            State::Disabled => ("disabled", None),
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

    fn show(&mut self) {
        let session = self.session.as_ref().map(Session::status);
        let connected = self.connection.is_some();
        self.status.store(Arc::new(LinkStatus {
            fingerprint: self.key.public().fingerprint(),
            name: self.settings.name.clone(),
            pair: self.pair.clone(),
            listening: self.listening(),
            code_until_ms: self.shown.until().map(|(_, until_ms)| until_ms),
            session,
            trouble: self.trouble.clone().filter(|_| !connected),
            counts: self.counts,
        }));
    }

    fn listening(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    fn disconnect(&mut self, why: Option<String>) {
        if self.connection.take().is_some() {
            self.trouble = why;
            self.dial_at = Instant::now() + self.dial_wait;
            self.dial_wait = (self.dial_wait * 2).min(DIAL_AGAIN_MAX);
        }
        self.blocked = false;
        let now = self.now();
        if let Some(session) = &mut self.session {
            session.disconnected(now);
        }
    }

    fn dial_as_needed(&mut self) {
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

    fn take_established(&mut self, outcome: Established) {
        match outcome {
            Established::Link { key, stream } => self.connect(&key, stream),
            Established::Manual { stream } => match Store::open(&self.settings.data) {
                Ok(store) => {
                    let host = Server::new(Arc::clone(&self.configuration), store);
                    tokio::spawn(serve(stream, host));
                }
                Err(error) => tracing::error!(%error, "a manual synchronization cannot be served"),
            },
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
                kept,
            } => {
                let partner = Partner {
                    address: SocketAddr::new(address, introduction.port).to_string(),
                    name: introduction.name.clone(),
                    key,
                    dials: false,
                    since_ms: self.configuration.now_ms(),
                };
                let outcome = self.pair_with(partner, &introduction, self.pair.role);
                if let Err(error) = &outcome {
                    tracing::error!(%error, "pairing failed");
                }
                let _ = kept.send(outcome.is_ok());
            }
        }
    }

    fn connect(&mut self, key: &PublicKey, stream: Box<dyn Stream>) {
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
        self.counts.connections += 1;
        self.trouble = None;
        let now = self.now();
        if let Some(session) = &mut self.session {
            session.connected(now, &mut self.host);
        }
    }

    /// Listens while there is another server, or may be one soon.
    async fn listen_as_needed(&mut self) {
        let wanted = self.pair.partner.is_some() || self.shown.until().is_some();
        if !wanted {
            self.listener = None;
        } else if self.listener.is_none()
            && let Err(error) = self.listen().await
        {
            self.trouble = Some(error.to_string());
        }
    }

    async fn listen(&mut self) -> Result<SocketAddr, PairingError> {
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

    fn receive(&mut self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            return;
        };
        let reception = Reception {
            key: self.key.clone(),
            known: self.known(),
            partner: self
                .pair
                .partner
                .iter()
                .map(|partner| partner.key.clone())
                .collect(),
            shown: self.shown.clone(),
            introduction: self.introduction(),
            established: self.established.0.clone(),
        };
        tokio::spawn(async move {
            reception.receive(stream).await;
            drop(permit);
        });
    }

    /// Who may connect now.
    fn known(&self) -> Vec<PublicKey> {
        let partner = self.pair.partner.as_ref().filter(|_| self.config().enabled);
        partner.iter().map(|partner| partner.key.clone()).collect()
    }

    fn introduction(&self) -> Introduction {
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

    async fn obey(&mut self, order: Order) {
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

    fn take_joined(&mut self, outcome: Joined) {
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
    fn pair_with(
        &mut self,
        partner: Partner,
        introduction: &Introduction,
        role: super::pair::Role,
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
        let pair = Pair {
            role,
            former: Some(partner.key.clone()),
            partner: Some(partner),
        };
        self.file.write(&pair).map_err(|error| kept(&error))?;
        tracing::info!(partner = ?pair.partner, ?role, epoch, "paired");
        self.notice(json!({"what": "paired", "with": introduction.name}));
        self.pair = pair;
        self.take_place();
        self.shown.take_away();
        self.begin_session();
        Ok(())
    }

    fn un_pair(&mut self) -> Result<Option<Partner>, PairingError> {
        let pair = Pair {
            partner: None,
            ..self.pair.clone()
        };
        let kept = |error: super::key::KeyError| PairingError::Kept(error.to_string());
        self.file.write(&pair).map_err(kept)?;
        let partner = self.pair.partner.take();
        self.pair = pair;
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

async fn arrived(connection: &mut Option<Connection>) -> Incoming {
    match connection {
        Some(connection) => {
            let arrived = connection.incoming.recv().await;
            arrived.unwrap_or_else(|| Incoming::Ended("the connection is over".into()))
        }
        None => std::future::pending().await,
    }
}

async fn accepted(listener: &Option<TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // No descriptors, most likely: others must end first.
            Err(_) => tokio::time::sleep(DIAL_AGAIN_MIN).await,
        }
    }
}

async fn joined(joining: &mut Option<Joining>) -> Joined {
    match joining {
        Some(joining) => match (&mut joining.task).await {
            Ok(outcome) => outcome,
            Err(_) => Err(PairingError::Ending),
        },
        None => std::future::pending().await,
    }
}

async fn has_room(outgoing: Option<mpsc::Sender<Vec<u8>>>) {
    if let Some(outgoing) = outgoing {
        let _ = outgoing.reserve().await;
    }
}
