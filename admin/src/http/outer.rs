//! Around every request: its identifier, headers that every answer has, the access log, the counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};

use super::counters::Counters;
use super::error::{ApiError, Code};
use super::hosts::Hosts;
use super::unread::Unread;

/// What is the same around every request of an application.
pub(super) struct Outer {
    /// Under which names it is asked.
    pub(super) hosts: Hosts,
    /// Where requests are counted, if they are.
    pub(super) counters: Option<Arc<Counters>>,
}

/// Who asks, for the access log: put among the extensions of a request by whoever knows.
pub(super) struct Asker(pub(super) String);

static SERIAL: AtomicU64 = AtomicU64::new(1);

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

pub(super) async fn outer(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    // Ours, never the client's: what is looked for in the log must be one request.
    let id = format!(
        "{:x}-{:x}",
        std::process::id(),
        SERIAL.fetch_add(1, Ordering::Relaxed)
    );
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let around = request.app_data::<web::Data<Outer>>().cloned();
    let here = around
        .as_ref()
        .is_some_and(|around| around.hosts.allow(request.headers()));
    let unread = Unread::of(&mut request);
    let mut response = if here {
        // Errors of handlers and of the guard are answers by now.
        next.call(request).await?.map_into_boxed_body()
    } else {
        let refused = ApiError::new(Code::WrongHost, "this server is not known by that name");
        request.into_response(refused.response())
    };
    for (name, value) in HEADERS {
        // A page that needs another policy has said so.
        if !response.headers().contains_key(&name) {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-request-id"), value);
    }
    let status = response.status().as_u16();
    let took = started.elapsed();
    if let Some(counters) = around.as_ref().and_then(|around| around.counters.as_ref()) {
        counters.answered(&method, status, took);
    }
    let extensions = response.request().extensions();
    let actor = extensions.get::<Asker>().map(|Asker(name)| name.clone());
    drop(extensions);
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(request = id, actor, %method, path, status, took_us, "request");
    Ok(match unread {
        Some(unread) => unread.kept_by(response),
        None => response,
    })
}

/// What is at no address.
#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn nothing() -> HttpResponse {
    ApiError::new(Code::NotFound, "there is nothing at this address").response()
}
