//! What an edit must keep, beyond its own body: names and cards are given once, references lead somewhere, groups
//! are a tree, nobody gives more than they have, and somebody can always administer the site.

use super::draft::Planned;
use super::{Actor, ChangeError};
use crate::kind::{Body, Kind};
use crate::limits::GROUP_DEPTH_MAX;
use crate::object::Id;
use crate::security::Rights;
use crate::site::Site;

/// Whether `body` may be the object `id` of `site`.
pub(super) fn body(site: &Site, id: &Id, body: &Body) -> Result<(), ChangeError> {
    if !matches!(body, Body::Setting(_)) {
        let mut others = site
            .table(body.kind())
            .named(body.name())
            .filter(|other| *other != id);
        if let Some(other) = others.next() {
            return Err(ChangeError::Taken {
                field: "name".into(),
                by: other.clone(),
            });
        }
    }
    if let Body::Terminal(terminal) = body {
        for (index, mac) in terminal.macs.iter().enumerate() {
            let mut others = site.terminals_with(*mac).filter(|other| *other != id);
            if let Some(other) = others.next() {
                return Err(ChangeError::Taken {
                    field: format!("macs[{index}]"),
                    by: other.clone(),
                });
            }
        }
    }
    for reference in body.references() {
        let own_group = reference.kind == body.kind() && reference.id == *id;
        if !own_group && site.object(reference.kind, &reference.id).is_none() {
            return Err(ChangeError::Dangling {
                field: reference.field,
                kind: reference.kind,
                id: reference.id,
            });
        }
    }
    match body {
        Body::TerminalGroup(group) => nesting(site, id, group.parent.as_ref()),
        _ => Ok(()),
    }
}

/// Whether the group `id` may be in `parent`: no circle, and no path from a leaf to the root that is too long.
fn nesting(site: &Site, id: &Id, parent: Option<&Id>) -> Result<(), ChangeError> {
    let refused = |why| ChangeError::Nesting {
        field: "parent".into(),
        why,
    };
    let mut above = 0;
    let mut next = parent;
    while let Some(group) = next {
        if group == id {
            return Err(refused("a group cannot be in itself"));
        }
        above += 1;
        if above >= GROUP_DEPTH_MAX {
            return Err(refused("groups are nested too deep"));
        }
        next = site.group(group).and_then(|group| group.parent.as_ref());
    }
    if above + height(site, id, GROUP_DEPTH_MAX) > GROUP_DEPTH_MAX {
        return Err(refused("groups are nested too deep"));
    }
    Ok(())
}

/// Groups from `id` down to the deepest one in it, `id` included.
fn height(site: &Site, id: &Id, bound: usize) -> usize {
    if bound == 0 {
        return 1;
    }
    let inside = site
        .table(Kind::TerminalGroup)
        .objects()
        .filter(|object| match &object.body {
            Body::TerminalGroup(group) => group.parent.as_ref() == Some(id),
            _ => false,
        });
    1 + inside
        .map(|group| height(site, &group.id, bound - 1))
        .max()
        .unwrap_or(0)
}

/// Whether nothing refers to this object.
pub(super) fn unused(site: &Site, kind: Kind, id: &Id) -> Result<(), ChangeError> {
    let refers = |body: &Body| {
        let references = body.references();
        references
            .iter()
            .any(|reference| reference.kind == kind && reference.id == *id)
    };
    let user = site.objects().find(|object| refers(&object.body));
    match user {
        Some(object) => Err(ChangeError::InUse {
            kind: object.kind(),
            name: object.body.name().to_owned(),
        }),
        None => Ok(()),
    }
}

/// Whether the actor has every right that the edit gives or takes away.
pub(super) fn grants(site: &Site, actor: &Actor, planned: &Planned) -> Result<(), ChangeError> {
    let bodies = planned
        .before
        .iter()
        .map(|object| &object.body)
        .chain(&planned.after);
    bodies
        .into_iter()
        .try_for_each(|body| granted(site, actor, body))
}

/// Whether the actor has every right that this object of `site` gives.
pub(super) fn granted(site: &Site, actor: &Actor, body: &Body) -> Result<(), ChangeError> {
    let granted = match body {
        Body::User(user) => site.rights_of_user(user),
        Body::Role(role) => role.rights.clone(),
        Body::ApiKey(key) => key.rights.clone(),
        _ => Rights::new(),
    };
    match granted.difference(&actor.rights).next() {
        Some(beyond) => Err(ChangeError::Beyond(*beyond)),
        None => Ok(()),
    }
}

/// Whether there is still an administrator, if there was one.
pub(super) fn administrator_left(before: &Site, after: &Site) -> Result<(), ChangeError> {
    let had = before.administrators().next().is_some();
    if had && after.administrators().next().is_none() {
        return Err(ChangeError::LastAdministrator);
    }
    Ok(())
}
