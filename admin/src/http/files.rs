//! The files that terminals can ask for: list, upload, remove.
//!
//! An upload streams into the store and is hashed on the way; no more of it is in memory than a few pieces. It gets its
//! name when it is complete and, if the sender said what its hash is, when it has that. Rendered files are listed, but
//! only the configuration changes them.

use core::ops::ControlFlow;
use std::io::Read;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use daybreak_store::disk::Directory;
use daybreak_store::{
    Change, Content, ImageHash, LoadError, Name, Staged, Store, StoreError, StoredContent,
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::arriving::receive;
use super::error::{ApiError, Code};
use super::request::{self, unknown_parameter, wrong_parameter};
use super::state::State;
use crate::configuration::Actor;
use crate::file;
use crate::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX};
use crate::security::Identity;

/// Says what the BLAKE3 hash of an upload is, in hexadecimal.
pub(super) const HASH_HEADER: &str = "x-daybreak-blake3";

/// A file that terminals can ask for.
#[derive(Serialize, ToSchema)]
pub(super) struct FileView {
    /// The name that they ask for.
    name: String,
    /// Its length in octets.
    bytes: u64,
    /// The BLAKE3 hash of its content; `null`: it is rendered from the configuration.
    blake3: Option<String>,
}

/// A page of files, in octet order of their names.
#[derive(Serialize, ToSchema)]
pub(super) struct FilePage {
    items: Vec<FileView>,
    /// Give it as `after` for the next page.
    next: Option<String>,
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Busy(_) => ApiError::new(Code::Busy, message),
            StoreError::ImageTooLarge => ApiError::new(Code::TooLarge, message),
            StoreError::Source(_) => ApiError::new(
                Code::UploadBroken,
                "the upload broke off; nothing was changed",
            ),
            _ if error.is_disk_full() => ApiError::new(Code::DiskFull, message),
            _ => ApiError::internal(&message),
        }
    }
}

impl From<LoadError> for ApiError {
    fn from(error: LoadError) -> Self {
        ApiError::internal(&error)
    }
}

pub(super) async fn list(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (mut prefix, mut after, mut limit) = (String::new(), None, PAGE_ITEMS);
    for (name, value) in request::parameters(&request)? {
        match name.as_str() {
            "prefix" => prefix = value,
            "after" => after = Some(value),
            "limit" => {
                let count = value
                    .parse()
                    .ok()
                    .filter(|count| (1..=PAGE_ITEMS_MAX).contains(count));
                limit =
                    count.ok_or_else(|| wrong_parameter("limit", "a page has 1 to 500 files"))?;
            }
            _ => return Err(unknown_parameter(&name)),
        }
    }
    let work = move |state: &State| page(&state.store, &prefix, after.as_deref(), limit);
    let page: FilePage = state.blocking(work).await?;
    Ok(HttpResponse::Ok().json(page))
}

