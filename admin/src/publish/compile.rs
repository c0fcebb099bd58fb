//! Rendering the files of every terminal, again only where something changed.
//!
//! A terminal's files depend on its own object, on everything that is not a terminal, on the licences, and on which of the counted
//! products it may use. So these things are remembered: the tables of the other kinds and the entitlement, as a whole, and
//! the rendered files of each terminal with the object and the allowance that they were rendered from. A state shares what did not change with the one before, so telling is comparing pointers; and what
//! comes out is only the difference to what came out before.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use daybreak_store::{Mac, Name, StatusKey, StoredTerminal};
use foldhash::{HashMap, HashSet};

use super::active::{ActiveVersion, active_versions};
use super::counted::{Allowance, Counted};
use super::loaders;
use super::template::{CompiledScript, Script};
use super::terminal_file::{
    Admission, FileServer, ScriptContext, ScriptServer, TerminalFile, boot_servers, script_servers,
};
use super::unknown::{self, UnknownFiles};
use crate::effective::{Effective, Problem, ProblemCode, effective};
use crate::kind::{Body, BootServer, Kind, MacAddress, Terminal};
use crate::licensing::{Entitlement, SeatState};
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

/// Whose every network card is.
pub type Cards = BTreeMap<Mac, StoredTerminal>;

/// What a state of the site means for terminals, against the state that was compiled before.
#[derive(Debug)]
pub struct Compiled<'c> {
    /// All rendered files.
    pub files: &'c Files,
    /// Whose every network card is.
    pub cards: &'c Cards,
    /// The active version of each firmware package.
    pub active: Vec<ActiveVersion>,
    /// Cards that are new, or another's, or gone.
    pub cards_changed: Vec<Mac>,
    /// Names whose content is new or another one.
    pub changed: Vec<Name>,
    /// Names that nothing renders any more.
    pub removed: Vec<Name>,
    /// What is wrong, in the order of the codes.
    pub problems: Vec<Problem>,
    /// Terminals that were rendered for this, not remembered.
    pub rendered: usize,
}

/// Renders, and remembers.
#[derive(Default)]
pub struct Compiler {
    shared: Option<Shared>,
    terminals: HashMap<Id, Rendered>,
    files: Files,
    cards: Cards,
}

struct Shared {
    tables: [Arc<Table>; SHARED.len()],
    entitlement: Entitlement,
    templates: [(Script, CompiledScript); Script::OF_TERMINALS.len()],
    built_in: [(Script, CompiledScript); Script::OF_TERMINALS.len()],
}

impl Shared {
    fn built_in(&self, script: Script) -> &CompiledScript {
        let found = self.built_in.iter().find(|(of, _)| *of == script);
        &found.expect("each script of a terminal").1
    }
}

/// Cards and names that are others than before.
#[derive(Default)]
struct Difference {
    cards_changed: Vec<Mac>,
    changed: Vec<Name>,
    removed: Vec<Name>,
}

/// The rendered files of one card.
type CardFiles = Vec<(Name, Arc<[u8]>)>;

struct Rendered {
    from: Arc<Object>,
    /// The counted products that it would use, and those that it may.
    wanted: Allowance,
    allowed: Allowance,
    files: BTreeMap<MacAddress, CardFiles>,
    problems: Vec<Problem>,
}

impl Compiler {
    /// Nothing remembered.
    #[must_use]
    pub fn new() -> Self {
        Compiler::default()
    }

