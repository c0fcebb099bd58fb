//! Boot servers as they stand in pairs: each its administration and its engine, and what operators do with them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::administration::{Administration, Api};
use crate::client::{Client, Fetch};
use crate::clock::MovedClock;
use crate::host::Host;
use crate::poll;
use crate::site::{Engine, Site};
use crate::vendor::Vendor;

/// How long anything of a pair may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// As many as no test of a pair has.
const TERMINALS: u32 = 100_000;

/// Where a server answers: terminals, operators and the other server.
#[derive(Clone, Copy)]
struct Addresses {
    tftp: SocketAddr,
    http: SocketAddr,
    peer: SocketAddr,
}

impl Addresses {
    /// On the loopback, where nobody is.
    fn free() -> Self {
        Addresses {
            tftp: "127.0.0.1:0".parse().expect("an address"),
            http: free_port(),
            peer: free_port(),
        }
    }
}

/// How an operator's script reaches a server, whether it runs or not.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where its administration answers.
    pub url: String,
    /// The API key.
    pub key: String,
    host: Option<Arc<Host>>,
}

impl Door {
    /// A client with every right.
    #[must_use]
    pub fn api(&self) -> Api<'_> {
        Api::at(&self.url, &self.key, self.host.as_deref())
    }
}

/// A server whose programs can be ended and started again, under the same addresses.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    site: Site,
    tftp: SocketAddr,
    http: SocketAddr,
    peer: SocketAddr,
    /// What its engine is told besides.
    engine_args: &'static [&'static str],
    engine: Option<Engine>,
    administration: Option<Administration>,
    key: String,
}

