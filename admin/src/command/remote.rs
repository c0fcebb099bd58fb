//! A running administration, reached by its API.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::crypto::ring;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::progress::Bar;
use crate::bulk::{Format, Wanted};
use crate::http::ReportView;
use crate::limits::{ANSWER_BYTES_MAX, REMOTE_CONNECT_WAIT};

/// Where it is, and who we are there.
pub(super) struct Remote {
    agent: Agent,
    url: String,
    key: String,
}

/// An error, as the administration says it.
#[derive(Deserialize)]
struct Refusal {
    message: String,
    hint: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.hint)
    }
}

/// A line of an import's progress.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Progress { rows: usize, of: usize },
    Report(ReportView),
    Error(Refusal),
}

impl Remote {
    /// The administration at `url`, with the key in the environment.
    pub(super) fn new(url: &str, data: &Path, ca: Option<&Path>) -> Result<Self> {
        let key = std::env::var("DAYBREAK_API_KEY");
        let key =
            key.context("--server needs an API key in the environment variable DAYBREAK_API_KEY")?;
        let own = data.join("keys/admin.crt");
        let ca = ca
            .map(PathBuf::from)
            .or_else(|| own.exists().then_some(own));
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
        if let Some(ca) = ca {
            let pem = fs::read(&ca).with_context(|| format!("cannot read {}", ca.display()))?;
            let certificate = Certificate::from_pem(&pem)
                .with_context(|| format!("{} is not a certificate in PEM", ca.display()))?;
            tls = tls.root_certs(RootCerts::from([certificate]));
        } else if url.starts_with("https:") {
            bail!("https needs the certificate that signed the administration's own: give --ca");
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .timeout_connect(Some(REMOTE_CONNECT_WAIT))
            .max_redirects(0)
            .build();
        Ok(Remote {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            key: format!("Bearer {key}"),
        })
    }

    /// All terminals, as a file.
    pub(super) fn export(&self, format: Format) -> Result<Vec<u8>> {
        let format = match format {
            Format::Csv => "csv",
            Format::Json => "json",
        };
        let url = format!("{}/api/v1/terminals/export?format={format}", self.url);
        let request = self.agent.get(&url).header("Authorization", &self.key);
        let mut answer = self.reached(request.call())?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        body.read_to_vec().context("the answer broke off")
    }

    /// A document.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        let request = self.agent.get(&url).header("Authorization", &self.key);
        let mut answer = self.reached(request.call())?;
        parsed(
            &answer
                .body_mut()
                .read_to_string()
                .context("the answer broke off")?,
        )
    }

    /// Sends a document, and gives the answer.
    pub(super) fn post(&self, path: &str, json: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        let request = self.agent.post(&url).header("Authorization", &self.key);
        let request = request.header("Content-Type", "application/json");
        let mut answer = self.reached(request.send(json.to_string()))?;
        parsed(
            &answer
                .body_mut()
                .read_to_string()
                .context("the answer broke off")?,
        )
    }

    /// Deletes.
    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let url = format!("{}{path}", self.url);
        let request = self.agent.delete(&url).header("Authorization", &self.key);
        self.reached(request.call()).map(drop)
    }

    /// Has a file imported; the bar shows how far it is.
    pub(super) fn import(
        &self,
        format: Format,
        content: &[u8],
        wanted: Wanted,
        bar: &mut Bar,
    ) -> Result<ReportView> {
        let kind = match format {
            Format::Csv => "text/csv",
            Format::Json => "application/json",
        };
        let url = format!(
            "{}/api/v1/terminals/import?dry_run={}&valid_only={}",
            self.url, wanted.dry_run, wanted.valid_only
        );
        let request = self.agent.post(&url).header("Authorization", &self.key);
        let request = request
            .header("Content-Type", kind)
            .header("Accept", "application/x-ndjson");
        let mut answer = self.reached(request.send(content))?;
        let lines = BufReader::new(
            answer
                .body_mut()
                .with_config()
                .limit(ANSWER_BYTES_MAX)
                .reader(),
        );
        for line in lines.lines() {
            match parsed(&line.context("the answer broke off")?)? {
                Line::Progress { rows, of } => bar.set(rows, of),
                Line::Report(report) => return Ok(report),
                Line::Error(error) => bail!("{error}"),
            }
        }
        bail!("the answer broke off; an export shows what was changed")
    }

    fn reached(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>> {
        let mut answer = answer.with_context(|| format!("cannot reach {}", self.url))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let error: Refusal =
            parsed(&text).with_context(|| format!("{} answers {}", self.url, answer.status()))?;
        bail!("{error}")
    }
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).context("this is not an answer of daybreak-admin")
}
