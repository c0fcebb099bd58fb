//! Reading requests: bodies, parameters, conditions. Every bound is checked before anything is kept.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ApiError, Code};
use super::json::Strict;
use crate::configuration::Expected;
use crate::limits::REQUEST_BODY_WAIT;
use crate::object::Id;

/// A body that has arrived within its bounds of length and time, or why it was refused.
pub(super) struct Body(Result<web::Bytes, ApiError>);

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let reading = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            let read = tokio::time::timeout(REQUEST_BODY_WAIT, reading).await;
            let late = |_| ApiError::new(Code::TooSlow, "the body did not arrive in time");
            Ok(Body(read.map_err(late).and_then(|read| {
                read.map_err(
                    |error| match error.as_response_error().status_code().as_u16() {
                        413 => ApiError::new(Code::TooLarge, "the body is too large"),
                        _ => ApiError::new(Code::NotJson, "the body could not be read"),
                    },
                )
            })))
        })
    }
}

/// What the body is said to be, without parameters.
pub(super) fn content_type(request: &HttpRequest) -> Option<String> {
    let kind = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default();
    Some(kind.trim().to_ascii_lowercase())
}

/// The JSON document of a request.
pub(super) fn json(request: &HttpRequest, body: Body) -> Result<Value, ApiError> {
    let kind = content_type(request);
    if !matches!(
        kind.as_deref(),
        Some("application/json" | "application/merge-patch+json")
    ) {
        return Err(ApiError::new(
            Code::NotJsonType,
            "the body is not said to be JSON",
        ));
    }
    serde_json::from_slice(&body.0?)
        .map(|Strict(json)| json)
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

/// Where a request comes from: the other end of the connection, never what a header says.
pub(super) fn source(request: &HttpRequest) -> String {
    let address = request.peer_addr();
    address.map_or_else(String::new, |address| address.ip().to_string())
}

/// The fields of a form, as a browser sends them: each name once.
pub(super) fn form(request: &HttpRequest, body: Body) -> Result<Vec<(String, String)>, ApiError> {
    if content_type(request).as_deref() != Some("application/x-www-form-urlencoded") {
        return Err(ApiError::new(
            Code::UnknownFormat,
            "this is not sent as a form",
        ));
    }
    let body = body.0?;
    let text = core::str::from_utf8(&body);
    pairs(text.map_err(|_| ApiError::new(Code::InvalidQuery, "the form is not UTF-8"))?)
}

/// The parameters behind the `?`: each name once, in any order.
pub(super) fn parameters(request: &HttpRequest) -> Result<Vec<(String, String)>, ApiError> {
    pairs(request.query_string())
}

fn pairs(encoded: &str) -> Result<Vec<(String, String)>, ApiError> {
    let query = web::Query::<Vec<(String, String)>>::from_query(encoded);
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
