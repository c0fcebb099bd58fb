//! The whole configuration in memory: one immutable state, shared by whoever reads.
//!
//! A change makes the next state beside it, so that a reader never waits and never sees half a change. What a merge of
//! two servers may bring (a name twice, a reference that leads nowhere) can be held here, too: finding it is
//! the business of [`crate::publish`], which lists it as a problem.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use daybreak_store::{ImageHash, Name};
use daybreak_sync::limits::IMAGES_OF_A_BODY_MAX;
use daybreak_sync::{ImageRef, ObjectKey, Row};

use crate::file::{self, File};
use crate::kind::{
    Body, Fault, Kind, MacAddress, Role, Setting, Synchronization, TerminalGroup, User,
};
use crate::licensing::Entitlement;
use crate::limits::EVENT_DAYS;
use crate::object::{Id, Object};
use crate::security::{BuiltInRole, Digest, Rights};

/// One state of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Site {
    tables: [Arc<Table>; Kind::ALL.len()],
    // The terminals that name a card: more than one only after a merge. The first in order has it.
    macs: Arc<BTreeSet<(MacAddress, Id)>>,
    // API keys by the hash of their secret.
    keys: Arc<BTreeMap<[u8; 32], Id>>,
    // Files, by the identifier of their objects.
    files: Arc<BTreeMap<Id, File>>,
    change: u64,
    // Terminals that hold a seat.
    seats: u64,
    entitlement: Entitlement,
}

/// A file that terminals can ask for, and that is stored as an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Its image.
    pub hash: ImageHash,
    /// The length of that.
    pub len: u64,
}

/// What becomes of a file with a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Its name.
    pub name: Name,
    /// What it is in the catalog.
    pub before: Option<StoredFile>,
    /// What it will be; nothing: it is removed. The same: its image, which was lost, is back.
    pub after: Option<StoredFile>,
}

/// The objects of one kind.
#[derive(Clone, Debug, Default)]
pub struct Table {
    objects: BTreeMap<Id, Arc<Object>>,
    // By name without regard to case, then by identifier. With the object: a list of thousands looks none of them up.
    names: BTreeMap<(Arc<str>, Id), Arc<Object>>,
}

impl Table {
    /// The object of this identifier.
    #[must_use]
    pub fn object(&self, id: &Id) -> Option<&Arc<Object>> {
        self.objects.get(id)
    }

    /// All of them, by identifier.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// All of them, by name without regard to case.
    pub fn by_name(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.names.values()
    }

    /// All of them in the same order, each with its name in lower case.
    pub fn folded_names(&self) -> impl Iterator<Item = (&str, &Arc<Object>)> {
        let names = self.names.iter();
        names.map(|((folded, _), object)| (&**folded, object))
    }

