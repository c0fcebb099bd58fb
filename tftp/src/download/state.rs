//! Where a download stands, and its steps from one place to the next.

use super::verify::{self, Terms};
use super::*;
use crate::wire::{Options, Rollover};

/// The phases of a download.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// The request is out.
    Asking,
    /// The server has answered.
    Receiving(Window),
    /// It is over; the window answers what still arrives.
    Ended(Outcome, Window),
}

/// The receiving side of RFC 7440; with a window of 1, of RFC 1350.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) terms: Terms,
    pub(super) bytes: u64,
    /// The block that must come next.
    expected: BlockIndex,
    /// The highest block that was acknowledged; 0: the OACK, or nothing.
    acked: BlockIndex,
    /// How numbers roll over; `None` until the server has shown it.
    rollover: Option<Rollover>,
    /// How far beyond the expected block the last stray one was; 0: none since the last progress.
    stray: u16,
    /// The ACK of the OACK is made, but has not left.
    ack_waits: bool,
}

/// Packets to send, each kind at most once at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outbox {
    pub(super) error: Option<ErrorTo>,
    pub(super) ack_number: BlockNumber,
    pub(super) acks: u8,
    pub(super) request: u8,
}

/// An ERROR on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorTo {
    pub(super) to: SocketAddr,
    pub(super) port: LocalPort,
    pub(super) what: Abort,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox {
            error: None,
            ack_number: BlockNumber(0),
            acks: 0,
            request: 0,
        }
    }
}

impl Outbox {
    pub(super) fn ack(&mut self, number: BlockNumber, copies: u8) {
        // Repetitions of one ACK all leave (EDK2 answers every stray block); a newer one replaces it.
        self.acks = if self.ack_number == number {
            self.acks.saturating_add(copies)
        } else {
            copies
        };
        self.ack_number = number;
    }
}

impl Window {
    pub(super) fn new(terms: Terms, profile: &Profile) -> Self {
        let asked = profile
            .options
            .iter()
            .any(|(kind, _)| *kind == OptionKind::Rollover);
        let fixed = terms.rollover.or(profile.rollover);
        // A window that hides the block of the rollover behind a loss would show the wrong rule.
        let rollover = fixed.or((asked || terms.windowsize > 1).then_some(Rollover::Zero));
        Window {
            terms,
            bytes: 0,
            expected: BlockIndex(1),
            acked: BlockIndex(0),
            rollover,
            stray: 0,
            ack_waits: false,
        }
    }

    /// Acknowledges all that has arrived in order: the server's next window starts after it.
    pub(super) fn reack(&mut self) -> BlockNumber {
        self.acked = BlockIndex(self.expected.0 - 1);
        self.number(self.acked)
    }

    pub(super) fn ack_has_left(&mut self) {
        self.ack_waits = false;
    }

    fn number(&self, index: BlockIndex) -> BlockNumber {
        self.rollover.unwrap_or_default().number(index)
    }

    /// Where a block of this number lies: as far as the window reaches it is one to come, else the nearer of
    /// past and future.
    fn place(&mut self, number: BlockNumber) -> Place {
        if self.rollover.is_none() && self.expected.0 == 65_536 && number.0 < 2 {
            self.rollover = Some(if number.0 == 0 {
                Rollover::Zero
            } else {
                Rollover::One
            });
        }
        let rollover = self.rollover.unwrap_or_default();
        let index = rollover.index_from(self.expected, number);
        let ahead = index.0 - self.expected.0;
        let reach = self.acked.0 + u64::from(self.terms.windowsize);
        let behind = rollover.modulus().saturating_sub(ahead);
        match ahead {
            0 => Place::Next,
            _ if index.0 <= reach => Place::Ahead(ahead),
            _ if (1..self.expected.0).contains(&behind) && behind <= rollover.modulus() / 2 => {
                Place::Behind(behind)
            }
            _ => Place::Beyond,
        }
    }
}

/// See [`Window::place`].
enum Place {
    Next,
    /// Blocks from the expected one.
    Ahead(u64),
    /// Blocks before the expected one, at least 1.
    Behind(u64),
    /// No block that the server may send now.
    Beyond,
}

