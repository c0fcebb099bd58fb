//! The pair, for operators: how it stands, pairing and un-pairing.

use std::net::{IpAddr, ToSocketAddrs};

use actix_web::{HttpRequest, HttpResponse, web};
use daybreak_sync::policy::{Mode as PairMode, Refusal};
use daybreak_sync::session::{Progress, State as PairState};
use daybreak_sync::wire::VERSIONS;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::request::{self, Body};
use super::state::State;
use crate::configuration::Actor;
use crate::kind::Mode;
use crate::limits::{ADDRESSES_OF_A_NAME_MAX, PEER_ADDRESS_BYTES_MAX};
use crate::peer::link::{LinkStatus, Tie};
use crate::peer::pair::{Partner, Role};
use crate::peer::pairing::{Code as PairingCode, PairingError};
use crate::security::{GateError, Identity};

/// How the pair stands, seen from this server.
#[derive(Serialize, ToSchema)]
pub(super) struct SyncView {
    /// One of: `disabled`, `waiting-for-peer`, `comparing`, `syncing`, `in-sync`, `behind`, `ahead`, `peer-unreachable`,
    /// `conflict`, `incompatible-version`, `refused`, `error`.
    state: &'static str,
    /// The same for people, with the reason where there is one.
    message: String,
    /// How the two share the work now: what the licences allow, unless the setting wants less.
    mode: Mode,
    /// Which of the two this server is.
    role: Role,
    /// Whether operators may change the configuration here.
    editable: bool,
    /// The name of this server.
    name: String,
    /// The version of its software.
    software: &'static str,
    /// The versions of the messages between the two.
    protocol: ProtocolView,
    /// Whether both have the same licences.
    licences: LicenceAgreement,
    /// What the other server knows this one by.
    fingerprint: String,
    /// Where this server listens for the other one; `null`: it does not, since there is none and no code is shown.
    listening: Option<String>,
    /// Until when a pairing code is valid, in milliseconds since 1970.
    code_until_ms: Option<u64>,
    /// The other server; `null`: this one is not paired.
    partner: Option<PartnerView>,
    /// What this server's database is called in this life.
    node: Option<String>,
    /// How many writes there were here.
    head: Option<u64>,
    /// How many of them the other server holds on its disk.
    confirmed: Option<u64>,
    /// How many writes of the other server were taken in here.
    taken_in: Option<u64>,
    /// What is to be done.
    to_go: ToGo,
    /// Objects that were changed on both servers, and of which somebody should choose.
    conflicts: usize,
    /// When both last held the same, in milliseconds since 1970.
    last_in_sync_ms: Option<u64>,
    /// Why there is no connection, if that is known.
    trouble: Option<String>,
}

/// The versions of the messages between two servers.
#[derive(Serialize, ToSchema)]
pub(super) struct ProtocolView {
    /// The oldest that this server speaks.
    oldest: u16,
    /// The newest.
    newest: u16,
    /// The one that both speak; `null`: there is no connection, or none in common.
    spoken: Option<u16>,
}

/// Whether both servers have the same licences.
#[derive(Serialize, ToSchema)]
pub(super) struct LicenceAgreement {
    /// `alone`, `unknown` (the other one has not told), `agrees` or `differs`.
    agreement: &'static str,
    /// What is different.
    differences: Vec<String>,
}

/// What is to be done until both hold the same.
#[derive(Serialize, ToSchema)]
pub(super) struct ToGo {
    /// Changes of the other server that are not here.
    changes: u64,
    /// Images that are on their way or wanted.
    images: usize,
    /// Octets of them.
    image_bytes: u64,
    /// Octets of them that are not here.
    image_bytes_left: u64,
    /// Images that the other server does not have, either.
    images_unavailable: usize,
}

/// The other server.
#[derive(Serialize, ToSchema)]
pub(super) struct PartnerView {
    /// As it calls itself.
    name: String,
    /// Where it is connected to.
    address: String,
    /// What this server knows it by.
    fingerprint: String,
    /// When the two were paired, in milliseconds since 1970.
    since_ms: u64,
    /// Whether this server makes the connections, and not the other one.
    dialed_from_here: bool,
    /// The version of its software, once it has said it.
    software: Option<String>,
    /// What its database is called in this life.
    node: Option<String>,
    /// How many writes there were there, as far as it has told.
    head: Option<u64>,
    /// How many milliseconds its clock is ahead of this one's.
    skew_ms: Option<i64>,
}

