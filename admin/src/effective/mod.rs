//! Effective settings: what holds for a terminal when everything that it inherits is put together.
//!
//! Each setting is looked for in the terminal, then its group, the group around that and so on, then the site's defaults;
//! for firmware, then the model's default package. The first that sets it wins, if it can be met: a reference
//! that leads nowhere is passed over, and is a [`Problem`]. So a terminal always gets something definite.

mod problem;
mod resolution;

pub use problem::{Problem, ProblemCode};
pub use resolution::{effective, model_firmware, model_of, sourced_model};

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::kind::{
    Architecture, Display, Host, ParameterName, ParameterValue, Segment, SessionProtocol,
};
use crate::object::{Id, Object};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Origin {
    /// `terminal`, `terminal-group`, `setting` (the site's defaults), `term-cap` (the model) or `built-in`.
    pub kind: &'static str,
    /// The object, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<Id>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Origin {
    pub(crate) fn built_in() -> Self {
        Origin {
            kind: "built-in",
            id: None,
            name: None,
        }
    }

    fn of(object: &Object) -> Self {
        Origin {
            kind: object.kind().word(),
            id: Some(object.id.clone()),
            name: Some(object.body.name().to_owned()),
        }
    }
}

/// A value, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Sourced<T> {
    /// What holds.
    pub value: T,
    /// Where it comes from.
    pub from: Origin,
}

/// Everything that holds for a terminal.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Effective {
    /// What it boots.
    pub firmware: Sourced<Option<Firmware>>,
    /// Modules, with all their parameters.
    pub modules: Sourced<Vec<LoadedModule>>,
    /// Where its sessions run, in the order of failover.
    pub terminal_servers: Sourced<Vec<Session>>,
    /// Two live sessions.
    pub instant_failover: Sourced<bool>,
    /// A client program on a Windows PC.
    pub windows_client: Sourced<bool>,
    /// A keyboard and a mouse shared with others.
    pub shared_keyboard_mouse: Sourced<bool>,
    /// Its screens.
    pub display: Sourced<Option<Display>>,
    /// Whether somebody may look at its screen.
    pub allow_shadowing: Sourced<bool>,
    /// Whom it reports its status to; nobody said: the boot servers.
    pub status_monitors: Sourced<Option<Vec<Host>>>,
    /// Whether it goes home to the first boot server.
    pub enforce_boot_priority: Sourced<bool>,
    /// Whether only a unit of the same model may take its place.
    pub replace_same_model: Sourced<bool>,
}

/// The hardware model that a terminal is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Model {
    /// The TermCap entry.
    #[schema(value_type = String)]
    pub id: Id,
    /// Its name.
    pub name: String,
}

/// A version of a package, as one terminal boots it. The files are names that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Firmware {
    /// The package.
    pub package: Segment,
    /// The version.
    pub version: Segment,
    /// The kernel.
    pub kernel: String,
    /// Initial RAM disks, in order.
    pub initrds: Vec<String>,
    /// The kernel's arguments.
    pub arguments: String,
    /// What firmware of each architecture fetches first, where the version says so: not a part of what a terminal reads.
    #[serde(skip)]
    pub loaders: BTreeMap<Architecture, String>,
}

/// A module, as one terminal loads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LoadedModule {
    /// The module.
    pub name: Segment,
    /// Every parameter, with its value.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub parameters: BTreeMap<ParameterName, ParameterValue>,
}

/// A terminal server, as one terminal uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Session {
    /// The terminal server.
    pub name: String,
    /// Its host.
    pub address: Host,
    /// How to talk to it.
    pub protocol: SessionProtocol,
    /// Its port.
    pub port: u16,
}
