//! A vendor's activation site: the real `daybreak-licence serve`, and browsers that are curl with a folder of cookies.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::programs;

/// How long the site may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The password of everybody here.
pub const PASSWORD: &str = "correct horse battery staple";

/// A site that serves.
#[derive(Debug)]
pub struct ActivationSite {
    process: Process,
    url: String,
}

impl ActivationSite {
    /// Serves the authority in `folder` on a free port of the loopback.
    #[must_use]
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let mut command = programs::dying_with_test(programs::ours("daybreak-licence"));
        command.arg("--dir").arg(folder);
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(args);
        let process = Process::start("daybreak-licence serve", command);
        let url = process.wait_for("its address", PATIENCE, |line| {
            line.strip_prefix("activation site: ").map(str::to_owned)
        });
        ActivationSite { process, url }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Somebody who was not here before.
    ///
    /// # Panics
    /// If no folder can be made.
    #[must_use]
    pub fn browser(&self) -> Browser {
        Browser {
            url: self.url.clone(),
            dir: tempfile::tempdir().expect("a folder"),
        }
    }
}

/// Somebody with a browser.
#[derive(Debug)]
pub struct Browser {
    url: String,
    dir: TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// The lines before the body.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Browser {
    /// Reads a page.
    #[must_use]
    pub fn get(&self, path: &str) -> Page {
        self.curl(path, &[])
    }

    /// Sends a form as it stands in the page at `on`, with what is hidden in it.
    #[must_use]
    pub fn send(&self, on: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.get(on).hidden("form");
        let token = [("form", token.as_deref().unwrap_or_default())];
        self.post(path, &[&token, fields].concat())
    }

    /// Sends exactly these fields.
    #[must_use]
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut args = vec!["--request", "POST", "--data", ""];
        for field in &fields {
            args.extend(["--data-urlencode", field]);
        }
        self.curl(path, &args)
    }

    /// Logs in.
    #[must_use]
    pub fn log_in(&self, name: &str, password: &str) -> Page {
        self.post("/log-in", &[("name", name), ("password", password)])
    }

    /// Chooses [`PASSWORD`] at the link of a new account, and is logged in.
    ///
    /// # Panics
    /// If the link is not taken.
    pub fn accept(&self, link: &str) {
        let (_, code) = link.trim().split_once("code=").expect("a link");
        let path = format!("/welcome?code={code}");
        assert_eq!(
            self.get(&path).expect(200).hidden("code").as_deref(),
            Some(code)
        );
        let chosen = [("code", code), ("password", PASSWORD), ("again", PASSWORD)];
        let _ = self.post("/welcome", &chosen).expect(303);
    }

    /// Downloads a file.
    ///
    /// # Panics
    /// If it is not one.
    #[must_use]
    pub fn download(&self, path: &str) -> PathBuf {
        let page = self.get(path).expect(200);
        let name = page.header("content-disposition").expect("a file");
        let name = name.split('"').nth(1).expect("its name");
        let file = self.dir.path().join(name);
        std::fs::write(&file, page.body).expect("own folder");
        file
    }

    /// Sends what curl makes of `args`.
    ///
    /// # Panics
    /// If curl is not installed.
    #[must_use]
    pub fn curl(&self, path: &str, args: &[&str]) -> Page {
        let jar = self.dir.path().join("cookies");
        let mut command = Command::new(programs::system("curl"));
        command.args(["--silent", "--include", "--insecure", "--max-time", "30"]);
        command.args(["--path-as-is", "--header", "Expect:"]);
        command
            .arg("--cookie")
            .arg(&jar)
            .arg("--cookie-jar")
            .arg(&jar);
        let output = command
            .args(args)
            .arg(format!("{}{path}", self.url))
            .output();
        let text = String::from_utf8(output.expect("curl").stdout).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|digits| digits.parse().ok());
        Page {
            status: status.expect("a status"),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}

impl Page {
    /// Fails unless the status is this one.
    ///
    /// # Panics
    /// If it is another one.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }

    /// Fails unless all of these texts are in it.
    ///
    /// # Panics
    /// If one is not.
    #[allow(clippy::must_use_candidate, reason = "often the check is all")]
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.body.contains(text), "no {text:?} in:\n{}", self.body);
        }
        self
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// What is hidden in the last form of the page under this name.
    #[must_use]
    pub fn hidden(&self, name: &str) -> Option<String> {
        let mark = format!("type=\"hidden\" name=\"{name}\" value=\"");
        let (_, rest) = self.body.rsplit_once(&mark)?;
        Some(rest.split('"').next()?.to_owned())
    }
}
