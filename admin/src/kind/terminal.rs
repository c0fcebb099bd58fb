//! Terminals, the groups that they inherit from, and what both may set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::network::{Host, MacAddress, StaticAddress};
use super::text::{Label, ParameterName, ParameterValue, Remark, Segment, TerminalName};
use super::{Fault, Kind, Reference};
use crate::licensing::Seat;
use crate::limits::{
    DISPLAYS_MAX, MACS_MAX, MODULES_MAX, MONITORS_MAX, PARAMETERS_MAX, SESSIONS_MAX,
};
use crate::object::Id;
use crate::security::StatusKey;

/// One thin client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminal {
    /// Its name; no other terminal has it, whatever the case.
    pub name: TerminalName,
    /// Its network cards: one or two; no other terminal has them.
    pub macs: Vec<MacAddress>,
    /// Its hardware model: a TermCap entry.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub model: Option<Id>,
    /// The group that it inherits from.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub group: Option<Id>,
    /// Whether it may boot.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether another unit may take its place.
    #[serde(default = "yes")]
    pub replaceable: bool,
    /// Its address data, if it does not use DHCP.
    #[serde(default)]
    pub address: Option<StaticAddress>,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
    /// What it sets itself.
    #[serde(default)]
    pub settings: Settings,
    /// Whether it may boot by the licences of the site. The server gives and takes it: what a request says of it is passed over.
    #[serde(default)]
    #[schema(read_only)]
    pub seat: Seat,
    /// Sealed: what its status reports are authenticated with, given when it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub status_key: Option<StatusKey>,
}

/// Terminals that have something in common. Groups may be in groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalGroup {
    /// Its name; no other group has it.
    pub name: Label,
    /// The group that it is in.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub parent: Option<Id>,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
    /// What it sets for everything in it.
    #[serde(default)]
    pub settings: Settings,
}

/// What a terminal, a group or the whole site may set. What is absent is inherited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What it boots. Without it: the default package of its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareChoice>,
    /// Modules that are loaded, with the parameters that differ from their defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<ModuleUse>>,
    /// Where its sessions run, in the order of failover.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub terminal_servers: Option<Vec<Id>>,
    /// Two live sessions, so that the second is there when the first fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instant_failover: Option<bool>,
    /// Whether it is a client program on a Windows PC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows_client: Option<bool>,
    /// Whether it shares a keyboard and a mouse with others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_keyboard_mouse: Option<bool>,
    /// Its screens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<Display>,
    /// Whether somebody may look at its screen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_shadowing: Option<bool>,
    /// Whom it reports its status to, without it: the boot servers; and while two servers are kept the same by themselves, the boot
    /// servers in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_monitors: Option<Vec<Host>>,
    /// Whether it goes home to the first boot server when that is back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce_boot_priority: Option<bool>,
    /// Whether only a unit of the same model may take its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_same_model: Option<bool>,
}

/// A firmware package, and which of its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirmwareChoice {
    /// The package.
    #[schema(value_type = String)]
    pub package: Id,
    /// The version; the package's active one, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Segment>,
}

/// A module that is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModuleUse {
    /// The module.
    #[schema(value_type = String)]
    pub module: Id,
    /// Parameters that differ from its defaults.
    #[serde(default)]
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub parameters: BTreeMap<ParameterName, ParameterValue>,
}

/// Screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Display {
    /// Pixels across.
    pub width_px: u16,
    /// Pixels down.
    pub height_px: u16,
    /// Pictures a second; the screen's own choice, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_hz: Option<u16>,
    /// How many screens.
    #[serde(default = "one")]
    pub screens: u8,
}

fn yes() -> bool {
    true
}

fn one() -> u8 {
    1
}

impl Terminal {
    /// One that sets nothing itself.
    #[must_use]
    pub fn new(name: TerminalName, mac: MacAddress, group: Option<Id>) -> Self {
        Terminal {
            name,
            macs: vec![mac],
            model: None,
            group,
            enabled: true,
            replaceable: true,
            address: None,
            remark: Remark::default(),
            settings: Settings::default(),
            seat: Seat::default(),
            status_key: None,
        }
    }

