//! What was typed: the command line and the configuration file, as they stand. What it means is
//! [`crate::settings`].

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::bits::Bits;

/// Boot server of Daybreak: serves the published files of a data directory over TFTP.
#[derive(Debug, clap::Parser)]
#[command(name = "daybreak-engine", version, max_term_width = 100)]
pub struct CommandLine {
    /// Data directory, as daybreak-admin makes it
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file (TOML): the options below, with `_` for `-`. The command line goes first
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Everything else.
    #[command(flatten)]
    pub options: Options,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConfigFile {
    /// See [`CommandLine::data`].
    pub data: Option<PathBuf>,
    /// The options.
    #[serde(flatten)]
    pub options: toml::Table,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let wanted = "want an address and a port, as 0.0.0.0:69 or [::1]:6969";
    text.parse().map_err(|_| wanted)
}

/// Options of both.
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address and port to answer on; may be repeated. Port 0 lets the kernel choose
    /// [default: ports 69 and 4900 on every IPv4 and IPv6 address]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub listen: Vec<SocketAddr>,
    /// Worker threads [default: one for each core]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// How packets travel [default: auto]
    #[arg(long, value_enum)]
    pub io: Option<Io>,
    /// Whether the kernel copies what is sent [default: off]
    #[arg(long, value_enum, value_name = "MODE")]
    pub zero_copy: Option<ZeroCopy>,
    /// Answer from the listening port alone, for networks whose address translation needs it
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub single_port: Option<bool>,
    /// Transfer sockets of one worker and one address [default: 16]
    #[arg(long, value_name = "N")]
    pub transfer_sockets: Option<u16>,
    /// Never send data faster than this by one way out, in bits per second, such as 200M or 1G
    /// [default: as fast as the way is found to be]
    #[arg(long, value_name = "BITS")]
    pub rate: Option<Bits>,
    /// Largest block size granted, in octets [default: 65464]
    #[arg(long, value_name = "N")]
    pub blksize_max: Option<u16>,
    /// Block sizes of some networks; in the configuration file only
    #[arg(skip)]
    pub subnet: Vec<Subnet>,
    /// Largest window granted, in blocks [default: 64]
    #[arg(long, value_name = "N")]
    pub windowsize_max: Option<u16>,
    /// Transfers at a time, of one worker [default: 32768]
    #[arg(long, value_name = "N")]
    pub transfers_max: Option<u32>,
    /// Transfers of one source address that have not been acknowledged yet, of one worker [default: 16384]
    #[arg(long, value_name = "N")]
    pub half_open_per_source_max: Option<u32>,
    /// Forbid fragments: a block larger than the path's MTU then fails its transfer
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub dont_fragment: Option<bool>,
    /// Receive buffer of a listening socket, in octets [default: 4 MiB]
    #[arg(long, value_name = "N")]
    pub listener_receive_bytes: Option<usize>,
    /// Address of the metrics, on the loopback only [default: 127.0.0.1:9169]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub metrics: Option<SocketAddr>,
    /// Address and port that terminals report their status to [default: port 4901 of every address]
    #[arg(long, value_name = "ADDR:PORT")]
    pub status: Option<SocketAddr>,
    /// Network interfaces on which PXE and HTTP-boot clients are told what to boot (ProxyDHCP), beside the DHCP server that
    /// gives them their addresses [default: none]
    #[arg(long, value_name = "IFACE,…", value_delimiter = ',')]
    pub proxy_dhcp: Vec<String>,
    /// Answer also what DHCP relays send to this machine: not where it has a DHCP server, which would miss it
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub proxy_dhcp_relayed: Option<bool>,
    /// Port at which an HTTP server of this machine has the same files: HTTP-boot clients are sent there
    /// [default: they are not answered]
    #[arg(long, value_name = "PORT")]
    pub http_boot_port: Option<u16>,
    /// How log lines look, on standard error [default: text]
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter by module [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Keep every privilege, file and system call: for debuggers and tracers only
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub no_sandbox: Option<bool>,
    /// How long running transfers may take to finish after SIGTERM [default: 30]
    #[arg(long, value_name = "N")]
    pub drain_seconds: Option<u64>,
}

/// What holds for the clients of one network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// The network, such as `10.1.0.0/16`.
    pub net: String,
    /// Largest block size granted, in octets.
    pub blksize_max: u16,
}

/// How packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Io {
    /// io_uring where it is to be had, else as `portable`
    #[default]
    Auto,
    /// io_uring, or not at all: multishot receives where the kernel has them (Linux 6.1), else as `tokio-uring`
    Uring,
    /// io_uring with one-shot operations, through tokio-uring
    TokioUring,
    /// epoll, recvmmsg and sendmmsg
    Portable,
}

/// Whether the kernel copies what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ZeroCopy {
    /// It does, once: what costs least for most network cards
    #[default]
    Off,
    /// The card reads the images themselves, where it can (io_uring on Linux 6.1)
    Kernel,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// For machines: one JSON object a line
    Json,
}

impl Options {
    /// These, and `other` where these say nothing.
    #[must_use]
    pub fn or(self, other: Options) -> Options {
        Options {
            listen: if self.listen.is_empty() {
                other.listen
            } else {
                self.listen
            },
            workers: self.workers.or(other.workers),
            io: self.io.or(other.io),
            zero_copy: self.zero_copy.or(other.zero_copy),
            single_port: self.single_port.or(other.single_port),
            transfer_sockets: self.transfer_sockets.or(other.transfer_sockets),
            rate: self.rate.or(other.rate),
            blksize_max: self.blksize_max.or(other.blksize_max),
            subnet: if self.subnet.is_empty() {
                other.subnet
            } else {
                self.subnet
            },
            windowsize_max: self.windowsize_max.or(other.windowsize_max),
            transfers_max: self.transfers_max.or(other.transfers_max),
            half_open_per_source_max: self
                .half_open_per_source_max
                .or(other.half_open_per_source_max),
            dont_fragment: self.dont_fragment.or(other.dont_fragment),
            listener_receive_bytes: self.listener_receive_bytes.or(other.listener_receive_bytes),
            metrics: self.metrics.or(other.metrics),
            status: self.status.or(other.status),
            proxy_dhcp: if self.proxy_dhcp.is_empty() {
                other.proxy_dhcp
            } else {
                self.proxy_dhcp
            },
            proxy_dhcp_relayed: self.proxy_dhcp_relayed.or(other.proxy_dhcp_relayed),
            http_boot_port: self.http_boot_port.or(other.http_boot_port),
            log_format: self.log_format.or(other.log_format),
            log: self.log.or(other.log),
            no_sandbox: self.no_sandbox.or(other.no_sandbox),
            drain_seconds: self.drain_seconds.or(other.drain_seconds),
        }
    }
}
