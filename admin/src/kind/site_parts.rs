//! What terminals refer to: firmware, hardware models, modules, terminal servers; and the boot servers themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::network::{Host, MacPrefix, PciId};
use super::text::{Arguments, FileName, Label, ParameterName, ParameterValue, Remark, Segment};
use super::{Fault, Kind, Reference};
use crate::limits::{INITRDS_MAX, PARAMETERS_MAX, PREFIXES_MAX, VERSIONS_MAX};
use crate::object::Id;

/// Where sessions run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalServer {
    /// Its name; no other terminal server has it.
    pub name: Label,
    /// Its host.
    pub address: Host,
    /// How a terminal talks to it.
    pub protocol: SessionProtocol,
    /// Its port; the protocol's usual one, if absent.
    #[serde(default)]
    pub port: Option<u16>,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
}

/// How a terminal talks to a terminal server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SessionProtocol {
    /// Remote Desktop Protocol.
    Rdp,
    /// Remote framebuffer (VNC).
    Vnc,
    /// X11 by XDMCP.
    Xdmcp,
    /// Secure shell.
    Ssh,
    /// A web page.
    Https,
}

impl SessionProtocol {
    /// The port that it uses unless told otherwise.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            SessionProtocol::Rdp => 3389,
            SessionProtocol::Vnc => 5900,
            SessionProtocol::Xdmcp => 177,
            SessionProtocol::Ssh => 22,
            SessionProtocol::Https => 443,
        }
    }
}

/// What a machine is, as far as its firmware goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// PC with BIOS.
    X86Bios,
    /// 32-bit PC with UEFI.
    X86Uefi,
    /// 64-bit PC with UEFI.
    X86_64Uefi,
    /// 64-bit ARM with UEFI.
    Arm64Uefi,
    /// ARM with U-Boot.
    ArmUboot,
}

/// A hardware model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermCap {
    /// Its name; no other model has it.
    pub name: Label,
    /// What it is.
    pub architecture: Architecture,
    /// MAC addresses that begin like this are of this model.
    #[serde(default)]
    pub mac_prefixes: Vec<MacPrefix>,
    /// Network cards on the PCI bus that are of this model, told to a unit that is not registered.
    #[serde(default)]
    pub pci_ids: Vec<PciId>,
    /// What it boots where nothing else is chosen.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub package: Option<Id>,
    /// Screens that it can drive.
    #[serde(default)]
    pub screens_max: Option<u8>,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
}

/// Files that terminals boot, in versions. They lie in the store under `firmware/<package>/<version>/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirmwarePackage {
    /// Its name, a part of the names of its files; no other package has it.
    pub name: Segment,
    /// The version that terminals boot unless told otherwise.
    #[serde(default)]
    pub active: Option<Segment>,
    /// All versions; old ones stay until they are removed here.
    #[serde(default)]
    pub versions: Vec<PackageVersion>,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
}

/// One version of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageVersion {
    /// Its name, a part of the names of its files.
    pub version: Segment,
    /// What is booted, by architecture. The first is also for terminals whose architecture is not known.
    pub boot: Vec<BootFiles>,
}

/// What a boot script loads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BootFiles {
    /// For which machines.
    pub architecture: Architecture,
    /// The kernel.
    pub kernel: FileName,
    /// Initial RAM disks, in order.
    #[serde(default)]
    pub initrds: Vec<FileName>,
    /// The kernel's arguments.
    #[serde(default)]
    pub arguments: Arguments,
    /// What PXE firmware fetches first, where ProxyDHCP tells it; otherwise what the site has for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<FileName>,
}

/// A loadable part of a terminal's software.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name; no other module has it.
    pub name: Segment,
    /// What can be set.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
}

/// What can be set of a module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name, within the module.
    pub name: ParameterName,
    /// Its value where nothing else is set.
    pub default: ParameterValue,
    /// The only values that it may have; any, if absent.
    #[serde(default)]
    pub choices: Option<Vec<ParameterValue>>,
}

/// A boot server of the site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BootServer {
    /// Its name; no other boot server has it.
    pub name: Label,
    /// Its host, as terminals reach it.
    pub address: Host,
    /// Lower ones are tried first.
    #[serde(default)]
    pub priority: u16,
    /// For people.
    #[serde(default)]
    pub remark: Remark,
}

