//! Who remembers what operators were told, and what became of it: S2, S9.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use daybreak_sync::{ObjectKey, Row, Stamp, Value};

use super::{Check, check};

/// Names an edit for ever, whatever its number becomes: bodies are never the same, and neither are stamps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ident {
    Body(Vec<u8>),
    Delete(Stamp),
}

pub(crate) fn ident(value: &Value) -> Ident {
    match &value.body {
        Some(body) => Ident::Body(body.octets.to_vec()),
        None => Ident::Delete(value.stamp),
    }
}

#[derive(Clone, Debug)]
struct Edit {
    key: ObjectKey,
    /// The operator was told that it is done.
    acknowledged: bool,
    /// It may be gone with what a lying disk lost.
    doubtful: bool,
    replaced: BTreeSet<Ident>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    edits: BTreeMap<Ident, Edit>,
    replaced_by: HashMap<Ident, Vec<Ident>>,
    /// Deletes that some server has forgotten, as it may after the horizon.
    forgotten: BTreeSet<Ident>,
}

impl Observer {
    /// An operator tries to change `before` into `after`.
    pub(crate) fn attempts(&mut self, before: Option<&Row>, after: &Row) -> Ident {
        let now: BTreeSet<Ident> = after.values().iter().map(ident).collect();
        let then: BTreeSet<Ident> = before
            .map(|row| row.values().iter().map(ident).collect())
            .unwrap_or_default();
        let mut fresh = now.difference(&then);
        let made = fresh.next().expect("an edit makes a value").clone();
        let replaced: BTreeSet<Ident> = then.difference(&now).cloned().collect();
        for old in &replaced {
            self.replaced_by
                .entry(old.clone())
                .or_default()
                .push(made.clone());
        }
        let edit = Edit {
            key: after.key.clone(),
            acknowledged: false,
            doubtful: false,
            replaced,
        };
        self.edits.insert(made.clone(), edit);
        made
    }

    /// They are told that it is done.
    pub(crate) fn acknowledged(&mut self, made: &Ident) {
        if let Some(edit) = self.edits.get_mut(made) {
            edit.acknowledged = true;
        }
    }

    /// A disk that said that it had `before` has only `left`. What lies between may be gone, too.
    pub(crate) fn lost(&mut self, before: &BTreeSet<Ident>, left: &BTreeSet<Ident>) {
        let mut gone: Vec<Ident> = before.difference(left).cloned().collect();
        while let Some(value) = gone.pop() {
            if let Some(edit) = self.edits.get_mut(&value)
                && !edit.doubtful
            {
                edit.doubtful = true;
                gone.extend(edit.replaced.difference(left).cloned());
            }
        }
    }

    /// A server forgets what was deleted.
    pub(crate) fn forgets(&mut self, row: &Row) {
        self.forgotten.extend(row.values().iter().map(ident));
    }

    pub(crate) fn acknowledged_count(&self) -> usize {
        self.edits.values().filter(|edit| edit.acknowledged).count()
    }

    /// What both hold in the end accounts for every edit that was acknowledged, and for none that was replaced.
    pub(crate) fn check(&self, rows: &BTreeMap<ObjectKey, Row>, lied: bool) -> Check {
        let held: BTreeSet<Ident> = rows
            .values()
            .flat_map(|row| row.values().iter().map(ident))
            .collect();
        let mut known = HashMap::new();
        for (made, edit) in &self.edits {
            let there = self.accounted(made, &held, &mut known);
            check("S2", !edit.acknowledged || there || edit.doubtful, || {
                format!("{made:?} of {} was acknowledged and is nowhere", edit.key)
            })?;
            if there && !lied {
                for old in edit.replaced.iter().filter(|old| held.contains(old)) {
                    check("S9", false, || {
                        format!("{old:?} of {} is there again", edit.key)
                    })?;
                }
            }
        }
        Ok(())
    }

    fn accounted(
        &self,
        made: &Ident,
        held: &BTreeSet<Ident>,
        known: &mut HashMap<Ident, bool>,
    ) -> bool {
        if let Some(known) = known.get(made) {
            return *known;
        }
        let there = held.contains(made)
            || self.forgotten.contains(made)
            || self
                .replaced_by
                .get(made)
                .is_some_and(|later| later.iter().any(|next| self.accounted(next, held, known)));
        known.insert(made.clone(), there);
        there
    }
}