/// Servers that only manual synchronization is done with.
#[derive(Serialize, ToSchema)]
pub(super) struct ServerList {
    /// Them, in the order in which they were listed.
    items: Vec<PartnerView>,
}

/// A pairing code.
#[derive(Serialize, ToSchema)]
pub(super) struct CodeView {
    /// What is to be given to the other server. It is shown once.
    code: String,
    /// Until when it is valid, in milliseconds since 1970.
    until_ms: u64,
    /// The port that the other server connects to.
    port: u16,
    /// What this server will be known by.
    fingerprint: String,
}

/// Which server to pair with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    /// Where it listens: `address:port`, or a name in the place of the address.
    address: String,
    /// The code that it shows.
    code: String,
}

/// A server by its name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// As the system's resolver knows it.
    name: String,
}

/// Where a server is.
#[derive(Serialize, ToSchema)]
pub(super) struct Discovered {
    /// Its addresses, in the resolver's order; none, if it is not known.
    #[schema(value_type = Vec<String>)]
    addresses: Vec<IpAddr>,
}

/// Which server to take everything from.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetUpByPairing {
    /// The secret of the set-up link.
    token: String,
    /// Where the other server listens: `address:port`, or a name in the place of the address.
    address: String,
    /// The code that it shows.
    code: String,
}

impl From<PairingError> for ApiError {
    fn from(error: PairingError) -> Self {
        let message = error.to_string();
        match error {
            PairingError::NotACode => ApiError::new(Code::Invalid, message).at("code"),
            PairingError::Itself => ApiError::new(Code::Invalid, message).at("address"),
            PairingError::Paired(_) | PairingError::TooMany => ApiError::new(Code::Paired, message),
            PairingError::Kept(_) => ApiError::internal(&message),
            PairingError::Ending => ApiError::new(Code::Busy, message),
            PairingError::Version => ApiError::new(Code::IncompatibleVersion, message),
            PairingError::Refused
            | PairingError::Impostor
            | PairingError::Malformed
            | PairingError::Unreachable { .. }
            | PairingError::TooSlow(_)
            | PairingError::Broken(_)
            | PairingError::Tls(_)
            | PairingError::Listen { .. } => ApiError::new(Code::NotPaired, message),
        }
    }
}

/// The word of a state.
pub(super) const fn word(state: &PairState) -> &'static str {
    match state {
        PairState::Disabled | PairState::DisabledThere => "disabled",
        PairState::WaitingForPeer => "waiting-for-peer",
        PairState::Comparing => "comparing",
        PairState::Syncing { .. } => "syncing",
        PairState::InSync => "in-sync",
        PairState::Behind => "behind",
        PairState::Ahead => "ahead",
        PairState::PeerUnreachable => "peer-unreachable",
        PairState::Conflict { .. } => "conflict",
        PairState::IncompatibleVersion => "incompatible-version",
        PairState::Refused(_) => "refused",
        PairState::Error(_) => "error",
    }
}

/// Every word of a state.
pub(super) const STATES: [&str; 12] = [
    "disabled",
    "waiting-for-peer",
    "comparing",
    "syncing",
    "in-sync",
    "behind",
    "ahead",
    "peer-unreachable",
    "conflict",
    "incompatible-version",
    "refused",
    "error",
];

fn said(status: &LinkStatus) -> String {
    let Some(session) = &status.session else {
        return "this server is not paired with another one".into();
    };
    match &session.state {
        PairState::Disabled => "automatic synchronization is switched off".into(),
        PairState::WaitingForPeer => {
            "the other server has not been there since this one was started".into()
        }
        PairState::Comparing => "the two servers find out what differs".into(),
        PairState::Syncing { done, of } => format!("syncing: {done} of {of}"),
        PairState::InSync => "both servers hold the same".into(),
        PairState::Behind => {
            "the other server has changes that are not here; they are asked for again soon".into()
        }
        PairState::Ahead => "the other server has not confirmed the newest changes yet".into(),
        PairState::PeerUnreachable => "there is no connection to the other server".into(),
        PairState::Conflict { objects } => format!(
            "both servers hold the same; {objects} objects were changed on both at once: choose at /api/v1/sync/conflicts"
        ),
        PairState::IncompatibleVersion => {
            "the two servers speak no common version; install the same software on both".into()
        }
        PairState::DisabledThere => Refusal::Off.to_string(),
        PairState::Refused(refusal) => refusal.to_string(),
        PairState::Error(why) => why.clone(),
    }
}

