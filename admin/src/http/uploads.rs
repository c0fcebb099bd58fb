//! Files that arrive in pieces, and go on after a broken connection or a restart.
//!
//! An upload is begun with its name and length, and gets an identifier. Pieces are added at its end, each at the offset that
//! there is; whoever does not know it asks. What was answered for is on the disk. It gets its name when the last
//! octet has arrived and its hash is right. One that nobody goes on with is thrown away.

use std::io::{self, Read};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use core::ops::ControlFlow;
use daybreak_store::limits::IMAGE_BYTES_MAX;
use daybreak_store::{ImageHash, Name, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::arriving::receive;
use super::error::{ApiError, Code};
use super::files::{FileView, check_hash, put, rendered};
use super::request::{self, Body};
use super::state::State;
use crate::configuration::Actor;
use crate::database::{Database, UploadRow};
use crate::edge::random;
use crate::limits::{UPLOAD_KEPT_MS, UPLOADS_MAX};
use crate::object::Id;
use crate::security::Identity;

/// Says at which octet of the file the piece begins.
pub(super) const OFFSET_HEADER: &str = "upload-offset";

/// A file that is to arrive in pieces.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUpload {
    /// The name that terminals ask for.
    name: String,
    /// Its length in octets.
    bytes: u64,
    /// Its BLAKE3 hash in hexadecimal: what arrives otherwise is refused.
    #[serde(default)]
    #[schema(pattern = "^[0-9a-f]{64}$")]
    blake3: Option<String>,
}

/// An upload.
#[derive(Serialize, ToSchema)]
pub(super) struct UploadView {
    /// Which one.
    id: String,
    /// The name that the file will have.
    name: String,
    /// How long the file is, in octets.
    bytes: u64,
    /// How much of it is here: where the next piece begins.
    offset: u64,
    /// When it is thrown away unless more arrives, in milliseconds since 1970.
    expires_ms: u64,
    /// The file, once it is complete. The upload is over then.
    file: Option<FileView>,
}

/// Uploads that are not complete, the one that was used last first.
#[derive(Serialize, ToSchema)]
pub(super) struct UploadList {
    items: Vec<UploadView>,
}

impl UploadView {
    fn of(row: &UploadRow, offset: u64, file: Option<FileView>) -> Self {
        UploadView {
            id: row.id.to_string(),
            name: row.name.clone(),
            bytes: row.bytes,
            offset,
            expires_ms: row.seen_ms.saturating_add(UPLOAD_KEPT_MS),
            file,
        }
    }
}

pub(super) async fn begin(
    state: web::Data<State>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, ApiError> {
    let NewUpload {
        name,
        bytes,
        blake3,
    } = request::typed(&request, body)?;
    let invalid = |field: &str, why: String| ApiError::new(Code::Invalid, why).at(field);
    let name = Name::parse(&name).map_err(|error| invalid("name", error.to_string()))?;
    if bytes > IMAGE_BYTES_MAX {
        return Err(StoreError::ImageTooLarge.into());
    }
    if let Some(text) = &blake3 {
        ImageHash::parse(text).ok_or_else(|| {
            invalid(
                "blake3",
                "a hash is 64 lower-case hexadecimal digits".into(),
            )
        })?;
    }
    let view = state
        .blocking(move |state| -> Result<UploadView, ApiError> {
            throw_away_old(state)?;
            let uploads = state.configuration.with_database(Database::uploads)?;
            if uploads.len() >= UPLOADS_MAX {
                let message = format!("{UPLOADS_MAX} uploads are not complete");
                return Err(ApiError::new(Code::TooManyUploads, message));
            }
            // Told now rather than when all of it has arrived.
            let published = state.store.published()?;
            let taken = published
                .lookup(name.as_str().as_bytes())
                .map(|id| published.entry(id));
            if taken
                .is_some_and(|entry| matches!(entry.content, daybreak_store::Content::Inline(_)))
            {
                return Err(rendered(&name));
            }
            state.store.check_room(bytes)?;
            let row = UploadRow {
                id: Id::from_random(random(state.configuration.entropy())),
                name: name.to_string(),
                bytes,
                blake3,
                seen_ms: state.configuration.now_ms(),
            };
            drop(state.store.create_partial(number(&row.id))?);
            state
                .configuration
                .with_database(|database| database.put_upload(&row))?;
            Ok(UploadView::of(&row, 0, None))
        })
        .await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/api/v1/uploads/{}", view.id)))
        .json(view))
}

/// The number that the store knows it by: its identifier is 128 random bits.
fn number(id: &Id) -> u128 {
    u128::from_str_radix(id.as_str(), 16).unwrap_or_default()
}

fn throw_away_old(state: &State) -> Result<(), ApiError> {
    let now_ms = state.configuration.now_ms();
    let uploads = state.configuration.with_database(Database::uploads)?;
    for row in uploads {
        if now_ms.saturating_sub(row.seen_ms) >= UPLOAD_KEPT_MS {
            forget(state, &row.id)?;
        }
    }
    Ok(())
}

