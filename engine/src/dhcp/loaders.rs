//! Which file firmware is to fetch first: what is set for the terminal, then for the site, then what usually has that purpose.
//!
//! `boot/<mac>.loaders` and `boot/loaders` are texts of the catalog with a line for each architecture: its word, a blank, the name of the
//! file. A name that the catalog does not have is passed over.

use daybreak_store::{Catalog, Mac};

use super::{Architecture, Firmware};
use crate::limits::LOADERS_BYTES_MAX;
use crate::names::OwnKind;

/// The text of a site.
const SITE: &str = "boot/loaders";

/// The line of the site's text that says that this server boots nobody: its partner does.
const NOBODY: &str = "nobody";

/// Folders in which a file of a usual name is looked for.
const FOLDERS: [&str; 2] = ["boot/", ""];

/// Names of scripts for iPXE that is no terminal's.
const SCRIPTS: [&str; 2] = ["boot.ipxe", "autoexec.ipxe"];

/// Names that boot programs usually have, the better ones first: iPXE takes the terminal's script at once.
const fn usual(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::X86Bios => &["undionly.kpxe", "ipxe.pxe", "lpxelinux.0", "pxelinux.0"],
        Architecture::X86Uefi => &[
            "ipxe-i386.efi",
            "snponly-i386.efi",
            "grubia32.efi",
            "bootia32.efi",
        ],
        Architecture::X64Uefi => &[
            "ipxe.efi",
            "snponly.efi",
            "shimx64.efi",
            "grubx64.efi",
            "bootx64.efi",
        ],
        Architecture::Arm64Uefi => &[
            "ipxe-arm64.efi",
            "snponly-arm64.efi",
            "shimaa64.efi",
            "grubaa64.efi",
            "bootaa64.efi",
        ],
        Architecture::ArmUboot => &["boot.scr.uimg", "boot.scr"],
    }
}

/// Whether this server boots nobody.
pub(super) fn stands_by(catalog: &Catalog) -> bool {
    text(catalog, SITE).is_some_and(|text| text.lines().any(|line| line == NOBODY))
}

/// The file for a client; `None`: there is nothing.
pub(super) fn file(catalog: &Catalog, mac: Mac, firmware: &Firmware) -> Option<String> {
    match firmware {
        Firmware::Ipxe => script(catalog, mac),
        Firmware::Pxe(architectures) | Firmware::Http(architectures) => {
            let texts = [format!("boot/{mac}.loaders"), SITE.to_owned()];
            let texts = texts.map(|name| text(catalog, &name).unwrap_or_default());
            let mut found = architectures
                .iter()
                .filter_map(|&architecture| loader(catalog, &texts, architecture));
            found.next()
        }
    }
}

/// The terminal's own script; where it has none, the name under which a file for unknown terminals stands in.
fn script(catalog: &Catalog, mac: Mac) -> Option<String> {
    let own = format!("boot/{mac}.ipxe");
    let fallback = std::str::from_utf8(OwnKind::Ipxe.fallback()).ok()?;
    if has(catalog, &own) || has(catalog, fallback) {
        return Some(own);
    }
    usually(catalog, &SCRIPTS)
}

fn loader(catalog: &Catalog, texts: &[String], architecture: Architecture) -> Option<String> {
    let set = texts.iter().flat_map(|text| text.lines()).find_map(|line| {
        let (word, name) = line.split_once(' ')?;
        let name = name.trim();
        (word == architecture.word() && has(catalog, name)).then(|| name.to_owned())
    });
    set.or_else(|| usually(catalog, usual(architecture)))
}

fn usually(catalog: &Catalog, names: &[&str]) -> Option<String> {
    let mut names = names
        .iter()
        .flat_map(|name| FOLDERS.map(|folder| format!("{folder}{name}")));
    names.find(|name| has(catalog, name))
}

fn has(catalog: &Catalog, name: &str) -> bool {
    let name = name.as_bytes();
    catalog
        .lookup(name)
        .or_else(|| catalog.lookup_folded(name))
        .is_some()
}

/// A short text of the catalog.
fn text(catalog: &Catalog, name: &str) -> Option<String> {
    let image = catalog.open(catalog.lookup(name.as_bytes())?).ok()?;
    let len = usize::try_from(image.len()).ok()?;
    if len > LOADERS_BYTES_MAX {
        return None;
    }
    let mut octets = vec![0; len];
    let read = image.read_at(0, &mut octets).ok()?;
    octets.truncate(read);
    String::from_utf8(octets).ok()
}
