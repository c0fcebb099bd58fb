//! Synchronization by hand, for operators: a plan, to be looked at; a run, that does what a plan says.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use daybreak_sync::manual::{Action, Part};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::request::{self, Body};
use super::state::State;
use crate::limits::DIFFERENCES_SHOWN_MAX;
use crate::peer::manual::{ManualError, Overwritten, With};
use crate::peer::{Planned, Running};
use crate::security::Identity;

/// Which server is made the same as which.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPlan {
    /// The server that stays as it is: `this`, `partner`, or the fingerprint of one that is listed at `/api/v1/sync/servers`.
    source: String,
    /// The one that is overwritten, likewise. One of the two is `this`.
    #[serde(default = "this")]
    destination: String,
}

fn this() -> String {
    "this".into()
}

impl NewPlan {
    fn read(self) -> Result<(With, Overwritten), ApiError> {
        let (other, overwritten) = match (self.source.as_str(), self.destination.as_str()) {
            ("this", "this") => {
                let why = "this server is as it is: one of the two is another one";
                return Err(ApiError::new(Code::Invalid, why).at("destination"));
            }
            (source, "this") => (source, Overwritten::Here),
            ("this", destination) => (destination, Overwritten::There),
            _ => {
                let why = "one of the two is this server; order others on one of them";
                return Err(ApiError::new(Code::Invalid, why).at("source"));
            }
        };
        let with = match other {
            "partner" => With::Partner,
            fingerprint => With::Listed(fingerprint.to_owned()),
        };
        Ok((with, overwritten))
    }
}

/// What would change on the server that is overwritten.
#[derive(Serialize, ToSchema)]
pub(super) struct PlanView {
    /// Names it: to be sent to do it. Only the last plan is kept.
    id: String,
    /// The server that stays as it is.
    source: String,
    /// The server that is overwritten.
    destination: String,
    /// How many objects of each part are added, changed and deleted there.
    counts: Vec<CountView>,
    /// How many differences there are.
    total: usize,
    /// Them, in the order of their kinds and identifiers; the first 1000.
    differences: Vec<DifferenceView>,
}

/// How much of a part of the configuration changes.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = PartView)]
pub(super) struct CountView {
    /// `firmware`, `term-cap`, `modules` or `configuration`.
    part: &'static str,
    /// Only the source has them.
    add: usize,
    /// Both have them, and they are not the same, or there is a conflict about them at the destination.
    change: usize,
    /// Only the destination has them, or a conflict about them.
    delete: usize,
}

/// One object that is not the same.
#[derive(Serialize, ToSchema)]
pub(super) struct DifferenceView {
    /// What it is; `file`: a file.
    kind: String,
    /// Which one.
    id: String,
    /// Its name.
    name: String,
    /// `firmware`, `term-cap`, `modules` or `configuration`.
    part: &'static str,
    /// `add`, `change` or `delete`.
    action: &'static str,
    /// Both servers of a pair have changed it at once, and what is said here settles that.
    conflict: bool,
}

/// Which plan is to be done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRun {
    /// The plan that was looked at.
    plan: String,
}

/// A run, on its way or over.
#[derive(Serialize, ToSchema)]
pub(super) struct RunView {
    /// Which one.
    id: String,
    /// `running`, `done` or `failed`. One that failed has changed nothing, unless `error` says that its end is not known.
    state: &'static str,
    /// Why it failed.
    error: Option<String>,
    /// Who has ordered it.
    actor: String,
    /// Objects that are written; all at once, at the end.
    objects_done: usize,
    /// Of so many.
    objects: usize,
    /// Octets of images that have come to the destination.
    bytes_done: u64,
    /// Of so many.
    bytes: u64,
    /// Octets per second so far.
    bytes_per_second: u64,
    /// Seconds that it still takes at this rate.
    seconds_left: Option<u64>,
    /// The backup of this server that was made before anything was overwritten: to be restored as any other.
    backup: Option<String>,
}

