//! `installation-id` and `licence`: of a running administration or, where none runs, of its data directory. Both ways show the same
//! documents.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use daybreak_store::Store;
use serde_json::{Value, json};

use super::exit::Exit;
use super::remote::Remote;
use super::terminals::opened;
use crate::configuration::{Actor, Configuration};
use crate::http::{licences_json, licensing_json};
use crate::licences::{Licences, MACHINE_ID, tend};
use crate::limits::LICENCE_BYTES_MAX;
use crate::object::Id;
use crate::peer::recall;
use crate::publish::{Compiler, publish};

/// How an administration is reached.
#[derive(Clone, Debug, Args)]
pub struct ReachArgs {
    /// The running administration, as http://127.0.0.1:8069, with an API key in DAYBREAK_API_KEY. Otherwise none may be running, and
    /// what is in the data directory is read and changed directly.
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<String>,
    /// The certificate that signed the administration's own, a PEM file (default: keys/admin.crt in the data directory).
    #[arg(long, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
}

/// What is done with licences.
#[derive(Clone, Debug, Args)]
pub struct LicenceArgs {
    #[command(flatten)]
    reach: ReachArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: LicenceCommand,
}

/// What is done with licences.
#[derive(Clone, Debug, Subcommand)]
pub enum LicenceCommand {
    /// Install a licence file; - is standard input.
    Install {
        /// The file.
        file: PathBuf,
    },
    /// List the installed licences.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what the licences allow, what of it is used, and what to look at.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a licence.
    Remove {
        /// Its identifier.
        id: String,
    },
    /// Trust a vendor's key: put it into keys/vendors. On this machine only.
    Trust {
        /// The vendor's file.
        file: PathBuf,
    },
}

/// The administration that is asked.
enum Reached {
    Running(Remote),
    Here {
        configuration: Arc<Configuration>,
        licences: Licences,
    },
}

impl Reached {
    fn new(data: &Path, args: &ReachArgs) -> Result<Self> {
        if let Some(url) = &args.server {
            let remote = Remote::new(url, data, args.ca.as_deref())?;
            return Ok(Reached::Running(remote));
        }
        let configuration = Arc::new(opened(data)?);
        let machine_id = Path::new(MACHINE_ID);
        let licences = Licences::open(data, machine_id, Arc::clone(&configuration))?;
        recall(data, &configuration, &licences)?;
        Ok(Reached::Here {
            configuration,
            licences,
        })
    }

    fn licensing(&self) -> Result<Value> {
        match self {
            Reached::Running(remote) => remote.get("/api/v1/licensing"),
            Reached::Here {
                configuration,
                licences,
            } => Ok(licensing_json(licences, &configuration.site())),
        }
    }

    fn licences(&self) -> Result<Value> {
        match self {
            Reached::Running(remote) => remote.get("/api/v1/licences"),
            Reached::Here { licences, .. } => Ok(licences_json(licences)),
        }
    }
}

/// Prints this installation's identifier.
pub(super) fn installation_id(data: &Path, args: &ReachArgs) -> Result<Exit> {
    let licensing = Reached::new(data, args)?.licensing()?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text(&licensing["servers"][0]["installation"]))?;
    if let Some(before) = licensing["moved_from"].as_str() {
        writeln!(io::stderr(), "warning: {}", moved(before))?;
    }
    Ok(Exit::Done)
}

fn moved(before: &str) -> String {
    format!(
        "this data directory was installation {before} on another machine; licences need a new activation"
    )
}

/// Does what is wanted with licences.
pub(super) fn licence(
    store: &dyn Fn() -> Result<Store>,
    data: &Path,
    args: &LicenceArgs,
) -> Result<Exit> {
    let reached = Reached::new(data, &args.reach)?;
    let mut out = io::stdout().lock();
    match &args.command {
        LicenceCommand::Install { file } => {
            let licence = read(file)?;
            match &reached {
                Reached::Running(remote) => {
                    let installed = String::from_utf8(licence).context("this is no licence")?;
                    let made = remote.post("/api/v1/licences", &json!({"licence": installed}))?;
                    tell_installed(&mut out, &made)?;
                }
                Reached::Here {
                    configuration,
                    licences,
                } => {
                    let actor = Actor::machine("command line");
                    let installed = licences.install(&actor, &licence)?;
                    in_force(store, configuration)?;
                    let listed = licences_json(licences);
                    let mut items = listed["items"].as_array().into_iter().flatten();
                    let id = installed.licence.id.as_str();
                    if let Some(item) = items.find(|item| item["id"] == id) {
                        tell_installed(&mut out, item)?;
                    }
                }
            }
        }
        LicenceCommand::List { json } => {
            let listed = reached.licences()?;
            if *json {
                writeln!(out, "{listed:#}")?;
            } else {
                tell_list(&mut out, &listed)?;
            }
        }
        LicenceCommand::Status { json } => {
            let licensing = reached.licensing()?;
            if *json {
                writeln!(out, "{licensing:#}")?;
            } else {
                tell_status(&mut out, &licensing)?;
            }
        }
        LicenceCommand::Remove { id } => {
            match &reached {
                Reached::Running(remote) => remote.delete(&format!("/api/v1/licences/{id}"))?,
                Reached::Here {
                    configuration,
                    licences,
                } => {
                    licences.remove(&Actor::machine("command line"), &Id::parse(id)?)?;
                    in_force(store, configuration)?;
                }
            }
            writeln!(out, "licence {id} is removed")?;
        }
        LicenceCommand::Trust { file } => {
            let Reached::Here { licences, .. } = &reached else {
                bail!("a vendor's key is trusted on the machine itself: leave --server out");
            };
            let key = licences.trust(&String::from_utf8_lossy(&read(file)?))?;
            writeln!(
                out,
                "licences that are signed with the key {key} are believed"
            )?;
        }
    }
    Ok(Exit::Done)
}

