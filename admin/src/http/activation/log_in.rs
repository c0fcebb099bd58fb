//! Coming in: log-in, the link of a new account, one's own password, log-out.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::form::{Field, FormView, Sent};
use super::guard::Me;
use super::page::{Html, PageError, form, page, page_of_form, see};
use super::site::Site;
use crate::http::{cookie, request};
use crate::kind::LoginName;
use crate::object::Id;
use crate::security::{Password, TryError};

#[derive(Serialize)]
struct LogInView {
    form: Html,
}

fn log_in_page(
    status: StatusCode,
    name: &str,
    next: &str,
    refused: Option<&PageError>,
) -> Result<HttpResponse, PageError> {
    let fields = vec![
        Field::text("name", "Name").with(name).completed("username"),
        Field::password("password", "Password", "current-password"),
    ];
    let mut view = FormView::new("/log-in", "Log in", fields).hiding("next", next);
    if let Some(refused) = refused {
        view = view.refused(refused);
    }
    let form = form(&view, None)?;
    page(status, None, "Log in", "log-in.html", &LogInView { form })
}

/// A parameter behind the `?`; empty, if it is not there.
pub(super) fn parameter(request: &HttpRequest, name: &str) -> String {
    let pairs = request::parameters(request).unwrap_or_default();
    let found = pairs.into_iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value).unwrap_or_default()
}

/// Where to go after a log-in: to a page of this site, whoever made the link.
fn next_page(wanted: &str) -> &str {
    let plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'/');
    let ours = wanted.starts_with('/') && !wanted.starts_with("//");
    if ours && wanted.len() <= 200 && wanted.bytes().all(plain) {
        wanted
    } else {
        "/licences"
    }
}

#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn show(request: HttpRequest) -> Result<HttpResponse, PageError> {
    let next = parameter(&request, "next");
    log_in_page(StatusCode::OK, "", next_page(&next), None)
}

pub(super) async fn log_in(
    site: web::Data<Site>,
    request: HttpRequest,
    sent: Sent,
) -> Result<HttpResponse, PageError> {
    let (typed, next) = (sent.field("name").to_owned(), sent.field("next").to_owned());
    let password = sent.field("password").to_owned();
    let source = request::source(&request);
    let tried = match LoginName::parse(typed.trim()) {
        // Nobody has such a name.
        Err(_) => Err(TryError::Wrong),
        Ok(name) => {
            let work = move |site: &Site| site.try_password(&source, &name, &password);
            site.with_password(work).await?
        }
    };
    match tried {
        Ok(account) => Ok(let_in(&site, &account.id, next_page(&next))),
        Err(wrong @ TryError::Wrong) => {
            let refused = PageError::from(wrong);
            log_in_page(refused.status(), &typed, next_page(&next), Some(&refused))
        }
        Err(too_many) => Err(too_many.into()),
    }
}

/// Begins a session and leads on.
fn let_in(site: &Site, account: &Id, next: &str) -> HttpResponse {
    let secret = site.begin_session(account);
    let cookie = cookie::ACTIVATION.set(secret.reveal(), site.secure);
    let mut response = see(next);
    if let Ok(value) = header::HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn log_out(site: web::Data<Site>, me: Me, _sent: Sent) -> HttpResponse {
    site.end_session(&me.digest);
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, "/log-in"))
        .insert_header((header::SET_COOKIE, cookie::ACTIVATION.end(site.secure)))
        .finish()
}

fn new_password_fields() -> Vec<Field> {
    vec![
        Field::password("password", "New password", "new-password")
            .hint("At least 12 characters. Several words are good."),
        Field::password("again", "The same again", "new-password"),
    ]
}

/// The password that was typed twice; or what is wrong is said at its field.
fn new_password(sent: &Sent, fields: &mut [Field]) -> Option<Password> {
    let (password, again) = (sent.field("password"), sent.field("again"));
    let [first, second] = fields else { return None };
    let parsed = first.judged(Password::parse(password.to_owned()));
    let same = if password == again {
        Ok(())
    } else {
        Err("This is not the same as above: type both again.")
    };
    second.judged(same).and(parsed)
}

