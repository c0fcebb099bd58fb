//! `terminals export` and `terminals import`: files of terminals, from a running administration or, where none runs, from its
//! database. Both ways go through the same domain; nothing is rendered or checked here.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use daybreak_store::Store;

use super::exit::Exit;
use super::progress::Bar;
use super::remote::Remote;
use super::run::check_changes;
use crate::bulk::{self, Format, Rows, Wanted};
use crate::configuration::{Actor, Configuration};
use crate::edge::Machine;
use crate::http::ReportView;
use crate::kind::Kind;
use crate::limits::{IMPORT_BYTES_MAX, WARNINGS_SHOWN_MAX};
use crate::publish::{Compiler, publish};

/// What is done with the terminals.
#[derive(Clone, Debug, Args)]
pub struct TerminalsArgs {
    /// The running administration, as http://127.0.0.1:8069, with an API key in DAYBREAK_API_KEY. Otherwise none may be
    /// running, and the configuration in the data directory is changed and published directly.
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<String>,
    /// The certificate that signed the administration's own, a PEM file (default: keys/admin.crt in the data directory).
    #[arg(long, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: TerminalsCommand,
}

/// What is done with the terminals.
#[derive(Clone, Debug, Subcommand)]
pub enum TerminalsCommand {
    /// Write all terminals to a file: JSON if its name ends in .json, otherwise CSV; - is standard output.
    Export {
        /// The file.
        file: PathBuf,
    },
    /// Create and change terminals as a file says. All rows, or none.
    Import {
        /// The file: JSON if its name ends in .json, otherwise CSV.
        file: PathBuf,
        /// Only say what would happen.
        #[arg(long)]
        dry_run: bool,
        /// Go on without the rows that are refused.
        #[arg(long)]
        valid_only: bool,
    },
}

/// Does it.
pub(super) fn terminals(
    store: &dyn Fn() -> Result<Store>,
    data: &Path,
    args: &TerminalsArgs,
    stop: &Arc<AtomicBool>,
) -> Result<Exit> {
    let remote = args.server.as_deref();
    let remote = remote.map(|url| Remote::new(url, data, args.ca.as_deref()));
    let remote = remote.transpose()?;
    match &args.command {
        TerminalsCommand::Export { file } => {
            let exported = match &remote {
                Some(remote) => remote.export(format_of(file))?,
                None => export(&opened(data)?, format_of(file)),
            };
            write(file, &exported)?;
            Ok(Exit::Done)
        }
        TerminalsCommand::Import {
            file,
            dry_run,
            valid_only,
        } => {
            let wanted = Wanted {
                dry_run: *dry_run,
                valid_only: *valid_only,
            };
            let content = read(file)?;
            let mut bar = Bar::of_rows(stop);
            let report = match &remote {
                Some(remote) => remote.import(format_of(file), &content, wanted, &mut bar)?,
                None => import(store, data, format_of(file), &content, wanted, &mut bar)?,
            };
            drop(bar);
            tell(&report, wanted)
        }
    }
}

fn format_of(file: &Path) -> Format {
    match file.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("json") => Format::Json,
        _ => Format::Csv,
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let opened = fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut content = Vec::new();
    let bound = IMPORT_BYTES_MAX as u64 + 1;
    let read = opened.take(bound).read_to_end(&mut content);
    read.with_context(|| format!("cannot read {}", file.display()))?;
    if content.len() > IMPORT_BYTES_MAX {
        bail!(
            "{} has more than {} MiB; split it",
            file.display(),
            IMPORT_BYTES_MAX >> 20
        );
    }
    Ok(content)
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    if file == Path::new("-") {
        return Ok(io::stdout().write_all(content)?);
    }
    fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}

/// The configuration in a data directory that no administration serves.
pub(super) fn opened(data: &Path) -> Result<Configuration> {
    let path = data.join("config.db");
    if !path.exists() {
        bail!(
            "{} has no configuration; daybreak-admin serve makes one",
            data.display()
        );
    }
    let opened = Configuration::open(&path, Arc::new(Machine), Arc::new(Machine));
    opened.context(
        "give --server and an API key in DAYBREAK_API_KEY to reach a running administration",
    )
}

fn export(configuration: &Configuration, format: Format) -> Vec<u8> {
    let site = configuration.site();
    let rows = bulk::rows(&site, site.table(Kind::Terminal).by_name());
    bulk::export(format, &rows)
}

fn import(
    store: &dyn Fn() -> Result<Store>,
    data: &Path,
    format: Format,
    content: &[u8],
    wanted: Wanted,
    bar: &mut Bar,
) -> Result<ReportView> {
    check_changes(data)?;
    let configuration = opened(data)?;
    let rows = Rows::read(format, content)?;
    let of = rows.len();
    let actor = Actor::machine("command line");
    let mut progress = |done| bar.set(done, of);
    let report = bulk::import(&configuration, &actor, &rows, wanted, &mut progress)?;
    if report.committed {
        let store = store()?;
        let site = configuration.site();
        let published = publish(&store, &Compiler::new().compile(&site), None);
        published
            .context("the terminals are stored, and published when the administration starts")?;
    }
    Ok(ReportView::from(&report))
}

/// Refused rows, the first of them, and how many there are of each kind.
fn tell(report: &ReportView, wanted: Wanted) -> Result<Exit> {
    let mut out = io::stdout().lock();
    let refused = report.rows.iter().filter(|row| row.outcome == "refused");
    for row in refused.take(WARNINGS_SHOWN_MAX) {
        let name = row.name.as_deref().unwrap_or("without a name");
        let why = row.message.as_deref().unwrap_or_default();
        writeln!(out, "row {}, {name}: {why}", row.row)?;
        for fault in &row.more {
            writeln!(out, "  also: {}", fault.message)?;
        }
    }
    if report.refused > WARNINGS_SHOWN_MAX {
        writeln!(out, "… and {} more", report.refused - WARNINGS_SHOWN_MAX)?;
    }
    let end = match (report.committed, wanted.dry_run) {
        (true, _) => "done",
        (false, true) => "a dry run: nothing was changed",
        (false, false) => "nothing was changed; --valid-only goes on without the refused rows",
    };
    writeln!(
        out,
        "{} created, {} updated, {} unchanged, {} refused: {end}",
        report.created, report.updated, report.unchanged, report.refused
    )?;
    Ok(if report.committed || report.refused == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}
