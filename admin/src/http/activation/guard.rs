//! Before every handler: who asks, whether they may, and whether what they send comes from a page of this site.

use core::future::{Ready, ready};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, HttpResponse, web};

use super::page::{PageError, see};
use super::places::Access;
use super::site::Site;
use crate::authority::Account;
use crate::http::cookie;
use crate::http::outer::Asker;
use crate::security::{Digest, hex};

/// What the token of a session is derived from it for.
const TOKEN: &str = "daybreak 2026 token of the forms of a session";

/// Who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Me {
    pub(super) account: Account,
    /// The session.
    pub(super) digest: Digest,
    /// What every form of the session carries: no other site can know it.
    pub(super) token: String,
}

impl Me {
    /// The customer whose licences are shown; all of them, if there is none.
    pub(super) fn customer(&self) -> Option<&str> {
        self.account.customer.as_deref()
    }

    pub(super) fn is_staff(&self) -> bool {
        self.account.customer.is_none()
    }
}

/// Lets a request through to its handler, or answers in its place.
pub(super) async fn guard(
    access: Access,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match admit(access, &request).await {
        Ok(me) => {
            if let Some(me) = me {
                let mut extensions = request.extensions_mut();
                extensions.insert(Asker(format!("account {}", me.account.name.as_str())));
                extensions.insert(me);
            }
            let answered = next.call(request).await;
            answered.map(ServiceResponse::map_into_boxed_body)
        }
        Err(answer) => Ok(request.into_response(answer)),
    }
}

async fn admit(access: Access, request: &ServiceRequest) -> Result<Option<Me>, HttpResponse> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if !safe && !is_from_here(request.headers()) {
        return Err(PageError::foreign().response());
    }
    if access == Access::Public {
        return Ok(None);
    }
    let me = identify(request).await.map_err(|error| error.response())?;
    let Some(me) = me else {
        // Back here afterwards, if it is a page.
        let next = if safe { request.path() } else { "/licences" };
        return Err(see(&format!("/log-in?next={next}")));
    };
    if access == Access::Staff && !me.is_staff() {
        let text = "This page is for the vendor's staff.";
        return Err(PageError::new(StatusCode::FORBIDDEN, text).response());
    }
    Ok(Some(me))
}

async fn identify(request: &ServiceRequest) -> Result<Option<Me>, PageError> {
    let Some(site) = request.app_data::<web::Data<Site>>().cloned() else {
        return Err(PageError::internal(&"the site has no state"));
    };
    let Some(secret) = cookie::ACTIVATION.of(request.headers()) else {
        return Ok(None);
    };
    let digest = Digest::of(&secret);
    let account = site
        .blocking(move |site: &Site| site.session(&digest))
        .await?;
    Ok(account.map(|account| Me {
        account,
        digest,
        token: hex(&blake3::derive_key(TOKEN, secret.as_bytes())),
    }))
}

/// Whether a browser that sends this shows a page of this site, or it is no browser: those always say where they come from.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &header::HeaderValue| value.to_str().unwrap_or_default())
    };
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let Some(origin) = text(header::ORIGIN) else {
        return true;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some() && authority == text(header::HOST)
}

/// Who is logged in, as a handler's argument.
impl FromRequest for Me {
    type Error = PageError;
    type Future = Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = request.extensions().get::<Me>().cloned();
        ready(found.ok_or_else(|| {
            PageError::internal(&"a handler of a public place asked who is logged in")
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_another_site_makes_a_browser_send_is_known_by_its_headers() {
        let from = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::HOST,
                header::HeaderValue::from_static("site.example"),
            );
            for (name, value) in pairs {
                let name = header::HeaderName::from_static(name);
                headers.insert(name, header::HeaderValue::from_static(value));
            }
            is_from_here(&headers)
        };
        let (fetch, origin) = ("sec-fetch-site", "origin");
        for ours in [
            &[][..],
            &[(fetch, "same-origin"), (origin, "https://site.example")],
            // Behind a proxy that asks by another name: the browser has compared.
            &[(fetch, "same-origin"), (origin, "https://public.example")],
            &[(origin, "https://site.example")],
        ] {
            assert!(from(ours), "{ours:?}");
        }
        for foreign in [
            &[(fetch, "cross-site")][..],
            &[(fetch, "same-site"), (origin, "https://site.example")],
            &[(fetch, "none")],
            &[(fetch, "")],
            &[(origin, "null")],
            &[(origin, "https://evil.example")],
            &[(origin, "https://site.example.evil")],
            &[(origin, "site.example")],
            &[(origin, "")],
        ] {
            assert!(!from(foreign), "{foreign:?}");
        }
    }
}
