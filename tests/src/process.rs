//! A running program: its output is kept line by line, and it ends with its owner.
//!
//! Standard output and standard error are one log, in order of arrival. A program is killed when its
//! [`Process`] is dropped, also by a panic, and a panicking test prints the end of the log.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::poll;

/// Lines of a log that are kept; older ones are counted only.
const LOG_LINES_MAX: usize = 20_000;
/// Lines of a log that a failure shows.
const LOG_LINES_SHOWN: usize = 60;
/// How long a killed program may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// A program that runs, or has run.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: VecDeque<String>,
    lines_total: usize,
    bytes_total: usize,
    streams_ended: usize,
}

impl Process {
    /// Starts a program; `name` is for messages.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command) -> Process {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let log = Arc::new(Log::default());
        read_lines(child.stdout.take().expect("piped"), Arc::clone(&log));
        read_lines(child.stderr.take().expect("piped"), Arc::clone(&log));
        Process {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Waits until a line of the log, past or to come, gives a value.
    ///
    /// # Panics
    /// If the program ends, or `within` passes, before such a line.
    pub fn wait_for<T>(&self, what: &str, within: Duration, find: impl Fn(&str) -> Option<T>) -> T {
        match self.try_wait_for(within, find) {
            Ok(found) => found,
            Err(reason) => panic!(
                "{} {reason} before {what}; its log:\n{}",
                self.name,
                self.log_end()
            ),
        }
    }

    fn try_wait_for<T>(
        &self,
        within: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + within;
        let mut state = self.log.lock();
        let mut read = 0;
        loop {
            let dropped = state.lines_total - state.lines.len();
            let unread = state.lines.iter().skip(read.max(dropped) - dropped);
            if let Some(found) = unread.map(String::as_str).find_map(&find) {
                return Ok(found);
            }
            read = state.lines_total;
            if state.streams_ended == 2 {
                return Err("ended".to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("ran for {within:?}"));
            }
            state = self
                .log
                .changed
                .wait_timeout(state, left)
                .expect("no reader panics")
                .0;
        }
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it holds of its own now, in octets: resident and not backed by a file.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("a running process has a status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .expect("a line of status");
        kib.trim().parse::<u64>().expect("a number") * 1024
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("own child").is_none()
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        kill_process(self.rustix_pid(), Signal::TERM).expect("own child");
    }

    /// Stops it where it is (SIGSTOP).
    pub fn pause(&self) {
        kill_process(self.rustix_pid(), Signal::STOP).expect("own child");
    }

    /// Has it go on (SIGCONT).
    pub fn go_on(&self) {
        kill_process(self.rustix_pid(), Signal::CONT).expect("own child");
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("own child");
        self.wait_for_exit(KILL_PATIENCE);
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// If it has not within the time.
    pub fn wait_for_exit(&mut self, within: Duration) -> ExitStatus {
        let status = poll::try_until(within, || self.child.try_wait().expect("own child"));
        status.unwrap_or_else(|| {
            panic!(
                "{} still runs after {within:?}; its log:\n{}",
                self.name,
                self.log_end()
            )
        })
    }

    /// The log so far: the lines that are kept.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().lines.iter().cloned().collect()
    }

    /// All that it has said, after its end.
    ///
    /// # Panics
    /// If its output is still open some time after.
    #[must_use]
    pub fn finished_log(&self) -> String {
        poll::until("the end of its output", KILL_PATIENCE, || {
            (self.log.lock().streams_ended == 2).then_some(())
        });
        self.log().join("\n")
    }

    /// How many lines and octets it has logged so far.
    #[must_use]
    pub fn log_size(&self) -> (usize, usize) {
        let state = self.log.lock();
        (state.lines_total, state.bytes_total)
    }

    fn log_end(&self) -> String {
        let state = self.log.lock();
        let skipped = state.lines.len().saturating_sub(LOG_LINES_SHOWN);
        state
            .lines
            .iter()
            .skip(skipped)
            .fold(String::new(), |text, line| text + line + "\n")
    }

    fn rustix_pid(&self) -> Pid {
        i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ran = self.child.try_wait().is_ok_and(|status| status.is_none());
        if ran {
            // Errors mean that it is gone already.
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!(
                "--- end of the log of {} ---\n{}---",
                self.name,
                self.log_end()
            );
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().expect("no reader panics")
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        state.lines_total += 1;
        state.bytes_total += line.len() + 1;
        if state.lines.len() == LOG_LINES_MAX {
            state.lines.pop_front();
        }
        state
            .lines
            .push_back(String::from_utf8_lossy(line).trim_end().to_owned());
        self.changed.notify_all();
    }
}

/// Reads a stream to its end on a thread of its own, so that the program never blocks on a full pipe.
fn read_lines(stream: impl Read + Send + 'static, log: Arc<Log>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            log.push(&line);
            line.clear();
        }
        log.lock().streams_ended += 1;
        log.changed.notify_all();
    });
}