    /// The files of every terminal of `site`.
    pub fn compile(&mut self, site: &Site) -> Compiled<'_> {
        let tables = SHARED.map(|kind| Arc::clone(site.table(kind)));
        let same = |shared: &Shared| {
            let pairs = shared.tables.iter().zip(&tables);
            pairs.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
                && shared.entitlement == *site.entitlement()
        };
        let remembered = self.shared.take().filter(same);
        let all = remembered.is_none();
        let shared = remembered.unwrap_or_else(|| Shared {
            templates: Script::OF_TERMINALS.map(|script| (script, template(site, script))),
            built_in: Script::OF_TERMINALS.map(|script| (script, built_in(script))),
            entitlement: *site.entitlement(),
            tables,
        });
        let render = Render::new(site, &shared);
        // Files that are no card's.
        let common = if all { render.common() } else { Vec::new() };
        let mut rendered = 0;
        let mut problems = Vec::new();
        // Cards of which the files may be others now.
        let mut touched = BTreeSet::new();
        let mut counted = Counted::default();
        for object in site.table(Kind::Terminal).objects() {
            let before = self.terminals.get(&object.id);
            let same = before.filter(|before| !all && Arc::ptr_eq(&before.from, object));
            let wanted = same.map_or_else(|| render.wanted(object), |before| before.wanted);
            counted.add(object, wanted);
        }
        let allowances = counted.allowances(site.entitlement());
        for object in site.table(Kind::Terminal).objects() {
            let (wanted, allowed) = allowances.of(&object.id);
            let before = self.terminals.get(&object.id);
            let same = |before: &&Rendered| {
                !all && Arc::ptr_eq(&before.from, object) && before.allowed == allowed
            };
            if let Some(before) = before.filter(same) {
                problems.extend(before.problems.iter().cloned());
                continue;
            }
            rendered += 1;
            let outcome = render.terminal(object, wanted, allowed);
            touched.extend(before.iter().flat_map(|before| before.files.keys()));
            touched.extend(outcome.files.keys());
            problems.extend(outcome.problems.iter().cloned());
            self.terminals.insert(object.id.clone(), outcome);
        }
        let table = site.table(Kind::Terminal);
        if self.terminals.len() > table.len() {
            let gone = |id: &Id, _: &mut Rendered| table.object(id).is_none();
            let gone = self.terminals.extract_if(gone);
            touched.extend(gone.flat_map(|(_, gone)| gone.files.into_keys()));
        }
        self.shared = Some(shared);
        let Difference {
            cards_changed,
            mut changed,
            mut removed,
        } = self.bring_up_to_date(site, touched);
        for (name, content) in common {
            match content {
                Some(content) if self.files.get(&name) != Some(&content) => {
                    self.files.insert(name.clone(), content);
                    changed.push(name);
                }
                None if self.files.remove(&name).is_some() => removed.push(name),
                _ => {}
            }
        }
        problems.extend(cards_taken(site));
        problems.extend(unknown::problem(site));
        problems.sort_unstable();
        problems.dedup();
        Compiled {
            files: &self.files,
            cards: &self.cards,
            cards_changed,
            active: active_versions(site),
            changed,
            removed,
            problems,
            rendered,
        }
    }

    /// Puts the files of these cards in their places; says which are others, and which are gone.
    fn bring_up_to_date(&mut self, site: &Site, touched: BTreeSet<MacAddress>) -> Difference {
        let mut difference = Difference::default();
        let Difference {
            cards_changed,
            changed,
            removed,
        } = &mut difference;
        for mac in touched {
            let card = Mac(mac.octets());
            // The first by identifier has the card.
            let holder = site.terminals_with(mac).next();
            let rendered = holder.and_then(|id| self.terminals.get(id));
            let Some((rendered, files)) =
                rendered.and_then(|rendered| Some((rendered, rendered.files.get(&mac)?)))
            else {
                cards_changed.extend(self.cards.remove(&card).map(|_| card));
                let gone = names(mac).into_iter();
                removed.extend(gone.filter(|name| self.files.remove(name).is_some()));
                continue;
            };
            if let Body::Terminal(terminal) = &rendered.from.body {
                let standby = site.entitlement().standby;
                let stored = stored(&rendered.from.id, terminal, standby);
                if self.cards.get(&card) != Some(&stored) {
                    self.cards.insert(card, stored);
                    cards_changed.push(card);
                }
            }
            for (name, content) in files {
                if self.files.get(name) != Some(content) {
                    self.files.insert(name.clone(), Arc::clone(content));
                    changed.push(name.clone());
                }
            }
            // The one that not every card has.
            let loaders = loaders::name_of(mac);
            if files.iter().all(|(name, _)| *name != loaders)
                && self.files.remove(&loaders).is_some()
            {
                removed.push(loaders);
            }
        }
        difference
    }
}

