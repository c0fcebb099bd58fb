//! What a command does: the domain is called, and what it says is printed. Results go to standard output,
//! warnings to standard error.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use anyhow::{Context, Result};
use daybreak_store::{ImageHash, Name, Reader, Reserve, Retention, Store};

use super::args::{Args, Command};
use super::backup;
use super::exit::Exit;
use super::licence::{installation_id, licence};
use super::progress::Bar;
use super::serve::serve;
use super::terminals::terminals;
use crate::backup::Restoring;
use crate::configuration::ChangeError;
use crate::database::Database;
use crate::import::import;
use crate::limits::WARNINGS_SHOWN_MAX;
use crate::list::list;
use crate::peer::primary_elsewhere;
use crate::remove::remove;
use crate::source::{Skipped, Source};

/// Does what `args` say. `stop` becomes true when the operator wants it to end.
pub fn run(args: &Args, stop: &Arc<AtomicBool>) -> Result<Exit> {
    match &args.command {
        Command::Import {
            path,
            name,
            prefix,
            reserve,
        } => {
            check_changes(&args.data)?;
            let source = Source::scan(path, name.as_deref(), prefix.as_deref())?;
            let reserve = reserve.map_or(Reserve::Default, Reserve::Bytes);
            run_import(&opened(args)?.with_reserve(reserve), &source, stop)
        }
        Command::List { json } => {
            check_exists(&args.data)?;
            run_list(&Reader::open(&args.data)?, *json)
        }
        Command::Remove { names } => {
            check_changes(&args.data)?;
            run_remove(&existing(args)?, names)
        }
        Command::Verify { quarantine } => run_verify(&existing(args)?, *quarantine, stop),
        Command::Gc { retention } => {
            let retention = Retention {
                time: *retention,
                ..Retention::default()
            };
            run_gc(&existing(args)?, &args.data, retention)
        }
        Command::Backup { images, output } => backup::run_backup(
            &existing(args)?,
            &args.data,
            *images,
            output.as_deref(),
            stop,
        ),
        Command::Restore {
            backup,
            yes,
            accounts,
            without_missing_images,
        } => {
            check_changes(&args.data)?;
            let restoring = Restoring {
                accounts: *accounts,
                without_missing_images: *without_missing_images,
            };
            backup::run_restore(&opened(args)?, &args.data, backup, (restoring, *yes), stop)
        }
        Command::Serve(serving) => serve(&args.data, serving),
        Command::InstallationId(reach) => installation_id(&args.data, reach),
        Command::Licence(wanted) => licence(&|| opened(args), &args.data, wanted),
        Command::Terminals(wanted) => terminals(&|| opened(args), &args.data, wanted, stop),
    }
}

fn opened(args: &Args) -> Result<Store> {
    Ok(Store::open(&args.data)?.with_lock_wait(args.wait))
}

fn existing(args: &Args) -> Result<Store> {
    check_exists(&args.data)?;
    opened(args)
}

/// What the administration refuses on the secondary of a pair, the command line refuses, too.
pub(super) fn check_changes(data: &Path) -> Result<()> {
    let primary = primary_elsewhere(data).context("keys/primary cannot be read")?;
    match primary {
        Some(primary) => Err(ChangeError::Secondary(primary).into()),
        None => Ok(()),
    }
}

/// Only an import makes a data directory: elsewhere a wrong path is a mistake to be told.
fn check_exists(data: &Path) -> Result<()> {
    let catalogs = data.join(daybreak_store::layout::CATALOGS);
    std::fs::metadata(&catalogs).map(drop).map_err(|error| {
        let told = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                "is not a data directory; the first import makes one"
            }
            _ => "cannot be read; run this as the user that owns it",
        };
        anyhow::Error::new(error).context(format!("{} {told}", data.display()))
    })
}

fn run_import(store: &Store, source: &Source, stop: &Arc<AtomicBool>) -> Result<Exit> {
    warn_skipped(&source.skipped);
    let mut bar = Bar::new(source.files.iter().map(|file| file.len).sum(), stop);
    let imported = import(store, source, &mut |count| bar.advance(count))?;
    drop(bar);
    warn_damage(imported.warning.as_deref());
    let mut out = io::stdout().lock();
    write!(
        out,
        "{} added, {} replaced, {} unchanged",
        imported.added, imported.replaced, imported.unchanged
    )?;
    if !source.skipped.is_empty() {
        write!(out, ", {} skipped", source.skipped.len())?;
    }
    let state = if imported.changed {
        "published"
    } else {
        "nothing changed:"
    };
    writeln!(
        out,
        "; {} octets stored; {state} generation {}",
        imported.stored_bytes, imported.generation
    )?;
    Ok(Exit::Done)
}

