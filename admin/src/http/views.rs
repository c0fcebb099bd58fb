//! What is derived from the objects: effective settings, problems, what is published, the audit, the rights there are.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::engine;
use super::error::{ApiError, Code};
use super::request::{self, unknown_parameter, wrong_parameter};
use super::state::State;
use crate::database::{AuditFilter, AuditRow};
use crate::effective::{Effective, Model, Problem, Sourced, effective, sourced_model};
use crate::kind::{Body, Kind};
use crate::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX};
use crate::security::{BuiltInRole, Right};

/// What the audit tells of.
pub(super) const AUDIT_ACTIONS: [&str; 8] = [
    "create", "change", "delete", "secret", "resolve", "upload", "download", "restore",
];

/// What it tells of that is no kind of object.
pub(super) const OTHER_KINDS: [&str; 5] =
    ["backup", "file", "licence", "pairing", "unknown-terminal"];

const TIME_MS_MAX: u64 = i64::MAX as u64;

/// What holds for one terminal.
#[derive(Serialize, ToSchema)]
pub(super) struct EffectiveView {
    /// Its hardware model, which no group gives it.
    model: Sourced<Option<Model>>,
    /// Each setting, with where it comes from.
    settings: Effective,
    /// What could not be met.
    problems: Vec<Problem>,
}

/// What is wrong with the configuration, as far as it is published.
#[derive(Serialize, ToSchema)]
pub(super) struct ProblemsView {
    /// The number of the last change that was looked at.
    change: u64,
    /// In the order of their codes.
    items: Vec<Problem>,
}

/// What is published.
#[derive(Serialize, ToSchema)]
pub(super) struct PublicationView {
    /// The number of the last change of the configuration.
    change: u64,
    /// The number of the last change that is published.
    published_change: u64,
    /// The generation of the catalog that it is in.
    generation: u64,
    /// How long publishing it took, in milliseconds.
    took_ms: u64,
    /// Why the newest state is not published yet, if publishing fails. It is tried again.
    error: Option<String>,
}

/// Who changed what.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditView {
    /// The order of all changes on this server.
    number: i64,
    /// Milliseconds since 1970.
    time_ms: u64,
    /// Who.
    actor: String,
    /// `create`, `change`, `delete`, `resolve` (somebody chose where both servers had changed something), or `secret`: what is
    /// sealed was set, as a password is.
    action: String,
    /// The kind of the object; `file`: a file; `pairing`: the pair; `licence`: a licence.
    kind: String,
    /// The object.
    id: String,
    /// What it said before.
    before: Option<Value>,
    /// What it says since.
    after: Option<Value>,
}

/// A page of the audit, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditPage {
    items: Vec<AuditView>,
    /// Give it as `before` for the next page.
    next: Option<i64>,
}

/// A right, and what it allows.
#[derive(Serialize, ToSchema)]
pub(super) struct RightView {
    right: Right,
    meaning: &'static str,
    /// Built-in roles that have it.
    roles: Vec<&'static str>,
}

pub(super) async fn effective_settings(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let site = state.configuration.site();
    let Some(object) = site.object(Kind::Terminal, &id) else {
        return Err(ApiError::new(
            Code::NotFound,
            format!("there is no terminal {id}"),
        ));
    };
    let Body::Terminal(terminal) = &object.body else {
        return Err(ApiError::internal(&"a terminal is none"));
    };
    let (settings, problems) = effective(&site, object, terminal);
    Ok(HttpResponse::Ok().json(EffectiveView {
        model: sourced_model(&site, object, terminal),
        settings,
        problems,
    }))
}

/// Looking at a terminal's screen is reserved: its right, its setting and its address are here, and what is behind them is not.
pub(super) async fn shadow(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    if state
        .configuration
        .site()
        .object(Kind::Terminal, &id)
        .is_none()
    {
        return Err(ApiError::new(
            Code::NotFound,
            format!("there is no terminal {id}"),
        ));
    }
    Err(ApiError::new(
        Code::NotAvailableYet,
        "shadowing is not available yet",
    ))
}

pub(super) async fn problems(state: web::Data<State>) -> HttpResponse {
    let publication = state.publisher.publication();
    HttpResponse::Ok().json(ProblemsView {
        change: publication.change,
        items: publication.problems.clone(),
    })
}

