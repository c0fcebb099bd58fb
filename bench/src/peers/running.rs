//! One server under one load.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use daybreak_tests::{poll, programs};

use super::account::{Account, Memory};
use super::network::{ADDRESS, Network, Queue};
use super::sample::{Report, Sample};
use super::scenario::{BLKSIZE, Scenario};
use super::server::{PORT, Places, Server};

/// How long a server may take from its start to listening.
const READY_PATIENCE: Duration = Duration::from_secs(20);
/// What the generator may take beyond the deadline of its clients.
const GENERATOR_PATIENCE: Duration = Duration::from_secs(20);
/// The shortest pause between two looks at a server's memory.
const LOOK_MIN: Duration = Duration::from_millis(50);
/// Looking may take one part in so many of a core: it is the generator's.
const LOOK_SHARE: u32 = 50;
/// Octets of a log that explain a death.
const LAST_WORDS_MAX: usize = 100;

/// Somebody wants us to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(pub Arc<AtomicBool>);

/// Where everything is.
#[derive(Debug)]
pub struct Bench {
    /// The programs and the folders that are served.
    pub places: Places,
    /// A folder for logs.
    pub logs: PathBuf,
    /// Somebody wants us to end.
    pub stop: Stop,
}

/// A server that runs.
struct Running {
    child: Child,
    account: Account,
    log: PathBuf,
}

/// Starts a server, puts it under a load, and ends it.
///
/// # Errors
/// When it is not installed, does not come to listen, or the generator cannot do its work. A server that
/// fails its clients, or dies of them, is a result.
pub fn measure(
    bench: &Bench,
    network: &Network,
    scenario: &Scenario,
    server: Server,
    round: u32,
) -> Result<Sample> {
    let mut running = Running::start(bench, network, server)?;
    let pid = running.child.id();
    let cpu_s = running.account.cpu_s(pid);
    let drops = kernel_drops(pid);
    let wire = network.queue()?;
    let mut peak = Memory::default();
    let mut look = || {
        let now = running.account.memory(pid);
        peak.own = peak.own.max(now.own);
        peak.resident = peak.resident.max(now.resident);
    };
    look();
    let command = generator(bench, network, scenario, round);
    let deadline = Duration::from_secs(u64::from(scenario.deadline_s)) + GENERATOR_PATIENCE;
    let said = output(command, deadline, &bench.stop, &mut look)?;
    look();
    let report: Report = serde_json::from_str(&said)
        .with_context(|| format!("the generator gave no report, but: {said}"))?;
    Ok(Sample {
        scenario: scenario.name.clone(),
        server,
        round,
        server_cpu_s: running.account.cpu_s(pid) - cpu_s,
        memory_own: peak.own,
        memory_resident: peak.resident,
        server_drops: kernel_drops(pid).saturating_sub(drops),
        wire: network.queue()?.zip(wire).map(|(after, before)| Queue {
            packets: after.packets - before.packets,
            drops: after.drops - before.drops,
        }),
        died: running.death(),
        report,
    })
}

/// The load: the generator's own rules, a fixed second of patience and ten tries.
fn generator(bench: &Bench, network: &Network, scenario: &Scenario, round: u32) -> Command {
    let file = scenario.file();
    let copy = bench.places.files.join(&file);
    let mut command = network.generator(&bench.places.programs.join("daybreak-loadtest"));
    command.args(["--server", &format!("{ADDRESS}:{PORT}")]);
    command.args(["--file", &file, "--clients", &scenario.clients.to_string()]);
    command.arg("--expect-file").arg(copy);
    command.args(["--blksize", &BLKSIZE.to_string()]);
    command.args(["--windowsize", &scenario.windowsize.to_string()]);
    let loss = f64::from(scenario.loss_percent) / 100.0;
    command.args(["--loss", &loss.to_string(), "--seed", &round.to_string()]);
    command.args(["--deadline", &scenario.deadline_s.to_string(), "--json"]);
    command
}

