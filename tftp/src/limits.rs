//! Every bound of this crate, and what happens at it. Bounds that an operator may move are fields of
//! [`endpoint::Config`](crate::endpoint::Config), with these values as defaults.

use core::time::Duration;

/// Longest request packet that is read, in octets. RFC 2347 says 512; one Ethernet frame is accepted as
/// leniency. Beyond it: [`Malformed::TooLong`](crate::wire::Malformed), answered by ERROR 4.
pub const REQUEST_BYTES_MAX: usize = 1472;

/// Longest file name in a request, in octets. Beyond it: ERROR 4.
pub const NAME_BYTES_MAX: usize = 508;

/// Most option pairs in a request. Beyond it: ERROR 8, nothing is negotiated.
pub const OPTIONS_MAX: usize = 32;

/// Longest OACK, in octets: the four options we know with the longest spelling of their values fit twice.
pub const OACK_BYTES_MAX: usize = 192;

/// Longest text of an ERROR that is sent, in octets. Beyond it: cut.
pub const ERROR_TEXT_BYTES_MAX: usize = 128;

/// Smallest and largest block size, in octets (RFC 2348).
pub const BLKSIZE_MIN: u16 = 8;
/// See [`BLKSIZE_MIN`].
pub const BLKSIZE_MAX: u16 = 65464;
/// Block size without the option, in octets (RFC 1350).
pub const BLKSIZE_DEFAULT: u16 = 512;

/// Largest window that is granted when a file needs more blocks than the wire can number: with a larger
/// one a stale ACK from before the rollover could not be told from a new one.
pub const WINDOWSIZE_WRAPPING_MAX: u16 = 32_767;

/// Octets of one window, headers aside: what one client may have in flight. A window that no queue on the way can hold
/// is torn each time that it is sent. Beyond it: fewer blocks are granted, at least 1.
pub const WINDOW_BYTES_MAX: u32 = 512 * 1024;

/// Most blocks in one train (the kernel's UDP_MAX_SEGMENTS was 64 before Linux 6.9). Beyond it: the
/// window leaves as several trains.
pub const TRAIN_BLOCKS_MAX: u16 = 64;

/// Most octets in one train: the largest UDP payload over IPv4. Beyond it: several trains.
pub const TRAIN_BYTES_MAX: usize = 65_507;

/// Transfers that one `Endpoint` holds, running and lingering together. Beyond it: a new request is not
/// answered (an ERROR would end the client's boot; silence makes it ask again), and counted.
pub const TRANSFERS_MAX: u32 = 32_768;

/// One in so many of the transfers is kept for terminals that have begun their boot. Where no more than these are left,
/// a request of another is left without an answer, as above.
pub const TRANSFERS_RESERVED: u32 = 8;

/// A terminal that has fetched a file is in its boot for so long after: it goes on with the next file.
pub const BOOT_PAUSE: Duration = Duration::from_secs(60);

/// Terminals that are known to have begun their boot within [`BOOT_PAUSE`]. Beyond it: they are taken for newcomers.
pub const BEGUN_MAX: usize = 32_768;

/// Transfers from one source address that have not been acknowledged yet. A whole plant may boot
/// from behind one address, so the default is generous. Beyond it: as above.
pub const HALF_OPEN_PER_SOURCE_MAX: u32 = 16_384;

/// Times that a first reply leaves by timer before the client has answered at all: after these, only a
/// request repeated by the client brings another (a spoofed source is never flooded).
pub const FIRST_REPLY_TRIES: u8 = 4;

/// A transfer without any progress for this long is given up (clients wait 24 s to 131 s).
pub const PATIENCE: Duration = Duration::from_secs(32);

/// How long a finished transfer swallows late packets of its client.
pub const LINGER: Duration = Duration::from_secs(3);

/// A repetition of the finished request within this time is a late duplicate, and ignored.
pub const LATE_REQUEST: Duration = Duration::from_secs(1);

/// A repetition of a running transfer's request restarts it only after a silence this long; before, it
/// is a duplicate that was read late.
pub const RESTART_SILENCE: Duration = Duration::from_millis(750);

/// Retransmission time-out before the first round trip is measured. Clients expect at most 1 s; and it is well
/// below the second after which most of them repeat their ACK, or such a repetition, read as an answer to
/// what was sent a second ago, would pass for the round trip.
pub const RTO_INITIAL: Duration = Duration::from_millis(500);
/// Most that chance adds to [`RTO_INITIAL`]: the OACKs that were lost together do not come again together.
pub const RTO_JITTER: Duration = Duration::from_millis(125);
/// Smallest retransmission time-out that measurement may lead to.
pub const RTO_MIN: Duration = Duration::from_millis(50);
/// Largest retransmission time-out that measurement and back-off may lead to, unless the client
/// negotiated a longer `timeout`.
pub const RTO_MAX: Duration = Duration::from_secs(8);

/// A client that repeats its ACK so long after everything left is alive and has missed it: the next time-out comes
/// within [`RTO_MIN`]. Most clients repeat theirs after a second.
pub const HINT_AFTER: Duration = Duration::from_millis(750);
/// Times that this may happen without any progress. Beyond it: the time-outs alone.
pub const HINTS_MAX: u8 = 4;

/// Stateless replies (ERRORs) waiting to be sent. Beyond it: the oldest is dropped, and counted.
pub const REPLIES_MAX: usize = 4096;

/// ERROR 5 (unknown transfer ID) sent per second by one `Endpoint`. Beyond it: silence, and counted.
pub const UNKNOWN_TID_PER_SECOND_MAX: u32 = 200;

/// Events waiting to be read by the driver. Beyond it: the oldest is dropped, and counted.
pub const EVENTS_MAX: usize = 65_536;

/// Ways out (addresses of ours that clients asked) with a learned rate of their own. Beyond it: they share
/// the last one's.
pub const EGRESSES_MAX: usize = 16;
