//! The loop of the link's thread: takes what happens, tells the session, does what it says.

mod connections;
mod licences;
mod notes;
mod orders;
mod replaced;
mod sightings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use daybreak_sync::host::HostError;
use daybreak_sync::limits::HORIZON;
use daybreak_sync::session::{Config, Event, Now, Session, State};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::connection::{Connection, Incoming};
use super::desk::Desk;
use super::handshake::{Established, Shown, Tie};
use super::host::Server;
use super::in_sync::InSync;
use super::key::{NodeKey, PublicKey};
use super::link::{Counts, LinkStatus, Order, Settings};
use super::pair::{Pair, PairFile, Partner};
use super::pairing::{Introduction, PairingError};
use super::replaced::Heard;
use super::sightings::{Hearer, Teller};
use super::told::{Telling, Told, ToldFile, is_beside};
use crate::backup::Backups;
use crate::configuration::Configuration;
use crate::events::EventRow;
use crate::licences::{Licences, Lookout};
use crate::limits::{
    DIAL_AGAIN_MAX, DIAL_AGAIN_MIN, DIAL_AGAIN_REFUSED, HANDSHAKES_MAX, IMAGES_LOOKED_AT,
    LICENCES_LOOK, LINK_LINGERS, OLD_DELETES_LOOKED_AT, REPLACED_EVENTS,
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
    Returned(Heard),
    Room,
    Time,
}

struct Joining {
    task: JoinHandle<Joined>,
    address: String,
    tie: Tie,
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
    licences: Arc<Licences>,
    lookout: Arc<Lookout>,
    backups: Arc<Backups>,
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
    /// What the other server told last of its licences, and where that is kept.
    told_of_licences: Option<Told>,
    told_file: ToldFile,
    in_sync: InSync,
    /// Whether operators were told last that both have the same licences.
    told_of_agreement: Option<bool>,
    /// What it was told of the licences of this one, by this connection; it may have to be told more.
    telling: Option<Telling>,
    licences_due: bool,
    /// Licences that the other server has for both, and that are refused here so far.
    offered: Vec<String>,
    /// How often it told of its licences, of late.
    tellings: u32,
    /// Who was seen when: told to the other server while it listens, and heard of it.
    sightings: (Teller, Hearer),
    sightings_at: Instant,
    /// By which clock it was told last.
    sightings_by: Option<(u64, Instant)>,

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
    /// Servers that were replaced, and are heard; and what they say.
    returned: Vec<(PublicKey, AbortHandle)>,
    heard: (mpsc::Sender<Heard>, mpsc::Receiver<Heard>),
    replaced_at: Instant,
    dialing: bool,
    dial_at: Instant,
    dial_wait: Duration,
    /// Whether operators want it; and, where they have just switched it off, when it ends at the latest, and up to which
    /// write of this server the other one is still told.
    wanted: bool,
    ends: Option<(Instant, u64)>,
    images_at: Instant,
    licences_at: Instant,
    deletes_at: Instant,
    trouble: Option<String>,
    counts: Counts,
}

