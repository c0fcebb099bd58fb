//! What arrives: requests, acknowledgements, errors, and what is none of these.

use alloc::boxed::Box;
use core::hash::BuildHasher;
use core::net::IpAddr;
use core::ops::Range;
use core::time::Duration;

use rand_chacha::rand_core::RngCore;

use super::schedule::Egress;
use super::table::Key;
use super::transfer::{Acked, Phase, Terms, Transfer};
use super::{Endpoint, Event, Host, Opened, Outcome, Path, Question, Refusal, SocketId, answer};
use crate::wire::{BlockNumber, ErrorCode, Malformed, Opcode, Request};
use crate::{Time, limits};

/// What a request is to an earlier one of the same client port.
enum Earlier<F> {
    /// There was none, or it was another request, or the client begins anew.
    None,
    /// A repetition; all that it brings is done.
    Same,
    /// The client may have begun anew, and goes on with the file that its transfer has held.
    Pinned(Opened<F>),
}

impl<F: Clone> Endpoint<F> {
    pub(super) fn handle_ack(&mut self, now: Time, path: Path, number: BlockNumber) {
        self.counters.acks += 1;
        let Some(slot) = self.table.find(Key::new(path.socket, path.remote)) else {
            return self.handle_unknown_tid(now, path);
        };
        let Some(transfer) = self.table.get_mut(slot) else {
            return;
        };
        // It came to the listener, but the transfer has a port of its own: not this transfer's TID.
        if transfer.path.socket != path.socket {
            return self.handle_unknown_tid(now, path);
        }
        let was_half_open = transfer.is_half_open();
        let before = transfer.bytes_acknowledged();
        let acked = transfer.acknowledge(now, number);
        if !matches!(acked, Acked::Stale | Acked::Waiting) {
            let bytes = transfer.bytes_acknowledged() - before;
            let governor = &mut self.egresses[usize::from(transfer.egress)].governor;
            governor.acknowledged(now, path.remote.ip(), bytes, transfer.take_sample());
        }
        match acked {
            Acked::Stale => {
                self.counters.acks_stale += 1;
                return;
            }
            Acked::Waiting => {
                self.counters.acks_stale += 1;
                self.timers.set(slot, now + limits::RTO_MIN);
                return;
            }
            Acked::Rewound => self.counters.rewinds += 1,
            Acked::Started | Acked::Moved | Acked::Completed => {}
        }
        if was_half_open {
            self.started(slot);
        }
        let Some(transfer) = self.table.get(slot) else {
            return;
        };
        if transfer.is_complete() {
            self.end(now, slot, Outcome::Completed);
        } else if transfer.has_due() && !transfer.is_pacing() {
            self.enqueue(now, slot);
        } else {
            self.arm(now, slot);
        }
    }

    fn started(&mut self, slot: u32) {
        let Some(transfer) = self.table.get(slot) else {
            return;
        };
        self.counters.transfers_started += 1;
        let (path, id) = (transfer.path, transfer.id);
        if let Some(file) = transfer.file.clone() {
            self.push_event(Event::Started {
                transfer: id,
                path,
                file,
            });
        }
        self.table.half_open_remove(path.remote.ip());
    }

    pub(super) fn handle_request<H: Host<File = F>>(
        &mut self,
        now: Time,
        path: Path,
        datagram: &[u8],
        request: &Request<'_>,
        host: &mut H,
    ) {
        let Some(listener) = self.listeners.iter().find(|l| l.socket == path.socket) else {
            // A request to a transfer's own port is not for us to answer.
            self.counters.packets_ignored += 1;
            return;
        };
        let sockets = listener.transfer_sockets.clone();
        self.counters.requests += 1;
        let fingerprint = self.hasher.hash_one(datagram);
        let source = path.remote.ip();
        let pinned = match self.earlier(now, path, fingerprint) {
            Earlier::None => None,
            Earlier::Pinned(opened) => Some(opened),
            Earlier::Same => {
                self.counters.requests_duplicate += 1;
                return;
            }
        };
        if self.draining {
            self.counters.requests_while_draining += 1;
            return;
        }
        let begun = self.begun.knows(now, source);
        let most = self.config.transfers_max;
        // A transfer that begins anew takes the room that it had.
        let reserved = if begun || pinned.is_some() {
            0
        } else {
            most / limits::TRANSFERS_RESERVED
        };
        if self.table.len() >= (most - reserved) as usize
            || self.table.half_open_of(source) >= self.config.half_open_per_source_max
        {
            self.counters.requests_over_limit += 1;
            return;
        }
        let Some(mode) = answer::mode(request.mode) else {
            self.counters.requests_refused += 1;
            return self.refuse(
                path,
                ErrorCode::ILLEGAL_OPERATION,
                "transfer mode is not supported: use octet",
            );
        };
        let question = Question {
            path,
            name: request.name,
            mode,
        };
        let opened = match pinned.map_or_else(|| host.open(&question), Ok) {
            Ok(opened) => opened,
            Err(Refusal { code, text }) => {
                self.counters.requests_refused += 1;
                return self.refuse(path, code, text);
            }
        };
        let terms = answer::negotiate(&request.options, opened.len, path.remote.ip(), &self.config);
        let phase = if terms.oack.is_empty() {
            Phase::Opened
        } else {
            Phase::Offered {
                oack: Box::from(terms.oack.as_bytes()),
                due: true,
                tsize_asked: terms.tsize_asked,
            }
        };
        let terms = Terms {
            path: Path {
                socket: self.pick_socket(path, sockets),
                ..path
            },
            listener: path.socket,
            request: fingerprint,
            file: opened.file,
            len: opened.len,
            blksize: terms.blksize,
            windowsize: terms.windowsize,
            rollover: terms.rollover,
            timeout_s: terms.timeout_s,
            jitter: self.jitter(),
            phase,
            patience: self.config.patience,
            egress: self.egress_of(path.local),
            begun,
        };
        // In single-port mode, and once in a while by chance, the key is still held by a transfer that
        // lingers: the new one takes it.
        if let Some(slot) = self
            .table
            .find(Key::new(terms.path.socket, terms.path.remote))
        {
            self.forget(slot);
        }
        let slot = self.table.insert(|id| Transfer::new(id, now, terms));
        self.table.half_open_add(source);
        self.live += 1;
        self.enqueue(now, slot);
    }

