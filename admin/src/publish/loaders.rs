//! `boot/loaders` and `boot/<mac>.loaders`: what ProxyDHCP of the engines names to firmware. A line for each architecture: its word,
//! a blank, the name of the file. On a server that boots nobody the site's text is the line `nobody` alone: it answers no firmware.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use daybreak_store::Name;

use crate::kind::{Architecture, Body, Kind, MacAddress, Setting};
use crate::site::Site;

/// The site's text, if it has one.
pub(super) fn of_site(site: &Site) -> (Name, Option<Arc<[u8]>>) {
    let name = name("boot/loaders".into());
    if site.entitlement().standby {
        return (name, Some(Arc::from(&b"nobody\n"[..])));
    }
    let mut settings = site.table(Kind::Setting).objects();
    let set = settings.find_map(|object| match &object.body {
        Body::Setting(Setting::BootLoaders(loaders)) => Some(loaders),
        _ => None,
    });
    let files = set.into_iter().flatten();
    (
        name,
        text(files.map(|(architecture, file)| (*architecture, file.as_str()))),
    )
}

/// The name of a card's own text.
pub(super) fn name_of(mac: MacAddress) -> Name {
    name(format!("boot/{mac}.loaders"))
}

/// The text of a card whose package says what is fetched first.
pub(super) fn of_package(loaders: &BTreeMap<Architecture, String>) -> Option<Arc<[u8]>> {
    let files = loaders.iter();
    text(files.map(|(architecture, file)| (*architecture, file.as_str())))
}

fn text<'a>(files: impl Iterator<Item = (Architecture, &'a str)>) -> Option<Arc<[u8]>> {
    let mut text = String::new();
    for (architecture, file) in files {
        let _ = writeln!(text, "{} {file}", architecture.word());
    }
    (!text.is_empty()).then(|| text.into_bytes().into())
}

fn name(text: String) -> Name {
    Name::parse(text).expect("digits and separators")
}
