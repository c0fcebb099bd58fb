//! The cookies that carry sessions: nothing in a page can read them, and no other site can make a browser send them.

use actix_web::http::header::{self, HeaderMap};

/// A cookie.
pub(super) struct Cookie(&'static str);

/// The session of a user of the administration.
pub(super) const SESSION: Cookie = Cookie("daybreak_session");
/// The session of an account of the activation site: not the same, should both run on one machine.
pub(super) const ACTIVATION: Cookie = Cookie("daybreak_activation");

impl Cookie {
    /// What it is called.
    pub(super) const fn name(&self) -> &'static str {
        self.0
    }

    /// What a request brings.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<String> {
        let headers = headers.get_all(header::COOKIE);
        let texts = headers.filter_map(|value| value.to_str().ok());
        let mut pairs = texts
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs
            .find(|(name, _)| *name == self.0)
            .map(|(_, value)| value.to_owned())
    }

    /// The header that sets it; `secure`: it is sent over TLS only.
    pub(super) fn set(&self, value: &str, secure: bool) -> String {
        let secure = if secure { "; Secure" } else { "" };
        format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}",
            self.0
        )
    }

    /// The header that takes it away.
    pub(super) fn end(&self, secure: bool) -> String {
        format!("{}; Max-Age=0", self.set("", secure))
    }
}
