//! No lock on the packet path: while data flows, the workers of the real program make no futex call. A lock that is
//! ever contended, and a thread that is ever woken by a worker, would be one.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::engine::{Engine, publish};
use support::{Ask, Client, Step, content, eventually};

/// The workers among the threads of a process.
fn workers(pid: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .map(|thread| thread.unwrap().file_name().into_string().unwrap())
        .filter(|thread| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm"));
            name.unwrap().trim() == "worker"
        })
        .collect()
}

/// A strace that counts the system calls of some threads; `None` where it may not.
fn count_calls(threads: &[String], table: &Path) -> Option<Child> {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-c", "-o"]).arg(table);
    strace.args(threads.iter().flat_map(|thread| ["-p", thread]));
    strace.stdin(Stdio::null()).stderr(Stdio::null());
    let mut strace = strace.spawn().expect("strace: make setup-test");
    let traced = |thread: &String| {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
        !status.contains("TracerPid:\t0\n")
    };
    let attached = eventually("strace watches, or cannot", || {
        let ended = strace.try_wait().unwrap().is_some();
        (ended || threads.iter().all(traced)).then_some(!ended)
    });
    if !attached {
        eprintln!("skipped: strace may not watch a program that runs (kernel.yama.ptrace_scope)");
        return None;
    }
    Some(strace)
}

/// All take blocks until so many octets are there.
fn download(clients: &mut [Client], bytes: usize) {
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || {
                while client.content.len() < bytes {
                    assert_eq!(client.step(), Step::More);
                }
            });
        }
    });
}

#[test]
fn while_data_flows_no_worker_calls_futex() {
    let data = tempfile::tempdir().unwrap();
    publish(data.path(), &[("a", &content(4_000_000))]);
    let table = data.path().join("calls");
    for io in ["uring", "tokio-uring", "portable"] {
        let engine = Engine::start(
            data.path(),
            &["--listen", "127.0.0.1:0", "--workers", "2", "--io", io],
        );
        // Enough for both workers to have some.
        let mut clients: Vec<Client> = (0..8)
            .map(|n| {
                let mut client = Client::new(engine.address()).patience(Duration::from_secs(10));
                client.ask(&Ask::octet("a").blksize(1428).windowsize(1 + 15 * (n % 2)));
                client
            })
            .collect();
        download(&mut clients, 200_000);
        let workers = workers(engine.pid());
        assert_eq!(workers.len(), 2);
        let Some(mut strace) = count_calls(&workers, &table) else {
            return;
        };
        download(&mut clients, 900_000);
        kill_process(Pid::from_child(&strace), Signal::INT).unwrap();
        strace.wait().unwrap();
        let text = std::fs::read_to_string(&table).unwrap();
        let calls: Vec<(&str, u64)> = text
            .lines()
            .filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                Some((*words.last()?, words.get(3)?.parse().ok()?))
            })
            .filter(|(name, _)| *name != "total")
            .collect();
        // Their names differ by architecture.
        let turn = |name: &str| name.starts_with("epoll_") || name == "io_uring_enter";
        let of = |wanted: &str| calls.iter().find(|(name, _)| *name == wanted);
        let turns: u64 = calls
            .iter()
            .filter_map(|(name, calls)| turn(name).then_some(calls))
            .sum();
        assert!(turns > 500, "{io}: {text}");
        assert_eq!(of("futex"), None, "{io}: {text}");
        println!("{io}: {calls:?}");
    }
}
