//! Cores that do not fall asleep while something is measured.
//!
//! A virtual core that sleeps is given away by its host, and comes back some milliseconds after it is wanted. A thread of the
//! scheduling class `SCHED_IDLE` on each core keeps it: everything else goes before it, at once.

use std::process::{Child, Stdio};

use crate::programs;

/// Some cores stay awake until this is dropped.
#[derive(Debug)]
pub struct Awake(Vec<Child>);

impl Awake {
    /// From now on, on the first `cores` of the machine.
    ///
    /// # Panics
    /// If `taskset`, `chrt` or a shell cannot be started.
    #[must_use]
    pub fn new(cores: usize) -> Awake {
        let keep = |core: usize| {
            let mut command = programs::dying_with_test(programs::system("taskset"));
            command.args(["--cpu-list", &core.to_string(), "chrt", "--idle", "0"]);
            command.args(["sh", "-c", "while :; do :; done"]);
            command.stdin(Stdio::null());
            command.spawn().expect("util-linux is installed")
        };
        Awake((0..cores).map(keep).collect())
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Errors mean that it is gone already.
            child.kill().ok();
            child.wait().ok();
        }
    }
}
