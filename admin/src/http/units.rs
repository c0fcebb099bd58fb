//! Units and the terminals that they are: those that are held, adoption, replacement, copied settings.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::objects::{made, shown};
use super::request::{self, Body as RequestBody};
use super::state::State;
use crate::configuration::ChangeError;
use crate::effective::model_of;
use crate::kind::{Fault, MacAddress, Terminal, TerminalName};
use crate::object::Id;
use crate::replacement::{NewUnit, ReplaceError, copy_settings, replace};
use crate::security::Identity;
use crate::unknown::{self, AdoptError, Adoption};

/// A unit that asked for something and is no terminal's.
#[derive(Serialize, ToSchema)]
pub(super) struct UnitView {
    /// Its network card.
    mac: MacAddress,
    /// Where it asked from last. No proof of anything.
    address: String,
    /// When it asked first, in milliseconds since 1970.
    first_ms: u64,
    /// When it asked last, to the minute.
    last_ms: u64,
    /// The hardware model that its network card tells, if any does.
    #[schema(value_type = Option<String>)]
    model: Option<Id>,
}

/// Units that are held, the latest first; 1000 at most.
#[derive(Serialize, ToSchema)]
pub(super) struct UnitsView {
    items: Vec<UnitView>,
}

/// The unit that takes the place of a dead one: its network cards, or the terminal that it is so far.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replacement {
    /// Its network cards: one or two.
    #[serde(default)]
    macs: Option<Vec<MacAddress>>,
    /// Its model; otherwise the one that its network cards tell.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    model: Option<Id>,
    /// In the place of `macs`: a terminal that gives its unit away, and is then gone.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    terminal: Option<Id>,
}

/// Whose settings and group a terminal gets.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Copy {
    /// The terminal to copy from.
    #[schema(value_type = String)]
    from: Id,
}

impl From<AdoptError> for ApiError {
    fn from(error: AdoptError) -> Self {
        match error {
            AdoptError::NotHeld(_) => ApiError::new(Code::NotFound, error.to_string()),
            AdoptError::Change(error) => error.into(),
        }
    }
}

impl From<ReplaceError> for ApiError {
    fn from(error: ReplaceError) -> Self {
        let message = error.to_string();
        match error {
            ReplaceError::NotReplaceable => ApiError::new(Code::NotReplaceable, message).at("id"),
            ReplaceError::Online(_) | ReplaceError::Expected(_) => {
                ApiError::new(Code::Online, message).at("id")
            }
            ReplaceError::OtherModel { .. } => ApiError::new(Code::OtherModel, message).at("model"),
            ReplaceError::Change(error) => error.into(),
        }
    }
}

fn mac(request: &HttpRequest) -> Result<MacAddress, ApiError> {
    let text = request.match_info().get("mac").unwrap_or_default();
    MacAddress::parse(text).map_err(|broken| ApiError::new(Code::InvalidPath, broken.to_string()))
}

pub(super) async fn held(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let work = |state: &State| unknown::held(&state.configuration);
    let units = state.blocking(work).await?.into_iter();
    let site = state.configuration.site();
    let sample = TerminalName::parse("-").map_err(|error| ApiError::internal(&error))?;
    let items = units.map(|unit| {
        let terminal = Terminal::new(sample.clone(), unit.mac, None);
        UnitView {
            mac: unit.mac,
            address: unit.address,
            first_ms: unit.first_ms,
            last_ms: unit.last_ms,
            model: model_of(&site, &terminal).map(|model| model.id.clone()),
        }
    });
    Ok(HttpResponse::Ok().json(UnitsView {
        items: items.collect(),
    }))
}

pub(super) async fn adopt(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: RequestBody,
) -> Result<HttpResponse, ApiError> {
    let mac = mac(&request)?;
    let adoption: Adoption = request::typed(&request, body)?;
    let work =
        move |state: &State| unknown::adopt(&state.configuration, &identity.actor, mac, adoption);
    Ok(made(&*state.blocking(work).await?, None))
}

pub(super) async fn forget(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mac = mac(&request)?;
    let work = move |state: &State| unknown::forget(&state.configuration, &identity.actor, mac);
    state.blocking(work).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn replacement(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: RequestBody,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let unit = match request::typed(&request, body)? {
        Replacement {
            macs: Some(macs),
            model,
            terminal: None,
        } => NewUnit::Cards { macs, model },
        Replacement {
            macs: None,
            model: None,
            terminal: Some(other),
        } => NewUnit::Of(other),
        _ => {
            let why =
                "give the network cards of the new unit as macs, or the terminal that it is so far";
            return Err(ChangeError::from(Fault::new("macs", why)).into());
        }
    };
    let work = move |state: &State| -> Result<_, ApiError> {
        let old = state.old_unit(&id)?;
        Ok(replace(
            &state.configuration,
            &identity.actor,
            &id,
            unit,
            old,
        )?)
    };
    Ok(shown(&*state.blocking(work).await?))
}

pub(super) async fn copy(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: RequestBody,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let expected = request::expected(request.headers())?;
    let Copy { from } = request::typed(&request, body)?;
    let work = move |state: &State| {
        copy_settings(&state.configuration, &identity.actor, &id, &from, expected)
    };
    Ok(shown(&*state.blocking(work).await?))
}
