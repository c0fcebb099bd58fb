//! Licences and seats: what is installed, what it allows, who holds a seat.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::objects::shown;
use super::request::{self, Body as RequestBody};
use super::state::State;
use crate::kind::{Body, Kind};
use crate::licences::{self, InstallError, Installed, Known, SeatError};
use crate::licensing::{Count, Product, ProductLicence, Redundancy, Standing};
use crate::security::Identity;
use crate::site::Site;

/// A licence file to be installed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLicence {
    /// The text of the file, exactly as it is.
    licence: String,
}

/// An installed licence.
#[derive(Serialize, ToSchema)]
pub(super) struct LicenceView {
    /// Which master licence.
    id: String,
    /// Which activation of it.
    activation: u32,
    /// Whose it is.
    customer: String,
    /// What it allows two servers.
    redundancy: Redundancy,
    /// The Installation IDs that it is for.
    #[schema(value_type = Vec<String>)]
    installations: Vec<String>,
    /// What is in it.
    products: Vec<ProductLicence>,
    /// When this activation was made, in milliseconds since 1970.
    issued_ms: u64,
    /// Since when it holds.
    valid_from_ms: u64,
    /// Until when; `null`: for ever.
    valid_until_ms: Option<u64>,
    /// `active`, `not-yet-valid`, `expired`, `not-paired`, `no-automatic-synchronization`, `partner-unknown`, `other-partner` or
    /// `outranked`.
    state: &'static str,
    /// The same for people: why, and what to do.
    why: String,
}

/// A licence file that is not used.
#[derive(Serialize, ToSchema)]
struct RefusedView {
    /// Its name in `keys/licences`, or the licence whose file is gone.
    name: String,
    /// Why, as a word.
    code: &'static str,
    /// Why, for people.
    why: String,
}

/// Licences of this server.
#[derive(Serialize, ToSchema)]
pub(super) struct LicencesView {
    /// Those that are installed.
    items: Vec<LicenceView>,
    /// Files that are not used, and licences whose file is gone.
    refused: Vec<RefusedView>,
}

/// How many there may be of something that is counted, and how many there are.
#[derive(Serialize, ToSchema)]
struct CountView {
    /// Of what; `terminal` is a seat.
    product: &'static str,
    /// How many may be used; `null`: any number.
    entitled: Option<u64>,
    /// How many are.
    used: u64,
    /// How many beyond it: nobody loses a seat, and no new one is granted until that is mended.
    excess: u64,
}

/// A licence that is installed and not in force.
#[derive(Serialize, ToSchema)]
struct InactiveView {
    /// Which master licence.
    id: String,
    /// As in the list of licences; never `active`.
    state: &'static str,
    /// The same for people: why, and what to do.
    why: String,
}

/// A server of the site.
#[derive(Serialize, ToSchema)]
struct ServerView {
    /// `this` or `partner`.
    server: &'static str,
    /// Its Installation ID; `null`: it has not told yet.
    installation: Option<String>,
    /// Whether a licence is in force there; of the partner, as far as it has told.
    licensed: bool,
}

/// What the licences allow.
#[derive(Serialize, ToSchema)]
pub(super) struct LicensingView {
    /// What is in force.
    mode: Redundancy,
    /// Whether a licence holds now. Without one: 10 terminals on one server, for as long as one likes.
    licensed: bool,
    /// Whether this server boots terminals. The second one of a pair without a licence for two does not.
    boots: bool,
    /// Whether this server grants seats; a mirror does not.
    grants: bool,
    /// Licences that are installed and not in force, and why.
    inactive: Vec<InactiveView>,
    /// What may be used, and what is.
    counts: Vec<CountView>,
    /// Terminals that wait for a seat, and do not boot.
    waiting: u64,
    /// Both servers.
    servers: Vec<ServerView>,
    /// What this data directory was on another machine: licences need a new activation.
    moved_from: Option<String>,
    /// When the first of the licences that hold now ends.
    expires_ms: Option<u64>,
    /// `alone`, `unknown`, `agrees` or `differs`: whether the partner has the same licences.
    agreement: &'static str,
    /// What is different.
    differences: Vec<String>,
    /// What to look at. It refuses nobody who holds a seat.
    warnings: Vec<String>,
    /// The vendors' keys that are trusted.
    vendor_keys: Vec<String>,
}

impl From<InstallError> for ApiError {
    fn from(error: InstallError) -> Self {
        let message = error.to_string();
        match error {
            InstallError::Licence(why) => {
                let message = format!("{message} ({})", why.word());
                ApiError::new(Code::LicenceRefused, message).at("licence")
            }
            InstallError::Unknown(_) => ApiError::new(Code::NotFound, message),
            InstallError::Database(error) => error.into(),
            InstallError::File(error) if error.source.kind() == std::io::ErrorKind::StorageFull => {
                ApiError::new(Code::DiskFull, message)
            }
            InstallError::File(error) => ApiError::internal(&error),
        }
    }
}

impl From<SeatError> for ApiError {
    fn from(error: SeatError) -> Self {
        match error {
            SeatError::Disabled => ApiError::new(Code::NoSeat, error.to_string()).at("enabled"),
            SeatError::Change(error) => error.into(),
        }
    }
}

impl LicenceView {
    fn of(installed: &Installed, known: &Known) -> Self {
        let licence = &installed.licence;
        let mut standings = known.status.licences.iter();
        let standing = standings.find(|(id, _)| *id == licence.id);
        let standing = standing.map_or(Standing::Active, |(_, standing)| standing.clone());
        LicenceView {
            id: licence.id.to_string(),
            activation: licence.activation,
            customer: licence.customer.clone(),
            redundancy: licence.redundancy,
            installations: licence
                .installations
                .iter()
                .map(ToString::to_string)
                .collect(),
            products: licence.products.clone(),
            issued_ms: licence.issued_ms,
            valid_from_ms: licence.valid_from_ms,
            valid_until_ms: licence.valid_until_ms,
            state: standing.word(),
            why: standing.to_string(),
        }
    }
}

