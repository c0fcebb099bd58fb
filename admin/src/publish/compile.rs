//! Rendering the files of every terminal, again only where something changed.
//!
//! A terminal's files depend on its own object and on everything that is not a terminal. So two things are
//! remembered: the tables of the other kinds, as a whole, and the rendered files of each terminal with the object that they
//! were rendered from. A state shares what did not change with the one before, so telling is comparing pointers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use daybreak_store::Name;

use super::template::{CompiledScript, Script};
use super::terminal_file::{
    FileServer, ScriptContext, ScriptServer, TerminalFile, boot_servers, script_servers,
};
use crate::effective::{Effective, Problem, effective};
use crate::kind::{Body, BootServer, Kind, MacAddress, Setting, Terminal};
use crate::object::{Id, Object};
use crate::site::{Site, Table};

/// Kinds that terminals' files depend on.
const SHARED: [Kind; 7] = [
    Kind::TerminalGroup,
    Kind::TerminalServer,
    Kind::TermCap,
    Kind::FirmwarePackage,
    Kind::Module,
    Kind::BootServer,
    Kind::Setting,
];

/// Rendered files by name.
pub type Files = BTreeMap<Name, Arc<[u8]>>;

/// What a state of the site means for terminals.
#[derive(Debug)]
pub struct Compiled {
    /// All rendered files.
    pub files: Files,
    /// What is wrong, in the order of the objects that it is about.
    pub problems: Vec<Problem>,
    /// Terminals that were rendered for this, not remembered.
    pub rendered: usize,
}

/// Renders, and remembers.
#[derive(Default)]
pub struct Compiler {
    shared: Option<Shared>,
    terminals: HashMap<Id, Rendered>,
}

struct Shared {
    tables: [Arc<Table>; SHARED.len()],
    templates: [(Script, CompiledScript); Script::ALL.len()],
}

struct Rendered {
    from: Arc<Object>,
    files: Vec<(Name, Arc<[u8]>)>,
    problems: Vec<Problem>,
}

impl Compiler {
    /// Nothing remembered.
    #[must_use]
    pub fn new() -> Self {
        Compiler::default()
    }

    /// The files of every terminal of `site`.
    pub fn compile(&mut self, site: &Site) -> Compiled {
        let tables = SHARED.map(|kind| Arc::clone(site.table(kind)));
        let same = |shared: &Shared| {
            shared
                .tables
                .iter()
                .zip(&tables)
                .all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let shared = match self.shared.take() {
            Some(shared) if same(&shared) => shared,
            _ => {
                self.terminals.clear();
                Shared {
                    templates: Script::ALL.map(|script| (script, template(site, script))),
                    tables,
                }
            }
        };
        let render = Render::new(site, &shared);
        let mut rendered = 0;
        let mut files = BTreeMap::new();
        let mut problems = Vec::new();
        let mut kept = HashMap::with_capacity(self.terminals.len());
        for object in site.table(Kind::Terminal).objects() {
            let remembered = self.terminals.remove(&object.id);
            let outcome = match remembered {
                Some(remembered) if Arc::ptr_eq(&remembered.from, object) => remembered,
                _ => {
                    rendered += 1;
                    render.terminal(object)
                }
            };
            problems.extend(outcome.problems.iter().cloned());
            for (name, content) in &outcome.files {
                // The first by identifier has the card.
                files
                    .entry(name.clone())
                    .or_insert_with(|| Arc::clone(content));
            }
            kept.insert(object.id.clone(), outcome);
        }
        problems.extend(cards_taken(site));
        problems.sort_unstable();
        problems.dedup();
        self.terminals = kept;
        self.shared = Some(shared);
        Compiled {
            files,
            problems,
            rendered,
        }
    }
}

/// The site's own template, or the built-in one; it was checked when it was set, and if a newer version of this
/// software cannot use it any more, rendering falls back for each terminal.
fn template(site: &Site, script: Script) -> CompiledScript {
    let setting =
        site.table(Kind::Setting)
            .objects()
            .find_map(|object| match (&object.body, script) {
                (Body::Setting(Setting::IpxeScript(template)), Script::Ipxe)
                | (Body::Setting(Setting::PxelinuxScript(template)), Script::Pxelinux)
                | (Body::Setting(Setting::GrubScript(template)), Script::Grub) => Some(template),
                _ => None,
            });
    let own = setting.and_then(|template| CompiledScript::new(template.as_str()).ok());
    own.unwrap_or_else(|| built_in(script))
}

fn built_in(script: Script) -> CompiledScript {
    CompiledScript::new(script.built_in()).expect("a template that a test has checked")
}

/// Where a merge brought one card twice.
fn cards_taken(site: &Site) -> Vec<Problem> {
    let mut problems = Vec::new();
    for object in site.table(Kind::Terminal).objects() {
        let Body::Terminal(terminal) = &object.body else {
            continue;
        };
        for (index, mac) in terminal.macs.iter().enumerate() {
            if let Some(holder) = site
                .terminals_with(*mac)
                .next()
                .filter(|holder| **holder != object.id)
            {
                problems.push(Problem {
                    code: "card_taken",
                    kind: Kind::Terminal.word(),
                    id: object.id.clone(),
                    name: object.body.name().to_owned(),
                    field: Some(format!("macs[{index}]")),
                    message: format!("terminal {holder} has {mac}, too, and gets its files"),
                });
            }
        }
    }
    problems
}

/// Everything that rendering one terminal needs.
struct Render<'s> {
    site: &'s Site,
    shared: &'s Shared,
    boot_servers: Vec<&'s BootServer>,
    script_servers: [Vec<ScriptServer>; Script::ALL.len()],
}

