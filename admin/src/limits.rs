//! Every bound of this crate, and what happens at it.

use std::time::Duration;

/// Folders inside folders of an import. Beyond it: the folder is skipped, with a warning.
pub const FOLDER_DEPTH_MAX: usize = 64;

/// Files of one import: as many as a catalog has entries. Beyond it: the import is refused.
pub const FILES_MAX: usize = daybreak_store::limits::ENTRIES_MAX as usize;

/// A progress bar is shown when a command takes longer than this.
pub const PROGRESS_AFTER: Duration = Duration::from_millis(500);

/// Warnings of one kind that are printed one by one. Beyond it: only counted.
pub const WARNINGS_SHOWN_MAX: usize = 20;

/// Octets of an object's identifier. Beyond it: refused.
pub const ID_BYTES_MAX: usize = 64;

/// Objects of one site, of all kinds. Beyond it: creating one is refused. Each terminal has up to 8 published
/// names, of the million that a catalog holds.
pub const OBJECTS_MAX: usize = 100_000;

/// Octets of one object's body as JSON. Beyond it: refused.
pub const BODY_BYTES_MAX: usize = 256 << 10;

/// Groups in groups. Beyond it: refused; where a merge made more, the outer ones are left out, and it is a problem.
pub const GROUP_DEPTH_MAX: usize = 16;

/// Network cards of a terminal. Beyond it: refused.
pub const MACS_MAX: usize = 2;
/// Modules of a terminal or group. Beyond it: refused.
pub const MODULES_MAX: usize = 64;
/// Parameters of a module. Beyond it: refused.
pub const PARAMETERS_MAX: usize = 64;
/// Terminal servers of a terminal or group. Beyond it: refused.
pub const SESSIONS_MAX: usize = 16;
/// Hosts that a terminal reports its status to. Beyond it: refused.
pub const MONITORS_MAX: usize = 8;
/// Screens of a terminal. Beyond it: refused.
pub const DISPLAYS_MAX: u8 = 8;
/// MAC prefixes, and PCI identifiers, of a hardware model. Beyond it: refused.
pub const PREFIXES_MAX: usize = 256;
/// Versions of a firmware package. Beyond it: refused.
pub const VERSIONS_MAX: usize = 256;
/// Initial RAM disks of a version. Beyond it: refused.
pub const INITRDS_MAX: usize = 16;
/// Roles of a user. Beyond it: refused.
pub const ROLES_MAX: usize = 16;

/// Characters of a new password. Below it: refused.
pub const PASSWORD_CHARACTERS_MIN: usize = 12;
/// Octets of a password. Beyond it: refused before it is hashed.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Memory of one argon2id computation, in KiB.
pub const ARGON2_MEMORY_KIB: u32 = 19_456;
/// Passes of one argon2id computation.
pub const ARGON2_PASSES: u32 = 2;
/// Lanes of one argon2id computation.
pub const ARGON2_LANES: u32 = 1;

/// How long a change waits for another process that writes the database. Beyond it: refused, to be tried again.
pub const DATABASE_WAIT: Duration = Duration::from_secs(5);

/// Octets of a script template. Beyond it: refused.
pub const TEMPLATE_BYTES_MAX: usize = 16 << 10;
/// Steps of rendering one script. Beyond it: the template is refused; in publishing, the built-in one is taken.
pub const TEMPLATE_FUEL: u64 = 50_000;
/// Octets of one rendered script. Beyond it: as with [`TEMPLATE_FUEL`].
pub const SCRIPT_BYTES_MAX: usize = 64 << 10;

/// Octets of what says which files of a package are active. Beyond it: they are served under the names with the version only.
pub const ACTIVE_BYTES_MAX: usize = 1 << 20;

/// How often is looked whether another program has published.
pub const OTHERS_LOOKED_AT: Duration = Duration::from_secs(1);

