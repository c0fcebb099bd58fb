//! Units that ask for something and are no terminal's: refused, held to be adopted, or made terminals at once, as the
//! site's policy says ([`UnknownTerminals`]).
//!
//! A network card is what a request says, and no proof of anything. So what strangers can cause is bounded: the list of held
//! units by its length, the terminals that are created by the mask of their names and by half of the room of a site.

mod adoption;

pub use adoption::{AdoptError, Adoption, adopt, forget};

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::configuration::{Actor, ChangeError, Configuration, Edit};
use crate::database::{DatabaseError, UnknownRow};
use crate::kind::{
    Body, Kind, MacAddress, NameMask, Setting, Terminal, TerminalName, UnknownPolicy,
    UnknownTerminals,
};
use crate::limits::{
    UNKNOWN_FORGOTTEN_MS, UNKNOWN_NOTED_MS, UNKNOWN_OBJECTS_MAX, UNKNOWN_UNITS_MAX,
};
use crate::object::Id;
use crate::site::Site;

/// A unit that asked for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its network card.
    pub mac: MacAddress,
    /// Where it asked from.
    pub address: IpAddr,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
}

/// What became of the units that were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Terminals that were created.
    pub created: Vec<Id>,
    /// Units that are held.
    pub held: usize,
    /// Units that found no place in the list of those held.
    pub left_out: usize,
}

/// The policy of a site.
#[must_use]
pub fn policy(site: &Site) -> UnknownTerminals {
    let key = Id::parse(Setting::UNKNOWN_TERMINALS).expect("keys are identifiers");
    match site.object(Kind::Setting, &key).map(|object| &object.body) {
        Some(Body::Setting(Setting::UnknownTerminals(policy))) => policy.clone(),
        _ => UnknownTerminals::default(),
    }
}

/// The units that are held, the latest first.
pub fn held(configuration: &Configuration) -> Result<Vec<UnknownRow>, DatabaseError> {
    let mut units = configuration.with_database(crate::database::Database::unknown)?;
    let site = configuration.site();
    units.retain(|unit| site.terminals_with(unit.mac).next().is_none());
    units.sort_by_key(|unit| (std::cmp::Reverse(unit.last_ms), unit.mac));
    Ok(units)
}

/// Does what the policy says with those of these units that are no terminal's.
pub fn seen_unknown(
    configuration: &Configuration,
    sightings: &[Sighting],
) -> Result<Seen, ChangeError> {
    let site = configuration.site();
    let policy = policy(&site);
    let mut strangers: BTreeMap<MacAddress, Sighting> = BTreeMap::new();
    for sighting in sightings {
        if site.terminals_with(sighting.mac).next().is_none() {
            strangers.insert(sighting.mac, *sighting);
        }
    }
    let mut seen = Seen::default();
    if strangers.is_empty() || policy.policy == UnknownPolicy::Refuse {
        return Ok(seen);
    }
    if policy.policy == UnknownPolicy::Create {
        seen.created = create(configuration, &policy, &mut strangers)?;
    }
    // Also those that could not be created: somebody will look for them.
    hold(configuration, &strangers, &mut seen)?;
    Ok(seen)
}

/// Makes terminals of the strangers, as long as there are names. Those are no strangers any more.
fn create(
    configuration: &Configuration,
    policy: &UnknownTerminals,
    strangers: &mut BTreeMap<MacAddress, Sighting>,
) -> Result<Vec<Id>, ChangeError> {
    let actor = Actor::machine("policy unknown-terminals");
    let mut draft = configuration.draft(&actor);
    let mut created = Vec::new();
    let mut named = BTreeSet::new();
    let macs: Vec<MacAddress> = strangers.keys().copied().collect();
    let site = draft.site().clone();
    for (mac, name) in macs.into_iter().zip(free_names(&site, policy)) {
        if draft.site().len() >= UNKNOWN_OBJECTS_MAX {
            break;
        }
        // It may have become a terminal since it was looked at.
        if draft.site().terminals_with(mac).next().is_some() {
            continue;
        }
        let group = policy.group.clone();
        let group = group.filter(|id| site.object(Kind::TerminalGroup, id).is_some());
        let terminal = Terminal::new(name, mac, group);
        let object = draft.edit(Edit::Create(Body::Terminal(terminal)))?;
        created.extend(object.map(|object| object.id.clone()));
        named.insert(mac);
    }
    draft.commit()?;
    strangers.retain(|mac, _| !named.contains(mac));
    Ok(created)
}

/// Names of the policy's mask that no terminal has.
pub(crate) fn free_names<'s>(
    site: &'s Site,
    policy: &'s UnknownTerminals,
) -> impl Iterator<Item = TerminalName> + 's {
    let names = policy.name_mask.iter().flat_map(NameMask::names);
    let free = names.filter(|name| site.table(Kind::Terminal).named(name).next().is_none());
    free.filter_map(|name| TerminalName::parse(&name).ok())
}

fn hold(
    configuration: &Configuration,
    strangers: &BTreeMap<MacAddress, Sighting>,
    seen: &mut Seen,
) -> Result<(), DatabaseError> {
    let since_ms = configuration.now_ms().saturating_sub(UNKNOWN_FORGOTTEN_MS);
    configuration.with_database(|database| {
        let rows = database.unknown()?.into_iter();
        let known: BTreeMap<MacAddress, UnknownRow> = rows
            .filter(|row| row.last_ms >= since_ms)
            .map(|row| (row.mac, row))
            .collect();
        let mut room = UNKNOWN_UNITS_MAX.saturating_sub(known.len());
        let mut noted = Vec::new();
        for sighting in strangers.values() {
            let address = sighting.address.to_string();
            let before = known.get(&sighting.mac);
            // So that a unit that asks again and again does not keep the disk busy.
            let fresh = before.is_some_and(|row| {
                row.address == address && sighting.time_ms < row.last_ms + UNKNOWN_NOTED_MS
            });
            if before.is_none() && room == 0 {
                seen.left_out += 1;
                continue;
            }
            seen.held += 1;
            if fresh {
                continue;
            }
            room -= usize::from(before.is_none());
            noted.push(UnknownRow {
                mac: sighting.mac,
                address,
                first_ms: before.map_or(sighting.time_ms, |row| row.first_ms),
                last_ms: sighting.time_ms,
            });
        }
        if noted.is_empty() {
            return Ok(());
        }
        database.put_unknown(&noted, since_ms)
    })
}
