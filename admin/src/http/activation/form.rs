//! Forms: what a page shows of one, and what somebody sends of it.

use std::collections::BTreeMap;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use serde::Serialize;

use super::guard::Me;
use super::page::PageError;
use crate::http::request;

/// A form, as a page shows it.
#[derive(Serialize)]
pub(super) struct FormView {
    /// Where it is sent.
    action: String,
    /// What its button says.
    submit: &'static str,
    /// What is typed.
    pub(super) fields: Vec<Field>,
    /// What goes with it unseen.
    hidden: Vec<(&'static str, String)>,
    /// What is wrong with the whole of it.
    pub(super) error: Option<String>,
}

impl FormView {
    pub(super) fn new(action: impl Into<String>, submit: &'static str, fields: Vec<Field>) -> Self {
        FormView {
            action: action.into(),
            submit,
            fields,
            hidden: Vec::new(),
            error: None,
        }
    }

    pub(super) fn hiding(self, name: &'static str, value: &str) -> Self {
        FormView {
            hidden: vec![(name, value.to_owned())],
            ..self
        }
    }

    /// The same, with what was wrong with the whole of it.
    pub(super) fn refused(self, error: &PageError) -> Self {
        FormView {
            error: Some(error.text().to_owned()),
            ..self
        }
    }
}

/// A field of a form.
#[derive(Serialize)]
pub(super) struct Field {
    pub(super) name: &'static str,
    label: String,
    hint: String,
    pub(super) value: String,
    /// What is wrong with what was typed.
    pub(super) error: Option<String>,
    /// The type of the input; empty: one of `choices`.
    kind: &'static str,
    choices: Vec<(&'static str, String)>,
    autocomplete: &'static str,
    required: bool,
}

impl Field {
    fn new(name: &'static str, label: &str, kind: &'static str) -> Self {
        Field {
            name,
            label: label.to_owned(),
            hint: String::new(),
            value: String::new(),
            error: None,
            kind,
            choices: Vec::new(),
            autocomplete: "off",
            required: true,
        }
    }

    pub(super) fn text(name: &'static str, label: &str) -> Self {
        Field::new(name, label, "text")
    }

    pub(super) fn number(name: &'static str, label: &str) -> Self {
        Field::new(name, label, "number")
    }

    pub(super) fn password(name: &'static str, label: &str, autocomplete: &'static str) -> Self {
        Field::new(name, label, "password").completed(autocomplete)
    }

    pub(super) fn choice(
        name: &'static str,
        label: &str,
        choices: Vec<(&'static str, String)>,
    ) -> Self {
        Field {
            choices,
            ..Field::new(name, label, "")
        }
    }

    pub(super) fn hint(self, hint: &str) -> Self {
        Field {
            hint: hint.to_owned(),
            ..self
        }
    }

    pub(super) fn with(self, value: &str) -> Self {
        Field {
            value: value.to_owned(),
            ..self
        }
    }

    /// What a browser may fill in.
    pub(super) fn completed(self, autocomplete: &'static str) -> Self {
        Field {
            autocomplete,
            ..self
        }
    }

    pub(super) fn optional(self) -> Self {
        Field {
            required: false,
            ..self
        }
    }

    pub(super) fn is_optional(&self) -> bool {
        !self.required
    }

    /// Says what is wrong with what was typed, if anything is.
    pub(super) fn judged<T, E: ToString>(&mut self, outcome: Result<T, E>) -> Option<T> {
        outcome
            .map_err(|error| self.error = Some(error.to_string()))
            .ok()
    }
}

/// What somebody sends: of a form of their session, if they have one.
pub(super) struct Sent(BTreeMap<String, String>);

impl Sent {
    /// What a field has; empty, if it is not there.
    pub(super) fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl FromRequest for Sent {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = request::Body::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let pairs = request::form(&request, body.await?)?;
            let sent = Sent(pairs.into_iter().collect());
            let extensions = request.extensions();
            let expected = extensions.get::<Me>().map(|me| me.token.as_str());
            if expected.is_some_and(|token| !same(token, sent.field("form"))) {
                return Err(PageError::foreign());
            }
            Ok(sent)
        })
    }
}

/// Compares in a time that does not tell where they differ.
fn same(one: &str, other: &str) -> bool {
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}
