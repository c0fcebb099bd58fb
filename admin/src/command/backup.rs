//! `backup` and `restore` on the command line.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use daybreak_store::{Store, disk::Disk};

use super::exit::Exit;
use super::progress::Bar;
use crate::backup::{
    Difference, Folder, Images, Order, Plan, Reason, Restoring, image_bytes, make, name, plan,
    receive, restore,
};
use crate::configuration::{Actor, Configuration};
use crate::database::Database;
use crate::edge::{Clock, Machine, random};
use crate::object::{Id, NodeId};
use crate::publish::publish_whole;
use crate::site::Site;

fn order(node: NodeId, reason: Reason, images: Images) -> Order {
    let created_ms = Machine.now_ms();
    Order {
        id: name(created_ms, random(&Machine)),
        created_ms,
        node,
        reason,
        schedule: None,
        images,
    }
}

pub(super) fn run_backup(
    store: &Store,
    data: &Path,
    images: bool,
    output: Option<&Path>,
    stop: &Arc<AtomicBool>,
) -> Result<Exit> {
    let images = if images { Images::All } else { Images::None };
    // Opened before anything is made: a file that is there is a mistake to be told.
    let copy = output.map(create_output).transpose()?;
    // Only read: beside a process that has it open for changes.
    let (node, site) = match Database::beside(&data.join("config.db"))? {
        Some(database) => (database.node(), Site::of(&database.rows()?, 0)),
        // Files alone: nothing was ever configured.
        None => (NodeId::from_random(random(&Machine)), Site::default()),
    };
    let order = order(node, Reason::Manual, images);
    let mut bar = Bar::new(image_bytes(store, &order.images)?.saturating_mul(2), stop);
    let made = make(store, site.objects(), order, &mut |count| {
        bar.advance(count)
    })?;
    drop(bar);
    if let (Some(mut copy), Some(path)) = (copy, output) {
        let (mut file, _) = Folder::of(store).open(&made.id)?;
        io::copy(&mut file, &mut copy)
            .and_then(|_| copy.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    for hash in &made.left_out {
        writeln!(
            io::stderr(),
            "warning: image {hash} is missing or damaged, and left out; run verify"
        )?;
    }
    writeln!(
        io::stdout(),
        "{}: {} objects, {} files, {} images; {} octets, BLAKE3 {}",
        made.id,
        made.head.objects,
        made.head.files,
        made.head.images,
        made.written.len,
        made.written.hash
    )?;
    Ok(Exit::Done)
}

fn create_output(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

pub(super) fn run_restore(
    store: &Store,
    data: &Path,
    backup: &Path,
    (restoring, yes): (Restoring, bool),
    stop: &Arc<AtomicBool>,
) -> Result<Exit> {
    let configuration = Configuration::open(
        &data.join("config.db"),
        Arc::new(Machine),
        Arc::new(Machine),
    )?;
    publish_whole(store, &configuration)?;
    let id = brought(store, backup, stop)?;
    let (_, len) = Folder::of(store).open(&id)?;
    let mut bar = Bar::new(len, stop);
    let planned = plan(store, &configuration.site(), &id, restoring, &mut |count| {
        bar.advance(count)
    })?;
    drop(bar);
    show(&planned)?;
    if !yes {
        writeln!(io::stdout(), "nothing was changed; --yes restores it")?;
        return Ok(Exit::Done);
    }
    let before = order(
        configuration.node(),
        Reason::BeforeRestore,
        Images::Only(planned.leaving.clone()),
    );
    let bytes = image_bytes(store, &before.images)?.saturating_mul(2);
    let mut bar = Bar::new(len.saturating_add(bytes), stop);
    let mut advance = |count| bar.advance(count);
    let made = make(store, configuration.site().objects(), before, &mut advance)?;
    let actor = Actor::machine("command line");
    restore(store, &configuration, &planned, &actor, &mut advance)?;
    drop(bar);
    publish_whole(store, &configuration)?;
    writeln!(
        io::stdout(),
        "restored {id}; what was there before is in {}",
        made.id
    )?;
    Ok(Exit::Done)
}

/// The backup of this name; a file from elsewhere is brought into the folder first.
fn brought(store: &Store, backup: &Path, stop: &Arc<AtomicBool>) -> Result<Id> {
    let folder = Folder::of(store);
    let text = backup
        .file_stem()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    let id = Id::parse(text);
    if let Some(id) = id
        .as_ref()
        .ok()
        .filter(|id| backup.as_os_str() == id.as_str())
        && folder.ids()?.contains(id)
    {
        return Ok(id.clone());
    }
    let mut file = File::open(backup).with_context(|| {
        format!(
            "{} is neither a backup in the data directory nor a file",
            backup.display()
        )
    })?;
    let len = store.disk().stat(&file)?.len;
    let Ok(id) = id else {
        bail!("the name of a backup has a-z, 0-9 and - only, before its ending; rename the file");
    };
    if folder.ids()?.contains(&id) {
        return same(&folder, &id, file, len);
    }
    let mut bar = Bar::new(len, stop);
    receive(store, &id, &mut file, (Some(len), None), &mut |count| {
        bar.advance(count)
    })?;
    Ok(id)
}

/// A backup of this name is there: it must be the same.
fn same(folder: &Folder<'_>, id: &Id, mut file: File, len: u64) -> Result<Id> {
    let (mut there, there_len) = folder.open(id)?;
    let hash = |file: &mut File| -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        io::copy(file, &mut hasher)?;
        Ok(hasher.finalize())
    };
    if there_len != len || hash(&mut there)? != hash(&mut file)? {
        bail!("the data directory has another backup {id}; rename the file");
    }
    Ok(id.clone())
}

fn show(plan: &Plan) -> Result<()> {
    let mut out = io::stdout().lock();
    if plan.differences.is_empty() {
        writeln!(out, "nothing differs")?;
    }
    for Difference {
        kind,
        added,
        changed,
        removed,
        added_names,
        changed_names,
        removed_names,
    } in &plan.differences
    {
        writeln!(
            out,
            "{kind}: {added} added, {changed} changed, {removed} removed"
        )?;
        for (sign, names) in [
            ('+', added_names),
            ('*', changed_names),
            ('-', removed_names),
        ] {
            for name in names {
                writeln!(out, "  {sign} {name}")?;
            }
        }
    }
    for name in &plan.missing {
        writeln!(out, "image missing: {name}")?;
    }
    Ok(())
}
