//! The private networks. Each lives as long as its value, and no longer than this program.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use daybreak_tests::host::{Host, Private};
use daybreak_tests::programs;
use serde::{Deserialize, Serialize};

use super::scenario::Way;

/// The core that the clients run on.
const CLIENT_CORE: &str = "1";
/// The server's address. On a loopback too: where there is no other than 127.0.0.1, tftpd-hpa finds none to listen on.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The queue of the slow wire, at the server's end.
const SLOW: &str = "qdisc add dev wire root tbf rate 200mbit burst 16kb limit 64kb";

/// A network with a place for the server and one for the clients.
#[derive(Debug)]
pub struct Network {
    server: Host,
    /// `None`: the clients are where the server is.
    clients: Option<Host>,
}

/// What the queue of the slow wire has seen so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Queue {
    /// Packets that left.
    pub packets: u64,
    /// Packets that it had no room for.
    pub drops: u64,
}

impl Network {
    /// A new one.
    ///
    /// # Errors
    /// When the system refuses a step of it.
    pub fn new(way: Way) -> Result<Network> {
        let server = Host::new(Private::Network);
        if way == Way::Loopback {
            run(&server, "ip", "address add 10.77.0.1/32 dev lo")?;
            return Ok(Network {
                server,
                clients: None,
            });
        }
        let clients = Host::new(Private::Network);
        // One end is made here, the other over there.
        let there = {
            // A program inside knows the number of its namespace's holder: its own, before it is another program.
            let mut shell = clients.command(programs::system("sh"));
            shell.args(["-c", "echo ready; exec cat"]);
            Inside::start(shell)?
        };
        let peer = there.child.id().to_string();
        run(
            &server,
            "ip",
            &format!("link add wire type veth peer name wire netns {peer}"),
        )?;
        for (host, address) in [(&server, "10.77.0.1/24"), (&clients, "10.77.0.2/24")] {
            run(host, "ip", &format!("address add {address} dev wire"))?;
            run(host, "ip", "link set wire up")?;
        }
        run(&server, "tc", SLOW)?;
        Ok(Network {
            server,
            clients: Some(clients),
        })
    }

    /// A command at the server's place: it is what `exec` in a shell makes it.
    pub fn server(&self, program: &Path) -> Command {
        self.server.command(program)
    }

    /// The table of UDP sockets at the server's place, as the kernel writes it.
    #[must_use]
    pub fn sockets(&self) -> String {
        let program = programs::system("cat");
        let mut command = self.server.command(program);
        let output = command.arg("/proc/net/udp").output();
        output.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    /// A command at the clients' place, on the core given.
    pub fn client(&self, program: &Path, core: Option<&str>) -> Command {
        let host = self.clients.as_ref().unwrap_or(&self.server);
        match core {
            None => host.command(program),
            Some(core) => {
                let mut command = host.command(programs::system("taskset"));
                command.args(["-c", core]).arg(program);
                command
            }
        }
    }

    /// A command at the clients' place, on the clients' core.
    pub fn generator(&self, program: &Path) -> Command {
        self.client(program, Some(CLIENT_CORE))
    }

    /// What the queue of the slow wire has seen; `None` on a loopback.
    ///
    /// # Errors
    /// When tc does not say.
    pub fn queue(&self) -> Result<Option<Queue>> {
        if self.clients.is_none() {
            return Ok(None);
        }
        let said = run(&self.server, "tc", "-s -j qdisc show dev wire root")?;
        let queues: Vec<Queue> =
            serde_json::from_str(&said).with_context(|| format!("tc said of its queue: {said}"))?;
        Ok(queues.first().copied())
    }
}

/// A program that waits inside, and ends with its value.
struct Inside {
    child: std::process::Child,
}

impl Inside {
    fn start(mut command: Command) -> Result<Inside> {
        use std::io::{BufRead, BufReader};
        use std::process::Stdio;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut inside = Inside {
            child: command.spawn().context("nsenter")?,
        };
        let output = inside.child.stdout.take().context("piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "cannot enter a private network");
        Ok(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs a program of the system inside, to its end; what it said.
fn run(host: &Host, program: &str, line: &str) -> Result<String> {
    let mut command = host.command(programs::system(program));
    let output = command.args(line.split(' ')).output()?;
    ensure!(
        output.status.success(),
        "{program} {line}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
