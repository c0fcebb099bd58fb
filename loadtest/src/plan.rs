//! What a run is to do: every value is in its range, every name is resolved.
//!
//! Made of the options of the command line ([`crate::args`]) or of a scenario file ([`crate::scenario`]). Clients are
//! numbered through, fleet by fleet; a client's number decides its luck, its names, and which process
//! and thread drives it, so that the same plan means the same clients however it is shared out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use daybreak_tftp::download::{Profile, Schedule};
use daybreak_tftp::limits::BLKSIZE_DEFAULT;
use daybreak_tftp::wire::OptionKind;

use crate::arrival::{Arrival, Arrivals, Part};
use crate::content::Content;
use crate::limits;
use crate::loss::Loss;
use crate::pattern::Pattern;

/// A whole run.
#[derive(Debug)]
pub struct Plan {
    /// What reports call it.
    pub title: String,
    /// Every server that a fleet names.
    pub servers: Vec<Server>,
    /// In the order of their clients' numbers.
    pub fleets: Vec<Fleet>,
    /// What the files must hold; a [`BootFile`] points in here.
    pub contents: Vec<Content>,
    /// The clients of all fleets and of all processes.
    pub clients: u32,
    /// The clients that this process drives.
    pub part: Part,
    /// How many of them at once, over all threads.
    pub concurrency: u32,
    /// From the start to the end of everything.
    pub deadline: Duration,
    /// Threads.
    pub threads: u16,
    /// Of the losses.
    pub seed: u64,
    /// Whether the boot of each client is kept, for the report.
    pub each: bool,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// What the scenario calls it.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
}

/// Clients of one kind.
#[derive(Debug)]
pub struct Fleet {
    /// What the scenario calls it.
    pub name: String,
    /// The number of its first client.
    pub first: u32,
    /// How many boot, over all processes.
    pub clients: u32,
    /// What they are like.
    pub profile: Arc<Profile>,
    /// Octets of receive buffer of each socket, where a window may be too large for the system's default.
    pub receive_buffer: Option<usize>,
    /// The files of one boot, in order.
    pub files: Vec<BootFile>,
    /// Positions in the plan's list, in the order in which clients try them.
    pub servers: Vec<usize>,
    /// Times through the list of servers.
    pub rounds: u16,
    /// When they are powered on.
    pub arrival: Arrival,
    /// What is dropped, each way.
    pub loss: Loss,
    /// The same, as a probability.
    pub loss_probability: f64,
}

/// One file of a boot.
#[derive(Clone, Debug)]
pub struct BootFile {
    /// What it is to the client.
    pub role: Role,
    /// The name that is asked for.
    pub name: Pattern,
    /// Where in the plan's contents what it holds is.
    pub content: ContentOf,
    /// What it must hash to.
    pub blake3: Option<blake3::Hash>,
    /// Whether a server may say that it has no such file (ERROR 1); the client then goes on to the next.
    pub optional: bool,
}

/// Which content belongs to which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentOf {
    /// All get the same.
    Shared(usize),
    /// The client at position `n` of the fleet gets the `n`th from here.
    Each(usize),
}

/// What a file is to the client that boots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The first thing that the firmware fetches.
    BootProgram,
    /// The system.
    Kernel,
    /// The system's first file system.
    Initrd,
    /// A text that tells the client what to do.
    Configuration,
    /// Anything else.
    #[default]
    Other,
}