fn page(
    store: &Store,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<FilePage, LoadError> {
    let published = store.published()?;
    let inside = published
        .entries()
        .map(|(_, view)| view)
        .filter(|view| view.name.starts_with(prefix));
    let mut rest = inside.skip_while(|view| after.is_some_and(|after| view.name <= after));
    let items: Vec<FileView> = rest
        .by_ref()
        .take(limit)
        .map(|view| FileView {
            name: view.name.to_owned(),
            bytes: view.len,
            blake3: match view.content {
                Content::Image(hash) => Some(hash.to_string()),
                Content::Inline(_) => None,
            },
        })
        .collect();
    let more = rest.next().is_some();
    let next = items.last().filter(|_| more).map(|last| last.name.clone());
    Ok(FilePage { items, next })
}

/// The name in the address. It is decoded here, once and as a whole, so that `%2f` is `/` and the rule of names sees it.
fn name(request: &HttpRequest) -> Result<Name, ApiError> {
    let wrong = |why: &str| ApiError::new(Code::InvalidPath, why);
    let encoded = request.uri().path().strip_prefix("/api/v1/files/");
    let decoded = encoded.and_then(|encoded| decoded(encoded.as_bytes()));
    let octets = decoded.ok_or_else(|| wrong("the address is not well encoded"))?;
    Name::parse(octets).map_err(|error| wrong(&error.to_string()))
}

/// Without its percent signs; nothing, if one of them is not followed by two hexadecimal digits.
fn decoded(encoded: &[u8]) -> Option<Vec<u8>> {
    let digit = |octet: &u8| {
        char::from(*octet)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut octets = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(octet) = rest.next() {
        match octet {
            b'%' => octets.push(digit(rest.next()?)? << 4 | digit(rest.next()?)?),
            other => octets.push(*other),
        }
    }
    Some(octets)
}

pub(super) fn rendered(name: &Name) -> ApiError {
    let message = format!("{name} is rendered from the configuration");
    ApiError::new(Code::Rendered, message)
}

pub(super) async fn upload(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let name = name(&request)?;
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default().to_owned())
    };
    let expected_hash = match header(HASH_HEADER) {
        None => None,
        Some(text) => Some(ImageHash::parse(&text).ok_or_else(|| {
            ApiError::new(
                Code::InvalidQuery,
                "a hash is 64 lower-case hexadecimal digits",
            )
            .at(HASH_HEADER)
        })?),
    };
    let length = header(header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    let work = move |state: &State, source: &mut dyn Read| {
        // Staging takes no lock: a slow sender holds up nobody.
        let continuing = &mut |_| ControlFlow::Continue(());
        let staged = state.store.stage(source, length, continuing)?;
        check_hash(staged.hash(), expected_hash)?;
        put(
            state,
            &identity.actor,
            &name,
            staged.hash(),
            staged.len(),
            || Ok(staged),
        )
    };
    let (change, view) = receive(&state, &request, payload, work).await?;
    state.publisher.wake();
    Ok(match change {
        Change::Added => HttpResponse::Created().json(view),
        Change::Replaced | Change::Unchanged => HttpResponse::Ok().json(view),
    })
}

/// Refuses what has not the hash that its sender said.
pub(super) fn check_hash(hash: ImageHash, expected: Option<ImageHash>) -> Result<(), ApiError> {
    match expected.filter(|expected| *expected != hash) {
        None => Ok(()),
        Some(expected) => {
            let message =
                format!("what arrived has the hash {hash}, not {expected}; nothing was changed");
            Err(ApiError::new(Code::HashMismatch, message).at(HASH_HEADER))
        }
    }
}

/// Gives what `stage` gives its name. That is asked for when nothing stands in the way any more.
pub(super) fn put<'s>(
    state: &'s State,
    actor: &Actor,
    name: &Name,
    hash: ImageHash,
    bytes: u64,
    stage: impl FnOnce() -> Result<Staged<'s, Directory>, StoreError>,
) -> Result<(Change, FileView), ApiError> {
    let mut draft = state.store.begin()?;
    let before = match draft.entries().get(name) {
        Some(StoredContent::Inline(_)) => return Err(rendered(name)),
        Some(StoredContent::Image { hash, len }) => Some(audited(*hash, *len)),
        None => None,
    };
    let view = FileView {
        name: name.to_string(),
        bytes,
        blake3: Some(hash.to_string()),
    };
    let change = draft.put_staged(name.clone(), stage()?)?;
    draft.publish()?;
    tracing::info!(actor = actor.name, name = view.name, %hash, bytes, "a file was uploaded");
    let action = match change {
        Change::Added => "create",
        Change::Replaced => "change",
        Change::Unchanged => return Ok((change, view)),
    };
    let after = audited(hash, bytes);
    let image = file::image(hash, bytes);
    state
        .configuration
        .note_file(actor, action, name, before.as_ref(), Some((image, &after)))?;
    Ok((change, view))
}

/// A file, as the audit tells of it.
fn audited(hash: ImageHash, bytes: u64) -> Value {
    json!({"bytes": bytes, "blake3": hash.to_string()})
}

pub(super) async fn remove(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let name = name(&request)?;
    let work = move |state: &State| -> Result<(), ApiError> {
        let mut draft = state.store.begin()?;
        let before = match draft.entries().get(&name) {
            None => {
                return Err(ApiError::new(
                    Code::NotFound,
                    format!("there is no file {name}"),
                ));
            }
            Some(StoredContent::Inline(_)) => return Err(rendered(&name)),
            Some(StoredContent::Image { hash, len }) => audited(*hash, *len),
        };
        draft.remove(name.as_str());
        draft.publish()?;
        tracing::info!(actor = identity.actor.name, %name, "a file was removed");
        let noted =
            state
                .configuration
                .note_file(&identity.actor, "delete", &name, Some(&before), None);
        Ok(noted?)
    };
    state.blocking(work).await?;
    state.publisher.wake();
    Ok(HttpResponse::NoContent().finish())
}
