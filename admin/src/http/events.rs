//! Events: listed, streamed, and what they say of a terminal.
//!
//! A stream keeps nothing for its client: it reads what is stored after the last event that it gave, whenever there is more. So a slow
//! client costs no memory, and one that comes again with `Last-Event-ID` misses nothing that is still kept.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_core::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::request::{self, unknown_parameter, wrong_parameter};
use super::state::State;
use crate::database::DatabaseError;
use crate::events::{Boot, EventRow, Failure, Filter, KINDS, Light, Reported};
use crate::kind::Kind;
use crate::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX, STREAM_BEAT, STREAM_EVENTS, STREAM_TIME};
use crate::object::Id;

/// The parameters of the list, with what they do.
pub(super) const PARAMETERS: [(&str, &str); 6] = [
    ("terminal", "only events of this terminal: its identifier"),
    ("kind", "only events of this kind"),
    (
        "since_ms",
        "only events from this time, in milliseconds since 1970",
    ),
    ("until_ms", "only events before this time"),
    ("before", "only events before this number: what next gave"),
    (
        "limit",
        "how many events a page has: 1 to 500, otherwise 50",
    ),
];

/// The parameters of the stream, with what they do.
pub(super) const STREAM_PARAMETERS: [(&str, &str); 3] = [
    ("terminal", "only events of this terminal: its identifier"),
    ("kind", "only events of this kind"),
    (
        "after",
        "only events after this number; otherwise those that come",
    ),
];

/// A page of events, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct EventPage {
    items: Vec<EventRow>,
    /// Give it as `before` for the next page.
    next: Option<i64>,
}

/// How a terminal is, as far as this server knows.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusView {
    /// The terminal.
    terminal: String,
    /// One light for each server that knows of the terminal.
    lights: Vec<LightView>,
    /// How far it is: a stage that it reported, or `boot`, `script`, `firmware`, `other`, `configuration`.
    stage: Option<String>,
    /// When the boot that is going on began, in milliseconds since 1970.
    boot_started_ms: Option<u64>,
    /// The last boot that came to its configuration.
    last_boot: Option<Boot>,
    /// The last transfer that failed since then.
    failure: Option<Failure>,
    /// What it said last; `null`: it never reported since it was booted.
    reported: Option<Reported>,
    /// How long it runs, in seconds; `null`: it does not report.
    uptime_s: Option<u64>,
    /// Sessions that it has open; `null`: it does not report.
    sessions: Option<u16>,
}

/// A light.
#[derive(Serialize, ToSchema)]
pub(super) struct LightView {
    /// The server that shows it.
    server: String,
    /// Whether that is the server that answers.
    here: bool,
    light: Light,
    /// Since when, in milliseconds since 1970; `null`: nothing is known.
    since_ms: Option<u64>,
    /// Why it is not green, for people.
    why: Option<String>,
}

pub(super) async fn status(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let site = state.configuration.site();
    if site.object(Kind::Terminal, &id).is_none() {
        let message = format!("there is no terminal {id}");
        return Err(ApiError::new(Code::NotFound, message));
    }
    let terminal = id.to_string();
    let work = move |state: &State| -> Result<_, DatabaseError> {
        let book = state.follower.book();
        let status = book.status(&terminal)?.unwrap_or_default();
        let node = state.configuration.node().to_string();
        Ok((terminal, status, book.engine()?, node))
    };
    let (terminal, status, engine, server) = state.blocking(work).await?;
    let shown = status.shown(state.configuration.now_ms(), engine);
    Ok(HttpResponse::Ok().json(StatusView {
        terminal,
        lights: vec![LightView {
            server,
            here: true,
            light: shown.light,
            since_ms: shown.since_ms,
            why: shown.why,
        }],
        stage: shown.stage.map(str::to_owned),
        boot_started_ms: shown.boot_started_ms,
        last_boot: shown.last_boot.cloned(),
        failure: shown.failure.cloned(),
        reported: shown.reported.cloned(),
        uptime_s: shown.uptime_s,
        sessions: shown.sessions,
    }))
}