impl Plan {
    /// The clients that this process drives, in the order in which they are powered on.
    #[must_use]
    pub fn arrivals(&self, part: Part) -> Arrivals<'_> {
        Arrivals::new(&self.fleets, part)
    }

    /// How many clients of a fleet this process drives.
    #[must_use]
    pub fn clients_here(&self, fleet: &Fleet) -> u32 {
        self.part.count(fleet.first, fleet.clients)
    }

    /// How many clients this process drives.
    #[must_use]
    pub fn all_clients_here(&self) -> u32 {
        self.fleets
            .iter()
            .map(|fleet| self.clients_here(fleet))
            .sum()
    }

    /// Whether there are more clients than places: then one is powered on when another ends.
    #[must_use]
    pub fn in_turn(&self) -> bool {
        self.concurrency < self.all_clients_here()
    }

    /// The fleets whose boot has a file of this content.
    pub fn fleets_with(&self, content: usize) -> impl Iterator<Item = usize> {
        let has = move |fleet: &Fleet| {
            fleet.files.iter().any(|file| match file.content {
                ContentOf::Shared(at) => at == content,
                ContentOf::Each(first) => {
                    (first..first + fleet.clients as usize).contains(&content)
                }
            })
        };
        let fleets = self.fleets.iter().enumerate();
        fleets.filter_map(move |(index, fleet)| has(fleet).then_some(index))
    }
}

impl ContentOf {
    /// The content of the client at a position of its fleet.
    #[must_use]
    pub fn client(self, position: u32) -> usize {
        match self {
            ContentOf::Shared(content) => content,
            ContentOf::Each(first) => first + position as usize,
        }
    }
}

impl Role {
    /// As it is written in scenarios and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::BootProgram => "boot-program",
            Role::Kernel => "kernel",
            Role::Initrd => "initrd",
            Role::Configuration => "configuration",
            Role::Other => "other",
        }
    }
}

/// The names of profiles beside those of [`Profile::NAMES`]: what people call these clients.
const ALIASES: [(&str, &str); 5] = [
    ("uefi", "edk2"),
    ("grub", "grub2"),
    ("u-boot", "uboot"),
    ("raspberry-pi", "raspberry"),
    ("rfc-1350", "rfc1350"),
];

/// The profile of a name, in any case: `plain` (block size 1428), or a real client.
///
/// # Errors
/// The names that there are.
pub fn profile_named(name: &str) -> Result<Profile, String> {
    let lower = name.to_ascii_lowercase();
    if lower == "plain" {
        return Ok(Profile::plain(1428, 1));
    }
    let alias = ALIASES.iter().find(|(alias, _)| *alias == lower);
    let known = alias.map_or(lower.as_str(), |(_, known)| known);
    Profile::named(known).ok_or_else(|| format!("want plain, {}", Profile::NAMES.join(", ")))
}

/// Changes what the profile asks for an option; its default value is asked by leaving it out.
pub fn ask(profile: &mut Profile, kind: OptionKind, value: u16, default: u16) {
    let at = profile.options.iter().position(|(asked, _)| *asked == kind);
    match at {
        Some(at) if value == default => drop(profile.options.remove(at)),
        Some(at) => profile.options[at].1 = u64::from(value),
        None if value == default => {}
        None => profile.options.push((kind, u64::from(value))),
    }
}

/// Gives the profile a patience of its own: `tries` waits of the same length.
pub fn wait(profile: &mut Profile, wait: Duration, tries: u16) {
    profile.request = Schedule::fixed(wait, tries);
    profile.transfer = Schedule::fixed(wait, tries);
}

/// A window must fit the socket that it comes to, at what the kernel charges for it: twice the octets, and about a
/// kilobyte for each packet.
#[must_use]
pub fn receive_buffer(profile: &Profile) -> Option<usize> {
    let asked = |kind, default| {
        let found = profile.options.iter().find(|(asked, _)| *asked == kind);
        found.map_or(default, |(_, value)| {
            usize::try_from(*value).unwrap_or(default)
        })
    };
    let blksize = asked(OptionKind::Blksize, usize::from(BLKSIZE_DEFAULT));
    let bytes = 2 * asked(OptionKind::Windowsize, 1) * (blksize + 1024);
    (bytes > limits::RECEIVE_BUFFER_DEFAULT).then_some(bytes)
}

/// What a file must hold, read from a copy of it.
///
/// # Errors
/// When the copy cannot be read.
pub fn expected(path: &PathBuf) -> std::io::Result<Content> {
    Ok(Content::Given(std::fs::read(path)?.into()))
}
