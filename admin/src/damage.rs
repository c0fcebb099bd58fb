//! What an operator is told when the catalog that was in force could not be read, and a change began from another.

use daybreak_store::{Draft, Generation};

/// The whole sentence; `None` if the change began from what was published.
pub(crate) fn warning(draft: &Draft<'_>) -> Option<String> {
    let damage = draft.warning()?;
    let taken = match draft.base() {
        Generation::ZERO => {
            "No catalog before it is whole either, so the change began from nothing: import everything again (images \
             that are in the store already cost no room), or restore a backup"
        }
        _ => {
            "The newest whole catalog before it was taken instead: compare `list` with what you expect"
        }
    };
    Some(format!(
        "what was published was damaged ({damage}). {taken}"
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use daybreak_store::{Name, Store};

    use super::*;

    fn publish(store: &Store, name: &str) {
        let mut draft = store.begin().unwrap();
        let go_on = &mut |_| std::ops::ControlFlow::Continue(());
        let name = Name::parse(name).unwrap();
        draft.import(name, &mut name_octets(), 4, go_on).unwrap();
        draft.publish().unwrap();
    }

    fn name_octets() -> std::io::Cursor<&'static [u8]> {
        std::io::Cursor::new(b"text")
    }

    fn damage(data: &Path, generation: u64) {
        let catalog = data.join(format!("catalogs/{generation:010}.catalog"));
        std::fs::remove_file(&catalog).unwrap();
        std::fs::write(catalog, b"damage").unwrap();
    }

    #[test]
    fn the_warning_says_an_older_catalog_was_taken_only_if_one_was() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        publish(&store, "a");
        publish(&store, "b");
        assert_eq!(warning(&store.begin().unwrap()), None);
        damage(data.path(), 2);
        let text = warning(&store.begin().unwrap()).unwrap();
        assert!(
            text.contains("newest whole catalog before it was taken"),
            "{text}"
        );
        damage(data.path(), 1);
        let text = warning(&store.begin().unwrap()).unwrap();
        assert!(
            text.contains("began from nothing") && !text.contains("was taken"),
            "{text}"
        );
    }
}
