//! What else is wrong with a row: a terminal is read up to its first fault, so the field with the fault is taken out of the
//! row, and the rest is read again.

use serde_json::{Map, Value, json};

use super::import::body;
use crate::configuration::ChangeError;
use crate::limits::ROW_FAULTS_MAX;
use crate::object::Object;
use crate::site::Site;

/// The faults of a row after its `first`, in other fields or other settings.
pub(super) fn further(
    site: &Site,
    before: Option<&Object>,
    patch: &Map<String, Value>,
    first: &ChangeError,
) -> Vec<ChangeError> {
    let mut rest = patch.clone();
    let mut found: Vec<ChangeError> = Vec::new();
    while found.len() + 1 < ROW_FAULTS_MAX
        && let Some(field) = found.last().unwrap_or(first).field()
        && take_out(&mut rest, field)
        && let Err(error) = body(site, before, rest.clone())
    {
        found.push(error);
    }
    found
}

/// Takes away the field or the setting that `path` leads into; what no terminal can be without is set to something that is
/// right by itself. `false`: it does not lead into the row.
fn take_out(row: &mut Map<String, Value>, path: &str) -> bool {
    let mut steps = path.split(['.', '[']);
    let field = steps.next().unwrap_or_default();
    let right = match field {
        "name" => Some(json!("-")),
        "macs" => Some(json!(["02:00:00:00:00:00"])),
        _ => None,
    };
    if let Some(right) = right {
        return row.insert(field.to_owned(), right.clone()) != Some(right);
    }
    let settings = row.get_mut(field).and_then(Value::as_object_mut);
    match (settings, steps.next()) {
        (Some(settings), Some(setting)) if field == "settings" => {
            settings.remove(setting).is_some()
        }
        _ => row.remove(field).is_some(),
    }
}