/// Runs a command to its end, with a deadline; what it says. Now and then `look` is called.
///
/// # Errors
/// When it cannot be started, is late, or somebody stops us.
pub fn output(
    mut command: Command,
    deadline: Duration,
    stop: &Stop,
    mut look: impl FnMut(),
) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    let mut stdout = child.stdout.take().context("piped")?;
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text);
        // Who does not wait any more does not want it.
        sender.send(read.map(|_| text)).ok();
    });
    let start = Instant::now();
    let mut pause = LOOK_MIN;
    let end = loop {
        match ended.recv_timeout(pause) {
            Ok(text) => break text.context("reading what it says"),
            Err(RecvTimeoutError::Disconnected) => break Err(anyhow::anyhow!("the reader died")),
            Err(RecvTimeoutError::Timeout) if stop.is_set() => break Err(stopped()),
            Err(RecvTimeoutError::Timeout) if start.elapsed() > deadline => {
                break Err(anyhow::anyhow!("{command:?} ran longer than {deadline:?}"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let before = Instant::now();
        look();
        pause = LOOK_MIN.max(before.elapsed() * LOOK_SHARE);
    };
    if end.is_err() {
        child.kill().ok();
    }
    child.wait()?;
    end
}

impl Running {
    fn start(bench: &Bench, network: &Network, server: Server) -> Result<Running> {
        let line = server.line(ADDRESS, &bench.places);
        let program = line.program.with_context(|| {
            format!(
                "{} is not there: `make peers` installs and builds it",
                server.name()
            )
        })?;
        // The ring of the one before may hold on to its socket for a moment after its process, and who comes meanwhile dies of it.
        let port = format!(":{PORT:04X} ");
        let free = poll::try_until(READY_PATIENCE, || {
            let table = network.sockets();
            (bench.stop.is_set() || !table.contains(&port)).then_some(())
        });
        ensure!(
            free.is_some(),
            "port {PORT} is held by a server that has ended"
        );
        let account = Account::open();
        let log = bench.logs.join("server.log");
        let writer = File::create(&log)?;
        // The shell joins the account, and then becomes the server.
        let mut command = network.server(&programs::system("sh"));
        command.args(["-c", "echo 0 >\"$0\" && exec taskset -c \"$@\""]);
        command.arg(account.door()).arg(server.cores()).arg(program);
        command.args(line.arguments).stdin(Stdio::null());
        command.stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn().context("starting a server")?;
        let mut running = Running {
            child,
            account,
            log,
        };
        running.wait_until_it_listens(server, &bench.stop)?;
        Ok(running)
    }

    fn wait_until_it_listens(&mut self, server: Server, stop: &Stop) -> Result<()> {
        let pid = self.child.id();
        let ready = poll::try_until(READY_PATIENCE, || {
            let gone = !matches!(self.child.try_wait(), Ok(None));
            (gone || stop.is_set() || listens(pid)).then_some(!gone)
        });
        if stop.is_set() {
            return Err(stopped());
        }
        ensure!(
            ready == Some(true),
            "{} does not come to listen: {}",
            server.name(),
            fs::read_to_string(&self.log).unwrap_or_default().trim()
        );
        Ok(())
    }

    /// Why it has ended, if it has.
    fn death(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        // The first of what it says last: a backtrace that may follow is nobody's reason.
        let said = |line: &&str| line.starts_with("Error");
        let words = log.lines().find(said).or(log.lines().last());
        let words = words.unwrap_or_default();
        let words: String = words.chars().take(LAST_WORDS_MAX).collect();
        Some(format!("{status} {words}").trim().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
        self.account.close();
    }
}

impl Stop {
    /// Whether.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error, if so.
    ///
    /// # Errors
    /// Somebody wants us to end.
    pub fn check(&self) -> Result<()> {
        if self.is_set() {
            bail!(stopped());
        }
        Ok(())
    }
}

fn stopped() -> anyhow::Error {
    anyhow::anyhow!("stopped")
}

/// Whether the process itself listens. The socket of one before it may be there a moment longer, and what is sent to that
/// is lost.
fn listens(pid: u32) -> bool {
    let opened = fs::read_dir(format!("/proc/{pid}/fd"));
    let opened: Vec<_> = opened
        .into_iter()
        .flatten()
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .collect();
    let port = format!(":{PORT:04X}");
    sockets(pid).any(|socket| {
        let local = socket.first().is_some_and(|local| local.ends_with(&port));
        let inode = socket.get(INODE).map(|inode| format!("socket:[{inode}]"));
        local && inode.is_some_and(|inode| opened.iter().any(|file| file.as_os_str() == &*inode))
    })
}

/// The column of a socket's inode, of those of [`sockets`].
const INODE: usize = 8;

/// Datagrams that the kernel has dropped at the open sockets of the network where the process is. Where the
/// clients share it, theirs are counted while they are open: before and after a load they are not.
fn kernel_drops(pid: u32) -> u64 {
    let drops = |socket: Vec<String>| socket.last()?.parse::<u64>().ok();
    sockets(pid).filter_map(drops).sum()
}

/// The columns of each UDP socket, from its local address to its drops.
fn sockets(pid: u32) -> impl Iterator<Item = Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/udp")).unwrap_or_default();
    let lines: Vec<Vec<String>> = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().skip(1).map(str::to_owned).collect())
        .collect();
    lines.into_iter()
}
