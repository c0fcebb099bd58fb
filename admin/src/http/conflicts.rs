//! What was changed on both servers of a pair at once: looked at, and chosen.

use actix_web::{HttpRequest, HttpResponse, web};
use daybreak_sync::{Digest, NodeId, ObjectKey, Row, Stamp, Value as RowValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::request::{self, Body, unknown_parameter, wrong_parameter};
use super::state::State;
use crate::file;
use crate::kind::Kind;
use crate::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX};
use crate::security::{BuiltInRole, Identity, Right};
use crate::site::read;

/// An object that was changed on both servers at once.
#[derive(Serialize, ToSchema)]
pub(super) struct ConflictView {
    /// What it is; `file`: a file.
    kind: String,
    /// Which one.
    id: String,
    /// Names this state of it: to be sent with the choice.
    revision: String,
    /// What was made of it. The first is in force, unless it is late.
    values: Vec<ValueView>,
}

/// What one change made of an object.
#[derive(Serialize, ToSchema)]
pub(super) struct ValueView {
    /// Whether terminals get this.
    in_force: bool,
    /// It comes from a server that had been replaced.
    late: bool,
    /// Whether it deletes the object.
    deleted: bool,
    /// What it says, sealed fields left out; `null` if it deletes the object, or if you may not see it.
    body: Option<Value>,
    /// When it was made, in milliseconds since 1970, as far as that server knew.
    time_ms: u64,
    /// The server that made it.
    node: String,
    /// Whether that is this server.
    here: bool,
}

/// A page of conflicts.
#[derive(Serialize, ToSchema)]
pub(super) struct ConflictPage {
    items: Vec<ConflictView>,
    /// On all pages.
    total: usize,
    /// Give it as `after` for the next page.
    next: Option<String>,
}

/// The answer to a conflict.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    /// What the object is.
    kind: String,
    /// Which one.
    id: String,
    /// The state that was looked at.
    revision: String,
    /// Which of the values: 0 is the first.
    choice: usize,
}

pub(super) async fn list(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (mut after, mut limit) = (None, PAGE_ITEMS);
    for (name, value) in request::parameters(&request)? {
        match name.as_str() {
            "after" => {
                let key = value
                    .split_once('.')
                    .and_then(|(kind, id)| ObjectKey::parse(kind, id));
                let why = "this is what next gave";
                after = Some(key.ok_or_else(|| wrong_parameter("after", why))?);
            }
            "limit" => {
                let count = value
                    .parse()
                    .ok()
                    .filter(|count| (1..=PAGE_ITEMS_MAX).contains(count));
                let why = "a page has 1 to 500 conflicts";
                limit = count.ok_or_else(|| wrong_parameter("limit", why))?;
            }
            _ => return Err(unknown_parameter(&name)),
        }
    }
    let work = move |state: &State| {
        state.configuration.with_database(|database| {
            let rows = database.conflicts(after.as_ref(), limit)?;
            Ok((rows, database.conflict_count()?, database.node()))
        })
    };
    let (rows, total, node) = state.blocking(work).await?;
    let next = rows.last().filter(|_| rows.len() == limit);
    let next = next.map(|row| format!("{}.{}", row.key.kind(), row.key.id()));
    let items = rows.iter().map(|row| view(row, node, &identity)).collect();
    Ok(HttpResponse::Ok().json(ConflictPage { items, total, next }))
}

fn view(row: &Row, node: NodeId, identity: &Identity) -> ConflictView {
    let kind = Kind::of_word(row.key.kind());
    let right = kind.map_or(Right::FilesRead, Right::to_read);
    let visible = identity.actor.rights.contains(&right);
    let value = |(at, value): (usize, &RowValue)| {
        let Stamp { time_ms, .. } = value.stamp;
        ValueView {
            in_force: at == 0 && !value.late,
            late: value.late,
            deleted: value.body.is_none(),
            body: value
                .body
                .as_ref()
                .filter(|_| visible)
                .and_then(|body| shown(kind, body)),
            time_ms,
            node: value.dot.node.to_string(),
            here: value.dot.node == node,
        }
    };
    ConflictView {
        kind: row.key.kind().to_owned(),
        id: row.key.id().to_owned(),
        revision: revision(row),
        values: row.values().iter().enumerate().map(value).collect(),
    }
}

/// What a value says, as it may be shown.
fn shown(kind: Option<Kind>, body: &daybreak_sync::Body) -> Option<Value> {
    match kind {
        Some(kind) => Some(read(kind, body).ok()?.shown()),
        None => {
            let file = file::File::of(body)?;
            let image = file.image;
            Some(serde_json::json!({
                "name": file.name.to_string(), "bytes": image.bytes, "blake3": image.hash.to_string(),
            }))
        }
    }
}

/// Names a state of a row: another for every change of any of its values.
fn revision(row: &Row) -> String {
    let octets = Digest::whole(row).to_bytes();
    octets[..16]
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

pub(super) async fn resolve(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let Choice {
        kind,
        id,
        revision: seen,
        choice,
    } = request::typed(&request, body)?;
    let unknown = || ApiError::new(Code::NotFound, "there is no such conflict");
    let key = ObjectKey::parse(&kind, &id).ok_or_else(unknown)?;
    may_choose(&identity, &kind)?;
    let work = move |state: &State| -> Result<(), ApiError> {
        let row = state
            .configuration
            .with_database(|database| database.row(&key))?;
        let row = row.filter(|row| row.conflicts().next().is_some());
        let row = row.ok_or_else(unknown)?;
        if revision(&row) != seen {
            return Err(ApiError::new(
                Code::Stale,
                "the object was changed since you looked at it",
            ));
        }
        if choice >= row.values().len() {
            let why = format!("this conflict has {} values", row.values().len());
            return Err(ApiError::new(Code::Invalid, why).at("choice"));
        }
        Ok(state.configuration.resolve(&identity.actor, &row, choice)?)
    };
    state.blocking(work).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Whoever chooses changes the object. What gives rights is chosen by those who have all of them.
fn may_choose(identity: &Identity, kind: &str) -> Result<(), ApiError> {
    let needed = match Kind::of_word(kind) {
        Some(Kind::User | Kind::Role | Kind::ApiKey) => {
            BuiltInRole::Administrator.rights().into_iter().collect()
        }
        Some(kind) => vec![Right::to_write(kind)],
        None => vec![Right::FilesWrite],
    };
    let mut missing = needed
        .into_iter()
        .filter(|right| !identity.actor.rights.contains(right));
    missing
        .next()
        .map_or(Ok(()), |right| Err(ApiError::forbidden(right)))
}
