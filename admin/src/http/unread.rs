//! What of a request was not read when it is answered: the connection is closed then.
//!
//! The framework reads a body in chunks to its end where nobody wants it any more, and waits for that without a bound: whoever is
//! refused and sends no further chunk would keep the connection for ever, without any credentials. It closes the connection
//! where the body is still wanted when the answer goes out. So the answer keeps it: until it is sent.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_core::Stream;

/// A body that both its reader and the answer have.
#[derive(Clone)]
pub(super) struct Unread(Rc<RefCell<Payload>>);

impl Unread {
    /// The body of a request that sends it in chunks.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let body = Unread(Rc::new(RefCell::new(request.take_payload())));
        let reader = Box::pin(body.clone());
        request.set_payload(Payload::Stream { payload: reader });
        Some(body)
    }

    /// The same answer, which has the body for as long as it is being sent.
    pub(super) fn kept_by(self, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        response.map_body(|_, answer| {
            let (answer, _request) = (Box::pin(answer), self);
            BoxBody::new(Answer { answer, _request })
        })
    }
}

impl Stream for Unread {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

/// The body of an answer, with that of its request.
struct Answer {
    answer: Pin<Box<BoxBody>>,
    _request: Unread,
}

impl MessageBody for Answer {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.answer.as_mut().poll_next(context)
    }
}