/// How long publishing waits after it failed, before it tries again.
pub const PUBLISH_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long a session lasts at most. Beyond it: log in again.
pub const SESSION_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a session lasts without a request. Beyond it: log in again.
pub const SESSION_IDLE_MS: u64 = 2 * 60 * 60 * 1000;
/// How exactly it is noted when a session was last used.
pub const SESSION_NOTED_MS: u64 = 60 * 1000;
/// Sessions of one user. Beyond it: the one that was not used for longest ends.
pub const SESSIONS_OF_A_USER_MAX: usize = 32;

/// The while in which failed log-ins are counted.
pub const ATTEMPTS_WINDOW_MS: u64 = 5 * 60 * 1000;
/// Failed log-ins from one address in that while. Beyond it: refused until it is over.
pub const ATTEMPTS_BY_SOURCE_MAX: u32 = 10;
/// Failed log-ins with one name in that while. Beyond it: refused until it is over.
pub const ATTEMPTS_BY_NAME_MAX: u32 = 50;
/// Addresses and names that are counted at once. Beyond it: newcomers are refused until the while is over.
pub const ATTEMPT_COUNTERS_MAX: usize = 10_000;

/// Users of one name whose passwords are tried: after a pair was made there may be several. Beyond it: rename one.
pub const USERS_OF_A_NAME_MAX: usize = 2;

/// Passwords that are computed at once. Beyond it: requests wait for each other.
pub const PASSWORDS_AT_ONCE_MAX: usize = 2;
/// Requests that wait for a password to be computed. Beyond it: refused, to be tried again.
pub const PASSWORDS_WAITING_MAX: usize = 64;

/// Octets of a request that is not an upload. Beyond it: refused before it is read.
pub const REQUEST_BYTES_MAX: usize = 512 << 10;
/// Objects in one answer. Beyond it: refused; ask for the next page.
pub const PAGE_ITEMS_MAX: usize = 500;
/// Objects in one answer, unless the request says otherwise.
pub const PAGE_ITEMS: usize = 50;
/// Connections at once. Beyond it: they wait.
pub const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to send the head of a request. Beyond it: the connection is closed.
pub const REQUEST_HEAD_WAIT: Duration = Duration::from_secs(10);
/// How long a running request may go on when the process ends.
pub const SHUTDOWN_SECONDS: u64 = 10;

/// How long the body of a request may take, if it is not an upload. Beyond it: refused, and the connection is closed.
pub const REQUEST_BODY_WAIT: Duration = Duration::from_secs(20);
/// How long an upload may go on without anything arriving. Beyond it: it counts as broken off.
pub const UPLOAD_PIECE_WAIT: Duration = Duration::from_secs(60);
/// Uploads that arrive at once, of files and of backups. Beyond it: refused, to be tried again.
pub const ARRIVING_MAX: usize = 64;
/// Uploads in pieces that are not complete. Beyond it: beginning another is refused.
pub const UPLOADS_MAX: usize = 64;
/// How long an upload is kept without anything arriving. Beyond it: it is thrown away when the next one begins.
pub const UPLOAD_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// How long the engine may take to tell its metrics. Beyond it: they are left out.
pub const ENGINE_WAIT: Duration = Duration::from_secs(1);
/// Octets of the engine's metrics. Beyond it: they are left out.
pub const ENGINE_METRICS_BYTES_MAX: u64 = 1 << 20;

/// Octets that are copied at a time.
pub const COPY_BYTES: usize = 1 << 20;

