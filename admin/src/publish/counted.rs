//! Products that are counted where a terminal's configuration uses them. Over the count, those that got their seats last go without.

use foldhash::HashMap;

use crate::effective::{Effective, Origin, Problem, ProblemCode, Sourced};
use crate::kind::{Body, Kind};
use crate::licensing::{Count, Entitlement};
use crate::object::{Id, Object};

/// Which of the counted products a terminal uses, in the order of [`NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowance([bool; NAMES.len()]);

/// The settings, and what they are called.
const NAMES: [(&str, &str); 3] = [
    ("instant_failover", "instant failover"),
    ("windows_client", "Windows clients"),
    ("shared_keyboard_mouse", "shared keyboards and mice"),
];

impl Allowance {
    pub(super) fn of(effective: &Effective) -> Self {
        Allowance([
            effective.instant_failover.value,
            effective.windows_client.value,
            effective.shared_keyboard_mouse.value,
        ])
    }

    /// Leaves out of the settings what is not allowed; each is a problem.
    pub(super) fn limit(self, object: &Object, effective: &mut Effective) -> Vec<Problem> {
        let settings: [&mut Sourced<bool>; NAMES.len()] = [
            &mut effective.instant_failover,
            &mut effective.windows_client,
            &mut effective.shared_keyboard_mouse,
        ];
        let mut problems = Vec::new();
        for ((setting, allowed), (field, name)) in settings.into_iter().zip(self.0).zip(NAMES) {
            if !setting.value || allowed {
                continue;
            }
            *setting = Sourced {
                value: false,
                from: Origin::built_in(),
            };
            problems.push(Problem {
                code: ProblemCode::OverLicensed,
                kind: Kind::Terminal.word(),
                id: object.id.clone(),
                name: object.body.name().to_owned(),
                field: Some(format!("settings.{field}")),
                message: format!("the licences for {name} are all in use; it goes without"),
            });
        }
        problems
    }
}

/// Every terminal, with what it would use.
#[derive(Default)]
pub(super) struct Counted<'s>(Vec<(&'s Object, Allowance)>);

/// What every terminal may use.
pub(super) struct Allowances<'s>(HashMap<&'s Id, (Allowance, Allowance)>);

impl<'s> Counted<'s> {
    pub(super) fn add(&mut self, object: &'s Object, wanted: Allowance) {
        if wanted != Allowance::default() {
            self.0.push((object, wanted));
        }
    }

    /// Who may use what: in the order of their seats, as far as the counts go; who holds no seat comes last.
    pub(super) fn allowances(mut self, entitlement: &Entitlement) -> Allowances<'s> {
        let counts = [
            entitlement.instant_failover,
            entitlement.windows_client,
            entitlement.shared_keyboard_mouse,
        ];
        if counts != [Count::Unlimited; NAMES.len()] {
            self.0.sort_by_key(|(object, _)| {
                let seat = match &object.body {
                    Body::Terminal(terminal) if terminal.seat.is_held() => {
                        Some(terminal.seat.since_ms)
                    }
                    _ => None,
                };
                (seat.is_none(), seat, &object.id)
            });
        }
        let mut used = [0; NAMES.len()];
        let given = self.0.into_iter().map(|(object, wanted)| {
            let mut allowed = Allowance::default();
            for product in 0..NAMES.len() {
                if wanted.0[product] && counts[product].has_room(used[product]) {
                    used[product] += 1;
                    allowed.0[product] = true;
                }
            }
            (&object.id, (wanted, allowed))
        });
        Allowances(given.collect())
    }
}

impl Allowances<'_> {
    /// What this terminal would use, and what it may.
    pub(super) fn of(&self, id: &Id) -> (Allowance, Allowance) {
        self.0.get(id).copied().unwrap_or_default()
    }
}