pub(super) async fn status(state: web::Data<State>) -> HttpResponse {
    let status = state.link.status();
    let session = status.session.as_ref();
    let peer = session.and_then(|session| session.peer.as_ref());
    let partner = status.pair.partner.as_ref().map(|partner| PartnerView {
        name: partner.name.clone(),
        address: partner.address.clone(),
        fingerprint: partner.key.fingerprint(),
        since_ms: partner.since_ms,
        dialed_from_here: partner.dials,
        software: peer.map(|peer| peer.software.clone()),
        node: peer.map(|peer| peer.node.to_string()),
        head: peer.map(|peer| peer.head.position),
        skew_ms: peer.map(|peer| peer.skew_ms),
    });
    let to_go = session.map_or_else(Progress::default, |session| session.progress);
    HttpResponse::Ok().json(SyncView {
        state: session.map_or("disabled", |session| word(&session.state)),
        message: said(&status),
        mode: PairMode::from(state.configuration.site().entitlement().redundancy).into(),
        role: status.pair.role,
        editable: state.configuration.primary_elsewhere().is_none(),
        name: status.name.clone(),
        software: env!("CARGO_PKG_VERSION"),
        protocol: ProtocolView {
            oldest: *VERSIONS.start(),
            newest: *VERSIONS.end(),
            spoken: session.and_then(|session| session.version),
        },
        licences: LicenceAgreement {
            agreement: status.licences.word(),
            differences: status.licences.differences().to_vec(),
        },
        fingerprint: status.fingerprint.clone(),
        listening: status.listening.map(|address| address.to_string()),
        code_until_ms: status.code_until_ms,
        partner,
        node: session.map(|session| session.node.to_string()),
        head: session.map(|session| session.head.position),
        confirmed: session.map(|session| session.confirmed.position),
        taken_in: session.and_then(|session| Some(session.taken_in?.position)),
        to_go: ToGo {
            changes: to_go.changes,
            images: to_go.images,
            image_bytes: to_go.image_bytes,
            image_bytes_left: to_go.image_bytes_left,
            images_unavailable: to_go.images_unavailable,
        },
        conflicts: session.map_or(0, |session| session.conflicts),
        last_in_sync_ms: session.and_then(|session| session.last_in_sync_ms),
        trouble: status.trouble.clone(),
    })
}

/// Fills in the address of a boot server from its name: asks the system's resolver, and nobody else.
pub(super) async fn discover(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let Named { name } = request::typed(&request, body)?;
    if !is_address(&format!("{name}:1")) {
        let why = "this is the name of a machine, as in boot-2 or boot-2.example";
        return Err(ApiError::new(Code::Invalid, why).at("name"));
    }
    let work = move |_: &State| -> Result<Vec<IpAddr>, ApiError> {
        let found = (name.as_str(), 0).to_socket_addrs();
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found.into_iter().flatten().map(|address| address.ip()) {
            if !addresses.contains(&address) && addresses.len() < ADDRESSES_OF_A_NAME_MAX {
                addresses.push(address);
            }
        }
        Ok(addresses)
    };
    let addresses = state.blocking(work).await?;
    Ok(HttpResponse::Ok().json(Discovered { addresses }))
}

pub(super) async fn show_code(
    state: web::Data<State>,
    identity: Identity,
) -> Result<HttpResponse, ApiError> {
    show_code_for(&state, &identity, Tie::Pair).await
}

pub(super) async fn show_listing_code(
    state: web::Data<State>,
    identity: Identity,
) -> Result<HttpResponse, ApiError> {
    show_code_for(&state, &identity, Tie::Listed).await
}

