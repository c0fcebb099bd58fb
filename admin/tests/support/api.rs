//! The real application on a port of its own, and a client that says exactly what goes over the wire.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use daybreak_admin::configuration::Configuration;
use daybreak_admin::edge::{Clock, Machine};
use daybreak_admin::http::{Application, Listening, Settings, Transport};
use serde_json::{Value, json};

use super::{HandClock, until};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// A body that was sent in chunks.
    pub(crate) fn chunks(&self) -> Vec<u8> {
        let mut rest = &self.body[..];
        let mut whole = Vec::new();
        loop {
            let end = rest
                .windows(2)
                .position(|two| two == b"\r\n")
                .expect("a length");
            let length = core::str::from_utf8(&rest[..end]).expect("digits");
            let length = usize::from_str_radix(length, 16).expect("digits");
            if length == 0 {
                return whole;
            }
            whole.extend_from_slice(&rest[end + 2..end + 2 + length]);
            rest = &rest[end + 2 + length + 2..];
        }
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails unless the status is this one.
    pub(crate) fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        assert_eq!(self.status, status, "{text}");
        self
    }
}

/// The application in a thread, ended when this goes.
pub(crate) struct Server {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) address: SocketAddr,
    pub(crate) set_up_link: Option<String>,
    // Not held: a restart opens it again.
    configuration: Weak<Configuration>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A new site that was set up: there is an administrator `admin` with [`PASSWORD`].
    pub(crate) fn set_up() -> Self {
        let server = Server::new();
        server.make_admin();
        server
    }

    /// Makes the administrator `admin` with [`PASSWORD`]; gives the secret of the set-up link.
    pub(crate) fn make_admin(&self) -> String {
        let token = self.token();
        let json = json!({"token": token, "name": "admin", "password": PASSWORD});
        self.anybody()
            .send("POST", "/api/v1/setup", &json)
            .expect(204);
        token
    }

    pub(crate) fn new() -> Self {
        let clock = Arc::new(HandClock::at(1_700_000_000_000));
        Server::start(tempfile::tempdir().expect("tempdir"), clock)
    }

    fn start(dir: tempfile::TempDir, clock: Arc<HandClock>) -> Self {
        let settings = Settings {
            data: dir.path().join("data"),
            listening: Listening {
                addresses: vec!["127.0.0.1:0".parse().expect("an address")],
                transport: Transport::Plain,
                hosts: vec!["plant.example".into()],
                workers: 1,
            },
            machine_id: dir.path().join("machine-id"),
            engine: "127.0.0.1:1".parse().expect("an address"),
            peer: "127.0.0.1:0".parse().expect("an address"),
            name: "test".into(),
            zone: Arc::new(|| jiff::tz::TimeZone::UTC),
        };
        let (told, started) = mpsc::channel();
        let time: Arc<dyn Clock> = Arc::<HandClock>::clone(&clock);
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let application =
                    Application::build(&settings, time, Arc::new(Machine)).expect("built");
                let link = application.set_up_link();
                let address = application.addresses()[0];
                let configuration = Arc::downgrade(&application.configuration());
                let server = application.into_server();
                told.send((address, link, configuration, server.handle()))
                    .expect("somebody waits");
                server.await.expect("served");
            });
        });
        let (address, set_up_link, configuration, handle) = started.recv().expect("started");
        Server {
            dir,
            clock,
            address,
            set_up_link,
            configuration,
            handle,
            thread: Some(thread),
        }
    }

    /// The same site after a restart.
    pub(crate) fn restarted(self) -> Self {
        self.restarted_after(|_| {})
    }

    /// The same, with something done in between.
    pub(crate) fn restarted_after(mut self, between: impl FnOnce(&std::path::Path)) -> Self {
        self.stop();
        between(self.dir.path());
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().expect("tempdir"));
        Server::start(dir, Arc::clone(&self.clock))
    }

    fn stop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("ended well");
        }
    }

    /// What it changes.
    pub(crate) fn configuration(&self) -> Arc<Configuration> {
        self.configuration.upgrade().expect("it runs")
    }

    pub(crate) fn token(&self) -> String {
        let link = self.set_up_link.as_deref().expect("a set-up link");
        link.split_once('#').expect("a secret").1.to_owned()
    }

    pub(crate) fn anybody(&self) -> Client<'_> {
        Client {
            server: self,
            headers: Vec::new(),
        }
    }

    /// Somebody with an API key.
    pub(crate) fn with_key(&self, secret: &str) -> Client<'_> {
        let headers = vec![("Authorization".into(), format!("Bearer {secret}"))];
        Client {
            server: self,
            headers,
        }
    }

    /// A user who has logged in.
    pub(crate) fn logged_in(&self, name: &str, password: &str) -> Client<'_> {
        let json = json!({"name": name, "password": password});
        let answer = self
            .anybody()
            .send("POST", "/api/v1/session", &json)
            .expect(204);
        let cookie = answer
            .header("set-cookie")
            .expect("a cookie")
            .split(';')
            .next()
            .expect("a pair")
            .to_owned();
        let headers = vec![
            ("Cookie".into(), cookie),
            ("X-Daybreak-Request".into(), "1".into()),
        ];
        Client {
            server: self,
            headers,
        }
    }

    pub(crate) fn admin(&self) -> Client<'_> {
        self.logged_in("admin", PASSWORD)
    }

    /// Waits until everything that is configured is published.
    pub(crate) fn published(&self, client: &Client<'_>) -> Value {
        until("publication", || {
            let publication = client.get("/api/v1/publication").expect(200).json();
            (publication["change"] == publication["published_change"]).then_some(publication)
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Somebody who sends requests.
#[derive(Clone)]
pub(crate) struct Client<'s> {
    pub(crate) server: &'s Server,
    pub(crate) headers: Vec<(String, String)>,
}

impl Client<'_> {
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, &[], b"")
    }

    pub(crate) fn send(&self, method: &str, path: &str, json: &Value) -> Answer {
        self.raw(
            method,
            path,
            &[("Content-Type", "application/json")],
            json.to_string().as_bytes(),
        )
    }

    pub(crate) fn send_if(&self, method: &str, path: &str, tag: &str, json: &Value) -> Answer {
        let headers = [("Content-Type", "application/json"), ("If-Match", tag)];
        self.raw(method, path, &headers, json.to_string().as_bytes())
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.raw("DELETE", path, &[("If-Match", "*")], b"")
    }

    /// Creates an object and gives its identifier.
    pub(crate) fn create(&self, path: &str, json: &Value) -> String {
        let answer = self.send("POST", path, json).expect(201);
        answer.json()["id"]
            .as_str()
            .expect("an identifier")
            .to_owned()
    }

    pub(crate) fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.octets(&[head.as_bytes(), b"\r\n", body].concat())
    }

    /// Sends exactly this, and reads until the other side closes.
    pub(crate) fn octets(&self, octets: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.server.address).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        // A server that refuses early closes before it has read all.
        let _ = stream.write_all(octets);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(&answer)));
        let head = String::from_utf8(answer[..end].to_vec()).expect("UTF-8");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        Answer {
            status,
            head,
            body: answer[end + 4..].to_vec(),
        }
    }
}
