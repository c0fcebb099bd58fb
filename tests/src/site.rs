//! A site: a private data directory, and the real programs on it.
//!
//! [`Site::import`] is the real `daybreak-admin`, [`Site::engine`] starts the real `daybreak-engine` on
//! ports that the kernel chooses, and returns when it serves. Everything is gone when it is dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::administration::Administration;
use crate::clock::MovedClock;
use crate::host::Host;
use crate::metrics::Metrics;
use crate::process::Process;
use crate::programs;

/// How long an engine may take from its start to serving.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// A private data directory.
#[derive(Debug)]
pub struct Site {
    dir: TempDir,
    data: PathBuf,
    host: Option<Arc<Host>>,
}

impl Default for Site {
    fn default() -> Self {
        Site::new()
    }
}

impl Site {
    /// An empty site.
    #[must_use]
    pub fn new() -> Site {
        let dir = tempfile::Builder::new()
            .prefix("daybreak-test-")
            .tempdir()
            .expect("a folder");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("own folder");
        Site {
            dir,
            data,
            host: None,
        }
    }

    /// An empty site whose programs run inside `host`.
    #[must_use]
    pub fn inside(host: &Arc<Host>) -> Site {
        Site {
            host: Some(Arc::clone(host)),
            ..Site::new()
        }
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The namespace that the programs run in, if there is one.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.host.as_deref()
    }

    /// The same, to be kept by others.
    pub(crate) fn shared_host(&self) -> Option<Arc<Host>> {
        self.host.clone()
    }

    /// Writes a file beside the data directory, as an operator's folder of firmware has it.
    #[must_use]
    pub fn source(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.dir.path().join("sources").join(name);
        std::fs::create_dir_all(file.parent().expect("a file lies in a folder"))
            .expect("own folder");
        std::fs::write(&file, content).expect("own folder");
        file
    }

    /// Makes `content` a file that clients can ask for as `name`.
    ///
    /// # Panics
    /// If the administration program refuses it.
    pub fn import(&self, name: &str, content: &[u8]) {
        let file = self.source(name, content);
        let file = file.to_str().expect("a plain path");
        let output = self.admin(&["import", file, "--name", name]);
        assert!(
            output.status.success(),
            "import of {name} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Runs the administration program on this site, to its end.
    #[must_use]
    pub fn admin(&self, args: &[&str]) -> Output {
        let mut command = self.command("daybreak-admin");
        command.arg("--data").arg(&self.data).args(args);
        command.output().expect("the program is built")
    }

    /// Starts the administration program and does not wait: for the tests that kill it.
    #[must_use]
    pub fn start_admin(&self, args: &[&str]) -> Process {
        let mut command = self.command("daybreak-admin");
        command.arg("--data").arg(&self.data).args(args);
        Process::start("daybreak-admin", command)
    }

    /// Starts `daybreak-admin serve` on a free port of the loopback, and waits until it answers.
    ///
    /// # Panics
    /// If it does not come to that; the message shows its log.
    #[must_use]
    pub fn administration(&self, args: &[&str]) -> Administration {
        self.administration_on("127.0.0.1:0", args)
    }

    /// The same, at an address that the test chooses.
    #[must_use]
    pub fn administration_on(&self, address: &str, args: &[&str]) -> Administration {
        let serve = ["serve", "--listen", address];
        let process = self.start_admin(&[&serve, args].concat());
        Administration::of(process, self.host.clone())
    }

    /// The same, going by a clock that the test moves.
    #[must_use]
    pub fn administration_by(
        &self,
        clock: &MovedClock,
        address: &str,
        args: &[&str],
    ) -> Administration {
        let mut command = self.command("daybreak-admin");
        clock.rule(&mut command);
        command.arg("--data").arg(&self.data);
        command.args(["serve", "--listen", address]).args(args);
        let process = Process::start("daybreak-admin", command);
        Administration::of(process, self.host.clone())
    }

    /// Starts an engine on the IPv4 loopback, and waits until it serves.
    #[must_use]
    pub fn engine(&self, args: &[&str]) -> Engine {
        self.engine_on("127.0.0.1:0", args)
    }

    /// Starts an engine that listens on `address`, and waits until it serves.
    ///
    /// # Panics
    /// If it does not come to serving; the message shows its log.
    #[must_use]
    pub fn engine_on(&self, address: &str, args: &[&str]) -> Engine {
        let process = self.start_engine(&[&["--listen", address][..], args].concat());
        process.wait_for("it is ready", READY_PATIENCE, |line| {
            line.contains("ready").then_some(())
        });
        Engine {
            tftp: process.wait_for("its TFTP address", READY_PATIENCE, |line| {
                (line.contains("listening") && !line.contains("metrics"))
                    .then(|| address_in(line))?
            }),
            metrics: process.wait_for("its metrics address", READY_PATIENCE, |line| {
                line.contains("metrics").then(|| address_in(line))?
            }),
            status: process.wait_for("its status address", READY_PATIENCE, |line| {
                line.contains("status reports").then(|| address_in(line))?
            }),
            process,
            host: self.host.clone(),
        }
    }

    /// Starts an engine with `args` and does not wait: for the tests of what keeps one from serving.
    #[must_use]
    pub fn start_engine(&self, args: &[&str]) -> Process {
        let mut command = self.command("daybreak-engine");
        command
            .arg("--data")
            .arg(&self.data)
            .args(["--metrics", "127.0.0.1:0", "--status", "127.0.0.1:0"])
            .args(args);
        Process::start("daybreak-engine", command)
    }

    fn command(&self, program: &str) -> Command {
        let program = programs::ours(program);
        match &self.host {
            Some(host) => host.command(program),
            None => programs::dying_with_test(program),
        }
    }
}

/// An engine that serves.
#[derive(Debug)]
pub struct Engine {
    process: Process,
    tftp: SocketAddr,
    metrics: SocketAddr,
    status: SocketAddr,
    host: Option<Arc<Host>>,
}

impl Engine {
    /// Where it answers requests.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.tftp
    }

    /// Where it takes status reports.
    #[must_use]
    pub fn status(&self) -> SocketAddr {
        self.status
    }

    /// Where it tells its metrics.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// Its metrics now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::read(self.metrics, self.host.as_deref())
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub fn terminate(self, within: Duration) -> ExitStatus {
        self.process.terminate();
        self.wait(within)
    }

    /// Waits until it has ended.
    pub fn wait(mut self, within: Duration) -> ExitStatus {
        self.process.wait_for_exit(within)
    }

    /// Kills it (SIGKILL).
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// The memory that it holds of its own now, in octets: resident and not backed by a file.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.process.memory()
    }
}

/// The first socket address in a line of a log.
fn address_in(line: &str) -> Option<SocketAddr> {
    line.split([' ', '=', '"', ',', '/'])
        .find_map(|word| word.parse().ok())
}
