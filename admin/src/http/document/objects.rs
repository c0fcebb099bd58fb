//! What goes in and out of the routes that every kind of object has.

use serde_json::json;

use super::super::listing;
use super::{Route, Schemas, Shape, as_json, if_match, query};
use crate::kind::Kind;

pub(super) fn shape(route: &Route, kind: Kind, schemas: &mut Schemas) -> Shape {
    let one = route.path.ends_with("{id}");
    let mut shape = Shape {
        request: None,
        success: 200,
        response: as_json(&schemas.object_of(kind)),
        parameters: Vec::new(),
    };
    match (route.method.as_str(), one) {
        ("GET", false) => {
            shape.parameters = listing::parameters(kind).into_iter().map(query).collect();
            let mut known = shape.parameters.iter_mut();
            if let Some(after) = known.find(|parameter| parameter["name"] == "after") {
                after["schema"]["pattern"] = json!(r"^[a-z0-9-]{1,64}\.");
            }
            shape.response = as_json(&json!({
                "type": "object", "required": ["items", "total", "next"],
                "properties": {
                    "items": {"type": "array", "items": schemas.object_of(kind)},
                    "total": {"description": "On all pages.", "type": "integer"},
                    "next": {"description": "Give it as after for the next page.", "type": ["string", "null"]},
                },
            }));
        }
        ("POST", _) => {
            shape.request = as_json(&schemas.body_of(kind));
            shape.success = 201;
        }
        ("PUT", _) => {
            shape.request = as_json(&schemas.body_of(kind));
            let mut if_match = if_match();
            // A setting that has its built-in value is not there yet.
            if_match["required"] = json!(kind != Kind::Setting);
            shape.parameters.push(if_match);
        }
        ("PATCH", _) => {
            let any = json!({"type": "object", "description": "RFC 7396: the fields to change; null removes one."});
            shape.request = Some(json!({"application/merge-patch+json": {"schema": any}}));
            shape.parameters.push(if_match());
        }
        ("DELETE", _) => {
            shape.success = 204;
            shape.response = None;
            shape.parameters.push(if_match());
            shape
                .parameters
                .push(query(("force", "true: also if others refer to it")));
        }
        _ => {}
    }
    shape
}
