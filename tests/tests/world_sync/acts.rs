//! What operators and fate do to a server.

use std::collections::BTreeSet;
use std::time::Duration;

use daybreak_sync::host::{Write, edited, resolved};
use daybreak_sync::session::{Config, Session};
use daybreak_sync::{Body, ObjectKey};
use daybreak_tests::world::prng::mix;

use super::disk::{Database, Stored};
use super::observer::{Ident, ident};
use super::world::{Event, Parcel, SCRUB_EVERY, World};
use super::{Check, check};

impl World {
    pub(crate) fn die(&mut self, at: usize, power: bool, down: Duration) -> Check {
        if self.servers[at].session.take().is_none() {
            return Ok(());
        }
        self.report.deaths += 1;
        let disk = &mut self.servers[at].disk;
        let before = values_of(&disk.database);
        if disk.restart(power) {
            let left = values_of(&disk.database);
            self.observer.lost(&before, &left);
            self.servers[at].told = None;
        }
        // A process that dies ends its connections; a machine without power says nothing.
        if !power {
            self.send(at, Parcel::End);
        }
        self.servers[at].connection = None;
        self.schedule(self.now + down, Event::Birth(at));
        Ok(())
    }

    pub(crate) fn birth(&mut self, at: usize) -> Check {
        if self.servers[at].session.is_some() {
            return Ok(());
        }
        self.touch(at);
        let server = &mut self.servers[at];
        let config = Config {
            name: server.disk.name.into(),
            versions: server.plan.versions.clone(),
            rate: server.plan.rate,
            ..Config::default()
        };
        let session = Session::new(config, &mut server.disk);
        server.session = Some(session.expect("reading does not fail"));
        self.want_missing(at)
    }

    pub(crate) fn want_missing(&mut self, at: usize) -> Check {
        let disk = &self.servers[at].disk;
        let wanted: Vec<_> = disk
            .missing()
            .into_iter()
            .chain(disk.damaged.iter().copied())
            .collect();
        for image in wanted {
            self.with(at, |session, now, disk| {
                session.want_image(now, image, disk);
            })?;
        }
        Ok(())
    }

    pub(crate) fn scrub(&mut self, at: usize) -> Check {
        self.schedule(self.now + SCRUB_EVERY, Event::Scrub(at));
        self.servers[at].disk.scrub();
        self.want_missing(at)
    }

    /// One image that the other has, too, and whole, is damaged on one of them.
    pub(crate) fn rot(&mut self) {
        let at = self.dice.count(0, 1);
        let [here, there] = [&self.servers[at].disk, &self.servers[1 - at].disk];
        let both = here.images.iter().filter(|(hash, content)| {
            let other = there.images.get(*hash);
            other.is_some_and(|other| other.octets == content.octets && !content.octets.is_empty())
        });
        let both: Vec<_> = both.map(|(hash, _)| *hash).collect();
        if both.is_empty() {
            return;
        }
        let hash = both[self.dice.count(0, both.len() - 1)];
        let place = self.dice.word();
        self.servers[at].disk.rot(hash, place);
    }

    pub(crate) fn edit(&mut self, at: usize) -> Check {
        if self.healed {
            self.edits_left = self.edits_left.saturating_sub(1);
        }
        if self.servers[at].session.is_none() {
            return Ok(());
        }
        let now = self.touch(at);
        self.serial += 1;
        let number = self.dice.below(self.plan.objects);
        let kind = ["terminal", "setting"][(number % 2) as usize];
        let key = ObjectKey::parse(kind, &format!("{number}")).expect("a key");
        let mut images = Vec::new();
        if self.dice.chance(self.plan.images) {
            let len = self.dice.count(0, self.plan.image_bytes_max);
            let fill = self.dice.word();
            let octets = (0..len as u64).map(|at| (mix(fill ^ (at / 8)) >> (at % 8)) as u8);
            let Ok(image) = self.servers[at].disk.upload(octets.collect()) else {
                return self.after(at);
            };
            images.push(image);
        }
        let body = Body {
            octets: self.serial.to_be_bytes().into(),
            images: images.into(),
        };
        let choice = self.dice.below(10);
        let before = self.servers[at]
            .disk
            .database
            .rows
            .get(&key)
            .map(|stored| stored.row.clone());
        let conflict = before
            .as_ref()
            .is_some_and(|row| row.conflicts().count() > 0);
        let exists = before.as_ref().is_some_and(|row| row.body().is_some());
        if choice < 2 && !exists {
            return Ok(());
        }
        let observer = &mut self.observer;
        let disk = &mut self.servers[at].disk;
        let mut made = None;
        let outcome = disk.commit(|database| {
            let last = database.clock.last();
            let stamp = database.clock.stamp(now.wall_ms);
            let book = &mut database.book;
            let write = match (&before, choice) {
                (before, 0..2) => edited(book, before.as_ref(), &key, stamp, None).0,
                (Some(row), 2..6) if conflict => resolved(book, row, stamp, Some(body)),
                (before, _) => edited(book, before.as_ref(), &key, stamp, Some(body)).0,
            };
            let Write::Put { row, .. } = &write else {
                unreachable!("an edit writes")
            };
            made = Some((observer.attempts(before.as_ref(), row), stamp > last));
            database.write(write, now.time);
        });
        if let Some((made, later)) = made {
            check("S11", later, || "a stamp that is not later".into())?;
            if outcome.is_ok() {
                self.observer.acknowledged(&made);
            }
        }
        self.with(at, Session::changed)
    }
}

fn values_of(database: &Database) -> BTreeSet<Ident> {
    let values = |stored: &Stored| stored.row.values().iter().map(ident).collect::<Vec<_>>();
    database.rows.values().flat_map(values).collect()
}
