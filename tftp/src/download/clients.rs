//! The clients that are met in the field. Sources: `docs/protocol.md`, part 1.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::profile::{Abort, Probe, Profile, Schedule, Stray};
use crate::limits;
use crate::wire::{ErrorCode, OptionKind, Rollover};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const USER_ABORTED: Abort = Abort {
    code: ErrorCode::OPTION_NEGOTIATION,
    text: "User aborted the transfer",
};

/// A tick of the BIOS clock.
const TICK: Duration = Duration::from_micros(54_925);

impl Profile {
    /// No options: RFC 1350 as it stands, with a fixed second and 10 tries.
    #[must_use]
    pub fn rfc1350() -> Profile {
        Profile {
            name: "rfc1350",
            mode: "octet",
            options: Vec::new(),
            probe: None,
            request: Schedule::fixed(millis(1000), 10),
            transfer: Schedule::fixed(millis(1000), 10),
            resends_ack: true,
            stray: Stray::OncePerFlight,
            restarts: 0,
            rollover: None,
            requires: None,
            oack_error: Abort {
                code: ErrorCode::OPTION_NEGOTIATION,
                text: "Option negotiation failed",
            },
            abort: Some(Abort {
                code: ErrorCode::NOT_DEFINED,
                text: "Transfer cancelled",
            }),
            answers_strangers: false,
            request_copies: 1,
            ack_copies: 1,
        }
    }

    /// A client by the letter of RFC 2348 and 7440, with a fixed second and 10 tries. Block size in octets, window in
    /// blocks; the default of either (512, 1) is not asked for.
    #[must_use]
    pub fn plain(blksize: u16, windowsize: u16) -> Profile {
        let mut options = Vec::new();
        if blksize != limits::BLKSIZE_DEFAULT {
            options.push((OptionKind::Blksize, u64::from(blksize)));
        }
        if windowsize != 1 {
            options.push((OptionKind::Windowsize, u64::from(windowsize)));
        }
        Profile {
            name: "plain",
            options,
            ..Profile::rfc1350()
        }
    }

    /// iPXE: retries from the same port at 0.25, 0.75, 1.75, 3.75 and 7.75 s, fails at 15.75 s; acknowledges whatever
    /// comes.
    #[must_use]
    pub fn ipxe() -> Profile {
        Profile {
            name: "ipxe",
            options: vec![(OptionKind::Blksize, 1432), (OptionKind::Tsize, 0)],
            request: Schedule::doubling(millis(250), 6),
            transfer: Schedule::doubling(millis(250), 6),
            stray: Stray::Each,
            abort: Some(Abort {
                code: ErrorCode::NOT_DEFINED,
                text: "TFTP Aborted",
            }),
            ..Profile::rfc1350()
        }
    }

    /// UEFI firmware built from EDK2: asks for the size first and leaves with ERROR 8, then asks again from a new port.
    #[must_use]
    pub fn edk2() -> Profile {
        let terms = [(OptionKind::Blksize, 1468), (OptionKind::Windowsize, 4)];
        Profile {
            name: "edk2",
            options: terms.to_vec(),
            probe: Some(Probe {
                options: [&[(OptionKind::Tsize, 0)], &terms[..]].concat(),
                leave: USER_ABORTED,
            }),
            request: Schedule::fixed(millis(4000), 6),
            transfer: Schedule::fixed(millis(4000), 6),
            stray: Stray::Each,
            rollover: Some(Rollover::Zero),
            oack_error: Abort {
                code: ErrorCode::ILLEGAL_OPERATION,
                text: "Malformatted OACK packet",
            },
            abort: Some(USER_ABORTED),
            ..Profile::rfc1350()
        }
    }

    /// GRUB 2: needs its options, never sends an ACK again by timer, and echoes old blocks (half of the
    /// Sorcerer's Apprentice).
    #[must_use]
    pub fn grub2() -> Profile {
        let waits = || Schedule::new((0..40).map(|n| millis(400 + 20 * n)));
        Profile {
            name: "grub2",
            options: vec![(OptionKind::Blksize, 1024), (OptionKind::Tsize, 0)],
            request: waits(),
            transfer: waits(),
            resends_ack: false,
            stray: Stray::EchoOld,
            requires: Some(OptionKind::Blksize),
            abort: Some(Abort {
                code: ErrorCode::NOT_DEFINED,
                text: "closed",
            }),
            ..Profile::rfc1350()
        }
    }

