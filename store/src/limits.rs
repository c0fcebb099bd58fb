//! Every bound of this crate, and what happens at it.

use std::time::Duration;

/// Longest name, in octets: what one TFTP request can carry. Beyond it: [`NameError`](crate::NameError).
pub const NAME_BYTES_MAX: usize = 508;

/// Entries in one catalog. Beyond it: publishing and loading are refused.
pub const ENTRIES_MAX: u32 = 1_000_000;

/// Largest catalog file, in octets, read into memory as a whole. Beyond it: publishing and loading are refused.
pub const CATALOG_BYTES_MAX: u64 = 512 << 20;

/// Smallest catalog, in octets, of which changes are written by themselves. Below it: always the whole catalog.
pub const CHANGES_BASE_BYTES_MIN: usize = 64 << 10;

/// What changed since a whole catalog is written by itself while it is at most one part in so many of it. Beyond it: the whole
/// catalog is written, and is what later changes are told from.
pub const CHANGES_PART_MAX: usize = 8;

/// Whole catalogs that stay whatever is published: damage of the one that all newer ones are told from leaves a start one to fall
/// back to.
pub const WHOLE_CATALOGS_KEPT: usize = 2;

/// Largest content kept inside a catalog, in octets (rendered files of one terminal). Beyond it: refused;
/// it belongs into an image.
pub const INLINE_BYTES_MAX: u64 = 1 << 20;

/// Network cards in one catalog. Beyond it: publishing and loading are refused.
pub const TERMINALS_MAX: u32 = 200_000;

/// Longest identifier of a terminal in a catalog, in octets. Beyond it: refused. The format has no room for more.
pub const TERMINAL_ID_BYTES_MAX: usize = 64;

/// Longest name of a terminal in a catalog, in octets. Beyond it: refused. The format has no room for more.
pub const TERMINAL_NAME_BYTES_MAX: usize = 16;

/// Largest image, in octets. Beyond it: the import is refused.
pub const IMAGE_BYTES_MAX: u64 = 1 << 40;

/// Largest generation: ten digits, as in the file names. Beyond it: publishing is refused.
pub const GENERATION_MAX: u64 = 9_999_999_999;

/// Longest content of `catalogs/current`, in octets. Beyond it: damaged.
pub const CURRENT_BYTES_MAX: usize = 128;

/// Names read from one folder of the data directory. Beyond it: an error (something else fills it).
pub const FOLDER_NAMES_MAX: usize = 4_000_000;

/// Times that a load starts over because a newer generation was published in between. Beyond it: the
/// error of the last try.
pub const LOAD_TRIES: u32 = 4;

/// Octets copied and hashed at a time.
pub const COPY_BYTES: usize = 1 << 20;

/// Files or folders that one change syncs one by one. Beyond it: the whole file system is synced once, which
/// waits for the writes of others, too, but not for each file of ours.
pub const SYNCED_ONE_BY_ONE_MAX: usize = 4;

/// How long a command waits for another one that holds the store. Beyond it: [`StoreError::Busy`](crate::StoreError::Busy).
pub const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Disk space that an import leaves free, in octets, unless one hundredth of the disk is less. Beyond
/// it: the import is refused before it starts.
pub const RESERVE_BYTES: u64 = 64 << 20;

/// How long an image stays after the last catalog that names it was replaced.
pub const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Newest catalogs that stay whatever their age: what a start falls back to.
pub const CATALOGS_KEPT: usize = 8;

/// Octets of a journal file at which the next one is begun: a file is longer by one batch at most.
pub const JOURNAL_FILE_BYTES_MAX: u64 = 8 << 20;

/// Octets of all journal files together. Beyond it: the oldest are removed, and counted.
pub const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// Longest record of a journal, in octets. Texts are bounded so that no event is longer.
pub const JOURNAL_RECORD_BYTES_MAX: usize = 1024;

/// Longest text in an event, in octets. Beyond it: cut.
pub const JOURNAL_TEXT_BYTES_MAX: usize = 256;

/// Octets of a journal that are read at a time.
pub const JOURNAL_READ_BYTES: usize = 256 << 10;
