//! Rows become edits of one draft; each is told what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::faults::further;
use super::{Row, Rows, fault, names};
use crate::configuration::{Actor, ChangeError, Configuration, Draft, Edit, Expected};
use crate::kind::{Body, Kind, MacAddress};
use crate::limits::{IMPORT_PROGRESS_ROWS, IMPORT_TRIES_MAX};
use crate::merge_patch::merge;
use crate::object::{Id, Object};
use crate::site::Site;

/// What is wanted of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only to say what would happen.
    pub dry_run: bool,
    /// To go on without the rows that are refused. Otherwise one of them refuses all.
    pub valid_only: bool,
}

/// What became of a row.
#[derive(Debug)]
pub enum Outcome {
    /// A new terminal.
    Created,
    /// Another state of a terminal.
    Updated,
    /// It says what is there already.
    Unchanged,
    /// Nothing, and why.
    Refused(ChangeError),
}

/// A row, and what became of it.
#[derive(Debug)]
pub struct RowReport {
    /// As a spreadsheet counts: the header is 1. In a list: from 1.
    pub number: usize,
    /// The name that the row gives.
    pub name: Option<String>,
    /// What became of it; in a dry run, or where another row refused all: what would have.
    pub outcome: Outcome,
    /// Of a refused row: what else is wrong with it.
    pub more: Vec<ChangeError>,
}

/// What became of all of them.
#[derive(Debug)]
pub struct Report {
    /// Whether the terminals are as the rows say, except for those that were refused.
    pub committed: bool,
    /// Each row, in order.
    pub rows: Vec<RowReport>,
}

impl Report {
    /// How many rows were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Refused(_)))
    }

    /// How many rows have an outcome like this.
    pub fn count(&self, like: impl Fn(&Outcome) -> bool) -> usize {
        self.rows.iter().filter(|row| like(&row.outcome)).count()
    }
}

/// Makes the terminals what `rows` say. `progress` is told now and then how many rows were looked at.
pub fn import(
    configuration: &Configuration,
    actor: &Actor,
    rows: &Rows,
    wanted: Wanted,
    progress: &mut dyn FnMut(usize),
) -> Result<Report, ChangeError> {
    let mut import = Import {
        draft: configuration.draft(actor),
        met: BTreeMap::new(),
        waiting: BTreeMap::new(),
    };
    let mut report = Report {
        committed: false,
        rows: Vec::with_capacity(rows.len()),
    };
    for (done, row) in rows.0.iter().enumerate() {
        if done % IMPORT_PROGRESS_ROWS == 0 {
            progress(done);
        }
        let name = row.patch.as_ref().ok().and_then(|patch| patch.get("name"));
        let name = name.and_then(Value::as_str);
        let name = name.map(|name| name.chars().take(64).collect());
        let outcome = match import.row(done, row) {
            Err(ChangeError::Database(error)) => return Err(error.into()),
            outcome => outcome.unwrap_or_else(Outcome::Refused),
        };
        let more = match (&outcome, &row.patch) {
            (Outcome::Refused(first), Ok(patch)) => {
                let site = import.draft.site();
                let before = matched(site, patch).ok().flatten();
                further(site, before.as_deref(), patch, first)
            }
            _ => Vec::new(),
        };
        report.rows.push(RowReport {
            number: row.number,
            name,
            outcome,
            more,
        });
    }
    import.settle(&rows.0, &mut report.rows);
    progress(report.rows.len());
    if !wanted.dry_run && (wanted.valid_only || report.refused() == 0) {
        import.draft.commit()?;
        report.committed = true;
    }
    Ok(report)
}

struct Import<'c> {
    draft: Draft<'c>,
    // Terminals that a row was about, and the number of that row.
    met: BTreeMap<Id, usize>,
    // Those of them that want a card which another terminal may give away, and the index of the row.
    waiting: BTreeMap<Id, usize>,
}