fn run_list(reader: &Reader, json: bool) -> Result<Exit> {
    let listing = list(reader)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, &listing)?;
        writeln!(out)?;
    } else {
        for entry in &listing.entries {
            let image = entry
                .image
                .as_deref()
                .map_or("in the catalog  ", |image| &image[..16]);
            writeln!(out, "{:>14}  {image}  {}", entry.bytes, entry.name)?;
        }
        writeln!(
            out,
            "{} names in generation {}",
            listing.entries.len(),
            listing.generation
        )?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn run_remove(store: &Store, names: &[String]) -> Result<Exit> {
    let removed = remove(store, names)?;
    warn_damage(removed.warning.as_deref());
    writeln!(
        io::stdout(),
        "{} removed; published generation {}",
        removed.names,
        removed.generation
    )?;
    Ok(Exit::Done)
}

fn run_verify(store: &Store, quarantine: bool, stop: &Arc<AtomicBool>) -> Result<Exit> {
    let mut bar = Bar::new(store.image_bytes()?, stop);
    let report = store.verify(quarantine, &mut |count| bar.advance(count))?;
    drop(bar);
    let mut out = io::stdout().lock();
    for error in report.current.iter().chain(&report.catalogs) {
        writeln!(out, "catalog: {error}")?;
    }
    for (hash, names) in &report.missing {
        writeln!(
            out,
            "missing: image {hash} of {}; import its file again",
            joined(names)
        )?;
    }
    for image in &report.damaged {
        let next = if image.quarantined {
            "put aside; import its file again"
        } else {
            "run verify --quarantine, then import its file again"
        };
        let names = joined(&image.names);
        writeln!(
            out,
            "damaged: image {} of {names}: {}; {next}",
            image.hash, image.why
        )?;
    }
    for stranger in &report.strangers {
        writeln!(out, "not ours, left alone: {stranger}")?;
    }
    let (images, bytes) = (report.images, report.bytes);
    let verdict = if report.is_sound() {
        "everything is sound"
    } else {
        "NOT sound, see above"
    };
    writeln!(
        out,
        "{images} images, {bytes} octets read; generation {}; {verdict}",
        report.generation
    )?;
    Ok(if report.is_sound() {
        Exit::Done
    } else {
        Exit::Damaged
    })
}

fn run_gc(store: &Store, data: &Path, retention: Retention) -> Result<Exit> {
    // What lost in a conflict may still be chosen. Only read: beside a process that has it open for changes.
    let contested = match Database::beside(&data.join("config.db"))? {
        Some(database) => database.contested_images()?,
        None => BTreeSet::new(),
    };
    let contested = contested
        .iter()
        .map(|hash| ImageHash::from_bytes(hash.0))
        .collect();
    let report = store.collect_all_but(SystemTime::now(), retention, &contested)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} images ({} octets), {} catalogs and {} partial files removed; {} images are still in retention or a conflict, {} are \
         still being read",
        report.images,
        report.image_bytes,
        report.catalogs,
        report.partials,
        report.retained,
        report.pinned
    )?;
    if report.unreadable > 0 {
        warn(format_args!(
            "{} files cannot be opened and were left alone; `verify` shows them",
            report.unreadable
        ));
    }
    if report.images_skipped {
        warn(
            "a reader holds a catalog that is damaged by now, so nobody knows which images it needs: no image \
             was removed. Restart that engine, then try again",
        );
    }
    Ok(Exit::Done)
}

fn warn_skipped(skipped: &[Skipped]) {
    for file in skipped.iter().take(WARNINGS_SHOWN_MAX) {
        warn(format_args!("skipped {:?}: {}", file.path, file.why));
    }
    if let Some(more) = skipped.len().checked_sub(WARNINGS_SHOWN_MAX + 1) {
        warn(format_args!("{} more were skipped", more + 1));
    }
}

fn warn_damage(damage: Option<&str>) {
    if let Some(damage) = damage {
        warn(damage);
    }
}

/// Nothing is left to do if standard error is closed.
fn warn(message: impl Display) {
    let _ = writeln!(io::stderr(), "warning: {message}");
}

fn joined(names: &[Name]) -> String {
    match names {
        [] => "no published name".into(),
        [first] => first.to_string(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}
