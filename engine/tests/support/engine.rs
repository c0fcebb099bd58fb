//! The real program on a data directory of the test's own.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daybreak_store::{Name, Store};

use super::eventually;

/// Publishes files.
pub(crate) fn publish(data: &Path, files: &[(&str, &[u8])]) {
    let store = Store::open(data).unwrap();
    let mut draft = store.begin().unwrap();
    for (name, octets) in files {
        let name = Name::parse(name).unwrap();
        let go_on = &mut |_| std::ops::ControlFlow::Continue(());
        draft
            .import(name, &mut Cursor::new(octets), octets.len() as u64, go_on)
            .unwrap();
    }
    draft.publish().unwrap();
}

pub(crate) fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybreak-engine"));
    command.arg("--data").arg(data).args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// An engine that runs.
pub(crate) struct Engine {
    child: Child,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Engine {
    /// Starts one and waits until it serves.
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_as(command(data, &[]), arguments)
    }

    /// The same, by a command that ends with the program and its data directory.
    pub(crate) fn start_as(mut command: Command, arguments: &[&str]) -> Self {
        let usual = [
            "--metrics",
            "127.0.0.1:0",
            "--status",
            "127.0.0.1:0",
            "--log",
            "debug",
        ];
        let mut child = command.args(usual).args(arguments).spawn().unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (lines, stderr) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let engine = Engine { child, log };
        engine.line("INFO ready");
        engine
    }

    /// The first line with a word in it.
    #[track_caller]
    pub(crate) fn line(&self, word: &str) -> String {
        eventually(word, || self.find(word))
    }

    pub(crate) fn find(&self, word: &str) -> Option<String> {
        self.log
            .lock()
            .unwrap()
            .iter()
            .find(|line| line.contains(word))
            .cloned()
    }

    pub(crate) fn addresses(&self, word: &str) -> Vec<SocketAddr> {
        let log = self.log.lock().unwrap();
        let word = format!("{word} address=");
        log.iter()
            .filter_map(|line| line.split(&word).nth(1)?.parse().ok())
            .collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses("listening")[0]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// The answer of the metrics address.
    pub(crate) fn get(&self, request: &[u8]) -> String {
        let mut connection = TcpStream::connect(self.addresses("metrics")[0]).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        connection.write_all(request).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        let answer = self.get(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {answer}"))
            .parse()
            .unwrap()
    }

    /// Its exit code.
    #[track_caller]
    pub(crate) fn exit(&mut self) -> Option<i32> {
        eventually("the end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
