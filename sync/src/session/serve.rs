//! Answering what the other asks for: rows of the log, pages of digests, rows by key, pieces of images.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Now, Session};
use crate::host::{Host, HostError, Piece, Trace};
use crate::limits::{PAGE_MAX, REQUESTS_MAX, ROWS_BYTES};
use crate::pace::Pace;
use crate::policy::Refusal;
use crate::wire::{Message, Page, Rows, encode_row};
use crate::{Book, Completion, Head, ObjectKey, Row};

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

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        (!self.pieces.is_empty()).then(|| self.pace.opens_at())
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
                Ok(Some(answer)) => return Some(answer),
                // A new life has begun, and the first thing to say is that.
                Ok(None) => {
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
    ) -> Result<Option<Message>, HostError> {
        match request {
            Message::Pull {
                node,
                cursor,
                after,
            } if node == self.book.node => self.answer_pull(now, cursor, after, host),
            Message::Compare { after } => {
                let (book, rows) = host.page(after.as_ref(), PAGE_MAX)?;
                let last = rows.len() < PAGE_MAX;
                let now = completion(book);
                Ok(Some(Message::Page(Page { now, last, rows })))
            }
            Message::Fetch(keys) => self.answer_fetch(&keys, host).map(Some),
            Message::Ask { image, index } => {
                let Some(Piece { octets, proof }) = host.piece(image, index)? else {
                    return Ok(Some(Message::NoPiece { hash: image.hash }));
                };
                self.server.pace.pass(now.time, octets.len());
                Ok(Some(Message::Piece {
                    hash: image.hash,
                    index,
                    proof,
                    octets,
                }))
            }
            _ => Ok(None),
        }
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