/// The site's own template, or the built-in one; it was checked when it was set, and if a newer version of this
/// software cannot use it any more, rendering falls back for each terminal.
fn template(site: &Site, script: Script) -> CompiledScript {
    let settings = site.table(Kind::Setting).objects();
    let mut templates = settings.filter_map(|object| match &object.body {
        Body::Setting(setting) => setting.template(),
        _ => None,
    });
    let setting = templates.find(|(of, _)| *of == script);
    let own = setting.and_then(|(_, template)| CompiledScript::new(template.as_str()).ok());
    own.unwrap_or_else(|| built_in(script))
}

fn built_in(script: Script) -> CompiledScript {
    CompiledScript::new(script.built_in()).expect("a template that a test has checked")
}

/// Where a merge brought one card twice.
fn cards_taken(site: &Site) -> Vec<Problem> {
    let twice = site.cards_named_twice();
    let found = twice.filter_map(|(mac, holder, other)| {
        let object = site.object(Kind::Terminal, other)?;
        Some(Problem {
            code: ProblemCode::CardTaken,
            kind: Kind::Terminal.word(),
            id: other.clone(),
            name: object.body.name().to_owned(),
            field: Some("macs".into()),
            message: format!("terminal {holder} has {mac}, too, and gets its files"),
        })
    });
    found.collect()
}

/// Everything that rendering one terminal needs.
struct Render<'s> {
    site: &'s Site,
    shared: &'s Shared,
    boot_servers: Vec<&'s BootServer>,
    script_servers: [Vec<ScriptServer>; Script::OF_TERMINALS.len()],
    // Thousands of terminals have the same scripts: held once, they are neither copied nor hashed for each of them.
    scripts: RefCell<HashSet<Arc<[u8]>>>,
}

impl<'s> Render<'s> {
    fn new(site: &'s Site, shared: &'s Shared) -> Self {
        let boot_servers = boot_servers(site);
        Render {
            script_servers: Script::OF_TERMINALS
                .map(|script| script_servers(script, &boot_servers)),
            site,
            shared,
            boot_servers,
            scripts: RefCell::default(),
        }
    }

    fn held_once(&self, text: String) -> Arc<[u8]> {
        let mut scripts = self.scripts.borrow_mut();
        if let Some(held) = scripts.get(text.as_bytes()) {
            return Arc::clone(held);
        }
        let held: Arc<[u8]> = text.into_bytes().into();
        scripts.insert(Arc::clone(&held));
        held
    }

