//! Who may do what: users, roles, API keys.
//!
//! What proves an identity (a password's verifier, a key's digest) is sealed: it is in the body, so that it is
//! backed up and synchronized with it, but no request sets it directly and no answer or audit row shows it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::{Label, LoginName, Remark};
use super::{Fault, Kind, Reference};
use crate::limits::ROLES_MAX;
use crate::object::Id;
use crate::security::{BuiltInRole, Digest, Right, Verifier};

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name to log in with; no other user has it.
    pub name: LoginName,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
    /// What the user may do: `administrator`, `operator`, `monitor`, or roles of one's own.
    #[schema(value_type = Vec<String>)]
    pub roles: Vec<Id>,
    /// Whether the user may log in.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Sealed. Without it nobody can log in as this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub verifier: Option<Verifier>,
}

/// A named set of rights, beside the built-in ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name; no other role has it.
    pub name: Label,
    /// What it allows.
    pub rights: BTreeSet<Right>,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
}

/// A secret for programs, given as `Authorization: Bearer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Its name; no other key has it.
    pub name: Label,
    /// What it allows.
    pub rights: BTreeSet<Right>,
    /// Milliseconds since 1970 after which it is refused; never, if absent.
    #[serde(default)]
    pub expires_ms: Option<u64>,
    /// Whether it is accepted.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
    /// Sealed: the hash of the secret, which is shown once, when the key is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub digest: Option<Digest>,
}

fn yes() -> bool {
    true
}

impl User {
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.roles.len() > ROLES_MAX {
            return Err(Fault::new(
                "roles",
                format!("at most {ROLES_MAX} are allowed here"),
            ));
        }
        Ok(())
    }

    pub(super) fn references(&self) -> Vec<Reference> {
        let own = |(_, id): &(usize, &Id)| BuiltInRole::of(id).is_none();
        let roles = self.roles.iter().enumerate().filter(own);
        roles
            .map(|(index, id)| Reference::new(format!("roles[{index}]"), Kind::Role, id))
            .collect()
    }
}

impl Role {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let taken = BuiltInRole::ALL
            .iter()
            .any(|role| role.id() == self.name.as_str().to_lowercase());
        if taken {
            return Err(Fault::new("name", "a built-in role has this name"));
        }
        Ok(())
    }
}
