//! `firmware/<package>/<file>`: the files of each package's active version, under names without the version.
//!
//! They are further names of imported images, and nothing is copied. Which of them are ours is said by
//! `firmware/<package>/active.json`, in the catalog itself, with the hash of each; so an image that somebody imported under such
//! a name is never taken for ours, and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use daybreak_store::{Content, Draft, ImageHash, Name, Snapshot, StoreError, StoredContent};
use serde::{Deserialize, Serialize};

use crate::kind::{Body, FirmwarePackage, Kind};
use crate::limits::ACTIVE_BYTES_MAX;
use crate::object::Id;
use crate::site::Site;

const MANIFEST: &str = "active.json";

/// What is active, as terminals and operators can read it.
#[derive(Serialize, Deserialize)]
struct Manifest {
    version: String,
    /// The files that have a name without the version, each with its BLAKE3 hash.
    files: BTreeMap<String, String>,
}

/// A package with an active version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveVersion {
    id: Id,
    package: String,
    version: String,
    // Names that mean a version, whatever the files are called.
    versions: BTreeSet<String>,
}

/// Those of a site.
pub(super) fn active_versions(site: &Site) -> Vec<ActiveVersion> {
    let packages = site.table(Kind::FirmwarePackage).objects();
    let active = packages.filter_map(|object| match &object.body {
        Body::FirmwarePackage(package) => ActiveVersion::of(&object.id, package),
        _ => None,
    });
    active.collect()
}

impl ActiveVersion {
    fn of(id: &Id, package: &FirmwarePackage) -> Option<Self> {
        let versions = package.versions.iter();
        Some(ActiveVersion {
            id: id.clone(),
            package: package.name.as_str().to_owned(),
            version: package.active.as_ref()?.as_str().to_owned(),
            versions: versions
                .map(|version| version.version.as_str().to_owned())
                .collect(),
        })
    }

    fn folder(&self) -> String {
        format!("firmware/{}/", self.package)
    }
}

/// What stood in the way of some names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hindered {
    /// Names that imported files have.
    pub taken: BTreeSet<Name>,
    /// Packages, by identifier and name, whose active version has too many files to be served without it.
    pub too_many: BTreeSet<(Id, String)>,
}

/// Whether this is a name that says what is active.
pub(super) fn is_manifest(name: &str) -> bool {
    let mut segments = name.split('/');
    segments.next() == Some("firmware")
        && segments.nth(1) == Some(MANIFEST)
        && segments.next().is_none()
}

/// Gives the files of the active versions their names, and takes back those of versions that are active no more.
pub(super) fn link(
    draft: &mut Draft<'_>,
    active: &[ActiveVersion],
) -> Result<Hindered, StoreError> {
    let mut hindered = Hindered::default();
    let mut ours = ours(draft);
    let mut wanted: BTreeMap<Name, (ImageHash, u64)> = BTreeMap::new();
    let mut manifests = BTreeSet::new();
    for version in active {
        let links = links(draft, version, &ours, &mut hindered.taken);
        if links.is_empty() {
            continue;
        }
        let folder = version.folder();
        let file = |name: &Name| name.as_str()[folder.len()..].to_owned();
        let files = links
            .iter()
            .map(|(name, (hash, _))| (file(name), hash.to_string()));
        let manifest = Manifest {
            version: version.version.clone(),
            files: files.collect(),
        };
        let json = serde_json::to_vec(&manifest).expect("text keys and plain values");
        let name = Name::parse(format!("{folder}{MANIFEST}"));
        let Some(name) = name.ok().filter(|_| json.len() <= ACTIVE_BYTES_MAX) else {
            let package = (version.id.clone(), version.package.clone());
            hindered.too_many.insert(package);
            continue;
        };
        if matches!(
            draft.entries().get(&name),
            Some(StoredContent::Image { .. })
        ) {
            hindered.taken.insert(name);
            continue;
        }
        draft.put_inline(name.clone(), json);
        manifests.insert(name);
        wanted.extend(links);
    }
    ours.retain(|name| !wanted.contains_key(name));
    for stale in ours {
        draft.remove(stale.as_str());
    }
    let gone = manifests_of(draft).filter(|(name, _)| !manifests.contains(*name));
    let gone: Vec<String> = gone.map(|(name, _)| name.to_owned()).collect();
    for stale in gone {
        draft.remove(&stale);
    }
    for (name, (hash, len)) in wanted {
        draft.put_stored(name, hash, len)?;
    }
    Ok(hindered)
}