impl<'s> Render<'s> {
    fn new(site: &'s Site, shared: &'s Shared) -> Self {
        let boot_servers = boot_servers(site);
        Render {
            script_servers: Script::ALL.map(|script| script_servers(script, &boot_servers)),
            site,
            shared,
            boot_servers,
        }
    }

    fn terminal(&self, object: &Arc<Object>) -> Rendered {
        let mut outcome = Rendered {
            from: Arc::clone(object),
            files: Vec::new(),
            problems: Vec::new(),
        };
        let Body::Terminal(terminal) = &object.body else {
            return outcome;
        };
        let (effective, problems) = effective(self.site, object, terminal);
        outcome.problems = problems;
        let servers: Vec<FileServer<'_>> = self
            .boot_servers
            .iter()
            .map(|server| FileServer {
                name: server.name.as_str(),
                address: server.address.as_str(),
            })
            .collect();
        for mac in &terminal.macs {
            outcome
                .files
                .extend(self.files(&object.id, terminal, *mac, &effective, &servers));
        }
        outcome
    }

    fn files(
        &self,
        id: &Id,
        terminal: &Terminal,
        mac: MacAddress,
        effective: &Effective,
        servers: &[FileServer<'_>],
    ) -> Vec<(Name, Arc<[u8]>)> {
        let file = TerminalFile::new(id, terminal, mac, effective, servers);
        // Compact, and scripts without the terminal's name: a catalog keeps equal contents once, and is written anew
        // at every change.
        let mut json = serde_json::to_vec(&file).expect("text keys and plain values");
        json.push(b'\n');
        let mut files = vec![(named(format!("terminals/{mac}.json")), Arc::from(json))];
        let scripts = self.shared.templates.iter().zip(&self.script_servers);
        for ((script, template), servers) in scripts {
            let context = ScriptContext::new(&file, servers);
            let text = template.render_context(&context);
            let text = text.unwrap_or_else(|_| {
                let own = built_in(*script).render_context(&context);
                own.expect("a template that a test has checked")
            });
            files.push((script_name(*script, mac), text.into_bytes().into()));
        }
        files
    }
}

fn script_name(script: Script, mac: MacAddress) -> Name {
    match script {
        Script::Ipxe => named(format!("boot/{mac}.ipxe")),
        Script::Pxelinux => named(format!("pxelinux.cfg/01-{}", mac.hyphenated())),
        Script::Grub => named(format!("grub.cfg-01-{}", mac.hyphenated())),
    }
}

fn named(text: String) -> Name {
    Name::parse(text).expect("digits and separators")
}
