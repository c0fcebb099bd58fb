//! Fetching images: several at once, piece by piece, each verified before it is kept, at a pace.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::task::Poll;
use core::time::Duration;

use super::{Event, Now, Session};
use crate::host::{Host, HostError};
use crate::limits::{IMAGES_AT_ONCE, IMAGES_WANTED_MAX, PIECES_IN_FLIGHT, RETRY};
use crate::pieces::{Came, Pacing, Pieces};
use crate::wire::Message;
use crate::{ImageHash, ImageRef, Step};

#[derive(Debug)]
pub(super) struct Fetcher {
    /// Every image that is wanted, wherever it stands.
    known: BTreeSet<ImageRef>,
    queue: VecDeque<ImageRef>,
    /// Not to be had now: asked for again at that time.
    resting: Vec<(Duration, ImageRef)>,
    running: Vec<Pieces>,
    /// Pieces that were asked for.
    in_flight: usize,
    pacing: Pacing,
}

impl Fetcher {
    pub(super) fn new(rate: u64) -> Self {
        Fetcher {
            known: BTreeSet::new(),
            queue: VecDeque::new(),
            resting: Vec::new(),
            running: Vec::new(),
            in_flight: 0,
            pacing: Pacing::new(rate),
        }
    }

    pub(super) fn set_rate(&mut self, rate: u64) {
        self.pacing.set_rate(rate);
    }

    pub(super) fn want(&mut self, image: ImageRef) {
        if self.known.len() < IMAGES_WANTED_MAX && self.known.insert(image) {
            self.queue.push_back(image);
        }
    }

    pub(super) fn wanted(&self) -> usize {
        self.known.len()
    }

    /// Octets of the images that are wanted, and how many of them are not here yet.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let all = self.known.iter().map(|image| image.bytes).sum();
        let kept: u64 = self.running.iter().map(Pieces::bytes).sum();
        (all, all - kept)
    }

    /// Images that the other does not have, for now.
    pub(super) fn unavailable(&self) -> usize {
        self.resting.len()
    }

    /// The connection is gone: what is on the disk is where it goes on.
    pub(super) fn interrupt(&mut self) {
        self.in_flight = 0;
        self.pacing.forget();
        let resting = self.resting.drain(..).map(|(_, image)| image);
        let running = self.running.drain(..).map(|running| running.image());
        for image in running.chain(resting) {
            self.queue.push_back(image);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let asks = self.in_flight < PIECES_IN_FLIGHT && self.next_to_ask().is_some();
        let pace = asks.then(|| self.pacing.opens_at());
        let finishes = self.next_to_finish().map(|_| Duration::ZERO);
        self.resting
            .iter()
            .map(|(until, _)| *until)
            .chain(pace)
            .chain(finishes)
            .min()
    }

    /// One that is here, and that the host has not finished yet.
    fn next_to_finish(&self) -> Option<usize> {
        self.running.iter().position(Pieces::are_here)
    }

    /// The one of which the least is on its way.
    fn next_to_ask(&self) -> Option<usize> {
        (0..self.running.len())
            .filter(|&at| self.running[at].want_more())
            .min_by_key(|&at| self.running[at].in_flight())
    }

    fn rest(&mut self, at: usize, now: Now) -> ImageRef {
        let image = self.running.remove(at).image();
        self.resting.push((now.time + RETRY, image));
        image
    }

    fn position(&self, hash: ImageHash) -> Option<usize> {
        self.running
            .iter()
            .position(|running| running.image().hash == hash)
    }
}

