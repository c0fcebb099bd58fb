//! The TFTP clients of Debian, each as its users run it: curl, tftp-hpa and atftp.
//!
//! A [`Fetch`] is one request by one of them. What a client cannot do is not asked of it: curl knows no
//! window and takes a size of zero for an error, and tftp-hpa knows no options.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::host::Host;
use crate::programs;

/// How long a client may take for one file, in seconds.
const PATIENCE_S: u32 = 120;

/// A client program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// curl: options `tsize`, `blksize`, `timeout`.
    Curl,
    /// tftp-hpa: no options; octet and netascii.
    TftpHpa,
    /// atftp: `blksize`, `tsize`, `timeout`, `windowsize`.
    Atftp,
}

impl Client {
    /// All of them.
    pub const ALL: [Client; 3] = [Client::Curl, Client::TftpHpa, Client::Atftp];
}

/// How a file is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    client: Client,
    server: SocketAddr,
    host: Option<&'a Host>,
    blksize: Option<u16>,
    windowsize: Option<u16>,
    netascii: bool,
    options: bool,
}

/// What a client got.
#[derive(Debug)]
pub struct Fetched {
    /// The file, if the client says that it has all of it.
    pub content: Option<Vec<u8>>,
    /// What the client printed.
    pub output: String,
}

impl<'a> Fetch<'a> {
    /// A request as the client makes it by itself.
    #[must_use]
    pub fn new(client: Client, server: SocketAddr) -> Fetch<'a> {
        Fetch {
            client,
            server,
            host: None,
            blksize: None,
            windowsize: None,
            netascii: false,
            options: true,
        }
    }

    /// The same, made inside a namespace.
    #[must_use]
    pub fn inside(self, host: &'a Host) -> Fetch<'a> {
        Fetch {
            host: Some(host),
            ..self
        }
    }

    /// The same, with a block size (curl, atftp).
    #[must_use]
    pub fn blksize(self, blksize: u16) -> Fetch<'a> {
        Fetch {
            blksize: Some(blksize),
            ..self
        }
    }

    /// The same, with a window (atftp).
    #[must_use]
    pub fn windowsize(self, windowsize: u16) -> Fetch<'a> {
        Fetch {
            windowsize: Some(windowsize),
            ..self
        }
    }

    /// The same, in netascii (tftp-hpa).
    #[must_use]
    pub fn netascii(self) -> Fetch<'a> {
        Fetch {
            netascii: true,
            ..self
        }
    }

    /// The same, without any option (curl).
    #[must_use]
    pub fn without_options(self) -> Fetch<'a> {
        Fetch {
            options: false,
            ..self
        }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client
    }

    /// Asks for the file `name`, and waits for the end.
    ///
    /// # Panics
    /// If the client is not installed, or cannot do what is asked.
    #[must_use]
    pub fn run(&self, name: &str) -> Fetched {
        let dir = tempfile::tempdir().expect("a private folder");
        let file = dir.path().join("got");
        let output = self
            .command(name, &file)
            .output()
            .expect("`timeout` starts");
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        // tftp-hpa's status is 0 whatever happens; a failure is what it prints.
        let failed =
            !output.status.success() || (self.client == Client::TftpHpa && !text.trim().is_empty());
        let content = if failed {
            None
        } else {
            std::fs::read(&file).ok()
        };
        Fetched {
            content,
            output: format!("{} ({})", text.trim(), output.status),
        }
    }

    /// Asks for the file `name`, and checks that it is `expected` to the octet.
    ///
    /// # Panics
    /// If it is not; the message says what the client printed.
    pub fn expect(&self, name: &str, expected: &[u8]) {
        let fetched = self.run(name);
        let Some(content) = fetched.content else {
            panic!("{self:?} of {name} failed: {}", fetched.output);
        };
        assert_eq!(
            content.len(),
            expected.len(),
            "length of {name} by {self:?}"
        );
        assert!(content == expected, "content of {name} by {self:?}");
    }

    fn command(&self, name: &str, file: &Path) -> Command {
        let mut command = match self.host {
            Some(host) => host.command(programs::system("timeout")),
            None => programs::dying_with_test(programs::system("timeout")),
        };
        command.arg("--kill-after=5").arg(PATIENCE_S.to_string());
        match self.client {
            Client::Curl => self.add_curl(&mut command, name, file),
            Client::TftpHpa => self.add_tftp_hpa(&mut command, name, file),
            Client::Atftp => self.add_atftp(&mut command, name, file),
        }
        command
    }

    fn add_curl(&self, command: &mut Command, name: &str, file: &Path) {
        assert!(
            self.windowsize.is_none() && !self.netascii,
            "curl cannot do that"
        );
        // Its own patience is in proportion to --max-time; without one it is an hour.
        command
            .arg(programs::system("curl"))
            .args(["--silent", "--show-error", "--max-time"]);
        command
            .arg(PATIENCE_S.to_string())
            .arg("--output")
            .arg(file);
        if !self.options {
            command.arg("--tftp-no-options");
        }
        if let Some(blksize) = self.blksize {
            command.arg("--tftp-blksize").arg(blksize.to_string());
        }
        command.arg(format!("tftp://{}/{name}", self.server));
    }

    fn add_tftp_hpa(&self, command: &mut Command, name: &str, file: &Path) {
        assert!(
            self.windowsize.is_none() && self.blksize.is_none(),
            "tftp-hpa has no options"
        );
        let mode = if self.netascii { "ascii" } else { "binary" };
        command.arg(programs::system("tftp"));
        command.arg(if self.server.is_ipv6() { "-6" } else { "-4" });
        // -l: a colon in a name is a colon.
        command.args(["-l", "-m", mode]);
        command
            .arg(self.server.ip().to_string())
            .arg(self.server.port().to_string());
        command.args(["-c", "get", name]).arg(file);
    }

    fn add_atftp(&self, command: &mut Command, name: &str, file: &Path) {
        assert!(!self.netascii, "atftp's netascii is not asked for");
        command.arg(programs::system("atftp"));
        if let Some(blksize) = self.blksize {
            command.arg("--option").arg(format!("blksize {blksize}"));
        }
        if let Some(windowsize) = self.windowsize {
            command
                .arg("--option")
                .arg(format!("windowsize {windowsize}"));
        }
        command.args([
            "--option",
            "tsize",
            "--get",
            "--remote-file",
            name,
            "--local-file",
        ]);
        command.arg(file);
        let address: IpAddr = self.server.ip();
        command
            .arg(address.to_string())
            .arg(self.server.port().to_string());
    }
}
