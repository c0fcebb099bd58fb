//! Reading requests: bodies, parameters, conditions. Every bound is checked before anything is kept.

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, web};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ApiError, Code};
use crate::configuration::Expected;
use crate::object::Id;

/// A body, as the framework has read it within its bound, or has refused it.
pub(super) type Body = Result<web::Bytes, actix_web::Error>;

/// The JSON document of a request.
pub(super) fn json(request: &HttpRequest, body: Body) -> Result<Value, ApiError> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind.map(|kind| {
        kind.split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    });
    if !matches!(
        kind.as_deref(),
        Some("application/json" | "application/merge-patch+json")
    ) {
        return Err(ApiError::new(
            Code::NotJsonType,
            "the body is not said to be JSON",
        ));
    }
    let body = body.map_err(
        |error| match error.as_response_error().status_code().as_u16() {
            413 => ApiError::new(Code::TooLarge, "the body is too large"),
            _ => ApiError::new(Code::NotJson, "the body could not be read"),
        },
    )?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::new(Code::NotJson, format!("the body is not JSON: {error}")))
}

/// The same, as a plain structure.
pub(super) fn typed<T: DeserializeOwned>(request: &HttpRequest, body: Body) -> Result<T, ApiError> {
    let json = json(request, body)?;
    serde_path_to_error::deserialize(&json).map_err(|error| {
        let path = error.path().to_string();
        ApiError::new(Code::Invalid, error.inner().to_string()).at(path)
    })
}

/// The identifier in the address.
pub(super) fn id(request: &HttpRequest) -> Result<Id, ApiError> {
    let text = request.match_info().get("id").unwrap_or_default();
    Id::parse(text).map_err(|error| ApiError::new(Code::InvalidPath, error.to_string()))
}

/// The parameters behind the `?`: each name once, in any order.
pub(super) fn parameters(request: &HttpRequest) -> Result<Vec<(String, String)>, ApiError> {
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let pairs = query
        .map_err(|error| ApiError::new(Code::InvalidQuery, error.to_string()))?
        .into_inner();
    for (index, (name, _)) in pairs.iter().enumerate() {
        if pairs[..index].iter().any(|(other, _)| other == name) {
            return Err(ApiError::new(Code::InvalidQuery, "a parameter is given twice").at(name));
        }
    }
    Ok(pairs)
}

/// A parameter that is unknown here.
pub(super) fn unknown_parameter(name: &str) -> ApiError {
    ApiError::new(Code::InvalidQuery, "there is no such parameter here").at(name)
}

/// A parameter whose value is wrong.
pub(super) fn wrong_parameter(name: &str, why: &str) -> ApiError {
    ApiError::new(Code::InvalidQuery, why).at(name)
}

/// Which state a change is for: `If-Match`, which every change of an object needs.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, ApiError> {
    let mut revisions = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        let text = value.to_str().unwrap_or_default();
        for tag in text.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(Expected::Any);
            }
            let revision = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            // A weak tag, or none at all, is never equal to one of ours.
            revisions.push(revision.unwrap_or_default().to_owned());
        }
    }
    if revisions.is_empty() {
        return Err(ApiError::new(
            Code::RevisionRequired,
            "the change does not say which state it is for",
        ));
    }
    Ok(Expected::OneOf(revisions))
}

/// RFC 7396: what `patch` says replaces, `null` removes, objects are merged.
pub(super) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(changes) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(fields) = target {
        for (name, change) in changes {
            if change.is_null() {
                fields.remove(&name);
            } else {
                merge(fields.entry(name).or_insert(Value::Null), change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_is_applied_as_rfc_7396_shows() {
        for (mut target, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
        ] {
            merge(&mut target, patch);
            assert_eq!(target, merged);
        }
    }
}
