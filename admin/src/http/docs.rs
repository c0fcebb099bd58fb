//! The document of the API to look at and to try out: Swagger UI, which is part of this program. Nothing of it comes from
//! elsewhere, and the policy of the page allows nothing else.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use utoipa_swagger_ui::Config;

use super::error::{ApiError, Code};

/// Pictures that the style sheet holds are `data:`; all else is files of ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .content_type("text/html; charset=utf-8")
        .body(include_str!("docs.html"))
}

/// What the page consists of.
#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn part(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let (kind, body) = match request.match_info().get("part").unwrap_or_default() {
        "start.js" => (
            "text/javascript",
            Cow::Borrowed(include_str!("docs.js").as_bytes()),
        ),
        name @ "swagger-ui-bundle.js" => ("text/javascript", shipped(name)?),
        name @ "swagger-ui.css" => ("text/css", shipped(name)?),
        _ => {
            return Err(ApiError::new(
                Code::NotFound,
                "there is nothing at this address",
            ));
        }
    };
    Ok(HttpResponse::Ok()
        // They change with the program only.
        .insert_header((header::CACHE_CONTROL, "private, max-age=3600"))
        .content_type(format!("{kind}; charset=utf-8"))
        .body(body.into_owned()))
}

fn shipped(name: &str) -> Result<Cow<'static, [u8]>, ApiError> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default()));
    let file = file.map_err(|error| ApiError::internal(&error))?;
    let file = file.ok_or_else(|| ApiError::internal(&format!("{name} is not shipped")))?;
    Ok(file.bytes)
}
