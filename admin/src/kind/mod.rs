//! The kinds of objects, each a typed struct: what was read is valid, or was refused with the field named.
//!
//! [`Body::parse`] is the only way from JSON. It checks everything that one object can tell by itself; what depends
//! on others (a name that is taken, a reference that leads nowhere) is checked when the change is made.

mod account;
mod network;
mod schedule;
mod setting;
mod site_parts;
mod synchronization;
mod terminal;
mod text;
mod unknown;

pub use account::{ApiKey, Role, User};
pub use network::{Host, MacAddress, MacPrefix, PciId, StaticAddress};
pub use schedule::{Date, Keep, Schedule, TimeOfDay, Weekday, When};
pub use setting::Setting;
pub use site_parts::{
    Architecture, BootFiles, BootServer, FirmwarePackage, Module, PackageVersion, Parameter,
    SessionProtocol, TermCap, TerminalServer,
};
pub use synchronization::{Mode, Synchronization};
pub use terminal::{Display, FirmwareChoice, ModuleUse, Settings, Terminal, TerminalGroup};
pub use text::{
    Arguments, Broken, FileName, Label, LoginName, ParameterName, ParameterValue, Remark, Segment,
    TerminalName,
};
pub use unknown::{NameMask, UnknownPolicy, UnknownTerminals};

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::object::Id;

/// What is wrong with a body: which field, and the rule that it broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Fault {
    /// Path of the field, as `settings.display.width_px` or `macs[1]`.
    pub field: String,
    /// The rule.
    pub why: Cow<'static, str>,
}

impl Fault {
    /// A fault of this field.
    pub fn new(field: impl Into<String>, why: impl Into<Cow<'static, str>>) -> Self {
        Fault {
            field: field.into(),
            why: why.into(),
        }
    }
}

/// A field that names another object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Path of the field.
    pub field: String,
    /// What kind it names.
    pub kind: Kind,
    /// Which one.
    pub id: Id,
}

impl Reference {
    fn new(field: impl Into<String>, kind: Kind, id: &Id) -> Self {
        Reference {
            field: field.into(),
            kind,
            id: id.clone(),
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $word:literal $path:literal,)+) => {
        /// What an object is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: [Kind; [$($word),+].len()] = [$(Kind::$kind),+];

            /// The word for one, in the database and in messages.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Kind::$kind => $word,)+ }
            }

            /// The word for all of them, in addresses.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Kind::$kind => $path,)+ }
            }
        }

        /// What an object says.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Body {
            $($(#[$doc])* $kind($kind),)+
        }

        impl Body {
            /// What it is.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self { $(Body::$kind(_) => Kind::$kind,)+ }
            }

            fn read(kind: Kind, json: &Value) -> Result<Self, Fault> {
                match kind { $(Kind::$kind => read(json).map(Body::$kind),)+ }
            }

            /// As it is stored, sealed fields included.
            #[must_use]
            pub fn stored(&self) -> Value {
                let json = match self { $(Body::$kind(body) => serde_json::to_value(body),)+ };
                json.expect("text keys and plain values")
            }
        }
    };
}

kinds! {
    /// A thin client.
    Terminal "terminal" "terminals",
    /// Terminals that have something in common.
    TerminalGroup "terminal-group" "terminal-groups",
    /// Where sessions run.
    TerminalServer "terminal-server" "terminal-servers",
    /// A hardware model.
    TermCap "term-cap" "term-caps",
    /// Files that terminals boot.
    FirmwarePackage "firmware-package" "firmware-packages",
    /// A loadable part of a terminal's software.
    Module "module" "modules",
    /// A boot server.
    BootServer "boot-server" "boot-servers",
    /// When backups are made by themselves.
    Schedule "schedule" "schedules",
    /// Somebody who may log in.
    User "user" "users",
    /// A named set of rights.
    Role "role" "roles",
    /// A secret for programs.
    ApiKey "api-key" "api-keys",
    /// A setting of the site.
    Setting "setting" "settings",
}

impl Kind {
    /// The kind of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The position in [`Kind::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Fields that no request sets and no answer shows.
    #[must_use]
    pub const fn sealed_fields(self) -> &'static [&'static str] {
        match self {
            Kind::Terminal => &["status_key"],
            Kind::User => &["verifier"],
            Kind::ApiKey => &["digest"],
            _ => &[],
        }
    }
}

impl Body {
    /// Reads a body of `kind` that was accepted once. Rules that came later are not held against it.
    pub fn parse_stored(kind: Kind, json: &Value) -> Result<Self, Fault> {
        Body::read(kind, json)
    }

    /// Reads a body of `kind`.
    pub fn parse(kind: Kind, json: &Value) -> Result<Self, Fault> {
        let body = Body::read(kind, json)?;
        body.check()?;
        Ok(body)
    }

    /// Reads a body of `kind` as somebody sent it: sealed fields are refused.
    pub fn parse_request(kind: Kind, json: &Value) -> Result<Self, Fault> {
        if !json.is_object() {
            return Err(Fault::new("", "a body is a JSON object"));
        }
        for field in kind.sealed_fields() {
            if json.get(field).is_some() {
                return Err(Fault::new(*field, "this field cannot be set directly"));
            }
        }
        Body::parse(kind, json)
    }

