//! Backups: list, make, download, upload, delete; restores: plan, look, begin.

use std::io::Read;
use std::sync::Arc;

use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use daybreak_store::{ImageHash, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::arriving::receive;
use super::error::{ApiError, Code, ErrorBody};
use super::files::HASH_HEADER;
use super::request::{self, Body};
use super::state::State;
use super::stream::{self, Sent};
use crate::backup::{
    ArchiveError, BackupError, Difference, Job, Listed, Reason, RestoreView, Restoring,
    State as JobState,
};
use crate::kind::{Body as ObjectBody, Kind};
use crate::object::Id;
use crate::schedule::Status;
use crate::security::Identity;

/// What is to be backed up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBackup {
    /// Whether images are backed up, too.
    #[serde(default)]
    images: bool,
}

/// A backup.
#[derive(Serialize, ToSchema)]
pub(super) struct BackupView {
    /// What it is called.
    id: String,
    /// How far it is.
    state: JobState,
    /// When it was made, in milliseconds since 1970.
    created_ms: Option<u64>,
    /// Why it was made.
    reason: Option<Reason>,
    /// The schedule that it was made by.
    schedule: Option<String>,
    /// The server that made it.
    node: Option<String>,
    /// Whether images were asked for.
    with_images: Option<bool>,
    /// Objects in it.
    objects: Option<u64>,
    /// Names of files in it.
    files: Option<u64>,
    /// Images in it.
    images: Option<u64>,
    /// Octets of the file.
    bytes: Option<u64>,
    /// Octets of images that were read so far, to look whether they are whole and to copy them.
    done_bytes: u64,
    /// Octets of images that there are to read.
    total_bytes: u64,
    /// Why it failed, or cannot be read.
    error: Option<ErrorBody>,
}

/// All backups.
#[derive(Serialize, ToSchema)]
pub(super) struct BackupList {
    /// Oldest first.
    items: Vec<BackupView>,
}

/// What was uploaded.
#[derive(Serialize, ToSchema)]
pub(super) struct UploadedBackup {
    /// What it is called.
    id: String,
    /// Octets of it.
    bytes: u64,
    /// The BLAKE3 hash of it.
    blake3: String,
}

/// What is to be restored.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRestore {
    /// The backup.
    #[schema(value_type = String)]
    backup: Id,
    /// Also users, roles and API keys. Otherwise they stay as they are.
    #[serde(default)]
    accounts: bool,
    /// Whether files are left out whose images are neither in the backup nor in the store: they stay as they are now.
    /// Otherwise the restore is refused.
    #[serde(default)]
    without_missing_images: bool,
}

/// A restore: what it would change, and how it goes.
#[derive(Serialize, ToSchema)]
pub(super) struct RestoreBody {
    /// Which.
    id: String,
    /// Of which backup.
    backup: String,
    /// What is restored.
    restoring: Restoring,
    /// How far it is. `planned`: it waits to be begun.
    state: JobState,
    /// What changes, by kind; nothing yet, while the backup is read.
    differences: Option<Vec<Difference>>,
    /// Files whose images are neither in the backup nor in the store; the first of them.
    missing_images: Vec<String>,
    /// How many these are.
    missing_images_count: usize,
    /// Octets of images that the store gets.
    image_bytes: Option<u64>,
    /// The backup that was made before it began.
    before: Option<String>,
    /// Octets that were read so far.
    done_bytes: u64,
    /// Octets that there are to read.
    total_bytes: u64,
    /// Why it failed; nothing was changed.
    error: Option<ErrorBody>,
}

/// How a schedule stands.
#[derive(Serialize, ToSchema)]
pub(super) struct ScheduleStatus {
    /// When it is due next, in milliseconds since 1970; never, or it is disabled.
    next_ms: Option<u64>,
    /// The same as the clocks of the server show it.
    next_local: Option<String>,
    /// The time zone of the server.
    time_zone: String,
    /// How it ran last on this server.
    last: Option<LastRun>,
}

/// How a schedule ran last.
#[derive(Serialize, ToSchema)]
struct LastRun {
    /// The moment that it was for, in milliseconds since 1970.
    due_ms: u64,
    /// When it began.
    started_ms: u64,
    /// When it ended; not yet.
    finished_ms: Option<u64>,
    /// The backup that it made.
    backup: Option<String>,
    /// Why it failed, if it did.
    error: Option<String>,
}

