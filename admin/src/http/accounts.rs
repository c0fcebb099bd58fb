//! Set-up, log-in, log-out, passwords.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cookie;
use super::error::{ApiError, Code};
use super::request::{self, Body};
use super::state::State;
use crate::kind::LoginName;
use crate::object::Id;
use crate::security::{Credential, Identity, Right, Rights, Session, TryError};

/// What the set-up page sends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetUp {
    /// The secret of the set-up link.
    token: String,
    /// The name of the first administrator.
    name: LoginName,
    /// The password: at least 12 characters.
    password: String,
}

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    /// The name.
    name: String,
    /// The password.
    password: String,
}

/// A password for somebody.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// At least 12 characters.
    password: String,
}

/// A password for oneself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnPassword {
    /// The one that holds now.
    current: String,
    /// At least 12 characters.
    password: String,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// As the audit knows them.
    name: String,
    /// The user, if it is one.
    #[schema(value_type = Option<String>)]
    user: Option<Id>,
    /// What they may do.
    #[schema(value_type = Vec<Right>)]
    rights: Rights,
}

/// A session of a user.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionView {
    /// Stands for it; its secret is only in the cookie.
    id: String,
    /// When it began, in milliseconds since 1970.
    created_ms: u64,
    /// When it was last used, to the minute.
    seen_ms: u64,
    /// Whether this request belongs to it.
    current: bool,
}

/// The sessions of a user, the one that was used last first.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionList {
    items: Vec<SessionView>,
}

pub(super) async fn set_up(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let SetUp {
        token,
        name,
        password,
    } = request::typed(&request, body)?;
    let work = move |state: &State| state.gate.set_up(&token, name.as_str(), password);
    let id = state.with_password(work).await?;
    tracing::info!(user = %id, "the set-up is done");
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn log_in(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let LogIn { name, password } = request::typed(&request, body)?;
    let name = LoginName::parse(&name).map_err(|_| ApiError::from(TryError::Wrong))?;
    let source = request::source(&request);
    let work = move |state: &State| state.gate.log_in(&source, name.as_str(), &password);
    let secret = state.with_password(work).await?;
    let cookie = cookie::SESSION.set(secret.reveal(), state.secure);
    Ok(HttpResponse::NoContent()
        .insert_header((header::SET_COOKIE, cookie))
        .finish())
}

pub(super) async fn log_out(
    state: web::Data<State>,
    identity: Identity,
) -> Result<HttpResponse, ApiError> {
    let (_, digest) = session(identity)?;
    state
        .blocking(move |state| state.gate.log_out(&digest))
        .await?;
    let cookie = cookie::SESSION.end(state.secure);
    Ok(HttpResponse::NoContent()
        .insert_header((header::SET_COOKIE, cookie))
        .finish())
}

pub(super) async fn sessions(
    state: web::Data<State>,
    identity: Identity,
) -> Result<HttpResponse, ApiError> {
    let (user, digest) = session(identity)?;
    let view = |row: Session| SessionView {
        id: row.digest.short(),
        created_ms: row.created_ms,
        seen_ms: row.seen_ms,
        current: row.digest == digest,
    };
    let items = state.gate.sessions_of(&user).into_iter().map(view);
    Ok(HttpResponse::Ok().json(SessionList {
        items: items.collect(),
    }))
}

pub(super) async fn end_session(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let (user, _) = session(identity)?;
    let mut own = state.gate.sessions_of(&user).into_iter();
    let Some(row) = own.find(|row| row.digest.short() == id.as_str()) else {
        return Err(ApiError::new(Code::NotFound, "you have no such session"));
    };
    state
        .blocking(move |state| state.gate.log_out(&row.digest))
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn end_sessions(
    state: web::Data<State>,
    identity: Identity,
) -> Result<HttpResponse, ApiError> {
    let (user, _) = session(identity)?;
    state
        .blocking(move |state| state.gate.log_out_user(&user))
        .await?;
    let cookie = cookie::SESSION.end(state.secure);
    Ok(HttpResponse::NoContent()
        .insert_header((header::SET_COOKIE, cookie))
        .finish())
}

pub(super) async fn end_sessions_of(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    if state.configuration.site().user(&id).is_none() {
        return Err(ApiError::new(
            Code::NotFound,
            format!("there is no user {id}"),
        ));
    }
    state
        .blocking(move |state| state.gate.log_out_user(&id))
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

fn session(identity: Identity) -> Result<(Id, crate::security::Digest), ApiError> {
    match identity.by {
        Credential::Session { user, digest } => Ok((user, digest)),
        Credential::Key(_) => Err(ApiError::new(
            Code::Forbidden,
            "this is for sessions of users, not for API keys",
        )),
    }
}

#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn me(identity: Identity) -> HttpResponse {
    let user = match identity.by {
        Credential::Session { user, .. } => Some(user),
        Credential::Key(_) => None,
    };
    HttpResponse::Ok().json(Me {
        name: identity.actor.name,
        user,
        rights: identity.actor.rights,
    })
}

pub(super) async fn own_password(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let OwnPassword { current, password } = request::typed(&request, body)?;
    let actor = identity.actor.clone();
    let (user, _) = session(identity)?;
    let source = request::source(&request);
    let work = move |state: &State| {
        state
            .gate
            .change_own_password(&source, &actor, &user, &current, password)
    };
    state.with_password(work).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn password(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let NewPassword { password } = request::typed(&request, body)?;
    let work = move |state: &State| state.gate.set_password(&identity.actor, &id, password);
    state.with_password(work).await?;
    Ok(HttpResponse::NoContent().finish())
}
