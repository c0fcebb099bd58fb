//! One worker: a protocol core, a driver, and the files, turn by turn on one thread.

use std::sync::Arc;

use daybreak_tftp::Time;
use daybreak_tftp::endpoint::{Ended, Endpoint, Event, Outcome, Payload, Unsendable};

use crate::board::{Board, Sample};
use crate::boots::Boots;
use crate::clock::Clock;
use crate::files::Files;
use crate::io::{Content, Driver, SendError};
use crate::limits;
use crate::names::OwnName;
use crate::notice::{FileName, Notices, Told};
use crate::orders::{Order, Orders};
use crate::quiet::{Cause, Quiet};

/// What a worker shares with the process.
#[derive(Clone, Debug)]
pub struct Shared {
    /// What to do.
    pub orders: Arc<Orders>,
    /// Where it shows its numbers.
    pub board: Arc<Board>,
    /// What it may log.
    pub quiet: Arc<Quiet>,
    /// Its clock.
    pub clock: Clock,
    /// What it tells the journal.
    pub notices: Notices,
    /// What it tells the other workers, and they it.
    pub boots: Boots,
}

/// See the module.
#[derive(Debug)]
pub struct Worker<D> {
    driver: D,
    endpoint: Endpoint<Content>,
    files: Files,
    shared: Shared,
    send_errors: u64,
    /// When the last turn looked at the clock.
    looked: Time,
}

impl<D: Driver> Worker<D> {
    /// A worker that has not begun.
    pub fn new(driver: D, endpoint: Endpoint<Content>, files: Files, shared: Shared) -> Self {
        Worker {
            driver,
            endpoint,
            files,
            shared,
            send_errors: 0,
            looked: Time::ZERO,
        }
    }

    /// Serves until it is ordered to end, and has.
    ///
    /// # Errors
    /// The driver cannot work any more.
    pub async fn run(mut self) -> std::io::Result<()> {
        // Before anybody has asked: what it serves from is known.
        self.show();
        let result = self.serve().await;
        self.driver.close().await;
        self.show();
        result
    }

    async fn serve(&mut self) -> std::io::Result<()> {
        loop {
            self.turn().await?;
            match self.shared.orders.now() {
                Order::Serve => {}
                Order::Drain => {
                    self.endpoint.drain();
                    if self.endpoint.transfers_live() == 0 {
                        return Ok(());
                    }
                }
                Order::ShutDown => {
                    let now = self.shared.clock.now();
                    self.endpoint.shut_down(now);
                    self.send(now);
                    self.report(now);
                    return Ok(());
                }
            }
        }
    }

    async fn turn(&mut self) -> std::io::Result<()> {
        let Worker {
            driver,
            endpoint,
            files,
            shared,
            looked,
            ..
        } = self;
        let wake = endpoint.poll_timeout();
        let wake = wake.map(|at| at.max(*looked + limits::TIMER_GRAIN));
        // One reading of the clock for everything that one wake-up brought.
        let mut arrived = None;
        driver
            .turn(wake, &mut |path, datagram| {
                let now = *arrived.get_or_insert_with(|| {
                    let now = shared.clock.now();
                    while let Some(source) = shared.boots.next(now) {
                        endpoint.boot_has_begun(now, source);
                    }
                    now
                });
                endpoint.handle_datagram(now, path, datagram, files);
            })
            .await?;
        let now = shared.clock.now();
        *looked = now;
        files.refresh();
        while let Some(failure) = driver.next_failure() {
            if let Some(suppressed) = shared.quiet.lets(Cause::SendFailed, now) {
                let why = failure.error.name();
                let advice = failure.error.advice();
                tracing::error!(
                    why,
                    advice,
                    suppressed,
                    "transfer ends: its blocks cannot be sent"
                );
            }
            let why = match failure.error {
                SendError::TooBig => Unsendable::TooBig,
                _ => Unsendable::Unreadable,
            };
            endpoint.handle_send_failure(now, failure.transfer, why);
        }
        if endpoint
            .poll_timeout()
            .is_some_and(|timeout| timeout <= now)
        {
            endpoint.handle_timeout(now);
        }
        self.send(now);
        self.report(now);
        self.show();
        Ok(())
    }