/// The code and the text of an error of the domain.
fn told(error: &BackupError) -> (Code, String) {
    let code = match error {
        BackupError::Archive(ArchiveError::Io(_)) => Code::Internal,
        BackupError::Archive(error) if error.is_incompatible() => Code::BackupIncompatible,
        BackupError::Archive(_) => Code::BackupDamaged,
        BackupError::Store(StoreError::Busy(_)) => Code::Busy,
        BackupError::Store(StoreError::Source(_)) => Code::UploadBroken,
        _ if error.is_disk_full() => Code::DiskFull,
        BackupError::Change(error) => Code::of(error),
        BackupError::Store(_) | BackupError::Published(_) => Code::Internal,
        BackupError::Unknown(_) | BackupError::UnknownRestore(_) => Code::NotFound,
        BackupError::Taken(_) => Code::Taken,
        BackupError::Busy => Code::BackupRunning,
        BackupError::Interrupted => Code::Busy,
        BackupError::Outdated => Code::RestoreOutdated,
        BackupError::NotPlanned => Code::RestoreNotPlanned,
        BackupError::ImagesMissing(_) => Code::ImagesMissing,
        BackupError::TooMany => Code::TooManyBackups,
        BackupError::HashMismatch { .. } => Code::HashMismatch,
    };
    (code, error.to_string())
}

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Store(error) => error.into(),
            BackupError::Published(error) => error.into(),
            BackupError::Change(error) => error.into(),
            error => match told(&error) {
                (Code::Internal, message) => ApiError::internal(&message),
                (code, message) => ApiError::new(code, message),
            },
        }
    }
}

fn error_body(error: &BackupError) -> ErrorBody {
    let (code, message) = told(error);
    ErrorBody {
        code: code.word(),
        message,
        field: None,
        hint: code.hint(),
    }
}

impl BackupView {
    fn of(listed: Listed) -> Self {
        let Listed { id, found, job } = listed;
        let bytes = found.as_ref().map(|found| found.len);
        let (head, broken) = match found.map(|found| found.head) {
            None => (None, None),
            Some(Ok(head)) => (Some(head), None),
            Some(Err(error)) => (None, Some(BackupError::from(error))),
        };
        let failed = job.as_ref().and_then(|job| job.error.clone());
        let error = broken.as_ref().or(failed.as_deref()).map(error_body);
        let complete = Job {
            state: if broken.is_some() {
                JobState::Failed
            } else {
                JobState::Done
            },
            done_bytes: 0,
            total_bytes: 0,
            error: None,
        };
        // It is there a moment before whoever makes it has done with it.
        let ongoing = |job: &Job| bytes.is_none() || job.state == JobState::Running;
        let job = job.filter(ongoing).unwrap_or(complete);
        BackupView {
            id: id.to_string(),
            state: job.state,
            created_ms: head.as_ref().map(|head| head.created_ms),
            reason: head.as_ref().map(|head| head.reason),
            schedule: head
                .as_ref()
                .and_then(|head| head.schedule.as_ref().map(Id::to_string)),
            node: head.as_ref().map(|head| head.node.to_string()),
            with_images: head.as_ref().map(|head| head.with_images),
            objects: head.as_ref().map(|head| head.objects),
            files: head.as_ref().map(|head| head.files),
            images: head.as_ref().map(|head| head.images),
            bytes,
            done_bytes: job.done_bytes,
            total_bytes: job.total_bytes,
            error,
        }
    }
}

impl RestoreBody {
    fn of(view: &RestoreView) -> Self {
        let plan = view.plan.as_deref();
        let missing = plan.map_or(&[][..], |plan| &plan.missing);
        RestoreBody {
            id: view.id.to_string(),
            backup: view.backup.to_string(),
            restoring: view.restoring,
            state: view.job.state,
            differences: plan.map(|plan| plan.differences.clone()),
            missing_images: missing
                .iter()
                .take(crate::limits::DIFFERENCE_NAMES_MAX)
                .cloned()
                .collect(),
            missing_images_count: missing.len(),
            image_bytes: plan.map(crate::backup::Plan::brought_bytes),
            before: view.before.as_ref().map(Id::to_string),
            done_bytes: view.job.done_bytes,
            total_bytes: view.job.total_bytes,
            error: view.job.error.as_deref().map(error_body),
        }
    }
}

