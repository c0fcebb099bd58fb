//! `daybreak-admin serve` as it runs at a site, and a client of its API: curl, as an operator's script uses it.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::host::Host;
use crate::poll;
use crate::process::Process;
use crate::programs;

/// How long it may take from its start to its address.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// How long one request may take, in seconds.
const REQUEST_PATIENCE_S: &str = "60";

/// The password of every user that is made here.
pub const PASSWORD: &str = "correct horse battery";

/// A running administration.
#[derive(Debug)]
pub struct Administration {
    process: Process,
    url: String,
    host: Option<Arc<Host>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status of HTTP; 0, if there was no answer.
    pub status: u16,
    /// What was answered.
    pub body: String,
}

impl Administration {
    /// One that was just started: waits for its address.
    #[must_use]
    pub(crate) fn of(process: Process, host: Option<Arc<Host>>) -> Administration {
        let url = process.wait_for("its address", READY_PATIENCE, |line| {
            line.strip_prefix("administration: ").map(str::to_owned)
        });
        Administration { process, url, host }
    }

    /// Where it answers, as in `http://127.0.0.1:8069`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Kills it (SIGKILL).
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub fn terminate(mut self, within: Duration) -> ExitStatus {
        self.process.terminate();
        self.process.wait_for_exit(within)
    }

    /// The set-up link of a site without an administrator.
    ///
    /// # Panics
    /// If it prints none.
    #[must_use]
    pub fn set_up_link(&self) -> String {
        self.process
            .wait_for("the set-up link", READY_PATIENCE, |line| {
                Some(line.split_once("once: ")?.1.to_owned())
            })
    }

    /// Sets the site up, as its first user would, and gives an API key with every right.
    ///
    /// # Panics
    /// If it was set up before.
    #[must_use]
    pub fn set_up(&self) -> Api<'_> {
        let link = self.set_up_link();
        let token = link.split_once('#').expect("a secret").1;
        let anybody = self.anybody();
        let admin = json!({"token": token, "name": "admin", "password": PASSWORD});
        anybody.send("POST", "/api/v1/setup", &admin).expect(204);
        // A session makes the key, as the console would.
        let log_in = json!({"name": "admin", "password": PASSWORD});
        let answer = anybody
            .curl(
                "POST",
                "/api/v1/session",
                &["--include", "--json", &log_in.to_string()],
            )
            .expect(204);
        let cookie = answer
            .body
            .lines()
            .find(|line| line.to_lowercase().starts_with("set-cookie: "))
            .and_then(|line| line[12..].split(';').next())
            .expect("a cookie");
        let session = Api {
            headers: vec![format!("Cookie: {cookie}"), "X-Daybreak-Request: 1".into()],
            ..anybody
        };
        let rights = session.get("/api/v1/session").expect(200).json()["rights"].clone();
        let key = json!({"name": "script", "rights": rights});
        let made = session.send("POST", "/api/v1/api-keys", &key).expect(201);
        self.with_key(made.json()["secret"].as_str().expect("a secret"))
    }

    /// A client without credentials.
    #[must_use]
    pub fn anybody(&self) -> Api<'_> {
        Api {
            url: &self.url,
            host: self.host.as_deref(),
            headers: Vec::new(),
        }
    }

    /// A client with an API key.
    #[must_use]
    pub fn with_key(&self, secret: &str) -> Api<'_> {
        Api {
            headers: vec![format!("Authorization: Bearer {secret}")],
            ..self.anybody()
        }
    }
}

/// Somebody who sends requests.
#[derive(Clone, Debug)]
pub struct Api<'a> {
    url: &'a str,
    host: Option<&'a Host>,
    headers: Vec<String>,
}

impl<'a> Api<'a> {
    /// A client of whatever answers there, with an API key; inside a namespace, if there is one.
    #[must_use]
    pub fn at(url: &'a str, key: &str, host: Option<&'a Host>) -> Self {
        Api {
            url,
            host,
            headers: vec![format!("Authorization: Bearer {key}")],
        }
    }
}

impl Api<'_> {
    /// The API key that it sends.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|header| header.strip_prefix("Authorization: Bearer "))
    }

    /// Reads.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.curl("GET", path, &[])
    }

    /// Sends a JSON document; whatever state it is for.
    #[must_use]
    pub fn send(&self, method: &str, path: &str, json: &Value) -> Answer {
        let json = json.to_string();
        self.curl(method, path, &["--json", &json, "--header", "If-Match: *"])
    }

    /// Deletes, whatever state it is in.
    #[must_use]
    pub fn delete(&self, path: &str) -> Answer {
        self.curl("DELETE", path, &["--header", "If-Match: *"])
    }

    /// Creates an object and gives its identifier.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn create(&self, path: &str, json: &Value) -> String {
        let made = self.send("POST", path, json).expect(201).json();
        made["id"].as_str().expect("an identifier").to_owned()
    }

    /// Waits until everything that is configured is published.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_published(&self) {
        poll::until("publication", READY_PATIENCE, || {
            let publication = self.get("/api/v1/publication").expect(200).json();
            (publication["change"] == publication["published_change"]).then_some(())
        });
    }

    /// Sends what curl makes of `args`.
    ///
    /// # Panics
    /// If curl is not installed.
    #[must_use]
    pub fn curl(&self, method: &str, path: &str, args: &[&str]) -> Answer {
        let mut command = match self.host {
            Some(host) => host.command(programs::system("curl")),
            None => programs::dying_with_test(programs::system("curl")),
        };
        command.args([
            "--silent",
            "--max-time",
            REQUEST_PATIENCE_S,
            "--request",
            method,
        ]);
        command.args(["--write-out", "\n%{http_code}"]).args(args);
        for header in &self.headers {
            command.args(["--header", header]);
        }
        let output = command.arg(format!("{}{path}", self.url)).output();
        let text = String::from_utf8_lossy(&output.expect("curl").stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').expect("what curl was told to write");
        Answer {
            status: status.parse().expect("a status"),
            body: body.to_owned(),
        }
    }
}

impl Answer {
    /// Fails unless the status is this one.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "often the check is all")]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// The document.
    ///
    /// # Panics
    /// If it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}
