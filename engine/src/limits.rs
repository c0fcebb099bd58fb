//! Every bound of this crate, and what happens at it.

use std::time::Duration;

use daybreak_tftp::limits as protocol;

/// Octets of one datagram that are read. A longer one is cut; the protocol core then refuses it, because
/// what is left is still longer than any packet it takes.
pub const DATAGRAM_BYTES_MAX: usize = 2048;

/// Datagrams read by one system call.
pub const RECEIVE_BATCH: usize = 32;

/// Batches read from one socket in one turn. Beyond it: the other sockets have their turn first.
pub const RECEIVE_BATCHES_MAX: usize = 8;

/// Receive buffers of one worker's ring, a power of two. Beyond it: datagrams wait in the socket's buffer.
pub const RECEIVE_BUFFERS: usize = 1024;

/// Octets of control messages that are read with a datagram: the address it was sent to.
pub const ARRIVAL_CONTROL_BYTES: usize = 64;

/// Sends that one driver holds, queued and in flight together. Beyond it: the worker stops asking the
/// protocol core for more until there is room; nothing is lost.
pub const SENDS_MAX: usize = 1024;

/// Octets of one packet that is not DATA.
pub const PACKET_BYTES_MAX: usize = 256;

/// Blocks in one train.
pub const TRAIN_BLOCKS_MAX: usize = protocol::TRAIN_BLOCKS_MAX as usize;

/// Send failures that end a transfer, waiting to be read by the worker. Beyond it: the newest is dropped,
/// and its transfer ends by its own time-out.
pub const FAILURES_MAX: usize = SENDS_MAX;

/// Smallest train that leaves without a copy: below it the copy costs less than its avoidance.
pub const ZERO_COPY_BYTES_MIN: usize = 4096;

/// Segments of one send without a copy (`MAX_SKB_FRAGS` of a usual kernel). Beyond it: the train is cut.
pub const ZERO_COPY_SEGMENTS_MAX: usize = 17;

/// Trains that are copied after the kernel had no memory for one without a copy. Beyond it: tried again.
pub const ZERO_COPY_PAUSE_TRAINS: u32 = 4096;

/// Destinations remembered as refusing segmentation offload. Beyond it: all are forgotten, and tried again.
pub const OFFLOAD_REFUSALS_MAX: usize = 4096;

/// Most listening addresses.
pub const LISTENERS_MAX: usize = 32;

/// Most networks with a block size of their own. Beyond it: refused at start.
pub const SUBNETS_MAX: usize = 256;

/// Most workers.
pub const WORKERS_MAX: usize = 256;

/// Transfer sockets of one worker and one listening address, by default.
pub const TRANSFER_SOCKETS_DEFAULT: u16 = 16;

/// Most transfer sockets of one worker and one listening address.
pub const TRANSFER_SOCKETS_MAX: u16 = 1024;

/// Random ports tried for a transfer socket. Beyond it: the kernel chooses one.
pub const RANDOM_PORT_TRIES: u32 = 64;

/// The ports of transfer sockets (the dynamic range of RFC 6335).
pub const TRANSFER_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// Receive buffer of a listening socket: holds the requests of 10,000 clients that ask at once.
pub const LISTENER_RECEIVE_BYTES: usize = 4 << 20;

/// Receive buffer of a transfer socket.
pub const TRANSFER_RECEIVE_BYTES: usize = 1 << 20;

/// Send buffer of every socket.
pub const SEND_BYTES: usize = 4 << 20;

/// Largest receive buffer that may be asked for.
pub const SOCKET_BYTES_MAX: usize = 1 << 30;

/// Most transfers that one worker may be told to hold.
pub const TRANSFERS_MAX: u32 = 1 << 20;

/// Longest time to drain that may be asked for.
pub const DRAIN_SECONDS_MAX: u64 = 3600;

/// How long a driver waits at its end for the kernel to give back what is in flight. Beyond it: that memory
/// is left to the end of the process.
pub const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// A worker that has just looked at the clock waits so long at least for a time to come (what arrives ends the wait). A timer for
/// less costs more than it is worth: the kernel may be 50 µs late for each, and a train of a fast network is due every 20.
pub const TIMER_GRAIN: Duration = Duration::from_micros(100);

/// Images that one worker keeps mapped for the next request. Beyond it: all that no transfer uses are let go.
pub const IMAGES_OPEN_MAX: usize = 8192;

/// Largest file served in netascii, in octets of the file. Beyond it: ERROR 0 with advice.
pub const NETASCII_FILE_BYTES_MAX: u64 = 8 << 20;

/// Octets of converted text that one worker holds. Beyond it: ERROR 0 with advice.
pub const NETASCII_BYTES_MAX: usize = 64 << 20;

/// How long running transfers may take to finish after SIGTERM, by default. Beyond it: they get an ERROR.
pub const DRAIN_SECONDS_DEFAULT: u64 = 30;

/// Same cause, at most one log line in this time; the next line says how many were left out.
pub const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Octets of one HTTP request to the metrics address. Beyond it: 431 and the connection is closed.
pub const HTTP_REQUEST_BYTES_MAX: usize = 4096;

