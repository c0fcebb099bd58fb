//! The servers, and how each is started so that nothing but itself holds it back.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The port that all listen on; the namespace is private.
pub const PORT: u16 = 69;
/// Clients that every server is told to bear.
const CLIENTS_MAX: &str = "20000";

/// A server.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// Ours, with one worker.
    Daybreak,
    /// Ours, with two workers, on both cores: the second one beside the clients.
    #[value(name = "daybreak-2")]
    #[serde(rename = "daybreak-2")]
    DaybreakTwo,
    /// Ours, with two workers, both on the servers' core.
    #[value(name = "daybreak-2-on-1")]
    #[serde(rename = "daybreak-2-on-1")]
    DaybreakTwoOnOne,
    /// H. Peter Anvin's: a process for each client.
    TftpdHpa,
    /// A thread for each client.
    Atftpd,
    /// One loop for all.
    Dnsmasq,
    /// The crate of that name: a thread for each client.
    #[value(name = "tftpd")]
    #[serde(rename = "tftpd")]
    TftpdCrate,
    /// The crate of that name: a task for each client.
    AsyncTftp,
}

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder that all serve.
    pub files: PathBuf,
    /// The same as a store of ours.
    pub data: PathBuf,
    /// Our own programs.
    pub programs: PathBuf,
    /// The servers that scripts/setup-peers has unpacked.
    pub unpacked: PathBuf,
}

/// How one is started: the program and its arguments.
#[derive(Clone, Debug)]
pub struct Line {
    /// The program; `None` when it is not installed.
    pub program: Option<PathBuf>,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Server {
    /// Ours with two workers: under the loads where that is compared with one.
    pub const TWO_WORKERS: [Server; 2] = [Server::DaybreakTwo, Server::DaybreakTwoOnOne];

    /// Those of the tables, in their order.
    pub const ALL: [Server; 6] = [
        Server::Daybreak,
        Server::TftpdHpa,
        Server::Atftpd,
        Server::Dnsmasq,
        Server::TftpdCrate,
        Server::AsyncTftp,
    ];

    /// Those of a quick look.
    pub const QUICK: [Server; 3] = [Server::Daybreak, Server::Dnsmasq, Server::AsyncTftp];

    /// Its name in messages, which is also its name in `--servers`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Server::Daybreak => "daybreak",
            Server::DaybreakTwo => "daybreak-2",
            Server::DaybreakTwoOnOne => "daybreak-2-on-1",
            Server::TftpdHpa => "tftpd-hpa",
            Server::Atftpd => "atftpd",
            Server::Dnsmasq => "dnsmasq",
            Server::TftpdCrate => "tftpd",
            Server::AsyncTftp => "async-tftp",
        }
    }

    /// Its name in tables.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Server::Daybreak => "**daybreak**",
            Server::DaybreakTwo => "**daybreak**, 2 workers, both cores",
            Server::DaybreakTwoOnOne => "**daybreak**, 2 workers, 1 core",
            Server::TftpdHpa => "tftpd-hpa",
            Server::Atftpd => "atftpd",
            Server::Dnsmasq => "dnsmasq",
            Server::TftpdCrate => "`tftpd` crate",
            Server::AsyncTftp => "`async-tftp` crate",
        }
    }

    /// Whether it is another's.
    #[must_use]
    pub fn is_peer(self) -> bool {
        self != Server::Daybreak && !Server::TWO_WORKERS.contains(&self)
    }

    /// The cores that it runs on, as taskset writes them. The clients are on core 1.
    #[must_use]
    pub fn cores(self) -> &'static str {
        match self {
            Server::DaybreakTwo => "0,1",
            _ => "0",
        }
    }

    /// How it is started to serve on an address.
    #[must_use]
    pub fn line(self, address: Ipv4Addr, places: &Places) -> Line {
        let port = PORT.to_string();
        let files = places.files.display().to_string();
        let ours = |name: &str| Some(places.programs.join(name)).filter(|path| path.is_file());
        let (program, line) = match self {
            Server::Daybreak | Server::DaybreakTwo | Server::DaybreakTwoOnOne => (
                ours("daybreak-engine"),
                format!(
                    "--data {} --listen {address}:{port} --workers {} --log warn",
                    places.data.display(),
                    if self == Server::Daybreak { 1 } else { 2 },
                ),
            ),
            Server::TftpdHpa => (
                unpacked("in.tftpd", places),
                format!("-L -4 -u root -a {address}:{port} -s {files}"),
            ),
            Server::Atftpd => (
                unpacked("atftpd", places),
                format!(
                    "--daemon --no-fork --user root --group root --maxthread {CLIENTS_MAX} \
                     --no-multicast --verbose=0 --logfile - --port {port} --bind-address {address} {files}"
                ),
            ),
            Server::Dnsmasq => (
                unpacked("dnsmasq", places),
                format!(
                    "--keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --port=0 \
                     --log-facility=- --bind-interfaces --listen-address={address} --enable-tftp \
                     --quiet-tftp --tftp-max={CLIENTS_MAX} --tftp-root={files}"
                ),
            ),
            Server::TftpdCrate => (
                ours("peer-tftpd"),
                format!("-i {address} -p {port} -d {files} -r -q -q"),
            ),
            Server::AsyncTftp => (ours("peer-async-tftp"), format!("{address}:{port} {files}")),
        };
        Line {
            program,
            arguments: line.split_whitespace().map(str::to_owned).collect(),
        }
    }
}

/// A server of the distribution: unpacked by us, or installed.
fn unpacked(name: &str, places: &Places) -> Option<PathBuf> {
    let path: &Path = &places.unpacked.join(name);
    match path.is_file() {
        true => Some(path.to_owned()),
        false => daybreak_tests::programs::find(name),
    }
}