/// Octets of a backup's description of itself. Beyond it: the backup is refused.
pub const BACKUP_HEAD_BYTES_MAX: u64 = 16 << 10;
/// Octets of all objects and names of files in a backup; they are in memory while it is restored. Beyond it: making it,
/// and restoring it, are refused.
pub const BACKUP_CONFIGURATION_BYTES_MAX: u64 = 512 << 20;
/// Backups on one server. Beyond it: making or uploading one is refused.
pub const BACKUPS_MAX: usize = 1000;
/// Backups of each automatic reason that stay. Beyond it: the oldest go.
pub const AUTOMATIC_BACKUPS_KEPT: usize = 10;
/// Backups that failed, and restores, that are remembered until the process ends. Beyond it: the oldest are forgotten.
pub const BACKUP_JOBS_KEPT: usize = 32;
/// Downloads of backups at once. Beyond it: refused, to be tried again.
pub const BACKUP_DOWNLOADS_MAX: usize = 4;
/// Names of each kind that the differences of a restore list. Beyond it: only counted.
pub const DIFFERENCE_NAMES_MAX: usize = 1000;
/// Octets of an upload between two looks at the room that is left.
pub const ROOM_CHECKED_EVERY_BYTES: u64 = 64 << 20;

/// How often it is looked whether a schedule is due.
pub const SCHEDULES_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// How far ahead the time of a last run may be. Beyond it: the clock was wrong then, and it is forgotten.
pub const CLOCK_SET_BACK_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Pieces of an upload that wait in memory for the disk. Beyond it: the sender waits.
pub const UPLOAD_PIECES_MAX: usize = 4;

/// Rows of one import of terminals. Beyond it: refused.
pub const IMPORT_ROWS_MAX: usize = 50_000;
/// Octets of one import of terminals. Beyond it: refused before it is read to its end.
pub const IMPORT_BYTES_MAX: usize = 32 << 20;
/// After so many rows of an import its progress is told.
pub const IMPORT_PROGRESS_ROWS: usize = 500;
/// Faults of a row that are told. Beyond it: the first ones.
pub const ROW_FAULTS_MAX: usize = 8;
/// How often rows that exchange network cards are tried, each time without those that were refused. Beyond it: the rest is
/// refused.
pub const IMPORT_TRIES_MAX: usize = 8;
/// Octets of an answer that the command line takes from a running administration. Beyond it: an error.
pub const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// How long the command line waits for a running administration to take its connection.
pub const REMOTE_CONNECT_WAIT: Duration = Duration::from_secs(10);
/// How long is waited for another process to let go of the configuration. Beyond it: an error.
pub const CONFIGURATION_WAIT: Duration = Duration::from_secs(2);
/// How long a file of terminals may take to arrive. Beyond it: refused.
pub const IMPORT_WAIT: Duration = Duration::from_secs(60);
/// Lines of progress that wait in memory for a slow client. Beyond it: they are left out.
pub const PROGRESS_LINES_MAX: usize = 64;

/// Units that are held at once. Beyond it: newcomers are left out until others are forgotten or adopted.
pub const UNKNOWN_UNITS_MAX: usize = 1000;
/// Objects of a site in which unknown units become terminals. Beyond it: they are held, so that strangers cannot take the
/// room that operators need.
pub const UNKNOWN_OBJECTS_MAX: usize = OBJECTS_MAX / 2;
/// After this time without a request a held unit is forgotten.
pub const UNKNOWN_FORGOTTEN_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// How exactly it is noted when a held unit asked last.
pub const UNKNOWN_NOTED_MS: u64 = 60 * 1000;
/// What an unknown unit can choose to boot. Beyond it: left out of its menu.
pub const UNKNOWN_CHOICES_MAX: usize = 32;

/// A terminal that showed this lately that it lives is not dead, and is not replaced.
pub const ONLINE_MS: u64 = 2 * 60 * 1000;

