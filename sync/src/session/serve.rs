//! Answering what the other asks for: rows of the log, pages of digests, rows by key, pieces of images.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::Poll;
use core::time::Duration;

use super::{Now, Session};
use crate::host::{Host, HostError, Piece, Trace};
use crate::limits::{PAGE_MAX, REQUESTS_MAX, ROWS_BYTES};
use crate::pace::Pace;
use crate::policy::Refusal;
use crate::wire::{Message, Page, Rows, encode_row};
use crate::{Book, Completion, Head, ImageRef, ObjectKey, Row};

/// Requests that wait for their answer.
#[derive(Debug)]
pub(super) struct Server {
    /// Rows: answered at once.
    rows: VecDeque<Message>,
    /// Pieces of images: answered at a pace, after everything else.
    pieces: VecDeque<Message>,
    pace: Pace,
}

impl Server {
    pub(super) fn new(rate: u64) -> Self {
        Server {
            rows: VecDeque::new(),
            pieces: VecDeque::new(),
            pace: Pace::new(rate),
        }
    }

    pub(super) fn set_rate(&mut self, rate: u64) {
        self.pace.set_rate(rate);
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.pieces.clear();
    }

    pub(super) fn opens_at(&self) -> Option<Duration> {
        (!self.pieces.is_empty()).then(|| self.pace.opens_at())
    }

    /// What is asked of this image is answered after the others, in its order.
    fn put_off(&mut self, image: ImageRef) {
        let is_of =
            |request: &Message| matches!(request, Message::Ask { image: of, .. } if *of == image);
        let (later, sooner): (Vec<_>, Vec<_>) = self.pieces.drain(..).partition(is_of);
        self.pieces.extend(sooner.into_iter().chain(later));
    }
}

impl Session {
    pub(super) fn hear_request(&mut self, request: Message) {
        let Some(peer) = &self.peer else {
            return;
        };
        let is_piece = matches!(request, Message::Ask { .. });
        if peer.late {
            return;
        }
        if self.server.rows.len() + self.server.pieces.len() >= REQUESTS_MAX {
            return self.refuse(Refusal::TooMuch);
        }
        if is_piece {
            self.server.pieces.push_back(request);
        } else {
            self.server.rows.push_back(request);
        }
    }

    /// The next answer.
    pub(super) fn answer<H: Host>(&mut self, now: Now, host: &mut H) -> Option<Message> {
        loop {
            let request = match self.server.rows.pop_front() {
                Some(request) => request,
                None if self.server.pace.is_open(now.time) => self.server.pieces.pop_front()?,
                None => return None,
            };
            match self.answer_one(now, request, host) {
                Ok(Poll::Ready(Some(answer))) => return Some(answer),
                // The image is read a part at a time: messages come and go in between.
                Ok(Poll::Pending) => return None,
                // A new life has begun, and the first thing to say is that.
                Ok(Poll::Ready(None)) => {
                    let said = self.link.as_mut().and_then(|link| link.outbox.pop_front());
                    if said.is_some() {
                        return said;
                    }
                }
                Err(error) => {
                    self.fail(now, &error);
                    self.close();
                    return None;
                }
            }
        }
    }

    fn answer_one<H: Host>(
        &mut self,
        now: Now,
        request: Message,
        host: &mut H,
    ) -> Result<Poll<Option<Message>>, HostError> {
        let answer = match request {
            Message::Pull {
                node,
                cursor,
                after,
            } if node == self.book.node => self.answer_pull(now, cursor, after, host)?,
            Message::Compare { after } => {
                let (book, rows) = host.page(after.as_ref(), PAGE_MAX)?;
                let last = rows.len() < PAGE_MAX;
                let now = completion(book);
                Some(Message::Page(Page { now, last, rows }))
            }
            Message::Fetch(keys) => Some(self.answer_fetch(&keys, host)?),
            Message::Ask { image, index } => match host.piece(image, index)? {
                Poll::Pending => {
                    self.server.pieces.push_front(request);
                    self.server.put_off(image);
                    return Ok(Poll::Pending);
                }
                Poll::Ready(None) => Some(Message::NoPiece { hash: image.hash }),
                Poll::Ready(Some(Piece { octets, proof })) => {
                    self.server.pace.pass(now.time, octets.len());
                    Some(Message::Piece {
                        hash: image.hash,
                        index,
                        proof,
                        octets,
                    })
                }
            },
            _ => None,
        };
        Ok(Poll::Ready(answer))
    }

    fn answer_pull<H: Host>(
        &mut self,
        now: Now,
        cursor: Head,
        after: u64,
        host: &mut H,
    ) -> Result<Option<Message>, HostError> {
        // Asked for now: deletes are forgotten without a word to this session.
        let forgotten = cursor.position < host.book()?.floor;
        if forgotten || host.trace(cursor.position)? == Trace::TooOld {
            return Ok(Some(Message::TooOld));
        }
        let peer = self.peer.as_ref();
        if peer.is_some_and(|peer| peer.superior) {
            if host.trace(cursor.position)? != Trace::Mark(cursor.mark) {
                return Ok(Some(Message::TooOld));
            }
        } else if !self.still_has(now, cursor, host) {
            return Ok(None);
        }
        let Some(skip) = self.peer.as_ref().map(|peer| peer.node) else {
            return Ok(None);
        };
        let changes = host.changes(after, ROWS_BYTES, skip)?;
        Ok(Some(Message::Rows(Rows {
            to: changes.to,
            now: completion(changes.book),
            rows: changes.rows,
        })))
    }

    fn answer_fetch<H: Host>(
        &mut self,
        keys: &[ObjectKey],
        host: &mut H,
    ) -> Result<Message, HostError> {
        let mut rows: Vec<Row> = Vec::new();
        let (mut answered, mut bytes) = (0, 0);
        for key in keys {
            if let Some(row) = host.row(key)? {
                bytes += encode_row(&row).len();
                if !rows.is_empty() && bytes > ROWS_BYTES {
                    break;
                }
                rows.push(row);
            }
            answered += 1;
        }
        // Read last: the rows are not newer.
        let head = host.book()?.head();
        Ok(Message::Objects {
            head,
            answered,
            rows,
        })
    }
}

fn completion(book: Book) -> Completion {
    Completion {
        node: book.node,
        head: book.head(),
        heads: book.heads,
    }
}