pub(super) async fn publication(state: web::Data<State>) -> HttpResponse {
    let publication = state.publisher.publication();
    HttpResponse::Ok().json(PublicationView {
        change: state.configuration.site().change(),
        published_change: publication.change,
        generation: publication.generation.get(),
        took_ms: u64::try_from(publication.took.as_millis()).unwrap_or(u64::MAX),
        error: publication.error.clone(),
    })
}

pub(super) async fn audit(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (mut filter, mut limit) = (AuditFilter::default(), PAGE_ITEMS);
    for (name, value) in request::parameters(&request)? {
        let wrong = |why| wrong_parameter(&name, why);
        match name.as_str() {
            "kind" if OTHER_KINDS.contains(&value.as_str()) || Kind::of_word(&value).is_some() => {
                filter.kind = Some(value);
            }
            "kind" => return Err(wrong("there is no such kind")),
            "id" => filter.id = Some(value),
            "actor" => filter.actor = Some(value),
            "action" if AUDIT_ACTIONS.contains(&value.as_str()) => filter.action = Some(value),
            "action" => return Err(wrong("there is no such action")),
            "since_ms" | "until_ms" => {
                // What SQLite can hold is further than any clock goes.
                let time_ms = value.parse().ok().filter(|time_ms| *time_ms <= TIME_MS_MAX);
                let time_ms = time_ms.ok_or_else(|| wrong("these are milliseconds since 1970"))?;
                match name.as_str() {
                    "since_ms" => filter.since_ms = Some(time_ms),
                    _ => filter.until_ms = Some(time_ms),
                }
            }
            "before" => {
                let number = value.parse();
                filter.before = Some(number.map_err(|_| wrong("this is a number that next gave"))?);
            }
            "limit" => {
                let count = value
                    .parse()
                    .ok()
                    .filter(|count| (1..=PAGE_ITEMS_MAX).contains(count));
                limit = count.ok_or_else(|| wrong("a page has 1 to 500 rows"))?;
            }
            _ => return Err(unknown_parameter(&name)),
        }
    }
    let count = u32::try_from(limit).unwrap_or(u32::MAX);
    let work = move |state: &State| {
        state
            .configuration
            .with_database(|database| database.audit(&filter, count))
    };
    let rows: Vec<AuditRow> = state.blocking(work).await?;
    let next = rows
        .last()
        .filter(|_| rows.len() == limit)
        .map(|row| row.number);
    let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
    let items = rows.into_iter().map(|row| AuditView {
        number: row.number,
        time_ms: row.time_ms,
        actor: row.actor,
        action: row.action,
        kind: row.kind,
        id: row.id,
        before: json(row.before),
        after: json(row.after),
    });
    Ok(HttpResponse::Ok().json(AuditPage {
        items: items.collect(),
        next,
    }))
}

#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn rights() -> HttpResponse {
    let view = |right: Right| RightView {
        right,
        meaning: right.meaning(),
        roles: BuiltInRole::ALL
            .into_iter()
            .filter(|role| role.allows(right))
            .map(BuiltInRole::id)
            .collect(),
    };
    HttpResponse::Ok().json(&Right::ALL.map(view)[..])
}

/// The document of the API.
#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(super::document::document())
}

/// Whether the process runs.
#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// Whether what is configured gets published.
pub(super) async fn ready(state: web::Data<State>) -> HttpResponse {
    let publication = state.publisher.publication();
    match &publication.error {
        None if publication.ran => HttpResponse::Ok().content_type("text/plain").body("ok\n"),
        None => HttpResponse::ServiceUnavailable()
            .content_type("text/plain")
            .body("starting\n"),
        // Why, is told to those who may see it.
        Some(_) => HttpResponse::ServiceUnavailable()
            .content_type("text/plain")
            .body("publishing fails\n"),
    }
}

pub(super) async fn metrics(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let site = state.configuration.site();
    let engine = state
        .blocking(|state| -> Result<_, ApiError> { Ok(engine::metrics(state.engine)) })
        .await?;
    state.counters.engine_reachable(engine.is_ok());
    let publication = state.publisher.publication();
    let counts = state.follower.counts();
    let pair = state.link.status();
    let licences = state.licences.known();
    let text = state
        .counters
        .text(&site, &publication, counts, (&pair, &licences));
    let mut text = text.map_err(|error| ApiError::internal(&error))?;
    if let Ok(engine) = engine {
        // One text of both: the names of their metrics differ by how they begin.
        text.truncate(text.trim_end_matches("# EOF\n").len());
        text.push_str(&engine);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(HttpResponse::Ok().content_type(kind).body(text))
}