    /// Those of this name, without regard to case.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Id> {
        let folded: Arc<str> = folded(name);
        let lowest = Id::parse("-").expect("the lowest identifier");
        let named = self.names.range((Arc::clone(&folded), lowest)..);
        named
            .map(|(key, _)| key)
            .take_while(move |(name, _)| *name == folded)
            .map(|(_, id)| id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

fn folded(name: &str) -> Arc<str> {
    name.to_lowercase().into()
}

impl Site {
    /// The state after the write number `change` of this server, made of `rows`.
    #[must_use]
    pub fn of(rows: &[Row], change: u64) -> Self {
        let mut site = Site::default();
        rows.iter().for_each(|row| site.hold(row));
        site.change = change;
        site
    }

    /// The number of this server's last write in it, be it an edit or a merge.
    #[must_use]
    pub fn change(&self) -> u64 {
        self.change
    }

    /// How many terminals hold a seat.
    #[must_use]
    pub fn seats(&self) -> u64 {
        self.seats
    }

    /// What the licences of this server allow.
    #[must_use]
    pub fn entitlement(&self) -> &Entitlement {
        &self.entitlement
    }

    /// The objects of a kind. The same allocation as in an earlier state tells that none of them changed.
    #[must_use]
    pub fn table(&self, kind: Kind) -> &Arc<Table> {
        &self.tables[kind.index()]
    }

    /// One object.
    #[must_use]
    pub fn object(&self, kind: Kind, id: &Id) -> Option<&Arc<Object>> {
        self.table(kind).object(id)
    }

    /// The files, by the identifiers of their objects. The same allocation as in an earlier state tells that none changed.
    #[must_use]
    pub fn files(&self) -> &Arc<BTreeMap<Id, File>> {
        &self.files
    }

    /// The images of the files beneath a folder, which ends with `/`; in the order of their objects, and no more than one
    /// object may name.
    #[must_use]
    pub fn images_beneath(&self, folder: &str) -> Vec<ImageRef> {
        let files = self.files.values();
        let inside = files.filter(|file| file.name.as_str().starts_with(folder));
        inside
            .map(|file| file.image)
            .take(IMAGES_OF_A_BODY_MAX)
            .collect()
    }

    /// How the pair is kept the same.
    #[must_use]
    pub fn synchronization(&self) -> Synchronization {
        let id = Id::parse("synchronization").expect("a key");
        match self.object(Kind::Setting, &id).map(|object| &object.body) {
            Some(Body::Setting(Setting::Synchronization(wanted))) => *wanted,
            _ => Synchronization::default(),
        }
    }

    /// Days for which events are kept.
    #[must_use]
    pub fn event_days(&self) -> u16 {
        let id = Id::parse("event-days").expect("a key");
        match self.object(Kind::Setting, &id).map(|object| &object.body) {
            Some(Body::Setting(Setting::EventDays(days))) => *days,
            _ => EVENT_DAYS,
        }
    }

    /// Days after which a terminal that nobody saw may lose its seat; none: never.
    #[must_use]
    pub fn seat_days(&self) -> Option<u16> {
        let id = Id::parse(Setting::SEAT_DAYS).expect("a key");
        match self.object(Kind::Setting, &id).map(|object| &object.body) {
            Some(Body::Setting(Setting::SeatDays(days))) => Some(*days),
            _ => None,
        }
    }

    /// All objects.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.tables.iter().flat_map(|table| table.objects())
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| table.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The terminals that name this card. The first of them has it.
    pub fn terminals_with(&self, mac: MacAddress) -> impl Iterator<Item = &Id> {
        let lowest = Id::parse("-").expect("the lowest identifier");
        let found = self.macs.range((mac, lowest)..);
        found
            .take_while(move |(other, _)| *other == mac)
            .map(|(_, id)| id)
    }

    /// Cards that several terminals name: the card, who has it, and another one.
    pub fn cards_named_twice(&self) -> impl Iterator<Item = (MacAddress, &Id, &Id)> {
        let later = self.macs.iter().skip(1);
        let pairs = self
            .macs
            .iter()
            .zip(later)
            .filter(|(one, next)| one.0 == next.0);
        pairs.filter_map(|(_, (mac, other))| Some((*mac, self.terminals_with(*mac).next()?, other)))
    }

    /// The terminal group of this identifier.
    #[must_use]
    pub fn group(&self, id: &Id) -> Option<&TerminalGroup> {
        match &self.object(Kind::TerminalGroup, id)?.body {
            Body::TerminalGroup(group) => Some(group),
            _ => None,
        }
    }

    /// The user of this identifier.
    #[must_use]
    pub fn user(&self, id: &Id) -> Option<&User> {
        match &self.object(Kind::User, id)?.body {
            Body::User(user) => Some(user),
            _ => None,
        }
    }

    /// The API key whose secret has this hash.
    #[must_use]
    pub fn key_of(&self, digest: &Digest) -> Option<&Arc<Object>> {
        self.object(Kind::ApiKey, self.keys.get(digest.as_bytes())?)
    }

    /// What a role allows; nothing, if there is no such role.
    #[must_use]
    pub fn rights_of_role(&self, id: &Id) -> Rights {
        if let Some(role) = BuiltInRole::of(id) {
            return role.rights();
        }
        match self.object(Kind::Role, id).map(|object| &object.body) {
            Some(Body::Role(Role { rights, .. })) => rights.clone(),
            _ => Rights::new(),
        }
    }

    /// What a user's roles allow, all together.
    #[must_use]
    pub fn rights_of_user(&self, user: &User) -> Rights {
        user.roles
            .iter()
            .flat_map(|role| self.rights_of_role(role))
            .collect()
    }

    /// The users that may log in and do everything.
    pub fn administrators(&self) -> impl Iterator<Item = &Id> {
        let everything = BuiltInRole::Administrator.rights().len();
        self.table(Kind::User)
            .objects()
            .filter_map(move |object| match &object.body {
                Body::User(user)
                    if user.enabled
                        && user.verifier.is_some()
                        && self.rights_of_user(user).len() == everything =>
                {
                    Some(&object.id)
                }
                _ => None,
            })
    }

    pub(crate) fn set_entitlement(&mut self, entitlement: Entitlement) {
        self.entitlement = entitlement;
    }

    pub(crate) fn set_change(&mut self, change: u64) {
        self.change = change;
    }

    /// Holds what this row says, in place of what was there. What this version does not understand (a newer server made
    /// it) is left out, and stays in the database.
    pub(crate) fn hold(&mut self, row: &Row) {
        let Ok(id) = Id::parse(row.key.id()) else {
            return;
        };
        if row.key.kind() == file::KIND {
            match row.body().and_then(File::of) {
                Some(file) => drop(Arc::make_mut(&mut self.files).insert(id, file)),
                None => self.drop_file(&id),
            }
            return;
        }
        let Some(kind) = Kind::of_word(row.key.kind()) else {
            tracing::warn!(object = %row.key, "another version's object is kept and not used");
            return;
        };
        match row.body().map(|body| read(kind, body)) {
            None => self.remove(kind, &id),
            Some(Ok(body)) => self.put(Arc::new(Object {
                id,
                body: with_merged_seat(body, row),
                version: row.version.clone(),
                stamp: row.values()[0].stamp,
            })),
            Some(Err(error)) => {
                tracing::warn!(object = %row.key, %error, "an object is kept and not used");
                self.remove(kind, &id);
            }
        }
    }

    /// There is no such row any more.
    pub(crate) fn let_go(&mut self, key: &ObjectKey) {
        let Ok(id) = Id::parse(key.id()) else {
            return;
        };
        match Kind::of_word(key.kind()) {
            Some(kind) => self.remove(kind, &id),
            None => self.drop_file(&id),
        }
    }

    fn drop_file(&mut self, id: &Id) {
        if self.files.contains_key(id) {
            Arc::make_mut(&mut self.files).remove(id);
        }
    }

    /// Adds or replaces.
    pub(crate) fn put(&mut self, object: Arc<Object>) {
        let kind = object.kind();
        self.remove(kind, &object.id);
        match &object.body {
            Body::Terminal(terminal) => {
                let macs = Arc::make_mut(&mut self.macs);
                macs.extend(terminal.macs.iter().map(|mac| (*mac, object.id.clone())));
                self.seats += u64::from(terminal.seat.is_held());
            }
            Body::ApiKey(key) => {
                let digest = key.digest.iter();
                Arc::make_mut(&mut self.keys)
                    .extend(digest.map(|digest| (*digest.as_bytes(), object.id.clone())));
            }
            _ => {}
        }
        let table = Arc::make_mut(&mut self.tables[kind.index()]);
        let name = (folded(object.body.name()), object.id.clone());
        table.names.insert(name, Arc::clone(&object));
        table.objects.insert(object.id.clone(), object);
    }

    /// Removes, if it is there.
    pub(crate) fn remove(&mut self, kind: Kind, id: &Id) {
        if self.object(kind, id).is_none() {
            return;
        }
        let table = Arc::make_mut(&mut self.tables[kind.index()]);
        let Some(object) = table.objects.remove(id) else {
            return;
        };
        table
            .names
            .remove(&(folded(object.body.name()), id.clone()));
        match &object.body {
            Body::Terminal(terminal) => {
                let macs = Arc::make_mut(&mut self.macs);
                for mac in &terminal.macs {
                    macs.remove(&(*mac, id.clone()));
                }
                self.seats -= u64::from(terminal.seat.is_held());
            }
            Body::ApiKey(key) => {
                if let Some(digest) = &key.digest {
                    Arc::make_mut(&mut self.keys).remove(digest.as_bytes());
                }
            }
            _ => {}
        }
    }
}

/// Where a terminal was changed on both servers, the later statement about its seat holds, whichever value is in force: so an edit that
/// knew nothing of it neither takes a seat away nor brings one back. Also when somebody chooses ([`crate::configuration`]).
fn with_merged_seat(mut body: Body, row: &Row) -> Body {
    if let Body::Terminal(terminal) = &mut body {
        // What comes late, of a server that was replaced, says nothing.
        for value in row.conflicts().filter(|value| !value.late) {
            let other = value.body.as_ref().map(|body| read(Kind::Terminal, body));
            if let Some(Ok(Body::Terminal(other))) = other {
                terminal.seat = terminal.seat.merged(other.seat);
            }
        }
        // Switched off by the value in force: it holds none, on either server.
        terminal.seat = terminal.seat.settled(terminal.enabled, false, 0);
    }
    body
}

/// What an object says, as it was stored by whoever made it.
pub(crate) fn read(kind: Kind, body: &daybreak_sync::Body) -> Result<Body, Fault> {
    let json =
        serde_json::from_slice(&body.octets).map_err(|error| Fault::new("", error.to_string()))?;
    Body::parse_stored(kind, &json)
}
