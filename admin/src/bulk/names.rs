//! Names in the place of identifiers, so that a table can be read, and taken to another site.

use serde_json::Value;

use crate::configuration::ChangeError;
use crate::kind::Kind;
use crate::object::Id;
use crate::site::Site;

/// What may be done with each reference: its field, what it names, and where it stands.
type Visit<'v> = dyn FnMut(&str, Kind, &mut Value) -> Result<(), ChangeError> + 'v;

/// Every reference of a terminal, as far as it is there and a text.
fn visit(terminal: &mut Value, each: &mut Visit<'_>) -> Result<(), ChangeError> {
    let single = [
        ("model", "/model", Kind::TermCap),
        ("group", "/group", Kind::TerminalGroup),
        (
            "settings.firmware.package",
            "/settings/firmware/package",
            Kind::FirmwarePackage,
        ),
    ];
    for (field, pointer, kind) in single {
        if let Some(value) = terminal.pointer_mut(pointer) {
            each(field, kind, value)?;
        }
    }
    let lists = [
        ("terminal_servers", "", Kind::TerminalServer),
        ("modules", "module", Kind::Module),
    ];
    for (list, inner, kind) in lists {
        let items = terminal.pointer_mut(&format!("/settings/{list}"));
        let items = items.and_then(Value::as_array_mut).into_iter().flatten();
        for (index, item) in items.enumerate() {
            let mut field = format!("settings.{list}[{index}]");
            let value = if inner.is_empty() {
                Some(item)
            } else {
                field = format!("{field}.{inner}");
                item.get_mut(inner)
            };
            if let Some(value) = value {
                each(&field, kind, value)?;
            }
        }
    }
    Ok(())
}

/// Puts names in the place of identifiers, where a name says which one.
pub(super) fn name(site: &Site, terminal: &mut Value) {
    let named = visit(terminal, &mut |_, kind, value| {
        let id = value.as_str().and_then(|text| Id::parse(text).ok());
        if let Some(object) = id.and_then(|id| site.object(kind, &id))
            && site.table(kind).named(object.body.name()).count() == 1
        {
            *value = object.body.name().into();
        }
        Ok(())
    });
    debug_assert!(named.is_ok(), "naming refuses nothing");
}

/// Puts identifiers in the place of names. An identifier is taken, too.
pub(super) fn identify(site: &Site, terminal: &mut Value) -> Result<(), ChangeError> {
    visit(terminal, &mut |field, kind, value| {
        // What is not a text is refused where the terminal is read.
        let Some(text) = value.as_str().map(str::to_owned) else {
            return Ok(());
        };
        let mut named = site.table(kind).named(&text);
        let id = match (named.next(), named.next()) {
            (Some(id), None) => Some(id.clone()),
            _ => Id::parse(&text).ok(),
        };
        match id.filter(|id| site.object(kind, id).is_some()) {
            Some(id) => {
                *value = id.as_str().into();
                Ok(())
            }
            None => Err(ChangeError::NotNamed {
                field: field.to_owned(),
                kind,
                name: text.chars().take(64).collect(),
            }),
        }
    })
}
