//! Why the engine does not start: one exit code and one text for each reason, and the text says what to do.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use daybreak_store::LoadError;

use crate::binding::BindError;
use crate::io::RingError;
use crate::settings::SettingsError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no data directory.
    #[error(
        "no data directory at {path}: make it, with the files to serve, by `daybreak-admin --data {path} import PATH`",
        path = .0.display()
    )]
    DataMissing(PathBuf),
    /// The data directory cannot be read.
    #[error(
        "the data directory {path} cannot be read: {source}. Let the engine's user read it, or make a new one by \
         `daybreak-admin --data {path} import PATH`",
        path = .path.display()
    )]
    DataUnreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are catalogs, and none of them is whole.
    #[error("no catalog of {path} can be served: {source}", path = .path.display())]
    NoCatalog {
        /// Which directory.
        path: PathBuf,
        /// What is wrong with the published one.
        source: LoadError,
    },
    /// Somebody has the port.
    #[error(
        "port in use: another program, maybe another daybreak-engine, answers UDP {0}. `ss -lunp 'sport = :{port}'` (as root) names it; \
         stop it, or choose another address with --listen", port = .0.port()
    )]
    PortInUse(SocketAddr),
    /// The port is privileged, and we are not.
    #[error(
        "no permission to answer on UDP {0}: ports below 1024 need the capability CAP_NET_BIND_SERVICE. Give it: \
         systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE; by hand: setcap cap_net_bind_service=+ep /path/to/daybreak-engine; \
         for everybody: sysctl -w net.ipv4.ip_unprivileged_port_start=69. Or choose a port above 1023 with --listen"
    )]
    PortForbidden(SocketAddr),
    /// The address is not one of this machine.
    #[error(
        "{0} is no address of this machine (`ip address` lists them): correct --listen, or listen on all with 0.0.0.0 and [::]"
    )]
    AddressUnknown(SocketAddr),
    /// No descriptor is left.
    #[error(
        "too few open files allowed for the sockets: raise the limit (systemd: LimitNOFILE=65536; shell: ulimit -n 65536), or \
         use fewer --workers or --transfer-sockets"
    )]
    TooFewFiles,
    /// Something else about an address.
    #[error(transparent)]
    Bind(BindError),
    /// The metrics address cannot be had.
    #[error("the metrics address {address} cannot be had: {source}. Choose another with --metrics")]
    Metrics {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The status address cannot be had.
    #[error("the status address {address} cannot be had: {source}. Choose another with --status")]
    Status {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// ProxyDHCP cannot have an interface.
    #[error("--proxy-dhcp {interface}: UDP port {port} cannot be had there: {source}. {advice}", advice = dhcp_advice(source))]
    ProxyDhcp {
        /// Which.
        interface: String,
        /// What of it.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// No io_uring, and nothing else is allowed.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// Something that the system should not refuse.
    #[error("{what}: {source}")]
    System {
        /// What was done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl StartError {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::System { .. } => 1,
            StartError::Settings(_) => 2,
            StartError::DataMissing(_) | StartError::DataUnreadable { .. } => 3,
            StartError::NoCatalog { .. } => 4,
            StartError::PortInUse(_) => 5,
            StartError::PortForbidden(_) => 6,
            StartError::AddressUnknown(_) | StartError::Bind(_) => 7,
            StartError::TooFewFiles => 8,
            StartError::Ring(_) => 9,
            StartError::Metrics { .. } => 10,
            StartError::Status { .. } => 11,
            StartError::ProxyDhcp { .. } => 12,
        }
    }

    /// The reason why the data directory at `path` was not opened or loaded.
    pub(crate) fn of_load(path: &Path, error: LoadError) -> Self {
        let path = path.to_path_buf();
        match error {
            LoadError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                StartError::DataMissing(path)
            }
            LoadError::Open { source, .. } => StartError::DataUnreadable { path, source },
            source => StartError::NoCatalog { path, source },
        }
    }
}

/// What to do about a port of DHCP that cannot be had.
fn dhcp_advice(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENODEV) => "There is no such network interface: `ip link` lists them",
        Some(libc::EACCES | libc::EPERM) => {
            "It needs the capability CAP_NET_BIND_SERVICE, as port 69 does"
        }
        Some(libc::EADDRINUSE) => {
            "Another service of this machine has it, and does not share it (`ss -lunp`, as root, names it): a DHCP server must bind to its \
             interfaces only (dnsmasq: bind-dynamic), another PXE service must go; or leave out --proxy-dhcp"
        }
        _ => "Without --proxy-dhcp the engine starts",
    }
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        match error.source.raw_os_error() {
            Some(libc::EADDRINUSE) => StartError::PortInUse(error.address),
            Some(libc::EACCES | libc::EPERM) => StartError::PortForbidden(error.address),
            Some(libc::EADDRNOTAVAIL) => StartError::AddressUnknown(error.address),
            Some(libc::EMFILE | libc::ENFILE) => StartError::TooFewFiles,
            _ => StartError::Bind(error),
        }
    }
}
