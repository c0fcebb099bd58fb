//! Settings of the whole site: each has a key, which is its identifier, and a value of its own type.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::terminal::Settings;
use super::{Fault, Reference};
use crate::object::Id;
use crate::publish::{Script, ScriptTemplate};

/// One setting. Absent ones have their built-in values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(
    tag = "key",
    content = "value",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
pub enum Setting {
    /// What every terminal inherits, beneath its groups.
    TerminalDefaults(Settings),
    /// The template of `boot/<mac>.ipxe`.
    IpxeScript(ScriptTemplate),
    /// The template of `pxelinux.cfg/01-<mac>`.
    PxelinuxScript(ScriptTemplate),
    /// The template of `grub.cfg-01-<mac>`.
    GrubScript(ScriptTemplate),
}

impl Setting {
    /// Every key.
    pub const KEYS: [&'static str; 4] = [
        "terminal-defaults",
        "ipxe-script",
        "pxelinux-script",
        "grub-script",
    ];

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Setting::TerminalDefaults(_) => Setting::KEYS[0],
            Setting::IpxeScript(_) => Setting::KEYS[1],
            Setting::PxelinuxScript(_) => Setting::KEYS[2],
            Setting::GrubScript(_) => Setting::KEYS[3],
        }
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> Id {
        Id::parse(self.key()).expect("keys are identifiers")
    }

    /// Whether it belongs to one server and is never synchronized. None does so far.
    #[must_use]
    pub fn is_node_local(&self) -> bool {
        false
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        let (script, template) = match self {
            Setting::TerminalDefaults(settings) => return settings.check("value"),
            Setting::IpxeScript(template) => (Script::Ipxe, template),
            Setting::PxelinuxScript(template) => (Script::Pxelinux, template),
            Setting::GrubScript(template) => (Script::Grub, template),
        };
        template
            .check(script)
            .map_err(|why| Fault::new("value", why))
    }

    pub(super) fn references(&self) -> Vec<Reference> {
        match self {
            Setting::TerminalDefaults(settings) => settings.references("value"),
            _ => Vec::new(),
        }
    }
}
