//! Replacement: a new unit takes the place of a dead one, with its name, its configuration and its seat.
//!
//! The terminal stays the same object; what changes is which network cards it has, and its model if the new unit is
//! of another one. It gets a new key for its status, so that the old unit speaks for it no more. All of it is one change.

use std::sync::Arc;

use crate::configuration::{Actor, ChangeError, Configuration, Edit, Expected};
use crate::effective::{effective, model_of};
use crate::kind::{Body, Fault, Kind, MacAddress, Terminal};
use crate::limits::ONLINE_MS;
use crate::object::{Id, Object};
use crate::site::Site;

/// The unit that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewUnit {
    /// One with these network cards, of no terminal so far.
    Cards {
        /// One or two.
        macs: Vec<MacAddress>,
        /// Its model; otherwise the one that its network cards tell.
        model: Option<Id>,
    },
    /// The one of another terminal, which is then gone.
    Of(Id),
}

/// What is known of the life of the unit that goes, in milliseconds since 1970. By default: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OldUnit {
    /// When it last showed that it lives.
    pub seen_ms: Option<u64>,
    /// Until when it may be silent and still counts as working: it reports, and has said when it will again.
    pub works_until_ms: Option<u64>,
}

/// Why nothing was replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The terminal says that it must not be.
    #[error("the terminal is not replaceable")]
    NotReplaceable,
    /// The old unit is alive.
    #[error("the terminal was seen {0} s ago: it is not dead")]
    Online(u64),
    /// The old unit reports, and its next report is not overdue.
    #[error("the terminal reports that it works, and is due to again within {0} s: it is not dead")]
    Expected(u64),
    /// Another model, where the same is required.
    #[error("the terminal needs a unit of the model {wanted}, and the new one is {found}")]
    OtherModel {
        /// The terminal's model.
        wanted: String,
        /// The new unit's.
        found: String,
    },
    /// The change is refused.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Gives the terminal `id` a new unit in the place of the `old` one.
pub fn replace(
    configuration: &Configuration,
    actor: &Actor,
    id: &Id,
    unit: NewUnit,
    old: OldUnit,
) -> Result<Arc<Object>, ReplaceError> {
    let now_ms = configuration.now_ms();
    let silent_ms = old.seen_ms.map(|seen_ms| now_ms.saturating_sub(seen_ms));
    if let Some(silent_ms) = silent_ms.filter(|silent_ms| *silent_ms < ONLINE_MS) {
        return Err(ReplaceError::Online(silent_ms / 1000));
    }
    if let Some(until_ms) = old.works_until_ms.filter(|until_ms| now_ms <= *until_ms) {
        return Err(ReplaceError::Expected((until_ms - now_ms).div_ceil(1000)));
    }
    let mut draft = configuration.draft(actor);
    let (object, mut terminal) = found(draft.site(), id, "id")?;
    if !terminal.replaceable {
        return Err(ReplaceError::NotReplaceable);
    }
    let (macs, model) = match unit {
        NewUnit::Cards { macs, model } => (macs, model),
        NewUnit::Of(other) => {
            let (_, unit) = found(draft.site(), &other, "terminal")?;
            if other == *id {
                let itself = Fault::new("terminal", "this is the terminal itself");
                return Err(ChangeError::from(itself).into());
            }
            draft.edit(Edit::Delete {
                kind: Kind::Terminal,
                id: other,
                expected: Expected::Any,
                force: false,
            })?;
            (unit.macs, unit.model)
        }
    };
    let site = draft.site();
    let wanted = model_of(site, &terminal).map(|model| model.id.clone());
    let mut newcomer = terminal.clone();
    (newcomer.macs, newcomer.model) = (macs, model);
    let found = model_of(site, &newcomer).map(|model| model.id.clone());
    let (settings, _) = effective(site, &object, &terminal);
    if settings.replace_same_model.value && (wanted != found || wanted.is_none()) {
        let name = |id: Option<&Id>| {
            let object = id.and_then(|id| site.object(Kind::TermCap, id));
            object.map_or_else(
                || "unknown".to_owned(),
                |object| object.body.name().to_owned(),
            )
        };
        return Err(ReplaceError::OtherModel {
            wanted: name(wanted.as_ref()),
            found: name(found.as_ref()),
        });
    }
    terminal.macs = newcomer.macs;
    if newcomer.model.is_some() {
        terminal.model = newcomer.model;
    } else if found.is_some() && found != wanted {
        terminal.model = found;
    }
    terminal.status_key = None; // a new one is given
    // As somebody would send it: one or two cards, each once.
    let body = Body::Terminal(terminal);
    body.check().map_err(ChangeError::from)?;
    let edit = Edit::Seal {
        id: id.clone(),
        body,
        expected: None,
    };
    let replaced = draft.edit(edit)?;
    draft.commit()?;
    Ok(replaced.expect("what was replaced is there"))
}

/// Gives the terminal `id` the settings and the group of the terminal `from`.
pub fn copy_settings(
    configuration: &Configuration,
    actor: &Actor,
    id: &Id,
    from: &Id,
    expected: Expected,
) -> Result<Arc<Object>, ChangeError> {
    let mut draft = configuration.draft(actor);
    let (_, mut terminal) = found(draft.site(), id, "id")?;
    let (_, other) = found(draft.site(), from, "from")?;
    terminal.copy_from(&other);
    let copied = draft.edit(Edit::Replace {
        id: id.clone(),
        body: Body::Terminal(terminal),
        expected,
    })?;
    draft.commit()?;
    Ok(copied.expect("what was changed is there"))
}

fn found(site: &Site, id: &Id, field: &str) -> Result<(Arc<Object>, Terminal), ChangeError> {
    let object = site.object(Kind::Terminal, id);
    match object.map(|object| (object, &object.body)) {
        Some((object, Body::Terminal(terminal))) => Ok((Arc::clone(object), terminal.clone())),
        _ if field == "id" => Err(ChangeError::Unknown {
            kind: Kind::Terminal,
            id: id.clone(),
        }),
        _ => Err(ChangeError::Dangling {
            field: field.to_owned(),
            kind: Kind::Terminal,
            id: id.clone(),
        }),
    }
}
