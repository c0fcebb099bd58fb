//! Giving and taking seats of terminals that are there already: by hand, and by itself when some become free.

use std::sync::Arc;

use crate::configuration::{Actor, ChangeError, Configuration, Edit};
use crate::kind::{Body, Kind, Terminal};
use crate::licensing::SeatState;
use crate::limits::SEATS_AT_ONCE_MAX;
use crate::object::{Id, Object};
use crate::site::Site;

/// Why a seat is not given or released.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// It would boot nothing with it.
    #[error("a terminal that is disabled holds no seat: enable it first")]
    Disabled,
    /// The terminal is refused.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Gives a terminal a seat, also one whose seat was released.
pub fn give_seat(
    configuration: &Configuration,
    actor: &Actor,
    id: &Id,
) -> Result<Arc<Object>, SeatError> {
    set(configuration, actor, id, SeatState::Held)
}

/// Takes a terminal's seat away. It gets none again by itself.
pub fn release_seat(
    configuration: &Configuration,
    actor: &Actor,
    id: &Id,
) -> Result<Arc<Object>, SeatError> {
    set(configuration, actor, id, SeatState::Released)
}

fn set(
    configuration: &Configuration,
    actor: &Actor,
    id: &Id,
    state: SeatState,
) -> Result<Arc<Object>, SeatError> {
    let mut draft = configuration.draft(actor);
    let unknown = || ChangeError::Unknown {
        kind: Kind::Terminal,
        id: id.clone(),
    };
    let object = draft.site().object(Kind::Terminal, id).cloned();
    let object = object.ok_or_else(unknown)?;
    let Some((terminal, edit)) = edit_of(&object, state, configuration.now_ms()) else {
        return Ok(object);
    };
    if state == SeatState::Held && !terminal.enabled {
        return Err(SeatError::Disabled);
    }
    let changed = draft.edit(edit)?;
    draft.commit()?;
    Ok(changed.unwrap_or(object))
}

/// The edit that makes a terminal's seat `state`; none, if it is so.
fn edit_of(object: &Object, state: SeatState, now_ms: u64) -> Option<(&Terminal, Edit)> {
    let Body::Terminal(terminal) = &object.body else {
        return None;
    };
    if terminal.seat.state == state {
        return None;
    }
    let mut changed = terminal.clone();
    changed.seat = terminal.seat.becomes(state, now_ms);
    let edit = Edit::Seal {
        id: object.id.clone(),
        body: Body::Terminal(changed),
        expected: None,
    };
    Some((terminal, edit))
}

/// Gives seats that are free to those that wait, who waits for longest first. Where none is free, terminals that nobody saw since
/// `unseen_before_ms` make room, if that is set, who was not seen for longest first, as long as somebody waits. Gives whether anything changed.
///
/// `seen_ms` says when a terminal was last seen, as far as that is known.
pub fn tend(
    configuration: &Configuration,
    unseen_before_ms: Option<u64>,
    seen_ms: &dyn Fn(&Id) -> Option<u64>,
) -> Result<bool, ChangeError> {
    let site = configuration.site();
    // On a mirror, all changes come from the primary.
    if site.entitlement().grants_none.is_some() || configuration.primary_elsewhere().is_some() {
        return Ok(false);
    }
    let mut waiting = terminals(&site, |terminal| {
        terminal.enabled && terminal.seat.state == SeatState::Waiting
    });
    if waiting.is_empty() {
        return Ok(false);
    }
    // Of one time: in the order in which they were written.
    waiting.sort_unstable_by(|(a, one), (b, other)| {
        let order = one.seat.since_ms.cmp(&other.seat.since_ms);
        order.then_with(|| (a.stamp, &a.id).cmp(&(b.stamp, &b.id)))
    });
    let actor = Actor::machine("licences");
    let mut changed = false;
    if let Some(before_ms) = unseen_before_ms
        && !site.entitlement().grants(site.seats())
    {
        let over = site.entitlement().seats.excess(site.seats());
        let needed = waiting
            .len()
            .saturating_add(usize::try_from(over).unwrap_or(usize::MAX));
        let mut unseen: Vec<(u64, Arc<Object>)> =
            terminals(&site, |terminal| terminal.seat.is_held())
                .into_iter()
                .map(|(object, terminal)| {
                    let seen = seen_ms(&object.id).unwrap_or(0);
                    (seen.max(terminal.seat.since_ms), Arc::clone(object))
                })
                .filter(|(seen_ms, _)| *seen_ms < before_ms)
                .collect();
        unseen.sort_unstable_by(|a, b| (a.0, &a.1.id).cmp(&(b.0, &b.1.id)));
        unseen.truncate(needed);
        let released = unseen.iter().map(|(_, object)| object);
        changed |= make(configuration, &actor, released, SeatState::Waiting)?;
    }
    let granted = waiting.iter().map(|(object, _)| *object);
    changed |= make(configuration, &actor, granted, SeatState::Held)?;
    Ok(changed)
}

/// The terminals like this.
fn terminals(site: &Site, like: impl Fn(&Terminal) -> bool) -> Vec<(&Arc<Object>, &Terminal)> {
    let objects = site.table(Kind::Terminal).objects();
    let terminals = objects.filter_map(|object| match &object.body {
        Body::Terminal(terminal) => Some((object, terminal)),
        _ => None,
    });
    terminals.filter(|(_, terminal)| like(terminal)).collect()
}

/// Makes the seats of these terminals `state`, as far as there are seats, some at a time so that others can change something in
/// between. What was changed meanwhile is left for the next time.
fn make<'o>(
    configuration: &Configuration,
    actor: &Actor,
    objects: impl Iterator<Item = &'o Arc<Object>>,
    state: SeatState,
) -> Result<bool, ChangeError> {
    let mut changed = false;
    let mut objects = objects.peekable();
    while objects.peek().is_some() {
        let mut draft = configuration.draft(actor);
        let now_ms = configuration.now_ms();
        for object in objects.by_ref().take(SEATS_AT_ONCE_MAX) {
            let current = draft.site().object(Kind::Terminal, &object.id).cloned();
            let Some(current) = current.filter(|current| Arc::ptr_eq(current, object)) else {
                continue;
            };
            let Some((_, edit)) = edit_of(&current, state, now_ms) else {
                continue;
            };
            match draft.edit(edit) {
                Ok(_) => changed = true,
                Err(ChangeError::NoSeat) => {
                    draft.commit()?;
                    return Ok(changed);
                }
                Err(error) => return Err(error),
            }
        }
        draft.commit()?;
    }
    Ok(changed)
}
