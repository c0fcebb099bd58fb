//! A site of 10,000 terminals, with the real programs: how long from a change that is committed to what a client gets over
//! TFTP, and how long reading takes over HTTP. Not by criterion: what is measured crosses two processes and a disk.
//!
//! `cargo build --release --bins && cargo bench -p daybreak-bench --bench site` prints a table. It fails at what the project has
//! promised: 2 s for all terminals, 100 ms for one and for a file that the command line imports, 5 ms for the 99th percentile
//! of a read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daybreak_admin::configuration::{Actor, Configuration, Edit};
use daybreak_admin::edge::Machine;
use daybreak_admin::kind::{Body, Kind};
use daybreak_admin::licensing::{Count, Entitlement};
use daybreak_admin::object::Id;
use daybreak_admin::security::{Gate, Right};
use daybreak_tests::raw::RawClient;
use daybreak_tests::site::Site;
use daybreak_tests::vendor::Vendor;
use serde_json::{Value, json};

const TERMINALS: u32 = 10_000;
const ROUNDS_ALL: u32 = 5;
const ROUNDS_ONE: u32 = 50;
const READS: u32 = 2_000;

const ALL_MAX: Duration = Duration::from_secs(2);
const ONE_MAX: Duration = Duration::from_millis(100);
const READ_P99_MAX: Duration = Duration::from_millis(5);

fn main() {
    println!(
        "the command line                                          median       p99      most"
    );
    let imported = row("a file imported, end of the command to served", imports());
    assert!(imported.most < ONE_MAX, "an import: {:?}", imported.most);

    let site = Site::new();
    let seeded = Seeded::new(&site);
    let administration = site.administration(&["--log", "warn"]);
    let api = administration.with_key(&seeded.key);
    Vendor::license(&site, &api, "none", TERMINALS);
    let address = administration
        .url()
        .strip_prefix("http://")
        .expect("plain HTTP");
    let mut http = Http::new(address.parse().expect("an address"), &seeded.key);
    http.wait_until_published();
    let engine = site.engine(&[]);

    println!(
        "{TERMINALS} terminals                                          median       p99      most"
    );
    let all = (0..ROUNDS_ALL).map(|round| seeded.change_all(&mut http, engine.address(), round));
    let most = row("all terminals changed, commit to served", all.collect());
    assert!(most.most < ALL_MAX, "all terminals: {:?}", most.most);
    let one = (0..ROUNDS_ONE).map(|round| seeded.change_one(&mut http, engine.address(), round));
    let most = row("one terminal changed, commit to served", one.collect());
    assert!(most.most < ONE_MAX, "one terminal: {:?}", most.most);

    let number = |round: u32| (round.wrapping_mul(7919) % TERMINALS) as usize;
    let reads: [(&str, &dyn Fn(u32) -> String); 5] = [
        ("read one terminal", &|round| {
            format!("terminals/{}", seeded.terminals[number(round)])
        }),
        ("read its effective settings", &|round| {
            format!("terminals/{}/effective", seeded.terminals[number(round)])
        }),
        ("list 50, from anywhere", &|round| {
            format!(
                "terminals?limit=50&after={}.t{}",
                seeded.terminals[number(round)],
                number(round)
            )
        }),
        ("find by a part of the name", &|round| {
            format!("terminals?name=t{}", number(round))
        }),
        ("read the audit", &|_| "audit?limit=50".into()),
    ];
    for (what, path) in reads {
        let times = (0..READS).map(|round| http.read(&path(round)));
        let found = row(what, times.collect());
        assert!(found.p99 < READ_P99_MAX, "{what}: {:?}", found.p99);
    }
}

/// How long a file that was imported while the engine runs takes to be served, in each of some rounds.
fn imports() -> Vec<Duration> {
    let site = Site::new();
    site.import("image", b"first");
    let engine = site.engine(&[]);
    let round = |round: u32| {
        let content = round.to_be_bytes();
        site.import("image", &content);
        let ended = Instant::now();
        while RawClient::new(engine.address()).hold("image").finish() != content {
            assert!(ended.elapsed() < Duration::from_secs(30), "never served");
        }
        ended.elapsed()
    };
    (1..=ROUNDS_ONE).map(round).collect()
}

struct Figures {
    p99: Duration,
    most: Duration,
}

fn row(what: &str, mut times: Vec<Duration>) -> Figures {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    let most = *times.last().expect("some were measured");
    println!(
        "{what:50} {:>10} {:>9} {:>9}",
        ms(at(50)),
        ms(at(99)),
        ms(most)
    );
    Figures { p99: at(99), most }
}

/// What the site has.
struct Seeded {
    group: Id,
    terminals: Vec<Id>,
    key: String,
}

