//! What two servers tell each other of their licences, and what is different.
//!
//! Each tells all that it has: those whose time it is, and apart from them those that have ended, of which nothing new comes, and
//! what terminals use goes on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Licence, PairView, Product, Redundancy, Situation};
use crate::limits::LICENCES_MAX;
use crate::object::Id;

/// A licence, as the other server is told of it, and as it is remembered in case its file gets lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Which master licence.
    #[schema(value_type = String)]
    pub id: Id,
    /// Which activation of it.
    pub activation: u32,
    /// What it allows two servers.
    pub redundancy: Redundancy,
    /// Whether it is for both servers.
    pub for_two: bool,
    /// How many of each product.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    pub counts: BTreeMap<Product, u64>,
}

impl Summary {
    /// The summary of a licence.
    #[must_use]
    pub fn of(licence: &Licence) -> Self {
        let counts = Product::ALL.map(|product| (product, licence.count(product)));
        Summary {
            id: licence.id.clone(),
            activation: licence.activation,
            redundancy: licence.redundancy,
            for_two: licence.installations.len() > 1,
            counts: counts.into_iter().filter(|(_, count)| *count > 0).collect(),
        }
    }

    fn count(&self, product: Product) -> u64 {
        self.counts.get(&product).copied().unwrap_or(0)
    }

    /// Whether it lets a server be one of two, and each of them has its own.
    fn is_of_one(&self) -> bool {
        !self.for_two && self.redundancy == Redundancy::Full
    }
}

/// The licences of a server, as the other one is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToldLicences {
    /// Whether one of them is in force there.
    pub in_force: bool,
    /// Those whose time it is.
    pub valid: Vec<Summary>,
    /// Those whose time is over, and those whose file is gone.
    pub ended: Vec<Summary>,
}

impl ToldLicences {
    /// Those of this server.
    pub(super) fn of(situation: &Situation<'_>, now_ms: u64, in_force: bool) -> Self {
        let begun = situation.installed.iter();
        let begun = begun.filter(|licence| licence.valid_from_ms <= now_ms);
        let (over, valid): (Vec<&Licence>, Vec<&Licence>) = begun.partition(|licence| {
            let until_ms = licence.valid_until_ms;
            until_ms.is_some_and(|until_ms| until_ms <= now_ms)
        });
        let lost = situation.lost.iter().cloned();
        let ended = over.into_iter().map(Summary::of).chain(lost);
        ToldLicences {
            in_force,
            valid: valid.into_iter().map(Summary::of).collect(),
            ended: ended.collect(),
        }
    }

    /// Whether there are no more than a server has.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.valid.len() <= LICENCES_MAX && self.ended.len() <= LICENCES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.valid.is_empty() && self.ended.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Summary> {
        self.valid.iter().chain(&self.ended)
    }

    /// What goes on of a product.
    pub(super) fn used(&self, product: Product) -> u64 {
        sum(self.all(), product)
    }

    /// What goes on of what the server has for itself of a product; none, if it has no licence for itself.
    pub(super) fn used_of_one(&self, product: Product) -> Option<u64> {
        self.all().any(Summary::is_of_one).then(|| {
            let own = self.all().filter(|licence| licence.is_of_one());
            sum(own, product)
        })
    }

    /// What holds of what the server has for itself of a product.
    pub(super) fn valid_of_one(&self, product: Product) -> u64 {
        let valid = self.valid.iter();
        sum(valid.filter(|licence| licence.is_of_one()), product)
    }
}

/// What a partner says may be any number.
fn sum<'a>(licences: impl Iterator<Item = &'a Summary>, product: Product) -> u64 {
    let counts = licences.map(|licence| licence.count(product));
    counts.fold(0, u64::saturating_add)
}

impl PairView {
    /// Whether a licence is in force on the partner. While changes are not synchronized by themselves, nothing new is told, and none for
    /// two is.
    #[must_use]
    pub fn licenses_partner(&self) -> bool {
        let told = self.partner_licences.as_ref();
        told.is_some_and(|told| {
            told.in_force && (self.automatic || told.valid.iter().any(|licence| !licence.for_two))
        })
    }
}

/// Whether both servers have the same licences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// There is one server.
    Alone,
    /// The partner has not told yet.
    Unknown,
    /// They have.
    Agrees,
    /// They have not, and this is different.
    Differs(Vec<String>),
}

impl Agreement {
    /// Its word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Agreement::Alone => "alone",
            Agreement::Unknown => "unknown",
            Agreement::Agrees => "agrees",
            Agreement::Differs(_) => "differs",
        }
    }

    /// Whether they have, if that is known.
    #[must_use]
    pub const fn agrees(&self) -> Option<bool> {
        match self {
            Agreement::Alone | Agreement::Unknown => None,
            Agreement::Agrees => Some(true),
            Agreement::Differs(_) => Some(false),
        }
    }

    /// What is different.
    #[must_use]
    pub fn differences(&self) -> &[String] {
        match self {
            Agreement::Differs(differences) => differences,
            _ => &[],
        }
    }
}

pub(super) fn agreement(ours: &ToldLicences, pair: Option<&PairView>) -> Agreement {
    let Some(pair) = pair else {
        return Agreement::Alone;
    };
    let Some(theirs) = &pair.partner_licences else {
        return Agreement::Unknown;
    };
    let mut differences = Vec::new();
    for (have, lacks, who) in [
        (&ours.valid, &theirs.valid, "the partner"),
        (&theirs.valid, &ours.valid, "this server"),
    ] {
        for licence in have.iter().filter(|licence| licence.for_two) {
            if !lacks.contains(licence) {
                let (id, activation) = (&licence.id, licence.activation);
                differences.push(format!(
                    "{who} does not have activation {activation} of licence {id}"
                ));
            }
        }
    }
    for product in Product::ALL {
        let (here, there) = (ours.valid_of_one(product), theirs.valid_of_one(product));
        if here != there {
            let word = product.word();
            differences.push(format!(
                "{word}: {here} on this server, {there} on the partner"
            ));
        }
    }
    if differences.is_empty() {
        Agreement::Agrees
    } else {
        Agreement::Differs(differences)
    }
}
