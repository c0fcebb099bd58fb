//! What was typed, understood: every value is within its bounds, and every default is in its place.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daybreak_tftp::endpoint::{BlksizeCaps, Config, Rate, Subnet, SubnetError};
use daybreak_tftp::limits as protocol;

use crate::binding::{Plan, Wanted};
use crate::dhcp::ProxyDhcp;
use crate::limits;
use crate::options::{self, CommandLine, ConfigFile, Io, LogFormat, Options, ZeroCopy};

/// The ports that are listened on by default: TFTP's own, and that of the boot loaders that ask on 4900.
const PORTS_DEFAULT: [u16; 2] = [69, 4900];
const METRICS_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9169);

/// Everything the engine is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// The sockets.
    pub plan: Plan,
    /// Of the protocol core.
    pub protocol: Config,
    /// How packets travel.
    pub io: Io,
    /// Whether trains leave without a copy in the kernel, where that can be.
    pub zero_copy: bool,
    /// Whether to give up what serving does not need.
    pub sandbox: bool,
    /// Where the metrics are.
    pub metrics: Metrics,
    /// Where terminals report their status: just there, or it does not start; `None`: at the usual port, if it is to be had.
    pub status: Option<SocketAddr>,
    /// Where clients are told what to boot.
    pub proxy_dhcp: ProxyDhcp,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log: String,
    /// How long running transfers may take to finish.
    pub drain: Duration,
}

/// Where the metrics are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// A loopback address.
    pub address: SocketAddr,
    /// Somebody asked for just this address: the engine does not start without it.
    pub required: bool,
}

/// What was typed has no meaning.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No data directory.
    #[error("no data directory: give --data DIR, or `data = \"DIR\"` in the configuration file")]
    NoData,
    /// The configuration file cannot be read.
    #[error("the configuration file {path} cannot be read: {source}", path = .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file is not understood.
    #[error("the configuration file {path} is not understood: {why}", path = .path.display())]
    NotUnderstood {
        /// Which.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
    /// A number is out of its range.
    #[error("--{option} must be from {min} to {max}, and is {value}")]
    OutOfRange {
        /// Which.
        option: &'static str,
        /// What was given.
        value: u64,
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A text that should be a network is none.
    #[error("[[subnet]] net = \"{net}\": {why}")]
    NotANetwork {
        /// What was given.
        net: String,
        /// What is wrong with it.
        why: SubnetError,
    },
    /// One network, twice.
    #[error("[[subnet]] net = \"{0}\" stands there twice: keep one of them")]
    NetworkTwice(Subnet),
    /// Too many networks.
    #[error("at most {} [[subnet]]s", limits::SUBNETS_MAX)]
    TooManyNetworks,
    /// A text that should be a network interface is none, or stands there twice.
    #[error(
        "--proxy-dhcp {0:?}: want the names of network interfaces, each once (`ip link` lists them)"
    )]
    NotAnInterface(String),
    /// Too many network interfaces.
    #[error(
        "--proxy-dhcp takes at most {} network interfaces",
        limits::DHCP_INTERFACES_MAX
    )]
    TooManyInterfaces,
    /// What is a part of ProxyDHCP, without it.
    #[error("--{0} is a part of --proxy-dhcp: name the network interfaces, too")]
    WithoutProxyDhcp(&'static str),
    /// Too many listening addresses.
    #[error("at most {} addresses to listen on", limits::LISTENERS_MAX)]
    TooManyListeners,
    /// Metrics for everybody.
    #[error(
        "--metrics must be a loopback address, such as 127.0.0.1:9169, and is {0}: what terminals boot is not for \
         everybody on the network"
    )]
    MetricsNotLocal(SocketAddr),
}

impl Settings {
    /// The meaning of a command line, with the configuration file that it names.
    ///
    /// # Errors
    /// What has none.
    pub fn read(typed: CommandLine) -> Result<Self, SettingsError> {
        let (data, options) = match &typed.config {
            Some(path) => read_file(path)?,
            None => (None, Options::default()),
        };
        let data = typed.data.or(data).ok_or(SettingsError::NoData)?;
        Self::of(data, typed.options.or(options))
    }