    fn file_servers(&self) -> Vec<FileServer<'s>> {
        let servers = self.boot_servers.iter();
        let file_server = |server: &&'s BootServer| FileServer {
            name: server.name.as_str(),
            address: server.address.as_str(),
        };
        servers.map(file_server).collect()
    }

    fn common(&self) -> UnknownFiles {
        let mut files = self.unknown();
        files.push(loaders::of_site(self.site));
        files
    }

    fn unknown(&self) -> UnknownFiles {
        unknown::files(
            self.site,
            &self.file_servers(),
            |script| script_servers(script, &self.boot_servers),
            |script| template(self.site, script),
        )
    }

    fn wanted(&self, object: &Object) -> Allowance {
        match &object.body {
            Body::Terminal(terminal) => Allowance::of(&effective(self.site, object, terminal).0),
            _ => Allowance::default(),
        }
    }

    fn terminal(&self, object: &Arc<Object>, wanted: Allowance, allowed: Allowance) -> Rendered {
        let mut outcome = Rendered {
            from: Arc::clone(object),
            wanted,
            allowed,
            files: BTreeMap::new(),
            problems: Vec::new(),
        };
        let Body::Terminal(terminal) = &object.body else {
            return outcome;
        };
        let (mut effective, problems) = effective(self.site, object, terminal);
        outcome.problems = problems;
        let without = allowed.limit(object, &mut effective);
        if terminal.seat.is_held() {
            outcome.problems.extend(without);
        }
        outcome.problems.extend(no_seat(object, terminal));
        let servers = self.file_servers();
        for mac in &terminal.macs {
            let files = self.files(&object.id, terminal, *mac, &effective, &servers);
            outcome.files.insert(*mac, files);
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
    ) -> CardFiles {
        let automatic = self.shared.entitlement.automatic;
        let file = TerminalFile::new(id, terminal, mac, effective, servers, automatic);
        // Compact, and scripts without the terminal's name: a catalog keeps equal contents once, and is written anew
        // at every change.
        let mut json = serde_json::to_vec(&file).expect("text keys and plain values");
        json.push(b'\n');
        let mut files = vec![(json_name(mac), Arc::from(json))];
        let admission = admission(terminal, &self.shared.entitlement);
        let scripts = self.shared.templates.iter().zip(&self.script_servers);
        for ((script, template), servers) in scripts {
            let context = ScriptContext::new(&file, servers, admission);
            // A site's own template may know nothing of seats: who has none gets the script that says so.
            let own = (admission == Admission::Seated).then(|| template.render_context(&context));
            let text = own.and_then(Result::ok).unwrap_or_else(|| {
                let text = self.shared.built_in(*script).render_context(&context);
                text.expect("a template that a test has checked")
            });
            files.push((script_name(*script, mac), self.held_once(text)));
        }
        let firmware = effective.firmware.value.as_ref();
        let loaders = firmware.and_then(|firmware| loaders::of_package(&firmware.loaders));
        files.extend(loaders.map(|text| (loaders::name_of(mac), text)));
        files
    }
}

/// Whether the terminal boots by the licences.
fn admission(terminal: &Terminal, entitlement: &Entitlement) -> Admission {
    match terminal.seat.is_held() {
        _ if entitlement.standby => Admission::Standby,
        true => Admission::Seated,
        false => Admission::NoSeat,
    }
}

fn no_seat(object: &Object, terminal: &Terminal) -> Option<Problem> {
    if terminal.seat.is_held() || !terminal.enabled {
        return None;
    }
    let message = match terminal.seat.state {
        SeatState::Released => "its seat was released: give it one, or disable it",
        _ => "no seat is free: install a licence, or release the seat of another terminal",
    };
    Some(Problem {
        code: ProblemCode::NoSeat,
        kind: Kind::Terminal.word(),
        id: object.id.clone(),
        name: object.body.name().to_owned(),
        field: Some("seat".into()),
        message: message.into(),
    })
}

/// What the catalog says of a card of this terminal.
fn stored(id: &Id, terminal: &Terminal, standby: bool) -> StoredTerminal {
    StoredTerminal {
        id: id.as_str().into(),
        name: terminal.name.as_str().into(),
        status_key: terminal
            .status_key
            .map_or(StatusKey::NONE, |key| StatusKey(*key.as_bytes())),
        enabled: terminal.enabled,
        seated: terminal.seat.is_held(),
        standby,
    }
}

fn script_name(script: Script, mac: MacAddress) -> Name {
    named(match script {
        Script::Ipxe => format!("boot/{mac}.ipxe"),
        Script::Pxelinux => format!("pxelinux.cfg/01-{}", mac.hyphenated()),
        Script::Grub => format!("grub.cfg-01-{}", mac.hyphenated()),
        // Whatever the card.
        Script::UnknownIpxe => "boot/unknown.ipxe".into(),
        Script::UnknownPxelinux => "pxelinux.cfg/unknown".into(),
        Script::UnknownGrub => "grub.cfg-unknown".into(),
    })
}

fn json_name(mac: MacAddress) -> Name {
    named(format!("terminals/{mac}.json"))
}

/// Every name that is rendered for a card.
fn names(mac: MacAddress) -> Vec<Name> {
    let scripts = Script::OF_TERMINALS.map(|script| script_name(script, mac));
    let others = [json_name(mac), loaders::name_of(mac)];
    others.into_iter().chain(scripts).collect()
}

fn named(text: String) -> Name {
    Name::parse(text).expect("digits and separators")
}