impl Seeded {
    fn new(site: &Site) -> Seeded {
        let machine = Arc::new(Machine);
        let configuration =
            Configuration::open(&site.data().join("config.db"), machine.clone(), machine);
        let configuration = Arc::new(configuration.expect("a database"));
        // What the licence will allow that is installed before the administration starts.
        let seats = Count::Of(TERMINALS.into());
        configuration.entitle(Entitlement {
            seats,
            ..Entitlement::default()
        });
        let create = |kind: Kind, items: &[Value]| -> Vec<Id> {
            let edits = items
                .iter()
                .map(|json| Edit::Create(Body::parse_request(kind, json).expect("valid")));
            let made = configuration
                .apply(&Actor::machine("bench"), edits.collect())
                .expect("made");
            made.into_iter()
                .map(|object| object.expect("made").id.clone())
                .collect()
        };
        let boot = json!([{"architecture": "x86-64-uefi", "kernel": "vmlinuz", "initrds": ["initrd"], "arguments": "quiet"}]);
        let package =
            json!({"name": "linux", "active": "1", "versions": [{"version": "1", "boot": boot}]});
        let package = create(Kind::FirmwarePackage, &[package]).remove(0);
        let server = json!({"name": "ts", "address": "ts.example", "protocol": "rdp"});
        let server = create(Kind::TerminalServer, &[server]).remove(0);
        let servers = [("east", "192.0.2.10"), ("west", "192.0.2.11")];
        create(
            Kind::BootServer,
            &servers.map(|(name, address)| json!({"name": name, "address": address})),
        );
        let settings = json!({"firmware": {"package": package}, "terminal_servers": [server]});
        let group = create(
            Kind::TerminalGroup,
            &[json!({"name": "all", "settings": settings})],
        )
        .remove(0);
        let terminal = |number: u32| json!({"name": format!("t{number}"), "macs": [mac(number)], "group": group});
        let terminals: Vec<Value> = (0..TERMINALS).map(terminal).collect();
        let terminals = create(Kind::Terminal, &terminals);
        let rights: Vec<Right> = Right::ALL.into_iter().collect();
        let key = Body::parse_request(Kind::ApiKey, &json!({"name": "bench", "rights": rights}))
            .expect("valid");
        let (gate, _) = Gate::open(Arc::clone(&configuration)).expect("a gate");
        let (_, secret) = gate
            .issue_key(&Actor::machine("bench"), key)
            .expect("a key");
        Seeded {
            group,
            terminals,
            key: secret.reveal().to_owned(),
        }
    }

    /// Changes what every terminal inherits; until the first, the last and one between have it.
    fn change_all(&self, http: &mut Http, engine: SocketAddr, round: u32) -> Duration {
        let width = 800 + round;
        let display = json!({"settings": {"display": {"width_px": width, "height_px": 600}}});
        http.patch(&format!("terminal-groups/{}", self.group), &display);
        let committed = Instant::now();
        let text = format!("\"width_px\":{width}");
        for number in [0, TERMINALS / 2, TERMINALS - 1] {
            wait_until_served(engine, number, &text);
        }
        committed.elapsed()
    }

    fn change_one(&self, http: &mut Http, engine: SocketAddr, round: u32) -> Duration {
        let number = round * 199 % TERMINALS;
        let width = 1600 + round;
        let display = json!({"settings": {"display": {"width_px": width, "height_px": 600}}});
        http.patch(
            &format!("terminals/{}", self.terminals[number as usize]),
            &display,
        );
        let committed = Instant::now();
        wait_until_served(engine, number, &format!("\"width_px\":{width}"));
        committed.elapsed()
    }
}

fn mac(number: u32) -> String {
    let [a, b, c, d] = number.to_be_bytes();
    format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

fn wait_until_served(engine: SocketAddr, number: u32, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let name = format!("terminals/{}.json", mac(number));
    loop {
        let content = RawClient::new(engine).hold(&name).finish();
        let content: String = String::from_utf8_lossy(&content)
            .split_whitespace()
            .collect();
        if content.contains(text) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{name} never has {text}: {content}"
        );
    }
}

/// One connection that is kept.
struct Http {
    stream: BufReader<TcpStream>,
    key: String,
}

impl Http {
    fn new(address: SocketAddr, key: &str) -> Http {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_nodelay(true).expect("set");
        Http {
            stream: BufReader::new(stream),
            key: key.to_owned(),
        }
    }

    fn read(&mut self, path: &str) -> Duration {
        let started = Instant::now();
        let (status, body) = self.ask("GET", path, "");
        let took = started.elapsed();
        assert_eq!(status, 200, "{path}: {body}");
        took
    }

    fn patch(&mut self, path: &str, json: &Value) {
        let (status, body) = self.ask("PATCH", path, &json.to_string());
        assert_eq!(status, 200, "{path}: {body}");
    }

    fn wait_until_published(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (_, body) = self.ask("GET", "publication", "");
            let publication: Value = serde_json::from_str(&body).expect("JSON");
            if publication["change"] == publication["published_change"] {
                return;
            }
            assert!(Instant::now() < deadline, "{publication}");
        }
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        let head = format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nIf-Match: *\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.stream
            .get_mut()
            .write_all(head.as_bytes())
            .expect("sent");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("an answer");
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("a head");
            let Some((name, value)) = line.trim().split_once(": ") else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().expect("a length");
            }
        }
        let mut content = vec![0; length];
        self.stream.read_exact(&mut content).expect("a body");
        (status, String::from_utf8(content).expect("UTF-8"))
    }
}
