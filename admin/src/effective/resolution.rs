//! Looking for each setting, from the terminal outwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Effective, Firmware, LoadedModule, Model, Origin, Problem, ProblemCode, Session, Sourced,
};
use crate::kind::{
    Body, BootFiles, Display, FileName, FirmwareChoice, FirmwarePackage, Kind, MacPrefix, Module,
    ModuleUse, ParameterName, ParameterValue, Segment, Setting, Settings, TermCap, Terminal,
    TerminalServer,
};
use crate::limits::GROUP_DEPTH_MAX;
use crate::object::{Id, Object};
use crate::site::Site;

/// One place that may set something, nearest first.
struct Layer<'s> {
    settings: &'s Settings,
    origin: &'s Object,
}

struct Resolution<'s> {
    site: &'s Site,
    terminal: &'s Object,
    layers: Vec<Layer<'s>>,
    problems: Vec<Problem>,
}

/// What holds for `terminal`, an object of `site`, and what was passed over.
#[must_use]
pub fn effective(site: &Site, object: &Object, terminal: &Terminal) -> (Effective, Vec<Problem>) {
    let mut resolution = Resolution {
        site,
        terminal: object,
        layers: vec![Layer {
            settings: &terminal.settings,
            origin: object,
        }],
        problems: Vec::new(),
    };
    resolution.climb(terminal.group.as_ref());
    let mut effective = Effective {
        firmware: resolution.firmware(terminal),
        modules: resolution.modules(),
        terminal_servers: resolution.sessions(),
        instant_failover: resolution.plain(|s| s.instant_failover, false),
        windows_client: resolution.plain(|s| s.windows_client, false),
        shared_keyboard_mouse: resolution.plain(|s| s.shared_keyboard_mouse, false),
        display: resolution.plain(|s| s.display.map(Some), None),
        allow_shadowing: resolution.plain(|s| s.allow_shadowing, false),
        status_monitors: resolution.plain(|s| s.status_monitors.clone().map(Some), None),
        enforce_boot_priority: resolution.plain(|s| s.enforce_boot_priority, false),
        replace_same_model: resolution.plain(|s| s.replace_same_model, false),
    };
    resolution.fit(terminal, &mut effective.display.value);
    (effective, resolution.problems)
}

/// The model that a terminal names, or else the first one that has the beginning of one of its MAC addresses.
#[must_use]
pub fn model_of<'s>(site: &'s Site, terminal: &Terminal) -> Option<&'s Arc<Object>> {
    let models = site.table(Kind::TermCap);
    let named = terminal.model.as_ref().and_then(|id| models.object(id));
    named.or_else(|| {
        let macs: Vec<String> = terminal.macs.iter().map(ToString::to_string).collect();
        let begins = |prefix: &MacPrefix| macs.iter().any(|mac| mac.starts_with(prefix.as_str()));
        models.objects().find(|object| match &object.body {
            Body::TermCap(model) => model.mac_prefixes.iter().any(begins),
            _ => false,
        })
    })
}

/// The same, and where it comes from: from the terminal that names it, or from the model, whose prefix its network card has.
#[must_use]
pub fn sourced_model(site: &Site, object: &Object, terminal: &Terminal) -> Sourced<Option<Model>> {
    let model = model_of(site, terminal);
    let from = match model {
        None => Origin::built_in(),
        Some(model) if terminal.model.as_ref() == Some(&model.id) => Origin::of(object),
        Some(model) => Origin::of(model),
    };
    let value = model.map(|model| Model {
        id: model.id.clone(),
        name: model.body.name().to_owned(),
    });
    Sourced { value, from }
}

/// What a model boots where nothing else is chosen.
#[must_use]
pub fn model_firmware(site: &Site, model: &TermCap) -> Option<Firmware> {
    let package = site.object(Kind::FirmwarePackage, model.package.as_ref()?)?;
    let Body::FirmwarePackage(package) = &package.body else {
        return None;
    };
    let version = package.version(package.active.as_ref()?)?;
    let files = version.boot_files(Some(model.architecture))?;
    Some(Firmware::of(package, &version.version, files))
}

impl<'s> Resolution<'s> {
    /// Adds the groups from `group` outwards, and the site's defaults.
    fn climb(&mut self, group: Option<&'s Id>) {
        let mut next = group.map(|id| (id, self.terminal, "group"));
        while let Some((id, inner, field)) = next {
            let Some(object) = self.site.object(Kind::TerminalGroup, id) else {
                self.dangling(inner, field, Kind::TerminalGroup, id);
                break;
            };
            if self.layers.len() > GROUP_DEPTH_MAX {
                let message =
                    "its groups are in each other or nested too deep; the outer ones are left out";
                self.problem(
                    ProblemCode::NestedTooDeep,
                    self.terminal,
                    Some("group".into()),
                    message.into(),
                );
                break;
            }
            let Body::TerminalGroup(group) = &object.body else {
                break;
            };
            self.layers.push(Layer {
                settings: &group.settings,
                origin: object,
            });
            next = group
                .parent
                .as_ref()
                .map(|parent| (parent, &**object, "parent"));
        }
        let defaults = Id::parse(Setting::KEYS[0]).expect("a key");
        if let Some(object) = self.site.object(Kind::Setting, &defaults)
            && let Body::Setting(Setting::TerminalDefaults(settings)) = &object.body
        {
            self.layers.push(Layer {
                settings,
                origin: object,
            });
        }
    }