/// How long one HTTP connection to the metrics address may take. Beyond it: closed.
pub const HTTP_PATIENCE: Duration = Duration::from_secs(2);

/// Octets of the configuration file. Beyond it: refused at start.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// How often the catalog is looked at without a notice, in case one was lost.
pub const CATALOG_RECHECK: Duration = Duration::from_secs(2);

/// How long a port that is in use is waited for at the start. Beyond it: the engine says so and ends.
pub const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// How long workers may take to end after they were told to end at once. Beyond it: the process ends without them.
pub const END_PATIENCE: Duration = Duration::from_secs(3);

/// Notices to the journal that wait. Beyond it: dropped, counted, and the count is an event.
pub const NOTICES_MAX: usize = 16_384;

/// Octets of a file's name in an event. Beyond it: cut.
pub const NOTICE_NAME_BYTES_MAX: usize = 120;

/// Notices that the journal takes at a time.
pub const NOTICES_AT_ONCE_MAX: usize = 1024;

/// How long the journal waits for a disk that refused events. What happens meanwhile is dropped and counted.
pub const JOURNAL_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How long the end of the process waits for the journal. Beyond it: what is not written is lost.
pub const JOURNAL_END_PATIENCE: Duration = Duration::from_secs(2);

/// Client addresses that are known to be a terminal's. Beyond it: those not heard of for the longest are forgotten.
pub const ADDRESSES_MAX: usize = 65_536;

/// How long a client address is taken for the terminal that asked from it.
pub const ADDRESS_KNOWN_FOR: Duration = Duration::from_secs(3600);

/// Boots that are followed from their script to their configuration. Beyond it: as with [`ADDRESSES_MAX`].
pub const BOOTS_MAX: usize = 65_536;

/// Terminals that workers have told one of them of and it has not taken note of. Beyond it: they are newcomers there.
pub const BOOTS_TOLD_MAX: usize = 4096;

/// How long a boot may take. Beyond it: its configuration is told without the boot before it.
pub const BOOT_KNOWN_FOR: Duration = Duration::from_secs(3600);

/// Unknown cards that a worker remembers having told of. Beyond it: one is told again.
pub const STRANGERS_KEPT: usize = 4096;

/// A card that is nobody's is told of again after this.
pub const STRANGER_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Unknown cards that are told of in a second. Beyond it: they are answered, and not told.
pub const STRANGERS_A_SECOND_MAX: u32 = 100;

/// Status reports of one source address in a second, as a mean. Beyond it, and [`REPORTS_BURST`]: dropped unread.
pub const REPORTS_A_SECOND_MAX: u32 = 500;

/// Status reports of one source address at once.
pub const REPORTS_BURST: u32 = 1000;

/// Source addresses that are told apart in that. Beyond it: some share one allowance.
pub const REPORT_SOURCES: usize = 4096;

/// Status datagrams that are looked at in a second, of all sources. Beyond it: the rest of the second is left to the
/// kernel, which drops what its buffer does not hold.
pub const REPORTS_IN_ALL_A_SECOND_MAX: u32 = 50_000;

/// Terminals whose counters are remembered. Beyond it: those that the catalog does not have any more are forgotten; if that does not
/// help, reports of others are refused.
pub const REPORTERS_MAX: usize = 200_000;

/// A report that says nothing new is told again after this.
pub const REPORT_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Receive buffer of the status socket.
pub const STATUS_RECEIVE_BYTES: usize = 1 << 20;

/// Network interfaces that ProxyDHCP answers on. Beyond it: refused at start.
pub const DHCP_INTERFACES_MAX: usize = 16;

/// Octets of a DHCP message that are read. A longer one is cut, and what is cut off is not seen.
pub const DHCP_DATAGRAM_BYTES_MAX: usize = 2048;

/// DHCP messages that are looked at in a second, of all clients. Beyond it: dropped; a client asks again after 4 s.
pub const DHCP_IN_ALL_A_SECOND_MAX: u32 = 20_000;

/// Messages read from one socket before the others get their turn.
pub const DHCP_BATCH: usize = 64;

/// Other ProxyDHCP servers that are told of. Beyond it: not told.
pub const DHCP_OTHERS_MAX: usize = 16;

/// Receive buffer of a DHCP socket.
pub const DHCP_RECEIVE_BYTES: usize = 1 << 20;

/// Architectures that a client may name. Beyond it: not looked at.
pub const DHCP_ARCHITECTURES_MAX: usize = 16;

/// Octets of a machine's identifier (17, by RFC 4578). A longer one is not said again.
pub const DHCP_MACHINE_BYTES_MAX: usize = 64;

/// Octets of the field `file` of a message, with the NUL at its end. A longer name goes into option 67 alone.
pub const DHCP_FILE_FIELD_BYTES: usize = 128;

/// Octets of an answer at least: those of a BOOTP message (RFC 951), below which old firmware takes none.
pub const DHCP_REPLY_BYTES_MIN: usize = 300;

/// Octets of a text that names boot programs. Beyond it: not read.
pub const LOADERS_BYTES_MAX: usize = 4096;