/// How often the journal of events is looked at.
pub const EVENTS_LOOK: Duration = Duration::from_millis(200);
/// Events of the administration itself that wait to be stored. Beyond it: the oldest are left out.
pub const EVENTS_NOTED_MAX: usize = 1024;
/// Addresses that a name is said to have. Beyond it: left out.
pub const ADDRESSES_OF_A_NAME_MAX: usize = 16;
/// How often old events are looked for.
pub const EVENTS_RETAIN_EVERY: Duration = Duration::from_secs(60);
/// Events removed at a time, so that new ones need not wait.
pub const EVENTS_REMOVED_AT_ONCE: u32 = 10_000;
/// Events that are kept, whatever their age. Beyond it: the oldest are removed.
pub const EVENTS_MAX: u32 = 5_000_000;
/// Days for which events are kept, unless a setting says otherwise.
pub const EVENT_DAYS: u16 = 90;
/// Days for which events may be kept. Beyond it: refused.
pub const EVENT_DAYS_MAX: u16 = 3650;
/// How much later than announced a report may come.
pub const REPORT_GRACE_MS: u64 = 10_000;
/// Streams of events at once. Beyond it: refused, to be tried again.
pub const STREAMS_MAX: usize = 64;
/// How long a stream of events goes on; then its client comes again, and is looked at again.
pub const STREAM_TIME: Duration = Duration::from_secs(15 * 60);
/// How often a stream that has nothing to say says so.
pub const STREAM_BEAT: Duration = Duration::from_secs(15);
/// Events that a stream reads at a time.
pub const STREAM_EVENTS: u32 = 200;

/// Scopes that settings for DHCP servers are made for at once. Beyond it: refused.
pub const HINT_SCOPES_MAX: usize = 64;

/// Images of which the hashes of all pieces are in memory while they are sent. Beyond it: the one that was not used for longest
/// is read again when the next piece is asked for.
pub const IMAGE_TREES_KEPT: usize = 8;
/// Octets of an image that the link reads at once, to be able to send its first piece or to check what has come. Beyond it: messages
/// and changes go first.
pub const IMAGE_READ_AT_ONCE_BYTES: u64 = 8 << 20;
/// Octets of an image that arrives after which the disk is to have them. So the end of a large one does not keep the link, or an
/// operator's change, until all of it is written.
pub const IMAGE_SYNCED_EVERY_BYTES: u64 = 64 << 20;
/// Images that are hashed while they arrive. Beyond it: they are read again when they are complete.
pub const IMAGES_HASHED_AT_ONCE: usize = 16;

