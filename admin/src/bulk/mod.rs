//! Many terminals at once: as a table that a spreadsheet opens, or as JSON.
//!
//! A row says of one terminal what a merge patch says (RFC 7396): what it leaves out stays as it is, what it empties is
//! inherited again. It is about the terminal of its name, else about the one that has one of its network cards, else
//! about a new one. What it refers to, it names. [`export()`] writes what [`import()`] reads.
//!
//! - `table`: CSV, and which column is which field.
//! - `names`: names in the place of identifiers, and back.
//! - `faults`: what else is wrong with a row.
//! - `import`: rows become edits of one draft, each with its outcome.

mod export;
mod faults;
mod import;
mod names;
mod table;

pub use export::{export, rows};
pub use import::{Outcome, Report, RowReport, Wanted, import};

use serde_json::{Map, Value};

use crate::configuration::ChangeError;
use crate::kind::Fault;
use crate::limits::IMPORT_ROWS_MAX;

/// How the rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table with a header; cells that a spreadsheet would run are marked as text.
    Csv,
    /// A list of objects.
    Json,
}

/// Why a whole file is refused, before any row is looked at.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not what it is said to be.
    #[error("the file is not {0}")]
    Not(String),
    /// A column of the header is unknown, or there twice.
    #[error(
        "the header names {0:?}, which is not a column, or twice; an export shows every column"
    )]
    Column(String),
    /// More rows than are taken at once.
    #[error("the file has more than {IMPORT_ROWS_MAX} rows; split it")]
    TooManyRows,
}

/// What a row wants of its terminal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// As a spreadsheet counts: the header is 1. In a list: from 1.
    pub(crate) number: usize,
    /// The fields to change.
    pub(crate) patch: Result<Map<String, Value>, Fault>,
}

/// Rows that were read and not yet looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows(Vec<Row>);

impl Rows {
    /// Reads a file.
    pub fn read(format: Format, file: &[u8]) -> Result<Self, FileError> {
        match format {
            Format::Csv => table::read(file).map(Rows),
            Format::Json => list(file).map(Rows),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn list(file: &[u8]) -> Result<Vec<Row>, FileError> {
    let list: Vec<Value> = serde_json::from_slice(file)
        .map_err(|error| FileError::Not(format!("a JSON list of terminals: {error}")))?;
    if list.len() > IMPORT_ROWS_MAX {
        return Err(FileError::TooManyRows);
    }
    let rows = (1..).zip(list).map(|(number, row)| Row {
        number,
        patch: match row {
            Value::Object(patch) => Ok(patch),
            _ => Err(Fault::new("", "a terminal is a JSON object")),
        },
    });
    Ok(rows.collect())
}

/// A refusal that names a field.
fn fault(field: impl Into<String>, why: &'static str) -> ChangeError {
    ChangeError::Invalid(Fault::new(field, why))
}