impl Session {
    /// Asks for the next pieces.
    pub(super) fn fetch_next<H: Host>(&mut self, now: Now, host: &mut H) {
        if self.peer.as_ref().is_none_or(|peer| peer.superior) {
            return;
        }
        let fetcher = &mut self.fetcher;
        let due: Vec<ImageRef> = fetcher
            .resting
            .extract_if(.., |(until, _)| *until <= now.time)
            .map(|(_, image)| image)
            .collect();
        fetcher.queue.extend(due);
        if let Some(at) = self.fetcher.next_to_finish() {
            self.finish(now, at, host);
        }
        while self.fetcher.running.len() < IMAGES_AT_ONCE
            && let Some(image) = self.fetcher.queue.pop_front()
        {
            self.start(now, image, host);
        }
        let fetcher = &mut self.fetcher;
        let mut asks = Vec::new();
        while fetcher.in_flight < PIECES_IN_FLIGHT
            && fetcher.pacing.is_open(now.time)
            && let Some(at) = fetcher.next_to_ask()
        {
            fetcher.in_flight += 1;
            let (running, pacing) = (&mut fetcher.running[at], &mut fetcher.pacing);
            let index = running.ask(now.time, fetcher.in_flight, pacing);
            let image = running.image();
            asks.push(Message::Ask { image, index });
        }
        asks.into_iter().for_each(|ask| self.say(ask));
    }

    fn start<H: Host>(&mut self, now: Now, image: ImageRef, host: &mut H) {
        let there = match host.has_image(image) {
            Ok(true) => return self.arrived(now, image, host),
            Ok(false) => host.names_image(image),
            Err(error) => Err(error),
        };
        let named = there.map(|named| named || self.puller.waits_for(image.hash));
        let there = match named {
            // What named it says something else by now.
            Ok(false) => Ok(None),
            Ok(true) => host.pieces(image).map(Some),
            Err(error) => Err(error),
        };
        match there {
            Ok(None) => {
                self.fetcher.known.remove(&image);
            }
            Ok(Some(kept)) => {
                self.fetcher.running.push(Pieces::new(image, kept));
                if kept >= image.pieces() {
                    self.finish(now, self.fetcher.running.len() - 1, host);
                }
            }
            Err(error) => {
                self.trouble = Some(error.to_string());
                self.fetcher.resting.push((now.time + RETRY, image));
            }
        }
    }

    pub(super) fn hear_piece<H: Host>(
        &mut self,
        now: Now,
        hash: ImageHash,
        index: u32,
        proof: &[Step],
        octets: &[u8],
        host: &mut H,
    ) {
        self.fetcher.in_flight = self.fetcher.in_flight.saturating_sub(1);
        let Some(at) = self.fetcher.position(hash) else {
            return;
        };
        let (running, pacing) = (&mut self.fetcher.running[at], &mut self.fetcher.pacing);
        match running.hear(now.time, (index, octets, proof), pacing) {
            Came::Next => {}
            Came::Other | Came::Damaged => return,
            Came::GivenUp => {
                let image = self.fetcher.rest(at, now);
                return self.note(Event::Unavailable(image));
            }
        }
        match host.put_piece(running.image(), index, octets) {
            Ok(()) => {
                running.keep();
                if running.are_here() {
                    self.finish(now, at, host);
                }
            }
            Err(error) => self.fail_fetching(now, at, &error),
        }
    }

    pub(super) fn hear_no_piece(&mut self, now: Now, hash: ImageHash) {
        self.fetcher.in_flight = self.fetcher.in_flight.saturating_sub(1);
        if let Some(at) = self.fetcher.position(hash) {
            let image = self.fetcher.rest(at, now);
            self.note(Event::Unavailable(image));
        }
    }

    fn finish<H: Host>(&mut self, now: Now, at: usize, host: &mut H) {
        let image = self.fetcher.running[at].image();
        match host.finish_image(image) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) => {
                self.fetcher.running.remove(at);
                self.note(Event::Fetched(image));
                self.arrived(now, image, host);
            }
            Err(error) => self.fail_fetching(now, at, &error),
        }
    }

    fn arrived<H: Host>(&mut self, now: Now, image: ImageRef, host: &mut H) {
        self.fetcher.known.remove(&image);
        self.image_is_here(now, image.hash, host);
    }

    fn fail_fetching(&mut self, now: Now, at: usize, error: &HostError) {
        self.trouble = Some(error.to_string());
        self.fetcher.rest(at, now);
    }
}
