//! Objects of every kind: list, create, read, replace, patch, delete.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;

use super::error::{ApiError, Code};
use super::listing::Listing;
use super::request::{self, Body as RequestBody};
use super::state::State;
use crate::configuration::{Edit, Expected};
use crate::kind::{Body, Fault, Kind};
use crate::merge_patch::merge;
use crate::object::{Id, Object, Stamp, Version};
use crate::security::Identity;

/// An object, as it is shown.
#[derive(Serialize)]
struct View<'o> {
    kind: &'static str,
    id: &'o Id,
    body: Value,
    version: &'o Version,
    stamp: Stamp,
    revision: String,
    /// Of an API key, once: when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'o str>,
}

#[derive(Serialize)]
struct PageView<'o> {
    items: Vec<View<'o>>,
    total: usize,
    next: Option<String>,
}

impl<'o> View<'o> {
    fn of(object: &'o Object) -> Self {
        View {
            kind: object.kind().word(),
            id: &object.id,
            body: object.body.shown(),
            version: &object.version,
            stamp: object.stamp,
            revision: object.revision(),
            secret: None,
        }
    }
}

pub(super) fn shown(object: &Object) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::ETAG, format!("\"{}\"", object.revision())))
        .json(View::of(object))
}

pub(super) fn made(object: &Object, secret: Option<&str>) -> HttpResponse {
    let place = format!("/api/v1/{}/{}", object.kind().path(), object.id);
    HttpResponse::Created()
        .insert_header((header::ETAG, format!("\"{}\"", object.revision())))
        .insert_header((header::LOCATION, place))
        .json(View {
            secret,
            ..View::of(object)
        })
}

fn read(body: Result<Body, Fault>) -> Result<Body, ApiError> {
    body.map_err(|fault| ApiError::new(Code::Invalid, fault.to_string()).at(fault.field))
}

fn found(state: &State, kind: Kind, id: &Id) -> Result<Arc<Object>, ApiError> {
    let site = state.configuration.site();
    let object = site.object(kind, id).cloned();
    object.ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no {} {id}", kind.word())))
}

/// Makes an edit after which the object is there.
async fn edited(
    state: &Arc<State>,
    identity: Identity,
    edit: Edit,
) -> Result<Arc<Object>, ApiError> {
    let object = state.apply(identity.actor, edit).await?;
    object.ok_or_else(|| ApiError::internal(&"an edit gave no object"))
}

pub(super) async fn list(
    kind: Kind,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let listing = Listing::parse(kind, request::parameters(&request)?)?;
    let site = state.configuration.site();
    let page = listing.page(&site, kind);
    Ok(HttpResponse::Ok().json(PageView {
        items: page.items.iter().map(|object| View::of(object)).collect(),
        total: page.total,
        next: page.next,
    }))
}

pub(super) async fn show(
    kind: Kind,
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    Ok(shown(&*found(&state, kind, &id)?))
}

pub(super) async fn create(
    kind: Kind,
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: RequestBody,
) -> Result<HttpResponse, ApiError> {
    let body = read(Body::parse_request(kind, &request::json(&request, body)?))?;
    if kind == Kind::ApiKey {
        let issued = state
            .blocking(move |state| state.gate.issue_key(&identity.actor, body))
            .await;
        let (id, secret) = issued?;
        return Ok(made(&*found(&state, kind, &id)?, Some(secret.reveal())));
    }
    let object = edited(&state, identity, Edit::Create(body)).await?;
    Ok(made(&object, None))
}

pub(super) async fn replace(
    kind: Kind,
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: RequestBody,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let body = read(Body::parse_request(kind, &request::json(&request, body)?))?;
    if let Body::Setting(setting) = &body {
        if setting.id() != id {
            return Err(
                ApiError::new(Code::Invalid, "the key is not the one in the address").at("key"),
            );
        }
        // A setting that has its built-in value is not there yet; to set it is to create it.
        if state.configuration.site().object(kind, &id).is_none() {
            let object = edited(&state, identity, Edit::Create(body)).await?;
            return Ok(made(&object, None));
        }
    }
    let expected = request::expected(request.headers())?;
    let edit = Edit::Replace { id, body, expected };
    Ok(shown(&*edited(&state, identity, edit).await?))
}

pub(super) async fn patch(
    kind: Kind,
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: RequestBody,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let expected = request::expected(request.headers())?;
    let patch = request::json(&request, body)?;
    let before = found(&state, kind, &id)?;
    if let Expected::OneOf(revisions) = &expected
        && !revisions.contains(&before.revision())
    {
        return Err(crate::configuration::ChangeError::Stale.into());
    }
    let mut json = before.body.shown();
    merge(&mut json, patch);
    let body = read(Body::parse_request(kind, &json))?;
    if body.kind() == Kind::Setting && body.name() != id.as_str() {
        return Err(ApiError::new(Code::Invalid, "the key of a setting stays the same").at("key"));
    }
    // What was patched is the state that was read, and no other.
    let expected = Expected::OneOf(vec![before.revision()]);
    let edit = Edit::Replace { id, body, expected };
    Ok(shown(&*edited(&state, identity, edit).await?))
}

pub(super) async fn delete(
    kind: Kind,
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let mut force = false;
    for (name, value) in request::parameters(&request)? {
        if name != "force" {
            return Err(request::unknown_parameter(&name));
        }
        force = value
            .parse()
            .map_err(|_| request::wrong_parameter(&name, "this is true or false"))?;
    }
    let expected = request::expected(request.headers())?;
    let edit = Edit::Delete {
        kind,
        id: id.clone(),
        expected,
        force,
    };
    state.apply(identity.actor, edit).await?;
    if kind == Kind::User {
        state
            .blocking(move |state| state.gate.log_out_user(&id))
            .await?;
    }
    Ok(HttpResponse::NoContent().finish())
}