/// The page of a link: who was invited chooses a password.
pub(super) async fn welcome(
    site: web::Data<Site>,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let code = parameter(&request, "code");
    welcome_page(StatusCode::OK, &site, code, new_password_fields()).await
}

async fn welcome_page(
    status: StatusCode,
    site: &web::Data<Site>,
    code: String,
    fields: Vec<Field>,
) -> Result<HttpResponse, PageError> {
    let presented = code.clone();
    let work = move |site: &Site| site.authority.invited(&presented);
    let account = site.blocking(work).await?;
    let text = format!(
        "Choose the password with which {} logs in from now on.",
        account.name.as_str()
    );
    let view = FormView::new("/welcome", "Set the password", fields).hiding("code", &code);
    page_of_form(status, None, "Welcome", &text, &view)
}

pub(super) async fn choose_password(
    site: web::Data<Site>,
    sent: Sent,
) -> Result<HttpResponse, PageError> {
    let code = sent.field("code").to_owned();
    let mut fields = new_password_fields();
    let Some(password) = new_password(&sent, &mut fields) else {
        return welcome_page(StatusCode::UNPROCESSABLE_ENTITY, &site, code, fields).await;
    };
    // Looked at before a password is computed for it.
    let presented = code.clone();
    site.blocking(move |site: &Site| site.authority.invited(&presented))
        .await?;
    let work = move |site: &Site| site.authority.accept_invitation(&code, &password);
    let account = site.with_password(work).await?;
    // A session of before belongs to whoever had the old password.
    site.end_sessions_of(&account.id);
    Ok(let_in(&site, &account.id, "/licences"))
}

fn own_password_form(fields: Vec<Field>) -> FormView {
    let mut all = vec![Field::password(
        "current",
        "Current password",
        "current-password",
    )];
    all.extend(fields);
    FormView::new("/password", "Set the password", all)
}

const OWN_PASSWORD: &str = "Every other session of yours ends with it.";

#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn password(me: Me) -> Result<HttpResponse, PageError> {
    let view = own_password_form(new_password_fields());
    page_of_form(StatusCode::OK, Some(&me), "Password", OWN_PASSWORD, &view)
}

pub(super) async fn change_password(
    site: web::Data<Site>,
    me: Me,
    request: HttpRequest,
    sent: Sent,
) -> Result<HttpResponse, PageError> {
    let mut fields = new_password_fields();
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    let Some(password) = new_password(&sent, &mut fields) else {
        let view = own_password_form(fields);
        return page_of_form(wrong, Some(&me), "Password", OWN_PASSWORD, &view);
    };
    let (name, current) = (me.account.name.clone(), sent.field("current").to_owned());
    let source = request::source(&request);
    let work = move |site: &Site| site.try_password(&source, &name, &current);
    match site.with_password(work).await? {
        Ok(_) => {}
        Err(TryError::Wrong) => {
            let mut view = own_password_form(new_password_fields());
            view.fields[0].error = Some("This is not your current password.".into());
            return page_of_form(wrong, Some(&me), "Password", OWN_PASSWORD, &view);
        }
        Err(too_many) => return Err(too_many.into()),
    }
    let id = me.account.id.clone();
    let work = move |site: &Site| site.authority.set_password(&id, &password);
    site.with_password(work).await?;
    site.end_sessions_of(&me.account.id);
    Ok(let_in(&site, &me.account.id, "/licences"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_leads_to_no_other_site() {
        for ours in ["/licences", "/licences/lic-0a/activations/1", "/accounts"] {
            assert_eq!(next_page(ours), ours);
        }
        for other in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/licences?x",
            "javascript:x",
            "licences",
            "/a\r\nSet-Cookie: x",
        ] {
            assert_eq!(next_page(other), "/licences", "{other}");
        }
    }
}