/// Octets of a public key. Beyond it: not one.
pub const PUBLIC_KEY_BYTES_MAX: usize = 512;
/// Octets of the address of another server. Beyond it: refused.
pub const PEER_ADDRESS_BYTES_MAX: usize = 260;
/// How long a pairing code is valid.
pub const PAIRING_CODE_VALID: Duration = Duration::from_secs(10 * 60);
/// Wrong tries of a pairing code. Beyond it: it is not valid any more.
pub const PAIRING_TRIES_MAX: u32 = 10;
/// Octets that a server says of itself when it is paired. Beyond it: refused.
pub const INTRODUCTION_BYTES_MAX: usize = 4096;
/// How long a connection to or of another server may take to be safe. Beyond it: closed.
pub const PEER_HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// Connections that are not safe yet. Beyond it: closed at once.
pub const HANDSHAKES_MAX: usize = 16;
/// Orders to the link that wait. Beyond it: whoever orders waits.
pub const LINK_ORDERS_MAX: usize = 16;
/// Messages of the other server that wait to be looked at. Beyond it: no more is read.
pub const LINK_MESSAGES_IN: usize = 4;
/// Messages to the other server that wait to be sent. Beyond it: no more are made.
pub const LINK_MESSAGES_OUT: usize = 4;
/// Octets of the other server that are read at a time.
pub const LINK_READ_BYTES: usize = 64 << 10;
/// How long one message to the other server may take. Beyond it: the connection is closed.
pub const LINK_WRITE_WAIT: Duration = Duration::from_secs(30);
/// How long is still read from a connection that cannot be written to any more. Beyond it: it is over.
pub const LINK_LAST_WORDS: Duration = Duration::from_secs(1);
/// How long is waited before the other server is tried again, at first; then twice as long each time.
pub const DIAL_AGAIN_MIN: Duration = Duration::from_millis(100);
/// See [`DIAL_AGAIN_MIN`]: never longer.
pub const DIAL_AGAIN_MAX: Duration = Duration::from_secs(2);
/// How long is waited before a server is tried again that does not speak to this one.
pub const DIAL_AGAIN_REFUSED: Duration = Duration::from_secs(5);
/// How long the two still speak to each other after synchronization was switched off, so that the other one learns of that change.
/// Beyond it: it is only told that this server does not speak to it.
pub const LINK_LINGERS: Duration = Duration::from_secs(10);
/// Servers that were the other one once and are known. Beyond it: the oldest is forgotten, and not heard if it returns.
pub const PARTED_MAX: usize = 8;
/// How often a server that was replaced is tried, if this one made the connections.
pub const DIAL_REPLACED_AGAIN: Duration = Duration::from_secs(10);
/// How long a connection of a server that was replaced may last. Beyond it: closed; it may connect again.
pub const REPLACED_LASTS: Duration = Duration::from_secs(60 * 60);
/// Objects that a server that was replaced may add conflicts to, by one connection. Beyond it: closed, and an error is logged.
pub const REPLACED_OBJECTS_MAX: usize = 100_000;
/// What servers that were replaced said, and that waits to be looked at. Beyond it: they wait.
pub const REPLACED_EVENTS: usize = 16;
/// Octets that the other server tells of its licences at once. Beyond it: not listened to.
pub const LINK_LICENCES_BYTES_MAX: usize = 1 << 20;
/// Objects of which an edit has dropped a value that had lost a conflict, and that are not among the events yet. Beyond it: they are not told
/// of.
pub const DROPPED_UNTOLD_MAX: usize = 1000;
/// Times within [`IMAGES_LOOKED_AT`] that the other server may tell of its licences. Beyond it: the connection is closed.
pub const LINK_LICENCES_TOLD_MAX: u32 = 64;
/// How long the other server may be silent in a manual synchronization; who is at something long says now and then that it is alive.
/// Beyond it: it is given up.
pub const MANUAL_SILENCE_MAX: Duration = Duration::from_secs(45);
/// Characters of who has ordered something on another server. Beyond it: cut off.
pub const ACTOR_CHARS_MAX: usize = 200;
/// How exactly it is noted when both servers last held the same.
pub const IN_SYNC_NOTED_MS: u64 = 60_000;
/// Servers that only manual synchronization is done with. Beyond it: refused.
pub const LISTED_MAX: usize = 16;
/// Differences of a plan that are listed. Beyond it: counted only.
pub const DIFFERENCES_SHOWN_MAX: usize = 1000;
/// How often is looked whether all images are here that objects name.
pub const IMAGES_LOOKED_AT: Duration = Duration::from_secs(60);
/// How often objects that were deleted long ago are forgotten.
pub const OLD_DELETES_LOOKED_AT: Duration = Duration::from_secs(60 * 60);
/// Octets of images per second between the two servers, each way, unless a setting says otherwise.
pub const IMAGE_BYTES_PER_SECOND: u64 = 64 << 20;