    /// As it may be shown: without sealed fields.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut json = self.stored();
        if let Value::Object(fields) = &mut json {
            for field in self.kind().sealed_fields() {
                fields.remove(*field);
            }
        }
        json
    }

    /// Takes over what is sealed in the state before, and what only the server gives.
    pub fn keep_sealed(&mut self, before: &Body) {
        match (self, before) {
            (Body::Terminal(new), Body::Terminal(old)) => {
                (new.status_key, new.seat) = (old.status_key, old.seat);
            }
            (Body::User(new), Body::User(old)) => new.verifier.clone_from(&old.verifier),
            (Body::ApiKey(new), Body::ApiKey(old)) => new.digest.clone_from(&old.digest),
            _ => {}
        }
    }

    /// Its name, unique within its kind whatever the case.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Body::Terminal(body) => body.name.as_str(),
            Body::TerminalGroup(body) => body.name.as_str(),
            Body::TerminalServer(body) => body.name.as_str(),
            Body::TermCap(body) => body.name.as_str(),
            Body::FirmwarePackage(body) => body.name.as_str(),
            Body::Module(body) => body.name.as_str(),
            Body::BootServer(body) => body.name.as_str(),
            Body::Schedule(body) => body.name.as_str(),
            Body::User(body) => body.name.as_str(),
            Body::Role(body) => body.name.as_str(),
            Body::ApiKey(body) => body.name.as_str(),
            Body::Setting(body) => body.key(),
        }
    }

    /// Every object that it names.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        match self {
            Body::Terminal(body) => body.references(),
            Body::TerminalGroup(body) => body.references(),
            Body::TermCap(body) => body.references(),
            Body::User(body) => body.references(),
            Body::Setting(body) => body.references(),
            Body::TerminalServer(_)
            | Body::FirmwarePackage(_)
            | Body::Module(_)
            | Body::BootServer(_)
            | Body::Schedule(_)
            | Body::Role(_)
            | Body::ApiKey(_) => Vec::new(),
        }
    }

    /// Whether it keeps every rule that one object can tell by itself.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self {
            Body::Terminal(body) => body.check(),
            Body::TerminalGroup(body) => body.check(),
            Body::TerminalServer(body) => body.check(),
            Body::TermCap(body) => body.check(),
            Body::FirmwarePackage(body) => body.check(),
            Body::Module(body) => body.check(),
            Body::Schedule(body) => body.check(),
            Body::User(body) => body.check(),
            Body::Role(body) => body.check(),
            Body::Setting(body) => body.check(),
            Body::BootServer(_) | Body::ApiKey(_) => Ok(()),
        }
    }
}

fn read<T: DeserializeOwned>(json: &Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let why = error.inner().to_string();
        let path = error.path().to_string();
        let within = if path == "." { String::new() } else { path };
        // A field that is missing has no path of its own: the message names it.
        let missing = why
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        let field = match missing {
            Some(name) if within.is_empty() => name.to_owned(),
            Some(name) => format!("{within}.{name}"),
            None => within,
        };
        Fault::new(field, why)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(kind: Kind, json: &Value) -> Fault {
        Body::parse(kind, json).expect_err("refused")
    }

    #[test]
    fn a_refused_body_names_the_field() {
        let mac = "52:54:00:00:00:01";
        for (json, field) in [
            (json!({"macs": [mac]}), "name"),
            (json!({"name": "a b", "macs": [mac]}), "name"),
            (json!({"name": "a", "macs": []}), "macs"),
            (json!({"name": "a", "macs": [mac, "x"]}), "macs[1]"),
            (json!({"name": "a", "macs": [mac, mac]}), "macs"),
            (
                json!({"name": "a", "macs": [mac], "nonsense": 1}),
                "nonsense",
            ),
            (json!({"name": "a", "macs": [mac], "model": "A B"}), "model"),
            (
                json!({"name": "a", "macs": [mac], "settings": {"display": {"width_px": 1, "height_px": 600}}}),
                "settings.display.width_px",
            ),
            (
                json!({"name": "a", "macs": [mac], "settings": {"display": {"width_px": 800}}}),
                "settings.display.height_px",
            ),
            (
                json!({"name": "a", "macs": [mac], "address": {"address": "192.0.2.1", "prefix_bits": 33}}),
                "address.prefix_bits",
            ),
        ] {
            assert_eq!(fault(Kind::Terminal, &json).field, field, "{json}");
        }
        let twice = json!({"name": "fw", "versions": [
            {"version": "1", "boot": [{"architecture": "x86-bios", "kernel": "k"}]},
            {"version": "1", "boot": [{"architecture": "x86-bios", "kernel": "k"}]},
        ]});
        assert_eq!(
            fault(Kind::FirmwarePackage, &twice).field,
            "versions[1].version"
        );
        let absent = json!({"name": "fw", "active": "2"});
        assert_eq!(fault(Kind::FirmwarePackage, &absent).field, "active");
    }

    #[test]
    fn what_is_stored_is_read_back_as_it_was() {
        let json = json!({
            "name": "kiosk-7", "macs": ["525400000001", "52-54-00-00-00-02"], "group": "halls",
            "settings": {"terminal_servers": ["a"], "instant_failover": true},
        });
        let body = Body::parse(Kind::Terminal, &json).expect("valid");
        assert_eq!(Body::parse(Kind::Terminal, &body.stored()), Ok(body));
    }

    #[test]
    fn a_sealed_field_is_neither_set_nor_shown() {
        let digest = "a".repeat(64);
        let stored = json!({"name": "key", "rights": [], "digest": digest});
        assert_eq!(
            Body::parse_request(Kind::ApiKey, &stored)
                .expect_err("refused")
                .field,
            "digest"
        );
        let body = Body::parse(Kind::ApiKey, &stored).expect("valid");
        assert_eq!(body.shown().get("digest"), None);
        let mut replaced = Body::parse_request(Kind::ApiKey, &json!({"name": "new", "rights": []}))
            .expect("valid");
        replaced.keep_sealed(&body);
        assert_eq!(replaced.stored()["digest"], digest);
    }

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_word(kind.word()), Some(kind));
            assert_eq!(Kind::ALL[kind.index()], kind);
        }
        for key in Setting::KEYS {
            assert!(Id::parse(key).is_ok());
        }
    }
}