impl Download {
    pub(super) fn ask(&mut self, now: Time) {
        self.state = State::Asking;
        self.peer = None;
        self.tries = 0;
        self.outbox.acks = 0;
        self.outbox.request = self.profile.request_copies;
        self.deadline = Some(now + self.profile.request.wait(0).unwrap_or_default());
    }

    /// The size is known: away with the probe, and the real request from a new port.
    pub(super) fn ask_after_probe(&mut self, now: Time) {
        if let Some(leave) = self.profile.probe.as_ref().map(|probe| probe.leave) {
            self.error(leave);
        }
        self.probing = false;
        self.port.0 = self.port.0.wrapping_add(1);
        self.ask(now);
    }

    pub(super) fn handle_oack(&mut self, now: Time, options: Options<'_>) {
        let terms = match verify::oack(self.asked(), options, self.bytes_expected) {
            Ok(terms) => terms,
            Err(violation) => return self.violated(violation),
        };
        if self.probing {
            return self.ask_after_probe(now);
        }
        if let Some(kind) = self.profile.requires.filter(|&kind| !terms.has(kind)) {
            return self.violated(Violation::OptionMissing(kind));
        }
        let mut window = Window::new(terms, &self.profile);
        window.ack_waits = true;
        self.state = State::Receiving(window);
        self.progress(now);
        self.outbox.ack(BlockNumber(0), self.profile.ack_copies);
    }

    /// An OACK that is repeated because our ACK 0 was lost, or is still on its way.
    pub(super) fn handle_oack_again(&mut self, options: Options<'_>) {
        let State::Receiving(window) = &self.state else {
            return;
        };
        if window.terms.plain {
            return self.violated(Violation::OackAfterData);
        }
        if verify::oack(self.asked(), options, self.bytes_expected) != Ok(window.terms) {
            return self.violated(Violation::OackChanged);
        }
        if window.expected == BlockIndex(1) {
            self.outbox.ack(BlockNumber(0), self.profile.ack_copies);
        }
    }

    pub(super) fn handle_data(
        &mut self,
        now: Time,
        number: BlockNumber,
        payload: &[u8],
        sink: &mut impl FnMut(u64, &[u8]),
    ) {
        let State::Receiving(window) = &mut self.state else {
            return;
        };
        if window.ack_waits {
            return self.violated(Violation::DataBeforeAck);
        }
        if payload.len() > usize::from(window.terms.blksize) {
            return self.violated(Violation::DataLong);
        }
        match window.place(number) {
            Place::Next => {}
            Place::Ahead(ahead) => return self.handle_ahead(ahead),
            Place::Behind(behind) => return self.handle_behind(behind, number),
            Place::Beyond => return self.violated(Violation::BeyondWindow(number)),
        }
        sink(window.bytes, payload);
        let index = window.expected;
        window.bytes += payload.len() as u64;
        window.expected = BlockIndex(index.0 + 1);
        window.stray = 0;
        let last = payload.len() < usize::from(window.terms.blksize);
        if last || index.0 >= window.acked.0 + u64::from(window.terms.windowsize) {
            window.acked = index;
            let number = window.number(index);
            self.outbox.ack(number, self.profile.ack_copies);
        }
        let bytes = window.bytes;
        let bytes_expected = window.terms.tsize.or(self.bytes_expected);
        self.first_data_at.get_or_insert(now);
        self.progress(now);
        match bytes_expected {
            Some(expected) if bytes > expected || (last && bytes != expected) => {
                self.violated(Violation::WrongLength { expected, bytes });
            }
            _ if last => self.end(Outcome::Completed(bytes)),
            _ => {}
        }
    }

    /// A block before this one is missing.
    fn handle_ahead(&mut self, ahead: u64) {
        self.counters.blocks_ahead += 1;
        let State::Receiving(window) = &mut self.state else {
            return;
        };
        let ahead = u16::try_from(ahead).unwrap_or(u16::MAX);
        let before = core::mem::replace(&mut window.stray, ahead);
        let report = match self.profile.stray {
            Stray::Each => true,
            // A block no further than the last stray one: the server has sent the window again.
            Stray::OncePerFlight => before == 0 || ahead <= before,
            Stray::OnceUntilProgress => before == 0,
            Stray::Silent | Stray::EchoOld => false,
        };
        if report {
            let number = window.reack();
            self.outbox.ack(number, self.profile.ack_copies);
        }
    }