/// Octets of a licence file. Beyond it: refused before it is looked at.
pub const LICENCE_BYTES_MAX: usize = 16 << 10;
/// Octets of a customer's name in a licence. Beyond it: refused.
pub const LICENCE_TEXT_BYTES_MAX: usize = 200;
/// Product licences in a master licence. Beyond it: refused.
pub const LICENCE_PRODUCTS_MAX: usize = 32;
/// What a product licence counts at most. Beyond it: refused.
pub const LICENCE_COUNT_MAX: u32 = 1_000_000;
/// Terminals that a server without a licence boots. Beyond it: they wait for a seat.
pub const UNLICENSED_TERMINALS: u64 = 10;
/// Uses of every other product without a licence. Beyond it: the setting is left out, and it is a problem.
pub const UNLICENSED_COUNT: u64 = 10;
/// How long before its end a licence is warned of.
pub const LICENCE_EXPIRY_WARNED_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// How far a clock may be behind what it was, or ahead of it, without a word.
pub const LICENCE_CLOCK_TOLERANCE_MS: u64 = 24 * 60 * 60 * 1000;
/// How long a server must run before it believes a clock that is ahead without a reason.
pub const LICENCE_CLOCK_BELIEVED_MS: u64 = 24 * 60 * 60 * 1000;
/// How exactly the latest time and the time that the server ran are noted.
pub const LICENCE_CLOCK_NOTED_MS: u64 = 60 * 60 * 1000;
/// Licences that are installed at once. Beyond it: refused; files beyond it are not looked at.
pub const LICENCES_MAX: usize = 32;
/// Files of vendors' keys. Beyond it: not looked at.
pub const VENDOR_KEYS_MAX: usize = 32;
/// How often licences are looked at.
pub const LICENCES_LOOK: Duration = Duration::from_secs(5);
/// Seats that are given or taken in one change. Beyond it: in further changes, so that others come in between.
pub const SEATS_AT_ONCE_MAX: usize = 500;
/// Days for which an unseen terminal may keep its seat, where that is limited. Beyond it: refused.
pub const SEAT_DAYS_MAX: u16 = 3650;
/// How far a clock may be set, to and fro, without a word. Beyond it: the days of unseen terminals begin anew.
pub const SEAT_CLOCK_STEP_MS: u64 = 12 * 60 * 60 * 1000;
/// How much longer than its days a terminal must be unseen: twice that, and how exactly it is told when one was seen.
pub const SEAT_DAYS_MARGIN_MS: u64 = 2 * SEAT_CLOCK_STEP_MS + SIGHTINGS_TOLD_EXACTLY_MS;
/// How long ago the other server may have told last who was seen there, and this one may have looked. Beyond it: nobody counts as
/// unseen before it tells again.
pub const SIGHTINGS_FRESH_MS: u64 = 60 * 60 * 1000;
/// A terminal that is seen again is told of when it was told to be seen so much earlier.
pub const SIGHTINGS_TOLD_EXACTLY_MS: u64 = 60 * 60 * 1000;
/// How often the other server is told who was seen here.
pub const SIGHTINGS_TOLD_EVERY: Duration = Duration::from_secs(5 * 60);
/// Terminals in one message of it. Beyond it: in further ones.
pub const SIGHTINGS_AT_ONCE_MAX: usize = 2000;
/// Octets of such a message. Beyond it: it is not listened to, and what is told in further ones is not believed before the next connection.
pub const LINK_SIGHTINGS_BYTES_MAX: usize = 256 << 10;
/// Such messages within [`IMAGES_LOOKED_AT`]: as many as tell of all terminals ten times. Beyond it: as with [`LINK_SIGHTINGS_BYTES_MAX`].
pub const LINK_SIGHTINGS_TOLD_MAX: u32 = 512;

/// Accounts of an activation site. Beyond it: refused.
pub const ACCOUNTS_MAX: usize = 10_000;
/// How long the link is valid with which the password of an account is chosen.
pub const INVITATION_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Times within [`CUSTOMER_REPLACEMENTS_MS`] that a customer may activate a licence in the place of a server that had it. Beyond it:
/// only the vendor does.
pub const CUSTOMER_REPLACEMENTS_MAX: usize = 3;
/// See [`CUSTOMER_REPLACEMENTS_MAX`].
pub const CUSTOMER_REPLACEMENTS_MS: u64 = 365 * 24 * 60 * 60 * 1000;
/// Octets of a form of the activation site. Beyond it: refused before it is read.
pub const FORM_BYTES_MAX: usize = 16 << 10;
/// Licences and accounts on one page of the activation site. Beyond it: on the next one.
pub const SITE_PAGE_ITEMS: usize = 50;