impl Driver {
    pub(super) fn new(
        (settings, host): (Settings, Server),
        (configuration, licences, lookout, backups): (
            Arc<Configuration>,
            Arc<Licences>,
            Arc<Lookout>,
            Arc<Backups>,
        ),
        (key, file, pair): (NodeKey, PairFile, Pair),
        (status, changed): (Arc<ArcSwap<LinkStatus>>, Arc<Notify>),
        (tells, desk): (Tells, Arc<Desk>),
    ) -> Self {
        let now = Instant::now();
        let told_of_agreement = licences.known().status.agreement.agrees();
        let keys = settings.data.join("keys");
        let (told_file, in_sync) = (ToldFile::of(&keys), InSync::of(&keys));
        let wanted = configuration.site().synchronization().enabled;
        let mut driver = Driver {
            settings,
            configuration,
            licences,
            lookout,
            backups,
            host,
            key,
            file,
            told_of_licences: told_file.read(&pair),
            told_file,
            in_sync,
            pair,
            status,
            changed,
            tells,
            desk,
            told: "disconnected",
            told_of_agreement,
            telling: None,
            licences_due: false,
            offered: Vec::new(),
            tellings: 0,
            sightings: Default::default(),
            sightings_at: now,
            sightings_by: None,
            start: now,
            session: None,
            connection: None,
            blocked: false,
            listener: None,
            shown: Shown::default(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            established: mpsc::channel(1),
            joining: None,
            returned: Vec::new(),
            heard: mpsc::channel(REPLACED_EVENTS),
            replaced_at: now,
            dialing: false,
            dial_at: now,
            dial_wait: DIAL_AGAIN_MIN,
            wanted,
            ends: None,
            images_at: now,
            licences_at: now,
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
            self.dial_replaced();
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
                    if Telling::is_one(&message) {
                        self.hear_licences(&message);
                    } else if is_beside(&message) {
                        self.hear_sightings(&message);
                    } else if let Some(session) = &mut self.session {
                        session.handle(now, &message, &mut self.host);
                    }
                }
                Happening::Arrived(Incoming::Ended(why)) => self.disconnect(Some(why)),
                Happening::Established(outcome) => self.take_established(outcome),
                Happening::Accepted(stream) => self.receive(stream),
                Happening::Joined(outcome) => self.take_joined(outcome),
                Happening::Returned(heard) => self.take_returned(heard),
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
            Some(heard) = self.heard.1.recv() => Happening::Returned(heard),
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
        let speaks = self.session.as_ref().filter(|_| !self.blocked);
        let speaks = speaks.and_then(Session::speaks_at);
        let session = session
            .into_iter()
            .chain(speaks)
            .map(|time| self.start + time)
            .min();
        let dial =
            (self.dials() && self.connection.is_none() && !self.dialing).then_some(self.dial_at);
        let code = self.shown.until().map(|(until, _)| until);
        let images = self.session.is_some().then_some(self.images_at);
        let offered = (!self.offered.is_empty()).then_some(self.licences_at);
        let times = [
            session,
            offered,
            dial,
            code,
            images,
            self.ends.map(|(at, _)| at),
            self.dials_replaced().then_some(self.replaced_at),
            self.tells_sightings_at(),
            Some(self.deletes_at),
        ];
        times.into_iter().flatten().min().unwrap_or(self.deletes_at)
    }

    fn dials(&self) -> bool {
        let partner = self.pair.partner.as_ref();
        // Switched off, too: the other one is to know that it is.
        partner.is_some_and(|partner| partner.dials)
    }

    fn config(&self) -> Config {
        let wanted = self.configuration.site().synchronization();
        Config {
            enabled: wanted.enabled || self.ends.is_some(),
            mode: self.configuration.site().entitlement().redundancy.into(),
            role: self.pair.role.into(),
            name: self.settings.name.clone(),
            software: env!("CARGO_PKG_VERSION").into(),
            rate: wanted.image_bytes_per_second,
            ..Config::default()
        }
    }

    /// A session, if there is another server.
    fn begin_session(&mut self) {
        self.disconnect(None);
        self.end_returned();
        self.session = None;
        if self.pair.partner.is_none() {
            return;
        }
        match Session::new(self.config(), &mut self.host) {
            Ok(mut session) => {
                if let Some(at_ms) = self.in_sync.read(&self.pair) {
                    session.was_in_sync(at_ms);
                }
                self.session = Some(session);
            }
            Err(error) => self.trouble = Some(error.to_string()),
        }
        let now = Instant::now();
        (self.dial_at, self.images_at, self.dial_wait) = (now, now, DIAL_AGAIN_MIN);
    }

    fn look_at_configuration(&mut self) {
        let (now, time) = (self.now(), Instant::now());
        for (key, values) in self.configuration.take_dropped() {
            self.take_note(Event::Dropped { key, values });
        }
        if let Some(session) = &mut self.session {
            session.changed(now, &mut self.host);
        }
        let wanted = self.configuration.site().synchronization().enabled;
        let before = std::mem::replace(&mut self.wanted, wanted);
        if wanted {
            self.ends = None;
            if !before {
                (self.dial_at, self.dial_wait) = (time, DIAL_AGAIN_MIN);
            }
        } else if before && self.connection.is_some() {
            // That it is switched off is a change, too, which the other server is still told.
            let head = self.session.as_ref().map(Session::status);
            self.ends = head.map(|status| (time + LINK_LINGERS, status.head.position));
        }
        self.take_place();
        self.licences_due = true;
        let config = self.config();
        if let Some(session) = &mut self.session {
            session.configure(now, config);
        }
    }

    /// Switched off: it ends once the other server knows.
    fn end_if_told(&mut self) {
        let Some((at, head)) = self.ends else {
            return;
        };
        let status = self.session.as_ref().map(Session::status);
        let told = status.is_none_or(|status| {
            status.confirmed.position >= head || status.state == State::DisabledThere
        });
        if told || Instant::now() >= at {
            self.ends = None;
            self.look_at_configuration();
        }
    }

    fn look_at_time(&mut self) {
        let (now, time) = (self.now(), Instant::now());
        if let Some(session) = &mut self.session {
            session.handle_timeout(now, &mut self.host);
        }
        if self.session.is_some() && (time >= self.images_at || self.host.has_lost()) {
            self.images_at = time + IMAGES_LOOKED_AT;
            self.tellings = 0;
            self.sightings.1.heard = 0;
            self.want_missing();
        }
        if time >= self.licences_at {
            self.licences_at = time + LICENCES_LOOK;
            self.take_offered(|_| false);
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
        self.end_if_told();
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
        self.tell_licences();
        self.tell_sightings();
        let mut came = false;
        while let Some(event) = self.session.as_mut().and_then(Session::poll_event) {
            came |= matches!(event, Event::Applied { .. } | Event::Fetched(_));
            self.take_note(event);
        }
        if came {
            (self.tells.published)();
        }
        let closes = self.session.as_ref().is_some_and(Session::wants_close);
        let unheard = self.session.as_ref().is_some_and(Session::is_unheard);
        if closes && (unheard || !self.blocked) {
            let refused = self.session.as_ref().map(Session::state);
            self.disconnect(None);
            if matches!(
                refused,
                Some(
                    State::Refused(_)
                        | State::IncompatibleVersion
                        | State::Disabled
                        | State::DisabledThere
                )
            ) {
                self.dial_at = Instant::now() + DIAL_AGAIN_REFUSED;
            }
        }
    }

    fn show(&mut self) {
        self.note_in_sync(false);
        let session = self.session.as_ref().map(Session::status);
        let connected = self.connection.is_some();
        let licences = self.licences.known().status.agreement.clone();
        self.tell_of_agreement(&licences);
        self.status.store(Arc::new(LinkStatus {
            fingerprint: self.key.public().fingerprint(),
            name: self.settings.name.clone(),
            pair: self.pair.clone(),
            listening: self.listening(),
            code_until_ms: self.shown.until().map(|(_, until_ms)| until_ms),
            session,
            licences,
            trouble: self.trouble.clone().filter(|_| !connected),
            counts: self.counts,
        }));
    }

    fn note_in_sync(&mut self, soon: bool) {
        let last = self.session.as_ref().and_then(Session::last_in_sync_ms);
        if let Some(at_ms) = last {
            self.in_sync.note(&self.pair, at_ms, soon);
        }
    }

    fn listening(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    fn disconnect(&mut self, why: Option<String>) {
        if self.connection.take().is_some() {
            self.note_in_sync(true);
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
