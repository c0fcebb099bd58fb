//! The one page that is here before there is a console: where the first administrator is made.
//!
//! The link's secret stands behind a `#`, so that no browser sends it in an address and no log has it.

use actix_web::HttpResponse;
use actix_web::http::header;

/// Shows the form.
#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn set_up() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .body(include_str!("setup.html"))
}

/// Sends it.
#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn set_up_script() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/javascript; charset=utf-8"))
        .body(include_str!("setup.js"))
}