impl Import<'_> {
    fn row(&mut self, index: usize, row: &Row) -> Result<Outcome, ChangeError> {
        let patch = row.patch.clone()?;
        let before = matched(self.draft.site(), &patch)?;
        if let Some(other) = before.as_ref().and_then(|object| self.met.get(&object.id)) {
            return Err(ChangeError::Twice { row: *other });
        }
        let body = body(self.draft.site(), before.as_deref(), patch)?;
        let Some(before) = before else {
            let object = self.draft.edit(Edit::Create(body))?;
            self.met
                .extend(object.map(|object| (object.id.clone(), row.number)));
            return Ok(Outcome::Created);
        };
        let id = before.id.clone();
        if before.body == body {
            self.met.insert(id, row.number);
            return Ok(Outcome::Unchanged);
        }
        let made = self.draft.edit(replaced(id.clone(), body));
        if let Err(ChangeError::Taken { field, by }) = &made
            && field.starts_with("macs")
            && (self.waiting.contains_key(by) || !self.met.contains_key(by))
        {
            self.waiting.insert(id.clone(), index);
            self.met.insert(id, row.number);
        } else if made.is_ok() {
            self.met.insert(id, row.number);
        }
        made.map(|_| Outcome::Updated)
    }

    /// Looks again at rows that wanted the card of another terminal: that may have given it away since, or two of them
    /// exchange theirs. So they are judged by what they make together; what is refused then is left out of the next try.
    fn settle(&mut self, rows: &[Row], report: &mut [RowReport]) {
        for _ in 0..IMPORT_TRIES_MAX {
            let mut tried = Vec::with_capacity(self.waiting.len());
            let mut edits = Vec::with_capacity(self.waiting.len());
            for (id, index) in &self.waiting {
                let before = self.draft.site().object(Kind::Terminal, id);
                // It was read before; only what it wants was taken.
                let patch = rows[*index].patch.clone().unwrap_or_default();
                if let Ok(body) = body(self.draft.site(), before.map(|before| &**before), patch) {
                    tried.push((id.clone(), *index));
                    edits.push(replaced(id.clone(), body));
                }
            }
            if edits.is_empty() {
                return;
            }
            let Err(refused) = self.draft.edit_together(edits) else {
                for (_, index) in tried {
                    report[index].outcome = Outcome::Updated;
                }
                return;
            };
            for (at, error) in refused {
                let (id, index) = &tried[at];
                report[*index].outcome = Outcome::Refused(error);
                self.waiting.remove(id);
            }
        }
    }
}

fn replaced(id: Id, body: Body) -> Edit {
    let expected = Expected::Any;
    Edit::Replace { id, body, expected }
}

/// The terminal that a row is about: the one of its name, or else the one that has one of its cards.
fn matched(site: &Site, patch: &Map<String, Value>) -> Result<Option<Arc<Object>>, ChangeError> {
    let terminals = site.table(Kind::Terminal);
    let name = patch.get("name").and_then(Value::as_str);
    let mut named = name.into_iter().flat_map(|name| terminals.named(name));
    if let Some(id) = named.next() {
        if named.next().is_some() {
            return Err(fault("name", "several terminals have this name"));
        }
        return Ok(terminals.object(id).cloned());
    }
    let macs = patch
        .get("macs")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let macs = macs.filter_map(|mac| MacAddress::parse(mac.as_str()?).ok());
    let mut found = macs.filter_map(|mac| site.terminals_with(mac).next());
    let first = found.next();
    if found.any(|other| Some(other) != first) {
        return Err(fault("macs", "the network cards belong to two terminals"));
    }
    Ok(first.and_then(|id| terminals.object(id)).cloned())
}

/// What the terminal is to be.
pub(super) fn body(
    site: &Site,
    before: Option<&Object>,
    mut patch: Map<String, Value>,
) -> Result<Body, ChangeError> {
    // An export has it for other programs: it is not a field.
    patch.remove("id");
    let mut patch = Value::Object(patch);
    names::identify(site, &mut patch)?;
    let mut json = before.map_or_else(|| Value::Object(Map::new()), |before| before.body.shown());
    merge(&mut json, patch);
    for emptied in ["/address", "/settings/firmware", "/settings/display"] {
        if let Some(value) = json.pointer_mut(emptied)
            && value
                .as_object()
                .is_some_and(|fields| fields.values().all(Value::is_null))
        {
            value.take();
        }
    }
    let mut body = Body::parse_request(Kind::Terminal, &json)?;
    if let Some(before) = before {
        body.keep_sealed(&before.body);
    }
    Ok(body)
}
