//! The files that terminals can ask for: list, upload, remove.
//!
//! An upload streams into the store and is hashed on the way; no more of it is in memory than a few pieces. It gets its
//! name when it is complete and, if the sender said what its hash is, when it has that. Rendered files are listed, but
//! only the configuration changes them.

use core::ops::ControlFlow;
use std::io::{self, Read};
use std::pin::Pin;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_core::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::error::{ApiError, Code};
use super::request::{self, unknown_parameter, wrong_parameter};
use super::state::State;
use crate::limits::{PAGE_ITEMS, PAGE_ITEMS_MAX, UPLOAD_PIECES_MAX};
use crate::security::Identity;
use daybreak_store::{
    Change, Content, ImageHash, LoadError, Name, Store, StoreError, StoredContent,
};

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

fn rendered(name: &Name) -> ApiError {
    let message = format!("{name} is rendered from the configuration");
    ApiError::new(Code::Rendered, message)
}

pub(super) async fn upload(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    mut payload: web::Payload,
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
    let (pieces, arrived) = mpsc::channel(UPLOAD_PIECES_MAX);
    let told = name.clone();
    let work = move |state: &State| {
        let mut source = Arrived {
            pieces: arrived,
            piece: web::Bytes::new(),
        };
        put(&state.store, name, &mut source, length, expected_hash)
    };
    let storing = state.blocking(work);
    let sending = async move {
        while let Some(piece) =
            core::future::poll_fn(|context| Pin::new(&mut payload).poll_next(context)).await
        {
            let broken = piece.is_err();
            if piece.as_ref().is_ok_and(web::Bytes::is_empty) {
                continue; // it would be taken for the end
            }
            // Closed: the store has refused it, and its answer says why.
            if pieces
                .send(piece.map_err(|error| io::Error::other(error.to_string())))
                .await
                .is_err()
                || broken
            {
                return;
            }
        }
        // The end, said aloud: a channel that only closes is an upload that broke off.
        let _ = pieces.send(Ok(web::Bytes::new())).await;
    };
    let (change, hash, len) = both(storing, sending).await?;
    tracing::info!(actor = identity.actor.name, name = %told, %hash, bytes = len, "a file was uploaded");
    state.publisher.wake();
    let view = FileView {
        name: told.to_string(),
        bytes: len,
        blake3: Some(hash.to_string()),
    };
    Ok(match change {
        Change::Added => HttpResponse::Created().json(view),
        Change::Replaced | Change::Unchanged => HttpResponse::Ok().json(view),
    })
}

/// Runs both until the first is done.
async fn both<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> T {
    let mut first = core::pin::pin!(first);
    let mut second = core::pin::pin!(second);
    let mut sent = false;
    core::future::poll_fn(move |context| {
        if !sent {
            sent = second.as_mut().poll(context).is_ready();
        }
        first.as_mut().poll(context)
    })
    .await
}

fn put(
    store: &Store,
    name: Name,
    source: &mut dyn Read,
    length: Option<u64>,
    expected_hash: Option<ImageHash>,
) -> Result<(Change, ImageHash, u64), ApiError> {
    // Staging takes no lock: a slow sender holds up nobody.
    let staged = store.stage(source, length, &mut |_| ControlFlow::Continue(()))?;
    let (hash, len) = (staged.hash(), staged.len());
    if let Some(expected) = expected_hash.filter(|expected| *expected != hash) {
        let message =
            format!("what arrived has the hash {hash}, not {expected}; nothing was changed");
        return Err(ApiError::new(Code::HashMismatch, message).at(HASH_HEADER));
    }
    let mut draft = store.begin()?;
    if matches!(draft.entries().get(&name), Some(StoredContent::Inline(_))) {
        return Err(rendered(&name));
    }
    let change = draft.put_staged(name, staged)?;
    draft.publish()?;
    Ok((change, hash, len))
}

pub(super) async fn remove(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let name = name(&request)?;
    let told = name.clone();
    let work = move |state: &State| -> Result<(), ApiError> {
        let mut draft = state.store.begin()?;
        match draft.entries().get(&name) {
            None => {
                return Err(ApiError::new(
                    Code::NotFound,
                    format!("there is no file {name}"),
                ));
            }
            Some(StoredContent::Inline(_)) => return Err(rendered(&name)),
            Some(StoredContent::Image { .. }) => drop(draft.remove(name.as_str())),
        }
        draft.publish()?;
        Ok(())
    };
    state.blocking(work).await?;
    tracing::info!(actor = identity.actor.name, name = %told, "a file was removed");
    state.publisher.wake();
    Ok(HttpResponse::NoContent().finish())
}

/// What has arrived of an upload, read where waiting is allowed.
struct Arrived {
    pieces: mpsc::Receiver<io::Result<web::Bytes>>,
    piece: web::Bytes,
}

impl Read for Arrived {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = match self.pieces.blocking_recv() {
                Some(piece) => piece?,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
