//! Pages: a template within a frame, with the headers that only pages need. Everything that is put into a template is escaped there.

use core::fmt;
use std::sync::LazyLock;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;

use super::form::FormView;
use super::guard::Me;
use crate::authority::{AuthorityError, LedgerError};
use crate::http::error::ApiError;
use crate::security::{PasswordError, TryError};

/// Forms and the style are our own; there are no scripts. Where a page comes from is told to this site alone: a browser that
/// does not tell it at all does not tell, either, that a form comes from here.
const HEADERS: [(header::HeaderName, &str); 2] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "same-origin"),
];

const TEMPLATES: [(&str, &str); 9] = [
    ("accounts.html", include_str!("pages/accounts.html")),
    ("error.html", include_str!("pages/error.html")),
    ("form.html", include_str!("pages/form.html")),
    ("frame.html", include_str!("pages/frame.html")),
    ("licence.html", include_str!("pages/licence.html")),
    ("licences.html", include_str!("pages/licences.html")),
    ("link.html", include_str!("pages/link.html")),
    ("log-in.html", include_str!("pages/log-in.html")),
    ("plain.html", include_str!("pages/plain.html")),
];

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in TEMPLATES {
        pages
            .add_template(name, text)
            .expect("a template of our own");
    }
    pages
});

fn rendered(template: &str, context: &impl Serialize) -> Result<String, PageError> {
    let failed = |error: minijinja::Error| PageError::internal(&error);
    let template = PAGES.get_template(template).map_err(failed)?;
    template.render(Value::from(Serde(context))).map_err(failed)
}

/// What is around every page.
#[derive(Serialize)]
struct Frame<'p> {
    title: &'p str,
    /// The name of whoever is logged in.
    name: Option<&'p str>,
    staff: bool,
    token: &'p str,
    body: Html,
}

/// What a template has made: not escaped again.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Html(Value);

/// A form, as it stands in a page.
pub(super) fn form(form: &FormView, me: Option<&Me>) -> Result<Html, PageError> {
    #[derive(Serialize)]
    struct WithToken<'p> {
        #[serde(flatten)]
        form: &'p FormView,
        token: Option<&'p str>,
    }
    let token = me.map(|me| me.token.as_str());
    let html = rendered("form.html", &WithToken { form, token })?;
    Ok(Html(Value::from_safe_string(html)))
}

/// A whole page.
pub(super) fn page(
    status: StatusCode,
    me: Option<&Me>,
    title: &str,
    template: &str,
    context: &impl Serialize,
) -> Result<HttpResponse, PageError> {
    let body = Html(Value::from_safe_string(rendered(template, context)?));
    let frame = Frame {
        title,
        name: me.map(|me| me.account.name.as_str()),
        staff: me.is_some_and(Me::is_staff),
        token: me.map_or("", |me| &me.token),
        body,
    };
    let html = rendered("frame.html", &frame)?;
    let mut response = HttpResponse::build(status);
    for header in HEADERS {
        response.insert_header(header);
    }
    Ok(response.content_type("text/html; charset=utf-8").body(html))
}

/// A page with a form and what is said before it.
pub(super) fn page_of_form(
    status: StatusCode,
    me: Option<&Me>,
    title: &str,
    text: &str,
    fields: &FormView,
) -> Result<HttpResponse, PageError> {
    #[derive(Serialize)]
    struct Plain<'p> {
        title: &'p str,
        text: &'p str,
        form: Html,
    }
    let form = form(fields, me)?;
    page(
        status,
        me,
        title,
        "plain.html",
        &Plain { title, text, form },
    )
}

/// Leads to another page, which is read.
pub(super) fn see(path: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, path))
        .finish()
}

#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn front() -> HttpResponse {
    see("/licences")
}

#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .body(include_str!("pages/style.css"))
}

/// What is at no address.
#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn nothing() -> HttpResponse {
    PageError::not_found("There is nothing at this address.").response()
}

/// What an address does not do.
#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn wrong_method() -> HttpResponse {
    let text = "This address does not do that.";
    PageError::new(StatusCode::METHOD_NOT_ALLOWED, text).response()
}

/// What went wrong, as a page.
#[derive(Debug)]
pub(super) struct PageError {
    status: StatusCode,
    text: String,
    retry_s: Option<u64>,
}

