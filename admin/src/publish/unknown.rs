//! What units get that are no terminal's: the names that a boot server falls back to when it knows no terminal of the
//! network card in a name. A policy that refuses publishes none of them.

use std::sync::Arc;

use daybreak_store::Name;
use serde::Serialize;
use serde_json::json;

use super::template::{CompiledScript, Script};
use super::terminal_file::{FileServer, SCHEMA_VERSION, ScriptServer};
use crate::effective::{Firmware, Problem, ProblemCode, model_firmware};
use crate::kind::{Body, Kind, Setting, TermCap, UnknownPolicy};
use crate::limits::UNKNOWN_CHOICES_MAX;
use crate::object::Id;
use crate::site::Site;
use crate::unknown::policy;

/// Every name, with the script that is under it; the last one is no script.
const NAMES: [(&str, Option<Script>); 4] = [
    ("boot/unknown.ipxe", Some(Script::UnknownIpxe)),
    ("pxelinux.cfg/unknown", Some(Script::UnknownPxelinux)),
    ("grub.cfg-unknown", Some(Script::UnknownGrub)),
    ("terminals/unknown.json", None),
];

/// `terminals/unknown.json`: see `docs/schema/unknown-1.json`.
#[derive(Serialize)]
struct UnknownFile<'a> {
    schema_version: u32,
    known: bool,
    policy: UnknownPolicy,
    boot_servers: &'a [FileServer<'a>],
}

/// What a template is rendered with.
#[derive(Serialize)]
struct Context<'a> {
    policy: UnknownPolicy,
    choices: &'a [Choice],
    boot_servers: &'a [ScriptServer],
}

/// Something that the unit may boot: what a hardware model boots.
#[derive(Serialize)]
struct Choice {
    /// From 1.
    number: usize,
    /// The model's name, of characters that mean nothing in a script.
    name: String,
    firmware: Firmware,
    /// Its network cards, as iPXE spells what is on a bus.
    bus_ids: Vec<String>,
}

/// Every name, with what is published under it; nothing, if the policy refuses.
pub(super) type UnknownFiles = Vec<(Name, Option<Arc<[u8]>>)>;

/// The files of units that are no terminal's.
pub(super) fn files(
    site: &Site,
    servers: &[FileServer<'_>],
    script_servers: impl Fn(Script) -> Vec<ScriptServer>,
    template: impl Fn(Script) -> CompiledScript,
) -> UnknownFiles {
    let policy = policy(site).policy;
    let choices = choices(site);
    let content = |script: Option<Script>| -> Arc<[u8]> {
        let Some(script) = script else {
            let file = UnknownFile {
                schema_version: SCHEMA_VERSION,
                known: false,
                policy,
                boot_servers: servers,
            };
            let mut json = serde_json::to_vec(&file).expect("text keys and plain values");
            json.push(b'\n');
            return json.into();
        };
        let context = Context {
            policy,
            choices: &choices,
            boot_servers: &script_servers(script),
        };
        let own = template(script).render_context(&context);
        let text = own.or_else(|_| built_in(script).render_context(&context));
        text.unwrap_or_else(|_| bare(script)).into_bytes().into()
    };
    let named = NAMES.into_iter().map(|(name, script)| {
        let name = Name::parse(name).expect("a name");
        let wanted = policy != UnknownPolicy::Refuse;
        (name, wanted.then(|| content(script)))
    });
    named.collect()
}

/// Where a policy names a group that is gone.
pub(super) fn problem(site: &Site) -> Option<Problem> {
    let group = policy(site).group?;
    if site.object(Kind::TerminalGroup, &group).is_some() {
        return None;
    }
    Some(Problem {
        code: ProblemCode::DanglingReference,
        kind: Kind::Setting.word(),
        id: Id::parse(Setting::UNKNOWN_TERMINALS).ok()?,
        name: Setting::UNKNOWN_TERMINALS.to_owned(),
        field: Some("value.group".into()),
        message: format!("there is no terminal-group {group}; new terminals get none"),
    })
}

fn built_in(script: Script) -> CompiledScript {
    CompiledScript::new(script.built_in()).expect("a template that a test has checked")
}

/// Where many choices and servers make even the built-in one too long: nothing to choose from.
fn bare(script: Script) -> String {
    let context = Context {
        policy: UnknownPolicy::Hold,
        choices: &[],
        boot_servers: &[],
    };
    let text = built_in(script).render_context(&context);
    text.expect("a template that a test has checked")
}

fn choices(site: &Site) -> Vec<Choice> {
    let models = site.table(Kind::TermCap).by_name();
    let models = models.filter_map(|object| match &object.body {
        Body::TermCap(model) => Some((model, model_firmware(site, model)?)),
        _ => None,
    });
    let choices = (1..).zip(models.take(UNKNOWN_CHOICES_MAX));
    choices
        .map(|(number, (model, firmware))| Choice {
            number,
            name: harmless(model.name.as_str()),
            firmware,
            bus_ids: bus_ids(model),
        })
        .collect()
}

/// A name for people may hold what a script would run.
fn harmless(name: &str) -> String {
    let letter = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() || " ._-".contains(letter) => letter,
        _ => '_',
    };
    name.chars().map(letter).collect()
}

/// iPXE: the kind of bus (1 is PCI), the vendor and the device, octet by octet.
fn bus_ids(model: &TermCap) -> Vec<String> {
    let spelled = |id: &str| format!("01:{}:{}:{}:{}", &id[..2], &id[2..4], &id[5..7], &id[7..]);
    let ids = model.pci_ids.iter();
    ids.map(|id| spelled(id.as_str())).collect()
}

/// Contexts that every template must render with.
pub(super) fn sample_contexts() -> Vec<serde_json::Value> {
    let firmware = json!({
        "package": "linux", "version": "1", "kernel": "firmware/linux/1/vmlinuz",
        "initrds": ["firmware/linux/1/initrd", "firmware/linux/1/modules"], "arguments": "quiet",
    });
    let choice = |number: u8, firmware: serde_json::Value| json!({"number": number, "name": "model", "firmware": firmware, "bus_ids": ["01:10:ec:81:39"]});
    let mut bare = firmware.clone();
    (bare["initrds"], bare["arguments"]) = (json!([]), json!(""));
    let server = |number: u8| {
        let host = format!("192.0.2.{number}");
        json!({"number": number, "name": format!("server {number}"), "host": host, "url_host": host})
    };
    let mut contexts = Vec::new();
    for policy in ["hold", "create"] {
        for choices in [
            vec![],
            vec![choice(1, firmware.clone()), choice(2, bare.clone())],
        ] {
            for servers in [vec![], vec![server(1)], vec![server(1), server(2)]] {
                contexts
                    .push(json!({"policy": policy, "choices": choices, "boot_servers": servers}));
            }
        }
    }
    contexts
}
