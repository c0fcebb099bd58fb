//! Restoring: first the differences, then, if nothing has changed since, all of them at once.
//!
//! The images that are missing go to the store first, lasting but without a name. Then one transaction changes the
//! configuration and writes down what becomes of the files. Then it is published, in one generation. Before the
//! transaction everything is as before; after it the publication follows, also after a crash.

use std::collections::BTreeMap;

use daybreak_store::disk::Disk;
use daybreak_store::{ImageHash, Progress, Snapshot, Staged, Store, StoreError};

use super::folder::{FileReader, Folder, quiet};
use super::make::stored_files;
use super::{BackupError, Difference, Head, Restoring, Source, differences};
use crate::configuration::{Actor, ChangeError, Configuration};
use crate::database::AuditRow;
use crate::object::Id;
use crate::site::{FileChange, Site};

/// What a restore would do, and to which state.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of which backup.
    pub backup: Id,
    /// What that says of itself.
    pub head: Head,
    /// What is restored.
    pub restoring: Restoring,
    /// What changes, by kind.
    pub differences: Vec<Difference>,
    /// Files whose images are neither in the backup nor in the store.
    pub missing: Vec<String>,
    /// Images that the store gets, and their lengths.
    pub brought: BTreeMap<ImageHash, u64>,
    /// Images of files that change or go: a backup before the restore has them.
    pub leaving: std::collections::BTreeSet<ImageHash>,
    /// What it is for: the number of the last change, ...
    change: u64,
    /// ... the files, ...
    files: ImageHash,
    /// ... and the backup.
    checksum: ImageHash,
}

impl Plan {
    /// The number of the last change of the configuration that it is for.
    #[must_use]
    pub fn change(&self) -> u64 {
        self.change
    }

    /// Octets of images that the store gets.
    #[must_use]
    pub fn brought_bytes(&self) -> u64 {
        self.brought.values().sum()
    }
}

/// Names the state of the stored files, whatever is rendered beside them.
fn fingerprint(published: &Snapshot) -> ImageHash {
    let mut hasher = blake3::Hasher::new();
    for (name, hash, len) in stored_files(published) {
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(hash.as_bytes());
        hasher.update(&len.to_le_bytes());
    }
    ImageHash::from_bytes(*hasher.finalize().as_bytes())
}

/// Reads all of a backup, and says what restoring it would do. Changes nothing.
pub fn plan<D: Disk>(
    store: &Store<D>,
    site: &Site,
    backup: &Id,
    restoring: Restoring,
    progress: Progress<'_>,
) -> Result<Plan, BackupError> {
    let (file, _) = Folder::of(store).open(backup)?;
    let source = Source::open(FileReader::new(store.disk(), &file, progress))?;
    let head = source.head().clone();
    let mut carried = BTreeMap::new();
    let (target, checksum) = source.images(|hash, len, _| {
        carried.insert(hash, len);
        Ok(())
    })?;
    let published = store.published()?;
    let mut lost = carried.clone();
    lost.retain(|hash, len| !store.has_image(hash, *len));
    let mut found = differences(site, &published, &target, restoring, &lost);
    let mut brought = BTreeMap::new();
    let mut missing = Vec::new();
    for file in found
        .files
        .iter()
        .filter_map(|change| Some((&change.name, change.after?)))
    {
        let (name, file) = file;
        if store.has_image(&file.hash, file.len) {
            continue;
        }
        if carried.contains_key(&file.hash) {
            brought.insert(file.hash, file.len);
        } else {
            missing.push(name.to_string());
        }
    }
    let leaving = found
        .files
        .iter()
        .filter(|change| change.before != change.after)
        .filter_map(|change| Some(change.before?.hash))
        .collect();
    Ok(Plan {
        backup: backup.clone(),
        head,
        restoring,
        differences: std::mem::take(&mut found.shown),
        missing,
        brought,
        leaving,
        change: site.change(),
        files: fingerprint(&published),
        checksum,
    })
}