impl PageError {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        PageError {
            status,
            text: text.into(),
            retry_s: None,
        }
    }

    /// What failed on our side is told to the log, not to the reader.
    pub(super) fn internal(why: &dyn fmt::Display) -> Self {
        tracing::error!(%why, "a request failed");
        let text = "The site could not do this. Nothing was changed; the site's log says more.";
        PageError::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    pub(super) fn not_found(text: &str) -> Self {
        PageError::new(StatusCode::NOT_FOUND, text)
    }

    /// A form that another site may have sent.
    pub(super) fn foreign() -> Self {
        let text = "This form does not belong to your session, so nothing was changed. Go back, load the page again, and try once more.";
        PageError::new(StatusCode::FORBIDDEN, text)
    }

    /// What it says, for a form that shows it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer.
    pub(super) fn response(&self) -> HttpResponse {
        #[derive(Serialize)]
        struct Failure<'p> {
            title: &'p str,
            text: &'p str,
        }
        let title = self.status.canonical_reason().unwrap_or("Error");
        let text = &self.text;
        let shown = page(
            self.status,
            None,
            title,
            "error.html",
            &Failure { title, text },
        );
        let mut response = shown.unwrap_or_else(|_| HttpResponse::InternalServerError().finish());
        if let Some(seconds) = self.retry_s {
            let value = header::HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.status()).expect("a table of statuses");
        PageError::new(status, sentence(&error.body().message))
    }
}

impl From<TryError> for PageError {
    fn from(error: TryError) -> Self {
        let status = match error {
            TryError::Wrong => StatusCode::UNAUTHORIZED,
            TryError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        };
        let text = match error {
            TryError::Wrong => {
                "The name or the password is wrong. If you forgot the password, ask whoever made your account for a new link."
                    .to_owned()
            }
            TryError::TooMany(_) => sentence(&error.to_string()),
        };
        PageError {
            retry_s: match error {
                TryError::Wrong => None,
                TryError::TooMany(seconds) => Some(seconds),
            },
            ..PageError::new(status, text)
        }
    }
}

impl From<PasswordError> for PageError {
    fn from(error: PasswordError) -> Self {
        PageError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            sentence(&error.to_string()),
        )
    }
}

impl From<AuthorityError> for PageError {
    fn from(error: AuthorityError) -> Self {
        let status = match &error {
            AuthorityError::Unknown(_) | AuthorityError::NoAccount => StatusCode::NOT_FOUND,
            AuthorityError::Ledger(ledger) if ledger.is_busy() => {
                let text = "Somebody else is writing the ledger. Nothing was changed; try again in a moment.";
                return PageError::new(StatusCode::SERVICE_UNAVAILABLE, text);
            }
            AuthorityError::File { .. }
            | AuthorityError::NoKey(_)
            | AuthorityError::Ledger(
                LedgerError::Database(_) | LedgerError::Sqlite(_) | LedgerError::Damaged,
            ) => {
                return PageError::internal(&error);
            }
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        PageError::new(status, sentence(&error.to_string()))
    }
}

/// A message of a program, as people read it.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(char::to_uppercase);
    let end = if message.ends_with(['.', '?']) {
        ""
    } else {
        "."
    };
    let first: String = first.into_iter().flatten().collect();
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::activation::form::Field;

    #[test]
    fn what_is_put_into_a_page_is_escaped() {
        let evil = r#"</title><script>alert(1)</script><input value="" onfocus='x'>"#;
        let mut field = Field::text("name", "Name").with(evil);
        field.error = Some(evil.into());
        let form = FormView::new("/here", "Send", vec![field]);
        let shown = page_of_form(StatusCode::OK, None, evil, evil, &form).expect("rendered");
        let body = actix_web::body::MessageBody::try_into_bytes(shown.into_body());
        let text = String::from_utf8(body.expect("whole").to_vec()).expect("UTF-8");
        assert!(
            !text.contains("<script") && !text.contains("onfocus='"),
            "{text}"
        );
        assert!(text.matches("&lt;script&gt;").count() >= 4, "{text}");
    }

    #[test]
    fn a_message_becomes_a_sentence() {
        assert_eq!(
            sentence("an ID is wrong; read it"),
            "An ID is wrong; read it."
        );
        assert_eq!(sentence(""), ".");
    }
}
