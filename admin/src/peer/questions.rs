//! What a synchronization by hand asks the other server, and the answers: pages of digests, rows, pieces of images.
//!
//! Whoever asks waits for the answer, but for pieces: several of those are on their way at once. Each side is given up that says nothing for
//! too long; one that is at something long says now and then that it is alive.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use daybreak_sync::host::{Host, HostError};
use daybreak_sync::limits::{PAGE_MAX, PIECES_IN_FLIGHT, PING_EVERY, ROWS_BYTES};
use daybreak_sync::pieces::{Came, Pacing, Pieces};
use daybreak_sync::policy::Refusal;
use daybreak_sync::wire::{Frames, Message, Page, VERSIONS};
use daybreak_sync::{Completion, ImageRef, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::handshake::Stream;
use super::host::Server;
use super::manual::{ImageRefText, ManualError};
use crate::limits::{LINK_READ_BYTES, MANUAL_SILENCE_MAX};

/// Keys that are asked for at once.
const KEYS_AT_ONCE: usize = 512;

/// The side that is looked at and fetched from.
pub(super) struct Source {
    pub(super) stream: Box<dyn Stream>,
    pub(super) frames: Frames,
    /// How long it may say nothing.
    pub(super) silence: Duration,
}

impl Source {
    pub(super) fn new(stream: Box<dyn Stream>, silence: Duration) -> Self {
        let frames = Frames::default();
        Source {
            stream,
            frames,
            silence,
        }
    }

    async fn ask(&mut self, message: &Message) -> Result<Message, ManualError> {
        self.tell(message).await?;
        self.hear().await
    }

    async fn tell(&mut self, message: &Message) -> Result<(), ManualError> {
        send(&mut self.stream, message, self.silence).await
    }

    async fn hear(&mut self) -> Result<Message, ManualError> {
        let other = |why: &str| ManualError::Other(why.to_owned());
        loop {
            let next = next_message(&mut self.stream, &mut self.frames);
            let next = tokio::time::timeout(self.silence, next).await;
            match next.map_err(|_| other("it does not answer"))?? {
                // It is reading a large image.
                Some(Message::Ping { .. }) => {}
                Some(Message::Refuse(Refusal::Version)) => return Err(ManualError::Version),
                Some(answer) => return Ok(answer),
                None => return Err(other("it has closed the connection")),
            }
        }
    }

    /// Waits for something that takes long, and tells the other server meanwhile that this one is alive.
    pub(super) async fn meanwhile<T>(
        &mut self,
        wall_ms: impl Fn() -> u64,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(PING_EVERY) => {
                    let wall_ms = wall_ms();
                    // If it is gone, that is seen when it is asked next.
                    let _ = self.tell(&Message::Ping { wall_ms }).await;
                }
            }
        }
    }

    /// Every row there.
    pub(super) async fn rows(&mut self) -> Result<Vec<Row>, ManualError> {
        let wrong = || ManualError::Other("it answers something else".into());
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let Message::Page(page) = self.ask(&Message::Compare { after }).await? else {
                return Err(wrong());
            };
            let last = page.rows.last().map(|(key, _)| key.clone());
            keys.extend(page.rows.into_iter().map(|(key, _)| key));
            if page.last || last.is_none() {
                break;
            }
            after = last;
        }
        let (mut rows, mut rest) = (Vec::with_capacity(keys.len()), &keys[..]);
        while !rest.is_empty() {
            let wanted = &rest[..rest.len().min(KEYS_AT_ONCE)];
            let answer = self.ask(&Message::Fetch(wanted.to_vec())).await?;
            let Message::Objects {
                answered,
                rows: some,
                ..
            } = answer
            else {
                return Err(wrong());
            };
            let answered = answered as usize;
            if answered == 0 || answered > wanted.len() {
                return Err(wrong());
            }
            rest = &rest[answered..];
            rows.extend(some);
        }
        Ok(rows)
    }

    /// Brings an image here, from where it was left, at this pace since then. `came` is told the octets of each piece.
    pub(super) async fn fetch(
        &mut self,
        image: ImageRef,
        host: &mut Server,
        (pacing, since): (&mut Pacing, Instant),
        mut came: impl FnMut(usize),
    ) -> Result<(), ManualError> {
        let not_there = || ManualError::NoImage(ImageRefText(image));
        let mut pieces = Pieces::new(image, host.pieces(image)?);
        while !pieces.are_here() {
            let now = since.elapsed();
            while pieces.want_more() && pieces.in_flight() < PIECES_IN_FLIGHT && pacing.is_open(now)
            {
                let index = pieces.ask(now, pieces.in_flight() + 1, pacing);
                self.tell(&Message::Ask { image, index }).await?;
            }
            if pieces.in_flight() == 0 {
                let opens = tokio::time::sleep(pacing.opens_at().saturating_sub(now));
                self.meanwhile(|| host.now_ms(), opens).await;
                continue;
            }
            let Message::Piece {
                index,
                proof,
                octets,
                ..
            } = self.hear().await?
            else {
                return Err(not_there());
            };
            match pieces.hear(since.elapsed(), (index, &octets, &proof), pacing) {
                Came::Next => {
                    host.put_piece(image, index, &octets)?;
                    pieces.keep();
                    came(octets.len());
                }
                Came::Other | Came::Damaged => {}
                Came::GivenUp => return Err(not_there()),
            }
        }
        let mut said_at = Instant::now();
        while host.finish_image(image)?.is_pending() {
            if said_at.elapsed() >= PING_EVERY {
                said_at = Instant::now();
                let wall_ms = host.now_ms();
                self.tell(&Message::Ping { wall_ms }).await?;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

async fn next_message(
    stream: &mut Box<dyn Stream>,
    frames: &mut Frames,
) -> Result<Option<Message>, ManualError> {
    let octets = next_frame(stream, frames).await;
    let Some(octets) = octets.map_err(ManualError::Other)? else {
        return Ok(None);
    };
    Ok(Some(Message::decode(&octets, &VERSIONS)?))
}

pub(super) async fn next_frame(
    stream: &mut Box<dyn Stream>,
    frames: &mut Frames,
) -> Result<Option<Vec<u8>>, String> {
    let mut buf = vec![0; LINK_READ_BYTES];
    loop {
        if let Some(octets) = frames.pop().map_err(|error| error.to_string())? {
            return Ok(Some(octets));
        }
        let count = stream
            .read(&mut buf)
            .await
            .map_err(|error| error.to_string())?;
        if count == 0 {
            return Ok(None);
        }
        frames.push(&buf[..count]);
    }
}

/// Answers what a server that is made the same as this one asks for, until it has closed the connection.
pub(super) async fn serve(mut stream: Box<dyn Stream>, mut host: Server) {
    let mut frames = Frames::default();
    loop {
        let next = next_message(&mut stream, &mut frames);
        let message = match tokio::time::timeout(MANUAL_SILENCE_MAX, next).await {
            Ok(Ok(Some(message))) => message,
            Ok(Err(ManualError::Version)) => {
                let refusal = Message::Refuse(Refusal::Version);
                let _ = send(&mut stream, &refusal, MANUAL_SILENCE_MAX).await;
                return;
            }
            _ => return,
        };
        if !matches!(give(&mut stream, &mut host, &message).await, Ok(Some(_))) {
            return;
        }
    }
}

/// Answers what was asked for. Gives how many octets of an image that were; nothing, if it is no question.
pub(super) async fn give(
    stream: &mut Box<dyn Stream>,
    host: &mut Server,
    asked: &Message,
) -> Result<Option<usize>, ManualError> {
    // It does something that takes long.
    if matches!(asked, Message::Ping { .. }) {
        return Ok(Some(0));
    }
    let mut said_at = Instant::now();
    let answer = loop {
        match answer(asked, host)? {
            Poll::Ready(Some(answer)) => break answer,
            Poll::Ready(None) => return Ok(None),
            Poll::Pending => {}
        }
        if said_at.elapsed() >= PING_EVERY {
            said_at = Instant::now();
            let wall_ms = host.now_ms();
            send(stream, &Message::Ping { wall_ms }, MANUAL_SILENCE_MAX).await?;
        }
        // The link is on this thread, too.
        tokio::task::yield_now().await;
    };
    send(stream, &answer, MANUAL_SILENCE_MAX).await?;
    Ok(Some(match answer {
        Message::Piece { octets, .. } => octets.len(),
        _ => 0,
    }))
}

async fn send(
    stream: &mut Box<dyn Stream>,
    message: &Message,
    silence: Duration,
) -> Result<(), ManualError> {
    send_octets(stream, &message.encode(*VERSIONS.end()), silence).await
}

/// Sends, if the other server takes it within this time.
pub(super) async fn send_octets(
    stream: &mut Box<dyn Stream>,
    octets: &[u8],
    silence: Duration,
) -> Result<(), ManualError> {
    let sending = async {
        stream.write_all(octets).await?;
        stream.flush().await
    };
    let sent = tokio::time::timeout(silence, sending).await;
    sent.map_err(|_| ManualError::Other("it does not read".into()))?
        .map_err(|error| ManualError::Other(error.to_string()))
}

fn answer(message: &Message, host: &mut Server) -> Result<Poll<Option<Message>>, HostError> {
    Ok(Poll::Ready(Some(match message {
        Message::Compare { after } => {
            let (book, rows) = host.page(after.as_ref(), PAGE_MAX)?;
            let last = rows.len() < PAGE_MAX;
            let now = Completion {
                node: book.node,
                head: book.head(),
                heads: book.heads,
            };
            Message::Page(Page { now, last, rows })
        }
        Message::Fetch(keys) => {
            let (mut rows, mut answered, mut bytes) = (Vec::new(), 0, 0);
            for key in keys {
                if let Some(row) = host.row(key)? {
                    let bodies = row.values().iter().filter_map(|value| value.body.as_ref());
                    bytes += bodies
                        .map(|body| body.octets.len() + 40 * body.images.len())
                        .sum::<usize>();
                    rows.push(row);
                }
                answered += 1;
                if bytes > ROWS_BYTES {
                    break;
                }
            }
            let head = host.book()?.head();
            Message::Objects {
                head,
                answered,
                rows,
            }
        }
        Message::Ask { image, index } => match host.piece(*image, *index)? {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Some(piece)) => Message::Piece {
                hash: image.hash,
                index: *index,
                proof: piece.proof,
                octets: piece.octets,
            },
            Poll::Ready(None) => Message::NoPiece { hash: image.hash },
        },
        _ => return Ok(Poll::Ready(None)),
    })))
}
