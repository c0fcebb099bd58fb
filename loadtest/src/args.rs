//! A run of one fleet, as it is typed ([`Args`]): the [`Plan`] that it means.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use clap::Parser;
use daybreak_tftp::download::Profile;
use daybreak_tftp::limits::{BLKSIZE_DEFAULT, BLKSIZE_MAX, BLKSIZE_MIN};
use daybreak_tftp::wire::OptionKind;

use crate::arrival::{Arrival, Part};
use crate::content::Content;
use crate::limits;
use crate::loss::Loss;
use crate::pattern::Pattern;
use crate::plan::{self, BootFile, ContentOf, Fleet, Plan, Role, Server};

/// Boots simulated thin clients from TFTP servers, checks what they get, and measures how long it takes.
///
/// Exit status: 0 when every client got every file, 1 when one failed, 2 when the run
/// itself could not be done.
#[derive(Debug, Parser)]
#[command(name = "daybreak-loadtest", version)]
pub struct Args {
    /// The servers, in the order in which clients try them
    #[arg(
        long,
        value_name = "ADDR:PORT,…",
        value_delimiter = ',',
        required = true
    )]
    pub server: Vec<String>,
    /// The files of one boot: each client fetches them all, in order
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', required = true)]
    pub file: Vec<String>,
    /// How many clients boot
    #[arg(long, default_value_t = 1)]
    pub clients: u32,
    /// How many of them at once; the next starts when one ends [default: all]
    #[arg(long)]
    pub concurrency: Option<u32>,
    /// Block size that clients ask for, in octets [default: 1428, or the profile's]
    #[arg(long)]
    pub blksize: Option<u16>,
    /// Window that clients ask for, in blocks [default: 1, or the profile's]
    #[arg(long)]
    pub windowsize: Option<u16>,
    /// Probability, 0 to 1, that a packet is dropped here, each way
    #[arg(long, default_value_t = 0.0)]
    pub loss: f64,
    /// The client to play: plain, rfc1350, ipxe, edk2, grub2, pxelinux, uboot or raspberry
    #[arg(long, default_value = "plain")]
    pub profile: String,
    /// Time-out in seconds, instead of the profile's own (plain: 1)
    #[arg(long)]
    pub timeout: Option<f64>,
    /// Tries before a client gives up, instead of the profile's own (plain: 10)
    #[arg(long)]
    pub tries: Option<u16>,
    /// Times that clients go through the list of servers [default: 1, or 10 for several servers]
    #[arg(long)]
    pub rounds: Option<u16>,
    /// Seconds after which all that still runs has failed
    #[arg(long, default_value_t = 600.0)]
    pub deadline: f64,
    /// Threads that drive the clients
    #[arg(long, default_value_t = 1)]
    pub threads: u16,
    /// Seed of the losses
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// BLAKE3 hash of each file, in hexadecimal digits, in the order of --file
    #[arg(long, value_name = "HASH,…", value_delimiter = ',')]
    pub expect_blake3: Vec<String>,
    /// A copy of each file to compare with, in the order of --file
    #[arg(long, value_name = "PATH,…", value_delimiter = ',')]
    pub expect_file: Vec<PathBuf>,
    /// Says in the report of each client which server it booted from, and how long that took (with --json)
    #[arg(long, requires = "json")]
    pub each: bool,
    /// Prints the report as JSON
    #[arg(long)]
    pub json: bool,
}

impl TryFrom<Args> for Plan {
    type Error = Error;

    fn try_from(args: Args) -> Result<Plan> {
        let several = args.server.len() > 1;
        let rounds = args.rounds.unwrap_or(if several { 10 } else { 1 });
        let concurrency = args.concurrency.unwrap_or(args.clients).min(args.clients);
        ensure!(
            (1..=limits::CLIENTS_MAX).contains(&args.clients),
            "--clients must be 1 to {}",
            limits::CLIENTS_MAX
        );
        ensure!(
            (1..=limits::CONCURRENCY_MAX).contains(&concurrency),
            "--concurrency must be 1 to {}: each client at once holds a port",
            limits::CONCURRENCY_MAX
        );
        ensure!(
            (1..=limits::THREADS_MAX).contains(&args.threads),
            "--threads must be 1 to {}",
            limits::THREADS_MAX
        );
        ensure!(rounds > 0, "--rounds must be at least 1");
        let lists = args.server.len().max(args.file.len());
        ensure!(
            lists <= limits::LIST_MAX,
            "at most {} servers or files",
            limits::LIST_MAX
        );
        let profile = profile(&args)?;
        let servers = args
            .server
            .iter()
            .map(|text| server(text))
            .collect::<Result<Vec<_>>>()?;
        let (files, contents) = files(&args)?;
        let fleet = Fleet {
            name: profile.name.to_owned(),
            first: 0,
            clients: args.clients,
            receive_buffer: plan::receive_buffer(&profile),
            profile: Arc::new(profile),
            files,
            servers: (0..servers.len()).collect(),
            rounds,
            arrival: Arrival::default(),
            loss: Loss::new(args.loss).context("--loss must be 0 to 1")?,
            loss_probability: args.loss,
        };
        Ok(Plan {
            title: fleet.name.clone(),
            servers,
            fleets: vec![fleet],
            contents,
            clients: args.clients,
            part: Part::WHOLE,
            concurrency,
            deadline: seconds("--deadline", args.deadline)?,
            threads: args.threads,
            seed: args.seed,
            each: args.each,
        })
    }
}

