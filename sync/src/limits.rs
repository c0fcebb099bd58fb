//! Every bound of this crate, and what happens at it.

use core::time::Duration;

/// How far ahead of the wall clock another server's stamp may be to be followed. Beyond it: this clock stays; the edit
/// is taken all the same.
pub const DRIFT_MAX: Duration = Duration::from_secs(60 * 60);

/// Octets of a kind's word. Beyond it: not a key.
pub const KIND_BYTES_MAX: usize = 32;
/// Octets of an object's identifier. Beyond it: not a key.
pub const ID_BYTES_MAX: usize = 64;

/// Lives of servers that a site has seen: one for each server, each replacement, and each loss of newest changes.
/// Beyond it: a message is malformed, and the site needs a manual synchronization into a new server.
pub const NODES_MAX: usize = 64;

/// Octets of one body. Beyond it: a message is malformed.
pub const BODY_BYTES_MAX: usize = 320 << 10;
/// Images that one body names. Beyond it: a message is malformed.
pub const IMAGES_OF_A_BODY_MAX: usize = 8192;
/// What one object may hold at once: what is in force, and what lost against it. Beyond it: the oldest of those that
/// lost is dropped, and an event says so.
pub const VALUES_MAX: usize = 8;

/// Octets of one message, its head included. Beyond it: the link is closed before anything is read.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Octets of rows after which a message is full. One object may be larger alone.
pub const ROWS_BYTES: usize = 256 << 10;
/// Rows of one message. Beyond it: malformed.
pub const ROWS_MAX: usize = 4096;
/// Objects in one page of a comparison. Beyond it: malformed.
pub const PAGE_MAX: usize = 2048;
/// Octets of a text that a peer gives: its name, its version, a reason. Beyond it: malformed.
pub const TEXT_BYTES_MAX: usize = 256;

/// Octets of a piece of an image: a power of two, so that pieces are subtrees of the hash. The last may be shorter.
pub const PIECE_BYTES: usize = 64 << 10;
/// Largest image that is synchronized, in octets. Beyond it: a message is malformed.
pub const IMAGE_BYTES_MAX: u64 = 1 << 40;
/// Steps from a piece to the hash of the largest image.
pub const PROOF_STEPS_MAX: usize = 24;
/// Images that are fetched at once. Beyond it: they wait.
pub const IMAGES_AT_ONCE: usize = 4;
/// Pieces that are asked for and not here yet. Beyond it: the next one waits.
pub const PIECES_IN_FLIGHT: usize = 16;
/// Octets per second that images are fetched at whatever else is on the wire, unless less was set. Below it: nothing is slowed down.
pub const IMAGE_RATE_MIN: u64 = 256 << 10;
/// When the fastest of so many pieces takes this many times as long as the fastest one ever, and so much longer, others want the wire.
pub const PIECES_LOOKED_AT: u8 = 3;
/// See [`PIECES_LOOKED_AT`].
pub const PIECE_SLOWER: u32 = 2;
/// See [`PIECES_LOOKED_AT`].
pub const PIECE_LATER: Duration = Duration::from_millis(10);
/// For so long, and at most twice that, the fastest piece is remembered: the wire may have become another one.
pub const FASTEST_KNOWN: Duration = Duration::from_secs(5 * 60);
/// Images that are known to be wanted. Beyond it: reading changes waits.
pub const IMAGES_WANTED_MAX: usize = 65_536;
/// Tries of a piece that arrives damaged. Beyond it: the image waits for [`RETRY`].
pub const PIECE_TRIES_MAX: u8 = 3;

/// Rows that wait for their images, and their octets. Beyond it: reading changes waits.
pub const PARKED_MAX: usize = 4096;
/// See [`PARKED_MAX`].
pub const PARKED_BYTES_MAX: usize = 32 << 20;

/// Requests of the peer that wait for their answer. An honest peer has fewer. Beyond it: the link is closed.
pub const REQUESTS_MAX: usize = 64;
/// Messages of ours that wait to be sent, answers aside. Beyond it: the link is closed.
pub const OUTBOX_MAX: usize = 256;
/// Events that wait to be read. Beyond it: the oldest is dropped, and counted.
pub const EVENTS_MAX: usize = 1024;

/// Without anything to say, a sign of life is sent so often.
pub const PING_EVERY: Duration = Duration::from_secs(3);
/// A peer that said nothing for so long is unreachable.
pub const SILENCE_MAX: Duration = Duration::from_secs(12);
/// After a failure on this side, or of an image on the other, the next try.
pub const RETRY: Duration = Duration::from_secs(10);

/// A clock that differs from the peer's by more than this is told to the operator.
pub const SKEW_TOLD: Duration = Duration::from_secs(5);

/// How long a deleted object is remembered, also if the peer has not heard of it. A peer that was away for longer
/// compares everything.
pub const HORIZON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Marks of positions that the peer has not confirmed. Beyond it: the oldest are forgotten, and a peer that comes back
/// with one of those compares everything.
pub const MARKS_MAX: usize = 1_000_000;