    /// The meaning of options.
    ///
    /// # Errors
    /// What has none.
    pub fn of(data: PathBuf, options: Options) -> Result<Self, SettingsError> {
        if options.listen.len() > limits::LISTENERS_MAX {
            return Err(SettingsError::TooManyListeners);
        }
        let listen = if options.listen.is_empty() {
            default_listeners()
        } else {
            let wanted = |&address: &SocketAddr| Wanted {
                address,
                optional: false,
            };
            options.listen.iter().map(wanted).collect()
        };
        let metrics = options.metrics.unwrap_or(METRICS_DEFAULT);
        if !metrics.ip().is_loopback() {
            return Err(SettingsError::MetricsNotLocal(metrics));
        }
        let protocol = Config::default();
        let single_port = options.single_port.unwrap_or(false);
        let workers = within(
            "workers",
            options.workers.unwrap_or_else(cores),
            1,
            limits::WORKERS_MAX,
        )?;
        let transfer_sockets = options
            .transfer_sockets
            .unwrap_or(limits::TRANSFER_SOCKETS_DEFAULT);
        Ok(Settings {
            data,
            plan: Plan {
                listen,
                workers,
                transfer_sockets: if single_port {
                    0
                } else {
                    within(
                        "transfer-sockets",
                        transfer_sockets,
                        1,
                        limits::TRANSFER_SOCKETS_MAX,
                    )?
                },
                dont_fragment: options.dont_fragment.unwrap_or(false),
                listener_receive_bytes: within(
                    "listener-receive-bytes",
                    options
                        .listener_receive_bytes
                        .unwrap_or(limits::LISTENER_RECEIVE_BYTES),
                    4096,
                    limits::SOCKET_BYTES_MAX,
                )?,
                transfer_receive_bytes: limits::TRANSFER_RECEIVE_BYTES,
                send_bytes: limits::SEND_BYTES,
            },
            protocol: Config {
                // Workers share nothing: each has its part of the ceiling.
                rate: Rate::Learned {
                    max: options.rate.map(|rate| rate.0 / 8 / workers as u64),
                },
                blksize_max: within(
                    "blksize-max",
                    options.blksize_max.unwrap_or(protocol.blksize_max),
                    protocol::BLKSIZE_MIN,
                    protocol::BLKSIZE_MAX,
                )?,
                blksize_caps: blksize_caps(&options.subnet)?,
                windowsize_max: within(
                    "windowsize-max",
                    options.windowsize_max.unwrap_or(protocol.windowsize_max),
                    1,
                    u16::MAX,
                )?,
                transfers_max: within(
                    "transfers-max",
                    options.transfers_max.unwrap_or(protocol.transfers_max),
                    1,
                    limits::TRANSFERS_MAX,
                )?,
                half_open_per_source_max: within(
                    "half-open-per-source-max",
                    options
                        .half_open_per_source_max
                        .unwrap_or(protocol.half_open_per_source_max),
                    1,
                    limits::TRANSFERS_MAX,
                )?,
                ..protocol
            },
            io: options.io.unwrap_or_default(),
            zero_copy: options.zero_copy == Some(ZeroCopy::Kernel),
            sandbox: !options.no_sandbox.unwrap_or(false),
            metrics: Metrics {
                address: metrics,
                required: options.metrics.is_some(),
            },
            status: options.status,
            proxy_dhcp: ProxyDhcp::of(&options)?,
            log_format: options.log_format.unwrap_or_default(),
            log: options.log.unwrap_or_else(|| "info".into()),
            drain: Duration::from_secs(within(
                "drain-seconds",
                options
                    .drain_seconds
                    .unwrap_or(limits::DRAIN_SECONDS_DEFAULT),
                0,
                limits::DRAIN_SECONDS_MAX,
            )?),
        })
    }
}

