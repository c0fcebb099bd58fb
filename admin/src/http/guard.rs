//! Before every handler: who asks, and whether they may.
//!
//! An address is reachable only with an [`Access`] beside it in the table of routes. Whatever is not public needs an identity;
//! a change by a session needs a header, too, that no other site can make a browser send.

use core::future::{Ready, ready};
use std::rc::Rc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};

use super::cookie;
use super::error::{ApiError, Code};
use super::outer::Asker;
use super::state::State;
use crate::configuration::ChangeError;
use crate::security::{Credential, Identity, Right};

/// The header that a change by a session must have.
pub(super) const HEADER: &str = "x-daybreak-request";

/// What is changed on this server alone, also where the configuration is changed on the other one. `docs/api.md` lists the routes.
const CHANGED_ANYWHERE: [&str; 5] = [
    "/api/v1/licences",
    "/api/v1/session",
    "/api/v1/sessions",
    // As long as it is off: looked at when it is changed.
    "/api/v1/settings/synchronization",
    "/api/v1/sync",
];

/// What is beneath these, and changes the configuration all the same. The password is a part of the user, whom both servers keep.
const CHANGED_ON_PRIMARY: [&str; 3] = [
    "/api/v1/session/password",
    "/api/v1/sync/conflicts",
    "/api/v1/sync/runs",
];

/// Whether a change at this address is one that a server makes where the configuration is changed on the other one.
pub(super) fn is_changed_anywhere(path: &str) -> bool {
    let is_beneath = |of: &&str| {
        let rest = path.strip_prefix(of);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    CHANGED_ANYWHERE.iter().any(is_beneath) && !CHANGED_ON_PRIMARY.contains(&path)
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever was let in, whatever their rights.
    Identified,
    /// Who has this right.
    Right(Right),
}

/// Lets a request through to its handler, or answers in its place.
pub(super) async fn guard(
    accesses: Rc<[(Method, Access)]>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match admit(&accesses, &request) {
        Ok(identity) => {
            if let Some(identity) = identity {
                let mut extensions = request.extensions_mut();
                extensions.insert(Asker(identity.actor.name.clone()));
                extensions.insert(identity);
            }
            next.call(request)
                .await
                .map(ServiceResponse::map_into_boxed_body)
        }
        Err(refused) => Ok(request.into_response(refused.response())),
    }
}

fn admit(
    accesses: &[(Method, Access)],
    request: &ServiceRequest,
) -> Result<Option<Identity>, ApiError> {
    let access = accesses
        .iter()
        .find(|(method, _)| method == request.method());
    let Some((_, access)) = access else {
        let methods: Vec<&str> = accesses.iter().map(|(method, _)| method.as_str()).collect();
        let methods = methods.join(", ");
        let message = format!("this address knows {methods}");
        return Err(ApiError::new(Code::MethodNotAllowed, message).with(header::ALLOW, methods));
    };
    if *access == Access::Public {
        return Ok(None);
    }
    let identity = identify(request)?;
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let by_session = matches!(identity.by, Credential::Session { .. });
    if by_session && !safe && !request.headers().contains_key(HEADER) {
        return Err(ApiError::new(
            Code::HeaderMissing,
            "a change by a session needs the header X-Daybreak-Request",
        ));
    }
    if !safe && !is_changed_anywhere(request.path()) {
        let state = request.app_data::<actix_web::web::Data<State>>();
        let primary = state.and_then(|state| state.configuration.primary_elsewhere());
        if let Some(primary) = primary {
            return Err(ChangeError::Secondary(primary).into());
        }
    }
    match access {
        Access::Right(right) if !identity.actor.rights.contains(right) => {
            Err(ApiError::forbidden(*right))
        }
        _ => Ok(Some(identity)),
    }
}

fn identify(request: &ServiceRequest) -> Result<Identity, ApiError> {
    let refused = |message: &str| ApiError::new(Code::Unauthenticated, message);
    let Some(state) = request.app_data::<actix_web::web::Data<State>>() else {
        return Err(ApiError::internal(&"the application has no state"));
    };
    // Who sends an API key means it, whatever cookies a browser adds.
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let key = value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "));
        let identity = key.and_then(|key| state.gate.by_key(key.trim()));
        return identity.ok_or_else(|| refused("this API key is not valid"));
    }
    let Some(secret) = cookie::SESSION.of(request.headers()) else {
        return Err(refused("nobody is logged in"));
    };
    state
        .gate
        .by_session(&secret)
        .ok_or_else(|| refused("the session has ended"))
}

/// The identity that the guard has found, as a handler's argument.
impl FromRequest for Identity {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = request.extensions().get::<Identity>().cloned();
        ready(found.ok_or_else(|| {
            ApiError::internal(&"a handler of a public route asked for an identity")
        }))
    }
}