impl From<ManualError> for ApiError {
    fn from(error: ManualError) -> Self {
        let message = error.to_string();
        match error {
            ManualError::Alone => ApiError::new(Code::NotPaired, message),
            ManualError::NotListed => ApiError::new(Code::NotFound, message),
            ManualError::Other(_) | ManualError::EndUnknown(_) | ManualError::NoImage(_) => {
                ApiError::new(Code::NotPaired, message)
            }
            ManualError::Version => ApiError::new(Code::IncompatibleVersion, message),
            ManualError::OutOfDate(_) => ApiError::new(Code::Stale, message),
            ManualError::Running | ManualError::Ending => ApiError::new(Code::Busy, message),
            ManualError::Host(_) => ApiError::internal(&message),
            ManualError::Database(error) => error.into(),
            ManualError::Change(error) => error.into(),
            ManualError::Backup(error) => error.into(),
        }
    }
}

const fn part(part: Part) -> &'static str {
    match part {
        Part::Firmware => "firmware",
        Part::TermCap => "term-cap",
        Part::Modules => "modules",
        Part::Configuration => "configuration",
    }
}

fn plan_view(number: u64, planned: &Planned) -> PlanView {
    let (plan, (source, destination)) = (&planned.plan, &planned.between.names);
    let mut counts: BTreeMap<Part, CountView> = BTreeMap::new();
    for ((of, action), count) in plan.counts() {
        let view = counts.entry(of).or_default();
        view.part = part(of);
        match action {
            Action::Add => view.add = count,
            Action::Change => view.change = count,
            Action::Delete => view.delete = count,
        }
    }
    let shown = plan.differences.iter().take(DIFFERENCES_SHOWN_MAX);
    let differences = shown.map(|difference| DifferenceView {
        kind: difference.key.kind().to_owned(),
        id: difference.key.id().to_owned(),
        name: difference.name.clone(),
        part: part(difference.part),
        action: match difference.action {
            Action::Add => "add",
            Action::Change => "change",
            Action::Delete => "delete",
        },
        conflict: difference.contested,
    });
    PlanView {
        id: number.to_string(),
        source: source.clone(),
        destination: destination.clone(),
        counts: counts.into_values().collect(),
        total: plan.differences.len(),
        differences: differences.collect(),
    }
}

pub(super) async fn plan(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let (with, overwritten) = request::typed::<NewPlan>(&request, body)?.read()?;
    let (number, plan) = state.link.plan(with, overwritten).await?;
    Ok(HttpResponse::Created().json(plan_view(number, &plan)))
}

fn number(request: &HttpRequest) -> Result<u64, ApiError> {
    let id = request::id(request)?;
    let number = id.as_str().parse();
    number.map_err(|_| ApiError::new(Code::NotFound, "there is no such plan or run"))
}

pub(super) async fn show_plan(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let number = number(&request)?;
    let plan = state.link.desk().plan(number);
    let plan =
        plan.ok_or_else(|| ApiError::new(Code::NotFound, "there is no such plan any more"))?;
    Ok(HttpResponse::Ok().json(plan_view(number, &plan)))
}

pub(super) async fn run(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let NewRun { plan } = request::typed(&request, body)?;
    let kept = plan
        .parse()
        .ok()
        .and_then(|number| state.link.desk().plan(number));
    let plan = kept.ok_or_else(|| {
        let why = "there is no such plan any more; make one, and look at it";
        ApiError::new(Code::Stale, why)
    })?;
    let number = state.link.run(plan, identity.actor).await?;
    let run = state.link.desk().run(number);
    let run = run.ok_or_else(|| ApiError::internal(&"a run is gone"))?;
    Ok(HttpResponse::Accepted().json(run_view(number, &run)))
}

pub(super) async fn show_run(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let number = number(&request)?;
    let run = state.link.desk().run(number);
    let run = run.ok_or_else(|| ApiError::new(Code::NotFound, "there is no such run"))?;
    Ok(HttpResponse::Ok().json(run_view(number, &run)))
}

fn run_view(number: u64, run: &Running) -> RunView {
    let (state, error) = match &run.outcome {
        None => ("running", None),
        Some(Ok(())) => ("done", None),
        Some(Err(why)) => ("failed", Some(why.clone())),
    };
    RunView {
        id: number.to_string(),
        state,
        error,
        actor: run.actor.clone(),
        objects_done: run.progress.objects.0,
        objects: run.progress.objects.1,
        bytes_done: run.progress.bytes.0,
        bytes: run.progress.bytes.1,
        bytes_per_second: run.progress.rate,
        seconds_left: run.progress.left.map(|left| left.as_secs()),
        backup: run.backup.as_ref().map(ToString::to_string),
    }
}