fn read_file(path: &Path) -> Result<(Option<PathBuf>, Options), SettingsError> {
    use std::io::Read;
    let unreadable = |source| SettingsError::Unreadable {
        path: path.into(),
        source,
    };
    let not_understood = |why: String| SettingsError::NotUnderstood {
        path: path.into(),
        why,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(limits::CONFIG_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > limits::CONFIG_BYTES_MAX {
        return Err(not_understood(format!(
            "it is larger than {} octets",
            limits::CONFIG_BYTES_MAX
        )));
    }
    let file: ConfigFile = toml::from_str(&text).map_err(|why| not_understood(why.to_string()))?;
    let options = file
        .options
        .try_into()
        .map_err(|why: toml::de::Error| not_understood(why.to_string()))?;
    Ok((file.data, options))
}

fn blksize_caps(subnets: &[options::Subnet]) -> Result<BlksizeCaps, SettingsError> {
    if subnets.len() > limits::SUBNETS_MAX {
        return Err(SettingsError::TooManyNetworks);
    }
    let mut caps = BTreeMap::new();
    for options::Subnet { net, blksize_max } in subnets {
        let subnet: Subnet = net.parse().map_err(|why| SettingsError::NotANetwork {
            net: net.clone(),
            why,
        })?;
        let cap = within(
            "blksize-max",
            *blksize_max,
            protocol::BLKSIZE_MIN,
            protocol::BLKSIZE_MAX,
        )?;
        if caps.insert(subnet, cap).is_some() {
            return Err(SettingsError::NetworkTwice(subnet));
        }
    }
    Ok(caps.into_iter().collect())
}

fn default_listeners() -> Vec<Wanted> {
    let v4 = |port| Wanted {
        address: (Ipv4Addr::UNSPECIFIED, port).into(),
        optional: false,
    };
    let v6 = |port| Wanted {
        address: (Ipv6Addr::UNSPECIFIED, port).into(),
        optional: true,
    };
    PORTS_DEFAULT
        .into_iter()
        .flat_map(|port| [v4(port), v6(port)])
        .collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(limits::WORKERS_MAX))
}

/// The value, if it is within its bounds.
pub(crate) fn within<N>(option: &'static str, value: N, min: N, max: N) -> Result<N, SettingsError>
where
    N: PartialOrd + TryInto<u64> + Copy,
{
    if value >= min && value <= max {
        return Ok(value);
    }
    let number = |n: N| n.try_into().unwrap_or(u64::MAX);
    Err(SettingsError::OutOfRange {
        option,
        value: number(value),
        min: number(min),
        max: number(max),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings, SettingsError> {
        let arguments = [&["daybreak-engine"], arguments].concat();
        Settings::read(CommandLine::try_parse_from(arguments).expect("a command line"))
    }

    #[test]
    fn the_default_is_both_ports_on_both_families() {
        let settings = settings(&["--data", "d"]).unwrap();
        let listen: Vec<String> = settings
            .plan
            .listen
            .iter()
            .map(|wanted| wanted.address.to_string())
            .collect();
        assert_eq!(
            listen,
            ["0.0.0.0:69", "[::]:69", "0.0.0.0:4900", "[::]:4900"]
        );
        assert!(settings.plan.workers >= 1);
        assert_eq!(settings.plan.transfer_sockets, 16);
        assert!(!settings.metrics.required);
    }

    #[test]
    fn the_command_line_goes_before_the_file_and_the_file_before_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.toml");
        std::fs::write(&path, "data = 'd'\nworkers = 3\nblksize_max = 1468\nlisten = ['127.0.0.1:0']\nio = 'portable'\n")
            .unwrap();
        let settings = settings(&["--config", path.to_str().unwrap(), "--workers", "5"]).unwrap();
        assert_eq!(settings.data, Path::new("d"));
        assert_eq!(settings.plan.workers, 5);
        assert_eq!(settings.protocol.blksize_max, 1468);
        assert_eq!(settings.protocol.windowsize_max, 64);
        assert_eq!(settings.io, Io::Portable);
        assert_eq!(settings.plan.listen.len(), 1);
    }

    #[test]
    fn each_worker_has_its_part_of_the_ceiling() {
        for (workers, part) in [("1", 5_000_000), ("2", 2_500_000), ("4", 1_250_000)] {
            let settings = settings(&["--data", "d", "--rate", "40M", "--workers", workers]);
            let expected = Rate::Learned { max: Some(part) };
            assert_eq!(settings.unwrap().protocol.rate, expected);
        }
    }

    #[test]
    fn networks_are_named_once_and_by_their_own_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.toml");
        let read = |networks: &[(&str, u16)]| {
            let subnet = |(net, cap): &(&str, u16)| {
                format!("[[subnet]]\nnet = '{net}'\nblksize_max = {cap}\n")
            };
            let text: String = networks.iter().map(subnet).collect();
            std::fs::write(&path, format!("data = 'd'\n{text}")).unwrap();
            settings(&["--config", path.to_str().unwrap()])
        };
        let caps = read(&[
            ("10.0.0.0/8", 1428),
            ("10.1.0.0/16", 1024),
            ("2001:db8::/32", 1232),
        ])
        .unwrap()
        .protocol
        .blksize_caps;
        assert_eq!(caps.of([10, 1, 0, 9].into()), Some(1024));
        assert_eq!(caps.of([10, 2, 0, 9].into()), Some(1428));
        assert_eq!(caps.of([11, 2, 0, 9].into()), None);
        for (networks, word) in [
            (&[("10.1.2.3/8", 1428)][..], "10.0.0.0/8"),
            (&[("10.0.0.0", 1428)], "ADDRESS/BITS"),
            (&[("10.0.0.0/8", 7)], "from 8 to"),
            (&[("10.0.0.0/8", 1428), ("10.0.0.0/8", 1024)], "twice"),
        ] {
            let error = read(networks).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_a_word_of_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.toml");
        let text = |arguments: &[&str]| settings(arguments).unwrap_err().to_string();
        assert!(text(&[]).contains("--data DIR"));
        assert!(
            text(&["--data", "d", "--workers", "0"])
                .contains("--workers must be from 1 to 256, and is 0")
        );
        assert!(text(&["--data", "d", "--blksize-max", "7"]).contains("from 8 to 65464"));
        assert!(text(&["--data", "d", "--metrics", "0.0.0.0:9169"]).contains("loopback"));
        let config = ["--config", path.to_str().unwrap()];
        assert!(text(&config).contains("cannot be read"));
        std::fs::write(&path, "data = 'd'\nwokers = 3\n").unwrap();
        let unknown = text(&config);
        assert!(
            unknown.contains("wokers") && unknown.contains("workers"),
            "{unknown}"
        );
    }
}
