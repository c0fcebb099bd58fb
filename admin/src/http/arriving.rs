//! The body of an upload on its way to where waiting is allowed: a few pieces at a time, whatever its length.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;

use actix_web::{HttpRequest, web};
use futures_core::Stream;
use tokio::sync::mpsc;

use super::error::{ApiError, Code};
use super::request::content_type;
use super::state::State;
use crate::limits::{UPLOAD_PIECE_WAIT, UPLOAD_PIECES_MAX};

/// Does `work` off the event loop, with the body as it arrives.
pub(super) async fn receive<T: Send + 'static>(
    state: &Arc<State>,
    request: &HttpRequest,
    mut payload: web::Payload,
    work: impl FnOnce(&State, &mut dyn Read) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    // A form is not the file in it, and where its parts say that they belong is nobody's to say.
    if content_type(request).is_some_and(|kind| kind.starts_with("multipart/")) {
        let message = "this is a form with parts, not a file";
        return Err(ApiError::new(Code::Multipart, message));
    }
    // Each takes a thread as long as it lasts.
    let Ok(_permit) = state.at_once.arriving.try_acquire() else {
        return Err(ApiError::new(Code::Busy, "too many uploads at once"));
    };
    let (pieces, arrived) = mpsc::channel(UPLOAD_PIECES_MAX);
    let working = state.blocking(move |state: &State| {
        let mut source = Arrived {
            pieces: arrived,
            piece: web::Bytes::new(),
            ended: false,
        };
        work(state, &mut source)
    });
    let sending = async move {
        loop {
            let next = core::future::poll_fn(|context| Pin::new(&mut payload).poll_next(context));
            let piece = match tokio::time::timeout(UPLOAD_PIECE_WAIT, next).await {
                Ok(None) => break,
                Ok(Some(piece)) => piece.map_err(|error| io::Error::other(error.to_string())),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            let broken = piece.is_err();
            if piece.as_ref().is_ok_and(web::Bytes::is_empty) {
                continue; // it would be taken for the end
            }
            // Closed: it was refused, and the answer says why.
            if pieces.send(piece).await.is_err() || broken {
                return;
            }
        }
        // The end, said aloud: a channel that only closes is an upload that broke off.
        let _ = pieces.send(Ok(web::Bytes::new())).await;
    };
    both(working, sending).await
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

/// What has arrived, read where waiting is allowed.
struct Arrived {
    pieces: mpsc::Receiver<io::Result<web::Bytes>>,
    piece: web::Bytes,
    ended: bool,
}

impl Read for Arrived {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.ended {
            self.piece = match self.pieces.blocking_recv() {
                Some(piece) => piece?,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            };
            self.ended = self.piece.is_empty();
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
