//! What happens with units that are no terminal's: the policy of the site.

use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::text::{Broken, checked_text};
use super::{Fault, Kind, Reference};
use crate::object::Id;

/// The policy for units whose network card no terminal has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnknownTerminals {
    /// What such a unit gets.
    pub policy: UnknownPolicy,
    /// How a terminal is named that nobody names: with a number in the place of the `#`. Needed to create them.
    #[serde(default)]
    pub name_mask: Option<NameMask>,
    /// The group that such terminals come into.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub group: Option<Id>,
}

/// What a unit gets whose network card no terminal has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownPolicy {
    /// Nothing: it goes on to whatever else it can boot from.
    #[default]
    Refuse,
    /// The default boot menu, and a place in the list of units to be adopted.
    Hold,
    /// A terminal of its own, at once.
    Create,
}

checked_text!(
    /// A terminal's name with a number in it, as `line-####`.
    NameMask,
    "^[A-Za-z0-9_-]*#{1,6}[A-Za-z0-9_-]*$",
    "a name mask has 1 to 15 of A-Z, a-z, 0-9, _ and -, and once 1 to 6 # in a row, as in line-####",
    |text| {
        let marks = text.matches('#').count();
        let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'#');
        (1..=15).contains(&text.len())
            && text.bytes().all(name)
            && (1..=6).contains(&marks)
            && text.contains(&"#".repeat(marks))
    }
);

impl NameMask {
    /// Every name of this mask, from the number 1.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let digits = self.as_str().matches('#').count();
        let (before, rest) = self.as_str().split_once('#').unwrap_or_default();
        let after = rest.trim_start_matches('#');
        let end = 10_u32.pow(u32::try_from(digits).unwrap_or(0));
        (1..end).map(move |number| format!("{before}{number:0digits$}{after}"))
    }
}

impl UnknownTerminals {
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.policy == UnknownPolicy::Create && self.name_mask.is_none() {
            let why = "terminals that are created need names: give a mask, as line-####";
            return Err(Fault::new("value.name_mask", why));
        }
        Ok(())
    }

    pub(super) fn references(&self) -> Vec<Reference> {
        let group = self.group.iter();
        group
            .map(|id| Reference::new("value.group", Kind::TerminalGroup, id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_counts_through_its_names() {
        let mask = NameMask::parse("line-##b").expect("a mask");
        let names: Vec<String> = mask.names().collect();
        assert_eq!(
            (names.len(), names[0].as_str(), names[98].as_str()),
            (99, "line-01b", "line-99b")
        );
        for bad in ["", "line", "a#b#", "#######", "a b#", "line-0000000000#"] {
            assert!(NameMask::parse(bad).is_err(), "{bad}");
        }
    }
}
