//! The connection between the two: in order, nothing lost within itself, and gone at any time.

use std::time::Duration;

use daybreak_sync::session::Session;
use daybreak_sync::wire::Frames;

use super::Check;
use super::world::{CONNECT_EVERY, Event, Parcel, World};

impl World {
    pub(crate) fn is_cut(&self, from: usize) -> bool {
        let mut partitions = self.plan.partitions.iter();
        !self.healed
            && partitions
                .any(|partition| partition.cuts[from] && partition.time.contains(&self.now))
    }

    pub(crate) fn connect(&mut self) -> Check {
        self.schedule(self.now + CONNECT_EVERY, Event::Connect);
        let up = self.servers.iter().all(|server| server.session.is_some());
        let wanting = self
            .servers
            .iter()
            .any(|server| server.connection.is_none());
        if !up || !wanting || self.is_cut(0) || self.is_cut(1) {
            return Ok(());
        }
        self.connection += 1;
        self.under_way = Default::default();
        for at in 0..2 {
            self.servers[at].connection = Some(self.connection);
            self.servers[at].frames = Frames::default();
        }
        for at in 0..2 {
            if self.servers[at].connection == Some(self.connection) {
                self.with(at, Session::connected)?;
            }
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, from: usize, parcel: Parcel) {
        let Some(connection) = self.servers[from].connection else {
            return;
        };
        let delay = self.dice.time(self.plan.delay.start, self.plan.delay.end);
        let last = self.under_way[from].back().map(|(at, _)| *at);
        let arrives = (self.now + delay).max(last.unwrap_or_default());
        self.under_way[from].push_back((arrives, parcel));
        self.schedule(arrives, Event::Flow(from, connection));
    }

    pub(crate) fn flow(&mut self, from: usize, connection: u64) -> Check {
        if connection != self.connection {
            return Ok(());
        }
        if self.is_cut(from) {
            // It is sent again, later.
            self.schedule(
                self.now + Duration::from_millis(150),
                Event::Flow(from, connection),
            );
            return Ok(());
        }
        let to = 1 - from;
        while let Some((_, parcel)) = self.arrived(from) {
            if self.servers[to].connection != Some(connection) {
                continue;
            }
            match parcel {
                Parcel::End => self.disconnect(to)?,
                Parcel::Octets(octets) => {
                    self.report.trace = octets
                        .iter()
                        .take(64)
                        .fold(self.report.trace, |trace, octet| {
                            trace.rotate_left(5) ^ u64::from(*octet)
                        });
                    self.servers[to].frames.push(&octets);
                    while let Ok(Some(message)) = self.servers[to].frames.pop() {
                        self.with(to, |session, now, disk| session.handle(now, &message, disk))?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn arrived(&mut self, from: usize) -> Option<(Duration, Parcel)> {
        let now = self.now;
        let parcels = &mut self.under_way[from];
        parcels
            .front()
            .is_some_and(|(at, _)| *at <= now)
            .then(|| parcels.pop_front())?
    }

    /// The server ends the connection; the other sees that when all before it has arrived.
    pub(crate) fn close(&mut self, at: usize) -> Check {
        self.send(at, Parcel::End);
        self.disconnect(at)
    }

    pub(crate) fn disconnect(&mut self, at: usize) -> Check {
        self.servers[at].connection = None;
        self.with(at, |session, now, _| session.disconnected(now))
    }

    pub(crate) fn cut(&mut self, silent: bool) -> Check {
        self.under_way = Default::default();
        if silent {
            // Neither sees it; both will wonder.
            self.connection += 1;
            return Ok(());
        }
        for at in 0..2 {
            if self.servers[at].connection.is_some() {
                self.disconnect(at)?;
            }
        }
        Ok(())
    }
}