    /// Takes over what another one sets, and its group. What it is (name, cards, model, address) stays.
    pub fn copy_from(&mut self, other: &Terminal) {
        self.settings = other.settings.clone();
        self.group.clone_from(&other.group);
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        if !(1..=MACS_MAX).contains(&self.macs.len()) {
            return Err(Fault::new(
                "macs",
                "a terminal has one or two MAC addresses",
            ));
        }
        if self.macs[1..].contains(&self.macs[0]) {
            return Err(Fault::new("macs", "the two MAC addresses must differ"));
        }
        if let Some(Err((field, why))) = self.address.as_ref().map(StaticAddress::check) {
            return Err(Fault::new(format!("address.{field}"), why));
        }
        self.settings.check("settings")
    }

    pub(super) fn references(&self) -> Vec<Reference> {
        let mut found = self.settings.references("settings");
        found.extend(
            self.model
                .iter()
                .map(|id| Reference::new("model", Kind::TermCap, id)),
        );
        found.extend(
            self.group
                .iter()
                .map(|id| Reference::new("group", Kind::TerminalGroup, id)),
        );
        found
    }
}

impl TerminalGroup {
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.settings.check("settings")
    }

    pub(super) fn references(&self) -> Vec<Reference> {
        let mut found = self.settings.references("settings");
        found.extend(
            self.parent
                .iter()
                .map(|id| Reference::new("parent", Kind::TerminalGroup, id)),
        );
        found
    }
}

impl Settings {
    pub(super) fn check(&self, at: &str) -> Result<(), Fault> {
        let bounded = |field: &str, count: Option<usize>, max: usize| match count {
            Some(count) if count > max => Err(Fault::new(
                format!("{at}.{field}"),
                format!("at most {max} are allowed here"),
            )),
            _ => Ok(()),
        };
        bounded("modules", self.modules.as_ref().map(Vec::len), MODULES_MAX)?;
        bounded(
            "terminal_servers",
            self.terminal_servers.as_ref().map(Vec::len),
            SESSIONS_MAX,
        )?;
        bounded(
            "status_monitors",
            self.status_monitors.as_ref().map(Vec::len),
            MONITORS_MAX,
        )?;
        for (index, used) in self.modules.iter().flatten().enumerate() {
            bounded(
                &format!("modules[{index}].parameters"),
                Some(used.parameters.len()),
                PARAMETERS_MAX,
            )?;
        }
        match self.display {
            Some(display) => display
                .check()
                .map_err(|(field, why)| Fault::new(format!("{at}.display.{field}"), why)),
            None => Ok(()),
        }
    }

    pub(super) fn references(&self, at: &str) -> Vec<Reference> {
        let mut found = Vec::new();
        if let Some(firmware) = &self.firmware {
            let field = format!("{at}.firmware.package");
            found.push(Reference::new(
                field,
                Kind::FirmwarePackage,
                &firmware.package,
            ));
        }
        for (index, used) in self.modules.iter().flatten().enumerate() {
            let field = format!("{at}.modules[{index}].module");
            found.push(Reference::new(field, Kind::Module, &used.module));
        }
        for (index, server) in self.terminal_servers.iter().flatten().enumerate() {
            let field = format!("{at}.terminal_servers[{index}]");
            found.push(Reference::new(field, Kind::TerminalServer, server));
        }
        found
    }
}

impl Display {
    fn check(self) -> Result<(), (&'static str, &'static str)> {
        if !(320..=16_384).contains(&self.width_px) {
            return Err(("width_px", "a screen has 320 to 16384 pixels across"));
        }
        if !(200..=16_384).contains(&self.height_px) {
            return Err(("height_px", "a screen has 200 to 16384 pixels down"));
        }
        if self
            .refresh_hz
            .is_some_and(|rate| !(20..=500).contains(&rate))
        {
            return Err(("refresh_hz", "a screen shows 20 to 500 pictures a second"));
        }
        if !(1..=DISPLAYS_MAX).contains(&self.screens) {
            return Err(("screens", "a terminal has 1 to 8 screens"));
        }
        Ok(())
    }
}