fn server(text: &str) -> Result<Server> {
    let address = address(text).map_err(|what| anyhow!("--server {text}: {what}"))?;
    Ok(Server {
        name: address.to_string(),
        address,
    })
}

/// The address that a text names.
///
/// # Errors
/// What to write instead.
pub fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let mut found = text
        .to_socket_addrs()
        .map_err(|_| "want an address and a port, as 192.0.2.1:69")?;
    found.next().ok_or("no such host")
}

fn seconds(option: &str, value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|duration| !duration.is_zero())
        .with_context(|| format!("{option} must be a number of seconds above 0"))
}

fn files(args: &Args) -> Result<(Vec<BootFile>, Vec<Content>)> {
    let fits = |option: &str, len: usize| {
        ensure!(
            len == 0 || len == args.file.len(),
            "{option} names {len} and --file names {}: one for each",
            args.file.len()
        );
        Ok(())
    };
    fits("--expect-file", args.expect_file.len())?;
    fits("--expect-blake3", args.expect_blake3.len())?;
    let file = |(position, name): (usize, &String)| {
        let content = match args.expect_file.get(position) {
            Some(path) => {
                plan::expected(path).with_context(|| format!("--expect-file {}", path.display()))?
            }
            None => Content::unknown(),
        };
        let hash = |text: &String| {
            blake3::Hash::from_hex(text)
                .with_context(|| format!("--expect-blake3 {text}: want 64 hexadecimal digits"))
        };
        let file = BootFile {
            role: Role::Other,
            name: Pattern::literal(name),
            content: ContentOf::Shared(position),
            blake3: args.expect_blake3.get(position).map(hash).transpose()?,
            optional: false,
        };
        Ok((file, content))
    };
    args.file.iter().enumerate().map(file).collect()
}

fn profile(args: &Args) -> Result<Profile> {
    let mut profile = plan::profile_named(&args.profile)
        .map_err(|what| anyhow!("--profile {}: {what}", args.profile))?;
    if let Some(blksize) = args.blksize {
        ensure!(
            (BLKSIZE_MIN..=BLKSIZE_MAX).contains(&blksize),
            "--blksize must be {BLKSIZE_MIN} to {BLKSIZE_MAX}"
        );
        plan::ask(&mut profile, OptionKind::Blksize, blksize, BLKSIZE_DEFAULT);
    }
    if let Some(windowsize) = args.windowsize {
        ensure!(windowsize > 0, "--windowsize must be at least 1");
        plan::ask(&mut profile, OptionKind::Windowsize, windowsize, 1);
    }
    if args.timeout.is_some() || args.tries.is_some() {
        let wait = seconds("--timeout", args.timeout.unwrap_or(1.0))?;
        let tries = args.tries.unwrap_or(10);
        if tries == 0 {
            bail!("--tries must be at least 1");
        }
        plan::wait(&mut profile, wait, tries);
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Result<Plan> {
        let words = "x --server 127.0.0.1:69 --file a"
            .split(' ')
            .chain(line.split_whitespace());
        Plan::try_from(Args::try_parse_from(words)?)
    }

    #[test]
    fn defaults_are_one_plain_client() {
        let plan = plan("").unwrap();
        assert_eq!(
            (plan.clients, plan.concurrency, plan.fleets[0].rounds),
            (1, 1, 1)
        );
        assert_eq!(
            plan.fleets[0].profile.options,
            [(OptionKind::Blksize, 1428)]
        );
    }

    #[test]
    fn a_profile_keeps_its_order_of_options() {
        let plan = plan("--profile uboot --windowsize 16 --blksize 512").unwrap();
        assert_eq!(
            plan.fleets[0].profile.options,
            [(OptionKind::Timeout, 5), (OptionKind::Windowsize, 16)],
            "the default block size is not asked for"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--clients 0",
            "--concurrency 0",
            "--blksize 7",
            "--windowsize 0",
            "--loss 2",
            "--profile x",
            "--tries 0",
            "--timeout 0",
            "--deadline -1",
            "--threads 0",
            "--rounds 0",
            "--expect-blake3 12",
            "--file b --expect-blake3 12",
            "--server nowhere",
        ] {
            assert!(plan(line).is_err(), "{line}");
        }
    }
}
