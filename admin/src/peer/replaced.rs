//! A server of this pair that was replaced, and is back: it hands over what only it knows, and is told that it was replaced.
//!
//! It is known by the key that it had as a partner, and nobody else is heard so. What it changed alone becomes conflicts, never
//! in force by itself; it is given nothing of this server's. The session is its own, beside the one with the partner, on the same
//! database: it ends when the connection does, and is bounded in time and in what it may bring.

use std::sync::Arc;

use daybreak_sync::session::{Config, Event, Now, Session};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connection::{Connection, Incoming};
use super::handshake::Stream;
use super::host::Server;
use super::told::is_beside;
use crate::configuration::Configuration;
use crate::limits::{REPLACED_LASTS, REPLACED_OBJECTS_MAX};

/// What came of it.
pub(super) struct Heard {
    /// As it called itself.
    pub(super) name: String,
    pub(super) event: Event,
}

/// Hears what `name` has to say, until it ends the connection or nothing more is wanted of it.
pub(super) async fn hear(
    (name, stream): (String, Box<dyn Stream>),
    (mut host, config): (Server, Config),
    configuration: Arc<Configuration>,
    tell: mpsc::Sender<Heard>,
) {
    let start = Instant::now();
    let now = || Now {
        time: start.elapsed(),
        wall_ms: configuration.now_ms(),
    };
    let config = Config {
        replaced: true,
        ..config
    };
    let mut session = match Session::new(config, &mut host) {
        Ok(session) => session,
        Err(error) => return tracing::error!(%error, name, "a replaced server cannot be heard"),
    };
    let mut connection = Connection::start(stream);
    session.connected(now(), &mut host);
    let mut objects_left = REPLACED_OBJECTS_MAX;
    loop {
        while let Some(message) = session.poll_transmit(now(), &mut host) {
            if connection.outgoing.send(message).await.is_err() {
                return;
            }
        }
        while let Some(event) = session.poll_event() {
            if let Event::Applied { objects } = event {
                objects_left = objects_left.saturating_sub(objects);
            }
            let name = name.clone();
            if tell.send(Heard { name, event }).await.is_err() {
                return;
            }
        }
        if objects_left == 0 {
            return tracing::error!(
                name,
                "a replaced server has too much to say and is not heard any more"
            );
        }
        if session.wants_close() || start.elapsed() >= REPLACED_LASTS {
            return;
        }
        let deadline = start
            + session
                .poll_timeout()
                .unwrap_or(REPLACED_LASTS)
                .min(REPLACED_LASTS);
        tokio::select! {
            arrived = connection.incoming.recv() => match arrived {
                Some(Incoming::Message(message)) if is_beside(&message) => {}
                Some(Incoming::Message(message)) => session.handle(now(), &message, &mut host),
                Some(Incoming::Ended(_)) | None => return,
            },
            () = tokio::time::sleep_until(deadline) => session.handle_timeout(now(), &mut host),
        }
    }
}