    /// What a request is to the transfer of the same client port, if there is one. If it is no repetition, that
    /// transfer ends silently.
    fn earlier(&mut self, now: Time, path: Path, fingerprint: u64) -> Earlier<F> {
        let Some(slot) = self.table.find(Key::new(path.socket, path.remote)) else {
            return Earlier::None;
        };
        let half_open = self.table.half_open_of(path.remote.ip());
        let full = half_open >= self.config.half_open_per_source_max;
        let Some(transfer) = self.table.get_mut(slot) else {
            return Earlier::None;
        };
        let same = transfer.request == fingerprint;
        let (len, one_port) = (transfer.len, transfer.path.socket == path.socket);
        match transfer.phase {
            Phase::Offered { .. } | Phase::Opened if same => {
                transfer.repeat_first_reply();
                self.enqueue(now, slot);
                Earlier::Same
            }
            // Read late, while its transfer is running well; after a silence the client has begun anew.
            Phase::Running if same && transfer.silence(now) < limits::RESTART_SILENCE => {
                Earlier::Same
            }
            // Or the network has kept a copy for so long. With one port for all, the client could not tell the new
            // transfer from its own: it gets the very same file.
            Phase::Running if same && one_port => {
                if full || self.draining {
                    return Earlier::Same;
                }
                let file = transfer.file.clone();
                self.end(now, slot, Outcome::Replaced);
                self.forget(slot);
                file.map_or(Earlier::None, |file| Earlier::Pinned(Opened { file, len }))
            }
            Phase::Lingering { completed, since }
                if same && completed && now.since(since) < limits::LATE_REQUEST =>
            {
                Earlier::Same
            }
            _ => {
                self.end(now, slot, Outcome::Replaced);
                Earlier::None
            }
        }
    }

    /// The way out by which an address of ours answers. Beyond the bound they share the last one.
    fn egress_of(&mut self, local: Option<IpAddr>) -> u8 {
        let known = self.ways.iter().position(|way| *way == local);
        let position = known.unwrap_or_else(|| {
            if self.ways.len() < limits::EGRESSES_MAX {
                self.ways.push(local);
                self.egresses.push(Egress::new(self.config.rate));
            }
            self.ways.len() - 1
        });
        u8::try_from(position).expect("at most EGRESSES_MAX")
    }

    fn jitter(&mut self) -> Duration {
        limits::RTO_JITTER * (self.random.next_u32() >> 24) / 256
    }

    /// A transfer socket, unpredictable, and another one than the last time.
    fn pick_socket(&mut self, path: Path, sockets: Range<u16>) -> SocketId {
        let count = u32::from(sockets.end.saturating_sub(sockets.start));
        if count == 0 {
            return path.socket;
        }
        let mut pick = || {
            let random = self.random.next_u32() % count;
            sockets.start + u16::try_from(random).expect("less than a u16")
        };
        // Not the last one, nor one where this client's last transfer lingers. The tries are bounded;
        // a clash is harmless.
        let mut socket = pick();
        for _ in 0..8 {
            let taken = self
                .table
                .find(Key::new(SocketId(socket), path.remote))
                .is_some();
            if socket != self.last_socket && !taken || count == 1 {
                break;
            }
            socket = pick();
        }
        self.last_socket = socket;
        SocketId(socket)
    }

    pub(super) fn handle_error(&mut self, now: Time, path: Path, code: ErrorCode) {
        // An ERROR is never answered (RFC 1350 §7), whoever sent it.
        let found = self.table.find(Key::new(path.socket, path.remote));
        let Some(transfer) = found.and_then(|slot| self.table.get(slot)) else {
            self.counters.packets_ignored += 1;
            return;
        };
        if transfer.path.socket != path.socket || !transfer.is_live() {
            self.counters.packets_ignored += 1;
            return;
        }
        let outcome = match transfer.phase {
            Phase::Offered {
                tsize_asked: true, ..
            } => Outcome::Probe,
            _ => Outcome::Aborted(code),
        };
        self.end(now, transfer.id.slot, outcome);
    }

    pub(super) fn handle_unknown_tid(&mut self, now: Time, path: Path) {
        self.counters.packets_unknown_tid += 1;
        if self.unknown_tid.allows(now) {
            self.refuse(path, ErrorCode::UNKNOWN_TID, "unknown transfer ID");
        }
    }

    pub(super) fn handle_malformed(
        &mut self,
        now: Time,
        path: Path,
        datagram: &[u8],
        malformed: Malformed,
    ) {
        self.counters.packets_malformed += 1;
        let is = |opcode: Opcode| datagram.starts_with(&(opcode as u16).to_be_bytes());
        let request = is(Opcode::Rrq) || is(Opcode::Wrq);
        let listened = self
            .listeners
            .iter()
            .any(|listener| listener.socket == path.socket);
        if request && listened && self.unknown_tid.allows(now) {
            let text = match malformed {
                Malformed::TooLong => "the request is too long",
                Malformed::TooManyOptions => "too many options",
                Malformed::OptionWithoutValue => "an option has no value",
                Malformed::EmptyName => "the file name is empty",
                _ => "malformed request",
            };
            self.refuse(path, malformed.error_code(), text);
        }
    }
}