impl LicencesView {
    pub(super) fn of(known: &Known) -> Self {
        let items = known
            .installed
            .iter()
            .map(|installed| LicenceView::of(installed, known));
        let refused = known.refused.iter().map(|(name, why)| RefusedView {
            name: name.clone(),
            code: why.word(),
            why: why.to_string(),
        });
        let lost = known.lost.iter().map(|lost| RefusedView {
            name: lost.id.to_string(),
            code: "lost",
            why: "its file is gone: install it again, or remove the licence".into(),
        });
        LicencesView {
            items: items.collect(),
            refused: refused.chain(lost).collect(),
        }
    }
}

impl LicensingView {
    /// What is known, and what of it the site uses.
    pub(super) fn of(licences: &licences::Licences, site: &Site) -> Self {
        let known = licences.known();
        let status = &known.status;
        let entitlement = site.entitlement();
        let terminals = || {
            let objects = site.table(Kind::Terminal).objects();
            objects.filter_map(|object| match &object.body {
                Body::Terminal(terminal) => Some((object, terminal)),
                _ => None,
            })
        };
        let count = |product, entitled: Count, used: u64| CountView {
            product,
            entitled: entitled.number(),
            used,
            excess: entitled.excess(used),
        };
        let mut uses = [0; 3];
        let mut waiting = 0;
        for (object, terminal) in terminals() {
            if !terminal.seat.is_held() {
                waiting += u64::from(terminal.enabled);
                continue;
            }
            let (effective, _) = crate::effective::effective(site, object, terminal);
            let used = [
                effective.instant_failover.value,
                effective.windows_client.value,
                effective.shared_keyboard_mouse.value,
            ];
            for (total, used) in uses.iter_mut().zip(used) {
                *total += u64::from(used);
            }
        }
        let partner = known.pair.as_ref().map(|pair| ServerView {
            server: "partner",
            installation: pair.partner.map(|id| id.to_string()),
            licensed: pair.licenses_partner(),
        });
        let this = ServerView {
            server: "this",
            installation: Some(licences.installation().to_string()),
            licensed: status.licensed,
        };
        let inactive = status.licences.iter();
        let inactive = inactive.filter(|(_, standing)| *standing != Standing::Active);
        LicensingView {
            mode: status.mode,
            licensed: status.licensed,
            boots: !entitlement.standby,
            grants: entitlement.grants_none.is_none(),
            inactive: inactive
                .map(|(id, standing)| InactiveView {
                    id: id.to_string(),
                    state: standing.word(),
                    why: standing.to_string(),
                })
                .collect(),
            counts: vec![
                count("terminal", entitlement.seats, site.seats()),
                count(
                    Product::InstantFailover.word(),
                    entitlement.instant_failover,
                    uses[0],
                ),
                count(
                    Product::WindowsClient.word(),
                    entitlement.windows_client,
                    uses[1],
                ),
                count(
                    Product::SharedKeyboardMouse.word(),
                    entitlement.shared_keyboard_mouse,
                    uses[2],
                ),
            ],
            waiting,
            servers: std::iter::once(this).chain(partner).collect(),
            moved_from: licences.moved_from().map(|id| id.to_string()),
            expires_ms: status.expires_ms,
            agreement: status.agreement.word(),
            differences: status.agreement.differences().to_vec(),
            warnings: status.warnings.iter().map(ToString::to_string).collect(),
            vendor_keys: known.vendors.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What the licences allow, as the API shows it.
#[must_use]
pub fn licensing_json(licences: &licences::Licences, site: &Site) -> serde_json::Value {
    serde_json::to_value(LicensingView::of(licences, site)).expect("text keys and plain values")
}

/// The licences, as the API shows them.
#[must_use]
pub fn licences_json(licences: &licences::Licences) -> serde_json::Value {
    serde_json::to_value(LicencesView::of(&licences.known())).expect("text keys and plain values")
}

pub(super) async fn licensing(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let work = |state: &State| -> Result<_, ApiError> {
        Ok(LicensingView::of(
            &state.licences,
            &state.configuration.site(),
        ))
    };
    Ok(HttpResponse::Ok().json(state.blocking(work).await?))
}

#[allow(clippy::unused_async, reason = "a handler")]
pub(super) async fn list(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(LicencesView::of(&state.licences.known()))
}

pub(super) async fn install(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: RequestBody,
) -> Result<HttpResponse, ApiError> {
    let NewLicence { licence } = request::typed(&request, body)?;
    let work = move |state: &State| -> Result<_, InstallError> {
        let installed = state
            .licences
            .install(&identity.actor, licence.as_bytes())?;
        in_force(state);
        Ok(LicenceView::of(&installed, &state.licences.known()))
    };
    let view = state.blocking(work).await?;
    Ok(HttpResponse::Created().json(view))
}

pub(super) async fn remove(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let work = move |state: &State| {
        let removed = state.licences.remove(&identity.actor, &id);
        in_force(state);
        removed
    };
    state.blocking(work).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What follows from licences does so at once: who waits for a seat is looked at, and everything is published.
fn in_force(state: &State) {
    state.publisher.wake();
    state.steward.wake();
}

pub(super) async fn give_seat(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let work = move |state: &State| licences::give_seat(&state.configuration, &identity.actor, &id);
    Ok(shown(&*state.blocking(work).await?))
}

pub(super) async fn release_seat(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let work =
        move |state: &State| licences::release_seat(&state.configuration, &identity.actor, &id);
    Ok(shown(&*state.blocking(work).await?))
}