/// Refuses a plan that is out of date, or that may not be carried out.
pub fn check<D: Disk>(store: &Store<D>, site: &Site, plan: &Plan) -> Result<(), BackupError> {
    let current = site.change() == plan.change;
    if !current || fingerprint(&store.published()?) != plan.files {
        return Err(BackupError::Outdated);
    }
    if !plan.missing.is_empty() && !plan.restoring.without_missing_images {
        return Err(BackupError::ImagesMissing(plan.missing.len()));
    }
    Ok(store.check_room(plan.brought_bytes())?)
}

/// Carries out a plan, or changes nothing. Afterwards it has to be published.
pub fn restore<D: Disk>(
    store: &Store<D>,
    configuration: &Configuration,
    plan: &Plan,
    actor: &Actor,
    progress: Progress<'_>,
) -> Result<(), BackupError> {
    check(store, &configuration.site(), plan)?;
    let (file, _) = Folder::of(store).open(&plan.backup)?;
    let source = Source::open(FileReader::new(store.disk(), &file, progress))?;
    let mut staged: BTreeMap<ImageHash, Staged<'_, D>> = BTreeMap::new();
    let (target, checksum) = source.images(|hash, len, content| {
        if plan.brought.contains_key(&hash) {
            // The reader of the archive has checked the hash, or has failed.
            let image = store.stage(content, Some(len), &mut quiet)?;
            staged.insert(image.hash(), image.closed());
        }
        Ok(())
    })?;
    if checksum != plan.checksum {
        return Err(BackupError::Outdated);
    }

    // From here on the store is held: nobody changes a file between the last look and the commit.
    let mut draft = store.begin()?;
    let published = store.published()?;
    if fingerprint(&published) != plan.files {
        return Err(BackupError::Outdated);
    }
    let site = configuration.site();
    let found = differences(&site, &published, &target, plan.restoring, &plan.brought);
    let mut files = Vec::with_capacity(found.files.len());
    for change in found.files {
        if let Some(after) = change.after {
            let put = match staged.remove(&after.hash) {
                Some(image) => draft.put_staged(change.name.clone(), image),
                None => draft.put_stored(change.name.clone(), after.hash, after.len),
            };
            match put {
                Err(StoreError::NotStored { .. }) if plan.restoring.without_missing_images => {
                    continue;
                }
                Err(StoreError::NotStored { .. }) => return Err(BackupError::Outdated),
                put => drop(put?),
            }
        }
        files.push(change);
    }
    draft.place_images()?;
    let why = audited(configuration.now_ms(), actor, &plan.backup, &files);
    configuration
        .restore(actor, plan.change, found.objects, &files, why)
        .map_err(|error| match error {
            ChangeError::Stale => BackupError::Outdated,
            error => error.into(),
        })?;
    draft.leave();
    if files.iter().any(|change| change.before == change.after) {
        renew(store);
    }
    Ok(())
}

/// Images are back under names that stay what they are: who serves them must look again. That this fails is no reason to say
/// that nothing was restored.
fn renew<D: Disk>(store: &Store<D>) {
    let renewed = store.begin().and_then(|mut draft| {
        draft.renew();
        draft.publish()
    });
    if let Err(error) = renewed {
        tracing::warn!(%error, "images are back, and engines do not know of it until the next publication");
    }
}

/// What is noted of it, in the same transaction.
fn audited(now_ms: u64, actor: &Actor, backup: &Id, files: &[FileChange]) -> AuditRow {
    AuditRow {
        number: 0, // given by the database
        time_ms: now_ms,
        actor: actor.name.clone(),
        action: "restore".to_owned(),
        kind: "backup".to_owned(),
        id: backup.to_string(),
        before: None,
        after: Some(serde_json::json!({"files_changed": files.len()}).to_string()),
    }
}