    /// PXELINUX: waits by ticks of the BIOS clock, each wait a fifth longer than the one before, 131 s in all; needs
    /// `tsize`; acknowledges its last good block again for every packet that is not the next.
    #[must_use]
    pub fn pxelinux() -> Profile {
        Profile {
            name: "pxelinux",
            options: vec![(OptionKind::Tsize, 0), (OptionKind::Blksize, 1408)],
            request: pxelinux_waits(),
            transfer: pxelinux_waits(),
            resends_ack: false,
            stray: Stray::Each,
            requires: Some(OptionKind::Tsize),
            abort: Some(Abort {
                code: ErrorCode::NOT_DEFINED,
                text: "No error, file close",
            }),
            ..Profile::rfc1350()
        }
    }

    /// U-Boot: five seconds, ten times, then all over again from a new port. It really starts over for ever; here,
    /// three times.
    #[must_use]
    pub fn uboot() -> Profile {
        Profile {
            name: "uboot",
            options: vec![
                (OptionKind::Timeout, 5),
                (OptionKind::Blksize, 1468),
                (OptionKind::Windowsize, 4),
            ],
            request: Schedule::fixed(millis(5000), 10),
            transfer: Schedule::fixed(millis(5000), 10),
            stray: Stray::OnceUntilProgress,
            restarts: 3,
            abort: None,
            ..Profile::rfc1350()
        }
    }

    /// The ROM of a Raspberry Pi: stutters its request, leaves the first answer with ERROR 0, and once a transfer runs
    /// only waits. (It has no rollover at all: nothing that it boots is that large.)
    #[must_use]
    pub fn raspberry() -> Profile {
        let options = vec![(OptionKind::Tsize, 0), (OptionKind::Blksize, 1024)];
        Profile {
            name: "raspberry",
            probe: Some(Probe {
                options: options.clone(),
                leave: Abort {
                    code: ErrorCode::NOT_DEFINED,
                    text: "Early Terminate",
                },
            }),
            options,
            request: Schedule::new([millis(6), millis(994), millis(4000), millis(25_000)]),
            transfer: Schedule::fixed(millis(30_000), 1),
            resends_ack: false,
            stray: Stray::Silent,
            abort: None,
            ..Profile::rfc1350()
        }
    }

    /// The profile of one of the [`NAMES`](Self::NAMES).
    #[must_use]
    pub fn named(name: &str) -> Option<Profile> {
        Some(match name {
            "rfc1350" => Profile::rfc1350(),
            "ipxe" => Profile::ipxe(),
            "edk2" => Profile::edk2(),
            "grub2" => Profile::grub2(),
            "pxelinux" => Profile::pxelinux(),
            "uboot" => Profile::uboot(),
            "raspberry" => Profile::raspberry(),
            _ => return None,
        })
    }

    /// The names that [`named`](Self::named) knows.
    pub const NAMES: [&str; 7] = [
        "rfc1350",
        "ipxe",
        "edk2",
        "grub2",
        "pxelinux",
        "uboot",
        "raspberry",
    ];
}

/// 2, 2, 3, 3, 4, 5 ticks (0.11, 0.22, 0.38, 0.55, 0.77, 1.04 s after the start), then a fifth more each time.
fn pxelinux_waits() -> Schedule {
    const TICKS_IN_ALL: u32 = 2385;
    let mut ticks = vec![2_u32, 2, 3, 3, 4, 5];
    let mut left = TICKS_IN_ALL - ticks.iter().sum::<u32>();
    let mut wait = 5_u32;
    while left > 0 {
        wait = (wait + wait.div_ceil(5)).min(left);
        left -= wait;
        ticks.push(wait);
    }
    Schedule::new(ticks.into_iter().map(|ticks| TICK * ticks))
}
