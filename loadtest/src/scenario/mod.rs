//! Scenario files: a storm of several fleets, as TOML. `docs/loadtest.md` describes every field.
//!
//! The file is parsed into `written` types, which hold what stands there and where; [`Plan`] is what it means. A
//! field that is not known is refused, and every refusal names the line and what to write instead.

mod check;
mod written;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::arrival::Part;
use crate::plan::Plan;

/// A scenario, read but not judged.
#[derive(Debug)]
pub struct Scenario {
    text: String,
    path: PathBuf,
    written: written::Scenario,
}

/// What the command line changes of a scenario.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Where servers are, by the scenario's names.
    pub servers: Vec<(String, SocketAddr)>,
    /// Instead of the scenario's.
    pub threads: Option<u16>,
    /// Instead of the scenario's.
    pub seed: Option<u64>,
    /// The clients that this process drives.
    pub part: Part,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes {
            servers: Vec::new(),
            threads: None,
            seed: None,
            part: Part::WHOLE,
        }
    }
}

/// What is wrong with a scenario, and where.
#[derive(Debug)]
pub struct BadScenario {
    path: PathBuf,
    /// From 1; `None` where no line is to blame.
    pub line: Option<usize>,
    /// What is wrong, and what to write instead.
    pub what: String,
}

impl std::error::Error for BadScenario {}

impl fmt::Display for BadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadScenario { path, line, what } = self;
        write!(f, "{}", path.display())?;
        if let Some(line) = line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {what}")
    }
}

impl Scenario {
    /// Reads a file. Paths that it names are meant from its folder.
    ///
    /// # Errors
    /// When it cannot be read, or is no scenario.
    pub fn read(path: &Path) -> Result<Scenario, BadScenario> {
        let text = std::fs::read_to_string(path).map_err(|error| BadScenario {
            path: path.to_owned(),
            line: None,
            what: format!("{error}: give the path of a scenario file"),
        })?;
        Scenario::parse(text, path)
    }

    /// Takes the text of a file.
    ///
    /// # Errors
    /// When it is no scenario.
    pub fn parse(text: String, path: &Path) -> Result<Scenario, BadScenario> {
        match toml::from_str(&text) {
            Ok(written) => Ok(Scenario {
                written,
                path: path.to_owned(),
                text,
            }),
            Err(error) => Err(BadScenario {
                path: path.to_owned(),
                line: error.span().map(|span| line(&text, &span)),
                what: error.message().trim().replace('\n', "; "),
            }),
        }
    }

    /// What it means.
    ///
    /// # Errors
    /// The first thing that is out of its range, unknown, or does not fit together.
    pub fn plan(&self, changes: &Changes) -> Result<Plan, BadScenario> {
        check::plan(self, changes)
    }

    /// The hash of its text, which tells scenarios apart.
    #[must_use]
    pub fn blake3(&self) -> blake3::Hash {
        blake3::hash(self.text.as_bytes())
    }

    /// A refusal of what stands at a place.
    fn bad(&self, at: &Range<usize>, what: impl fmt::Display) -> BadScenario {
        BadScenario {
            path: self.path.clone(),
            line: Some(line(&self.text, at)),
            what: what.to_string(),
        }
    }
}

/// The line, from 1, of a place.
fn line(text: &str, at: &Range<usize>) -> usize {
    let before = &text.as_bytes()[..at.start.min(text.len())];
    1 + before.iter().filter(|octet| **octet == b'\n').count()
}