    fn plain<T>(&self, set: impl Fn(&Settings) -> Option<T>, built_in: T) -> Sourced<T> {
        let found = self.layers.iter().find_map(|layer| {
            let value = set(layer.settings)?;
            Some(Sourced {
                value,
                from: Origin::of(layer.origin),
            })
        });
        found.unwrap_or(Sourced {
            value: built_in,
            from: Origin::built_in(),
        })
    }

    /// No more screens than the model drives.
    fn fit(&mut self, terminal: &Terminal, display: &mut Option<Display>) {
        let model = model_of(self.site, terminal).map(|object| &object.body);
        let (Some(display), Some(Body::TermCap(model))) = (display, model) else {
            return;
        };
        let screens_max = model.screens_max.unwrap_or(u8::MAX);
        if display.screens > screens_max {
            let (name, asked) = (model.name.as_str(), display.screens);
            let message = format!(
                "a {name} drives {screens_max} screens, not {asked}; it gets {screens_max}"
            );
            self.problem(
                ProblemCode::TooManyScreens,
                self.terminal,
                Some("model".into()),
                message,
            );
            display.screens = screens_max;
        }
    }

    fn firmware(&mut self, terminal: &'s Terminal) -> Sourced<Option<Firmware>> {
        let model = self.model(terminal);
        for index in 0..self.layers.len() {
            let (settings, origin) = (self.layers[index].settings, self.layers[index].origin);
            let Some(choice) = &settings.firmware else {
                continue;
            };
            let field = field_of(origin, "firmware");
            if let Some(firmware) =
                self.boots(choice, model.map(|(_, model)| model), origin, &field)
            {
                return Sourced {
                    value: Some(firmware),
                    from: Origin::of(origin),
                };
            }
        }
        if let Some((object, model)) = model
            && let Some(package) = &model.package
        {
            let choice = FirmwareChoice {
                package: package.clone(),
                version: None,
            };
            if let Some(firmware) = self.boots(&choice, Some(model), object, "package") {
                return Sourced {
                    value: Some(firmware),
                    from: Origin::of(object),
                };
            }
        }
        let message = "nothing that can be booted is chosen for it; its boot script says so";
        self.problem(ProblemCode::NoFirmware, self.terminal, None, message.into());
        Sourced {
            value: None,
            from: Origin::built_in(),
        }
    }

    fn model(&mut self, terminal: &'s Terminal) -> Option<(&'s Object, &'s TermCap)> {
        if let Some(id) = &terminal.model
            && self.site.object(Kind::TermCap, id).is_none()
        {
            self.dangling(self.terminal, "model", Kind::TermCap, id);
        }
        let object = model_of(self.site, terminal)?;
        match &object.body {
            Body::TermCap(model) => Some((object, model)),
            _ => None,
        }
    }

    /// What a choice means for this terminal; nothing, with a problem, if it cannot be met.
    fn boots(
        &mut self,
        choice: &FirmwareChoice,
        model: Option<&TermCap>,
        origin: &Object,
        field: &str,
    ) -> Option<Firmware> {
        let found = self.site.object(Kind::FirmwarePackage, &choice.package);
        let Some(Body::FirmwarePackage(package)) = found.map(|object| &object.body) else {
            self.dangling(origin, field, Kind::FirmwarePackage, &choice.package);
            return None;
        };
        let version = choice.version.as_ref().or(package.active.as_ref());
        let Some(version) = version.and_then(|name| package.version(name)) else {
            let asked = choice
                .version
                .as_ref()
                .map_or("active version", Segment::as_str);
            let message = format!(
                "package {} has no {asked}; what is inherited is taken",
                package.name.as_str()
            );
            self.problem(
                ProblemCode::NoVersion,
                origin,
                Some(field.to_owned()),
                message,
            );
            return None;
        };
        let Some(files) = version.boot_files(model.map(|model| model.architecture)) else {
            let (package, version) = (package.name.as_str(), version.version.as_str());
            let message = format!(
                "package {package} {version} has nothing to boot on {}",
                self.terminal.body.name()
            );
            self.problem(
                ProblemCode::NoBootFiles,
                self.terminal,
                Some("model".into()),
                message,
            );
            return None;
        };
        Some(Firmware::of(package, &version.version, files))
    }

    fn modules(&mut self) -> Sourced<Vec<LoadedModule>> {
        self.list(|settings| settings.modules.as_deref(), Self::loaded)
    }