pub(super) async fn list(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let listed = state.blocking(|state| state.backups.list()).await?;
    let items = listed.into_iter().map(BackupView::of).collect();
    Ok(HttpResponse::Ok().json(BackupList { items }))
}

pub(super) async fn show(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let listed = state.blocking(move |state| state.backups.show(&id)).await?;
    Ok(HttpResponse::Ok().json(BackupView::of(listed)))
}

pub(super) async fn create(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let NewBackup { images } = request::typed(&request, body)?;
    let work = move |state: &State| {
        let id = state.backups.begin(identity.actor, images)?;
        state.backups.show(&id)
    };
    let listed = state.blocking(work).await?;
    let place = format!("/api/v1/backups/{}", listed.id);
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, place))
        .json(BackupView::of(listed)))
}

pub(super) async fn delete(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    state
        .blocking(move |state| state.backups.delete(&identity.actor, &id))
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn download(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let Ok(permit) = Arc::clone(&state.at_once.downloads).try_acquire_owned() else {
        return Err(ApiError::new(Code::Busy, "too many downloads at once"));
    };
    let name = format!("attachment; filename=\"{id}.backup\"");
    let opened = state
        .blocking(move |state| state.backups.download(&identity.actor, &id))
        .await?;
    let (file, written) = opened;
    // The permit is held until the last octet was read.
    let source = file.take(written.len);
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((HASH_HEADER, written.hash.to_string()))
        .body(SizedStream::new(written.len, Sent::of(source, permit))))
}

pub(super) async fn upload(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let expected = stream::expected_hash(&request)?;
    let len = stream::content_length(&request);
    let place = format!("/api/v1/backups/{id}");
    let work = move |state: &State, source: &mut dyn Read| {
        let actor = &identity.actor;
        let written = state.backups.upload(actor, &id, source, len, expected)?;
        Ok((id, written))
    };
    let (id, written) = receive(&state, &request, payload, work).await?;
    let hash: ImageHash = written.hash;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, place))
        .json(UploadedBackup {
            id: id.to_string(),
            bytes: written.len,
            blake3: hash.to_string(),
        }))
}

pub(super) async fn plan(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let new: NewRestore = request::typed(&request, body)?;
    let restoring = Restoring {
        accounts: new.accounts,
        without_missing_images: new.without_missing_images,
    };
    let work = move |state: &State| {
        let id = state.backups.plan(&new.backup, restoring)?;
        state.backups.restore_state(&id)
    };
    let view = state.blocking(work).await?;
    let place = format!("/api/v1/restores/{}", view.id);
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, place))
        .json(RestoreBody::of(&view)))
}

pub(super) async fn restore_state(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let view = state.backups.restore_state(&id)?;
    Ok(HttpResponse::Ok().json(RestoreBody::of(&view)))
}

pub(super) async fn restore(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let work = move |state: &State| {
        state.backups.restore(identity.actor, &id)?;
        state.backups.restore_state(&id)
    };
    let view = state.blocking(work).await?;
    Ok(HttpResponse::Accepted().json(RestoreBody::of(&view)))
}

pub(super) async fn schedule_status(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let object = state
        .configuration
        .site()
        .object(Kind::Schedule, &id)
        .cloned();
    let unknown = || ApiError::new(Code::NotFound, "there is no such schedule");
    let object = object.ok_or_else(unknown)?;
    let work = move |state: &State| match &object.body {
        ObjectBody::Schedule(schedule) => Ok(state.scheduler.status(&object.id, schedule)?),
        _ => Err(ApiError::internal(&"a schedule is none")),
    };
    let Status {
        next_ms,
        next_local,
        time_zone,
        last,
    } = state.blocking(work).await?;
    Ok(HttpResponse::Ok().json(ScheduleStatus {
        next_ms,
        next_local,
        time_zone,
        last: last.map(|run| LastRun {
            due_ms: run.due_ms,
            started_ms: run.started_ms,
            finished_ms: run.finished_ms,
            backup: run.backup.map(|id| id.to_string()),
            error: run.error,
        }),
    }))
}