fn forget(state: &State, id: &Id) -> Result<(), ApiError> {
    if let Some(partial) = state.store.open_partial(number(id))? {
        partial.remove()?;
    }
    Ok(state
        .configuration
        .with_database(|database| database.remove_upload(id))?)
}

fn found(state: &State, id: &Id) -> Result<UploadRow, ApiError> {
    let uploads = state.configuration.with_database(Database::uploads)?;
    let found = uploads.into_iter().find(|row| row.id == *id);
    found.ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no upload {id}")))
}

/// An upload whose partial file is gone (collected, or complete) is over.
fn offset(state: &State, row: &UploadRow) -> Result<u64, ApiError> {
    match state.store.partial_len(number(&row.id))? {
        Some(offset) => Ok(offset),
        None => {
            state
                .configuration
                .with_database(|database| database.remove_upload(&row.id))?;
            let message = format!("the upload {} is over", row.id);
            Err(ApiError::new(Code::NotFound, message))
        }
    }
}

pub(super) async fn list(state: web::Data<State>) -> Result<HttpResponse, ApiError> {
    let work = |state: &State| -> Result<UploadList, ApiError> {
        let uploads = state.configuration.with_database(Database::uploads)?;
        let shown = uploads.iter().filter_map(|row| {
            let offset = offset(state, row).ok()?;
            Some(UploadView::of(row, offset, None))
        });
        Ok(UploadList {
            items: shown.collect(),
        })
    };
    Ok(HttpResponse::Ok().json(state.blocking(work).await?))
}

pub(super) async fn show(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let work = move |state: &State| -> Result<UploadView, ApiError> {
        let row = found(state, &id)?;
        let offset = offset(state, &row)?;
        Ok(UploadView::of(&row, offset, None))
    };
    Ok(HttpResponse::Ok().json(state.blocking(work).await?))
}

pub(super) async fn remove(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let work = move |state: &State| -> Result<(), ApiError> {
        found(state, &id)?;
        forget(state, &id)
    };
    state.blocking(work).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) async fn go_on(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let id = request::id(&request)?;
    let said = request.headers().get(OFFSET_HEADER);
    let said = said.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let said = said.ok_or_else(|| {
        ApiError::new(
            Code::InvalidQuery,
            "the header says at which octet the piece begins",
        )
        .at(OFFSET_HEADER)
    })?;
    let work =
        move |state: &State, source: &mut dyn Read| add(state, &identity.actor, &id, said, source);
    let view = receive(&state, &request, payload, work).await?;
    if view.file.is_some() {
        state.publisher.wake();
    }
    Ok(HttpResponse::Ok().json(view))
}

fn add(
    state: &State,
    actor: &Actor,
    id: &Id,
    said: u64,
    source: &mut dyn Read,
) -> Result<UploadView, ApiError> {
    let mut row = found(state, id)?;
    offset(state, &row)?;
    let partial = state.store.open_partial(number(id))?;
    let mut partial = partial.ok_or_else(|| ApiError::new(Code::NotFound, "the upload is over"))?;
    if said != partial.len() {
        let message = format!("the next octet of the file is number {}", partial.len());
        return Err(ApiError::new(Code::WrongOffset, message).at(OFFSET_HEADER));
    }
    state.store.check_room(row.bytes.saturating_sub(said))?;
    row.seen_ms = state.configuration.now_ms();
    state
        .configuration
        .with_database(|database| database.put_upload(&row))?;
    let mut bounded = Bounded {
        source,
        left: row.bytes.saturating_sub(said),
    };
    partial.append(&mut bounded).map_err(|error| match error {
        StoreError::Source(error) if error.kind() == io::ErrorKind::FileTooLarge => ApiError::new(
            Code::TooLarge,
            "more arrived than the length that was said; the rest is ignored",
        ),
        error => error.into(),
    })?;
    if partial.len() < row.bytes {
        return Ok(UploadView::of(&row, partial.len(), None));
    }
    let hash = partial.hash(&mut |_| ControlFlow::Continue(()))?;
    let wanted = row.blake3.as_deref().and_then(ImageHash::parse);
    if let Err(mismatch) = check_hash(hash, wanted) {
        partial.remove()?;
        state
            .configuration
            .with_database(|database| database.remove_upload(id))?;
        return Err(mismatch);
    }
    let name = Name::parse(&row.name).map_err(|error| ApiError::internal(&error))?;
    let (_, file) = put(state, actor, &name, hash, row.bytes, || {
        partial.into_staged(hash)
    })?;
    state
        .configuration
        .with_database(|database| database.remove_upload(id))?;
    Ok(UploadView::of(&row, row.bytes, Some(file)))
}

/// As much of a source as may come.
struct Bounded<'s> {
    source: &'s mut dyn Read,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return match self.source.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::ErrorKind::FileTooLarge.into()),
            };
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.source.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}