    fn sessions(&mut self) -> Sourced<Vec<Session>> {
        self.list(
            |settings| settings.terminal_servers.as_deref(),
            Self::session,
        )
    }

    /// The nearest list of which anything is left when what leads nowhere is left out.
    fn list<T: 's, U>(
        &mut self,
        set: impl Fn(&'s Settings) -> Option<&'s [T]>,
        resolve: impl Fn(&mut Self, &'s Object, usize, &T) -> Option<U>,
    ) -> Sourced<Vec<U>> {
        for index in 0..self.layers.len() {
            let (settings, origin) = (self.layers[index].settings, self.layers[index].origin);
            let Some(items) = set(settings) else {
                continue;
            };
            let resolved = items.iter().enumerate();
            let value: Vec<U> = resolved
                .filter_map(|(at, item)| resolve(self, origin, at, item))
                .collect();
            if !value.is_empty() || items.is_empty() {
                return Sourced {
                    value,
                    from: Origin::of(origin),
                };
            }
        }
        Sourced {
            value: Vec::new(),
            from: Origin::built_in(),
        }
    }

    fn session(&mut self, origin: &'s Object, at: usize, id: &Id) -> Option<Session> {
        let found = self.site.object(Kind::TerminalServer, id);
        let Some(Body::TerminalServer(server)) = found.map(|object| &object.body) else {
            let field = field_of(origin, &format!("terminal_servers[{at}]"));
            self.dangling(origin, &field, Kind::TerminalServer, id);
            return None;
        };
        Some(Session::of(server))
    }

    fn loaded(&mut self, origin: &'s Object, at: usize, used: &ModuleUse) -> Option<LoadedModule> {
        let field = field_of(origin, &format!("modules[{at}]"));
        let found = self.site.object(Kind::Module, &used.module);
        let Some(Body::Module(module)) = found.map(|object| &object.body) else {
            self.dangling(
                origin,
                &format!("{field}.module"),
                Kind::Module,
                &used.module,
            );
            return None;
        };
        Some(LoadedModule {
            name: module.name.clone(),
            parameters: self.parameters(module, used, origin, &field),
        })
    }

    fn parameters(
        &mut self,
        module: &Module,
        used: &ModuleUse,
        origin: &Object,
        field: &str,
    ) -> BTreeMap<ParameterName, ParameterValue> {
        let defaults = module.parameters.iter();
        let mut values: BTreeMap<_, _> = defaults
            .map(|parameter| (parameter.name.clone(), parameter.default.clone()))
            .collect();
        for (name, value) in &used.parameters {
            let known = module
                .parameters
                .iter()
                .find(|parameter| parameter.name == *name);
            if known.is_some_and(|parameter| parameter.allows(value)) {
                values.insert(name.clone(), value.clone());
                continue;
            }
            let field = format!("{field}.parameters.{}", name.as_str());
            let message = format!(
                "module {} does not take this; the default is taken",
                module.name.as_str()
            );
            self.problem(ProblemCode::UnknownParameter, origin, Some(field), message);
        }
        values
    }

    fn dangling(&mut self, origin: &Object, field: &str, kind: Kind, id: &Id) {
        let message = format!(
            "there is no {} {id}; what is inherited is taken",
            kind.word()
        );
        self.problem(
            ProblemCode::DanglingReference,
            origin,
            Some(field.to_owned()),
            message,
        );
    }

    fn problem(
        &mut self,
        code: ProblemCode,
        about: &Object,
        field: Option<String>,
        message: String,
    ) {
        self.problems.push(Problem {
            code,
            kind: about.kind().word(),
            id: about.id.clone(),
            name: about.body.name().to_owned(),
            field,
            message,
        });
    }
}

/// Where a setting lies in the body of the object that sets it.
fn field_of(origin: &Object, setting: &str) -> String {
    match origin.kind() {
        Kind::Setting => format!("value.{setting}"),
        _ => format!("settings.{setting}"),
    }
}

impl Firmware {
    fn of(package: &FirmwarePackage, version: &Segment, files: &BootFiles) -> Self {
        let (folder, label) = (package.name.as_str(), version.as_str());
        let named = |file: &FileName| format!("firmware/{folder}/{label}/{}", file.as_str());
        Firmware {
            package: package.name.clone(),
            version: version.clone(),
            kernel: named(&files.kernel),
            initrds: files.initrds.iter().map(named).collect(),
            arguments: files.arguments.as_str().to_owned(),
            loaders: (package.version(version).into_iter())
                .flat_map(|version| &version.boot)
                .filter_map(|files| Some((files.architecture, named(files.loader.as_ref()?))))
                .collect(),
        }
    }
}

impl Session {
    fn of(server: &TerminalServer) -> Self {
        Session {
            name: server.name.as_str().to_owned(),
            address: server.address.clone(),
            protocol: server.protocol,
            port: server.port.unwrap_or_else(|| server.protocol.port()),
        }
    }
}
