//! Adoption: a held unit becomes a terminal; or it is forgotten.

use std::sync::Arc;

use super::{free_names, held, policy};
use crate::configuration::{Actor, ChangeError, Configuration, Edit};
use crate::kind::{Body, Fault, Kind, MacAddress, Terminal, TerminalName};
use crate::object::{Id, Object};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

/// What the new terminal is to be. What is left out, the policy says.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adoption {
    /// Its name; otherwise the next one of the policy's mask.
    pub name: Option<TerminalName>,
    /// Its group; otherwise the policy's.
    #[schema(value_type = Option<String>)]
    pub group: Option<Id>,
    /// Its hardware model; otherwise the one that its network card tells.
    #[schema(value_type = Option<String>)]
    pub model: Option<Id>,
    /// A terminal whose settings and group it gets, too.
    #[schema(value_type = Option<String>)]
    pub copy_from: Option<Id>,
}

/// Why a unit is neither adopted nor forgotten.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It is not in the list.
    #[error("no unit with the network card {0} is held")]
    NotHeld(MacAddress),
    /// The terminal is refused.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Makes the held unit with this network card a terminal.
pub fn adopt(
    configuration: &Configuration,
    actor: &Actor,
    mac: MacAddress,
    adoption: Adoption,
) -> Result<Arc<Object>, AdoptError> {
    let units = held(configuration).map_err(ChangeError::from)?;
    if !units.iter().any(|unit| unit.mac == mac) {
        return Err(AdoptError::NotHeld(mac));
    }
    let mut draft = configuration.draft(actor);
    let policy = policy(draft.site());
    let name = match adoption.name {
        Some(name) => name,
        None => free_names(draft.site(), &policy).next().ok_or_else(|| {
            let why = "the policy has no free name for it; give one";
            ChangeError::Invalid(Fault::new("name", why))
        })?,
    };
    let group = policy
        .group
        .filter(|id| draft.site().object(Kind::TerminalGroup, id).is_some());
    let mut terminal = Terminal::new(name, mac, group);
    if let Some(from) = &adoption.copy_from {
        let Some(Body::Terminal(other)) = draft
            .site()
            .object(Kind::Terminal, from)
            .map(|object| &object.body)
        else {
            let (field, kind, id) = ("copy_from".into(), Kind::Terminal, from.clone());
            return Err(ChangeError::Dangling { field, kind, id }.into());
        };
        terminal.copy_from(other);
    }
    terminal.group = adoption.group.or(terminal.group);
    terminal.model = adoption.model;
    let object = draft.edit(Edit::Create(Body::Terminal(terminal)))?;
    draft.commit()?;
    // It would not be shown any more anyway: it is a terminal's.
    let _ = configuration.with_database(|database| database.remove_unknown(mac));
    Ok(object.expect("what was created is there"))
}

/// Forgets the held unit with this network card. It is held again when it asks again.
pub fn forget(
    configuration: &Configuration,
    actor: &Actor,
    mac: MacAddress,
) -> Result<(), AdoptError> {
    let units = held(configuration).map_err(ChangeError::from)?;
    let unit = units.iter().find(|unit| unit.mac == mac);
    let unit = unit.ok_or(AdoptError::NotHeld(mac))?;
    configuration
        .with_database(|database| database.remove_unknown(mac))
        .map_err(ChangeError::from)?;
    let before =
        json!({"address": unit.address, "first_ms": unit.first_ms, "last_ms": unit.last_ms});
    let what = ("unknown-terminal", &*mac.to_string());
    configuration
        .note(actor, "delete", what, Some(&before), None)
        .map_err(ChangeError::from)?;
    Ok(())
}