    /// A block that we have: our ACK was lost, or the network repeated it.
    fn handle_behind(&mut self, behind: u64, number: BlockNumber) {
        self.counters.blocks_duplicate += 1;
        let State::Receiving(window) = &mut self.state else {
            return;
        };
        let last_acked = behind == 1 && window.acked.0 + 1 == window.expected.0;
        let answer = match self.profile.stray {
            Stray::Each => Some(window.reack()),
            Stray::OncePerFlight => last_acked.then(|| window.reack()),
            Stray::OnceUntilProgress => {
                let first = core::mem::replace(&mut window.stray, u16::MAX) == 0;
                first.then(|| window.reack())
            }
            Stray::EchoOld => Some(number),
            Stray::Silent => None,
        };
        if let Some(number) = answer {
            self.outbox.ack(number, self.profile.ack_copies);
        }
    }

    /// The end was acknowledged, but the server may not know (RFC 1350 §6: a client may linger).
    pub(super) fn handle_data_after_end(
        &mut self,
        number: BlockNumber,
        payload: &[u8],
        bytes: u64,
        window: &Window,
    ) {
        let mut window = *window;
        match window.place(number) {
            Place::Behind(behind) => {
                self.counters.blocks_duplicate += 1;
                let size = usize::from(window.terms.blksize);
                if behind == 1 && payload.len() as u64 == bytes % size as u64 {
                    self.outbox.ack(number, self.profile.ack_copies);
                }
            }
            Place::Next | Place::Ahead(_) | Place::Beyond => {
                self.violated(Violation::DataAfterEnd(number));
            }
        }
    }

    pub(super) fn handle_error(&mut self, now: Time, code: ErrorCode) {
        // An ERROR ends this attempt and is never answered (RFC 1350 §7).
        self.outbox.acks = 0;
        let final_code = matches!(
            code,
            ErrorCode::FILE_NOT_FOUND | ErrorCode::ACCESS_VIOLATION
        );
        if final_code {
            return self.end(Outcome::Refused(code));
        }
        self.give_up(now, Outcome::Refused(code));
    }

    /// A datagram from another address or port than the server's, or one that is no TFTP.
    pub(super) fn handle_stranger(&mut self, from: SocketAddr, ours: bool, datagram: &[u8]) {
        self.counters.strangers += 1;
        if ours && matches!(self.state, State::Receiving(_)) {
            return self.violated(Violation::Malformed);
        }
        // An ERROR is never answered (two strangers would go on for ever).
        let is_error = matches!(datagram, [0, 5, ..]);
        if self.profile.answers_strangers && !ours && !is_error && self.outbox.error.is_none() {
            let what = Abort {
                code: ErrorCode::UNKNOWN_TID,
                text: "Unknown transfer ID",
            };
            self.outbox.error = Some(ErrorTo {
                to: from,
                port: self.port,
                what,
            });
        }
    }

    /// Ends with this outcome, unless the client starts all over.
    pub(super) fn give_up(&mut self, now: Time, outcome: Outcome) {
        if self.restarts < self.profile.restarts {
            self.restarts += 1;
            self.port.0 = self.port.0.wrapping_add(1);
            self.probing = self.profile.probe.is_some();
            return self.ask(now);
        }
        self.end(outcome);
    }

    pub(super) fn violated(&mut self, violation: Violation) {
        self.outbox.acks = 0;
        self.error(violation.error(&self.profile));
        self.end(Outcome::Violated(violation));
    }

    /// An ERROR to the server, if it has answered.
    pub(super) fn error(&mut self, what: Abort) {
        if let Some(to) = self.peer() {
            self.outbox.error = Some(ErrorTo {
                to,
                port: self.port,
                what,
            });
        }
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        let window = match self.state {
            State::Receiving(window) | State::Ended(_, window) => window,
            State::Asking => Window::new(Terms::PLAIN, &self.profile),
        };
        self.state = State::Ended(outcome, window);
        self.deadline = None;
        self.outbox.request = 0;
    }

    fn progress(&mut self, now: Time) {
        self.tries = 0;
        self.deadline = Some(now + self.profile.transfer.wait(0).unwrap_or_default());
    }
}
