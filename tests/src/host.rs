//! A private namespace: a network with only loopback, or a file-system view, of the test's own.
//!
//! It has no name and lies in no folder. A holder process keeps it, the holder reads a pipe of ours, and
//! the pipe closes when the [`Host`] is dropped or the test dies in whatever way: nothing is ever left
//! behind. As root it is a plain namespace; without root it is made inside a user namespace, where the
//! system allows that.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::programs;

/// What of the host is private.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Private {
    /// The network: its own loopback, its own interfaces.
    Network,
    /// The mounts: what is mounted in it is seen in it only.
    Mounts,
}

/// A private namespace.
#[derive(Debug)]
pub struct Host {
    holder: Child,
    private: Private,
}

impl Host {
    /// A new namespace; a private network has its loopback up.
    ///
    /// # Panics
    /// If the system refuses it; the message says what to do.
    #[must_use]
    pub fn new(private: Private) -> Host {
        let mut command = programs::dying_with_test(programs::system("unshare"));
        command.arg(private.option());
        if !is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        Host::held(command, private)
    }

    /// One more, beside this one: their networks can be linked.
    #[must_use]
    pub fn beside(&self) -> Host {
        // Made inside: without root, both must be of one user namespace.
        let mut command = self.command(programs::system("unshare"));
        command.arg(self.private.option());
        Host::held(command, self.private)
    }

    /// Links this network with another by a wire, whose ends have these names.
    pub fn link(&self, end: &str, other: &Host, other_end: &str) {
        let other = other.holder.id().to_string();
        let wire = ["link", "add", end, "type", "veth"];
        let peer = ["peer", "name", other_end, "netns", &other];
        self.run("ip", &[&wire[..], &peer].concat());
    }

    /// Gives the end of a wire an address, and switches it on.
    pub fn connect(&self, end: &str, address: &str) {
        self.run("ip", &["address", "add", address, "dev", end]);
        self.run("ip", &["link", "set", end, "up"]);
    }

    fn held(mut command: Command, private: Private) -> Host {
        let prepare = match private {
            Private::Network => "ip link set lo up",
            Private::Mounts => "true",
        };
        command
            .args(["--", "sh", "-c"])
            .arg(format!("{prepare} && echo ready && exec cat"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare is a program of the system");
        let mut line = String::new();
        let output = holder.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a pipe");
        assert_eq!(
            line.trim(),
            "ready",
            "cannot make a private namespace ({private:?}): run the tests as root, or allow \
             unprivileged user namespaces (kernel.unprivileged_userns_clone=1, and on Ubuntu \
             kernel.apparmor_restrict_unprivileged_userns=0)"
        );
        Host { holder, private }
    }

    /// A command that runs inside, and dies with the test.
    ///
    /// It is one process from start to end: its number is the program's own.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(programs::system("nsenter"));
        command
            .arg(format!("--target={}", self.holder.id()))
            .arg(self.private.option());
        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
            .arg("--")
            .arg(programs::system("setpriv"))
            .args(["--pdeathsig", "KILL", "--"]);
        command.arg(program.as_ref());
        command
    }

    /// Runs a program of the system inside, to its end.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        let output = self
            .command(programs::system(program))
            .args(args)
            .output()
            .expect("nsenter");
        assert!(
            output.status.success(),
            "{program} {args:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // What still runs inside keeps the namespace until it ends too; everything started here does.
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

impl Private {
    /// The option of `unshare` and of `nsenter`: they name it alike.
    fn option(self) -> &'static str {
        match self {
            Private::Network => "--net",
            Private::Mounts => "--mount",
        }
    }
}

/// Whether the test runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
