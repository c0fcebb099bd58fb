//! Terminals that boot at once: the load generator's, with servers in their list that they try in turn.

use std::net::SocketAddr;

use serde_json::Value;

use crate::host::Host;
use crate::programs;

/// See the module.
#[derive(Clone, Debug)]
pub struct Terminals<'a> {
    /// The namespace that they stand in, if there is one.
    pub host: Option<&'a Host>,
    /// How many.
    pub clients: u32,
    /// What they boot, and what that is.
    pub file: &'a str,
    /// See `file`.
    pub content: &'a [u8],
    /// Seconds after which all have failed that have not booted.
    pub deadline_s: u32,
}

impl Terminals<'_> {
    /// Boots them: each tries the first server, times out, tries the second, and so on. Gives the report.
    ///
    /// # Panics
    /// If one of them fails, or gets anything else.
    #[must_use]
    pub fn boot(&self, servers: &[SocketAddr]) -> Value {
        let folder = tempfile::tempdir().expect("a folder");
        let expected = folder.path().join("expected");
        std::fs::write(&expected, self.content).expect("own folder");
        let program = programs::ours("daybreak-loadtest");
        let mut command = match self.host {
            Some(host) => host.command(program),
            None => programs::dying_with_test(program),
        };
        let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
        command
            .args(["--server", &servers.join(","), "--file", self.file])
            .args(["--clients", &self.clients.to_string(), "--tries", "3"])
            .args(["--deadline", &self.deadline_s.to_string(), "--json"])
            .arg("--expect-file")
            .arg(&expected);
        let output = command.output().expect("the program is built");
        let said = String::from_utf8_lossy(&output.stdout);
        let report: Value = serde_json::from_str(&said).unwrap_or_default();
        let booted = &report["clients"]["completed"];
        assert_eq!(*booted, self.clients, "{output:?}");
        report
    }
}