impl Server {
    /// One that was set up, with a file of its own, and with a licence of its own to be one of two, so that a test is not about
    /// licences.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Server::with_engine(name, &[])
    }

    /// The same, with these arguments of its engine.
    #[must_use]
    pub fn with_engine(name: &'static str, engine_args: &'static [&'static str]) -> Self {
        Server::set_up(name, Site::new(), Addresses::free(), engine_args, None).licensed()
    }

    /// The same, inside a network of its own, where clients reach it at one address and the other server at another.
    #[must_use]
    pub fn inside(name: &'static str, host: &Arc<Host>, clients: IpAddr, link: IpAddr) -> Self {
        let addresses = Addresses {
            tftp: SocketAddr::new(clients, 6969),
            http: "127.0.0.1:8069".parse().expect("an address"),
            peer: SocketAddr::new(link, 8070),
        };
        Server::set_up(name, Site::inside(host), addresses, &[], None).licensed()
    }

    /// The same, where firmware looks for it: on the port of TFTP, and offering itself on `eth0` by ProxyDHCP.
    #[must_use]
    pub fn offering(name: &'static str, host: &Arc<Host>, address: Ipv4Addr) -> Self {
        let addresses = Addresses {
            tftp: SocketAddr::new(address.into(), 69),
            http: "127.0.0.1:8069".parse().expect("an address"),
            peer: SocketAddr::new(address.into(), 8070),
        };
        let engine_args = &["--proxy-dhcp", "eth0"];
        Server::set_up(name, Site::inside(host), addresses, engine_args, None).licensed()
    }

    /// One without a licence.
    #[must_use]
    pub fn unlicensed(name: &'static str) -> Self {
        Server::set_up(name, Site::new(), Addresses::free(), &[], None)
    }

    /// The same, whose administration goes by a clock that the test moves.
    #[must_use]
    pub fn unlicensed_by(clock: &MovedClock, name: &'static str) -> Self {
        Server::set_up(name, Site::new(), Addresses::free(), &[], Some(clock))
    }

    fn set_up(
        name: &'static str,
        site: Site,
        addresses: Addresses,
        engine_args: &'static [&'static str],
        clock: Option<&MovedClock>,
    ) -> Self {
        site.import(&format!("only-on-{name}"), name.as_bytes());
        let Addresses { tftp, http, peer } = addresses;
        let mut server = Server {
            name,
            site,
            tftp,
            http,
            peer,
            engine_args,
            engine: None,
            administration: None,
            key: String::new(),
        };
        server.start_engine();
        match clock {
            Some(clock) => server.start_by(clock),
            None => server.start(),
        }
        let api = server.administration().set_up();
        server.key = api.key().expect("a key").to_owned();
        server
    }

    /// With a licence of its own to be one of two.
    fn licensed(self) -> Self {
        Vendor::license(&self.site, &self.api(), "full", TERMINALS);
        self
    }

    /// Starts the engine.
    pub fn start_engine(&mut self) {
        let address = self.tftp.to_string();
        let engine = self.site.engine_on(&address, self.engine_args);
        self.tftp = engine.address();
        self.engine = Some(engine);
    }

    /// Kills the engine (SIGKILL).
    pub fn kill_engine(&mut self) {
        self.engine.take().expect("it runs").kill();
    }

    /// The running engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("it runs")
    }

    /// Starts the administration.
    pub fn start(&mut self) {
        let (http, peer) = (self.http.to_string(), self.peer.to_string());
        let args = ["--peer-listen", &peer, "--name", self.name];
        self.administration = Some(self.site.administration_on(&http, &args));
    }

    /// Starts it with a clock that the test moves.
    pub fn start_by(&mut self, clock: &MovedClock) {
        let (http, peer) = (self.http.to_string(), self.peer.to_string());
        let args = ["--peer-listen", &peer, "--name", self.name];
        self.administration = Some(self.site.administration_by(clock, &http, &args));
    }

    /// Kills the administration (SIGKILL).
    pub fn kill(&mut self) {
        self.administration.take().expect("it runs").kill();
    }

    /// Ends the administration in order.
    pub fn stop(&mut self) {
        let administration = self.administration.take().expect("it runs");
        assert!(administration.terminate(PATIENCE).success());
    }

    /// The running administration.
    #[must_use]
    pub fn administration(&self) -> &Administration {
        self.administration.as_ref().expect("it runs")
    }

    /// Its data directory, and what else belongs to its place.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Where its engine answers.
    #[must_use]
    pub fn tftp(&self) -> SocketAddr {
        self.tftp
    }

    /// Where it listens for the other server.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How to reach its administration, also later.
    #[must_use]
    pub fn door(&self) -> Door {
        Door {
            url: format!("http://{}", self.http),
            key: self.key.clone(),
            host: self.site.shared_host(),
        }
    }

    /// It was made the same as another server, accounts too.
    pub fn take_key_of(&mut self, other: &Server) {
        self.key.clone_from(&other.key);
    }

    /// A client with every right.
    #[must_use]
    pub fn api(&self) -> Api<'_> {
        self.administration().with_key(&self.key)
    }

    /// What its licences allow.
    #[must_use]
    pub fn licensing(&self) -> Value {
        self.api().get("/api/v1/licensing").expect(200).json()
    }

    /// Its Installation ID.
    #[must_use]
    pub fn installation(&self) -> String {
        let id = &self.licensing()["servers"][0]["installation"];
        id.as_str().expect("an identifier").to_owned()
    }

    /// Waits until its licences allow this.
    pub fn wait_for_redundancy(&self, mode: &str) {
        poll::until(&format!("{} is {mode}", self.name), PATIENCE, || {
            (self.licensing()["mode"] == mode).then_some(())
        });
    }

    /// How the pair stands.
    #[must_use]
    pub fn status(&self) -> Value {
        self.api().get("/api/v1/sync/status").expect(200).json()
    }

    /// Waits until the pair is in this state.
    pub fn wait_for_state(&self, state: &str) {
        let what = format!("{} is {state}", self.name);
        poll::until(&what, PATIENCE, || {
            let status = self.status();
            (status["state"] == state).then_some(()).or_else(|| {
                assert_ne!(status["state"], "error", "{status}");
                None
            })
        });
    }

    /// Waits until the engine serves this under this name.
    pub fn wait_until_served(&self, name: &str, content: &[u8]) {
        self.wait_until_served_one_of(name, &[content]);
    }

    /// Waits until the engine serves one of these under this name.
    pub fn wait_until_served_one_of<C: AsRef<[u8]>>(&self, name: &str, contents: &[C]) {
        poll::until(&format!("{name} on {}", self.name), PATIENCE, || {
            let fetch = Fetch::new(Client::Curl, self.tftp);
            let fetch = self.site.host().map_or(fetch, |host| fetch.inside(host));
            fetch
                .run(name)
                .content
                .filter(|served| contents.iter().any(|one| one.as_ref() == served))
                .map(drop)
        });
    }

    /// What a terminal says; nothing, if there is none.
    #[must_use]
    pub fn terminal(&self, id: &str) -> Option<Value> {
        let answer = self.api().get(&format!("/api/v1/terminals/{id}"));
        (answer.status == 200).then(|| answer.json()["body"].clone())
    }

    /// Switches automatic synchronization of this server and `other` off, or on again. Each hears nothing of the other while it is off.
    pub fn switch_synchronization(&self, other: &Server, enabled: bool) {
        let setting = "/api/v1/settings/synchronization";
        let value = json!({"key": "synchronization", "value": {"enabled": enabled}});
        // Switched off on one, it is so on both.
        let asked = [self, other].into_iter().take(if enabled { 2 } else { 1 });
        for server in asked {
            let answer = server.api().send("PUT", setting, &value);
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        }
        for server in [self, other].into_iter().filter(|_| !enabled) {
            server.wait_for_state("disabled");
        }
    }

    /// Uploads a file.
    pub fn upload(&self, name: &str, content: &[u8]) {
        let file = self.site.source(name, content);
        let path = format!("/api/v1/files/{name}");
        let file = file.to_str().expect("a plain path");
        let answer = self.api().curl("PUT", &path, &["--upload-file", file]);
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }
}

/// A port that nobody uses now, and that the system gives to nobody who asks for any: a server that is killed finds it free
/// again at its next start.
#[must_use]
pub fn free_port() -> SocketAddr {
    /// Below those of `net.ipv4.ip_local_port_range`.
    const PORTS: Range<u32> = 12_000..32_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Test programs run beside each other, so each begins at another place.
    let start = std::process::id().wrapping_mul(61);
    let count = PORTS.end - PORTS.start;
    let mut free = (0..count).filter_map(|_| {
        let at = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % count;
        let port = u16::try_from(PORTS.start + at).ok()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpListener::bind(address).ok().map(|_| address)
    });
    free.next().expect("a port")
}

/// Shows a code on one and gives it to the other.
#[must_use]
pub fn pair(shows: &Server, joins: &Server) -> Value {
    let code = shows
        .api()
        .send("POST", "/api/v1/sync/pairing/code", &json!({}));
    let code = code.expect(201).json();
    let address = format!("{}:{}", shows.peer.ip(), code["port"]);
    let join = json!({"address": address, "code": code["code"]});
    let joined = joins.api().send("POST", "/api/v1/sync/pairing", &join);
    let joined = joined.expect(201).json();
    assert_eq!(joined["fingerprint"], code["fingerprint"]);
    joined
}

/// A terminal with the card of this number.
#[must_use]
pub fn terminal(name: &str, number: u32) -> Value {
    let [_, a, b, c] = number.to_be_bytes();
    json!({"name": name, "macs": [format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")]})
}
