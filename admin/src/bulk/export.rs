//! Terminals of a site, as rows.

use std::sync::Arc;

use serde_json::Value;

use super::{Format, names, table};
use crate::object::Object;
use crate::site::Site;

/// The rows of these terminals, in this order.
pub fn rows<'o>(site: &Site, terminals: impl IntoIterator<Item = &'o Arc<Object>>) -> Vec<Value> {
    let row = |object: &Arc<Object>| {
        let mut row = object.body.shown();
        names::name(site, &mut row);
        row["id"] = object.id.as_str().into();
        row
    };
    terminals.into_iter().map(row).collect()
}

/// A file of these rows.
#[must_use]
pub fn export(format: Format, rows: &[Value]) -> Vec<u8> {
    match format {
        Format::Csv => table::write(rows),
        Format::Json => {
            let mut file = serde_json::to_vec_pretty(rows).expect("text keys and plain values");
            file.push(b'\n');
            file
        }
    }
}