    /// Queues what is to be sent, as far as there is room; the rest follows in the next turn.
    fn send(&mut self, now: Time) {
        while self.driver.has_room()
            && let Some(transmit) = self.endpoint.poll_transmit(now)
        {
            match transmit.payload {
                Payload::Packet(packet) => self.driver.send_packet(transmit.path, packet),
                Payload::Train(train) => self.driver.send_train(transmit.path, &train),
            }
        }
    }

    fn report(&mut self, now: Time) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Started { path, file, .. } => {
                    tracing::trace!(client = %path.remote, file = file.name(), "transfer started");
                    let name = file.name().as_bytes();
                    if OwnName::parse(name).is_some() {
                        let told = Told::Started(FileName::of(name));
                        self.shared.notices.tell(now, &path, told);
                    }
                }
                Event::Ended(ended) => {
                    report_end(&ended, &self.shared.quiet, now);
                    if ended.outcome == Outcome::Completed {
                        self.shared.boots.tell(now, ended.path.remote.ip());
                    }
                    let told = Told::Ended {
                        file: FileName::of(ended.file.name().as_bytes()),
                        outcome: ended.outcome,
                        octets: ended.bytes_acknowledged,
                        duration: ended.duration,
                    };
                    self.shared.notices.tell(now, &ended.path, told);
                }
            }
        }
        let send_errors = self.driver.counters().send_errors.iter().sum();
        if send_errors != self.send_errors {
            if let Some(suppressed) = self.shared.quiet.lets(Cause::SendErrors, now) {
                let classes = crate::io::SendError::ALL.map(crate::io::SendError::name);
                let counts = self.driver.counters().send_errors;
                tracing::warn!(?classes, ?counts, suppressed, "the kernel refused sends");
            }
            self.send_errors = send_errors;
        }
    }

    fn show(&self) {
        self.shared.board.show(&Sample {
            endpoint: self.endpoint.counters(),
            driver: self.driver.counters(),
            files: self.files.counters(),
            transfers_live: self.endpoint.transfers_live() as u64,
            generation: self.files.generation(),
        });
    }
}

/// The line of a transfer that ended. Ordinary ends are for those who look for them.
fn report_end(ended: &Ended<Content>, quiet: &Quiet, now: Time) {
    let client = ended.path.remote;
    let file = ended.file.name();
    let bytes = ended.bytes_acknowledged;
    let resent = ended.blocks_resent;
    let millis = u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX);
    match ended.outcome {
        Outcome::Completed => {
            if let Some(suppressed) = quiet.lets(Cause::Completed, now) {
                tracing::debug!(%client, file, bytes, resent, millis, suppressed, "transfer completed");
            }
        }
        Outcome::Probe => {
            if let Some(suppressed) = quiet.lets(Cause::Probe, now) {
                tracing::debug!(%client, file, suppressed, "size probe answered");
            }
        }
        Outcome::Unconfirmed => {
            if let Some(suppressed) = quiet.lets(Cause::Unconfirmed, now) {
                tracing::debug!(%client, file, bytes, resent, millis, suppressed, "transfer sent to its end; the last ACK is missing");
            }
        }
        Outcome::Replaced => {
            if let Some(suppressed) = quiet.lets(Cause::Replaced, now) {
                tracing::debug!(%client, file, bytes, millis, suppressed, "transfer replaced by a new request");
            }
        }
        Outcome::Aborted(code) => {
            if let Some(suppressed) = quiet.lets(Cause::Aborted, now) {
                let code = code.0;
                tracing::info!(%client, file, code, bytes, millis, suppressed, "transfer ended by its client");
            }
        }
        Outcome::TimedOut => {
            if let Some(suppressed) = quiet.lets(Cause::TimedOut, now) {
                tracing::info!(%client, file, bytes, resent, millis, suppressed, "transfer given up: the client is silent");
            }
        }
        Outcome::SendFailed | Outcome::ShutDown => {
            if let Some(suppressed) = quiet.lets(Cause::SendFailed, now) {
                let outcome = ended.outcome;
                tracing::warn!(%client, file, ?outcome, bytes, millis, suppressed, "transfer failed");
            }
        }
    }
}