/// Names in a catalog that are ours: not imported, but made of the active versions.
#[must_use]
pub fn linked_names(published: &Snapshot) -> BTreeSet<Name> {
    let entries = published.entries();
    let inline = entries.filter_map(|(_, view)| match view.content {
        Content::Inline(json) => Some((view.name, json)),
        Content::Image(_) => None,
    });
    linked(inline, |name| {
        let found = published.lookup(name.as_bytes())?;
        match published.entry(found).content {
            Content::Image(hash) => Some(hash),
            Content::Inline(_) => None,
        }
    })
}

/// The same of a draft.
pub(super) fn ours(draft: &Draft<'_>) -> BTreeSet<Name> {
    linked(manifests_of(draft), |name| {
        match draft.entries().get(name)? {
            StoredContent::Image { hash, .. } => Some(*hash),
            StoredContent::Inline(_) => None,
        }
    })
}

/// Names that the manifests among these files call ours, and that still are what we put there.
fn linked<'c>(
    files: impl Iterator<Item = (&'c str, &'c [u8])>,
    image: impl Fn(&str) -> Option<ImageHash>,
) -> BTreeSet<Name> {
    let mut linked = BTreeSet::new();
    for (name, json) in files.filter(|(name, _)| is_manifest(name)) {
        let Ok(manifest) = serde_json::from_slice::<Manifest>(json) else {
            continue;
        };
        let folder = name.trim_end_matches(MANIFEST);
        for (file, hash) in &manifest.files {
            let name = format!("{folder}{file}");
            if image(&name).is_some_and(|found| found.to_string() == *hash) {
                linked.extend(Name::parse(name));
            }
        }
    }
    linked
}

/// What is beneath a folder, which ends with `/`.
fn beneath<'d>(
    draft: &'d Draft<'_>,
    folder: &'d str,
) -> impl Iterator<Item = (&'d Name, &'d StoredContent)> {
    let range = (Bound::Included(folder), Bound::Unbounded);
    let entries = draft.entries().range::<str, _>(range);
    entries.take_while(move |(name, _)| name.as_str().starts_with(folder))
}

/// The manifests in a draft.
fn manifests_of<'d>(draft: &'d Draft<'_>) -> impl Iterator<Item = (&'d str, &'d [u8])> {
    beneath(draft, "firmware/").filter_map(|(name, content)| match content {
        StoredContent::Inline(json) if is_manifest(name.as_str()) => Some((name.as_str(), &**json)),
        _ => None,
    })
}

/// The names without the version, for the files of the active one.
fn links(
    draft: &Draft<'_>,
    active: &ActiveVersion,
    ours: &BTreeSet<Name>,
    taken: &mut BTreeSet<Name>,
) -> BTreeMap<Name, (ImageHash, u64)> {
    let folder = active.folder();
    let source = format!("{folder}{}/", active.version);
    let mut links = BTreeMap::new();
    for (name, content) in beneath(draft, &source) {
        let StoredContent::Image { hash, len } = content else {
            continue;
        };
        let file = &name.as_str()[source.len()..];
        // It would be a file of another version, or ours.
        let first = file.split('/').next().unwrap_or_default();
        if active.versions.contains(first) || file == MANIFEST {
            continue;
        }
        let Ok(link) = Name::parse(format!("{folder}{file}")) else {
            continue;
        };
        let found = draft.entries().get(&link);
        if found.is_none() || ours.contains(&link) {
            links.insert(link, (*hash, *len));
        } else if found != Some(content) {
            taken.insert(link);
        }
    }
    links
}