/// Gives seats to those that wait, and publishes.
fn in_force(store: &dyn Fn() -> Result<Store>, configuration: &Configuration) -> Result<()> {
    tend(configuration, None, &|_| None)?;
    let site = configuration.site();
    publish(&store()?, &Compiler::new().compile(&site), None)
        .context("the licence is stored, and in force when the administration starts")?;
    Ok(())
}

/// As much of a file as a licence may have, and one octet.
fn read(file: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let bound = LICENCE_BYTES_MAX as u64 + 1;
    if file == Path::new("-") {
        io::stdin().lock().take(bound).read_to_end(&mut content)?;
        return Ok(content);
    }
    let opened = fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let read = opened.take(bound).read_to_end(&mut content);
    read.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(content)
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn tell_installed(out: &mut impl Write, licence: &Value) -> Result<()> {
    let (id, activation) = (text(&licence["id"]), &licence["activation"]);
    writeln!(
        out,
        "activation {activation} of licence {id} is installed: {}",
        text(&licence["why"])
    )?;
    Ok(())
}

fn tell_list(out: &mut impl Write, listed: &Value) -> Result<()> {
    for licence in listed["items"].as_array().into_iter().flatten() {
        let part = |name: &str| text(&licence[name]);
        writeln!(
            out,
            "{}  {}  {}  activation {}: {}",
            part("id"),
            part("customer"),
            part("redundancy"),
            part("activation"),
            part("why")
        )?;
        for product in licence["products"].as_array().into_iter().flatten() {
            writeln!(
                out,
                "  {:>8} {}",
                product["count"],
                text(&product["product"])
            )?;
        }
        for installation in licence["installations"].as_array().into_iter().flatten() {
            writeln!(out, "  for {}", text(installation))?;
        }
    }
    for refused in listed["refused"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "{}  not used: {}",
            text(&refused["name"]),
            text(&refused["why"])
        )?;
    }
    Ok(())
}

fn tell_status(out: &mut impl Write, licensing: &Value) -> Result<()> {
    let note = match licensing["licensed"].as_bool() {
        Some(true) => "",
        _ => " (no licence holds: 10 terminals on one server, for as long as you like)",
    };
    writeln!(out, "redundancy: {}{note}", text(&licensing["mode"]))?;
    for licence in licensing["inactive"].as_array().into_iter().flatten() {
        let (id, state) = (text(&licence["id"]), text(&licence["state"]));
        writeln!(
            out,
            "licence {id} is inactive ({state}): {}",
            text(&licence["why"])
        )?;
    }
    if licensing["boots"] == false {
        writeln!(
            out,
            "this server boots nobody: it is the second one, and no licence for two is in force, or the site does not want it"
        )?;
    }
    for count in licensing["counts"].as_array().into_iter().flatten() {
        let entitled = match &count["entitled"] {
            Value::Null => "any number".to_owned(),
            number => number.to_string(),
        };
        writeln!(
            out,
            "{}: {} of {entitled}",
            text(&count["product"]),
            count["used"]
        )?;
    }
    if let Some(waiting) = licensing["waiting"].as_u64().filter(|waiting| *waiting > 0) {
        writeln!(out, "{waiting} terminals have no seat, and do not boot")?;
    }
    for server in licensing["servers"].as_array().into_iter().flatten() {
        let installation = match &server["installation"] {
            Value::Null => "not known yet".to_owned(),
            installation => text(installation),
        };
        writeln!(out, "{} server: {installation}", text(&server["server"]))?;
    }
    if let Some(before) = licensing["moved_from"].as_str() {
        writeln!(out, "warning: {}", moved(before))?;
    }
    for list in ["differences", "warnings"] {
        for line in licensing[list].as_array().into_iter().flatten() {
            writeln!(out, "warning: {}", text(line))?;
        }
    }
    Ok(())
}
