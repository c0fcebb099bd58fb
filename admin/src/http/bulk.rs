//! Many terminals at once: a file of them, and what becomes of a file of them.
//!
//! An import that is asked with `Accept: application/x-ndjson` tells its progress, line by line; the last line is the
//! report or the error. Otherwise the report is the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::error::{ApiError, Code, ErrorBody};
use super::listing::Listing;
use super::request::{self, unknown_parameter, wrong_parameter};
use super::state::State;
use crate::bulk::{self, FileError, Format, Outcome, Report, RowReport, Rows, Wanted};
use crate::configuration::ChangeError;
use crate::kind::Kind;
use crate::limits::{IMPORT_BYTES_MAX, IMPORT_WAIT, PROGRESS_LINES_MAX};
use crate::security::Identity;

/// A row, and what became of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RowView {
    /// In a table as a spreadsheet counts: the header is 1. In a list: from 1.
    pub row: usize,
    /// The name that the row gives.
    pub name: Option<String>,
    /// `created`, `updated`, `unchanged` or `refused`; in a dry run, or where another row refused all: what it would be.
    pub outcome: String,
    /// Of a refused row: what went wrong, one of the codes of errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of a refused row: the field that is wrong, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Of a refused row: what went wrong, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of a refused row: what else is wrong, in other fields or settings; 7 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<FaultView>,
}

/// What is wrong with a row.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FaultView {
    /// What went wrong, one of the codes of errors.
    pub code: String,
    /// The field that is wrong, if it is one.
    pub field: Option<String>,
    /// What went wrong, for people.
    pub message: String,
}

/// What became of the rows.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReportView {
    /// Whether the terminals are as the rows say, except for those that were refused.
    pub committed: bool,
    /// Terminals that are new.
    pub created: usize,
    /// Terminals that changed.
    pub updated: usize,
    /// Rows that say what was there already.
    pub unchanged: usize,
    /// Rows that were refused.
    pub refused: usize,
    /// Each row, in order.
    pub rows: Vec<RowView>,
}

/// The answer to an import that changed nothing, since rows were refused.
#[derive(Serialize)]
struct RefusedView {
    #[serde(flatten)]
    error: ErrorBody,
    report: ReportView,
}

impl From<&Report> for ReportView {
    fn from(report: &Report) -> Self {
        ReportView {
            committed: report.committed,
            created: report.count(|outcome| matches!(outcome, Outcome::Created)),
            updated: report.count(|outcome| matches!(outcome, Outcome::Updated)),
            unchanged: report.count(|outcome| matches!(outcome, Outcome::Unchanged)),
            refused: report.refused(),
            rows: report.rows.iter().map(RowView::from).collect(),
        }
    }
}

impl From<&RowReport> for RowView {
    fn from(row: &RowReport) -> Self {
        let refusal = match &row.outcome {
            Outcome::Refused(error) => Some(error),
            _ => None,
        };
        let outcome = match row.outcome {
            Outcome::Created => "created",
            Outcome::Updated => "updated",
            Outcome::Unchanged => "unchanged",
            Outcome::Refused(_) => "refused",
        };
        RowView {
            row: row.number,
            name: row.name.clone(),
            outcome: outcome.into(),
            code: refusal.map(|error| Code::of(error).word().into()),
            field: refusal.and_then(|error| error.field().map(str::to_owned)),
            message: refusal.map(ChangeError::to_string),
            more: row.more.iter().map(FaultView::from).collect(),
        }
    }
}

impl From<&ChangeError> for FaultView {
    fn from(error: &ChangeError) -> Self {
        FaultView {
            code: Code::of(error).word().into(),
            field: error.field().map(str::to_owned),
            message: error.to_string(),
        }
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        let code = match error {
            FileError::Not(_) | FileError::Column(_) => Code::UnreadableFile,
            FileError::TooManyRows => Code::TooLarge,
        };
        ApiError::new(code, error.to_string())
    }
}

pub(super) async fn export(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut pairs = request::parameters(&request)?;
    let format = pairs.iter().position(|(name, _)| name == "format");
    let format = match format.map(|at| pairs.remove(at).1).as_deref() {
        None | Some("csv") => Format::Csv,
        Some("json") => Format::Json,
        Some(_) => return Err(wrong_parameter("format", "this is csv or json")),
    };
    let listing = Listing::parse_filters(Kind::Terminal, pairs)?;
    let work = move |state: &State| -> Result<Vec<u8>, ApiError> {
        let site = state.configuration.site();
        let found = listing.all(&site, Kind::Terminal);
        Ok(bulk::export(format, &bulk::rows(&site, found)))
    };
    let file = state.blocking(work).await?;
    let (kind, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "terminals.csv"),
        Format::Json => ("application/json", "terminals.json"),
    };
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ))
        .body(file))
}

