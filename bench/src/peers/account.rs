//! What a server used: it and all its children, also those that have ended.
//!
//! A cgroup (version 2) counts that exactly; where none can be made, `/proc` is read, which counts to 10 ms and loses
//! the time of children that nobody waited for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daybreak_tests::poll;

/// Where version 2 is mounted, alone or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Ticks a second of the times in `/proc/PID/stat`.
const TICKS_PER_S: f64 = 100.0;
/// How long killed processes may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(20);

/// The account of one server.
#[derive(Debug)]
pub struct Account {
    /// `None`: `/proc` is read instead.
    group: Option<PathBuf>,
}

/// Memory at one moment, in octets, over all processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Its own: not of a file.
    pub own: u64,
    /// With what is mapped of files; what is shared counts once for each process.
    pub resident: u64,
}

impl Account {
    /// A new one. It is empty until something is started into it.
    #[must_use]
    pub fn open() -> Account {
        let name = format!("daybreak-peers-{}", std::process::id());
        let groups = MOUNTS
            .iter()
            .map(|mount| Path::new(mount).join(own_group()).join(&name));
        let usable = |group: &PathBuf| {
            let made = fs::create_dir(group).is_ok();
            let usable =
                made && group.join("cgroup.procs").exists() && group.join("cpu.stat").exists();
            if made && !usable {
                fs::remove_dir(group).ok();
            }
            usable
        };
        Account {
            group: groups.into_iter().find(usable),
        }
    }

    /// The file that a process writes its number to, to be counted.
    #[must_use]
    pub fn door(&self) -> PathBuf {
        match &self.group {
            Some(group) => group.join("cgroup.procs"),
            None => PathBuf::from("/dev/null"),
        }
    }

    /// CPU time so far, in seconds.
    #[must_use]
    pub fn cpu_s(&self, root: u32) -> f64 {
        let Some(group) = &self.group else {
            return self
                .processes(root)
                .iter()
                .map(|pid| tree_cpu_s(*pid))
                .sum();
        };
        let stat = fs::read_to_string(group.join("cpu.stat")).unwrap_or_default();
        let usage = stat
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        usage
            .and_then(|usage| usage.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 1e6
    }

    /// Memory now.
    #[must_use]
    pub fn memory(&self, root: u32) -> Memory {
        let mut sum = Memory::default();
        for pid in self.processes(root) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            sum.own += kilobytes(&status, "RssAnon:") << 10;
            sum.resident += kilobytes(&status, "VmRSS:") << 10;
        }
        sum
    }

    /// The server and its children.
    fn processes(&self, root: u32) -> Vec<u32> {
        match &self.group {
            Some(group) => numbers(&group.join("cgroup.procs")),
            None => {
                let mut found = vec![root];
                let mut at = 0;
                while let Some(pid) = found.get(at) {
                    let children = format!("/proc/{pid}/task/{pid}/children");
                    found.extend(numbers(Path::new(&children)));
                    at += 1;
                }
                found
            }
        }
    }

    /// Kills what is left of a server that has been killed: its children.
    pub fn close(&mut self) {
        let Some(group) = self.group.take() else {
            return;
        };
        fs::write(group.join("cgroup.kill"), "1").ok();
        poll::try_until(KILL_PATIENCE, || fs::remove_dir(&group).ok());
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close();
    }
}

/// The cgroup of this process below a mount.
fn own_group() -> PathBuf {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    PathBuf::from(own.unwrap_or(""))
}

/// The numbers that a file of the kernel holds.
fn numbers(file: &Path) -> Vec<u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().flat_map(str::parse).collect()
}

fn kilobytes(status: &str, field: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    let value = value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
    value.unwrap_or(0)
}

/// CPU time of a process and of its children that it has waited for.
fn tree_cpu_s(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything, also a parenthesis; utime is the 12th field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .flat_map(str::parse::<f64>)
        .sum();
    ticks / TICKS_PER_S
}
