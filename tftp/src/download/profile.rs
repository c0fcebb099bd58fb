//! What one kind of client does, as data.

use alloc::vec::Vec;
use core::time::Duration;

use crate::wire::{ErrorCode, OptionKind, Rollover};

/// What a client does. Made by [`Profile::plain`], by the constructors named after real clients, or field by field.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The name of the client, for reports.
    pub name: &'static str,
    /// The transfer mode, as spelt in the request.
    pub mode: &'static str,
    /// The options of the request, in order. A value is what is asked, in the option's own unit.
    pub options: Vec<(OptionKind, u64)>,
    /// A request for the size alone, before the real one.
    pub probe: Option<Probe>,
    /// How often the request is sent, and how long each waits for an answer.
    pub request: Schedule,
    /// How long the client waits for progress in a transfer, time after time.
    pub transfer: Schedule,
    /// Whether each such wait, but the last, ends with the last ACK sent again.
    pub resends_ack: bool,
    /// What the client does with DATA that is not the next block.
    pub stray: Stray,
    /// Times that the client starts all over, from a new port, when its patience ends or an ERROR comes
    /// (but for ERROR 1 and 2, which are final).
    pub restarts: u8,
    /// The number after block 65535 that the client expects, unless the option was agreed on. `None`: with a
    /// window of 1 whichever comes, with larger ones 0.
    pub rollover: Option<Rollover>,
    /// An option that the client cannot do without.
    pub requires: Option<OptionKind>,
    /// What the client says to an OACK that it does not accept.
    pub oack_error: Abort,
    /// What the client says when it goes away early; `None`: nothing.
    pub abort: Option<Abort>,
    /// Whether packets from another address or port get ERROR 5 (RFC 1350 §4).
    pub answers_strangers: bool,
    /// Times each request leaves at once; 1 but for clients that stutter.
    pub request_copies: u8,
    /// Times each ACK leaves at once; 1 but for networks that double.
    pub ack_copies: u8,
}

/// A request for the size alone: after the answer the client sends an ERROR, and asks again from a new port.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The options of that request, in order.
    pub options: Vec<(OptionKind, u64)>,
    /// The ERROR.
    pub leave: Abort,
}

/// An ERROR that a client sends.
#[derive(Clone, Copy, Debug)]
pub struct Abort {
    /// Its code.
    pub code: ErrorCode,
    /// Its text.
    pub text: &'static str,
}

/// What a client does with DATA that is not the next block. In every case the block is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// Nothing: a timer, its own or the server's, will bring the block again.
    Silent,
    /// RFC 7440: a gap is reported once for each time that the server sends the window; the repeated last block of an
    /// acknowledged window is acknowledged again.
    OncePerFlight,
    /// U-Boot: one report, then none until the block that is missing has come.
    OnceUntilProgress,
    /// EDK2, iPXE: an ACK of the last good block for every one.
    Each,
    /// GRUB: an old block is acknowledged by its own number, again and again.
    EchoOld,
}

/// Waits, one after the other: after each but the last the client tries again, after the last it gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Schedule {
    /// These waits. At least one; at most 65,535.
    #[must_use]
    pub fn new(waits: impl IntoIterator<Item = Duration>) -> Self {
        Schedule(waits.into_iter().take(usize::from(u16::MAX)).collect())
    }

    /// `tries` waits of the same length.
    #[must_use]
    pub fn fixed(wait: Duration, tries: u16) -> Self {
        Self::new((0..tries).map(|_| wait))
    }

    /// `tries` waits, each twice as long as the one before.
    #[must_use]
    pub fn doubling(first: Duration, tries: u16) -> Self {
        Self::new((0..u32::from(tries)).map(|n| first.saturating_mul(1_u32 << n.min(31))))
    }

    /// The wait after so many tries; `None` when there are no more.
    #[must_use]
    pub fn wait(&self, tries: u16) -> Option<Duration> {
        self.0.get(usize::from(tries)).copied()
    }

    /// How long the client waits in all.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.0.iter().sum()
    }
}