pub(super) async fn import(
    state: web::Data<State>,
    identity: Identity,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (wanted, format) = (wanted(&request)?, format(&request)?);
    let Ok(permit) = Arc::clone(&state.at_once.imports).try_acquire_owned() else {
        return Err(ApiError::new(Code::Busy, "another import is running"));
    };
    let file = received(payload).await?;
    let work = move |state: &State, progress: &mut dyn FnMut(usize, usize)| {
        let _permit = permit;
        let rows = Rows::read(format, &file)?;
        let (of, configuration) = (rows.len(), &state.configuration);
        let mut progress = |done| progress(done, of);
        bulk::import(configuration, &identity.actor, &rows, wanted, &mut progress)
            .map_err(ApiError::from)
    };
    if accepts_lines(&request) {
        return Ok(in_lines(state, work));
    }
    let report = state
        .blocking(move |state| work(state, &mut |_, _| {}))
        .await?;
    Ok(answer(wanted, &report))
}

/// Does the work, and tells line by line how far it is.
fn in_lines(
    state: web::Data<State>,
    work: impl FnOnce(&State, &mut dyn FnMut(usize, usize)) -> Result<Report, ApiError> + Send + 'static,
) -> HttpResponse {
    let (lines, told) = mpsc::channel(PROGRESS_LINES_MAX);
    let progress = lines.clone();
    let told_work = move |state: &State| {
        // Never waited for: the configuration is locked meanwhile, and a client may be slow or gone.
        work(state, &mut |done, of| {
            let _ = progress.try_send(line(&json!({"progress": {"rows": done, "of": of}})));
        })
    };
    actix_web::rt::spawn(async move {
        let last = match state.blocking(told_work).await {
            Ok(report) => json!({"report": ReportView::from(&report)}),
            Err(error) => json!({"error": error.body()}),
        };
        let _ = lines.send(line(&last)).await;
    });
    HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .streaming(Lines(told))
}

fn answer(wanted: Wanted, report: &Report) -> HttpResponse {
    let view = ReportView::from(report);
    if report.committed || wanted.dry_run {
        return HttpResponse::Ok().json(view);
    }
    let message = format!(
        "{} of {} rows were refused; nothing was changed",
        view.refused,
        view.rows.len()
    );
    let error = ApiError::new(Code::RowsRefused, message);
    HttpResponse::UnprocessableEntity().json(RefusedView {
        error: error.body(),
        report: view,
    })
}

fn wanted(request: &HttpRequest) -> Result<Wanted, ApiError> {
    let mut wanted = Wanted::default();
    for (name, value) in request::parameters(request)? {
        let flag = || {
            let flag = value.parse();
            flag.map_err(|_| wrong_parameter(&name, "this is true or false"))
        };
        match name.as_str() {
            "dry_run" => wanted.dry_run = flag()?,
            "valid_only" => wanted.valid_only = flag()?,
            _ => return Err(unknown_parameter(&name)),
        }
    }
    Ok(wanted)
}

fn format(request: &HttpRequest) -> Result<Format, ApiError> {
    match request::content_type(request).as_deref() {
        Some("text/csv") => Ok(Format::Csv),
        Some("application/json") => Ok(Format::Json),
        _ => Err(ApiError::new(
            Code::UnknownFormat,
            "the body is said to be neither CSV nor JSON",
        )),
    }
}

async fn received(payload: web::Payload) -> Result<web::Bytes, ApiError> {
    let broken = || {
        ApiError::new(
            Code::UploadBroken,
            "the file broke off; nothing was changed",
        )
    };
    let arriving = tokio::time::timeout(IMPORT_WAIT, payload.to_bytes_limited(IMPORT_BYTES_MAX));
    match arriving.await {
        Ok(Ok(Ok(file))) => Ok(file),
        Ok(Err(_)) => Err(ApiError::new(
            Code::TooLarge,
            format!("the file has more than {} MiB", IMPORT_BYTES_MAX >> 20),
        )),
        Ok(Ok(Err(_))) | Err(_) => Err(broken()),
    }
}

fn accepts_lines(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/x-ndjson"))
}

fn line(json: &serde_json::Value) -> web::Bytes {
    format!("{json}\n").into()
}

/// Lines, as they come.
struct Lines(mpsc::Receiver<web::Bytes>);

impl Stream for Lines {
    type Item = Result<web::Bytes, core::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|line| line.map(Ok))
    }
}
