//! Long answers: given out piece by piece, with no more of them in memory than a few pieces; and what the sender of a
//! long body says of it.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, Read};

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use daybreak_store::ImageHash;
use futures_core::Stream;
use tokio::sync::mpsc;

use super::error::{ApiError, Code};
use super::files::HASH_HEADER;
use crate::limits::UPLOAD_PIECES_MAX;

/// Octets of a piece that is sent.
const PIECE_BYTES: usize = 64 << 10;

/// What the sender says that the hash is.
pub(super) fn expected_hash(request: &HttpRequest) -> Result<Option<ImageHash>, ApiError> {
    let Some(value) = request.headers().get(HASH_HEADER) else {
        return Ok(None);
    };
    let hash = ImageHash::parse(value.to_str().unwrap_or_default());
    let wrong = || {
        let why = "a hash is 64 lower-case hexadecimal digits";
        ApiError::new(Code::InvalidQuery, why).at(HASH_HEADER)
    };
    hash.map(Some).ok_or_else(wrong)
}

/// How long the sender says that the body is.
pub(super) fn content_length(request: &HttpRequest) -> Option<u64> {
    let value = request.headers().get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// A body that is read where waiting is allowed, as fast as it is sent.
pub(super) struct Sent(mpsc::Receiver<io::Result<web::Bytes>>);

impl Sent {
    /// Of what `source` gives. `held` is let go when all was read, or the receiver went away.
    pub(super) fn of(mut source: impl Read + Send + 'static, held: impl Send + 'static) -> Self {
        let (pieces, sent) = mpsc::channel(UPLOAD_PIECES_MAX);
        // Detached: it ends by itself, at the end of the source or of the connection.
        drop(actix_web::rt::task::spawn_blocking(move || {
            let _held = held;
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let read = source.read(&mut piece).map(|count| {
                    piece.truncate(count);
                    web::Bytes::from(piece)
                });
                let last = read.as_ref().map_or(true, web::Bytes::is_empty);
                let ended = read.as_ref().is_ok_and(web::Bytes::is_empty);
                if ended || pieces.blocking_send(read).is_err() || last {
                    return;
                }
            }
        }));
        Sent(sent)
    }
}

impl Stream for Sent {
    type Item = io::Result<web::Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
