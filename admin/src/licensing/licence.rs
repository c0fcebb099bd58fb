//! What a licence says: the payload of a licence file.
//!
//! A file holds one master licence, activated for one or two installations, with the product licences in it. Reading it is
//! strict: unknown fields, counts of zero, two products with one identifier or a wrong number of Installation IDs are refused,
//! because whatever is signed is meant.

use daybreak_sync::policy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::InstallationId;
use crate::limits::{LICENCE_COUNT_MAX, LICENCE_PRODUCTS_MAX, LICENCE_TEXT_BYTES_MAX};
use crate::object::Id;

/// The version of the payload that this software reads.
pub const SCHEMA_VERSION: u32 = 1;

/// How two servers may share the work.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Redundancy {
    /// One server boots terminals; the other, if there is one, is kept the same.
    #[default]
    None,
    /// The secondary boots terminals, too, and refuses changes.
    Mirrored,
    /// Both boot terminals and may be changed.
    Full,
    /// The same, for any number of terminals.
    Enterprise,
}

impl Redundancy {
    /// All of them, by what they allow.
    pub const ALL: [Redundancy; 4] = [
        Redundancy::None,
        Redundancy::Mirrored,
        Redundancy::Full,
        Redundancy::Enterprise,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Redundancy::None => "none",
            Redundancy::Mirrored => "mirrored",
            Redundancy::Full => "full",
            Redundancy::Enterprise => "enterprise",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Redundancy::ALL.into_iter().find(|one| one.word() == word)
    }

    /// How many servers a licence of this kind may be activated for.
    #[must_use]
    pub const fn servers(self) -> core::ops::RangeInclusive<usize> {
        match self {
            Redundancy::None => 1..=1,
            Redundancy::Full => 1..=2,
            Redundancy::Mirrored | Redundancy::Enterprise => 2..=2,
        }
    }
}

impl From<Redundancy> for policy::Mode {
    fn from(redundancy: Redundancy) -> Self {
        match redundancy {
            Redundancy::None => policy::Mode::None,
            Redundancy::Mirrored => policy::Mode::Mirrored,
            Redundancy::Full | Redundancy::Enterprise => policy::Mode::Full,
        }
    }
}

/// What is counted.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// Terminals that one server boots.
    TerminalConnection,
    /// Terminals that two servers boot, both of which may be changed.
    RedundantTerminalConnection,
    /// Terminals that two servers boot, one of which is a mirror.
    MirroredTerminalConnection,
    /// Terminals with two live sessions.
    InstantFailover,
    /// Terminals that are a client program on a Windows PC.
    WindowsClient,
    /// Terminals that share a keyboard and a mouse with others.
    SharedKeyboardMouse,
}

impl Product {
    /// All of them.
    pub const ALL: [Product; 6] = [
        Product::TerminalConnection,
        Product::RedundantTerminalConnection,
        Product::MirroredTerminalConnection,
        Product::InstantFailover,
        Product::WindowsClient,
        Product::SharedKeyboardMouse,
    ];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Product::TerminalConnection => "terminal-connection",
            Product::RedundantTerminalConnection => "redundant-terminal-connection",
            Product::MirroredTerminalConnection => "mirrored-terminal-connection",
            Product::InstantFailover => "instant-failover",
            Product::WindowsClient => "windows-client",
            Product::SharedKeyboardMouse => "shared-keyboard-mouse",
        }
    }

    /// The one of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Product::ALL.into_iter().find(|one| one.word() == word)
    }

    /// Whether a master licence of this kind may hold it.
    #[must_use]
    pub const fn fits(self, redundancy: Redundancy) -> bool {
        match self {
            Product::TerminalConnection => {
                matches!(redundancy, Redundancy::None | Redundancy::Full)
            }
            Product::RedundantTerminalConnection => matches!(redundancy, Redundancy::Full),
            Product::MirroredTerminalConnection => matches!(redundancy, Redundancy::Mirrored),
            Product::InstantFailover | Product::WindowsClient | Product::SharedKeyboardMouse => {
                true
            }
        }
    }
}

/// So many of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductLicence {
    /// Which product licence; unique in its master licence.
    #[schema(value_type = String)]
    pub id: Id,
    /// Of what.
    pub product: Product,
    /// How many: 1 to 1,000,000.
    pub count: u32,
}

/// An activated master licence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// The version of this form.
    pub schema_version: u32,
    /// Which master licence.
    pub id: Id,
    /// The number of this activation of it: a later one takes the place of an earlier one.
    pub activation: u32,
    /// Whose it is.
    pub customer: String,
    /// What it allows two servers.
    pub redundancy: Redundancy,
    /// The servers that it is for.
    pub installations: Vec<InstallationId>,
    /// When this activation was made, in milliseconds since 1970.
    pub issued_ms: u64,
    /// Since when it holds.
    pub valid_from_ms: u64,
    /// Until when; without it, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until_ms: Option<u64>,
    /// The product licences in it.
    pub products: Vec<ProductLicence>,
}

impl Licence {
    /// What is wrong with it, if anything is: checked before it is signed, and again when it is read.
    pub fn check(&self) -> Result<(), &'static str> {
        let said = &self.customer;
        if said.is_empty()
            || said.len() > LICENCE_TEXT_BYTES_MAX
            || said.chars().any(char::is_control)
        {
            return Err("the customer has no name, or one that cannot be shown");
        }
        if self.activation == 0 {
            return Err("activations are counted from 1");
        }
        if self
            .valid_until_ms
            .is_some_and(|until| until <= self.valid_from_ms)
        {
            return Err("it ends before it begins");
        }
        if !self
            .redundancy
            .servers()
            .contains(&self.installations.len())
        {
            return Err("the number of Installation IDs is not that of its redundancy");
        }
        if self.installations[1..].contains(&self.installations[0]) {
            return Err("both Installation IDs are the same");
        }
        if self.products.len() > LICENCE_PRODUCTS_MAX {
            return Err("it has too many product licences");
        }
        for (place, licence) in self.products.iter().enumerate() {
            if !(1..=LICENCE_COUNT_MAX).contains(&licence.count) {
                return Err("a product licence counts 1 to 1000000");
            }
            if self.products[..place]
                .iter()
                .any(|other| other.id == licence.id)
            {
                return Err("two product licences have one identifier");
            }
            if !licence.product.fits(self.redundancy) {
                return Err("a product licence does not go with its redundancy");
            }
            let for_two = licence.product == Product::RedundantTerminalConnection;
            if for_two && self.installations.len() < 2 {
                return Err("redundant terminal connections need both Installation IDs");
            }
        }
        Ok(())
    }

    /// How many of a product it holds.
    #[must_use]
    pub fn count(&self, product: Product) -> u64 {
        let of_it = self
            .products
            .iter()
            .filter(|licence| licence.product == product);
        of_it.map(|licence| u64::from(licence.count)).sum()
    }
}