pub(super) async fn list(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut filter = Filter::default();
    let mut limit = PAGE_ITEMS;
    for (name, value) in request::parameters(&request)? {
        let wrong = |why| wrong_parameter(&name, why);
        let time = || value.parse().ok().filter(|time| *time <= i64::MAX as u64);
        match name.as_str() {
            "since_ms" => {
                filter.since_ms = Some(time().ok_or_else(|| wrong("this is no time"))?);
            }
            "until_ms" => {
                filter.until_ms = Some(time().ok_or_else(|| wrong("this is no time"))?);
            }
            "before" => {
                let number = value.parse();
                filter.before = Some(number.map_err(|_| wrong("this is a number that next gave"))?);
            }
            "limit" => {
                let count = value.parse().ok();
                let count = count.filter(|count| (1..=PAGE_ITEMS_MAX).contains(count));
                limit = count.ok_or_else(|| wrong("a page has 1 to 500 events"))?;
            }
            _ => select(&mut filter, &name, value)?,
        }
    }
    let count = u32::try_from(limit).unwrap_or(u32::MAX);
    let work = move |state: &State| state.follower.book().events(&filter, count);
    let items = state.blocking(work).await?;
    let next = items
        .last()
        .filter(|_| items.len() == limit)
        .map(|row| row.number);
    Ok(HttpResponse::Ok().json(EventPage { items, next }))
}

pub(super) async fn stream(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut filter = Filter::default();
    let mut after = None;
    for (name, value) in request::parameters(&request)? {
        match name.as_str() {
            "after" => {
                let wrong = || wrong_parameter("after", "this is the number of an event");
                after = Some(number(&value).ok_or_else(wrong)?);
            }
            _ => select(&mut filter, &name, value)?,
        }
    }
    // A browser that comes again knows better than the address that it was given.
    if let Some(last) = request.headers().get("last-event-id") {
        let last = last.to_str().ok().and_then(number);
        let message = "Last-Event-ID is the number of an event";
        after = Some(last.ok_or_else(|| ApiError::new(Code::InvalidQuery, message))?);
    }
    let Ok(permit) = state.at_once.streams.clone().try_acquire_owned() else {
        return Err(ApiError::new(
            Code::Busy,
            "too many streams of events at once",
        ));
    };
    let mut newest = state.follower.newest();
    let from = after.unwrap_or_else(|| *newest.borrow());
    let (pieces, body) = mpsc::channel(1);
    let state = state.into_inner();
    actix_web::rt::spawn(async move {
        let _permit = permit;
        let end = Instant::now() + STREAM_TIME;
        filter.after = Some(from);
        // At once, so that the client knows that it is connected.
        let mut piece = "retry: 2000\n\n".to_owned();
        loop {
            // Seen before what is stored is read: what comes meanwhile is seen again.
            newest.borrow_and_update();
            let wanted = filter.clone();
            let work = move |state: &State| state.follower.book().events(&wanted, STREAM_EVENTS);
            let Ok(rows) = state.blocking(work).await else {
                // The client comes again, from where it was.
                return;
            };
            let more = rows.len() == STREAM_EVENTS as usize;
            for row in rows {
                let data = serde_json::to_string(&row).expect("text keys and plain values");
                let (number, kind) = (row.number, &row.kind);
                piece.push_str(&format!("id: {number}\nevent: {kind}\ndata: {data}\n\n"));
                filter.after = Some(number);
            }
            if !piece.is_empty() {
                let sent = timeout_at(end, pieces.send(web::Bytes::from(piece)));
                if !matches!(sent.await, Ok(Ok(()))) {
                    return;
                }
            }
            piece = String::new();
            if more {
                continue;
            }
            if Instant::now() >= end {
                return;
            }
            tokio::select! {
                () = pieces.closed() => return,
                changed = timeout(STREAM_BEAT, newest.changed()) => match changed {
                    Ok(Ok(())) => {}
                    // Following has ended, and so has the process.
                    Ok(Err(_)) => return,
                    Err(_) => piece.push_str(": nothing new\n\n"),
                },
            }
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // A proxy is not to wait for more.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Pieces(body)))
}

/// The parameters of both.
fn select(filter: &mut Filter, name: &str, value: String) -> Result<(), ApiError> {
    match name {
        "terminal" => {
            let id = Id::parse(&value);
            id.map_err(|_| wrong_parameter(name, "this is not an identifier"))?;
            filter.terminal = Some(value);
        }
        "kind" => {
            if !KINDS.iter().any(|(kind, _)| *kind == value) {
                let kinds = KINDS.map(|(kind, _)| kind).join(", ");
                return Err(wrong_parameter(name, &format!("kinds are {kinds}")));
            }
            filter.kind = Some(value);
        }
        _ => return Err(unknown_parameter(name)),
    }
    Ok(())
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| *number >= 0)
}

/// The body of a stream.
struct Pieces(mpsc::Receiver<web::Bytes>);

impl Stream for Pieces {
    type Item = Result<web::Bytes, actix_web::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}
