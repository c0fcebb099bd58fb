//! Settings of the whole site: each has a key, which is its identifier, and a value of its own type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::site_parts::Architecture;
use super::synchronization::Synchronization;
use super::terminal::Settings;
use super::text::FileName;
use super::unknown::UnknownTerminals;
use super::{Fault, Reference};
use crate::limits::{EVENT_DAYS_MAX, SEAT_DAYS_MAX};
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
    /// What units get that are no terminal's.
    UnknownTerminals(UnknownTerminals),
    /// The template of `boot/unknown.ipxe`.
    UnknownIpxeScript(ScriptTemplate),
    /// The template of `pxelinux.cfg/unknown`.
    UnknownPxelinuxScript(ScriptTemplate),
    /// The template of `grub.cfg-unknown`.
    UnknownGrubScript(ScriptTemplate),
    /// Days for which events are kept: 1 to 3650; otherwise 90.
    EventDays(u16),
    /// `boot/loaders`: the file that ProxyDHCP names to firmware of each architecture, unless a terminal's package has its own.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    BootLoaders(BTreeMap<Architecture, FileName>),
    /// How the two servers of a pair are kept the same.
    Synchronization(Synchronization),
    /// Days after which a terminal that nobody saw gives up its seat, if another one waits for it: 1 to 3650; otherwise never. Only where
    /// there is one server.
    SeatDays(u16),
}

impl Setting {
    /// Every key.
    pub const KEYS: [&'static str; 12] = [
        "terminal-defaults",
        "ipxe-script",
        "pxelinux-script",
        "grub-script",
        Setting::UNKNOWN_TERMINALS,
        "unknown-ipxe-script",
        "unknown-pxelinux-script",
        "unknown-grub-script",
        "event-days",
        "boot-loaders",
        "synchronization",
        Setting::SEAT_DAYS,
    ];

    /// The key of the days after which an unseen terminal may lose its seat.
    pub const SEAT_DAYS: &'static str = "seat-days";

    /// The key of the policy for units that are no terminal's.
    pub const UNKNOWN_TERMINALS: &'static str = "unknown-terminals";

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Setting::TerminalDefaults(_) => Setting::KEYS[0],
            Setting::IpxeScript(_) => Setting::KEYS[1],
            Setting::PxelinuxScript(_) => Setting::KEYS[2],
            Setting::GrubScript(_) => Setting::KEYS[3],
            Setting::UnknownTerminals(_) => Setting::UNKNOWN_TERMINALS,
            Setting::UnknownIpxeScript(_) => Setting::KEYS[5],
            Setting::UnknownPxelinuxScript(_) => Setting::KEYS[6],
            Setting::UnknownGrubScript(_) => Setting::KEYS[7],
            Setting::EventDays(_) => Setting::KEYS[8],
            Setting::BootLoaders(_) => Setting::KEYS[9],
            Setting::Synchronization(_) => Setting::KEYS[10],
            Setting::SeatDays(_) => Setting::SEAT_DAYS,
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

    /// The template that it is, if it is one, and of which script.
    #[must_use]
    pub fn template(&self) -> Option<(Script, &ScriptTemplate)> {
        match self {
            Setting::TerminalDefaults(_)
            | Setting::UnknownTerminals(_)
            | Setting::EventDays(_)
            | Setting::BootLoaders(_)
            | Setting::Synchronization(_)
            | Setting::SeatDays(_) => None,
            Setting::IpxeScript(template) => Some((Script::Ipxe, template)),
            Setting::PxelinuxScript(template) => Some((Script::Pxelinux, template)),
            Setting::GrubScript(template) => Some((Script::Grub, template)),
            Setting::UnknownIpxeScript(template) => Some((Script::UnknownIpxe, template)),
            Setting::UnknownPxelinuxScript(template) => Some((Script::UnknownPxelinux, template)),
            Setting::UnknownGrubScript(template) => Some((Script::UnknownGrub, template)),
        }
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        match self {
            Setting::TerminalDefaults(settings) => return settings.check("value"),
            Setting::UnknownTerminals(policy) => return policy.check(),
            Setting::EventDays(days) if !(1..=EVENT_DAYS_MAX).contains(days) => {
                let why = format!("events are kept for 1 to {EVENT_DAYS_MAX} days");
                return Err(Fault::new("value", why));
            }
            Setting::SeatDays(days) if !(1..=SEAT_DAYS_MAX).contains(days) => {
                let why = format!("seats are kept for 1 to {SEAT_DAYS_MAX} days");
                return Err(Fault::new("value", why));
            }
            _ => {}
        }
        self.template().map_or(Ok(()), |(script, template)| {
            let checked = template.check(script);
            checked.map_err(|why| Fault::new("value", why))
        })
    }

    pub(super) fn references(&self) -> Vec<Reference> {
        match self {
            Setting::TerminalDefaults(settings) => settings.references("value"),
            Setting::UnknownTerminals(policy) => policy.references(),
            _ => Vec::new(),
        }
    }
}