async fn show_code_for(
    state: &web::Data<State>,
    identity: &Identity,
    tie: Tie,
) -> Result<HttpResponse, ApiError> {
    let offered = state.link.show_code(tie).await?;
    note(state, &identity.actor, "create", "code").await?;
    Ok(HttpResponse::Created().json(CodeView {
        code: offered.code,
        until_ms: offered.until_ms,
        port: offered.listening.port(),
        fingerprint: state.link.status().fingerprint.clone(),
    }))
}

pub(super) async fn take_code_away(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    state.link.take_code_away().await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn join(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let join: Join = request::typed(&request, body)?;
    join_with(&state, &identity.actor, join, Tie::Pair).await
}

/// Makes this server and the one that shows the code known to each other, for synchronization by hand.
pub(super) async fn list_server(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let join: Join = request::typed(&request, body)?;
    join_with(&state, &identity.actor, join, Tie::Listed).await
}

pub(super) async fn listed_servers(state: web::Data<State>) -> HttpResponse {
    let status = state.link.status();
    let items = status.pair.listed.iter().map(paired).collect();
    HttpResponse::Ok().json(ServerList { items })
}

pub(super) async fn forget_server(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let fingerprint = request::id(&request)?;
    let Some(server) = state.link.forget(fingerprint.to_string()).await? else {
        return Err(ApiError::new(Code::NotFound, "no such server is listed"));
    };
    note(&state, &identity.actor, "delete", &server.name).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn join_with(
    state: &web::Data<State>,
    actor: &Actor,
    Join { address, code }: Join,
    tie: Tie,
) -> Result<HttpResponse, ApiError> {
    if !is_address(&address) {
        let why = "this is an address or a name, a colon and a port, as in 192.0.2.10:8070";
        return Err(ApiError::new(Code::Invalid, why).at("address"));
    }
    let code = PairingCode::parse(&code).ok_or(PairingError::NotACode)?;
    let partner = state.link.join(address, (code, tie)).await?;
    note(state, actor, "create", &partner.name).await?;
    Ok(HttpResponse::Created().json(paired(&partner)))
}

/// A server that nobody has set up yet takes everything from the other one, its users too.
pub(super) async fn set_up(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let SetUpByPairing {
        token,
        address,
        code,
    } = request::typed(&request, body)?;
    if !state.gate.may_set_up(&token) {
        return Err(GateError::SetUpDone.into());
    }
    let (actor, join) = (Actor::machine("set-up"), Join { address, code });
    join_with(&state, &actor, join, Tie::Pair).await
}

fn paired(partner: &Partner) -> PartnerView {
    PartnerView {
        name: partner.name.clone(),
        address: partner.address.clone(),
        fingerprint: partner.key.fingerprint(),
        since_ms: partner.since_ms,
        dialed_from_here: partner.dials,
        software: None,
        node: None,
        head: None,
        skew_ms: None,
    }
}

/// Whether this names a host and a port, and nothing else: no path, no user, no share.
fn is_address(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    (1..=PEER_ADDRESS_BYTES_MAX).contains(&text.len())
        && text.bytes().all(allowed)
        && !host.is_empty()
        && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

pub(super) async fn un_pair(
    state: web::Data<State>,
    identity: Identity,
) -> Result<HttpResponse, ApiError> {
    let Some(partner) = state.link.un_pair().await? else {
        return Err(ApiError::new(
            Code::NotFound,
            "this server is not paired with another one",
        ));
    };
    note(&state, &identity.actor, "delete", &partner.name).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Pairing is no change of an object, and belongs to this server alone: the audit tells of it.
async fn note(
    state: &web::Data<State>,
    actor: &Actor,
    action: &'static str,
    id: &str,
) -> Result<(), ApiError> {
    let (actor, id) = (actor.clone(), id.to_owned());
    let work = move |state: &State| {
        let what = ("pairing", id.as_str());
        state.configuration.note(&actor, action, what, None, None)
    };
    state.blocking(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_server_is_a_host_and_a_port_and_nothing_else() {
        for good in ["192.0.2.10:8070", "boot-2.example:1", "[2001:db8::1]:8070"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "192.0.2.10",
            "host:0",
            "host:65536",
            ":1",
            "http://host:1",
            "user@host:1",
            "\\\\host\\share:1",
            "host/x:1",
            "2001:db8::1:8070",
            "host:1 ",
            "",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
