//! The load generator's single client, as somebody tries it by hand: its menu, both servers, and its life without them.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daybreak_tests::site::{Engine, Site};
use daybreak_tests::{content, poll, programs};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The two servers, and the client itself: addresses of the loopback.
const SERVERS: [&str; 2] = ["127.0.0.11", "127.0.0.12"];
const TERMINAL: &str = "127.0.0.13";

/// A client, its keyboard and its screen.
struct Client {
    process: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl Client {
    /// Its keyboard and its screen are pipes.
    fn start(settings: &Path, args: &[&str]) -> Client {
        let mut command = programs::dying_with_test(programs::ours("daybreak-loadtest"));
        command.args(arguments(settings, args));
        Client::of(command)
    }

    /// They are a terminal, behind pipes.
    fn on_a_terminal(settings: &Path, args: &[&str]) -> Client {
        let program = programs::ours("daybreak-loadtest");
        let program = program.to_str().expect("a plain path").to_owned();
        let words: Vec<String> = std::iter::once(program)
            .chain(arguments(settings, args))
            .map(|word| format!("'{word}'"))
            .collect();
        let mut command = programs::dying_with_test(programs::system("script"));
        command.args([
            "--quiet",
            "--return",
            "--command",
            &words.join(" "),
            "/dev/null",
        ]);
        Client::of(command)
    }

    fn of(mut command: Command) -> Client {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut process = command.spawn().expect("the program is built");
        let keys = process.stdin.take().expect("piped");
        let screen = Arc::<Mutex<String>>::default();
        let (shown, output) = (screen.clone(), process.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                shown.lock().expect("no reader panics").push_str(&text);
                line.clear();
            }
        });
        Client {
            process,
            keys,
            screen,
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it reads keys");
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        let found = poll::try_until(PATIENCE, || self.screen().contains(text).then_some(()));
        assert!(found.is_some(), "no {text:?} on\n{}", self.screen());
    }

    fn screen(&self) -> String {
        self.screen.lock().expect("no reader panics").clone()
    }

    fn switch_off(mut self) {
        self.press("q");
        let ended = poll::try_until(PATIENCE, || self.process.try_wait().expect("own child"));
        assert!(ended.expect("it ends").success());
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn arguments(settings: &Path, args: &[&str]) -> Vec<String> {
    let settings = settings.to_str().expect("a plain path");
    let usual = ["client", "--file", "boot.txt,image", "--settings", settings];
    let patience = ["--timeout", "0.3", "--tries", "2", "--watch-seconds", "0.3"];
    let words = [&usual[..], &patience, args].concat();
    words.into_iter().map(str::to_owned).collect()
}

fn site() -> Site {
    let site = Site::new();
    site.import("boot.txt", b"this is what it reads\n");
    site.import("image", &content::octets(1, 300_000));
    site
}

/// Both servers on one port, as at a site.
fn pair(sites: &[Site; 2]) -> [Engine; 2] {
    let first = sites[0].engine_on(&format!("{}:0", SERVERS[0]), &[]);
    let port = first.address().port();
    [
        first,
        sites[1].engine_on(&format!("{}:{port}", SERVERS[1]), &[]),
    ]
}

#[test]
fn a_client_is_set_up_by_its_menu_keeps_it_moves_to_the_other_server_and_lives_without_both() {
    let sites = [site(), site()];
    let [first, second] = pair(&sites);
    let addresses = [first.address(), second.address()];
    let port = addresses[0].port().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("terminal.toml");

    let mut client = Client::start(&settings, &["--port", &port, "--menu-seconds", "60"]);
    client.press(" ");
    client.shows("(B) primary server    closed until (A) is set");
    client.press("b");
    client.shows("Set (A) first");
    client.press(&format!("a{TERMINAL}\rb{}\rc{}\r", SERVERS[0], SERVERS[1]));
    client.shows(&format!("(C) secondary server  {}", SERVERS[1]));
    client.press("s");
    client.shows("Saved to");
    client.shows("| this is what it reads");
    client.shows(&format!("image: 300000 octets from {}", addresses[0]));
    client.shows(&format!("served by {}.", addresses[0]));
    client.switch_off();

    // The next start uses what was kept; the first server is dead by then.
    first.kill();
    let mut client = Client::start(&settings, &["--port", &port, "--menu-seconds", "60"]);
    client.press("\n");
    client.shows(&format!("{} does not answer", addresses[0]));
    client.shows(&format!("served by {}; moved 1 time(s)", addresses[1]));
    client.shows(&format!("{} is silent.", addresses[0]));
    second.kill();
    client.shows(&format!("{} is silent.", addresses[1]));
    client.shows("No server answers: running from memory");
    assert!(client.screen().contains("2 file(s) intact"));
    assert!(
        client.process.try_wait().expect("own child").is_none(),
        "it runs on"
    );
    client.switch_off();
}

#[test]
fn a_client_with_dhcp_takes_the_servers_of_option_66_and_asks_until_one_answers() {
    let sites = [site(), site()];
    let [first, second] = pair(&sites);
    let address: SocketAddr = second.address();
    let port = address.port().to_string();
    first.kill();
    second.kill();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("terminal.toml");
    let option_66 = SERVERS.join(" ");
    let args = [
        "--port",
        &port,
        "--option-66",
        &option_66,
        "--menu-seconds",
        "0",
    ];
    let client = Client::start(&settings, &args);
    // Twice round the list.
    let asked = || client.screen().matches("does not answer").count();
    poll::until("two rounds", PATIENCE, || (asked() >= 4).then_some(()));
    let _second = sites[1].engine_on(&address.to_string(), &[]);
    client.shows(&format!("served by {address}; moved"));
    assert!(!settings.exists(), "nothing was set");
    client.switch_off();
}

#[test]
fn on_a_terminal_keys_need_no_enter_and_lines_begin_at_the_left() {
    let sites = [site(), site()];
    let [first, _second] = pair(&sites);
    let address = first.address();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("terminal.toml");
    let port = address.port().to_string();
    let args = ["--port", &port, "--menu-seconds", "60"];
    let mut client = Client::on_a_terminal(&settings, &args);
    client.shows("Press the space bar");
    client.press(" ");
    client.shows("(S) save and boot\r\n");
    // A slip of the finger, taken back.
    client.press(&format!("a{TERMINAL}9\u{7f}\r"));
    client.shows(&format!("(A) terminal address  {TERMINAL}\r\n"));
    client.press(&format!("c{}\rs", SERVERS[0]));
    client.shows(&format!("served by {address}.\r\n"));
    client.switch_off();
}
