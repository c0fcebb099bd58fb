//! What must hold of what the servers say and report, and of both in the end.

use std::collections::BTreeMap;

use daybreak_sync::session::{Event as Told, Session, State};
use daybreak_sync::wire::Message;
use daybreak_sync::{ObjectKey, Row};
use daybreak_tests::world::prng::mix;

use super::disk::advertised;
use super::world::{Report, Server, World};
use super::{Check, Failure, check};

impl World {
    pub(crate) fn hear_events(&mut self, at: usize) -> Check {
        let lied = self.servers.iter().any(|server| server.disk.lied);
        let Some(session) = &mut self.servers[at].session else {
            return Ok(());
        };
        while let Some(event) = session.poll_event() {
            self.report.trace = mix(self.report.trace ^ format!("{event:?}").len() as u64);
            match event {
                Told::TailLost { .. } => {
                    self.report.tails_lost += 1;
                    check("S2", lied, || "a disk that never lied lost its tail".into())?;
                }
                Told::Unequal => {
                    check("S1", lied, || "heads are equal and rows are not".into())?;
                }
                Told::State(State::Comparing) => self.report.comparisons += 1,
                Told::Dropped { key, values } => {
                    check("S2", false, || format!("{values} values of {key} dropped"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Watches what a server says: S3, S8.
    pub(crate) fn watch(&mut self, at: usize, octets: &[u8]) -> Check {
        let message = Message::decode(octets, &(1..=2)).map_err(|malformed| Failure {
            monitor: "S14",
            what: malformed.to_string(),
        })?;
        let server = &mut self.servers[at];
        let disk = &server.disk;
        let honest = !disk.lied;
        if let Some((node, head)) = advertised(&message) {
            let durable = disk.durable.book.heads.of(node).unwrap_or_default();
            check("S3", !honest || head.position <= durable.position, || {
                format!(
                    "{} told of {head:?}, and its disk has {durable:?}",
                    disk.name
                )
            })?;
            if let Some((of, position)) = server.told.filter(|(of, _)| *of == node) {
                check("S3", !honest || head.position >= position, || {
                    format!("{of} went from {position} back to {}", head.position)
                })?;
            }
            server.told = Some((node, head.position));
        }
        if let Message::Ack { node, head } = message {
            let durable = disk.durable.book.heads.of(node).unwrap_or_default();
            check("S8", !honest || durable.position >= head.position, || {
                format!(
                    "{} acknowledged {head:?}, and its disk has {durable:?}",
                    disk.name
                )
            })?;
        }
        Ok(())
    }

    pub(crate) fn rows(&self, at: usize) -> BTreeMap<ObjectKey, Row> {
        let rows = self.servers[at].disk.database.rows.iter();
        let live = rows.filter(|(_, stored)| !stored.row.is_tombstone());
        live.map(|(key, stored)| (key.clone(), stored.row.clone()))
            .collect()
    }

    pub(crate) fn is_equal(&self) -> bool {
        let settled = |server: &Server| {
            let state = server.session.as_ref().map(Session::state);
            matches!(state, Some(State::InSync | State::Conflict { .. }))
        };
        let [a, b] = &self.servers;
        let heads = |server: &Server| server.disk.database.book.heads.clone();
        let whole = |server: &Server| {
            let images = server.disk.images.iter();
            server.disk.missing().is_empty()
                && images
                    .clone()
                    .all(|(hash, content)| *blake3::hash(&content.octets).as_bytes() == hash.0)
        };
        let sum = |server: &Server| server.disk.database.book.digest;
        let equal = settled(a) && settled(b) && heads(a) == heads(b) && sum(a) == sum(b);
        equal && whole(a) && whole(b)
    }

    pub(crate) fn unequal(&self) -> String {
        let say = |server: &Server| {
            let disk = &server.disk;
            let status = server.session.as_ref().map(Session::status);
            format!(
                "\n  {}: {:?}\n    missing images {:?}, damaged {:?}\n    {status:?}",
                disk.name,
                disk.database.book,
                disk.missing().len(),
                disk.damaged.len(),
            )
        };
        let rows = [self.rows(0), self.rows(1)];
        let only = |at: usize| {
            let other = &rows[1 - at];
            let mut only = rows[at].iter();
            only.find(|(key, row)| other.get(*key) != Some(row))
        };
        let [a, b] = &self.servers;
        let (a, b) = (say(a), say(b));
        format!(
            "not the same in time:{a}\n    {:?}{b}\n    {:?}",
            only(0),
            only(1)
        )
    }

    pub(crate) fn rest(mut self) -> Result<Report, Failure> {
        let (a, b) = (self.rows(0), self.rows(1));
        check("S1", a == b, || {
            let differs = a.iter().find(|(key, row)| b.get(*key) != Some(row));
            format!("rows differ: {differs:?}")
        })?;
        let [first, second] = &self.servers;
        let sums = [first, second].map(|server| server.disk.database.book.digest);
        check("S1", sums[0] == sums[1], || "sums differ".into())?;
        let lied = self.servers.iter().any(|server| server.disk.lied);
        // Deleted ones that one still remembers count, too.
        let mut all = a;
        for server in &self.servers {
            for (key, stored) in &server.disk.database.rows {
                all.entry(key.clone()).or_insert_with(|| stored.row.clone());
            }
        }
        self.observer.check(&all, lied)?;
        self.report.acknowledged = self.observer.acknowledged_count();
        self.report.conflicts = all
            .values()
            .filter(|row| row.conflicts().count() > 0)
            .count();
        self.report.images = self.servers[0].disk.images.len();
        self.report.equal_after = self.now.saturating_sub(self.plan.heal_at);
        Ok(self.report)
    }
}
