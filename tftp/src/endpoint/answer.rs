//! What a request gets: the terms of its transfer, and the OACK that states them (RFC 2347, 2348, 2349, 7440).

use core::net::IpAddr;

use super::{Config, Mode};
use crate::limits;
use crate::wire::{OackBuilder, OptionKind, Options, Rollover, decimal};

/// The terms of a transfer.
#[derive(Debug)]
pub(super) struct Terms {
    /// Octets in a block.
    pub(super) blksize: u16,
    /// Blocks in a window.
    pub(super) windowsize: u16,
    pub(super) rollover: Rollover,
    /// Seconds, where negotiated.
    pub(super) timeout_s: Option<u8>,
    /// The client wants to know the size: it may go away once it does.
    pub(super) tsize_asked: bool,
    /// Empty: no option was accepted, the first reply is DATA 1.
    pub(super) oack: OackBuilder,
}

/// The mode of a request, in any case; `None` for `mail` and everything else that is not served.
pub(super) fn mode(text: &[u8]) -> Option<Mode> {
    if text.eq_ignore_ascii_case(b"octet") {
        Some(Mode::Octet)
    } else if text.eq_ignore_ascii_case(b"netascii") {
        Some(Mode::Netascii)
    } else {
        None
    }
}

/// Decides the terms. An option that is unknown, or whose value is out of its range, is left out: the
/// client sees that it was not accepted. What is granted is never more than what was asked.
pub(super) fn negotiate(options: &Options<'_>, len: u64, client: IpAddr, config: &Config) -> Terms {
    let mut terms = Terms {
        blksize: limits::BLKSIZE_DEFAULT,
        windowsize: 1,
        rollover: config.rollover,
        timeout_s: None,
        tsize_asked: false,
        oack: OackBuilder::default(),
    };
    let blksize_max = config.blksize_max(client);
    let mut accepted = [false; OptionKind::ALL.len()];
    for (kind, _, value) in options.known() {
        let value = decimal(value);
        accepted[kind as usize] = value
            .is_some_and(|value| terms.accept(kind, value, blksize_max, config.windowsize_max));
    }
    let fitting = (config.window_bytes_max / u32::from(terms.blksize)).max(1);
    terms.windowsize =
        u16::try_from(fitting).map_or(terms.windowsize, |most| terms.windowsize.min(most));
    if len / u64::from(terms.blksize) + 1 >= terms.rollover.modulus() {
        terms.windowsize = terms.windowsize.min(limits::WINDOWSIZE_WRAPPING_MAX);
    }
    for (kind, name, value) in options
        .known()
        .filter(|(kind, ..)| accepted[*kind as usize])
    {
        let fits = match kind {
            OptionKind::Blksize => terms.oack.push_number(name, u64::from(terms.blksize)),
            OptionKind::Windowsize => terms.oack.push_number(name, u64::from(terms.windowsize)),
            OptionKind::Tsize => terms.oack.push_number(name, len),
            // U-Boot and RFC 2349 want the very value back.
            OptionKind::Timeout | OptionKind::Rollover => terms.oack.push(name, value),
        };
        debug_assert!(
            fits,
            "five known options of bounded value fit OACK_BYTES_MAX"
        );
    }
    terms
}

impl Terms {
    /// Takes one option over, if its value is in range.
    fn accept(
        &mut self,
        kind: OptionKind,
        value: u64,
        blksize_max: u16,
        windowsize_max: u16,
    ) -> bool {
        match kind {
            OptionKind::Blksize => {
                let asked = ranged(value, limits::BLKSIZE_MIN, limits::BLKSIZE_MAX);
                self.blksize = asked.map_or(self.blksize, |asked| asked.min(blksize_max));
                asked.is_some()
            }
            OptionKind::Windowsize => {
                let asked = ranged(value, 1, u16::MAX);
                self.windowsize = asked.map_or(self.windowsize, |asked| asked.min(windowsize_max));
                asked.is_some()
            }
            OptionKind::Timeout => {
                self.timeout_s = u8::try_from(value).ok().filter(|&seconds| seconds != 0);
                self.timeout_s.is_some()
            }
            OptionKind::Tsize => {
                self.tsize_asked = true;
                true
            }
            OptionKind::Rollover => {
                match value {
                    0 => self.rollover = Rollover::Zero,
                    1 => self.rollover = Rollover::One,
                    _ => return false,
                }
                true
            }
        }
    }
}

fn ranged(value: u64, least: u16, most: u16) -> Option<u16> {
    u16::try_from(value)
        .ok()
        .filter(|value| (least..=most).contains(value))
}