impl TerminalServer {
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.port == Some(0) {
            return Err(Fault::new("port", "a port is 1 to 65535"));
        }
        Ok(())
    }
}

impl TermCap {
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.mac_prefixes.len() > PREFIXES_MAX {
            return Err(Fault::new(
                "mac_prefixes",
                format!("at most {PREFIXES_MAX} are allowed here"),
            ));
        }
        if self.pci_ids.len() > PREFIXES_MAX {
            return Err(Fault::new(
                "pci_ids",
                format!("at most {PREFIXES_MAX} are allowed here"),
            ));
        }
        if self.screens_max == Some(0) {
            return Err(Fault::new(
                "screens_max",
                "a model that drives no screen leaves this out",
            ));
        }
        Ok(())
    }

    pub(super) fn references(&self) -> Vec<Reference> {
        let package = self.package.iter();
        package
            .map(|id| Reference::new("package", Kind::FirmwarePackage, id))
            .collect()
    }
}

impl FirmwarePackage {
    /// The version of this name.
    #[must_use]
    pub fn version(&self, name: &Segment) -> Option<&PackageVersion> {
        self.versions
            .iter()
            .find(|version| version.version == *name)
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.versions.len() > VERSIONS_MAX {
            return Err(Fault::new(
                "versions",
                format!("at most {VERSIONS_MAX} are allowed here"),
            ));
        }
        for (index, version) in self.versions.iter().enumerate() {
            let field = |what: &str| format!("versions[{index}].{what}");
            if self.versions[..index]
                .iter()
                .any(|other| other.version == version.version)
            {
                return Err(Fault::new(field("version"), "two versions have this name"));
            }
            if version.boot.is_empty() {
                return Err(Fault::new(
                    field("boot"),
                    "a version needs something to boot",
                ));
            }
            for (place, files) in version.boot.iter().enumerate() {
                let before = &version.boot[..place];
                if before
                    .iter()
                    .any(|other| other.architecture == files.architecture)
                {
                    let field = field(&format!("boot[{place}].architecture"));
                    return Err(Fault::new(field, "this architecture is listed twice"));
                }
                if files.initrds.len() > INITRDS_MAX {
                    let field = field(&format!("boot[{place}].initrds"));
                    return Err(Fault::new(
                        field,
                        format!("at most {INITRDS_MAX} are allowed here"),
                    ));
                }
            }
        }
        match &self.active {
            Some(active) if self.version(active).is_none() => Err(Fault::new(
                "active",
                "the package has no version of this name",
            )),
            _ => Ok(()),
        }
    }
}

impl PackageVersion {
    /// What a machine of this architecture boots; unknown: the first.
    #[must_use]
    pub fn boot_files(&self, architecture: Option<Architecture>) -> Option<&BootFiles> {
        match architecture {
            Some(wanted) => self.boot.iter().find(|files| files.architecture == wanted),
            None => self.boot.first(),
        }
    }
}

impl Architecture {
    /// Its word, as in every text about it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Architecture::X86Bios => "x86-bios",
            Architecture::X86Uefi => "x86-uefi",
            Architecture::X86_64Uefi => "x86-64-uefi",
            Architecture::Arm64Uefi => "arm64-uefi",
            Architecture::ArmUboot => "arm-uboot",
        }
    }
}

impl Module {
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.parameters.len() > PARAMETERS_MAX {
            return Err(Fault::new(
                "parameters",
                format!("at most {PARAMETERS_MAX} are allowed here"),
            ));
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            let before = &self.parameters[..index];
            if before.iter().any(|other| other.name == parameter.name) {
                let field = format!("parameters[{index}].name");
                return Err(Fault::new(field, "two parameters have this name"));
            }
            if !parameter.allows(&parameter.default) {
                let field = format!("parameters[{index}].default");
                return Err(Fault::new(field, "the default is not one of the choices"));
            }
        }
        Ok(())
    }
}

impl Parameter {
    /// Whether it may have this value.
    #[must_use]
    pub fn allows(&self, value: &ParameterValue) -> bool {
        self.choices
            .as_ref()
            .is_none_or(|choices| choices.contains(value))
    }
}
