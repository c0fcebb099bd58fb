//! The pieces of an image on their way here: several are asked for at once, at a pace, and each is verified and kept in its turn.
//!
//! Nothing is asked for or kept here: whoever fetches an image does what this says, and tells it what came.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::limits::{PIECE_BYTES, PIECE_TRIES_MAX};
use crate::pace::{Pace, Wire};
use crate::{ImageRef, Step};

/// How fast pieces may be asked for: at the rate that was set, and slower where others want the wire. One for all images that come
/// over a connection.
#[derive(Debug)]
pub struct Pacing {
    pace: Pace,
    wire: Wire,
    /// Octets per second that were set; zero: no bound.
    set: u64,
}

impl Pacing {
    /// Nothing is known of the wire. `set` are octets per second; zero: no bound.
    #[must_use]
    pub fn new(set: u64) -> Self {
        Pacing {
            pace: Pace::new(set),
            wire: Wire::new(),
            set,
        }
    }

    /// Another rate was set.
    pub fn set_rate(&mut self, set: u64) {
        self.set = set;
        self.pace.set_rate(self.wire.rate(set));
    }

    /// The next connection may be another way.
    pub(crate) fn forget(&mut self) {
        self.wire = Wire::new();
        self.set_rate(self.set);
    }

    /// When the next piece may be asked for.
    #[must_use]
    pub fn opens_at(&self) -> Duration {
        self.pace.opens_at()
    }

    /// Whether it may be now.
    #[must_use]
    pub fn is_open(&self, now: Duration) -> bool {
        self.pace.is_open(now)
    }

    fn learn(&mut self, now: Duration, (asked_at, in_flight): (Duration, usize)) {
        self.wire.carried(now, asked_at, in_flight);
        self.pace.set_rate(self.wire.rate(self.set));
    }
}

/// See the module.
#[derive(Debug)]
pub struct Pieces {
    image: ImageRef,
    /// Pieces that were on the disk at first, that are now, and that were asked for.
    began: u32,
    kept: u32,
    asked: u32,
    tries: u8,
    /// When pieces were asked for that say how fast the wire is, and how many were on their way. Not the first: the other server may
    /// have to read the image for it.
    asked_at: VecDeque<(u32, Duration, usize)>,
}

/// What a piece that came is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The next one, verified: to be kept, and then told by [`Pieces::keep`].
    Next,
    /// None that is waited for.
    Other,
    /// Damaged: asked for again.
    Damaged,
    /// Damaged once too often.
    GivenUp,
}

impl Pieces {
    /// Of an image, of which so many are here.
    #[must_use]
    pub fn new(image: ImageRef, kept: u32) -> Self {
        Pieces {
            image,
            began: kept,
            kept,
            asked: kept,
            tries: 0,
            asked_at: VecDeque::new(),
        }
    }

    /// Which image.
    #[must_use]
    pub fn image(&self) -> ImageRef {
        self.image
    }

    /// Octets that are here.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (u64::from(self.kept) * PIECE_BYTES as u64).min(self.image.bytes)
    }

    /// Whether all of them are.
    #[must_use]
    pub fn are_here(&self) -> bool {
        self.kept >= self.image.pieces()
    }

    /// Whether there is one to ask for.
    #[must_use]
    pub fn want_more(&self) -> bool {
        self.asked < self.image.pieces()
    }

    /// Pieces that were asked for and are not here.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        (self.asked - self.kept) as usize
    }

    /// The one to ask for now; so many are on their way with it, of all images.
    pub fn ask(&mut self, now: Duration, in_flight: usize, pacing: &mut Pacing) -> u32 {
        let index = self.asked;
        self.asked += 1;
        if self.kept > self.began {
            self.asked_at.push_back((index, now, in_flight));
        }
        pacing.pace.pass(now, self.image.piece_bytes(index));
        index
    }

    /// One came.
    pub fn hear(
        &mut self,
        now: Duration,
        (index, octets, proof): (u32, &[u8], &[Step]),
        pacing: &mut Pacing,
    ) -> Came {
        if index != self.kept || index >= self.asked {
            return Came::Other;
        }
        if !self.image.holds(index, octets, proof) {
            self.tries += 1;
            self.asked = self.kept;
            self.asked_at.clear();
            return match self.tries >= PIECE_TRIES_MAX {
                true => Came::GivenUp,
                false => Came::Damaged,
            };
        }
        let is_it = |(asked, ..): &&(u32, Duration, usize)| *asked == index;
        if self.asked_at.front().filter(is_it).is_some()
            && let Some((_, asked_at, in_flight)) = self.asked_at.pop_front()
            && octets.len() == PIECE_BYTES
        {
            pacing.learn(now, (asked_at, in_flight));
        }
        Came::Next
    }

    /// The next one is on the disk.
    pub fn keep(&mut self) {
        self.kept += 1;
    }
}
